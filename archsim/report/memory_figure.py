"""One picture of what a memory sustains: from its peak down to what is left, or a bar for each answer of a sweep."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from textwrap import wrap

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from archsim.dram.glance import Glance
from archsim.errors import InputError, Problem
from archsim.files import write_atomically
from archsim.report.memory_text import SMALLEST_SHARE, energy_text, meaning
from archsim.report.style import (
    ACCOUNT_COLOURS,
    SMALL_PT,
    TWO_COLUMNS_IN,
    png_bytes,
    quiet_axes,
    styled,
    svg_bytes,
    text_colour,
)
from archsim.units import PS_PER_S, format_quantity

__all__ = ["memory_figure", "require_writable", "sweep_figure", "write_memory_figure"]

_WRITERS = {".svg": svg_bytes, ".png": png_bytes}
_TRANSFER = "#2f7fc1"
_PEAK = "#d9d9d9"
_QUIET = "#555555"
_PEAKS = {"dram": "pin rate x width", "flash": "all buses", "sram": "a word for each port"}
"""What a peak is, by kind of memory."""
_SMALLEST = Fraction(1, 200)
"""Losses below it are drawn as one."""
_ROW_IN = 0.25
_CHANNELS_IN = 1.0
_LEFT, _RIGHT = 0.125, 0.52
"""Edges of the bars; what they mean stands to the right."""
_MOST_CHANNEL_LABELS = 17
_LONGEST_TITLE, _LONGEST_LINE, _LONGEST_MEANING = 88, 118, 46
_LINE_IN = 0.125
_LEAST_LABELLED = 0.06


def require_writable(path: Path) -> None:
    """Raise `InputError` for a file name of another suffix than .svg or .png, or a folder that is not there."""
    if path.suffix not in _WRITERS:
        raise InputError(Problem(str(path), "--out", "", f"a file name that ends in {', '.join(_WRITERS)}"))
    if not path.parent.is_dir():
        raise InputError(Problem(str(path), "--out", "", "a file in a folder that exists"))


def write_memory_figure(answers: Sequence[tuple[str, Glance]], path: Path, *, swept: bool) -> None:
    """Draw *answers*, each with its label, into *path*: one answer as a fall from the peak, a sweep as bars.

    Raises `InputError` for another suffix than .svg or .png, or a folder that is not there.
    """
    require_writable(path)
    figure = sweep_figure(answers) if swept else memory_figure(answers[0][1])
    write_atomically(path, _WRITERS[path.suffix](figure))


def memory_figure(answer: Glance) -> Figure:
    """Return the picture of one answer: the peak, each loss where it falls, and what is left."""
    steps, head = _steps(answer), _head(answer)
    several = len(answer.channel_shares) > 1
    below = _CHANNELS_IN + 0.25 if several else 0.0
    rows_in, head_in = _ROW_IN * (len(steps) + 2), 0.45 + _LINE_IN * len(head)
    height = head_in + rows_in + 0.35 + below
    with styled():
        figure = Figure(figsize=(TWO_COLUMNS_IN, height))
        axes = figure.add_axes((_LEFT, (0.35 + below) / height, _RIGHT - _LEFT, rows_in / height))
        _draw_fall(axes, answer, steps)
        title = _title(answer.device, answer.pattern)
        figure.text(0.015, 1 - 0.12 / height, title, va="top", fontweight="bold", fontsize=9)
        for number, line in enumerate(head):
            at = 1 - (0.34 + _LINE_IN * number) / height
            figure.text(0.015, at, line, va="top", fontsize=SMALL_PT, color=_QUIET)
        if several:
            strip = figure.add_axes((_LEFT, 0.35 / height, 0.97 - _LEFT, (_CHANNELS_IN - 0.3) / height))
            _draw_channels(strip, answer.channel_shares)
    return figure


def _title(device: str, pattern: str) -> str:
    what = f"{device}, pattern {pattern}" if pattern else device
    whole = f"{what}: where the data buses' time goes"
    return whole if len(whole) <= _LONGEST_TITLE else what[:_LONGEST_TITLE]


def _steps(answer: Glance) -> list[tuple[str, float]]:
    """Return the losses worth a row, largest first, and the rest as one."""
    shown = [(name, float(part)) for name, part in answer.losses if part >= _SMALLEST]
    rest = float(sum((part for _, part in answer.losses if part < _SMALLEST), Fraction(0)))
    return [*shown, *([("all else", rest)] if rest >= SMALLEST_SHARE else [])]


def _draw_fall(axes: Axes, answer: Glance, steps: list[tuple[str, float]]) -> None:
    share = float(answer.bytes_per_s / answer.peak_bytes_per_s)
    axes.barh(0, 1, height=0.66, color=_PEAK, linewidth=0)
    _say(axes, 0, _rate(answer.peak_bytes_per_s), _PEAKS[str(answer.content["kind"])])
    left = 1.0
    for place, (name, part) in enumerate(steps, start=1):
        colour = ACCOUNT_COLOURS.get(name, ACCOUNT_COLOURS["idle"])
        axes.barh(place, part, left=left - part, height=0.66, color=colour, linewidth=0)
        axes.plot((left, left), (place - 0.67, place + 0.33), color=_QUIET, linewidth=0.5)
        left -= part
        _say(
            axes, place, f"\N{MINUS SIGN} {part * 100:.1f} %", meaning(answer, name) if name in ACCOUNT_COLOURS else ""
        )
    last = len(steps) + 1
    axes.plot((left, left), (last - 0.67, last + 0.33), color=_QUIET, linewidth=0.5)
    axes.barh(last, share, height=0.66, color=_TRANSFER, linewidth=0)
    _say(axes, last, _rate(answer.bytes_per_s), f"{share * 100:.1f} % of peak", weight="bold")
    axes.set_yticks(range(last + 1), ["peak", *(name.replace("_", " ") for name, _ in steps), "sustained"])
    axes.get_yticklabels()[-1].set_fontweight("bold")
    axes.set_ylim(last + 0.5, -0.5)
    axes.set_xlim(0, 1)
    axes.set_xticks([0, 0.25, 0.5, 0.75, 1], ["0", "25 %", "50 %", "75 %", "peak"])
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(left=False, length=2.5)


def _say(axes: Axes, place: int, number: str, text: str, *, weight: str = "normal") -> None:
    axes.annotate(number, (1, place), xytext=(52, 0), textcoords="offset points", va="center", ha="right",
                  fontsize=7, fontweight=weight)  # fmt: skip
    folded = "\n".join(wrap(text, _LONGEST_MEANING))
    axes.annotate(folded, (1, place), xytext=(58, 0), textcoords="offset points", va="center", fontsize=SMALL_PT,
                  color=_QUIET, fontweight=weight, linespacing=1.05)  # fmt: skip


def _head(answer: Glance) -> list[str]:
    """Return what stands under the title: what was asked, of what, and what bears on the answer."""
    latency = answer.read_latency_ps
    waits = "" if latency is None else f"; reads wait {format_quantity(latency / PS_PER_S, 's', digits=3)}"
    facts = [f"{name}: {text}" for name, text in answer.facts]
    lines = [f"{answer.made_of}{waits}", *facts, f"energy: {energy_text(answer.energy)}"]
    return [part for line in lines for part in wrap(line, _LONGEST_LINE)]


def _draw_channels(axes: Axes, shares: tuple[Fraction, ...]) -> None:
    """Draw what each channel moved, against the mean: uneven bars are imbalance."""
    values = [float(share) for share in shares]
    mean = sum(values) / len(values)
    axes.bar(range(len(values)), values, width=0.8, color=_TRANSFER, linewidth=0)
    axes.axhline(mean, color="#000000", linewidth=0.8, linestyle="--")
    axes.set_xlim(-0.6, len(values) - 0.4)
    axes.set_ylim(0, 1)
    axes.set_yticks([0, 0.5, 1], ["0", "50 %", "peak"])
    step = max(1, -(-len(values) // _MOST_CHANNEL_LABELS))
    axes.set_xticks(range(0, len(values), step))
    text = f"each channel's transfer; busiest {max(values) / mean:.2f} x the mean (dashed)"
    axes.set_title(text, loc="left", fontsize=7, color=_QUIET, pad=3)
    axes.set_xlabel("channel", fontsize=7, labelpad=1)
    quiet_axes(axes)


def sweep_figure(answers: Sequence[tuple[str, Glance]]) -> Figure:
    """Return the picture of a sweep: one bar an answer, transfer first, then the losses in the ledger's order."""
    with styled():
        height = 1.3 + _ROW_IN * 1.15 * len(answers)
        figure = Figure(figsize=(TWO_COLUMNS_IN, height))
        longest = max(len(label) for label, _ in answers)
        left = min(0.07 + 0.0085 * longest, 0.4)
        axes = figure.add_axes((left, 0.72 / height, 0.80 - left, 1 - 1.22 / height))
        for place, (_, answer) in enumerate(answers):
            _draw_bar(axes, place, answer)
        axes.set_yticks(range(len(answers)), [label for label, _ in answers])
        axes.set_ylim(len(answers) - 0.5, -0.5)
        axes.set_xlim(0, 1)
        axes.set_xticks([0, 0.25, 0.5, 0.75, 1], ["0", "25 %", "50 %", "75 %", "peak"])
        axes.spines[["top", "right", "left"]].set_visible(False)
        axes.tick_params(left=False, length=2.5)
        names = list(dict.fromkeys(answer.device for _, answer in answers))
        patterns = list(dict.fromkeys(answer.pattern for _, answer in answers))
        title = _title(names[0] if len(names) == 1 else "memories", patterns[0] if len(patterns) == 1 else "")
        figure.text(0.015, 1 - 0.12 / height, title, va="top", fontweight="bold", fontsize=9)
        figure.text(0.805, 1 - 0.44 / height, "sustained", fontsize=SMALL_PT, color=_QUIET)
        figure.text(0.9, 1 - 0.44 / height, "read latency", fontsize=SMALL_PT, color=_QUIET)
        _write_legend(figure, axes)
    return figure


def _write_legend(figure: Figure, axes: Axes) -> None:
    handles, labels = axes.get_legend_handles_labels()
    unique = dict(zip(labels, handles, strict=True))
    ordered = [name.replace("_", " ") for name in ("transfer", *ACCOUNT_COLOURS) if name.replace("_", " ") in unique]
    figure.legend([unique[name] for name in ordered], ordered, loc="lower center", ncols=6, fontsize=SMALL_PT)


def _draw_bar(axes: Axes, place: int, answer: Glance) -> None:
    left = 0.0
    for name in ("transfer", *ACCOUNT_COLOURS):
        width = float(answer.shares.get(name, 0))
        if width < SMALLEST_SHARE:
            continue
        colour = _TRANSFER if name == "transfer" else ACCOUNT_COLOURS[name]
        axes.barh(place, width, left=left, height=0.66, color=colour, label=name.replace("_", " "), linewidth=0)
        if width >= _LEAST_LABELLED:
            axes.text(left + width / 2, place, f"{width * 100:.0f}", ha="center", va="center", fontsize=SMALL_PT,
                      color=text_colour(colour))  # fmt: skip
        left += width
    latency = answer.read_latency_ps
    waits = "no reads" if latency is None else format_quantity(latency / PS_PER_S, "s", digits=3)
    axes.annotate(_rate(answer.bytes_per_s), (1, place), xytext=(4, 0), textcoords="offset points", va="center",
                  fontsize=7, fontweight="bold")  # fmt: skip
    axes.annotate(waits, (1, place), xytext=(52, 0), textcoords="offset points", va="center", fontsize=7)


def _rate(bytes_per_s: Fraction) -> str:
    return format_quantity(bytes_per_s, "bytes/s", digits=3)
