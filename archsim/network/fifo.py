"""Links that serve chunks first in, first out: the store-and-forward bracket beside max-min sharing.

A message is cut into chunks. A chunk holds a link for chunk/bandwidth and arrives at the next hop a latency later,
whole; there it queues behind the chunks that came before it. No rates are solved, so it is cheap; with one chunk a
message every hop serialises it again, with many a switch cuts through. Time is whole *ticks*: serving times are cut
down to them, as ASTRA-sim's congestion-aware analytical backend does with ticks of a nanosecond.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass, field

from archsim.errors import SimulationError
from archsim.network.flows import Flow
from archsim.network.topology import Network
from archsim.units import PS_PER_S

__all__ = ["FifoTimes", "solve_fifo"]


@dataclass(frozen=True, slots=True)
class FifoTimes:
    """When each flow's last chunk arrived, in the order of the flows, in picoseconds."""

    finish_ps: list[int]

    @property
    def makespan_ps(self) -> int:
        """The last arrival; 0 without flows."""
        return max(self.finish_ps, default=0)


@dataclass(slots=True)
class _Run:
    """The state of one run: the queue of (time, sequence, flow, hop, bytes) and what is still awaited."""

    waiting: list[int]
    left: list[int]
    finish: list[int]
    then: list[list[int]]
    queue: list[tuple[int, int, int, int, int]] = field(default_factory=list)
    pushed: int = 0

    def push(self, time: int, flow: int, hop: int, size: int) -> None:
        """Queue a chunk's arrival at a hop; equal times in the order of pushing."""
        heapq.heappush(self.queue, (time, self.pushed, flow, hop, size))
        self.pushed += 1


def solve_fifo(network: Network, flows: Sequence[Flow], *, chunk_bytes: int | None, tick_ps: int) -> FifoTimes:
    """Return when each flow is done where links are FIFO.

    *chunk_bytes* is the largest chunk, None for one chunk a message; *tick_ps* the unit to which the time of serving a
    chunk on a link is cut down. Raises `SimulationError` for flows that wait for each other in a circle.
    """
    routes = [network.route(flow.src, flow.dst) for flow in flows]
    run = _Run([len(flow.after) for flow in flows], [0] * len(flows), [-1] * len(flows), [[] for _ in flows])
    for index, flow in enumerate(flows):
        for earlier in flow.after:
            run.then[earlier].append(index)
    for index, flow in enumerate(flows):
        if not flow.after:
            _send(run, flow, index, max(0, round(flow.start_s * PS_PER_S)), chunk_bytes)
    free = [0] * len(network.links)
    while run.queue:
        now, _, index, hop, size = heapq.heappop(run.queue)
        if hop == len(routes[index]):
            _arrive(run, flows, index, now, chunk_bytes)
            continue
        number = routes[index][hop]
        link = network.links[number]
        busy = size * PS_PER_S // link.bytes_per_s // tick_ps * tick_ps
        free[number] = max(now, free[number]) + busy
        run.push(free[number] + link.latency_ps, index, hop + 1, size)
    if -1 in run.finish:
        raise SimulationError(f"{run.finish.count(-1)} of {len(flows)} flows never start: they wait in a circle")
    return FifoTimes(run.finish)


def _send(run: _Run, flow: Flow, index: int, now: int, chunk_bytes: int | None) -> None:
    start = now + round(flow.wait_s * PS_PER_S)
    chunk = chunk_bytes or max(flow.bytes, 1)
    sizes = [min(chunk, flow.bytes - sent) for sent in range(0, flow.bytes, chunk)] or [0]
    run.left[index] = len(sizes)
    for size in sizes:
        run.push(start, index, 0, size)


def _arrive(run: _Run, flows: Sequence[Flow], index: int, now: int, chunk_bytes: int | None) -> None:
    run.left[index] -= 1
    if run.left[index]:
        return
    run.finish[index] = now
    for later in run.then[index]:
        run.waiting[later] -= 1
        if run.waiting[later] == 0:
            _send(run, flows[later], later, max(now, round(flows[later].start_s * PS_PER_S)), chunk_bytes)
