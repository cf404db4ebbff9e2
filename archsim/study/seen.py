"""The rows of a store in little room: what a report of a study needs of each, read in one pass.

One pass is one snapshot: a sweep may go on writing. Of a hundred thousand points the numbers that are compared are
held, and no row as a whole; rows never change once written, so those that are shown are fetched by number later.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from archsim.study.axes import Value
from archsim.study.bars import bar_of, is_extrapolated
from archsim.study.cases import Outcome
from archsim.study.fronts import front_of, keeps, scores
from archsim.study.store import Store
from archsim.study.study import Study

__all__ = ["Seen", "SeenPoint", "plane_front", "seen_of"]

Ends = tuple[float, float] | None
_MOST_MESSAGES = 1_000
"""Different messages that are counted; beyond, a message counts as another one."""
_OTHER = "another message"


class SeenPoint(NamedTuple):
    """A point that is done and has every objective."""

    point: int
    inputs: tuple[Value | None, ...]
    """In the order of `Study.columns`."""
    score: tuple[float, ...]
    """Objectives, so that more is better."""
    values: tuple[float, ...]
    """Objectives in their units."""
    ends: tuple[Ends, ...]
    """80 % interval of each objective."""
    kept: bool
    """Whether it keeps the constraints."""
    outside: bool
    """Whether it is extrapolated beyond what was validated."""


@dataclass(slots=True)
class Seen:
    """What a store holds."""

    points: list[SeenPoint] = field(default_factory=list)
    """In the order of their numbers."""
    counts: Counter[str] = field(default_factory=Counter)
    """Status -> rows; `without` for those done that lack an objective."""
    messages: dict[str, tuple[int, int]] = field(default_factory=dict)
    """What points failed by -> (how many, number of the first)."""
    front: set[int] = field(default_factory=set)
    """Numbers of the points on the Pareto front of all objectives, of those that keep the constraints."""


def seen_of(study: Study, store: Store) -> Seen:
    """Return what *store* holds of *study*."""
    found = Seen()
    known: dict[str, Value | None] = {}
    front = front_of(len(study.spec.objective))
    for outcome in store.rows():
        found.counts[outcome.status] += 1
        if outcome.status != "done":
            _count(found, outcome)
            continue
        point = _point(study, outcome, known)
        if point is None:
            found.counts["without"] += 1
            continue
        found.points.append(point)
        if point.kept:
            front.add(point.score, point.point)
    found.front = front.points
    return found


def _count(found: Seen, outcome: Outcome) -> None:
    first = (outcome.error.splitlines() or [""])[0][:200]
    message = f"{outcome.status}: {first}"
    if message not in found.messages and len(found.messages) >= _MOST_MESSAGES:
        message = f"{outcome.status}: {_OTHER}"
    count, number = found.messages.get(message, (0, outcome.point))
    found.messages[message] = (count + 1, number)


def _point(study: Study, outcome: Outcome, known: dict[str, Value | None]) -> SeenPoint | None:
    score = scores(outcome, study.spec.objective)
    if score is None:
        return None
    bars = [bar_of(objective.metric, outcome.metrics) for objective in study.spec.objective]
    inputs = [outcome.inputs.get(key) for key in study.columns]
    return SeenPoint(
        outcome.point,
        tuple(known.setdefault(repr(value), value) for value in inputs),  # one object for all points that share it
        score,
        tuple(float(outcome.metrics[objective.metric] or 0.0) for objective in study.spec.objective),
        tuple(None if bar is None else (bar.low, bar.high) for bar in bars),
        keeps(outcome, study.limits),
        is_extrapolated(outcome.metrics),
    )


def plane_front(points: Sequence[SeenPoint], first: int, second: int) -> list[SeenPoint]:
    """Return the front of two objectives alone, of the points that keep the constraints, the best in *first* first."""
    kept = sorted(
        (point for point in points if point.kept),
        key=lambda point: (-point.score[first], -point.score[second], point.point),
    )
    front: list[SeenPoint] = []
    for point in kept:
        if not front or point.score[second] > front[-1].score[second]:
            front.append(point)
    return front
