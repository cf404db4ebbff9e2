"""Operators of an iteration as marks of a roofline: for each its binding level, intensity there, and what it attained.

    intensity = useful FLOPs of all engines / bytes that the binding level moved      attained = useful FLOPs / time

A mark lies on the ceiling of its level where the operator keeps that level busy all its time. A runtime that reads
ahead moves bytes of an operator in the time of the ones before it: its mark may then lie above the ceiling.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from archsim.metrics.operators import OperatorUse, binding_level

__all__ = ["OperatorMark", "Pair", "labels_of", "pairs_of"]


@dataclass(frozen=True, slots=True)
class OperatorMark:
    """One operator at one batch."""

    use: OperatorUse
    share: float
    """Of the time of the iteration."""
    level: str | None
    """Where it is bound; None: it moves nothing, or nothing is calculated, and it has no place in a roofline."""
    intensity: float
    """FLOP per byte."""
    attained: float
    """FLOP/s of all chips."""
    of_ceiling: float | None
    """Attained over the lower of ceiling and roof."""


@dataclass(frozen=True, slots=True)
class Pair:
    """One operator before and after batching."""

    number: int
    """As marks are labelled, from 1 on in the order of the iteration."""
    operator: str
    before: OperatorMark | None
    """One sequence alone; None where the batch is one."""
    after: OperatorMark | None
    """The batch of the run; None where the operator runs for one sequence only."""


def pairs_of(
    uses: Sequence[OperatorUse], levels: Mapping[str, float], engines: Mapping[str, float]
) -> tuple[list[Pair], int]:
    """Return the operators of *uses*, the ones of the smallest batch beside those of the largest, and that batch.

    *levels* and *engines* are the peaks of all chips, bytes/s and FLOP/s.
    """
    batches = sorted({use.batch for use in uses})
    if not batches:
        return [], 0
    after = {use.operator: _mark(use, uses, levels, engines) for use in uses if use.batch == batches[-1]}
    before = {
        use.operator: _mark(use, uses, levels, engines) for use in uses if len(batches) > 1 and use.batch == batches[0]
    }
    names = dict.fromkeys([*after, *before])
    pairs = [Pair(number, name, before.get(name), after.get(name)) for number, name in enumerate(names, start=1)]
    return pairs, batches[-1]


def labels_of(places: Sequence[tuple[int, float, float]], *, near: tuple[float, float]) -> dict[int, str]:
    """Return number -> label for marks at *places*, (number, x, y): of marks *near* each other the topmost has all.

    The others have none. Y grows upwards.
    """
    groups: list[list[tuple[int, float, float]]] = []
    for place in sorted(places, key=lambda each: (each[1], -each[2], each[0])):
        group = next(
            (g for g in groups if abs(g[0][1] - place[1]) < near[0] and abs(g[-1][2] - place[2]) < near[1]), None
        )
        if group is None:
            groups.append([place])
        else:
            group.append(place)
    labels = {}
    for group in groups:
        top = max(group, key=lambda each: (each[2], -each[0]))
        labels[top[0]] = ", ".join(str(number) for number, _, _ in sorted(group))
    return labels


def _mark(
    use: OperatorUse, uses: Sequence[OperatorUse], levels: Mapping[str, float], engines: Mapping[str, float]
) -> OperatorMark:
    whole = math.fsum(other.time_s for other in uses if other.batch == use.batch)
    share = use.time_s / whole if whole > 0 else 0.0
    flops, level = math.fsum(use.flops.values()), binding_level(use, levels)
    if level is None or flops <= 0 or use.time_s <= 0:
        return OperatorMark(use, share, None, 0.0, 0.0, None)
    intensity, attained = flops / use.bytes[level], flops / use.time_s
    roof = max((engines[name] for name in use.flops if engines.get(name)), default=0.0)
    ceiling = min(intensity * levels[level], roof) if roof else intensity * levels[level]
    return OperatorMark(use, share, level, intensity, attained, attained / ceiling)
