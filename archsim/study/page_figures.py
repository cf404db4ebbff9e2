"""The figures of a study's report: fronts, scaling, two axes, and what moves the first objective."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from markupsafe import Markup

from archsim.report.study_charts import front_chart, scaling_chart
from archsim.report.study_figures import Curve, FrontPoint, Measure
from archsim.report.study_page import Heat, Shown, heat_of, move_bar
from archsim.report.study_text import Value as Barred
from archsim.report.study_text import quantity
from archsim.report.views import percent
from archsim.study.axes import Axis
from archsim.study.axes import Value as Setting
from archsim.study.metrics import METRICS
from archsim.study.moves import moves_of, setting
from archsim.study.seen import Ends, Seen, SeenPoint, plane_front
from archsim.study.study import Study

__all__ = ["Drawn", "figures_of_page", "told"]

_MOST_SETTINGS = 24
"""Settings of an axis that the coloured table takes."""
_MOST_CURVES = 6
_MOST_FRONTS = 3


@dataclass(slots=True)
class Drawn:
    """What there is to see."""

    fronts: list[Shown] = field(default_factory=list)
    scaling: Shown | None = None
    heat: Heat | None = None
    moves: list[tuple[str, int, str, Markup, str, str]] = field(default_factory=list)
    moves_of: str = ""
    left_out: list[str] = field(default_factory=list)


def told(value: float | None, ends: Ends, unit: str, *, outside: bool) -> str:
    """Return a number with its unit and its interval, an x before one that is extrapolated."""
    return Barred(value, ends, outside=outside).text(unit)


def figures_of_page(study: Study, seen: Seen) -> Drawn:
    """Return the figures for which *study* has the axes and *seen* the points."""
    found = Drawn()
    if not seen.points:
        return found
    if len(seen.points) > 1:
        for other in range(1, min(len(study.spec.objective), _MOST_FRONTS + 1)):
            found.fronts.append(_front(study, seen, other, found.left_out))
    kept = [point for point in seen.points if point.kept] or seen.points
    axes = [axis for axis in study.axes if 1 < len(axis.levels) <= _MOST_SETTINGS]
    if len(axes) > 1:
        found.heat = _heat(study, kept, (axes[0], axes[-1]))
    if study.spec.objective[0].goal == "max":
        found.scaling = _scaling(study, kept, axes)
    _move(study, seen, found)
    return found


def _measure(metric: str) -> Measure:
    return Measure(METRICS[metric].title, METRICS[metric].unit)


def _front(study: Study, seen: Seen, other: int, left_out: list[str]) -> Shown:
    goals = study.spec.objective
    front = {point.point for point in plane_front(seen.points, 0, other)}
    varied = [axis for axis in study.axes if len(axis.levels) != 1]
    drawn = []
    for point in seen.points:
        x, y = point.values[other], point.values[0]
        if point.point not in front:
            drawn.append(FrontPoint(x, y, "dominated" if point.kept else "broken"))
            continue
        words = "; ".join(_told_setting(axis, setting(study, axis, point)) for axis in varied)
        label = f"point {point.point}: {words}" if words else f"point {point.point}"
        drawn.append(FrontPoint(x, y, "front", label, point.ends[other], point.ends[0], point.outside))
    measures = (_measure(goals[other].metric), _measure(goals[0].metric))
    title = f"{measures[1].title} ({goals[0].goal}) against {measures[0].title} ({goals[other].goal})"
    shown = front_chart(drawn, measures, title=title)
    note = f"{shown.front:,} points on the front of these two, {shown.others:,} others."
    if shown.marks < shown.front:
        left_out.append(f"{shown.front - shown.marks:,} points of the front of {title}")
        note += f" Marked: {shown.marks:,} of the front, evenly."
    if shown.dots < shown.others:
        left_out.append(f"{shown.others - shown.dots:,} faint points of {title}, which lie on one that is drawn")
        note += f" Drawn faint: {shown.dots:,}, one of those that lie on each other."
    return Shown(title, shown.drawing, note)


def _told_setting(axis: Axis, values: Sequence[Setting | None]) -> str:
    return ", ".join(
        str(value) if key == "system" else f"{key.rpartition('.')[2]} {value}"
        for key, value in zip(axis.keys, values, strict=True)
    )


def _name(axis: Axis) -> str:
    return ", ".join(axis.keys)


def _best(points: Sequence[SeenPoint]) -> SeenPoint | None:
    return max(points, key=lambda point: (point.score[0], -point.point), default=None)


def _by(study: Study, axes: Sequence[Axis], points: Sequence[SeenPoint]) -> dict[str, SeenPoint]:
    """Return the settings of *axes* -> the best of *points* there."""
    places = [study.columns.index(key) for axis in axes for key in axis.keys]
    best: dict[str, SeenPoint] = {}
    for point in points:
        key = repr([point.inputs[place] for place in places])
        if key not in best or point.score[0] > best[key].score[0]:
            best[key] = point
    return best


def _at(best: dict[str, SeenPoint], *levels: Sequence[Setting]) -> SeenPoint | None:
    return best.get(repr([value for level in levels for value in level]))


def _levels(axis: Axis) -> list[str]:
    return [", ".join(map(str, level)) for level in axis.levels]


def _heat(study: Study, points: Sequence[SeenPoint], axes: tuple[Axis, Axis]) -> Heat:
    down, across = axes
    best = _by(study, axes, points)
    metric = METRICS[study.spec.objective[0].metric]
    values = []
    for row in down.levels:
        found = [_at(best, row, column) for column in across.levels]
        values.append([
            (None, "-") if point is None else (point.values[0], quantity(point.values[0], metric.unit, digits=3))
            for point in found
        ])  # fmt: skip
    rest = ", the best over all other axes" if len(study.axes) > len(axes) else ""
    return heat_of(f"{metric.title}{rest}", (_name(across), _levels(across)), (_name(down), _levels(down)), values)


def _scaling(study: Study, points: Sequence[SeenPoint], axes: Sequence[Axis]) -> Shown | None:
    """Return how the first objective grows with the longest numeric axis, a curve for each setting of another one."""
    numeric = [axis for axis in axes if len(axis.keys) == 1 and all(type(level[0]) is int for level in axis.levels)]
    if not numeric:
        return None
    along = max(numeric, key=lambda axis: len(axis.levels))
    by = next((axis for axis in axes if axis is not along and len(axis.levels) <= _MOST_CURVES), None)
    best = _by(study, [by, along] if by else [along], points)
    metric = study.spec.objective[0].metric
    curves = []
    for name, level in zip(_levels(by), by.levels, strict=True) if by else [(metric, ())]:
        found = [(x, point) for x in along.levels if (point := _at(best, level, x)) is not None]
        known = [(float(str(x[0])), p) for x, p in found if float(str(x[0])) > 0 and p.values[0] > 0]
        if len(known) > 1:
            last = known[-1][1]
            curves.append(Curve(name, [x for x, _ in known], [p.values[0] for _, p in known], ends=last.ends[0],
                                outside=[p.outside for _, p in known]))  # fmt: skip
    if not curves:
        return None
    rest = ", the best over all other axes" if len(study.axes) > (2 if by else 1) else ""
    title = f"{METRICS[metric].title} over {_name(along)}{rest}"
    return Shown(title, scaling_chart(curves, _name(along), _measure(metric), title=title), "")


def _move(study: Study, seen: Seen, found: Drawn) -> None:
    best, moves = moves_of(study, seen.points)
    if best is None:
        return
    ends = (min((m.low or 0.0 for m in moves), default=0.0), max((m.high or 0.0 for m in moves), default=0.0))
    metric = METRICS[study.spec.objective[0].metric]
    for move in moves:
        known = move.low is not None and move.high is not None
        words = f"{100 * (move.low or 0):+.1f} % to {100 * (move.high or 0):+.1f} %" if known else "-"
        drawn = move_bar(move.low or 0.0, move.high or 0.0, ends) if known else Markup("")
        where = ", ".join(map(str, move.best_at))
        found.moves.append((_name(move.axis), move.settings, words, drawn, where, percent(move.share)))
    found.moves_of = (
        f"{metric.title}. Changed alone: the range over the settings of one axis with all else as in the best point, "
        f"number {best.point}: {told(best.values[0], best.ends[0], metric.unit, outside=best.outside)}. All bars have "
        f"one scale, {100 * ends[0]:+.3g} % to {100 * ends[1]:+.3g} %; points that break a constraint count here too. "
        "Best at: the setting with the best mean over all points. Share of the spread: what part of the variance (of "
        "the logarithm) lies between the settings of the axis; axes that act together share theirs."
    )
