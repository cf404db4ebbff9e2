"""Replicas behind a router: every request goes to one of several servers that share nothing else.

P6: each replica is a server of its own, with its own queue, batch and KV cache; all run in one simulation. The router
decides at the instant of arrival, by what it can know then: which requests it has sent where and which of them are
done. A policy is a function of the request and of the tokens that each replica still owes; `ROUTERS` names them.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple, Protocol

from archsim.kernel import Kernel, Process
from archsim.serving.affinity import AFFINITY, Holdings
from archsim.serving.requests import Arrival, Arrivals, ArrivalStream
from archsim.serving.requests import Sequence as Served
from archsim.serving.scaling import Scaler

__all__ = [
    "DEALT",
    "ROUTERS",
    "Dispatcher",
    "Offer",
    "ReplicaQueue",
    "Router",
    "least_tokens",
    "prefix_affinity",
    "round_robin",
    "session_affinity",
]


class Offer(NamedTuple):
    """What a router sees of a request."""

    id: int
    """Its place in the trace, from 0."""
    session: int
    """Requests of one session share it; the id where the trace knows no sessions."""
    tokens: int
    """Prompt and output."""
    held: tuple[int, ...] = ()
    """Tokens of its prompt that each replica holds, as far as the router knows (`affinity`)."""
    imbalance_tokens: int = 0
    """What a replica may owe beyond the one that owes the fewest, and still be chosen for what it holds."""


Router = Callable[[Offer, Sequence[int]], int]
"""(request, tokens of unfinished requests by replica) -> replica."""


def round_robin(offer: Offer, owed: Sequence[int]) -> int:
    """Deal requests to the replicas in turn."""
    return offer.id % len(owed)


def least_tokens(offer: Offer, owed: Sequence[int]) -> int:  # noqa: ARG001 - the signature of a router
    """Choose the replica whose unfinished requests have the fewest tokens, prompt and output; the first of equals."""
    return min(range(len(owed)), key=lambda replica: owed[replica])


def session_affinity(offer: Offer, owed: Sequence[int]) -> int:
    """Send all requests of a session to one replica, whatever it owes."""
    return offer.session % len(owed)


def prefix_affinity(offer: Offer, owed: Sequence[int]) -> int:
    """Choose the replica that holds most of the prompt, and of those the one that owes the fewest tokens.

    Where none holds any, or that one owes too many, the replica that owes the fewest.
    """
    best = max(range(len(owed)), key=lambda replica: (offer.held[replica], -owed[replica]))
    if offer.held[best] and owed[best] <= min(owed) + offer.imbalance_tokens:
        return best
    return least_tokens(offer, owed)


DEALT = "round_robin"
"""The router where none is named."""

ROUTERS: dict[str, Router] = {
    DEALT: round_robin,
    "least_tokens": least_tokens,
    "session_affinity": session_affinity,
    AFFINITY: prefix_affinity,
}
"""Routers by the name that a run gives."""


class Dispatcher:
    """Where requests arrive, and what the router knows."""

    def __init__(
        self,
        arrivals: Iterable[Arrival],
        router: Router,
        *,
        replicas: int,
        sessions: Sequence[int],
        holdings: Holdings | None = None,
        scaler: Scaler | None = None,
        kept: bool = True,
    ) -> None:
        self._holdings = holdings
        self._scaler = scaler
        self.stream: Arrivals = ArrivalStream(arrivals)
        self.queues: list[deque[Served]] = [deque() for _ in range(replicas)]
        self.sent: list[int] | None = [] if kept else None
        """Replica of each request, in order of arrival; None where requests are not kept."""
        self._live: dict[int, int] = {}
        """Replica of each request that is not done."""
        self._owed = [0] * replicas
        self._router = router
        self._sessions = sessions

    def route_until(self, now_ps: int) -> None:
        """Send on every request that has arrived."""
        while self.stream.next_ps is not None and self.stream.next_ps <= now_ps:
            sequence = self.stream.take()
            session = self._sessions[sequence.id] if self._sessions else sequence.id
            tokens = sequence.prompt_tokens + sequence.output_tokens
            offer, holdings = Offer(sequence.id, session, tokens), self._holdings
            open_ = range(len(self._owed)) if self._scaler is None else self._scaler.arrive(sequence.arrival_ps)
            if holdings is not None:
                held = holdings.tokens(sequence.prefix)
                held = tuple(held[replica] for replica in open_)
                offer = offer._replace(held=held, imbalance_tokens=holdings.imbalance_tokens)
            replica = open_[self._router(offer, tuple(self._owed[replica] for replica in open_))]
            if self._scaler is not None:
                self._scaler.sent(replica)
            if holdings is not None:
                holdings.send(sequence.prefix, replica)
            self._owed[replica] += tokens
            self._live[sequence.id] = replica
            if self.sent is not None:
                self.sent.append(replica)
            self.queues[replica].append(sequence)

    def done(self, sequence: Served) -> None:
        """Take note that *sequence* is completed or rejected."""
        replica = self._live.pop(sequence.id)
        self._owed[replica] -= sequence.prompt_tokens + sequence.output_tokens
        if self._scaler is not None:
            self._scaler.done(replica)

    def serve(self, kernel: Kernel) -> Process:
        """Route every request at the instant of its arrival."""
        while self.stream.next_ps is not None:
            yield kernel.wait_ps(self.stream.next_ps - kernel.now_ps)
            self.route_until(kernel.now_ps)


class Clock(Protocol):
    """What tells the time of a simulation: a `Kernel`, or a simpler one."""

    @property
    def now_ps(self) -> int:
        """The clock, in whole picoseconds."""


class ReplicaQueue:
    """One replica's requests, as its server asks for them."""

    def __init__(self, dispatcher: Dispatcher, replica: int, kernel: Clock) -> None:
        self._dispatcher = dispatcher
        self._queue = dispatcher.queues[replica]
        self._kernel = kernel

    @property
    def next_ps(self) -> int | None:
        """When the next request arrives; before it is routed, the earliest that it can."""
        self._dispatcher.route_until(self._kernel.now_ps)
        return self._queue[0].arrival_ps if self._queue else self._dispatcher.stream.next_ps

    def take(self) -> Served:
        """Return the next request."""
        return self._queue.popleft()
