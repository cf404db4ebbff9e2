"""The columns that the sharing kernel works on: what is given, what changes, and how flows are laid out in them.

Plain lists for the interpreted kernel, arrays of the same content for the compiled one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

__all__ = ["BLOCK", "INFINITY", "Problem", "Routed", "State", "as_arrays", "lay_out"]

BLOCK = 64
"""Groups whose earliest departure is remembered together."""
INFINITY = float("inf")
_COUNTERS = 7


@dataclass(frozen=True, slots=True)
class Routed:
    """Flows whose routes and waits are known: columns, one entry a flow."""

    capacity: Sequence[float]
    """Bytes/s of each link."""
    routes: Sequence[tuple[int, ...]]
    """Links of each flow."""
    bytes: Sequence[float]
    start_s: Sequence[float]
    wait_s: Sequence[float]
    """Software and path latency of each flow."""
    weight: Sequence[float]
    after: Sequence[Sequence[int]]


class Problem(NamedTuple):
    """What is given. Arrays (or lists) over links, groups, flows, or hops (a route's links, group by group)."""

    capacity: Any
    """Bytes/s of each link."""
    hop_offset: Any
    """First hop of each group, and the end."""
    hop_link: Any
    """Link of each hop."""
    hop_group: Any
    """Group of each hop."""
    link_offset: Any
    """First place of each link in `State.link_hops`, and the end."""
    group_offset: Any
    """First place of each group in `State.members`, and the end."""
    flow_group: Any
    """Group of each flow; -1 for a flow that passes no link."""
    flow_bytes: Any
    flow_weight: Any
    flow_start: Any
    flow_wait: Any
    """Seconds between ready and joining: software and path latency."""
    then_offset: Any
    """First place of each flow in `then_flow`, and the end."""
    then_flow: Any
    """Flows that wait for a flow."""


class State(NamedTuple):
    """What changes. Same kinds of arrays; `finish` and `carried` are the answer."""

    count: Any
    waiting: Any
    """Flows that each flow still waits for."""
    ready: Any
    finish: Any
    arrival_time: Any
    arrival_flow: Any
    until: Any
    """Service of its group at which a flow leaves."""
    members: Any
    """A heap of flows by `until` for each group."""
    size: Any
    """Flows in each group."""
    service: Any
    time: Any
    """Instant to which `service` is counted."""
    rate: Any
    """Bytes/s per unit of weight."""
    next_rate: Any
    weight: Any
    """Sum of the weights in each group."""
    leave: Any
    """Instant of each group's next departure."""
    carried: Any
    """Bytes that each group has moved."""
    block_leave: Any
    """Earliest `leave` in each block of groups."""
    link_hops: Any
    """Hops of living groups on each link."""
    link_size: Any
    hop_place: Any
    """Place of each hop in `link_hops`."""
    residual: Any
    free_weight: Any
    free_hops: Any
    level: Any
    level_heap: Any
    part_links: Any
    part_groups: Any
    link_mark: Any
    group_mark: Any
    block_mark: Any


def lay_out(routed: Routed) -> tuple[Problem, State]:
    """Group the flows by route and lay everything out as columns."""
    routes: dict[tuple[int, ...], int] = {}
    flow_group = [routes.setdefault(tuple(route), len(routes)) if route else -1 for route in routed.routes]
    hops = [(link, group) for route, group in routes.items() for link in route]
    dependents: list[list[int]] = [[] for _ in routed.after]
    for flow, before in enumerate(routed.after):
        for earlier in before:
            dependents[earlier].append(flow)
    problem = Problem(
        capacity=list(routed.capacity) or [1.0],
        hop_offset=_offsets([len(route) for route in routes]),
        hop_link=[link for link, _ in hops],
        hop_group=[group for _, group in hops],
        link_offset=_offsets(_counts([link for link, _ in hops], len(routed.capacity))),
        group_offset=_offsets(_counts([group for group in flow_group if group >= 0], len(routes))),
        flow_group=flow_group,
        flow_bytes=list(routed.bytes),
        flow_weight=list(routed.weight),
        flow_start=list(routed.start_s),
        flow_wait=list(routed.wait_s),
        then_offset=_offsets([len(flows) for flows in dependents]),
        then_flow=[flow for flows in dependents for flow in flows],
    )
    return problem, _state(problem, [len(before) for before in routed.after])


def _state(problem: Problem, waiting: list[int]) -> State:
    flows, groups, links = len(waiting), len(problem.hop_offset) - 1, len(problem.capacity)
    hops, blocks = len(problem.hop_link), -(-groups // BLOCK)
    return State(
        count=[0] * _COUNTERS,
        waiting=waiting,
        ready=[0.0] * flows,
        finish=[0.0] * flows,
        arrival_time=[0.0] * flows,
        arrival_flow=[0] * flows,
        until=[0.0] * flows,
        members=[0] * flows,
        size=[0] * groups,
        service=[0.0] * groups,
        time=[0.0] * groups,
        rate=[0.0] * groups,
        next_rate=[0.0] * groups,
        weight=[0.0] * groups,
        leave=[INFINITY] * groups,
        carried=[0.0] * groups,
        block_leave=[INFINITY] * blocks,
        link_hops=[0] * hops,
        link_size=[0] * links,
        hop_place=[0] * hops,
        residual=[0.0] * links,
        free_weight=[0.0] * links,
        free_hops=[0] * links,
        level=[0.0] * links,
        level_heap=[0] * links,
        part_links=[0] * links,
        part_groups=[0] * groups,
        link_mark=[0] * links,
        group_mark=[0] * groups,
        block_mark=[0] * blocks,
    )


def _offsets(counts: Sequence[int]) -> list[int]:
    offsets = [0]
    for count in counts:
        offsets.append(offsets[-1] + count)
    return offsets


def _counts(items: Sequence[int], kinds: int) -> list[int]:
    counts = [0] * kinds
    for item in items:
        counts[item] += 1
    return counts


def as_arrays(problem: Problem, state: State) -> tuple[Problem, State]:
    """Return the same columns as arrays of int64 and float64."""
    return Problem(*map(_array, problem)), State(*map(_array, state))


def _array(column: list[float] | list[int]) -> Any:
    import numpy as np  # noqa: PLC0415 - only large problems need arrays

    floats = bool(column) and isinstance(column[0], float)
    return np.array(column, dtype=np.float64 if floats else np.int64)
