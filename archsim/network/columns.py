"""The two columns that the sharing kernel works on, and how flows are laid out in them.

All integers stand in one column and all floats in another; `Places` says where each part of them begins. Compiled code
passes and indexes two arrays far faster than forty, and the interpreted kernel does with two lists.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

__all__ = [
    "ARRIVALS", "BLOCK", "DONE", "GROUPS", "INFINITY", "LEVELS", "LINKS", "SOLVES", "WORK", "Floats", "Ints", "Places",
    "Routed", "as_arrays", "lay_out",
]  # fmt: skip

BLOCK = 64
"""Groups whose earliest departure is remembered together."""
INFINITY = float("inf")
ARRIVALS, LINKS, GROUPS, SOLVES, DONE, LEVELS, WORK = range(7)
"""The first integers: arrivals waiting, links and groups of the touched part, solves, flows done, links in the heap of
levels, and the work done, in groups solved."""
_COUNTERS = 7

Ints = Any
"""A list of int, or an array of int64."""
Floats = Any
"""A list of float, or an array of float64."""


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


class Places(NamedTuple):
    """How many there are of each thing, and where each part begins.

    Parts have one entry for each link, group (all flows of one route), flow, or hop (a link of a group's route).
    """

    flows: int
    groups: int
    blocks: int

    hop_offset: int
    """Integers, given: first hop of each group, and the end."""
    hop_link: int
    hop_group: int
    link_offset: int
    """First place of each link in `link_groups`, and the end."""
    group_offset: int
    """First place of each group in `members`, and the end."""
    flow_group: int
    """Group of each flow; -1 for a flow that passes no link."""
    then_offset: int
    """First place of each flow in `then_flow`, and the end."""
    then_flow: int
    """Flows that wait for a flow."""
    waiting: int
    """Integers that change: how many flows each flow still waits for."""
    arrival_flow: int
    members: int
    """A heap of flows by `until` for each group."""
    size: int
    """Flows in each group."""
    link_groups: int
    """Living groups on each link."""
    link_hops: int
    """The hop by which each of them passes."""
    link_size: int
    hop_place: int
    """Place of each hop in `link_groups`."""
    free_hops: int
    level_heap: int
    part_links: int
    part_groups: int
    link_mark: int
    group_mark: int
    block_mark: int

    capacity: int
    """Floats, given: bytes/s of each link."""
    flow_bytes: int
    flow_weight: int
    flow_start: int
    flow_wait: int
    """Seconds between ready and joining: software and path latency."""
    ready: int
    """Floats that change: when each flow is ready and finished."""
    finish: int
    arrival_time: int
    until: int
    """Service of its group at which a flow leaves."""
    service: int
    time: int
    """Instant to which `service` is counted."""
    rate: int
    """Bytes/s per unit of weight."""
    next_rate: int
    weight: int
    """Sum of the weights in each group."""
    leave: int
    """Instant of each group's next departure."""
    carried: int
    """Bytes that each group has moved."""
    block_leave: int
    """Earliest `leave` in each block of groups."""
    residual: int
    free_weight: int
    level: int


def lay_out(routed: Routed) -> tuple[Places, list[int], list[float]]:
    """Group the flows by route and return where everything stands, all integers and all floats."""
    routes: dict[tuple[int, ...], int] = {}
    flow_group = [routes.setdefault(route, len(routes)) if route else -1 for route in routed.routes]
    hops = [(link, group) for route, group in routes.items() for link in route]
    counts = {"flow": len(flow_group), "group": len(routes), "link": len(routed.capacity), "hop": len(hops)}
    counts["block"] = -(-counts["group"] // BLOCK)
    pairs = [(earlier, flow) for flow, before in enumerate(routed.after) for earlier in before]
    pairs.sort()
    ints = {
        "hop_offset": _offsets(map(len, routes)),
        "hop_link": [link for link, _ in hops],
        "hop_group": [group for _, group in hops],
        "link_offset": _offsets(_counts((link for link, _ in hops), counts["link"])),
        "group_offset": _offsets(_counts((group for group in flow_group if group >= 0), counts["group"])),
        "flow_group": flow_group,
        "then_offset": _offsets(_counts((earlier for earlier, _ in pairs), counts["flow"])),
        "then_flow": [flow for _, flow in pairs],
        "waiting": [len(before) for before in routed.after],
    } | {name: [0] * counts[kind] for kind, names in _CHANGING_INTS.items() for name in names}
    floats: dict[str, Sequence[float]] = {
        "capacity": routed.capacity,
        "flow_bytes": routed.bytes,
        "flow_weight": routed.weight,
        "flow_start": routed.start_s,
        "flow_wait": routed.wait_s,
    } | {name: [first] * counts[kind] for (kind, first), names in _CHANGING_FLOATS.items() for name in names}
    places = _places(ints, _COUNTERS) | _places(floats, 0)
    sizes = {"flows": counts["flow"], "groups": counts["group"], "blocks": counts["block"]}
    return Places(**sizes, **places), _joined([0] * _COUNTERS, ints), _joined([], floats)


_CHANGING_INTS = {
    "flow": ("arrival_flow", "members"),
    "group": ("size", "part_groups", "group_mark"),
    "hop": ("link_groups", "link_hops", "hop_place"),
    "link": ("link_size", "free_hops", "level_heap", "part_links", "link_mark"),
    "block": ("block_mark",),
}
_CHANGING_FLOATS = {
    ("flow", 0.0): ("ready", "finish", "arrival_time", "until"),
    ("group", 0.0): ("service", "time", "rate", "next_rate", "weight", "carried"),
    ("group", INFINITY): ("leave",),
    ("block", INFINITY): ("block_leave",),
    ("link", 0.0): ("residual", "free_weight", "level"),
}


def as_arrays(ints: list[int], floats: list[float]) -> tuple[Any, Any]:
    """Return the two columns as arrays of int64 and float64."""
    import numpy as np  # noqa: PLC0415 - only large problems need arrays

    return np.array(ints, dtype=np.int64), np.array(floats, dtype=np.float64)


def _places(parts: Mapping[str, Sequence[Any]], start: int) -> dict[str, int]:
    places = {}
    for name, part in parts.items():
        places[name] = start
        start += len(part)
    return places


def _joined(start: list[Any], parts: Mapping[str, Sequence[Any]]) -> list[Any]:
    for part in parts.values():
        start.extend(part)
    return start


def _offsets(counts: Iterable[int]) -> list[int]:
    return [0, *itertools.accumulate(counts)]


def _counts(items: Iterable[int], kinds: int) -> list[int]:
    counts = [0] * kinds
    for item in items:
        counts[item] += 1
    return counts
