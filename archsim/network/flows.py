"""Flows over a network: who sends how much to whom, after what; and when each is done.

The answer is that of max-min fair sharing, latency first (`sharing`), in float64 seconds. Rates have no per-flow cap
and messages no headers. Weights are equal unless a flow says otherwise: NVLink and on-chip arbiters are fair by packet.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from archsim.errors import SimulationError
from archsim.network import sharing
from archsim.network.columns import Problem, Routed, State, as_arrays, lay_out
from archsim.network.topology import Network

__all__ = ["INTERPRETED_WORK", "Flow", "FlowTimes", "Routed", "route_flows", "solve_flows", "solve_routed"]

INTERPRETED_WORK = 40_000
"""Route rates that are solved by the interpreted kernel (a fifth of a second) before the compiled one starts over:
importing numba and its cache takes twice as long, and most collectives need far less."""
_CARRIED_TOLERANCE = 1e-9


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
    """Look up every flow's route and path latency."""
    routes = [network.route(flow.src, flow.dst) for flow in flows]
    waits = [flow.wait_s + network.latency_ps(route) * 1e-12 for flow, route in zip(flows, routes, strict=True)]
    return Routed(
        capacity=[float(link.bytes_per_s) for link in network.links],
        routes=routes,
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
    problem, state = lay_out(routed)
    if len(routed.bytes) <= INTERPRETED_WORK:
        sharing.share(problem, state, INTERPRETED_WORK)
    if len(routed.bytes) > INTERPRETED_WORK or state.count[sharing.WORK] > INTERPRETED_WORK:
        problem, state = as_arrays(*lay_out(routed))
        sharing.compiled_share()(problem, state, sharing.ENDLESS)
    _check(routed, problem, state)
    return FlowTimes([*map(float, state.ready)], [*map(float, state.finish)], int(state.count[sharing.SOLVES]))


def _check(routed: Routed, problem: Problem, state: State) -> None:
    """Every flow has finished, and each route has carried the bytes that were given to it."""
    flows = len(routed.bytes)
    if state.count[sharing.DONE] != flows:
        stuck = [flow for flow in range(flows) if state.waiting[flow] > 0][:5]
        raise SimulationError(
            f"{flows - state.count[sharing.DONE]} of {flows} flows never start: {stuck} wait in a circle"
        )
    sent: list[list[float]] = [[] for _ in range(len(problem.hop_offset) - 1)]
    for flow, group in enumerate(problem.flow_group):
        if group >= 0:
            sent[group].append(routed.bytes[flow])
    for group, amounts in enumerate(sent):
        total = math.fsum(amounts)
        if abs(state.carried[group] - total) > _CARRIED_TOLERANCE * total:
            raise SimulationError(f"route {group} was given {total:.17g} bytes and carried {state.carried[group]:.17g}")
