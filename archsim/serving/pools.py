"""Pools of servers: prompts in one and decoding in another, or requests divided between whole ones.

A pool is a number of equal servers (P6) behind a router. `replay_handover` joins two: every request arrives at the
prefill pool and decodes in the other (`handover`). `replay_side_by_side` runs pools that share nothing but the clock,
each with its own requests. All servers of a run end together: who is done first is idle.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from archsim.errors import InputError, Problem, did_you_mean
from archsim.kernel import Kernel
from archsim.metrics.columns import IntColumn
from archsim.result import RequestColumns
from archsim.serving.affinity import AFFINITY
from archsim.serving.costs import Costs
from archsim.serving.handover import Port, Receiver, Sender, TransferLaw, Transfers
from archsim.serving.mate import Mate
from archsim.serving.policies import POLICIES, Policy
from archsim.serving.record import Record, Window
from archsim.serving.replay import Progress
from archsim.serving.requests import Arrival, Limits
from archsim.serving.requests import Sequence as Served
from archsim.serving.router import DEALT, ROUTERS, Desk, Door, Offer, merged_requests
from archsim.serving.server import Server

__all__ = [
    "Crew",
    "PoolRecords",
    "Stage",
    "Tally",
    "Trial",
    "Wiring",
    "ended_together",
    "records_of",
    "replay_handover",
    "replay_side_by_side",
    "serve_stage",
]

_PROGRESS_EVERY = 256


@dataclass(frozen=True, slots=True)
class Crew:
    """The servers of one pool."""

    costs: Costs
    limits: Limits
    servers: int
    policy: str = "prefill_first"
    router: str = DEALT

    def __post_init__(self) -> None:
        for kind, name, known in (("router", self.router, list(ROUTERS)), ("policy", self.policy, list(POLICIES))):
            if name not in known:
                raise InputError(Problem(kind, "", name, f"one of {', '.join(known)}{did_you_mean(name, known)}"))
        if self.router == AFFINITY:
            raise InputError(Problem("router", "", AFFINITY, "another one: a pool's router knows no prefixes"))

    @property
    def rule(self) -> Policy:
        """The policy itself."""
        return POLICIES[self.policy]


@dataclass(frozen=True, slots=True)
class Trial:
    """What one model of a cascade did."""

    numbers: IntColumn
    """Place in the trace of each of its requests."""
    requests: RequestColumns
    """As its servers saw them, in the order of *numbers*."""
    total: Window
    """Its phases, on all its chips."""


@dataclass(frozen=True, slots=True)
class PoolRecords:
    """What a replay of pools leaves."""

    requests: RequestColumns
    """Of all pools, in order of arrival; where pools serve side by side, those of each pool one after the other."""
    pools: tuple[tuple[Record, ...], ...]
    """Pool -> record of each of its servers, all to the same end. A request is in the record of who ended it."""
    ports: tuple[tuple[Port, ...], ...] = ()
    """Pool -> the ports that KV caches passed."""
    transfers: Transfers | None = None
    outcome: IntColumn | None = None
    """What became of each request of a cascade (`archsim.serving.cascade`); None of other designs."""
    trials: tuple[Trial, ...] = ()
    """Of a cascade: of its first model and of its second."""


class Tally:
    """Who ended which request."""

    def __init__(self, progress: Progress | None, *, told: Callable[[Served, int], None] | None = None) -> None:
        self.ended_by: dict[int, int] = {}
        self._progress, self._told = progress, told

    def of(self, server: int, also: Callable[[Served], None], first: int = 0) -> Callable[[Served, int], None]:
        """Return what *server* calls when a sequence is done; its numbers count from *first*."""

        def done(sequence: Served, now_ps: int) -> None:
            self.ended_by[first + sequence.id] = server
            also(sequence)
            if self._told is not None:
                self._told(sequence, now_ps)
            if self._progress is not None and len(self.ended_by) % _PROGRESS_EVERY == 0:
                self._progress(len(self.ended_by), now_ps)

        return done

    def requests(self, records: Sequence[Record]) -> RequestColumns:
        """Return the requests of all *records* in the order of their numbers."""
        sent = np.array([self.ended_by[number] for number in sorted(self.ended_by)], dtype=np.int64)
        return merged_requests([record.requests for record in records], sent)


class Wiring:
    """The servers of a pool of prompts and of one that decodes, and what joins them."""

    def __init__(
        self,
        prefill: Crew,
        decode: Crew,
        law: TransferLaw,
        *,
        desk: Desk,
        doors: Sequence[Door],
        tally: Tally,
        receiver: type[Receiver] = Receiver,
    ) -> None:
        self.sums = Transfers()
        self._desk, self._router = desk, ROUTERS[decode.router]
        self._owed = [0] * decode.servers
        self._went: dict[int, int] = {}
        self.senders = [
            Sender(rank=1 + place, limits=prefill.limits, beyond=decode.limits, choose=self._choose, port=Port())
            for place in range(prefill.servers)
        ]
        first = 1 + prefill.servers
        self.receivers = [
            receiver(rank=first + place, limits=decode.limits, costs=decode.costs, law=law, port=Port(), sums=self.sums)
            for place in range(decode.servers)
        ]
        for sender in self.senders:
            sender.receivers = self.receivers
        for mate in self.receivers:
            mate.senders = self.senders
        self.servers = [
            _server(prefill, door, tally.of(place, desk.done), mate)
            for place, (door, mate) in enumerate(zip(doors, self.senders, strict=True))
        ] + [
            _server(decode, _NoDoor(), tally.of(prefill.servers + place, self._decoded), mate)
            for place, mate in enumerate(self.receivers)
        ]

    @property
    def mates(self) -> list[Sender | Receiver]:
        """The sides of all servers, in order of their ranks."""
        return [*self.senders, *self.receivers]

    def _choose(self, sequence: Served) -> Receiver:
        self._desk.done(sequence)
        tokens = sequence.prompt_tokens + sequence.output_tokens
        chosen = self._router(Offer(sequence.id, sequence.id, tokens), tuple(self._owed))
        self._owed[chosen] += tokens
        self._went[sequence.id] = chosen
        return self.receivers[chosen]

    def _decoded(self, sequence: Served) -> None:
        self._owed[self._went.pop(sequence.id)] -= sequence.prompt_tokens + sequence.output_tokens


def replay_handover(
    arrivals: Iterable[Arrival],
    *,
    prefill: Crew,
    decode: Crew,
    law: TransferLaw,
    progress: Progress | None = None,
) -> PoolRecords:
    """Serve *arrivals* until all are completed or rejected: prompts by *prefill*, further tokens by *decode*."""
    kernel, tally = Kernel(), Tally(progress)
    desk = Desk(arrivals, ROUTERS[prefill.router], replicas=prefill.servers, sessions=())
    doors = [Door(desk, place, kernel) for place in range(prefill.servers)]
    wiring = Wiring(prefill, decode, law, desk=desk, doors=doors, tally=tally)
    kernel.process(desk.serve(kernel))
    processes = [kernel.process(server.serve(kernel)) for server in wiring.servers]
    kernel.run_until(kernel.all_of(processes), waiting_for="the last completion")
    return records_of(wiring, tally, kernel.event_count)


def records_of(wiring: Wiring, tally: Tally, event_count: int) -> PoolRecords:
    """Return what the finished servers of *wiring* leave."""
    records, first = _ended_together(wiring.servers, event_count), len(wiring.senders)
    return PoolRecords(
        tally.requests(records),
        (records[:first], records[first:]),
        (tuple(sender.port for sender in wiring.senders), tuple(receiver.port for receiver in wiring.receivers)),
        wiring.sums,
    )


def replay_side_by_side(
    streams: Sequence[Sequence[Arrival]], crews: Sequence[Crew], *, progress: Progress | None = None
) -> PoolRecords:
    """Serve each of *streams* with the crew beside it until all are completed or rejected."""
    kernel, tally = Kernel(), Tally(progress)
    servers: list[Server] = []
    first = 0
    for stream, crew in zip(streams, crews, strict=True):
        desk = Desk(stream, ROUTERS[crew.router], replicas=crew.servers, sessions=())
        kernel.process(desk.serve(kernel))
        for place in range(crew.servers):
            done = tally.of(len(servers), desk.done, first)
            servers.append(_server(crew, Door(desk, place, kernel), done, None))
        first += len(stream)
    processes = [kernel.process(server.serve(kernel)) for server in servers]
    kernel.run_until(kernel.all_of(processes), waiting_for="the last completion")
    records = iter(_ended_together(servers, kernel.event_count))
    pools = tuple(tuple(next(records) for _ in range(crew.servers)) for crew in crews)
    return PoolRecords(tally.requests([record for pool in pools for record in pool]), pools)


@dataclass(frozen=True, slots=True)
class Stage:
    """A pool that has served all its requests, and has not been told when others ended."""

    servers: tuple[Server, ...]
    requests: RequestColumns
    event_count: int


def serve_stage(arrivals: Sequence[Arrival], crew: Crew, *, progress: Progress | None = None) -> Stage:
    """Serve *arrivals* with *crew* alone."""
    kernel, tally = Kernel(), Tally(progress)
    desk = Desk(arrivals, ROUTERS[crew.router], replicas=crew.servers, sessions=())
    servers = tuple(
        _server(crew, Door(desk, place, kernel), tally.of(place, desk.done), None) for place in range(crew.servers)
    )
    kernel.process(desk.serve(kernel))
    processes = [kernel.process(server.serve(kernel)) for server in servers]
    kernel.run_until(kernel.all_of(processes), waiting_for="the last completion")
    records = [server.record(kernel.event_count) for server in servers]
    return Stage(servers, tally.requests(records), kernel.event_count)


def ended_together(pools: Sequence[Sequence[Server]], event_count: int) -> tuple[tuple[Record, ...], ...]:
    """Return the records of the servers of all *pools*, each idle to the end of the last."""
    records = iter(_ended_together([server for servers in pools for server in servers], event_count))
    return tuple(tuple(next(records) for _ in servers) for servers in pools)


class _NoDoor:
    """Where nobody arrives but from another pool."""

    next_ps: int | None = None

    def take(self) -> Served:
        """Refuse: nobody is there."""
        raise IndexError("no request arrives here")


def _server(crew: Crew, door: Door | _NoDoor, done: Callable[[Served, int], None], mate: Mate | None) -> Server:
    return Server(door, crew.costs, limits=crew.limits, policy=crew.rule, done=done, mate=mate)


def _ended_together(servers: Sequence[Server], event_count: int) -> tuple[Record, ...]:
    end_fine = max(server.now_fine for server in servers)
    for server in servers:
        server.idle_until(end_fine)
    return tuple(server.record(event_count) for server in servers)
