"""Which points of a study are good: those that keep the constraints, the best of them, and the Pareto front.

A point is on the front where no other is at least as good in every objective and better in one. Points are met one by
one and only those of the front are held; of equals the first stays.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from archsim.study.cases import Limit, Outcome
from archsim.study.spec import ObjectiveSpec

__all__ = ["Ranking", "dominates", "keeps", "ranked", "scores"]


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
    front: list[tuple[tuple[float, ...], Outcome]] = []
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
        if not any(dominates(held, score) or held == score for held, _ in front):
            front = [(held, other) for held, other in front if not dominates(score, held)]
            front.append((score, outcome))
    best.sort(key=lambda entry: entry[:2], reverse=True)
    return Ranking(tuple(outcome for *_, outcome in best), tuple(outcome for _, outcome in front), feasible,
                   tuple(outcome for _, outcome in each.values()) if by else ())  # fmt: skip
