"""Pools of servers: prompts in one and decoding in another, or requests divided between whole ones.

A pool is a number of equal servers (P6) behind a router. `replay_handover` joins two: every request arrives at the
prefill pool and decodes in the other (`handover`). `replay_side_by_side` runs pools that share nothing but the clock,
each with its own requests. All servers of a run end together: who is done first is idle.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from archsim.kernel import Kernel
from archsim.metrics.columns import IntColumn
from archsim.result import RequestColumns
from archsim.serving.handover import Port, Receiver, Sender, TransferLaw, Transfers
from archsim.serving.merging import merged_requests, records_at_end
from archsim.serving.record import Record, Window
from archsim.serving.requests import Arrival
from archsim.serving.requests import Sequence as Served
from archsim.serving.router import ROUTERS, Dispatcher, Offer, ReplicaQueue
from archsim.serving.server import Server
from archsim.serving.servers import Counter, Progress, ServerGroup, run_servers

__all__ = [
    "Completions",
    "PoolRecords",
    "Stage",
    "Trial",
    "Wiring",
    "ended_together",
    "records_of",
    "replay_handover",
    "replay_side_by_side",
    "serve_stage",
]


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


class Completions:
    """Which server ended which request."""

    def __init__(self, progress: Progress | None, *, told: Callable[[Served, int], None] | None = None) -> None:
        self.ended_by: dict[int, int] = {}
        self._counter, self._told = Counter(progress), told

    def of(self, server: int, also: Callable[[Served], None], first: int = 0) -> Callable[[Served, int], None]:
        """Return what *server* calls when a sequence is done; its numbers count from *first*."""

        def done(sequence: Served, now_ps: int) -> None:
            self.ended_by[first + sequence.id] = server
            also(sequence)
            if self._told is not None:
                self._told(sequence, now_ps)
            self._counter.count(sequence, now_ps)

        return done

    def requests(self, records: Sequence[Record]) -> RequestColumns:
        """Return the requests of all *records* in the order of their numbers."""
        sent = np.array([self.ended_by[number] for number in sorted(self.ended_by)], dtype=np.int64)
        return merged_requests([record.requests for record in records], sent)


class Wiring:
    """The servers of a pool of prompts and of one that decodes, and what joins them."""

    def __init__(
        self,
        prefill: ServerGroup,
        decode: ServerGroup,
        law: TransferLaw,
        *,
        dispatcher: Dispatcher,
        queues: Sequence[ReplicaQueue],
        completions: Completions,
        receiver: type[Receiver] = Receiver,
    ) -> None:
        self.sums = Transfers()
        self._dispatcher, self._router = dispatcher, ROUTERS[decode.router]
        self._owed = [0] * decode.count
        self._went: dict[int, int] = {}
        self.senders = [
            Sender(rank=1 + place, limits=prefill.limits, beyond=decode.limits, choose=self._choose, port=Port())
            for place in range(prefill.count)
        ]
        first = 1 + prefill.count
        self.receivers = [
            receiver(rank=first + place, limits=decode.limits, costs=decode.costs, law=law, port=Port(), sums=self.sums)
            for place in range(decode.count)
        ]
        for sender in self.senders:
            sender.receivers = self.receivers
        for connector in self.receivers:
            connector.senders = self.senders
        self.servers = [
            prefill.server(queue, completions.of(place, dispatcher.done), connector=sender)
            for place, (queue, sender) in enumerate(zip(queues, self.senders, strict=True))
        ] + [
            decode.server(_NoArrivals(), completions.of(prefill.count + place, self._decoded), connector=receiver)
            for place, receiver in enumerate(self.receivers)
        ]

    @property
    def connectors(self) -> list[Sender | Receiver]:
        """The sides of all servers, in order of their ranks."""
        return [*self.senders, *self.receivers]

    def _choose(self, sequence: Served) -> Receiver:
        self._dispatcher.done(sequence)
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
    prefill: ServerGroup,
    decode: ServerGroup,
    law: TransferLaw,
    progress: Progress | None = None,
) -> PoolRecords:
    """Serve *arrivals* until all are completed or rejected: prompts by *prefill*, further tokens by *decode*."""
    kernel, completions = Kernel(), Completions(progress)
    dispatcher = Dispatcher(arrivals, ROUTERS[prefill.router], replicas=prefill.count, sessions=())
    queues = [ReplicaQueue(dispatcher, place, kernel) for place in range(prefill.count)]
    wiring = Wiring(prefill, decode, law, dispatcher=dispatcher, queues=queues, completions=completions)
    run_servers(kernel, wiring.servers, [dispatcher])
    return records_of(wiring, completions, kernel.event_count)


def records_of(wiring: Wiring, completions: Completions, event_count: int) -> PoolRecords:
    """Return what the finished servers of *wiring* leave."""
    records, first = records_at_end(wiring.servers, event_count), len(wiring.senders)
    return PoolRecords(
        completions.requests(records),
        (records[:first], records[first:]),
        (tuple(sender.port for sender in wiring.senders), tuple(receiver.port for receiver in wiring.receivers)),
        wiring.sums,
    )


def replay_side_by_side(
    streams: Sequence[Sequence[Arrival]], groups: Sequence[ServerGroup], *, progress: Progress | None = None
) -> PoolRecords:
    """Serve each of *streams* with the group beside it until all are completed or rejected."""
    kernel, completions = Kernel(), Completions(progress)
    dispatchers: list[Dispatcher] = []
    servers: list[Server] = []
    first = 0
    for stream, group in zip(streams, groups, strict=True):
        dispatcher = Dispatcher(stream, ROUTERS[group.router], replicas=group.count, sessions=())
        for place in range(group.count):
            done = completions.of(len(servers), dispatcher.done, first)
            servers.append(group.server(ReplicaQueue(dispatcher, place, kernel), done))
        dispatchers.append(dispatcher)
        first += len(stream)
    run_servers(kernel, servers, dispatchers)
    records = iter(records_at_end(servers, kernel.event_count))
    pools = tuple(tuple(next(records) for _ in range(group.count)) for group in groups)
    return PoolRecords(completions.requests([record for pool in pools for record in pool]), pools)


@dataclass(frozen=True, slots=True)
class Stage:
    """A pool that has served all its requests, and has not been told when others ended."""

    servers: tuple[Server, ...]
    requests: RequestColumns
    event_count: int


def serve_stage(arrivals: Sequence[Arrival], group: ServerGroup, *, progress: Progress | None = None) -> Stage:
    """Serve *arrivals* with *group* alone."""
    kernel, completions = Kernel(), Completions(progress)
    dispatcher = Dispatcher(arrivals, ROUTERS[group.router], replicas=group.count, sessions=())
    servers = tuple(
        group.server(ReplicaQueue(dispatcher, place, kernel), completions.of(place, dispatcher.done))
        for place in range(group.count)
    )
    run_servers(kernel, servers, [dispatcher])
    records = [server.record(kernel.event_count) for server in servers]
    return Stage(servers, completions.requests(records), kernel.event_count)


def ended_together(pools: Sequence[Sequence[Server]], event_count: int) -> tuple[tuple[Record, ...], ...]:
    """Return the records of the servers of all *pools*, each idle to the end of the last."""
    records = iter(records_at_end([server for servers in pools for server in servers], event_count))
    return tuple(tuple(next(records) for _ in servers) for servers in pools)


class _NoArrivals:
    """Where nobody arrives but from another pool."""

    next_ps: int | None = None

    def take(self) -> Served:
        """Refuse: nobody is there."""
        raise IndexError("no request arrives here")
