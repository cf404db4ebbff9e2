"""Figures of a study: a Pareto front, a heat map of two axes, a scaling curve against the ideal.

They draw plain numbers with their titles; which points of a study they are is chosen by the caller.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from archsim.report import style
from archsim.report.study_text import quantity

__all__ = ["Curve", "Ends", "Figure", "FrontPoint", "Measure", "heat_map", "pareto_front", "scaling_curve"]

Ends = tuple[float, float] | None
"""Ends of an 80 % interval; None: there is none."""

_MOST_MARKS = 5_000
"""Marks that are drawn one by one; more are a picture, or the file would have a line for each."""
_MOST_LABELS = 8
_FAINT = "#b9c4cc"
_BROKEN = "#e3c9c0"
_FRONT = style.LINE_COLOURS[0]
_BAR = "#7d8a93"
_BESIDE = 1.025
"""Factor in x between intervals that would lie on one another."""
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


@dataclass(frozen=True, slots=True)
class FrontPoint:
    """A point of two objectives."""

    x: float
    y: float
    kind: str
    """`"front"`, `"dominated"` or `"broken"` (a constraint is not kept)."""
    label: str = ""
    x_ends: Ends = None
    y_ends: Ends = None
    outside: bool = False
    """Whether it is extrapolated beyond what was validated."""


@dataclass(frozen=True, slots=True)
class Curve:
    """How a metric grows."""

    label: str
    xs: Sequence[float]
    ys: Sequence[float]
    ends: Ends = None
    """Interval of its last point."""
    outside: Sequence[bool] = ()
    """For each point, whether it is extrapolated beyond what was validated."""


def _scale(measure: Measure, values: Sequence[float]) -> float:
    """Return the power of 1,000 in which *values* have few digits; 1 where the unit takes no prefix."""
    if measure.unit not in {"s", "W", "B", "B/s"} or not values:
        return 1.0
    middle = float(np.median(np.abs(values))) or 1.0
    return 1000.0 ** min(4, max(-2, math.floor(math.log10(middle) / 3)))


def pareto_front(points: Sequence[FrontPoint], measures: tuple[Measure, Measure], *, title: str) -> Figure:
    """Return *points* in a plane: those of the front joined, some labelled with their intervals, others faint."""
    with style.styled():
        figure = Figure(figsize=(style.TWO_COLUMNS_IN, 3.6), layout="constrained")
        axes = figure.subplots()
        xs, ys = [point.x for point in points], [point.y for point in points]
        scales = (_scale(measures[0], xs), _scale(measures[1], ys))
        for kind, colour, marker, name in (
            ("broken", _BROKEN, "x", "breaks a constraint"), ("dominated", _FAINT, "o", "dominated"),
        ):  # fmt: skip
            chosen = [(point.x / scales[0], point.y / scales[1]) for point in points if point.kind == kind]
            if chosen:
                axes.scatter([x for x, _ in chosen], [y for _, y in chosen], s=9, c=colour, marker=marker,
                             linewidths=0.8, label=f"{name} ({len(chosen):,})", zorder=1,
                             rasterized=len(chosen) > _MOST_MARKS)  # fmt: skip
        front = sorted((_scaled(point, scales) for point in points if point.kind == "front"), key=lambda p: (p.x, p.y))
        axes.plot([p.x for p in front], [p.y for p in front], "-o", color=_FRONT, markersize=4, linewidth=1.0,
                  label=f"Pareto front ({len(front):,})", zorder=3)  # fmt: skip
        _mark_outside(axes, [(p.x, p.y, _FRONT) for p in front if p.outside])
        _spread(axes, "x", xs)
        _spread(axes, "y", ys)
        axes.margins(x=0.08, y=0.12)
        labelled = _labelled(front)
        _draw_bars(axes, [front[place] for place in labelled])
        _label_front(axes, front, labelled)
        axes.set_xlabel(measures[0].label(scales[0]))
        axes.set_ylabel(measures[1].label(scales[1]))
        _title(axes, title)
        figure.legend(loc="outside lower center", ncols=5)
        style.quiet_axes(axes)
    return figure


def _scaled(point: FrontPoint, scales: tuple[float, float]) -> FrontPoint:
    x_ends, y_ends = (
        None if ends is None else (ends[0] / scale, ends[1] / scale)
        for ends, scale in zip((point.x_ends, point.y_ends), scales, strict=True)
    )
    return replace(point, x=point.x / scales[0], y=point.y / scales[1], x_ends=x_ends, y_ends=y_ends)


def _labelled(front: Sequence[FrontPoint]) -> list[int]:
    """Return the places of some points of the front, spread evenly over it, both ends among them."""
    count = min(_MOST_LABELS, len(front))
    return sorted({round(index) for index in np.linspace(0, len(front) - 1, count)}) if front else []


def _draw_bars(axes: Axes, points: Sequence[FrontPoint]) -> None:
    """Draw the intervals of *points* as thin crosses under them, named once."""
    name: str | None = "80 % interval"
    for point in points:
        for ends, along in ((point.x_ends, "x"), (point.y_ends, "y")):
            if ends is not None:
                xs, ys = (ends, (point.y, point.y)) if along == "x" else ((point.x, point.x), ends)
                axes.plot(xs, ys, color=_BAR, linewidth=0.6, zorder=2, label=name)
                name = None


def _mark_outside(axes: Axes, points: Sequence[tuple[float, float, str]]) -> None:
    """Draw a hollow marker over each of *points*, (x, y, colour)."""
    for number, (x, y, colour) in enumerate(points):
        axes.plot([x], [y], "o", color=colour, markerfacecolor="white", markersize=4, linewidth=0, zorder=3.5,
                  label=None if number else "hollow: extrapolated")  # fmt: skip


def _label_front(axes: Axes, front: Sequence[FrontPoint], places: Sequence[int]) -> None:
    """Name the points of the front at *places*."""
    rising = bool(front) and front[-1].y >= front[0].y
    span = [float(axes.transData.transform((point.x, point.y))[0]) for point in front]
    for place in places:
        x, y, label = front[place].x, front[place].y, front[place].label
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


def scaling_curve(curves: Sequence[Curve], name: str, measure: Measure, *, title: str) -> Figure:
    """Return *curves* on logarithmic axes, each against the line proportional to x from its start.

    The last point of each has its interval, beside the others' where several end at one x.
    """
    with style.styled():
        figure = Figure(figsize=(style.TWO_COLUMNS_IN, 3.2), layout="constrained")
        axes = figure.subplots()
        for number, curve in enumerate(curves):
            label, xs, ys = curve.label, curve.xs, curve.ys
            colour = style.LINE_COLOURS[number % len(style.LINE_COLOURS)]
            line = style.LINE_STYLES[number // len(style.LINE_COLOURS) % len(style.LINE_STYLES)]
            ideal = [ys[0] * x / xs[0] for x in xs]
            axes.plot(xs, ys, marker="o", markersize=3, color=colour, linestyle=line,
                      label=f"{label} ({100 * ys[-1] / ideal[-1]:.0f} % of ideal)")  # fmt: skip
            axes.plot(xs, ideal, color=colour, linewidth=0.7, linestyle=(0, (1, 2)),
                      label="ideal: proportional" if number == len(curves) - 1 else None)  # fmt: skip
        axes.set_xscale("log", base=2)
        axes.set_yscale("log")
        _draw_last_bars(axes, curves)
        ticks = sorted({x for curve in curves for x in curve.xs})
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


def _draw_last_bars(axes: Axes, curves: Sequence[Curve]) -> None:
    """Draw the interval of each curve's last point, a little further right for each, and hollow points outside."""
    name: str | None = "80 % interval"
    outside: list[tuple[float, float, str]] = []
    for number, curve in enumerate(curves):
        colour = style.LINE_COLOURS[number % len(style.LINE_COLOURS)]
        if curve.ends is not None:
            x = curve.xs[-1] * _BESIDE ** (number + 1)
            axes.plot((x, x), curve.ends, color=colour, linewidth=0.8, marker="_", markersize=3, label=name)
            name = None
        flagged = zip(curve.xs, curve.ys, curve.outside or [False] * len(curve.xs), strict=True)
        outside += [(x, y, colour) for x, y, beyond in flagged if beyond]
    _mark_outside(axes, outside)


def _title(place: Axes | Figure, title: str) -> None:
    if isinstance(place, Axes):
        place.set_title(title, loc="left", fontsize=8.5, fontweight="bold")
    else:
        place.suptitle(title, x=0.01, ha="left", fontsize=8.5, fontweight="bold")
