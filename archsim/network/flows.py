"""Flows over a network: who sends how much to whom, after what; and when each is done.

A19: the answer is that of max-min fair sharing, latency first (`sharing`), in float64 seconds. Rates have no per-flow
cap and messages no headers. Weights are equal unless a flow says otherwise: NVLink and on-chip arbiters are fair by
packet.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

from archsim.errors import SimulationError
from archsim.network import sharing
from archsim.network.columns import DONE, SOLVES, WORK, Places, Routed, as_arrays, lay_out
from archsim.network.topology import Network

__all__ = ["INTERPRETED_WORK", "Flow", "FlowTimes", "Routed", "route_flows", "solve_flows", "solve_routed"]

INTERPRETED_WORK = 30_000
"""Work (`columns.WORK`) that the interpreted kernel does, a fifth of a second, before the compiled one starts over:
importing numba and its cache takes twice as long, and most collectives need far less."""
_INTERPRETED_FLOWS = 2000
_INTERPRETED_IN_ALL = 10 * INTERPRETED_WORK
"""The same over all problems of a process, such as the exchanges of many layers that differ."""
_INTERPRETED_FLOWS_BESIDE_COMPILED = 100
"""The same where the compiled kernel has been loaded already."""
_CARRIED_TOLERANCE = 1e-9
_CLOCK_TOLERANCE = 2.0**-52
"""The last bit of an instant, times a rate, is bytes that no solver in floats can tell."""


class Flow(NamedTuple):
    """One message; *src* and *dst* are ranks or node names, *after* are positions of flows in the same list."""

    src: int | str
    dst: int | str
    bytes: int
    start_s: float = 0.0
    after: tuple[int, ...] = ()
    wait_s: float = 0.0
    """Software time between ready and the first hop; the path's latency is added."""
    weight: float = 1.0


class FlowTimes(NamedTuple):
    """When each flow was ready and finished, in the order of the flows, in seconds."""

    ready_s: list[float]
    finish_s: list[float]
    solves: int
    """How often rates were solved."""

    @property
    def makespan_s(self) -> float:
        """The last finish; 0 without flows."""
        return max(self.finish_s, default=0.0)


def route_flows(network: Network, flows: Sequence[Flow]) -> Routed:
    """Look up every flow's route and path latency. Links are those that a flow passes, in the network's order."""
    routes = [network.route(flow.src, flow.dst) for flow in flows]
    latency_s = {route: network.latency_ps(route) * 1e-12 for route in dict.fromkeys(routes)}
    passed = sorted({link for route in latency_s for link in route})
    place = {link: number for number, link in enumerate(passed)}
    short = {route: tuple(place[link] for link in route) for route in latency_s}
    waits = [flow.wait_s + latency_s[route] for flow, route in zip(flows, routes, strict=True)]
    return Routed(
        capacity=[float(network.links[link].bytes_per_s) for link in passed],
        routes=[short[route] for route in routes],
        bytes=[float(flow.bytes) for flow in flows],
        start_s=[flow.start_s for flow in flows],
        wait_s=waits,
        weight=[flow.weight for flow in flows],
        after=[flow.after for flow in flows],
    )


def solve_flows(network: Network, flows: Sequence[Flow]) -> FlowTimes:
    """Return when each of *flows* is ready and done on *network*.

    Raises `SimulationError` for flows that wait for each other in a circle.
    """
    return solve_routed(route_flows(network, flows))


def solve_routed(routed: Routed) -> FlowTimes:
    """Return when each flow is ready and done. Large problems are compiled, with the same bits as answer."""
    places, ints, floats = lay_out(routed)
    loaded = sharing.compiled_share.cache_info().currsize > 0
    spent = _interpreted()
    loads = loaded or spent[0] > _INTERPRETED_IN_ALL
    small = places.flows <= (_INTERPRETED_FLOWS_BESIDE_COMPILED if loads else _INTERPRETED_FLOWS)
    if small:
        sharing.share(places, ints, floats, INTERPRETED_WORK)
        spent[0] += ints[WORK]
    if not small or ints[WORK] > INTERPRETED_WORK:
        columns = as_arrays(*(lay_out(routed)[1:] if small else (ints, floats)))
        sharing.compiled_share()(places, *columns, sharing.ENDLESS)
        ints, floats = columns[0].tolist(), columns[1].tolist()
    _check(routed, places, ints, floats)
    ready, finish = (floats[part : part + places.flows] for part in (places.ready, places.finish))
    return FlowTimes(ready, finish, ints[SOLVES])


@lru_cache(maxsize=1)
def _interpreted() -> list[int]:
    """Return the work that this process has interpreted; it decides on the kernel, and no answer depends on that."""
    return [0]


def _check(routed: Routed, places: Places, ints: list[int], floats: list[float]) -> None:
    """Every flow has finished, and each route has carried the bytes that were given to it."""
    if ints[DONE] != places.flows:
        stuck = [flow for flow in range(places.flows) if ints[places.waiting + flow] > 0][:5]
        lost = places.flows - ints[DONE]
        raise SimulationError(f"{lost} of {places.flows} flows never start: {stuck} wait in a circle")
    given: list[list[float]] = [[] for _ in range(places.groups)]
    for size, group in zip(routed.bytes, ints[places.flow_group : places.flow_group + places.flows], strict=True):
        if group >= 0:
            given[group].append(size)
    latest = max(floats[places.finish : places.finish + places.flows], default=0.0)
    clock_bytes = _CLOCK_TOLERANCE * latest * max(routed.capacity, default=0.0) * (ints[SOLVES] + 1)
    for group, amounts in enumerate(given):
        total, carried = math.fsum(amounts), floats[places.carried + group]
        if abs(carried - total) > _CARRIED_TOLERANCE * total + clock_bytes:
            raise SimulationError(f"route {group} was given {total:.17g} bytes and carried {carried:.17g}")
