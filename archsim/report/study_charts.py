"""Charts of a study's report as inline SVG: a front with its intervals, and how an objective scales.

They draw plain numbers with their titles; which points of a study they are is chosen by the caller.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from archsim.report.html_charts import Drawing
from archsim.report.html_svg import Axis, Chart, Cloud, Line, Mark, chart, swatch
from archsim.report.study_figures import Curve, FrontPoint, Measure
from archsim.report.study_text import quantity
from archsim.report.style import LINE_COLOURS

__all__ = ["FrontChart", "front_chart", "scaling_chart"]

_FRONT, _FAINT, _BROKEN = LINE_COLOURS[0], "#8fa1ad", "#d0a08c"
_MOST_MARKS = 120
_MOST_BARS = 60
_CELLS = (180, 90)
"""Across and down: of the faint points in one cell of the plane one is drawn."""
_DASHES = ("none", "8 4", "2 3", "8 3 2 3")
_WIDE = 10.0
"""Ratio of the largest to the smallest value from which on an axis is logarithmic."""
_STEPS = (1.0, 2.0, 2.5, 5.0, 10.0)


@dataclass(frozen=True, slots=True)
class FrontChart:
    """A front, and how much of it is drawn."""

    drawing: Drawing
    marks: int
    front: int
    dots: int
    others: int


def front_chart(points: Sequence[FrontPoint], axes: tuple[Measure, Measure], *, title: str) -> FrontChart:
    """Return the plane of two objectives, (across, up): front points with intervals, all others as faint dots.

    Of a long front an even choice is marked, of faint points one in each cell of a fine grid.
    """
    front = sorted((point for point in points if point.kind == "front"), key=lambda point: point.x)
    marked = _evenly(front, _MOST_MARKS)
    barred = _evenly([point for point in marked if point.x_ends or point.y_ends], _MOST_BARS)
    spread = [(point.x, point.y) for point in points]
    spread += [(x, point.y) for point in barred for x in point.x_ends or ()]
    spread += [(point.x, y) for point in barred for y in point.y_ends or ()]
    x, y = (_axis(measure, [at[place] for at in spread]) for place, measure in enumerate(axes))
    clouds, dots = [], 0
    for kind, colour, name in (("dominated", _FAINT, "dominated"), ("broken", _BROKEN, "breaks a constraint")):
        held = _thinned([(point.x, point.y) for point in points if point.kind == kind], x, y)
        dots += len(held)
        if held:
            clouds.append(Cloud(name, colour, held))
    lines = [Line("front", _FRONT, [(point.x, point.y) for point in marked], "2 3")] if len(marked) > 1 else []
    for point in barred:
        ends = (((e, point.y) for e in point.x_ends or ()), ((point.x, e) for e in point.y_ends or ()))
        lines += [Line(f"80 % interval of {point.label}", _FRONT, pair) for each in ends if (pair := [*each])]
    marks = [
        Mark(_told(point, axes), _FRONT, (point.x, point.y), "ring" if point.outside else "circle") for point in marked
    ]
    keys = [(swatch(_FRONT, shape="circle"), "Pareto front")]
    keys += [(swatch(_FRONT, shape="ring"), "extrapolated")] if any(point.outside for point in marked) else []
    keys += [(swatch(_FRONT, dash="none"), "80 % interval")] if barred else []
    keys += [(swatch(cloud.colour, shape="dot"), cloud.name) for cloud in clouds]
    drawn = chart(Chart(title, x, y, clouds=clouds, lines=lines, marks=marks))
    return FrontChart(Drawing(drawn, keys), len(marked), len(front), dots, len(points) - len(front))


def _told(point: FrontPoint, axes: tuple[Measure, Measure]) -> str:
    values = []
    for value, ends, measure in zip((point.x, point.y), (point.x_ends, point.y_ends), axes, strict=True):
        bounds = "" if ends is None else f" ({' to '.join(quantity(end, measure.unit, digits=3) for end in ends)})"
        values.append(f"{measure.title} {quantity(value, measure.unit)}{bounds}")
    return f"{point.label}: {', '.join(values)}{', extrapolated' if point.outside else ''}"


def _evenly(points: Sequence[FrontPoint], most: int) -> list[FrontPoint]:
    if len(points) <= most:
        return [*points]
    places = sorted({round(index * (len(points) - 1) / (most - 1)) for index in range(most)})
    return [points[place] for place in places]


def _thinned(points: Sequence[tuple[float, float]], x: Axis, y: Axis) -> list[tuple[float, float]]:
    """Return the first point of each cell."""
    cells: dict[tuple[int, int], tuple[float, float]] = {}
    for at in points:
        cells.setdefault((round(x.place(at[0]) * _CELLS[0]), round(y.place(at[1]) * _CELLS[1])), at)
    return list(cells.values())


def _axis(measure: Measure, values: Sequence[float]) -> Axis:
    low, high = min(values), max(values)
    if low > 0 and high / low > _WIDE:
        low, high = low / 1.12, high * 1.12
        powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
        factors = (1, 2, 5) if len(powers) <= 3 else (1,)  # two decades
        ticks = [factor * 10.0**power for power in powers for factor in factors]
        return Axis(_words(measure), low, high, _named(measure, ticks, low, high), logarithmic=True)
    pad = 0.06 * (high - low) or 0.05 * abs(high) or 1.0
    low, high = (0.0 if 0 <= low <= pad else low - pad), high + pad
    rough = (high - low) / 5
    unit = 10.0 ** math.floor(math.log10(rough))
    step = unit * next(each for each in _STEPS if each * unit >= rough * 0.999)
    first = math.ceil(low / step - 1e-9)
    ticks = [number * step for number in range(first, math.floor(high / step + 1e-9) + 1)]
    return Axis(_words(measure), low, high, _named(measure, ticks, low, high))


def _words(measure: Measure) -> str:
    plain = measure.unit and measure.unit not in {"s", "W", "B", "B/s"}
    return f"{measure.title} ({measure.unit})" if plain else measure.title


def _named(measure: Measure, ticks: Sequence[float], low: float, high: float) -> list[tuple[float, str]]:
    inside = [tick for tick in ticks if low <= tick <= high]
    return [(tick, "0" if tick == 0 else quantity(tick, measure.unit, digits=3)) for tick in inside]


def scaling_chart(curves: Sequence[Curve], name: str, measure: Measure, *, title: str) -> Drawing:
    """Return *curves* on logarithmic axes, each against the line proportional to x from its start."""
    xs = sorted({x for curve in curves for x in curve.xs})
    ideals = [[curve.ys[0] * x / curve.xs[0] for x in curve.xs] for curve in curves]
    ys = [y for curve, ideal in zip(curves, ideals, strict=True) for y in (*curve.ys, *ideal, *(curve.ends or ()))]
    low, high = xs[0] / 1.1, xs[-1] * 1.1
    kept = xs if len(xs) <= 9 else xs[:: -(-len(xs) // 9)]  # names that stand beside each other
    x = Axis(name, low, high, [(tick, f"{tick:,g}") for tick in kept], logarithmic=True)
    y = _axis(measure, ys)
    lines, marks = [], []
    keys = []
    for number, (curve, ideal) in enumerate(zip(curves, ideals, strict=True)):
        colour, dash = LINE_COLOURS[number % 6], _DASHES[number // 6 % len(_DASHES)]
        words = f"{curve.label} ({100 * curve.ys[-1] / ideal[-1]:.0f} % of ideal)"
        lines.append(Line(words, colour, [*zip(curve.xs, curve.ys, strict=True)], dash))
        lines.append(Line(f"{curve.label}, proportional", colour, [*zip(curve.xs, ideal, strict=True)], "1 5"))
        keys.append((swatch(colour, dash=dash), words))
        if curve.ends is not None:
            lines.append(Line(f"80 % interval of {curve.label}", colour, [(curve.xs[-1], end) for end in curve.ends]))
        flags = curve.outside or [False] * len(curve.xs)
        for at_x, at_y, outside in zip(curve.xs, curve.ys, flags, strict=True):
            told = f"{curve.label}, {name} {at_x:,g}: {measure.title} {quantity(at_y, measure.unit)}"
            marks.append(Mark(told + (", extrapolated" if outside else ""), colour, (at_x, at_y),
                              "ring" if outside else "circle"))  # fmt: skip
    keys.append((swatch("currentColor", dash="1 5"), "proportional"))
    if any(mark.shape == "ring" for mark in marks):
        keys.append((swatch("currentColor", shape="ring"), "extrapolated"))
    return Drawing(chart(Chart(title, x, y, lines=lines, marks=marks)), keys)
