"""What moves the first objective of a study: its axes one at a time around the best point, and over all points.

Around the best point: the least and the greatest value among points that differ from it in one axis alone. Over all:
the correlation ratio of Pearson, the share of the variance of the objective's logarithm (of the objective itself where
it is not above zero everywhere) that lies between the settings of the axis; axes that act together share theirs.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from archsim.study.axes import Axis, Value
from archsim.study.seen import SeenPoint
from archsim.study.study import Study

__all__ = ["Move", "moves_of", "setting"]

_MOST_SETTINGS = 200
"""An axis of more has no settings that points share."""


@dataclass(frozen=True, slots=True)
class Move:
    """What an axis does to the first objective."""

    axis: Axis
    settings: int
    """Different ones among the points."""
    low: float | None
    """Least value around the best point over its own, less 1; None: no point differs from it in this axis alone."""
    high: float | None
    neighbours: int
    best_at: tuple[Value | None, ...]
    """Setting with the highest mean over all points."""
    share: float | None
    """Correlation ratio; None where settings are too many, or nothing varies."""


def moves_of(study: Study, points: Sequence[SeenPoint]) -> tuple[SeenPoint | None, list[Move]]:
    """Return the best of *points* by the first objective, and what each axis does, the largest first."""
    kept = [point for point in points if point.kept] or [*points]
    if not kept:
        return None, []
    best = max(kept, key=lambda point: (point.score, -point.point))
    moves = [_move(study, axis, points, best) for axis in study.axes if len(axis.levels) != 1]
    moves = [move for move in moves if move.settings > 1]
    moves.sort(key=lambda move: -((move.high or 0.0) - (move.low or 0.0)))
    return best, moves


def setting(study: Study, axis: Axis, point: SeenPoint) -> tuple[Value | None, ...]:
    """Return what *point* has of *axis*."""
    return tuple(point.inputs[study.columns.index(key)] for key in axis.keys)


def _move(study: Study, axis: Axis, points: Sequence[SeenPoint], best: SeenPoint) -> Move:
    own = {study.columns.index(key) for key in axis.keys}
    rest = [place for place in range(len(study.columns)) if place not in own]
    around = [p.values[0] for p in points if all(p.inputs[place] == best.inputs[place] for place in rest)]
    logarithm = all(point.values[0] > 0 for point in points)
    groups: dict[str, list[float]] = {}
    settings: dict[str, tuple[Value | None, ...]] = {}
    for point in points:
        found = tuple(point.inputs[place] for place in sorted(own))
        value = math.log(point.values[0]) if logarithm else point.values[0]
        groups.setdefault(repr(found), []).append(value)
        settings.setdefault(repr(found), setting(study, axis, point))
    sign = 1 if study.spec.objective[0].goal == "max" else -1
    top = max(groups, key=lambda name: sign * math.fsum(groups[name]) / len(groups[name]))
    several, value = len(around) > 1 and best.values[0] != 0, best.values[0]
    return Move(
        axis,
        len(groups),
        min(around) / value - 1 if several else None,
        max(around) / value - 1 if several else None,
        len(around) - 1,
        settings[top],
        _share(list(groups.values())) if len(groups) <= _MOST_SETTINGS else None,
    )


def _share(groups: Sequence[Sequence[float]]) -> float | None:
    count = sum(len(group) for group in groups)
    mean = math.fsum(value for group in groups for value in group) / count
    whole = math.fsum((value - mean) ** 2 for group in groups for value in group)
    between = math.fsum(len(group) * (math.fsum(group) / len(group) - mean) ** 2 for group in groups)
    return between / whole if whole > 0 else None
