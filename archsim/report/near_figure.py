"""Host against near-memory units: a kernel's time on either side over the batch, and where they cross."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from archsim.errors import InputError, Problem
from archsim.files import write_atomically
from archsim.report.style import SMALL_PT, TWO_COLUMNS_IN, png_bytes, styled, svg_bytes

__all__ = ["near_figure", "near_lines", "write_near_figure"]

_HOST, _NEAR = "#d55e00", "#0072b2"
_TITLES = {"attention": "decode attention", "product": "products with weights"}
_HEIGHT_IN = 3.0


def near_lines(study: Mapping[str, Any]) -> list[str]:
    """Return the study as lines of text: what each kernel takes on either side, and where the sides change."""
    batches = study["batches"]
    width = max(len(curve["name"]) for curve in study["operators"]) + 6
    lines = [f"{'us an iteration'.ljust(width)}{'  '.join(f'{batch:>9}' for batch in batches)}  faster near the memory"]
    for curve in study["operators"]:
        host = "  ".join(f"{1e6 * value:9.1f}" for value in curve["host_s"])
        if None in curve["near_s"]:
            lines += [f"{curve['name']} host".ljust(width) + host + f"  {curve['near_where']}"]
            continue
        near = "  ".join(f"{1e6 * value:9.1f}" for value in curve["near_s"])
        lines += [f"{curve['name']} host".ljust(width) + host]
        lines += [f"{curve['name']} near".ljust(width) + near + f"  {curve['near_where']}"]
    return lines


def write_near_figure(study: Mapping[str, Any], path: Path) -> None:
    """Draw *study* into *path*, a `.svg` or `.png`. Raises `InputError` for another suffix."""
    write = {".svg": svg_bytes, ".png": png_bytes}
    if path.suffix not in write:
        raise InputError(Problem(str(path), "--out", "", f"a file name that ends in {', '.join(write)}"))
    write_atomically(path, write[path.suffix](near_figure(study)))


def near_figure(study: Mapping[str, Any]) -> Figure:
    """Return the picture: a panel for each kind of kernel that the units support."""
    panels = {
        kind: [c for c in study["operators"] if c["kind"] == kind and None not in c["near_s"]] for kind in _TITLES
    }
    panels = {kind: curves for kind, curves in panels.items() if curves}
    with styled():
        figure = Figure(figsize=(TWO_COLUMNS_IN, _HEIGHT_IN))
        title = f"{study['system']}: {study['model']}, {study['context']:,} tokens of context, {study['parallelism']}"
        figure.suptitle(title, x=0.02, y=0.98, ha="left", fontweight="bold")
        axes = figure.subplots(1, max(len(panels), 1), squeeze=False)[0]
        figure.subplots_adjust(left=0.09, right=0.98, top=0.84, bottom=0.16, wspace=0.28)
        for each, (kind, curves) in zip(axes, panels.items(), strict=False):
            _draw(each, _TITLES[kind], study["batches"], curves)
    return figure


def _draw(axes: Axes, title: str, batches: Sequence[int], curves: Sequence[Mapping[str, Any]]) -> None:
    sides = {"host": _HOST, "near": _NEAR}
    for side, colour in sides.items():
        total = [1e3 * math.fsum(values) for values in zip(*(curve[f"{side}_s"] for curve in curves), strict=True)]
        label = "on the host" if side == "host" else "near the memory"
        axes.plot(batches, total, color=colour, marker="o" if side == "host" else "s", markersize=3, label=label)
    starts = {batch for curve in curves for batch, _ in curve["changes"][1:]}
    for batch in sorted(starts):
        axes.axvline(batch, color="#777777", linewidth=0.8, linestyle=":")
    if starts:
        words = (
            f"sides change at {min(starts)}" if len(starts) == 1 else f"sides change at {min(starts)} to {max(starts)}"
        )
        axes.text(0.98, 0.04, words, transform=axes.transAxes, ha="right", fontsize=SMALL_PT, color="#555555")
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    axes.set_xticks(list(batches), [str(batch) for batch in batches])
    axes.minorticks_off()
    axes.set_xlabel("sequences in a batch")
    axes.set_ylabel("ms an iteration")
    axes.set_title(title, loc="left")
    axes.legend(frameon=False, fontsize=SMALL_PT)
