"""Which figures a store of a study gives: its front, two of its axes against each other, and how it scales."""

from __future__ import annotations

from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace

from archsim.report.study_figures import Curve, Ends, Figure, FrontPoint, Measure, heat_map, pareto_front, scaling_curve
from archsim.study.axes import Axis
from archsim.study.bars import bar_of, is_extrapolated, needed_of
from archsim.study.cases import Outcome
from archsim.study.fronts import front_of, keeps, scores
from archsim.study.metrics import METRICS
from archsim.study.store import Store
from archsim.study.study import Study

__all__ = ["figures_of"]

_MOST_SETTINGS = 14
"""Settings of an axis that a heat map takes."""
_MOST_CURVES = 6


@dataclass(frozen=True, slots=True)
class _Point:
    """What a figure needs of a row."""

    outcome: Outcome
    score: tuple[float, ...]
    kept: bool


def figures_of(study: Study, store: Store) -> dict[str, Figure]:
    """Return file name (without suffix) -> figure; those for which the study has the axes and the rows."""
    needed = frozenset[str]().union(*(needed_of(objective.metric) for objective in study.spec.objective))
    points = [
        _Point(_slim(outcome, needed), score, keeps(outcome, study.limits))
        for outcome in store.rows(status="done")
        if (score := scores(outcome, study.spec.objective)) is not None
    ]
    figures: dict[str, Figure] = {}
    if len(points) > 1 and len(study.spec.objective) > 1:
        figures["pareto"] = _front(study, points)
    axes = [axis for axis in study.axes if 1 < len(axis.levels) <= _MOST_SETTINGS]
    kept = [point for point in points if point.kept] or points
    if len(axes) > 1 and kept:
        figures["heatmap"] = _heat(study, kept, (axes[0], axes[-1]))
    if len(axes) > 2 and len(axes[0].levels) == 2 and study.spec.objective[0].goal == "max":
        figures |= _gain(study, points, axes)
    numeric = [axis for axis in axes if all(isinstance(level[0], int) for level in axis.levels) and len(axis.keys) == 1]
    if numeric and points and study.spec.objective[0].goal == "max":
        figures |= _scaling(study, points, max(numeric, key=lambda axis: len(axis.levels)))
    return figures


def _slim(outcome: Outcome, needed: AbstractSet[str]) -> Outcome:
    """Return *outcome* with the *needed* metrics alone: a hundred thousand rows as a whole are a gigabyte."""
    metrics = {name: outcome.metrics[name] for name in sorted(needed & outcome.metrics.keys())}
    return replace(outcome, metrics=metrics, provenance={})


def _measure(metric: str) -> Measure:
    return Measure(METRICS[metric].title, METRICS[metric].unit)


def _front(study: Study, points: list[_Point]) -> Figure:
    """Two objectives in a plane: the front of these two among points that keep the constraints."""
    goals = study.spec.objective[:2]
    kept = [point for point in points if point.kept]
    front = front_of(2)
    for point in sorted(kept, key=lambda point: point.score[:2], reverse=True):
        front.add(point.score[:2], point.outcome.point)
    on_front = front.points
    drawn = []
    for point in points:
        x, y = (float(point.outcome.metrics[goal.metric] or 0.0) for goal in (goals[1], goals[0]))
        kind = "front" if point.outcome.point in on_front else "dominated" if point.kept else "broken"
        if kind != "front":
            drawn.append(FrontPoint(x, y, kind))
            continue
        x_ends, y_ends = (_ends(point, goal.metric) for goal in (goals[1], goals[0]))
        outside = is_extrapolated(point.outcome.metrics)
        drawn.append(FrontPoint(x, y, kind, _label(study, point), x_ends=x_ends, y_ends=y_ends, outside=outside))
    return pareto_front(drawn, (_measure(goals[1].metric), _measure(goals[0].metric)), title=study.spec.title)


def _ends(point: _Point, metric: str) -> Ends:
    bar = bar_of(metric, point.outcome.metrics)
    return None if bar is None else (bar.low, bar.high)


def _label(study: Study, point: _Point) -> str:
    parts = []
    for axis in study.axes:
        if len(axis.levels) == 1:
            continue
        for key in axis.keys[: _told(axis)]:
            value = point.outcome.inputs.get(key)
            short = key.rpartition(".")[2]
            parts.append(str(value) if isinstance(value, str) else f"{short} {value}")
    return ", ".join(parts)


def _told(axis: Axis) -> int:
    """Return how many of the linked values tell the settings of *axis* apart."""
    for count in range(1, len(axis.keys)):
        if len({str(level[:count]) for level in axis.levels}) == len(axis.levels):
            return count
    return len(axis.keys)


def _axis_name(axis: Axis) -> str:
    if len(axis.keys) == 1:
        return axis.keys[0]
    return ", ".join(key.rpartition(".")[2] for key in axis.keys[: _told(axis)])


def _names(axis: Axis) -> list[str]:
    return [", ".join(map(str, level[: _told(axis)])) for level in axis.levels]


def _best(points: list[_Point], study: Study) -> float | None:
    """Return the first objective of the best of *points*."""
    if not points:
        return None
    value = _first(points).outcome.metrics[study.spec.objective[0].metric]
    return None if value is None else float(value)


def _first(points: list[_Point]) -> _Point:
    return max(points, key=lambda point: point.score[0])


class _Grouped:
    """Points by their settings on some axes: found in one pass, however many settings there are."""

    def __init__(self, points: Sequence[_Point], axes: Sequence[Axis]) -> None:
        keys = [key for axis in axes for key in axis.keys]
        self._found: dict[tuple[object, ...], list[_Point]] = {}
        for point in points:
            self._found.setdefault(tuple(point.outcome.inputs.get(key) for key in keys), []).append(point)

    def at(self, *levels: Sequence[object]) -> list[_Point]:
        """Return those at *levels*, one an axis."""
        return self._found.get(tuple(value for level in levels for value in level), [])


def _heat(study: Study, points: list[_Point], axes: Sequence[Axis]) -> Figure:
    rows, columns = axes
    grouped = _Grouped(points, axes)
    values = [[_best(grouped.at(row, column), study) for column in columns.levels] for row in rows.levels]
    metric = study.spec.objective[0].metric
    rest = ", best over all else" if len(study.axes) > len(axes) else ""
    return heat_map(
        (_axis_name(columns), _names(columns)),
        (_axis_name(rows), _names(rows)),
        values,
        _measure(metric),
        title=f"{study.spec.title}\n{METRICS[metric].title}{rest}",
    )


def _gain(study: Study, points: list[_Point], axes: Sequence[Axis]) -> dict[str, Figure]:
    """Return one setting of the first axis over the other at every setting of the last two, if it is known anywhere."""
    first, rows, columns = axes[0], axes[-2], axes[-1]
    grouped = _Grouped(points, (first, rows, columns))

    def ratio(row: Sequence[object], column: Sequence[object]) -> float | None:
        places = [grouped.at(level, row, column) for level in first.levels]
        one, other = (_best(found, study) for found in places)
        return other / one if one and other else None

    values = [[ratio(row, column) for column in columns.levels] for row in rows.levels]
    if not any(value for row in values for value in row):
        return {}
    one, other = _names(first)
    metric = METRICS[study.spec.objective[0].metric]
    drawn = heat_map(
        (_axis_name(columns), _names(columns)),
        (_axis_name(rows), _names(rows)),
        values,
        Measure(f"ratio of {metric.title}", ""),
        title=f"{study.spec.title}\n{metric.title}: {other} over {one}",
    )
    return {"gain": drawn}


def _scaling(study: Study, points: list[_Point], axis: Axis) -> dict[str, Figure]:
    others = [other for other in study.axes if other is not axis and 1 < len(other.levels) <= _MOST_CURVES]
    by = others[0] if others else None
    metric = study.spec.objective[0].metric
    curves = []
    grouped = _Grouped(points, (by,)) if by else None
    for name, level in zip(_names(by), by.levels, strict=True) if by else [(metric, ())]:
        mine = grouped.at(level) if grouped else points
        if curve := _curve(name, mine, axis, metric=metric):
            curves.append(curve)
    if not curves:
        return {}
    rest = f"\n{METRICS[metric].title}, best over all else" if len(study.axes) > 2 else ""
    return {"scaling": scaling_curve(curves, axis.keys[0], _measure(metric), title=study.spec.title + rest)}


def _curve(name: str, points: list[_Point], axis: Axis, *, metric: str) -> Curve | None:
    """Return the best point at each setting of *axis*, of those above zero; None where there are not two."""
    grouped = _Grouped(points, (axis,))
    best = [_first(found) for x in axis.levels if (found := grouped.at(x))]
    placed = [(float(str(p.outcome.inputs[axis.keys[0]])), float(p.outcome.metrics[metric] or 0.0), p) for p in best]
    known = [(x, y, point) for x, y, point in placed if x > 0 and y > 0]
    if len(known) < 2:
        return None
    xs, ys, drawn = zip(*known, strict=True)
    outside = [is_extrapolated(point.outcome.metrics) for point in drawn]
    return Curve(name, xs, ys, ends=_ends(drawn[-1], metric), outside=outside)
