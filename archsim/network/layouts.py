"""Layouts: which nodes a topology has and which of them are wired together.

A layout is pure structure, without rates: `topology.build_network` puts bandwidth and latency on its wires. Endpoints
are `chip0`, `chip1`, ... in rank order; everything else is a switch or router. A wire is full duplex and becomes two
directed links. Wires of tier 1 take the second rate of `NetworkOptions` (scale-out, wafer stitch, global link).

Sources of the shapes: fat-tree (Leiserson 1985; k-ary three-level form of Al-Fares et al., SIGCOMM 2008), dragonfly
(Kim et al., ISCA 2008; router r of group G holds the global links to groups G + r h + 1 ... G + r h + h).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from archsim.errors import InputError, Problem

__all__ = [
    "LAYOUTS",
    "MOST_WIRES",
    "Dragonfly",
    "Layout",
    "Wire",
    "dragonfly_router",
    "dragonfly_shape",
    "grid_index",
    "grid_position",
]


class Wire(NamedTuple):
    """A full-duplex wire between two nodes; *tier* picks its rate, *weight* its cost for shortest routes."""

    a: str
    b: str
    tier: int = 0
    weight: int = 1


MOST_WIRES = 500_000
"""More wires than any machine has; beyond them a graph fills the memory of the machine that simulates it."""


@dataclass(frozen=True, slots=True)
class Layout:
    """Structure of a topology over some chips."""

    wires: tuple[Wire, ...]
    routing: str
    """Name of the routing that belongs to the topology (a key of `routing.ROUTINGS`)."""
    switches: tuple[str, ...] = ()
    shape: tuple[int, ...] = ()
    """Extents of a grid, or the parameters of a fat-tree or dragonfly."""
    wraps: bool = False
    """Whether the dimensions of a grid are closed to rings."""
    node_chips: int = 0
    """Neighbouring chips that share a switch of their own below the network between nodes; 0: there are no nodes."""


def _refuse(key: str, value: object, expected: str) -> InputError:
    return InputError(Problem("", f"network.{key}", str(value), expected))


def _check_wires(topology: str, count: int) -> None:
    """Refuse a graph before it is made that would not fit a machine's memory."""
    if count > MOST_WIRES:
        raise _refuse("topology", topology, f"a graph of at most {MOST_WIRES:,} wires, not {count:,}")


def none(chips: int, shape: tuple[int, ...]) -> Layout:
    """One chip alone."""
    _refuse_shape(shape, "none")
    if chips != 1:
        raise _refuse("topology", "none", f"a topology that connects {chips} chips; 'none' is for one chip")
    return Layout((), "shortest")


def switch(chips: int, shape: tuple[int, ...]) -> Layout:
    """Every chip on one non-blocking switch."""
    _refuse_shape(shape, "switch")
    wires = tuple(Wire(f"chip{i}", "switch0") for i in range(chips))
    return Layout(wires, "shortest", ("switch0",))


def full_mesh(chips: int, shape: tuple[int, ...]) -> Layout:
    """A wire between every two chips."""
    _refuse_shape(shape, "full_mesh")
    _check_wires("full_mesh", chips * (chips - 1) // 2)
    wires = tuple(Wire(f"chip{i}", f"chip{j}") for i in range(chips) for j in range(i + 1, chips))
    return Layout(wires, "shortest")


def ring(chips: int, shape: tuple[int, ...]) -> Layout:
    """A closed chain; equal distances go up."""
    return torus(chips, shape or (chips,))


def torus(chips: int, shape: tuple[int, ...]) -> Layout:
    """A grid of one, two or three dimensions whose lines are closed (a line of two has one wire)."""
    return _grid(chips, shape, "torus", wraps=True)


def mesh(chips: int, shape: tuple[int, ...]) -> Layout:
    """A grid of one, two or three dimensions with open ends."""
    return _grid(chips, shape, "mesh", wraps=False)


def wafer_mesh(chips: int, shape: tuple[int, ...]) -> Layout:
    """A 2D mesh `(x, y, dies_x, dies_y)` cut into dies; wires across a die edge (the stitch) are of tier 1."""
    if len(shape) != 4 or min(shape) < 1 or shape[0] % shape[2] or shape[1] % shape[3]:
        raise _refuse("shape", list(shape), "x, y, dies_x, dies_y, where the dies divide the mesh evenly")
    x, y, dies_x, dies_y = shape
    plain = _grid(chips, (x, y), "wafer_mesh", wraps=False)
    die = (x // dies_x, y // dies_y)

    def die_of(node: str) -> tuple[int, int]:
        px, py = grid_position(int(node.removeprefix("chip")), (x, y))
        return px // die[0], py // die[1]

    wires = tuple(wire._replace(tier=int(die_of(wire.a) != die_of(wire.b))) for wire in plain.wires)
    return Layout(wires, "dimension_order", shape=(x, y))


def two_level(chips: int, shape: tuple[int, ...]) -> Layout:
    """Nodes of `shape = (chips per node,)` on a switch each; every chip has a port (tier 1) on one spine."""
    if len(shape) != 1 or shape[0] < 1 or chips % shape[0]:
        raise _refuse("shape", list(shape), f"[chips per node], a divisor of {chips} chips")
    nodes = chips // shape[0]
    inside = tuple(Wire(f"chip{i}", f"switch{i // shape[0]}") for i in range(chips))
    outside = tuple(Wire(f"chip{i}", "spine0", tier=1, weight=2) for i in range(chips)) if nodes > 1 else ()
    switches = tuple(f"switch{i}" for i in range(nodes)) + (("spine0",) if nodes > 1 else ())
    return Layout(inside + outside, "shortest", switches, shape, node_chips=shape[0])


def fat_tree(chips: int, shape: tuple[int, ...]) -> Layout:
    """Three levels of switches with `shape = (k,)` ports: k pods, room for k^3/4 chips, full bisection."""
    if len(shape) != 1 or shape[0] < 2 or shape[0] % 2:
        raise _refuse("shape", list(shape), "[k], the even number of ports of a switch")
    half = shape[0] // 2
    if chips > shape[0] * half * half:
        raise _refuse("shape", list(shape), f"k with k^3/4 >= {chips} chips; k = {shape[0]} has {shape[0] * half**2}")
    pods = -(-chips // half**2)
    _check_wires("fat_tree", chips + pods * 2 * half * half)
    wires = [Wire(f"chip{i}", f"edge{i // half**2}_{i // half % half}") for i in range(chips)]
    for pod in range(pods):
        wires += [Wire(f"edge{pod}_{e}", f"agg{pod}_{a}") for e in range(half) for a in range(half)]
        wires += [Wire(f"agg{pod}_{a}", f"core{a * half + c}") for a in range(half) for c in range(half)]
    switches = tuple(f"{kind}{pod}_{i}" for pod in range(pods) for kind in ("edge", "agg") for i in range(half))
    cores = tuple(f"core{c}" for c in range(half * half))
    return Layout(tuple(wires), "d_mod_k", switches + cores, shape)


def dragonfly(chips: int, shape: tuple[int, ...]) -> Layout:
    """Groups of routers, all wired inside: `shape = (a routers, p chips a router, h global wires, g groups)`.

    `(a, h, g)` is one whose chips are the routers. With fewer groups than a h + 1 some global ports are free.
    """
    if len(shape) not in (3, 4) or min(shape) < 1 or shape[0] * shape[-2] < shape[-1] - 1:
        raise _refuse("shape", list(shape), "a, p, h, g, or a, h, g where chips route, with at most g = a h + 1 groups")
    a, p, h, g = dragonfly_shape(shape)
    if chips > a * max(p, 1) * g or (p == 0 and chips < a * g):
        expected = f"a p g >= {chips} chips; it has {a * p * g}" if p else f"a g = {chips} chips; it has {a * g}"
        raise _refuse("shape", list(shape), expected)
    ports = min(a * h, g - 1)
    _check_wires("dragonfly", (chips if p else 0) + g * (a * (a - 1) + ports) // 2)
    routers = [[dragonfly_router(shape, group, r) for r in range(a)] for group in range(g)]
    wires = [Wire(f"chip{i}", routers[i // (a * p)][i // p % a]) for i in range(chips)] if p else []
    for group in routers:
        wires += [Wire(group[r], group[s]) for r in range(a) for s in range(r + 1, a)]
    for number, group in enumerate(routers):
        for port in range(ports):
            other = (number + port + 1) % g
            if number < other:
                back = (number - other - 1) % g
                wires.append(Wire(group[port // h], routers[other][back // h], tier=1))
    switches = tuple(router for group in routers for router in group) if p else ()
    return Layout(tuple(wires), "minimal_dragonfly", switches, shape)


class Dragonfly(NamedTuple):
    """The parameters of a dragonfly."""

    routers: int
    """Of a group."""
    chips: int
    """Of a router; 0: chips are the routers."""
    wires: int
    """Global ones of a router."""
    groups: int


def dragonfly_shape(shape: tuple[int, ...]) -> Dragonfly:
    """Return what *shape* says, with or without chips of a router."""
    a, *p, h, g = shape
    return Dragonfly(a, p[0] if p else 0, h, g)


def dragonfly_router(shape: tuple[int, ...], group: int, router: int) -> str:
    """Return the name of a router."""
    of = dragonfly_shape(shape)
    return f"router{group}_{router}" if of.chips else f"chip{group * of.routers + router}"


def grid_position(index: int, shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return the coordinates of a chip, first dimension fastest."""
    position = []
    for extent in shape:
        position.append(index % extent)
        index //= extent
    return tuple(position)


def grid_index(position: tuple[int, ...], shape: tuple[int, ...]) -> int:
    """Return the chip at *position*: the inverse of `grid_position`."""
    index = 0
    for coordinate, extent in zip(reversed(position), reversed(shape), strict=True):
        index = index * extent + coordinate
    return index


def _grid(chips: int, shape: tuple[int, ...], name: str, *, wraps: bool) -> Layout:
    if not 1 <= len(shape) <= 3 or min(shape) < 1 or math.prod(shape) != chips:
        raise _refuse("shape", list(shape), f"1 to 3 extents of a {name} whose product is {chips} chips")
    wires = []
    for index in range(chips):
        position = grid_position(index, shape)
        for axis, extent in enumerate(shape):
            step = position[axis] + 1
            if step == extent and not (wraps and extent > 2):
                continue
            neighbour = (*position[:axis], step % extent, *position[axis + 1 :])
            wires.append(Wire(f"chip{index}", f"chip{grid_index(neighbour, shape)}"))
    return Layout(tuple(wires), "dimension_order", shape=shape, wraps=wraps)


def _refuse_shape(shape: tuple[int, ...], topology: str) -> None:
    if shape:
        raise _refuse("shape", list(shape), f"no shape for the topology {topology!r}")


LAYOUTS: dict[str, Callable[[int, tuple[int, ...]], Layout]] = {
    "none": none,
    "switch": switch,
    "full_mesh": full_mesh,
    "ring": ring,
    "torus": torus,
    "mesh": mesh,
    "wafer_mesh": wafer_mesh,
    "two_level": two_level,
    "fat_tree": fat_tree,
    "dragonfly": dragonfly,
}
"""Topology name -> layout over some chips. `edges`, the free list, is built by `topology.build_network`."""
