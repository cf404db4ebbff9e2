"""A picture of a system: one chip with its stacks, channels, caches and engines, and the chips with their links.

Drawn from the spec alone, in the colours of Okabe and Ito. Sizes on the page mean nothing: every block says its
numbers.
"""

from __future__ import annotations

import io
import math
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, Rectangle

from archsim.errors import InputError, Problem
from archsim.files import write_atomically
from archsim.hardware.parts import headline_dtype, main_memory_of
from archsim.hardware.spec import ChipSpec, MemorySpec, SystemSpec
from archsim.network.layouts import LAYOUTS, Wire
from archsim.report.style import SMALL_PT, TWO_COLUMNS_IN, png_bytes, styled, svg_bytes
from archsim.units import exact_quantity, format_quantity, seconds_of

__all__ = ["SUFFIXES", "system_figure", "write_system_figure"]

SUFFIXES = (".svg", ".png", ".pdf")
"""Formats a picture can be written in."""

_MEMORY, _CHANNEL, _MATRIX, _VECTOR, _CACHE = "#56b4e9", "#ffffff", "#e69f00", "#f0e442", "#009e73"
_CHIP, _LINK, _DIE = "#0072b2", "#d55e00", "#f4f4f4"
_MOST_STACKS = 8
_MOST_CHANNELS = 16
_MOST_CHIPS = 64
_HEIGHT_IN = 3.5

Point = tuple[float, float]


def write_system_figure(spec: SystemSpec, path: Path) -> None:
    """Draw *spec* into *path*, whose suffix (`.svg`, `.png`, `.pdf`) says the format.

    Raises `InputError` for another suffix or a folder that is not there. An existing file is replaced.
    """
    if path.suffix not in SUFFIXES:
        raise InputError(Problem(str(path), "--out", "", f"a file name that ends in {', '.join(SUFFIXES)}"))
    if not path.parent.is_dir():
        raise InputError(Problem(str(path), "--out", "", "a file in a folder that exists"))
    write = {".svg": svg_bytes, ".png": png_bytes, ".pdf": _pdf_bytes}
    write_atomically(path, write[path.suffix](system_figure(spec)))


def _pdf_bytes(figure: Figure) -> bytes:
    content = io.BytesIO()
    with styled():
        figure.savefig(content, format="pdf", metadata={"CreationDate": None, "Creator": "archsim"})
    return content.getvalue()


def system_figure(spec: SystemSpec) -> Figure:
    """Return the picture: the chip on the left, the network on the right (a single chip takes the whole width)."""
    with styled():
        figure = Figure(figsize=(TWO_COLUMNS_IN if spec.chips > 1 else 0.6 * TWO_COLUMNS_IN, _HEIGHT_IN))
        figure.suptitle(f"{spec.title}  ({spec.status})", x=0.02, y=0.97, ha="left", fontweight="bold")
        ratios = [1.35, 1] if spec.chips > 1 else [1]
        axes = figure.subplots(1, len(ratios), squeeze=False, width_ratios=ratios)[0]
        figure.subplots_adjust(left=0.02, right=0.98, top=0.82, bottom=0.03, wspace=0.06)
        _draw_chip(axes[0], spec)
        if spec.chips > 1:
            _draw_network(axes[1], spec)
    return figure


def _blank(axes: Axes, *lines: str) -> None:
    """Take the frame from *axes* and write its title, whose place does not move when the axes keep an aspect."""
    axes.set_axis_off()
    place = axes.get_position()
    axes.get_figure(root=True).text(place.x0, place.y1 + 0.012, "\n".join(lines), ha="left", va="bottom")  # type: ignore[union-attr]


def _draw_chip(axes: Axes, spec: SystemSpec) -> None:
    chip = spec.chip
    _blank(axes, f"{chip.title}{', one of ' + str(spec.chips) if spec.chips > 1 else ''}")
    axes.set_xlim(0, 100)
    axes.set_ylim(0, 100)
    axes.add_patch(Rectangle((27, 18), 46, 82, facecolor=_DIE, edgecolor="#555555", linewidth=0.8))
    blocks = _blocks(chip)
    height = (82 - 3 * (len(blocks) + 1)) / len(blocks)
    for index, (text, colour) in enumerate(blocks):
        bottom = 100 - (index + 1) * (height + 3)
        axes.add_patch(Rectangle((29, bottom), 42, height, facecolor=colour, edgecolor="none", alpha=0.85))
        axes.text(50, bottom + height / 2, text, ha="center", va="center", fontsize=SMALL_PT)
    memory = chip.memory[chip.main_memory]
    _draw_stacks(axes, chip.main_memory, memory)
    axes.text(50, 11, _memory_sum(chip, memory), ha="center", va="center", fontsize=SMALL_PT)


def _blocks(chip: ChipSpec) -> list[tuple[str, str]]:
    colours = {"matrix": _MATRIX, "vector": _VECTOR}
    blocks = []
    for name, engine in chip.engine.items():
        first = headline_dtype(engine)
        fastest = max(engine.flop_per_s, key=lambda dtype: engine.flop_per_s[dtype])
        shown = "\n".join(
            f"{format_quantity(engine.flop_per_s[d], 'flop/s')} {d}" for d in dict.fromkeys((first, fastest))
        )
        blocks.append((f"{name} engine\n{shown}", colours[name]))
    blocks.append((f"staging {exact_quantity(chip.staging_bytes, 'bytes')}", "#dddddd"))
    for level, cache in chip.cache.items():
        size = exact_quantity(cache.capacity_bytes, "bytes")
        blocks.append((f"{level}  {size}\n{format_quantity(cache.bytes_per_s, 'bytes/s')}", _CACHE))
    return blocks


def _memory_sum(chip: ChipSpec, memory: MemorySpec) -> str:
    pin_rate = exact_quantity(memory.pin_bits_per_s, "bits/s")
    pins = f"{memory.channels} channels (stripes) x {memory.channel_bits} bits x {pin_rate}"
    peak = format_quantity(memory.peak_bytes_per_s, "bytes/s")
    size = exact_quantity(memory.capacity_bytes, "bytes")
    usable = format_quantity(memory.usable_bytes, "bytes")
    return f"{main_memory_of(chip)}: {pins} = {peak}\n{size}, of which {usable} usable by the model"


def _draw_stacks(axes: Axes, name: str, memory: MemorySpec) -> None:
    """Draw the stacks beside the die, half on each side, with a stripe for each channel."""
    drawn = min(memory.stacks, _MOST_STACKS)
    sides = ((drawn + 1) // 2, drawn // 2)
    height = (82 - 3 * (sides[0] - 1)) / sides[0]
    for index in range(drawn):
        side, place = (0, index) if index < sides[0] else (1, index - sides[0])
        left, bottom = (2.0, 76.0)[side], 100 - (place + 1) * height - place * 3
        number = index if index < drawn - 1 else memory.stacks - 1
        label = f"{name} {number}\n{exact_quantity(memory.stack_bytes, 'bytes')}"
        if memory.stacks > drawn and index == drawn - 2:
            label = "..."
        _draw_stack(axes, (left, bottom), height, label=label, channels=memory.channels_per_stack)


def _draw_stack(axes: Axes, corner: Point, height: float, *, label: str, channels: int) -> None:
    left, bottom = corner
    axes.add_patch(Rectangle(corner, 22, height, facecolor=_MEMORY, edgecolor="#555555", linewidth=0.5))
    drawn = min(channels, _MOST_CHANNELS)
    inward = left < 50
    stripe = 20 / drawn
    for channel in range(drawn):
        axes.add_patch(
            Rectangle(
                (left + 1 + channel * stripe, bottom + 1),
                0.6 * stripe,
                min(5.0, 0.3 * height),
                facecolor=_CHANNEL,
                edgecolor="none",
            )
        )
    axes.text(left + 11, bottom + 0.62 * height, label, ha="center", va="center", fontsize=SMALL_PT)
    edge = left + 22 if inward else left
    axes.plot([edge, edge + (3 if inward else -3)], [bottom + height / 2] * 2, color=_MEMORY, linewidth=4)


def _draw_network(axes: Axes, spec: SystemSpec) -> None:
    network = spec.network
    rate = format_quantity(network.link_bytes_per_s, "bytes/s")
    hop = format_quantity(seconds_of(network.link_latency_ps), "s")
    shape = " " + " x ".join(map(str, network.shape)) if network.shape else ""
    name = network.topology.replace("_", " ") + shape
    _blank(axes, f"{spec.chips} chips, {name}", f"{rate} each way, {hop} a hop")
    axes.set_aspect("equal")
    if spec.chips > _MOST_CHIPS:
        axes.text(0.5, 0.5, "too many chips to draw", transform=axes.transAxes, ha="center")
        return
    wires = LAYOUTS[network.topology](spec.chips, network.shape).wires
    places = _places(spec, wires)
    for wire in wires:
        _draw_link(axes, places[wire.a], places[wire.b], bent=network.topology == "torus")
    for node, place in places.items():
        _draw_node(axes, node, place)
    axes.margins(0.14)


def _places(spec: SystemSpec, wires: tuple[Wire, ...]) -> dict[str, Point]:
    """Return where each node stands: a grid for torus and mesh, else chips on a circle and switches inside it."""
    nodes = sorted({end for wire in wires for end in (wire.a, wire.b)})
    chips = [f"chip{index}" for index in range(spec.chips)]
    switches = [node for node in nodes if node not in set(chips)]
    if spec.network.topology in ("torus", "mesh"):
        return {chip: _grid_place(index, spec.network.shape) for index, chip in enumerate(chips)}
    places = {chip: _on_circle(index, len(chips), 1.0) for index, chip in enumerate(chips)}
    if len(switches) == 1:
        return places | {switches[0]: (0.0, 0.0)}
    return places | {switch: _on_circle(index, len(switches), 0.4) for index, switch in enumerate(switches)}


def _on_circle(index: int, count: int, radius: float) -> Point:
    angle = math.pi / 2 - 2 * math.pi * index / count
    return radius * math.cos(angle), radius * math.sin(angle)


def _grid_place(index: int, shape: tuple[int, ...]) -> Point:
    """Return the place of a chip whose first axis runs across, the second down, the third aslant."""
    across, rest = index % shape[0], index // shape[0]
    down = rest % shape[1] if len(shape) > 1 else 0
    deep = rest // shape[1] if len(shape) > 2 else 0
    return across + 0.42 * deep, -float(down) + 0.36 * deep


def _draw_link(axes: Axes, start: Point, end: Point, *, bent: bool) -> None:
    """Draw a link straight, or where *bent* in an arc if it jumps over other chips of its row or column."""
    jumps = bent and math.dist(start, end) > 1.5
    style = "arc3,rad=0.28" if jumps else "arc3,rad=0"
    axes.add_patch(
        FancyArrowPatch(start, end, connectionstyle=style, arrowstyle="-", color=_LINK, linewidth=1.0, zorder=1)
    )


def _draw_node(axes: Axes, node: str, place: Point) -> None:
    is_chip = node.startswith("chip")
    axes.text(
        *place,
        node,
        ha="center",
        va="center",
        fontsize=SMALL_PT,
        color="white",
        zorder=2,
        bbox={
            "boxstyle": "round,pad=0.35" if is_chip else "square,pad=0.7",
            "facecolor": _CHIP if is_chip else "#333333",
            "edgecolor": "none",
        },
    )
    axes.plot(*place, alpha=0)
