"""Parity: what was predicted over what was measured, one panel a table, with a band of 15 % around equality."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from textwrap import wrap
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter

from archsim.errors import InputError, Problem
from archsim.files import write_atomically, written_directory
from archsim.report.style import LINE_COLOURS, SMALL_PT, TWO_COLUMNS_IN, png_bytes, quiet_axes, styled, svg_bytes

__all__ = ["parity_figure", "points_of", "write_parity", "write_parity_figure"]

Points = Mapping[str, Sequence[tuple[float, float]]]
"""Group -> (expected, predicted) pairs, both above zero."""

_WRITERS = {".svg": svg_bytes, ".png": png_bytes}
_COLUMNS = 4
_PANEL_IN = 1.75
_BAND = 0.15
_MOST_LABELS = 6
_LABEL_LETTERS = 26
_TITLE_LETTERS = 26


def write_parity_figure(panels: Sequence[tuple[str, Points]], path: Path) -> None:
    """Draw *panels*, each a title and its points, into *path*, .svg or .png. Raises `InputError` otherwise."""
    if path.suffix not in _WRITERS:
        raise InputError(Problem(str(path), "--out", "", f"a file name that ends in {', '.join(_WRITERS)}"))
    write_atomically(path, _WRITERS[path.suffix](parity_figure(panels)))


def write_parity(results: Sequence[Mapping[str, Any]], folder: Path, pages: Mapping[str, str]) -> None:
    """Write parity.svg, the rows of each suite, SUITE.json, and *pages* into the new *folder*.

    *results* are as of `run_suite`; *pages* go from the name of a file to its text.
    """
    panels = [(str(result["suite"]), points_of(result["rows"])) for result in results]
    with written_directory(folder) as made:
        write_parity_figure(panels, made / "parity.svg")
        for result in results:
            content = json.dumps(result, indent=1, allow_nan=False) + "\n"
            write_atomically(made / f"{result['suite']}.json", content.encode())
        for name, text in pages.items():
            write_atomically(made / name, text.encode())


def points_of(rows: Sequence[Mapping[str, Any]]) -> dict[str, list[tuple[float, float]]]:
    """Return the (expected, predicted) pairs of compared *rows* by group, without what a logarithm cannot show."""
    points: dict[str, list[tuple[float, float]]] = {}
    for row in rows:
        if row["error"] is not None and row["expected"] > 0 and row["predicted"] > 0:
            points.setdefault(str(row["group"]), []).append((row["expected"], row["predicted"]))
    return points


def parity_figure(panels: Sequence[tuple[str, Points]]) -> Figure:
    """Return the picture: logarithmic axes, the diagonal, and a grey band of 15 % to either side."""
    rows = -(-len(panels) // _COLUMNS)
    with styled():
        figure = Figure(figsize=(TWO_COLUMNS_IN, 0.3 + _PANEL_IN * rows), layout="constrained")
        grid = figure.subplots(rows, _COLUMNS, squeeze=False).ravel()
        for axes, (title, points) in zip(grid, panels, strict=False):
            _draw(axes, title, points)
        for axes in grid[len(panels) :]:
            axes.set_visible(False)
        figure.supxlabel("measured", fontsize=SMALL_PT + 1)
        figure.supylabel("predicted", fontsize=SMALL_PT + 1)
    return figure


def _draw(axes: Axes, title: str, points: Points) -> None:
    quiet_axes(axes)
    values = [value for pairs in points.values() for pair in pairs for value in pair if value > 0]
    axes.set_title("\n".join(wrap(title.replace("_", " "), _TITLE_LETTERS)).replace(" ", "_"), fontsize=SMALL_PT)
    if not values:
        return
    low, high = 10 ** math.floor(math.log10(min(values))), 10 ** math.ceil(math.log10(max(values) * 1.001))
    line = [low, high]
    axes.fill_between(
        line, [x * (1 - _BAND) for x in line], [x * (1 + _BAND) for x in line], color="#dddddd", linewidth=0
    )
    axes.plot(line, line, color="#888888", linewidth=0.6)
    for place, (group, pairs) in enumerate(points.items()):
        colour = LINE_COLOURS[place % len(LINE_COLOURS)]
        label = group[:_LABEL_LETTERS] if place < _MOST_LABELS else None
        axes.plot(*zip(*pairs, strict=True), ".", markersize=1.8, color=colour, label=label)
    axes.set(xscale="log", yscale="log", xlim=(low, high), ylim=(low, high))
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_minor_formatter(NullFormatter())
    axes.legend(fontsize=4.5, loc="upper left", handletextpad=0.1, borderpad=0.1)
