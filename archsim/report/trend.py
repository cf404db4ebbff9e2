"""Arithmetic against bandwidth over the years: shipped chips as points, growth as a straight line of logarithms.

Growth is a least-squares line through log2 of the figure against the year, over chips of one class: those with stacked
memory, since a phone's chip and a rack's follow other budgets.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from matplotlib.figure import Figure

from archsim.errors import InputError, Problem
from archsim.files import write_atomically
from archsim.hardware.library import chip_names, load_chip
from archsim.hardware.parts import headline_dtype, main_memory_of
from archsim.report.style import LINE_COLOURS, SMALL_PT, TWO_COLUMNS_IN, png_bytes, quiet_axes, styled, svg_bytes

__all__ = ["Point", "growth_per_year", "points", "trend_figure", "write_trend"]

_WRITERS = {".svg": svg_bytes, ".png": png_bytes}
_STACKED = "HBM"


class Point(NamedTuple):
    """One shipped chip."""

    name: str
    year: int
    flop_per_s: float
    """Dense, of the headline type (bf16)."""
    bytes_per_s: float
    capacity_bytes: float


def points() -> list[Point]:
    """Return shipped chips with stacked memory and a year, the oldest first."""
    found = []
    for name in chip_names():
        chip = load_chip(name)
        if chip.status != "shipped" or chip.year is None or not main_memory_of(chip).startswith(_STACKED):
            continue
        engine, memory = chip.engine["matrix"], chip.memory[chip.main_memory]
        rate = engine.flop_per_s[headline_dtype(engine)]
        found.append(Point(name, chip.year, float(rate), float(memory.peak_bytes_per_s), float(memory.capacity_bytes)))
    return sorted(found, key=lambda point: (point.year, point.name))


def growth_per_year(pairs: Iterable[tuple[int, float]]) -> float:
    """Return the factor a year of the least-squares line through (year, log of the value)."""
    held = list(pairs)
    mean_year = math.fsum(year for year, _ in held) / len(held)
    mean_log = math.fsum(math.log(value) for _, value in held) / len(held)
    over = math.fsum((year - mean_year) * (math.log(value) - mean_log) for year, value in held)
    return math.exp(over / math.fsum((year - mean_year) ** 2 for year, _ in held))


def trend_figure(found: Sequence[Point]) -> Figure:
    """Return the picture: rates relative to the first chip's year on the left, FLOPs a byte on the right."""
    with styled():
        figure = Figure(figsize=(TWO_COLUMNS_IN, 2.8), layout="constrained")
        left, right = figure.subplots(1, 2)
        for (label, pairs), marker, colour in zip(_series(found).items(), "os^", LINE_COLOURS, strict=False):
            growth = growth_per_year(pairs)
            left.plot(
                *zip(*pairs, strict=True), marker, color=colour, markersize=4, label=f"{label}: x {growth:.2f} a year"
            )
        left.set_yscale("log", base=2)
        left.set_ylabel(f"relative to {found[0].name}")
        left.legend(fontsize=SMALL_PT, loc="upper left")
        for index, point in enumerate(found):
            right.plot(point.year, point.flop_per_s / point.bytes_per_s, "o", color=LINE_COLOURS[0], markersize=4)
            if index % 3 == 0:
                right.annotate(point.name, (point.year, point.flop_per_s / point.bytes_per_s), fontsize=0.8 * SMALL_PT,
                               xytext=(3, 3), textcoords="offset points")  # fmt: skip
        right.set_ylabel("FLOPs a byte at peak")
        right.set_ylim(bottom=0)
        for axes in (left, right):
            axes.set_xlabel("year")
            axes.set_xticks(sorted({point.year for point in found}))
            quiet_axes(axes)
    return figure


def write_trend(path: Path) -> dict[str, float]:
    """Draw the trend into *path* (.svg or .png) and return growth a year by figure. Raises `InputError` otherwise."""
    if path.suffix not in _WRITERS:
        raise InputError(Problem(str(path), "--trend", "", f"a file name that ends in {', '.join(_WRITERS)}"))
    found = points()
    write_atomically(path, _WRITERS[path.suffix](trend_figure(found)))
    return {label: growth_per_year(pairs) for label, pairs in _series(found).items()}


def _series(found: Sequence[Point]) -> dict[str, list[tuple[int, float]]]:
    return {
        "FLOP/s": [(point.year, point.flop_per_s) for point in found],
        "bytes/s": [(point.year, point.bytes_per_s) for point in found],
        "capacity": [(point.year, point.capacity_bytes) for point in found],
    }
