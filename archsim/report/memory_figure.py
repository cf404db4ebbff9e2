"""One picture of what a memory sustains: a bar of its peak, divided by where the time went."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from archsim.dram.probe import Probe
from archsim.errors import InputError, Problem
from archsim.files import write_atomically
from archsim.report.style import ACCOUNT_COLOURS, SMALL_PT, TWO_COLUMNS_IN, png_bytes, styled, svg_bytes
from archsim.units import format_quantity

__all__ = ["memory_figure", "write_memory_figure"]

_WRITERS = {".svg": svg_bytes, ".png": png_bytes}
_TRANSFER = "#2f7fc1"
_SMALLEST = 0.0005
_BAR_IN = 0.32


def write_memory_figure(answers: Sequence[tuple[str, Probe]], path: Path) -> None:
    """Draw *answers*, each with its label, into *path* (.svg or .png).

    Raises `InputError` for another suffix or a folder that is not there.
    """
    if path.suffix not in _WRITERS:
        raise InputError(Problem(str(path), "--out", "", f"a file name that ends in {', '.join(_WRITERS)}"))
    if not path.parent.is_dir():
        raise InputError(Problem(str(path), "--out", "", "a file in a folder that exists"))
    write_atomically(path, _WRITERS[path.suffix](memory_figure(answers)))


def memory_figure(answers: Sequence[tuple[str, Probe]]) -> Figure:
    """Return the picture: one horizontal bar an answer, transfer first, then the losses in the ledger's order."""
    with styled():
        height = 1.1 + _BAR_IN * len(answers)
        figure = Figure(figsize=(TWO_COLUMNS_IN, height))
        axes = figure.subplots()
        figure.subplots_adjust(left=0.16, right=0.86, top=1 - 0.35 / height, bottom=0.75 / height)
        for place, (_, answer) in enumerate(answers):
            _draw_bar(axes, place, answer)
        axes.set_yticks(range(len(answers)), [label for label, _ in answers])
        axes.invert_yaxis()
        axes.set_xlim(0, 1)
        axes.set_xticks([0, 0.25, 0.5, 0.75, 1], ["0", "25 %", "50 %", "75 %", "peak"])
        for side in ("top", "right", "left"):
            axes.spines[side].set_visible(False)
        axes.tick_params(left=False)
        device = answers[0][1].channel.device
        axes.set_title(f"{device.name}: where the data buses' time goes", loc="left", fontweight="bold")
        handles, labels = axes.get_legend_handles_labels()
        unique = dict(zip(labels, handles, strict=True))
        figure.legend(unique.values(), unique.keys(), loc="lower center", ncols=6, fontsize=SMALL_PT)
    return figure


def _draw_bar(axes: Axes, place: int, answer: Probe) -> None:
    left = 0.0
    for name, part in answer.shares.items():
        width = float(part)
        if width < _SMALLEST:
            continue
        colour = _TRANSFER if name == "transfer" else ACCOUNT_COLOURS[name]
        axes.barh(place, width, left=left, height=0.62, color=colour, label=name.replace("_", " "), linewidth=0)
        left += width
    axes.text(1.01, place, format_quantity(answer.bytes_per_s, "bytes/s", digits=3), va="center", fontsize=SMALL_PT)
