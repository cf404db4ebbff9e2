"""The slow, readable twin of the flow solver: every event re-solves every flow from nothing."""

from __future__ import annotations

import math
from dataclasses import dataclass

from archsim.network.columns import Routed


@dataclass
class _Active:
    flow: int
    left: float
    rate: float = 0.0


def finish_times(routed: Routed) -> list[float]:
    """Return when each flow finishes under weighted max-min sharing, latency first."""
    count = len(routed.bytes)
    finish = [math.inf] * count
    joining = {flow: routed.start_s[flow] + routed.wait_s[flow] for flow in range(count) if not routed.after[flow]}
    started = set(joining)
    active: list[_Active] = []
    now = 0.0
    while joining or active:
        _share(routed, active)
        leaving = {job.flow: now + job.left / job.rate for job in active}
        then = min([*leaving.values(), *joining.values()])
        for job in active:
            job.left -= job.rate * (then - now)
        now = then
        done = [job for job in active if leaving[job.flow] <= now]
        active = [job for job in active if leaving[job.flow] > now]
        for flow in sorted(flow for flow, time in joining.items() if time <= now):
            del joining[flow]
            job = _Active(flow, routed.bytes[flow])
            (active if routed.routes[flow] and job.left > 0 else done).append(job)
        for job in done:
            finish[job.flow] = now
        for flow in range(count):
            if flow not in started and all(finish[earlier] <= now for earlier in routed.after[flow]):
                started.add(flow)
                joining[flow] = max(now, routed.start_s[flow]) + routed.wait_s[flow]
    return finish


def _share(routed: Routed, active: list[_Active]) -> None:
    """Raise all rates together until a link is full; fix the flows on it; repeat with the others."""
    left = list(routed.capacity)
    free = list(active)
    while free:
        weights = [0.0] * len(left)
        for job in free:
            for link in routed.routes[job.flow]:
                weights[link] += routed.weight[job.flow]
        level, tightest = min((left[link] / weights[link], link) for link in range(len(left)) if weights[link] > 0)
        for job in [job for job in free if tightest in routed.routes[job.flow]]:
            job.rate = level * routed.weight[job.flow]
            for link in routed.routes[job.flow]:
                left[link] -= job.rate
            free.remove(job)
