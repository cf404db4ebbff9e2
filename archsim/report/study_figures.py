"""Figures of a study: a Pareto front, a heat map of two axes, a scaling curve against the ideal.

They draw plain numbers with their titles; which points of a study they are is chosen by the caller.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from archsim.report import style
from archsim.report.study_text import quantity

__all__ = ["Figure", "Measure", "heat_map", "pareto_front", "scaling_curve"]

_MOST_LABELS = 8
_FAINT = "#b9c4cc"
_BROKEN = "#e3c9c0"
_FRONT = style.LINE_COLOURS[0]
_DECADES = 1.0
"""An axis whose values spread over more powers of ten is logarithmic."""


@dataclass(frozen=True, slots=True)
class Measure:
    """A metric as an axis of a figure."""

    title: str
    unit: str
    """SI unit; empty: a plain number."""

    def label(self, scale: float = 1.0) -> str:
        """Return the words beside the axis, in units of *scale*."""
        prefix = {1.0: "", 1e-3: "m", 1e-6: "u", 1e3: "k", 1e6: "M", 1e9: "G", 1e12: "T"}[scale]
        return f"{self.title} ({prefix}{self.unit})" if self.unit else self.title


def _scale(measure: Measure, values: Sequence[float]) -> float:
    """Return the power of 1,000 in which *values* have few digits; 1 where the unit takes no prefix."""
    if measure.unit not in {"s", "W", "B", "B/s"} or not values:
        return 1.0
    middle = float(np.median(np.abs(values))) or 1.0
    return 1000.0 ** min(4, max(-2, math.floor(math.log10(middle) / 3)))


def pareto_front(
    points: Sequence[tuple[float, float, str, str]], measures: tuple[Measure, Measure], *, title: str
) -> Figure:
    """Return *points*, (x, y, class, label), in a plane: those of class `"front"` joined and labelled, others faint.

    Classes are `"front"`, `"dominated"` and `"broken"` (a constraint is not kept).
    """
    with style.styled():
        figure = Figure(figsize=(style.TWO_COLUMNS_IN, 3.6), layout="constrained")
        axes = figure.subplots()
        xs, ys = [x for x, *_ in points], [y for _, y, *_ in points]
        scales = (_scale(measures[0], xs), _scale(measures[1], ys))
        for kind, colour, marker, name in (
            ("broken", _BROKEN, "x", "breaks a constraint"), ("dominated", _FAINT, "o", "dominated"),
        ):  # fmt: skip
            chosen = [(x / scales[0], y / scales[1]) for x, y, k, _ in points if k == kind]
            if chosen:
                axes.scatter([x for x, _ in chosen], [y for _, y in chosen], s=9, c=colour, marker=marker,
                             linewidths=0.8, label=f"{name} ({len(chosen):,})", zorder=1)  # fmt: skip
        front = sorted((x / scales[0], y / scales[1], label) for x, y, kind, label in points if kind == "front")
        axes.plot([x for x, _, _ in front], [y for _, y, _ in front], "-o", color=_FRONT, markersize=4, linewidth=1.0,
                  label=f"Pareto front ({len(front):,})", zorder=3)  # fmt: skip
        _spread(axes, "x", xs)
        _spread(axes, "y", ys)
        axes.margins(x=0.08, y=0.12)
        _label_front(axes, front)
        axes.set_xlabel(measures[0].label(scales[0]))
        axes.set_ylabel(measures[1].label(scales[1]))
        _title(axes, title)
        figure.legend(loc="outside lower center", ncols=3)
        style.quiet_axes(axes)
    return figure


def _label_front(axes: Axes, front: Sequence[tuple[float, float, str]]) -> None:
    """Name some points of the front, spread evenly over it, both ends among them."""
    count = min(_MOST_LABELS, len(front))
    places = sorted({round(index) for index in np.linspace(0, len(front) - 1, count)}) if front else []
    rising = bool(front) and front[-1][1] >= front[0][1]
    span = [float(axes.transData.transform((x, y))[0]) for x, y, _ in front]
    for place in places:
        x, y, label = front[place]
        # Beside the curve, on the side where dominated points do not lie under it; never beyond the right edge.
        late = span[place] > axes.bbox.x0 + 0.55 * axes.bbox.width
        above = late if rising else not late
        axes.annotate(label, (x, y), xytext=(-7 if late else 7, 6 if above else -6), textcoords="offset points",
                      ha="right" if late else "left", va="bottom" if above else "top", fontsize=5.8, color="#333333",
                      bbox={"boxstyle": "round,pad=0.15", "fc": "white", "ec": "none", "alpha": 0.75},
                      zorder=4)  # fmt: skip


def _spread(axes: Axes, which: str, values: Sequence[float]) -> None:
    positive = [value for value in values if value > 0]
    wide = len(positive) == len(values) and values and math.log10(max(values) / min(values)) > _DECADES
    if wide:
        (axes.set_xscale if which == "x" else axes.set_yscale)("log")
        axis = axes.xaxis if which == "x" else axes.yaxis
        axis.set_major_formatter(lambda value, _place: f"{value:,g}")


def heat_map(
    columns: tuple[str, Sequence[str]],
    rows: tuple[str, Sequence[str]],
    values: Sequence[Sequence[float | None]],
    measure: Measure,
    *,
    title: str,
) -> Figure:
    """Return a table of two axes, (name, settings), coloured and written: *values* by row and column; None is blank."""
    with style.styled():
        known = [value for row in values for value in row if value is not None]
        wide, high = len(columns[1]), len(rows[1])
        figure = Figure(figsize=(style.TWO_COLUMNS_IN, 1.4 + 0.28 * high), layout="constrained")
        axes = figure.subplots()
        table = np.array([[math.nan if value is None else value for value in row] for row in values], dtype=float)
        image = axes.imshow(table, cmap="cividis", aspect="auto")
        axes.set_xticks(range(wide), columns[1], rotation=30 if max(map(len, columns[1])) > 7 else 0)
        axes.set_yticks(range(high), rows[1])
        axes.set_xlabel(columns[0])
        axes.set_ylabel(rows[0])
        middle = (max(known) + min(known)) / 2 if known else 0.0
        for y, row in enumerate(values):
            for x, value in enumerate(row):
                dark = value is None or value < middle
                axes.text(x, y, quantity(value, measure.unit), ha="center", va="center", fontsize=5.8,
                          color="#888888" if value is None else "white" if dark else "black")  # fmt: skip
        bar = figure.colorbar(image, ax=axes, shrink=0.9)
        bar.set_label(measure.label(), fontsize=7)
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)
        _title(figure, title)
    return figure


def scaling_curve(
    curves: Sequence[tuple[str, Sequence[float], Sequence[float]]], name: str, measure: Measure, *, title: str
) -> Figure:
    """Return *curves*, (label, x, y), on logarithmic axes, each against the line proportional to x from its start."""
    with style.styled():
        figure = Figure(figsize=(style.TWO_COLUMNS_IN, 3.2), layout="constrained")
        axes = figure.subplots()
        for number, (label, xs, ys) in enumerate(curves):
            colour = style.LINE_COLOURS[number % len(style.LINE_COLOURS)]
            line = style.LINE_STYLES[number // len(style.LINE_COLOURS) % len(style.LINE_STYLES)]
            ideal = [ys[0] * x / xs[0] for x in xs]
            axes.plot(xs, ys, marker="o", markersize=3, color=colour, linestyle=line,
                      label=f"{label} ({100 * ys[-1] / ideal[-1]:.0f} % of ideal)")  # fmt: skip
            axes.plot(xs, ideal, color=colour, linewidth=0.7, linestyle=(0, (1, 2)),
                      label="ideal: proportional" if number == len(curves) - 1 else None)  # fmt: skip
        axes.set_xscale("log", base=2)
        axes.set_yscale("log")
        ticks = sorted({x for _, xs, _ in curves for x in xs})
        axes.set_xticks(ticks, [f"{tick:,g}" for tick in ticks])
        axes.xaxis.minorticks_off()
        axes.yaxis.set_major_formatter(lambda value, _place: f"{value:,g}")
        axes.set_xlabel(name)
        axes.set_ylabel(measure.label())
        axes.grid(which="major", linewidth=0.4, color="#dddddd")
        _title(axes, title)
        figure.legend(loc="outside lower center", ncols=3)
        style.quiet_axes(axes)
    return figure


def _title(place: Axes | Figure, title: str) -> None:
    if isinstance(place, Axes):
        place.set_title(title, loc="left", fontsize=8.5, fontweight="bold")
    else:
        place.suptitle(title, x=0.01, ha="left", fontsize=8.5, fontweight="bold")
