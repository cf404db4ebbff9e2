"""Replicas behind a router: every request goes to one of several servers that share nothing else.

P6: each replica is a server of its own (`replay`), with its own queue, batch and KV cache; all run in one simulation.
The router decides at the instant of arrival, by what it can know then: which requests it has sent where and which of
them are done. A policy is a function of the request and of the tokens that each replica still owes; `ROUTERS` names
them.

The record of the fleet sums its replicas: iterations, phases and idle time are those of all of them together, and a
window spans the mean of theirs, so that

    replicas * (end - start)  =  idle + sum over phases of their time
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple, Protocol

import numpy as np

from archsim.errors import InputError, Problem, did_you_mean
from archsim.kernel import Kernel, Process
from archsim.result import RequestColumns
from archsim.serving.affinity import AFFINITY, Holdings
from archsim.serving.costs import Costs
from archsim.serving.policies import POLICIES
from archsim.serving.prefix import PrefixUse
from archsim.serving.record import Record, Window
from archsim.serving.replay import Progress
from archsim.serving.requests import Arrival, Arrivals, ArrivalStream, Limits
from archsim.serving.requests import Sequence as Served
from archsim.serving.scaling import ScaleLog, Scaler
from archsim.serving.server import Server
from archsim.serving.tier import TierUse
from archsim.serving.windows import MOST_WINDOWS

__all__ = [
    "DEALT",
    "ROUTERS",
    "Desk",
    "Door",
    "Fleet",
    "Offer",
    "Router",
    "fleet_of",
    "least_tokens",
    "merged_requests",
    "merged_windows",
    "prefix_affinity",
    "replay_fleet",
    "round_robin",
    "session_affinity",
    "together_tiers",
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


@dataclass(frozen=True, slots=True)
class Fleet:
    """A replay on several replicas."""

    record: Record
    """All replicas as one."""
    replicas: tuple[Record, ...]
    """Each by itself, with its own requests, idle to the end of the last; empty where there is one."""
    scaling: ScaleLog | None = None
    """When which of them ran; None: always."""


class Desk:
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


class Door:
    """One replica's requests, as its server asks for them."""

    def __init__(self, desk: Desk, replica: int, kernel: Clock) -> None:
        self._desk = desk
        self._queue = desk.queues[replica]
        self._kernel = kernel

    @property
    def next_ps(self) -> int | None:
        """When the next request arrives; before it is routed, the earliest that it can."""
        self._desk.route_until(self._kernel.now_ps)
        return self._queue[0].arrival_ps if self._queue else self._desk.stream.next_ps

    def take(self) -> Served:
        """Return the next request."""
        return self._queue.popleft()


def replay_fleet(
    arrivals: Iterable[Arrival],
    costs: Costs,
    *,
    limits: Limits,
    replicas: int,
    router: str = DEALT,
    policy: str = "prefill_first",
    sessions: Sequence[int] = (),
    progress: Progress | None = None,
) -> Fleet:
    """Serve *arrivals* on *replicas* equal servers of *costs* and *limits* behind *router*, a key of `ROUTERS`.

    *sessions* are those of the requests in order; without any, each is its own. Raises `InputError` as `replay` does,
    and for an unknown router.
    """
    for kind, name, known in (("router", router, list(ROUTERS)), ("policy", policy, list(POLICIES))):
        if name not in known:
            raise InputError(Problem(kind, "", name, f"one of {', '.join(known)}{did_you_mean(name, known)}"))
    kernel = Kernel()
    holdings = Holdings(limits, replicas) if router == AFFINITY else None
    rule = limits.techniques.scaling
    scaler = Scaler(rule, replicas, kernel) if rule else None
    desk = Desk(
        arrivals,
        ROUTERS[router],
        replicas=replicas,
        sessions=sessions,
        holdings=holdings,
        scaler=scaler,
        kept=not limits.tallied,
    )
    served = 0

    def done(sequence: Served, now_ps: int) -> None:
        nonlocal served
        served += 1
        desk.done(sequence)
        if progress is not None and served % _PROGRESS_EVERY == 0:
            progress(served, now_ps)

    servers = [
        Server(Door(desk, replica, kernel), costs, limits=limits, policy=POLICIES[policy], done=done)
        for replica in range(replicas)
    ]
    kernel.process(desk.serve(kernel))
    processes = [kernel.process(server.serve(kernel)) for server in servers]
    kernel.run_until(kernel.all_of(processes), waiting_for="the last completion")
    fleet = fleet_of(servers, event_count=kernel.event_count, sent=desk.sent or ())
    return replace(fleet, scaling=scaler.log(fleet.record.end_ps)) if scaler else fleet


class Finished(Protocol):
    """A server whose work is done."""

    @property
    def now_fine(self) -> int:
        """The end of all that it has done."""

    def idle_until(self, end_fine: int) -> None:
        """Book the time from there to *end_fine* as idle."""

    def record(self, event_count: int) -> Record:
        """Return what it leaves."""


def fleet_of(servers: Sequence[Finished], *, event_count: int, sent: Sequence[int] = ()) -> Fleet:
    """Return what finished *servers* leave, all idle to the end of the last.

    *sent* is the server of every request in order of arrival; without it they are ordered here, those of an instant by
    server. A single server is the fleet itself.
    """
    end_fine = max(server.now_fine for server in servers)
    for server in servers:
        server.idle_until(end_fine)
    records = tuple(server.record(event_count) for server in servers)
    if len(records) == 1:
        return Fleet(records[0], ())
    return Fleet(_together(records, np.array(sent or _by_arrival(records), dtype=np.int64)), records)


def _by_arrival(records: Sequence[Record]) -> list[int]:
    keys = [(int(at), place) for place, record in enumerate(records) for at in record.requests.arrival_ps]
    return [place for _, place in sorted(keys)]


_PROGRESS_EVERY = 256


def _together(records: tuple[Record, ...], sent: np.ndarray[tuple[int], np.dtype[np.int64]]) -> Record:
    windows = merged_windows([record.windows for record in records])
    return Record(
        requests=records[0].requests
        if records[0].tally
        else merged_requests([record.requests for record in records], sent),
        tally=records[0].tally and records[0].tally.with_others([one.tally for one in records[1:] if one.tally]),
        windows=windows,
        total=Window.of(windows),
        completed=sum(record.completed for record in records),
        rejected=sum(record.rejected for record in records),
        preemptions=sum(record.preemptions for record in records),
        decode_tokens=sum(record.decode_tokens for record in records),
        peak_kv_blocks=max(record.peak_kv_blocks for record in records),
        event_count=records[0].event_count,
        answered=sum(record.answered for record in records),
        observer=records[0].observer
        and records[0].observer.with_others([record.observer for record in records[1:] if record.observer]),
        draft_tokens=sum(record.draft_tokens or 0 for record in records)
        if records[0].draft_tokens is not None
        else None,
        prefixes=_together_prefixes(records),
        tier=together_tiers(records),
    )


def together_tiers(records: Sequence[Record]) -> TierUse | None:
    """Return what moved to the tiers of all *records* and back."""
    uses = [record.tier for record in records if record.tier is not None]
    return sum(uses[1:], uses[0]) if uses else None


def _together_prefixes(records: Sequence[Record]) -> PrefixUse | None:
    uses = [record.prefixes for record in records if record.prefixes is not None]
    return sum(uses[1:], uses[0]) if uses else None


def merged_requests(
    tables: Sequence[RequestColumns], sent: np.ndarray[tuple[int], np.dtype[np.int64]]
) -> RequestColumns:
    """Return the rows of all replicas in order of arrival; *sent* is the replica of each request."""
    order = np.argsort(np.argsort(sent, kind="stable"), kind="stable")
    reasons = list(dict.fromkeys(reason for table in tables for reason in table.rejections))
    renamed = [
        np.array([reasons.index(reason) for reason in table.rejections], dtype=np.int64)[table.rejection]
        for table in tables
    ]
    names = ("arrival_ps", "prompt_tokens", "output_tokens", "first_token_ps", "finish_ps", "preemptions")
    columns = {name: np.concatenate([getattr(table, name) for table in tables])[order] for name in names}
    return RequestColumns(**columns, rejection=np.concatenate(renamed)[order], rejections=tuple(reasons))


def merged_windows(of_replicas: Sequence[Sequence[Window]]) -> tuple[Window, ...]:
    """Return windows of the fleet: cells of time that hold the windows which start in them."""
    count = len(of_replicas)
    end = max(windows[-1].end_fine if windows else 0 for windows in of_replicas)
    shift = max(0, end.bit_length() - MOST_WINDOWS.bit_length() + 1)
    cells: dict[int, list[Window]] = {}
    for windows in of_replicas:
        for window in windows:
            cells.setdefault(window.start_fine >> shift, []).append(window)
    # A fleet's clock is the sum of its replicas': each window moves it on by its own length.
    clock, merged = 0, []
    for cell in sorted(cells):
        whole = Window(clock // count, clock // count)
        for window in cells[cell]:
            clock += window.end_fine - window.start_fine
            whole.add(window)
        whole.end_fine = clock // count
        merged.append(whole)
    return tuple(merged)
