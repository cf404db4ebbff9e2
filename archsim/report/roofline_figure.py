"""The roofline of operators for a paper: levels as ceilings, engines as roofs, a mark an operator, before and after.

Operators are numbered in the order of the iteration; the numbers are told below the axes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from archsim.errors import InputError, Problem
from archsim.metrics.operators import OperatorUse
from archsim.report.html_charts import peaks
from archsim.report.operator_marks import Pair, labels_of, pairs_of
from archsim.report.style import LINE_COLOURS, LINE_STYLES, SMALL_PT, TWO_COLUMNS_IN, quiet_axes, styled
from archsim.result import Result
from archsim.units import format_quantity

__all__ = ["roofline_figure"]

_HEIGHT_IN = 3.1
_NEAR_IN = (0.12, 0.11)
"""Labels within so many inches would lie on each other."""
_WORDS_A_LINE = {True: 118, False: 54}
"""Characters of a line of names, in a wide figure and in a narrow one."""


def roofline_figure(result: Result, uses: Sequence[OperatorUse], *, width_in: float = TWO_COLUMNS_IN) -> Figure:
    """Return the roofline of the operators *uses* of *result*, *width_in* inches wide.

    Raises `InputError` where no operator has a place in it.
    """
    levels, engines = peaks(result.ledger, "B/s"), peaks(result.ledger, "FLOP/s")
    pairs, batch = pairs_of(uses, levels, engines)
    marks = [mark for pair in pairs for mark in (pair.before, pair.after) if mark is not None and mark.level]
    if not marks or not engines:
        raise InputError(Problem("", "roofline", result.system.name, "a run with operators that calculate"))
    wide = width_in > TWO_COLUMNS_IN / 2
    names = _names(pairs, wide=wide)
    with styled():
        figure = Figure(figsize=(width_in, _HEIGHT_IN + 0.11 * len(names)))
        axes = figure.subplots()
        bottom = (0.5 + 0.11 * len(names)) / (_HEIGHT_IN + 0.11 * len(names))
        figure.subplots_adjust(left=0.11 if wide else 0.215, right=0.975, top=0.93, bottom=bottom)
        roof = max(engines.values())
        ends = [*(mark.intensity for mark in marks), *(roof / peak for peak in levels.values())]
        axes.set_xlim(min(ends) / 2, max(ends) * 3)
        axes.set_ylim(min(mark.attained for mark in marks) / 3, roof * 3)
        axes.set_xscale("log")
        axes.set_yscale("log")
        _draw_ceilings(axes, levels, engines)
        _draw_marks(axes, pairs, {level: LINE_COLOURS[index % 6] for index, level in enumerate(levels)})
        axes.xaxis.set_major_formatter(lambda value, _place: f"{value:,g}")
        axes.yaxis.set_major_formatter(lambda value, _place: format_quantity(value, "flop/s", digits=3))
        axes.minorticks_off()
        axes.set_xlabel("useful FLOP per byte of the binding level")
        before = any(pair.before for pair in pairs)
        title = f"{result.system.name}: {result.model.name}, " + (
            f"batch 1 (rings) and {batch}" if before else f"batch {batch}"
        )
        axes.set_title(title, loc="left", fontweight="bold", fontsize=8 if wide else 6.8)
        axes.legend(loc="lower right", fontsize=SMALL_PT, handlelength=2.2)
        figure.text(0.02, 0.01, "\n".join(names), fontsize=SMALL_PT, va="bottom", linespacing=1.15)
        quiet_axes(axes)
    return figure


def _draw_ceilings(axes: Axes, levels: Mapping[str, float], engines: Mapping[str, float]) -> None:
    low, high = axes.get_xlim()
    roof = max(engines.values())
    for index, (name, peak) in enumerate(levels.items()):
        label = f"{name}, {format_quantity(peak, 'bytes/s', digits=3)}"
        style = LINE_STYLES[index % len(LINE_STYLES)]
        axes.plot([low, roof / peak], [low * peak, roof], style, color=LINE_COLOURS[index % 6], label=label)
    for index, (name, peak) in enumerate(engines.items()):
        label = f"{name}, {format_quantity(peak, 'flop/s', digits=3)}"
        axes.plot([low, high], [peak, peak], LINE_STYLES[index % len(LINE_STYLES)], color="#000000", linewidth=0.9,
                  label=label)  # fmt: skip


def _draw_marks(axes: Axes, pairs: Sequence[Pair], colours: Mapping[str, str]) -> None:
    places = []
    for pair in pairs:
        if pair.before is not None and pair.after is not None and pair.before.level and pair.after.level:
            ends = [(mark.intensity, mark.attained) for mark in (pair.before, pair.after)]
            axes.plot(*zip(*ends, strict=True), color=colours[pair.after.level], linewidth=0.5, zorder=2)
        for mark, hollow in ((pair.before, True), (pair.after, False)):
            if mark is not None and mark.level:
                colour = colours[mark.level]
                axes.plot([mark.intensity], [mark.attained], "o", color=colour, zorder=3, markersize=4.2,
                          markerfacecolor="white" if hollow else colour, markeredgewidth=0.9)  # fmt: skip
        last = pair.after or pair.before
        if last is not None and last.level:
            x, y = axes.transData.transform((last.intensity, last.attained)).tolist()
            places.append((pair.number, x / axes.figure.dpi, y / axes.figure.dpi))
    labels = labels_of(places, near=_NEAR_IN)
    for pair in pairs:
        last = pair.after or pair.before
        if last is not None and pair.number in labels:
            axes.annotate(labels[pair.number], (last.intensity, last.attained), xytext=(4, 4), fontsize=SMALL_PT,
                          textcoords="offset points", zorder=4,
                          bbox={"boxstyle": "round,pad=0.1", "fc": "white", "ec": "none", "alpha": 0.8})  # fmt: skip


def _names(pairs: Sequence[Pair], *, wide: bool) -> list[str]:
    """Return the names of the numbers that are marked, as lines."""
    lines = [""]
    for pair in pairs:
        if any(mark is not None and mark.level for mark in (pair.before, pair.after)):
            word = f"{pair.number} {pair.operator}"
            if lines[-1] and len(lines[-1]) + len(word) + 2 > _WORDS_A_LINE[wide]:
                lines.append("")
            lines[-1] += f"{'  ' if lines[-1] else ''}{word}"
    return lines
