"""The network of a system as a picture: labelled boxes where few, dots where many, groups where too many for dots.

A chip is blue and round, a switch black and square. Beyond 80 chips the chips of a switch, and the switches of a group
of a dragonfly, stand as one node that says how many chips it holds. Of a grid beyond 256 chips a corner is drawn.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize, to_hex
from matplotlib.patches import FancyArrowPatch

from archsim.hardware.spec import SystemSpec
from archsim.network.layouts import LAYOUTS, Wire
from archsim.report.style import SMALL_PT

__all__ = ["MOST_DOTS", "draw_network", "heat_scale"]

_CHIP, _SWITCH, _LINK = "#0072b2", "#333333", "#d55e00"
_HEAT, _COLD = "viridis_r", "#d9d9d9"
MOST_DOTS = 80
"""Chips up to which every one is drawn, except of a grid."""
_MOST_LABELLED, _MOST_OF_GRID = 16, 256
_CORNER = 8
_GROUP = re.compile(r"router(\d+)_\d+")

Point = tuple[float, float]
Links = Sequence[tuple[str, str]]


def draw_network(axes: Axes, spec: SystemSpec, heat: Mapping[str, float] | None = None) -> None:
    """Draw the chips of *spec* and their links into *axes*.

    With *heat*, link (`chip0-switch0`) -> share of its peak, links take its colour: of both ways, and of all that a
    drawn line stands for, the busiest.
    """
    axes.set_aspect("equal")
    if spec.network.topology in ("torus", "mesh"):
        _draw_grid(axes, spec, _colours(heat, {}))
    else:
        links, held, above = _contracted(spec)
        nodes = sorted({end for link in links for end in link}, key=_number)
        _draw(axes, links, _round_places(nodes, held), held, bent=(), colours=_colours(heat, above))
    axes.margins(0.14)


def heat_scale(heat: Mapping[str, float]) -> ScalarMappable:
    """Return what colours the links of *heat*: from nothing to the busiest, but one in a hundred at least."""
    return ScalarMappable(Normalize(0, _top(heat)), _HEAT)


def _top(heat: Mapping[str, float]) -> float:
    return max([*heat.values(), 0.01])


def _colours(heat: Mapping[str, float] | None, above: Mapping[str, str]) -> Mapping[frozenset[str], str]:
    """Return the ends of each drawn line -> its colour; *above* says which node stands for another."""
    if heat is None:
        return {}
    shares: dict[frozenset[str], float] = {}
    for name, share in heat.items():
        ends = frozenset(above.get(end, end) for end in name.split("-"))
        shares[ends] = max(shares.get(ends, 0.0), share)
    shades, top = colormaps[_HEAT], _top(heat)
    return {ends: to_hex(shades(share / top)) if share else _COLD for ends, share in shares.items()}


def _number(node: str) -> tuple[str, list[int]]:
    return re.sub(r"\d+", "", node), [int(digits) for digits in re.findall(r"\d+", node)]


def _contracted(spec: SystemSpec) -> tuple[Links, Mapping[str, int], Mapping[str, str]]:
    """Return the links to draw, node -> chips it stands for, and node -> who stands for it.

    The latter two are empty where every chip stands for itself.
    """
    links = _links(spec)
    if spec.chips <= MOST_DOTS:
        return links, {}, {}
    above: dict[str, str] = {}
    for a, b in (pair for link in links for pair in (link, link[::-1])):
        if _is_chip(a) and not _is_chip(b):
            above.setdefault(a, _group_of(b))
    if not above and spec.network.topology == "dragonfly":
        above = {f"chip{index}": f"group{index // spec.network.shape[0]}" for index in range(spec.chips)}
    if len(set(above.values())) < 2:
        return links, {}, {}
    chips = Counter(above.values())
    above |= {node: _group_of(node) for link in links for node in link if node not in above}
    named = [(above[a], above[b]) for a, b in links]
    named = [(min(pair, key=_number), max(pair, key=_number)) for pair in named]
    return list(dict.fromkeys((a, b) for a, b in named if a != b)), chips, above


def _links(spec: SystemSpec) -> Links:
    network = spec.network
    if network.topology == "edges":
        return list(dict.fromkeys((min(edge.src, edge.dst), max(edge.src, edge.dst)) for edge in network.edges))
    wires: Iterable[Wire] = LAYOUTS[network.topology](spec.chips, network.shape).wires
    return [(wire.a, wire.b) for wire in wires]


def _group_of(node: str) -> str:
    match = _GROUP.fullmatch(node)
    return f"group{match[1]}" if match else node


def _is_chip(node: str) -> bool:
    return re.fullmatch(r"chip\d+", node) is not None


def _round_places(nodes: Sequence[str], held: Mapping[str, int]) -> dict[str, Point]:
    """Return chips, or what stands for them, on a circle, and the switches above them inside it."""
    outer = [node for node in nodes if (node in held if held else _is_chip(node))]
    inner = [node for node in nodes if node not in set(outer)]
    places = {node: _on_circle(index, len(outer), 1.0) for index, node in enumerate(outer)}
    if len(inner) == 1:
        return places | {inner[0]: (0.0, 0.0)}
    return places | {node: _on_circle(index, len(inner), 0.45) for index, node in enumerate(inner)}


def _on_circle(index: int, count: int, radius: float) -> Point:
    angle = math.pi / 2 - 2 * math.pi * index / count
    return radius * math.cos(angle), radius * math.sin(angle)


def _draw_grid(axes: Axes, spec: SystemSpec, colours: Mapping[frozenset[str], str]) -> None:
    shape = spec.network.shape or (spec.chips,)
    if spec.chips > _MOST_OF_GRID:
        shape = tuple(min(extent, _CORNER) for extent in shape)
        axes.text(0.5, -0.02, f"a corner of {shape[0]} x {shape[-1]}", transform=axes.transAxes, ha="center")
    count, wraps = math.prod(shape), spec.network.topology == "torus" and spec.chips <= _MOST_OF_GRID
    places = {f"chip{index}": _grid_place(index, shape) for index in range(count)}
    links, around = [], []
    for index in range(count):
        stride = 1
        for extent in shape:
            at = index // stride % extent
            if at + 1 < extent:
                links.append((f"chip{index}", f"chip{index + stride}"))
            elif wraps and extent > 2:
                around.append((f"chip{index}", f"chip{index - at * stride}"))
            stride *= extent
    _draw(axes, links, places, {}, bent=around, colours=colours)


def _grid_place(index: int, shape: Sequence[int]) -> Point:
    """Return the place of a chip whose first axis runs across, the second down, the third aslant."""
    across, rest = index % shape[0], index // shape[0]
    down = rest % shape[1] if len(shape) > 1 else 0
    deep = rest // shape[1] if len(shape) > 2 else 0
    return across + 0.27 * deep, -float(down) + 0.19 * deep


def _draw(
    axes: Axes,
    links: Links,
    places: Mapping[str, Point],
    held: Mapping[str, int],
    *,
    bent: Links,
    colours: Mapping[frozenset[str], str],
) -> None:
    width = 1.0 if len(links) <= 128 else 0.35 if len(links) <= 1024 else 0.12
    for a, b in links:
        colour = colours.get(frozenset((a, b)), _COLD) if colours else _LINK
        heavier = 2.2 if colours else 1.0
        axes.plot(*zip(places[a], places[b], strict=True), color=colour, linewidth=width * heavier, zorder=1)
    for a, b in bent:
        # A link that closes a ring leaves on one side and comes back on the other.
        axes.add_patch(
            FancyArrowPatch(
                places[a], places[b], connectionstyle="arc3,rad=0.28", arrowstyle="-",
                color=colours.get(frozenset((a, b)), _COLD) if colours else _LINK,
                linewidth=0.6, linestyle=":", zorder=1,
            )
        )  # fmt: skip
    labelled = len(places) <= _MOST_LABELLED + 4 or bool(held)
    for node, place in places.items():
        _draw_node(axes, node, place, held, labelled=labelled)


def _draw_node(axes: Axes, node: str, place: Point, held: Mapping[str, int], *, labelled: bool) -> None:
    chip = _is_chip(node) or node in held
    text = str(held[node]) if node in held else node
    if chip and not labelled:
        axes.plot(*place, "o", color=_CHIP, markersize=4.5, zorder=2)
        return
    crowded = len(held) > 2 * _MOST_LABELLED
    axes.text(
        *place,
        text,
        ha="center",
        va="center",
        fontsize=SMALL_PT * (0.7 if crowded else 1),
        color="white",
        zorder=2,
        bbox={
            "boxstyle": ("round,pad=0.18" if crowded else "round,pad=0.35") if chip else "square,pad=0.7",
            "facecolor": _CHIP if chip else _SWITCH,
            "edgecolor": "none",
        },
    )
    axes.plot(*place, alpha=0)
