"""Who is served next: scheduling policies, each an admission and whether prompts are cut.

An admission is asked at every boundary between iterations with the waiting sequences in order, the free places in the
batch, the free KV blocks and the limits. It returns how many of the waiting, from the head, one prefill iteration
takes now; 0 means that the running sequences decode. The replay asks again only after an arrival to an empty queue, a
completion, a preemption or a prefill, so an answer may change for no other reason.

A prefill books blocks for the tokens of a sequence and the one token that it yields. Sequences that were preempted
recompute what they lost and are never mixed with fresh prompts, so that recomputed work has a phase of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from archsim.serving.requests import Limits, Sequence

__all__ = ["POLICIES", "Admission", "Policy", "prefill_first"]

Admission = Callable[[Iterable[Sequence], int, int, Limits], int]
"""(waiting, free places, free blocks, limits) -> how many of the waiting to take on now."""


def prefill_first(waiting: Iterable[Sequence], places: int, free_blocks: int, limits: Limits) -> int:
    """Serve in order of arrival, and prefill whenever the head of the queue fits: continuous batching (A25).

    As many follow the head as fit the batch, the KV blocks and `max_prefill_tokens`; nobody overtakes.
    """
    count = tokens = 0
    again = False
    if not places:
        return 0
    for sequence in waiting:
        tokens += sequence.new_tokens
        free_blocks -= sequence.own_blocks(limits)
        if count == places or free_blocks < 0:
            break
        if count and (tokens > limits.max_prefill_tokens or (sequence.generated > 0) != again):
            break
        again = sequence.generated > 0
        count += 1
    return count


def when_empty(waiting: Iterable[Sequence], places: int, free_blocks: int, limits: Limits) -> int:
    """Form a batch of the waiting, and take nobody on before all of it is done: static batching."""
    return prefill_first(waiting, places, free_blocks, limits) if places == limits.max_batch else 0


def in_order(waiting: Iterable[Sequence], places: int, free_blocks: int, limits: Limits) -> int:
    """Admit in order of arrival as many as have a place and blocks; their prompts share a budget of tokens."""
    count = 0
    again = False
    for sequence in waiting:
        free_blocks -= sequence.own_blocks(limits)
        if count == places or free_blocks < 0 or (count and (sequence.generated > 0) != again):
            break
        again = sequence.generated > 0
        count += 1
    return count


@dataclass(frozen=True, slots=True)
class Policy:
    """How a server chooses its next iteration."""

    admit: Admission
    chunked: bool = False
    """Running sequences decode in every iteration, and prompts are cut to what `max_prefill_tokens` leaves beside them
    (chunked prefill: Sarathi-Serve, OSDI 2024, and vLLM's V1 engine). Else prompts are processed whole and alone."""


POLICIES: dict[str, Policy] = {
    "prefill_first": Policy(prefill_first),
    "decode_first": Policy(in_order, chunked=True),
    "static": Policy(when_empty),
}
"""Policies by the name that a runtime gives."""
