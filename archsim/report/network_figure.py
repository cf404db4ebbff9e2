"""Two figures of a collective: its time over the message size, and how busy it keeps every link of the drawn graph."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import networkx as nx
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from archsim.errors import InputError, Problem
from archsim.files import write_atomically
from archsim.network.curves import Curve, Point
from archsim.network.layouts import grid_position
from archsim.network.topology import Network
from archsim.report import style

__all__ = ["SUFFIXES", "busy_shares", "network_figure", "node_positions", "write_network_figure"]

SUFFIXES = (".svg", ".png")
_HEIGHT_IN = 3.1
_MOST_NAMED = 40
_LINKS_AT_FULL_WIDTH = 600
_PORTS_AT_FULL_WIDTH = 60
"""Links into one node up to which lines have their full width: more of them close up to a surface."""
_CHIPS_AT_FULL_SIZE = 128
_LEGEND_LINE = 0.047
"""Part of the height of the axes that a line of the legend takes."""
_MOST_NAMED_IN_ROW = 16
_ROW_PT = 160
"""Points that the chips of a row may cover."""
_HEAT = "viridis_r"
_GREYS = ("#333333", "#999999")
_APART = 0.012
"""Distance between the two directions of a wire, of the graph's extent."""

Position = tuple[float, float]


def write_network_figure(network: Network, curve: Curve, path: Path, *, title: str) -> None:
    """Draw *curve* and the heat map of its largest message into *path* (`.svg` or `.png`); an old file is replaced."""
    if path.suffix not in SUFFIXES:
        raise InputError(Problem(str(path), "--out", "", f"a file name that ends in {' or '.join(SUFFIXES)}"))
    if not path.parent.is_dir():
        raise InputError(Problem(str(path), "--out", "", "a file in a folder that exists"))
    figure = network_figure(network, curve, title=title)
    write_atomically(path, style.svg_bytes(figure) if path.suffix == ".svg" else style.png_bytes(figure))


def network_figure(network: Network, curve: Curve, *, title: str) -> Figure:
    """Return the message-size curve on the left and the heat map of the largest message on the right."""
    with style.styled():
        figure = Figure(figsize=(style.TWO_COLUMNS_IN, _HEIGHT_IN))
        figure.suptitle(title, x=0.02, y=0.98, ha="left", fontsize=8.5, fontweight="bold")
        left, right = figure.subplots(1, 2, width_ratios=[1.15, 1])
        figure.subplots_adjust(left=0.075, right=0.93, top=0.83, bottom=0.14, wspace=0.16)
        _draw_curve(left, curve)
        _draw_heat(figure, right, network, curve.points[-1])
    return figure


def busy_shares(network: Network, point: Point) -> dict[str, float]:
    """Return the part of the collective's time in which each link moves bytes, by link name."""
    duration_ps = max(point.fastest.duration_ps, 1)
    return {
        link.name: size * 1e12 / (link.bytes_per_s * duration_ps)
        for link, size in zip(network.links, point.fastest.link_bytes, strict=True)
    }


def _draw_curve(axes: Axes, curve: Curve) -> None:
    sizes = [point.bytes for point in curve.points]
    for index, name in enumerate(curve.points[0].seconds):
        times = [point.seconds[name] * 1e6 for point in curve.points]
        colour = style.LINE_COLOURS[index % len(style.LINE_COLOURS)]
        axes.plot(sizes, times, color=colour, linewidth=0.9, label=name.replace("_", " "))
    for index, name in enumerate(curve.points[0].libraries):
        shown = [(p.bytes, p.libraries[name].duration_ps * 1e-6) for p in curve.points if name in p.libraries]
        grey, line = _GREYS[index // 3 % len(_GREYS)], style.LINE_STYLES[1 + index % 3]
        axes.plot(*zip(*shown, strict=True), color=grey, linestyle=line, linewidth=0.9, label=f"{name} (measured)")
    for crossing in curve.crossings:
        axes.axvline(crossing.bytes, color="#bbbbbb", linewidth=0.6, zorder=0)
        axes.text(crossing.bytes, 1.005, _size(crossing.bytes), transform=axes.get_xaxis_transform(), rotation=45,
                  ha="left", va="bottom", fontsize=5.5)  # fmt: skip
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    ticks = sizes[:: max(1, len(sizes) // 5)]
    axes.set_xticks(ticks, [_size(size) for size in ticks])
    axes.minorticks_off()
    axes.set_xlabel("message size")
    axes.set_ylabel("time (us)")
    legend = axes.legend(
        loc="upper left", fontsize=5.5, labelspacing=0.25, frameon=True, framealpha=1, edgecolor="none"
    )
    legend.set_zorder(0.5)
    _clear_legend(axes, curve)
    style.quiet_axes(axes)


def _clear_legend(axes: Axes, curve: Curve) -> None:
    """Raise the top of *axes* until no line of the left half passes behind the legend in the upper left corner."""
    names = len(curve.points[0].seconds) + len(curve.points[0].libraries)
    free = 1 - min(0.9, 0.03 + _LEGEND_LINE * names)
    shown = curve.points[: len(curve.points) // 2 + 1]
    times = [[*p.seconds.values(), *(facts.duration_ps * 1e-12 for facts in p.libraries.values())] for p in shown]
    low, high = (math.log10(limit) for limit in axes.get_ylim())
    highest = math.log10(max(map(max, times)) * 1e6)
    axes.set_ylim(top=10 ** max(high, low + (highest - low) / free))


def _size(count: int) -> str:
    for factor, unit in ((2**30, "GiB"), (2**20, "MiB"), (2**10, "KiB")):
        if count >= factor:
            return f"{count / factor:.3g} {unit}"
    return f"{count} B"


def _draw_heat(figure: Figure, axes: Axes, network: Network, point: Point) -> None:
    places = node_positions(network)
    shares = busy_shares(network, point)
    top = max([*shares.values(), 1e-9])
    heat, scale = colormaps[_HEAT], Normalize(0, max(top, 0.01))
    extent = max(max(x for x, _ in places.values()) - min(x for x, _ in places.values()), 1e-9)
    ports = max(Counter(link.dst for link in network.links).values())
    width = max(0.2, min(1.1, _LINKS_AT_FULL_WIDTH / len(network.links), _PORTS_AT_FULL_WIDTH / ports))
    for link in sorted(network.links, key=lambda each: shares[each.name]):
        (x0, y0), (x1, y1) = places[link.src], places[link.dst]
        length = math.hypot(x1 - x0, y1 - y0) or 1.0
        dx, dy = _APART * extent * (y1 - y0) / length, -_APART * extent * (x1 - x0) / length
        share = shares[link.name]
        colour = heat(scale(share)) if share > 0 else "#e4e4e4"
        axes.plot([x0 + dx, x1 + dx], [y0 + dy, y1 + dy], color=colour, linewidth=width, solid_capstyle="butt")
    _draw_nodes(axes, network, places)
    axes.set_aspect("equal")
    axes.margins(0.08)
    axes.axis("off")
    name = point.fastest.algorithm.replace("_", " ")
    axes.set_title(f"links busy, {_size(point.bytes)}, {name}", fontsize=7)
    bar = figure.colorbar(ScalarMappable(scale, heat), ax=axes, fraction=0.035, pad=0.02)
    ticks = [0, scale.vmax / 2, scale.vmax] if scale.vmax else [0]
    bar.set_ticks(ticks, labels=[f"{100 * tick:.3g} %" for tick in ticks])
    bar.ax.tick_params(labelsize=6, length=2)


def _draw_nodes(axes: Axes, network: Network, places: Mapping[str, Position]) -> None:
    chips = set(network.endpoints)
    named = len(chips) <= _MOST_NAMED
    size = 90 if named else max(1.0, min(12.0, 12.0 * _CHIPS_AT_FULL_SIZE / len(chips)))
    in_rows = len({places[chip][1] for chip in chips}) == 1
    chip_size = min(size, (_ROW_PT / len(chips)) ** 2) if in_rows else size
    for kind, marker, colour, area in ((True, "s", "#0072b2", chip_size), (False, "o", "#999999", size)):
        nodes = [node for node in places if (node in chips) is kind]
        axes.scatter([places[n][0] for n in nodes], [places[n][1] for n in nodes], s=area, marker=marker, color=colour,
                     linewidths=0, zorder=3)  # fmt: skip
    apart = -(-len(chips) // _MOST_NAMED_IN_ROW) if in_rows else 1
    for chip in network.endpoints[::apart] if named else ():
        axes.annotate(chip.removeprefix("chip"), places[chip], color="white", ha="center", va="center", fontsize=5.5,
                      zorder=4)  # fmt: skip


def node_positions(network: Network) -> dict[str, Position]:
    """Return where each node stands: grids as grids, one switch amid its chips, trees by distance from the chips."""
    shape = network.layout.shape
    if network.layout.routing == "dimension_order" and len(shape) > 1:
        return {chip: _on_grid(index, shape) for index, chip in enumerate(network.endpoints)}
    if len(network.layout.switches) > 1:
        return _in_layers(network)
    count = len(network.endpoints)
    circle = {chip: _on_circle(index, count) for index, chip in enumerate(network.endpoints)}
    return circle | dict.fromkeys(network.layout.switches, (0.0, 0.0))


def _on_grid(index: int, shape: tuple[int, ...]) -> Position:
    x, y, *z = grid_position(index, shape)
    depth = z[0] if z else 0
    return x + 0.31 * depth, -y + 0.23 * depth


def _on_circle(index: int, count: int) -> Position:
    angle = math.pi / 2 - 2 * math.pi * index / count
    return math.cos(angle), math.sin(angle)


def _in_layers(network: Network) -> dict[str, Position]:
    distance = nx.multi_source_dijkstra_path_length(network.graph, set(network.endpoints), weight=None)
    layers: dict[int, list[str]] = {}
    for node in network.graph.nodes:
        own = 3 if node.startswith("spine") else int(distance[node])
        layers.setdefault(own, []).append(node)
    return {
        node: ((index + 0.5) / len(nodes), 0.3 * layer)
        for layer, nodes in layers.items()
        for index, node in enumerate(nodes)
    }
