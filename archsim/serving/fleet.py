"""Replays on replicas: requests behind a router, or sources of their own whose requests follow completions (A43)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from archsim.kernel import Kernel
from archsim.serving.affinity import AFFINITY, Holdings
from archsim.serving.merging import Finished, merged_records, merged_requests, records_at_end
from archsim.serving.record import Record
from archsim.serving.requests import Arrival, Arrivals
from archsim.serving.requests import Sequence as Served
from archsim.serving.router import ROUTERS, Dispatcher, ReplicaQueue
from archsim.serving.scaling import ScaleLog, Scaler
from archsim.serving.server import Server
from archsim.serving.servers import Counter, Progress, ServerGroup, run_servers
from archsim.serving.windows import WindowLog

__all__ = ["Fleet", "Source", "fleet_of", "replay_fleet", "replay_sources"]


@dataclass(frozen=True, slots=True)
class Fleet:
    """A replay on several replicas."""

    record: Record
    """All replicas as one."""
    replicas: tuple[Record, ...]
    """Each by itself, with its own requests, idle to the end of the last; empty where there is one."""
    scaling: ScaleLog | None = None
    """When which of them ran; None: always."""


class Source(Arrivals, Protocol):
    """Requests that follow completions: of users, or of sessions."""

    def done(self, sequence: Served, now_ps: int) -> None:
        """Let come what waits for *sequence*."""


def replay_fleet(
    arrivals: Iterable[Arrival],
    group: ServerGroup,
    *,
    sessions: Sequence[int] = (),
    progress: Progress | None = None,
) -> Fleet:
    """Serve *arrivals* on the servers of *group* behind its router.

    *sessions* are those of the requests in order; without any, each is its own. Raises `InputError` as `replay` does.
    """
    kernel, limits, counter = Kernel(), group.limits, Counter(progress)
    holdings = Holdings(limits, group.count) if group.router == AFFINITY else None
    rule = limits.techniques.scaling
    scaler = Scaler(rule, group.count, kernel) if rule else None
    dispatcher = Dispatcher(
        arrivals,
        ROUTERS[group.router],
        replicas=group.count,
        sessions=sessions,
        holdings=holdings,
        scaler=scaler,
        kept=not limits.tallied,
    )

    def done(sequence: Served, now_ps: int) -> None:
        dispatcher.done(sequence)
        counter.count(sequence, now_ps)

    servers = [group.server(ReplicaQueue(dispatcher, replica, kernel), done) for replica in range(group.count)]
    run_servers(kernel, servers, [dispatcher])
    fleet = fleet_of(servers, event_count=kernel.event_count, sent=dispatcher.sent or ())
    return replace(fleet, scaling=scaler.log(fleet.record.end_ps)) if scaler else fleet


def replay_sources(
    sources: Sequence[Source], group: ServerGroup, *, progress: Progress | None = None, log: WindowLog | None = None
) -> Fleet:
    """Serve each of *sources* on a server of its own until nobody asks; *log* is that of a single one."""
    kernel, counter = Kernel(), Counter(progress, every=1)

    def server_of(source: Source) -> Server:
        def done(sequence: Served, now_ps: int) -> None:
            source.done(sequence, now_ps)
            counter.count(sequence, now_ps)

        return group.server(source, done, log=log)

    servers = [server_of(source) for source in sources]
    run_servers(kernel, servers)
    return fleet_of(servers, event_count=kernel.event_count)


def fleet_of(servers: Sequence[Finished], *, event_count: int, sent: Sequence[int] = ()) -> Fleet:
    """Return what finished *servers* leave, all idle to the end of the last.

    *sent* is the server of every request in order of arrival; without it they are ordered here, those of an instant by
    server. A single server is the fleet itself.
    """
    records = records_at_end(servers, event_count)
    if len(records) == 1:
        return Fleet(records[0], ())
    requests = records[0].requests
    if records[0].tally is None:
        order = np.array(sent or _by_arrival(records), dtype=np.int64)
        requests = merged_requests([record.requests for record in records], order)
    return Fleet(merged_records(records, requests), records)


def _by_arrival(records: Sequence[Record]) -> list[int]:
    keys = [(int(at), place) for place, record in enumerate(records) for at in record.requests.arrival_ps]
    return [place for _, place in sorted(keys)]
