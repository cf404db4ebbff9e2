"""A picture of a system: one chip with its stacks, channels, caches and engines, and the chips with their links.

Drawn from the spec alone, in the colours of Okabe and Ito. Sizes on the page mean nothing: every block says its
numbers.
"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from archsim.errors import InputError, Problem
from archsim.files import write_atomically
from archsim.hardware.near_spec import NearMemorySpec
from archsim.hardware.parts import headline_dtype
from archsim.hardware.spec import ChipSpec, MemorySpec, SystemSpec
from archsim.report.network_drawing import MOST_DOTS, draw_network, heat_scale
from archsim.report.style import SMALL_PT, TWO_COLUMNS_IN, figure_bytes, styled
from archsim.units import exact_quantity, format_quantity, seconds_of

__all__ = ["SUFFIXES", "system_figure", "write_system_figure"]

SUFFIXES = (".svg", ".png", ".pdf")
"""Formats a picture can be written in."""

_MEMORY, _CHANNEL, _MATRIX, _VECTOR, _CACHE = "#56b4e9", "#ffffff", "#e69f00", "#f0e442", "#009e73"
_NEAR, _OTHER, _DIE = "#cc79a7", "#a6cee3", "#f4f4f4"
_MOST_STACKS = 8
_MOST_CHANNELS = 16
_HEIGHT_IN = 3.5
_LONGEST_TITLE, _LONGEST_LINE = 44, 62
"""Characters of a title over the chip, and over the whole picture."""

Point = tuple[float, float]


def write_system_figure(spec: SystemSpec, path: Path) -> None:
    """Draw *spec* into *path*, whose suffix (`.svg`, `.png`, `.pdf`) says the format.

    Raises `InputError` for another suffix or a folder that is not there. An existing file is replaced.
    """
    if path.suffix not in SUFFIXES:
        raise InputError(Problem(str(path), "--out", "", f"a file name that ends in {', '.join(SUFFIXES)}"))
    if not path.parent.is_dir():
        raise InputError(Problem(str(path), "--out", "", "a file in a folder that exists"))
    write_atomically(path, figure_bytes(system_figure(spec), path.suffix))


def system_figure(spec: SystemSpec, heat: Mapping[str, float] | None = None) -> Figure:
    """Return the picture: the chip on the left, the network on the right (a single chip takes the whole width).

    With *heat*, link -> share of its peak that it carries, links are coloured by it.
    """
    with styled():
        figure = Figure(figsize=(TWO_COLUMNS_IN if spec.chips > 1 else 0.6 * TWO_COLUMNS_IN, _HEIGHT_IN))
        title = textwrap.shorten(spec.title, _LONGEST_LINE if spec.chips > 1 else _LONGEST_TITLE, placeholder=" ...")
        figure.suptitle(f"{title}  ({spec.status})", x=0.02, y=0.97, ha="left", fontweight="bold")
        ratios = [1.35, 1] if spec.chips > 1 else [1]
        axes = figure.subplots(1, len(ratios), squeeze=False, width_ratios=ratios)[0]
        figure.subplots_adjust(left=0.02, right=0.98, top=0.82, bottom=0.03, wspace=0.06)
        _draw_chip(axes[0], spec)
        if spec.chips > 1:
            _draw_network(axes[1], spec, heat)
            if heat:
                _draw_scale(figure, heat)
    return figure


def _draw_scale(figure: Figure, heat: Mapping[str, float]) -> None:
    inset = figure.add_axes((0.76, 0.93, 0.19, 0.018))
    scale = heat_scale(heat)
    top = scale.get_clim()[1] or 1.0
    bar = figure.colorbar(scale, cax=inset, orientation="horizontal")
    bar.set_ticks([0, top / 2, top], labels=[f"{100 * tick:.3g} %" for tick in (0, top / 2, top)])
    inset.tick_params(labelsize=SMALL_PT, length=2, pad=1.5)
    inset.set_title("carried, share of a link's peak", fontsize=SMALL_PT, pad=3)


def _blank(axes: Axes, *lines: str) -> None:
    """Take the frame from *axes* and write its title, whose place does not move when the axes keep an aspect."""
    axes.set_axis_off()
    place = axes.get_position()
    axes.get_figure(root=True).text(place.x0, place.y1 + 0.012, "\n".join(lines), ha="left", va="bottom")  # type: ignore[union-attr]


def _draw_chip(axes: Axes, spec: SystemSpec) -> None:
    chip = spec.chip
    count = f", one of {spec.chips}" if spec.chips > 1 else ""
    _blank(axes, textwrap.shorten(chip.title, _LONGEST_TITLE, placeholder=" ...") + count)
    axes.set_xlim(0, 100)
    axes.set_ylim(0, 100)
    axes.add_patch(Rectangle((27, 18), 46, 82, facecolor=_DIE, edgecolor="#555555", linewidth=0.8))
    blocks = _blocks(chip)
    height = (82 - 3 * (len(blocks) + 1)) / len(blocks)
    for index, (text, colour) in enumerate(blocks):
        bottom = 100 - (index + 1) * (height + 3)
        axes.add_patch(Rectangle((29, bottom), 42, height, facecolor=colour, edgecolor="none", alpha=0.85))
        axes.text(50, bottom + height / 2, text, ha="center", va="center", fontsize=SMALL_PT)
    _draw_memories(axes, chip)
    sums = [_memory_sum(memory) for _, memory in _ordered(chip)]
    sums += [
        f"{name} on {unit.memory}: {', '.join(unit.operators)} at the {unit.level.replace('_', ' ')}"
        for name, unit in chip.near_memory.items()
    ]
    axes.text(50, 16, "\n".join(sums), ha="center", va="top", fontsize=SMALL_PT)


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


def _ordered(chip: ChipSpec) -> list[tuple[str, MemorySpec]]:
    """Return the chip's memories by name, the main one first."""
    return sorted(chip.memory.items(), key=lambda item: item[0] != chip.main_memory)


def _memory_sum(memory: MemorySpec) -> str:
    pin_rate = exact_quantity(memory.pin_bits_per_s, "bits/s")
    pins = f"{memory.channels} channels (stripes) x {memory.channel_bits} bits x {pin_rate}"
    peak = format_quantity(memory.peak_bytes_per_s, "bytes/s")
    size = exact_quantity(memory.capacity_bytes, "bytes")
    usable = format_quantity(memory.usable_bytes, "bytes")
    return f"{memory.device.standard}: {pins} = {peak}\n{size}, of which {usable} usable by the model"


def _draw_memories(axes: Axes, chip: ChipSpec) -> None:
    """Draw the stacks on both sides of the die, those of the main memory first."""
    near = {unit.memory: (name, unit) for name, unit in chip.near_memory.items()}
    (main, first), *others = _ordered(chip)
    stacks = [(main, first, index) for index in range(min(first.stacks, _MOST_STACKS))]
    for name, memory in others:
        stacks += [(name, memory, index) for index in range(min(memory.stacks, _MOST_STACKS // len(others)))]
    sides = stacks[: (len(stacks) + 1) // 2], stacks[(len(stacks) + 1) // 2 :]
    most = max(map(len, sides))
    height = (82 - 3 * (most - 1)) / most
    for left, on_side in zip((2.0, 76.0), sides, strict=True):
        for place, (name, memory, index) in enumerate(on_side):
            corner = left, 100 - (place + 1) * height - place * 3
            _draw_stack(
                axes,
                corner,
                height,
                label=_stack_label(name, memory, index),
                memory=memory,
                colour=_MEMORY if name == main else _OTHER,
            )
            if name in near:
                _draw_near(axes, corner, height, near[name])


def _stack_label(name: str, memory: MemorySpec, index: int) -> str:
    size = exact_quantity(memory.stack_bytes, "bytes")
    more = f" of {memory.stacks}" if memory.stacks > _MOST_STACKS else ""
    return f"{name} {index}{more}\n{size}"


def _draw_near(axes: Axes, corner: Point, height: float, named: tuple[str, NearMemorySpec]) -> None:
    """Draw near-memory units on a stack: a base die as a bar under it, units in the arrays as squares among them."""
    (left, bottom), (name, unit) = corner, named
    if unit.level in ("base_die", "channel"):
        axes.add_patch(Rectangle((left, bottom), 22, 0.2 * height, facecolor=_NEAR, edgecolor="#555555", linewidth=0.5))
        axes.text(left + 11, bottom + 0.1 * height, name, ha="center", va="center", fontsize=SMALL_PT)
        return
    for column in range(8):
        axes.add_patch(
            Rectangle(
                (left + 1.5 + 2.5 * column, bottom + 0.88 * height),
                1.5,
                0.07 * height,
                facecolor=_NEAR,
                edgecolor="none",
            )
        )
    axes.text(
        left + 11,
        bottom + 0.79 * height,
        f"{name} in each {unit.level.replace('_', ' ')}",
        ha="center",
        va="center",
        fontsize=0.8 * SMALL_PT,
    )


def _draw_stack(axes: Axes, corner: Point, height: float, *, label: str, memory: MemorySpec, colour: str) -> None:
    left, bottom = corner
    axes.add_patch(Rectangle(corner, 22, height, facecolor=colour, edgecolor="#555555", linewidth=0.5))
    drawn = min(memory.channels_per_stack, _MOST_CHANNELS)
    inward = left < 50
    stripe = 20 / drawn
    for channel in range(drawn):
        axes.add_patch(
            Rectangle(
                (left + 1 + channel * stripe, bottom + 0.24 * height),
                0.6 * stripe,
                min(5.0, 0.18 * height),
                facecolor=_CHANNEL,
                edgecolor="none",
            )
        )
    axes.text(left + 11, bottom + 0.6 * height, label, ha="center", va="center", fontsize=SMALL_PT)
    edge = left + 22 if inward else left
    axes.plot([edge, edge + (3 if inward else -3)], [bottom + height / 2] * 2, color=colour, linewidth=4)


def _draw_network(axes: Axes, spec: SystemSpec, heat: Mapping[str, float] | None) -> None:
    network = spec.network
    rate = format_quantity(network.link_bytes_per_s, "bytes/s")
    hop = format_quantity(seconds_of(network.link_latency_ps), "s")
    shape = " " + " x ".join(map(str, network.shape)) if network.shape else ""
    name = network.topology.replace("_", " ") + shape
    _blank(axes, f"{spec.chips} chips, {name}", f"{rate} each way, {hop} a hop")
    if spec.chips > MOST_DOTS:
        axes.text(0.0, 0.0, "a number is the chips that a node stands for", transform=axes.transAxes)
    draw_network(axes, spec, heat)
