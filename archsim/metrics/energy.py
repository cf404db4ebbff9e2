"""Energy from activity: bits, FLOPs and seconds, each times what one of them costs.

    energy of a part = amount x joules per unit        sum over parts, each with its lower and upper end

A part whose cost nobody has published has no energy, not an energy of zero: it is named among the absent, and the sum
is a lower bound while one is. Sums are exact (`math.fsum`), so their order does not matter.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

__all__ = ["Bill", "JoulesPer", "Use", "bill"]


@dataclass(frozen=True, slots=True)
class JoulesPer:
    """What one bit, FLOP or second costs: the figure and the ends of its range (equal where there is none)."""

    middle: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Use:
    """What one part did."""

    part: str
    """Name of the part in results: `chip.hbm.device`."""
    amount: float
    """Bits, FLOPs or seconds."""
    cost: JoulesPer | None
    """Per unit of the amount; None where no source was found."""


@dataclass(frozen=True, slots=True)
class Bill:
    """Energy of some activity."""

    by_part: dict[str, float]
    """Part -> joules, of the parts whose cost is known."""
    joules: float
    joules_low: float
    joules_high: float
    absent: tuple[str, ...]
    """Parts that did something at an unknown cost, sorted."""


def bill(uses: Iterable[Use]) -> Bill:
    """Return what *uses* cost together; a part may occur several times, one that did nothing is left out."""
    known: dict[str, list[float]] = {}
    low: list[float] = []
    high: list[float] = []
    absent: set[str] = set()
    for use in uses:
        if not use.amount:
            continue
        if use.cost is None:
            absent.add(use.part)
            continue
        known.setdefault(use.part, []).append(use.amount * use.cost.middle)
        low.append(use.amount * use.cost.low)
        high.append(use.amount * use.cost.high)
    by_part = {part: math.fsum(known[part]) for part in sorted(known)}
    return Bill(by_part, math.fsum(by_part.values()), math.fsum(low), math.fsum(high), tuple(sorted(absent)))
