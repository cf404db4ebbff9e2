"""Which points of a study are good: those that keep the constraints, the best of them, and the Pareto front.

A point is on the front where no other is at least as good in every objective and better in one. Points are met one by
one and only those of the front are held; of equals the first stays. In a plane the front is a staircase, on which the
place of a point is found by halving: every point of a study may lie on it.
"""

from __future__ import annotations

import heapq
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from archsim.study.cases import Limit, Outcome
from archsim.study.spec import ObjectiveSpec

__all__ = ["Front", "Ranking", "dominates", "front_of", "keeps", "ranked", "scores"]


def scores(outcome: Outcome, objectives: Sequence[ObjectiveSpec]) -> tuple[float, ...] | None:
    """Return the objectives of a point so that more is better; None where one is absent."""
    found = []
    for objective in objectives:
        value = outcome.metrics.get(objective.metric)
        if value is None:
            return None
        found.append(float(value) if objective.goal == "max" else -float(value))
    return tuple(found)


def keeps(outcome: Outcome, limits: Sequence[Limit]) -> bool:
    """Return whether a point is done and keeps every constraint."""
    return outcome.status == "done" and not any(limit.broken_by(outcome.metrics.get(limit.metric)) for limit in limits)


def dominates(one: Sequence[float], other: Sequence[float]) -> bool:
    """Return whether *one* is at least as good everywhere and not equal."""
    return all(a >= b for a, b in zip(one, other, strict=True)) and tuple(one) != tuple(other)


class Front(Protocol):
    """The scores that none met so far dominates, each with the number of its point; of equals the first."""

    @property
    def points(self) -> set[int]:
        """Numbers of the points."""

    def add(self, score: tuple[float, ...], point: int) -> tuple[int, ...] | None:
        """Take *point* where none is as good; return the points that it drives out, None where it is not taken."""


def front_of(objectives: int) -> Front:
    """Return the front of no points yet, in so many objectives."""
    return _Staircase() if objectives == 2 else _Cloud(objectives)


class _Staircase:
    """A front in a plane: ascending in the first objective, so descending in the second."""

    def __init__(self) -> None:
        self._held: list[tuple[float, float, int]] = []

    @property
    def points(self) -> set[int]:
        return {point for *_, point in self._held}

    def add(self, score: tuple[float, ...], point: int) -> tuple[int, ...] | None:
        held, (one, other) = self._held, score
        stop = bisect_left(held, one, key=lambda entry: entry[0])
        if stop < len(held) and held[stop][1] >= other:
            return None
        stop += stop < len(held) and held[stop][0] == one
        first = stop
        while first and held[first - 1][1] <= other:
            first -= 1
        driven = tuple(number for *_, number in held[first:stop])
        held[first:stop] = [(one, other, point)]
        return driven


class _Cloud:
    """A front in any number of objectives, compared as a whole."""

    def __init__(self, objectives: int) -> None:
        self._scores = np.empty((objectives, 16))
        """A row an objective, with room for more than are held."""
        self._held: list[int] = []

    @property
    def points(self) -> set[int]:
        return set(self._held)

    def add(self, score: tuple[float, ...], point: int) -> tuple[int, ...] | None:
        scores, mine = self._scores[:, : len(self._held)], np.array(score)[:, np.newaxis]
        if (scores >= mine).all(axis=0).any():
            return None
        beaten = (scores <= mine).all(axis=0)
        driven = tuple(self._held[place] for place in np.flatnonzero(beaten))
        if driven:
            left = scores[:, ~beaten]
            self._held = [self._held[place] for place in np.flatnonzero(~beaten)]
            self._scores[:, : len(self._held)] = left
        if len(self._held) == self._scores.shape[1]:
            self._scores = np.concatenate([self._scores, np.empty_like(self._scores)], axis=1)
        self._scores[:, len(self._held)] = score
        self._held.append(point)
        return driven


@dataclass(frozen=True, slots=True)
class Ranking:
    """What a study found."""

    best: tuple[Outcome, ...]
    """The best points that keep the constraints, by the first objective."""
    front: tuple[Outcome, ...]
    """The Pareto front of those, in the order of points."""
    feasible: int
    """Points that keep the constraints."""
    best_of_each: tuple[Outcome, ...] = ()
    """The best point at every setting of one input, in the order in which they are met."""


def ranked(
    outcomes: Iterable[Outcome],
    objectives: Sequence[ObjectiveSpec],
    limits: Sequence[Limit],
    *,
    most: int,
    by: str | None = None,
) -> Ranking:
    """Return the best *most* points and the front of *outcomes*, and the best for each value of the input *by*."""
    best: list[tuple[tuple[float, ...], int, Outcome]] = []
    front, on_front = front_of(len(objectives)), dict[int, Outcome]()
    each: dict[str, tuple[tuple[float, ...], Outcome]] = {}
    feasible = 0
    for outcome in outcomes:
        score = scores(outcome, objectives) if keeps(outcome, limits) else None
        if score is None:
            continue
        feasible += 1
        place = str(outcome.inputs.get(by or ""))
        if place not in each or score > each[place][0]:
            each[place] = (score, outcome)
        entry = (score, -outcome.point, outcome)
        if len(best) < most:
            heapq.heappush(best, entry)
        else:
            heapq.heappushpop(best, entry)
        if (driven := front.add(score, outcome.point)) is not None:
            on_front[outcome.point] = outcome
            for point in driven:
                del on_front[point]
    best.sort(key=lambda entry: entry[:2], reverse=True)
    return Ranking(tuple(outcome for *_, outcome in best), tuple(on_front.values()), feasible,
                   tuple(outcome for _, outcome in each.values()) if by else ())  # fmt: skip
