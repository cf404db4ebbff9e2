"""Inline SVG of a report, drawn by small functions: a bar of a waterfall, and a chart of areas, lines and marks.

Axes, grid and text take the colour of the page (`currentColor`), so a chart reads in light and dark. Every string is
escaped. Coordinates are rounded to a tenth of a unit of the drawing, 640 wide: equal data are equal bytes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from markupsafe import Markup, escape

__all__ = ["Area", "Axis", "Chart", "Cloud", "Line", "Mark", "bar", "chart", "swatch"]

Point = tuple[float, float]

_WIDTH, _HEIGHT = 640.0, 300.0
_LEFT, _RIGHT, _TOP, _BOTTOM = 100.0, 34.0, 12.0, 46.0


@dataclass(frozen=True, slots=True)
class Axis:
    """One axis: its title, its ends and the ticks that are named."""

    title: str
    low: float
    high: float
    ticks: Sequence[tuple[float, str]]
    logarithmic: bool = False

    def place(self, value: float) -> float:
        """Return where *value* lies, 0 at the low end and 1 at the high one; values beyond an end lie on it."""
        clipped = min(max(value, self.low), self.high)
        if self.logarithmic:
            return math.log(clipped / self.low) / math.log(self.high / self.low)
        return (clipped - self.low) / (self.high - self.low)


@dataclass(frozen=True, slots=True)
class Area:
    """A filled band between *lower* and *upper*, both from left to right."""

    name: str
    colour: str
    lower: Sequence[Point]
    upper: Sequence[Point]


@dataclass(frozen=True, slots=True)
class Line:
    """A line; *dash* is an SVG dash pattern, empty for a solid one."""

    name: str
    colour: str
    points: Sequence[Point]
    dash: str = ""
    thin: bool = False


@dataclass(frozen=True, slots=True)
class Mark:
    """A point; *shape* is `circle`, `ring`, `square`, `diamond`, `triangle` or `dot`."""

    name: str
    colour: str
    at: Point
    shape: str
    label: str = ""
    """A few characters beside it."""


@dataclass(frozen=True, slots=True)
class Cloud:
    """Many small points of one kind."""

    name: str
    colour: str
    points: Sequence[Point]


@dataclass(frozen=True, slots=True)
class Chart:
    """All that a chart shows; *title* is read out in its place."""

    title: str
    x: Axis
    y: Axis
    areas: Sequence[Area] = field(default=())
    clouds: Sequence[Cloud] = field(default=())
    lines: Sequence[Line] = field(default=())
    marks: Sequence[Mark] = field(default=())
    zooms: bool = False
    """The page's script may show a part of a linear x axis that begins at zero, and read values off the areas."""


def bar(start: float, length: float, colour: str) -> Markup:
    """Return the bar of one waterfall row from *start* over *length*, fractions of the row."""
    shown = Markup('<rect x="{}" y="0" width="{}" height="10" fill="{}"/>').format(
        f"{100 * start:.2f}", f"{100 * length:.2f}", colour
    )
    opened = Markup('<svg class="bar" viewBox="0 0 100 10" preserveAspectRatio="none" aria-hidden="true">')
    return opened + shown + Markup("</svg>")


def swatch(colour: str, *, dash: str = "", shape: str = "") -> Markup:
    """Return the key of a legend: a mark of *shape*, a line with *dash*, or a filled box where both are empty."""
    inner = (
        _shape(shape, 8, 6)
        if shape
        else Markup(
            '<path d="M0 6H20" fill="none" stroke="currentColor" stroke-width="2.5" stroke-dasharray="{}"/>'
        ).format(dash)
        if dash
        else Markup('<rect width="20" height="12" fill="currentColor"/>')
    )
    opened = Markup('<svg class="key" viewBox="0 0 20 12" style="color:{}" aria-hidden="true">').format(colour)
    return opened + inner + Markup("</svg>")


def chart(drawn: Chart) -> Markup:
    """Return *drawn* as an SVG element."""
    inside = [_area(drawn, area) for area in drawn.areas]
    inside += [_cloud(drawn, cloud) for cloud in drawn.clouds]
    inside += [_line(drawn, line) for line in drawn.lines]
    inside += [_mark(drawn, mark) for mark in drawn.marks]
    opened = Markup('<svg class="chart" viewBox="0 0 {} {}" role="img" aria-label="{}">')
    if drawn.zooms:
        opened = Markup('<svg class="chart zoom" viewBox="0 0 {} {}" role="img" aria-label="{}" data-end="{!r}">')
        inside = [_plot(), *inside, Markup("</svg>")]
    size = (f"{_WIDTH:.0f}", f"{_HEIGHT:.0f}", drawn.title)
    head = opened.format(*size, drawn.x.high) if drawn.zooms else opened.format(*size)
    return head + Markup("").join([*_frame(drawn), *inside]) + Markup("</svg>")


def _plot() -> Markup:
    """Open the part of a chart that is inside its axes, as a drawing of its own: what is shown of it may change."""
    box = [_number(each) for each in (_LEFT, _TOP, _WIDTH - _LEFT - _RIGHT, _HEIGHT - _TOP - _BOTTOM)]
    element = Markup('<svg class="plot" x="{}" y="{}" width="{}" height="{}" viewBox="{}" preserveAspectRatio="none">')
    return element.format(*box, " ".join(box))


def _x(axis: Axis, value: float) -> float:
    return _LEFT + axis.place(value) * (_WIDTH - _LEFT - _RIGHT)


def _y(axis: Axis, value: float) -> float:
    return _HEIGHT - _BOTTOM - axis.place(value) * (_HEIGHT - _TOP - _BOTTOM)


def _number(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")


def _path(drawn: Chart, points: Sequence[Point]) -> str:
    placed = [f"{_number(_x(drawn.x, x))} {_number(_y(drawn.y, y))}" for x, y in points]
    return "M" + "L".join(placed)


def _frame(drawn: Chart) -> list[Markup]:
    base, right = _HEIGHT - _BOTTOM, _WIDTH - _RIGHT
    parts = [Markup('<path class="axis" d="M{} {}V{}H{}"/>').format(*map(_number, (_LEFT, _TOP, base, right)))]
    for value, text in drawn.y.ticks:
        y = _number(_y(drawn.y, value))
        parts.append(Markup('<path class="grid" d="M{} {}H{}"/>').format(_number(_LEFT), y, _number(right)))
        parts.append(_text(_LEFT - 6, _y(drawn.y, value) + 4, text, anchor="end"))
    for value, text in drawn.x.ticks:
        label = _text(_x(drawn.x, value), base + 17, text, anchor="middle")
        parts.append(Markup('<g class="tick">') + label + Markup("</g>") if drawn.zooms else label)
    parts.append(_text((_LEFT + right) / 2, _HEIGHT - 8, drawn.x.title, anchor="middle"))
    middle = (_TOP + base) / 2
    turned = Markup('<text transform="translate(13 {}) rotate(-90)" text-anchor="middle">{}</text>')
    parts.append(turned.format(_number(middle), drawn.y.title))
    return parts


def _text(x: float, y: float, text: str, *, anchor: str) -> Markup:
    return Markup('<text x="{}" y="{}" text-anchor="{}">{}</text>').format(_number(x), _number(y), anchor, text)


def _area(drawn: Chart, area: Area) -> Markup:
    closed = _path(drawn, [*area.upper, *reversed(area.lower)]) + "Z"
    return Markup('<path d="{}" fill="{}"><title>{}</title></path>').format(closed, area.colour, area.name)


def _cloud(drawn: Chart, cloud: Cloud) -> Markup:
    dots = "".join(f"M{_number(_x(drawn.x, x))} {_number(_y(drawn.y, y))}h0" for x, y in cloud.points)
    element = Markup('<path class="cloud" d="{}" stroke="{}"><title>{}</title></path>')
    return element.format(dots, cloud.colour, cloud.name)


def _line(drawn: Chart, line: Line) -> Markup:
    element = Markup('<path class="{}" d="{}" stroke="{}" stroke-dasharray="{}"><title>{}</title></path>')
    return element.format(
        "line thin" if line.thin else "line", _path(drawn, line.points), line.colour, line.dash or "none", line.name
    )


def _mark(drawn: Chart, mark: Mark) -> Markup:
    group = Markup('<g style="color:{}"><title>{}</title>').format(mark.colour, mark.name)
    x, y = _x(drawn.x, mark.at[0]), _y(drawn.y, mark.at[1])
    label = _text(x + 7, y - 6, mark.label, anchor="start") if mark.label else Markup("")
    return group + _shape(mark.shape, x, y) + label + Markup("</g>")


_SHAPES = {
    "circle": "m-5.5 0a5.5 5.5 0 1 0 11 0a5.5 5.5 0 1 0 -11 0z",
    "ring": "m-5.5 0a5.5 5.5 0 1 0 11 0a5.5 5.5 0 1 0 -11 0zm2.2 0a3.3 3.3 0 1 1 6.6 0a3.3 3.3 0 1 1 -6.6 0z",
    "dot": "m-2 0a2 2 0 1 0 4 0a2 2 0 1 0 -4 0z",
    "square": "m-5 -5h10v10h-10z",
    "diamond": "m0 -6.5l6.5 6.5l-6.5 6.5l-6.5 -6.5z",
    "triangle": "m0 -6l6 11h-12z",
}


def _shape(shape: str, x: float, y: float) -> Markup:
    outline = escape(f"M{_number(x)} {_number(y)}{_SHAPES[shape]}")
    return Markup('<path class="mark" d="{}" fill="currentColor"/>').format(outline)
