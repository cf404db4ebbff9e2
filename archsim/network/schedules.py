"""Collective algorithms as schedules of flows: who sends how much to whom in which step.

A schedule knows ranks, not links: `collectives` routes and times it. Message sizes are whole bytes; a tensor of M
bytes among N ranks is cut into chunks of ceil(M/N), as libraries pad. Step rule: a flow of step s starts when every
flow of step s-1 that its source sent or received is done.

Sources: ring, recursive halving-doubling and binomial tree (Thakur, Rabenseifner, Gropp, IJHPCA 2005; Rabenseifner
2004 for the fold of ranks beyond a power of two), one-shot and two-shot (the custom all-reduce kernels of TensorRT-LLM
and vLLM).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

__all__ = ["ALGORITHMS", "KINDS", "Message", "Schedule", "Step", "messages_between_all"]


class Message(NamedTuple):
    """One flow of a step, between positions in the list of ranks (or a switch and its neighbour, by name)."""

    src: int | str
    dst: int | str
    bytes: int
    wait_ps: int = 0
    """Time before the first hop, beside the software's: what a pipelined message stays behind another."""


class Step(NamedTuple):
    """Messages that start together, the same *repeats* times in a row."""

    messages: tuple[Message, ...]
    repeats: int = 1


Schedule = tuple[Step, ...]


def _chunk(size: int, ranks: int) -> int:
    return -(-size // ranks)


def _ring(ranks: int, chunk: int, rounds: int) -> Schedule:
    return (Step(tuple(Message(r, (r + 1) % ranks, chunk) for r in range(ranks)), rounds),) if rounds else ()


def _everyone(ranks: int, size: int) -> Step:
    return Step(tuple(Message(r, other, size) for r in range(ranks) for other in range(ranks) if other != r))


def ring_all_reduce(ranks: int, size: int) -> Schedule:
    """Reduce-scatter and all-gather around a ring: 2(N-1) steps of M/N."""
    return _ring(ranks, _chunk(size, ranks), 2 * (ranks - 1))


def halving_doubling_all_reduce(ranks: int, size: int) -> Schedule:
    """Exchange halves with the rank N/2 away, quarters with the one N/4 away, ..., then back: 2 log2 N steps.

    Ranks beyond a power of two first hand their tensor to a neighbour and receive the result at the end.
    """
    inner, halving = _halving(ranks, size)
    fold = tuple(Message(inner + r, r, size) for r in range(ranks - inner))
    back = tuple(Message(r, inner + r, size) for r in range(ranks - inner))
    middle = (*halving, *reversed(halving))
    return (Step(fold), *middle, Step(back)) if fold else middle


def _halving(ranks: int, size: int) -> tuple[int, Schedule]:
    inner = 1 << (ranks.bit_length() - 1)
    steps = []
    distance, part = inner // 2, size
    while distance:
        part = -(-part // 2)
        steps.append(Step(tuple(Message(r, r ^ distance, part) for r in range(inner))))
        distance //= 2
    return inner, tuple(steps)


def one_shot_all_reduce(ranks: int, size: int) -> Schedule:
    """Everyone sends the whole tensor to everyone: one step, N-1 times the bytes."""
    return (_everyone(ranks, size),) if ranks > 1 else ()


def two_shot_all_reduce(ranks: int, size: int) -> Schedule:
    """Everyone sends each rank its chunk, then everyone sends its reduced chunk to all: two steps of M/N."""
    return (_everyone(ranks, _chunk(size, ranks)),) * 2 if ranks > 1 else ()


def tree_all_reduce(ranks: int, size: int) -> Schedule:
    """Reduce to rank 0 along a binomial tree, then broadcast back."""
    down = binomial_broadcast(ranks, size)
    up = tuple(Step(tuple(Message(m.dst, m.src, m.bytes) for m in step.messages)) for step in reversed(down))
    return up + down


def ring_all_gather(ranks: int, size: int) -> Schedule:
    """Pass the shards around a ring: N-1 steps of M/N, M being the gathered tensor."""
    return _ring(ranks, _chunk(size, ranks), ranks - 1)


def direct_all_gather(ranks: int, size: int) -> Schedule:
    """Everyone sends its shard to everyone in one step; the same traffic as a direct reduce-scatter."""
    return (_everyone(ranks, _chunk(size, ranks)),) if ranks > 1 else ()


def doubling_all_gather(ranks: int, size: int) -> Schedule:
    """Exchange all that one has with the rank 1, 2, 4, ... away (a power of two of ranks), else a ring."""
    inner, halving = _halving(ranks, size)
    return tuple(reversed(halving)) if inner == ranks else ring_all_gather(ranks, size)


def halving_reduce_scatter(ranks: int, size: int) -> Schedule:
    """The first half of halving-doubling (a power of two of ranks), else a ring."""
    inner, halving = _halving(ranks, size)
    return halving if inner == ranks else ring_all_gather(ranks, size)


def pairwise_all_to_all(ranks: int, size: int) -> Schedule:
    """N-1 steps; in step k everyone sends M/N to the rank k further on."""
    part = _chunk(size, ranks)
    return tuple(Step(tuple(Message(r, (r + k) % ranks, part) for r in range(ranks))) for k in range(1, ranks))


def binomial_broadcast(ranks: int, size: int) -> Schedule:
    """In each step all who have the tensor send it on: ceil(log2 N) steps."""
    steps = []
    have = 1
    while have < ranks:
        steps.append(Step(tuple(Message(r, r + have, size) for r in range(min(have, ranks - have)))))
        have *= 2
    return tuple(steps)


def flat_broadcast(ranks: int, size: int) -> Schedule:
    """The root sends the tensor to everyone at once."""
    return (Step(tuple(Message(0, r, size) for r in range(1, ranks))),) if ranks > 1 else ()


def chain_broadcast(ranks: int, size: int, pieces: int = 16) -> Schedule:
    """The tensor passes down a chain in 16 pieces, one behind the other."""
    part = -(-size // pieces)
    steps = [
        [Message(r, r + 1, part) for r in range(ranks - 1) if 0 <= t - r < pieces] for t in range(pieces + ranks - 2)
    ]
    return tuple(Step(tuple(step)) for step in steps if step)


def send_receive(ranks: int, size: int) -> Schedule:
    """Rank 0 sends to the last rank."""
    return (Step((Message(0, ranks - 1, size),)),) if ranks > 1 else ()


ALGORITHMS: dict[str, dict[str, Callable[[int, int], Schedule]]] = {
    "all_reduce": {
        "one_shot": one_shot_all_reduce,
        "two_shot": two_shot_all_reduce,
        "halving_doubling": halving_doubling_all_reduce,
        "tree": tree_all_reduce,
        "ring": ring_all_reduce,
    },
    "all_gather": {"direct": direct_all_gather, "doubling": doubling_all_gather, "ring": ring_all_gather},
    "reduce_scatter": {"direct": direct_all_gather, "halving": halving_reduce_scatter, "ring": ring_all_gather},
    "all_to_all": {"direct": direct_all_gather, "pairwise": pairwise_all_to_all},
    "broadcast": {"binomial": binomial_broadcast, "flat": flat_broadcast, "chain": chain_broadcast},
    "send_receive": {"direct": send_receive},
}
"""Collective -> algorithm -> schedule over N ranks and M bytes. `collectives` adds `in_network` and `hierarchical`.

M is the tensor: that of every rank for all-reduce, broadcast and send/receive, the gathered one for all-gather, the
one before scattering for reduce-scatter, and all that one rank sends (its own share included) for all-to-all.
"""

_TIMES_BETWEEN_ALL = {"one_shot": 1, "two_shot": 2, "direct": 1, "pairwise": 1}


def messages_between_all(kind: str, algorithm: str, ranks: int) -> int:
    """Return how many messages *algorithm* has if every rank sends to every other one, else 0; makes none of them."""
    return 0 if kind == "send_receive" else _TIMES_BETWEEN_ALL.get(algorithm, 0) * ranks * (ranks - 1)


KINDS: Sequence[str] = tuple(ALGORITHMS)
