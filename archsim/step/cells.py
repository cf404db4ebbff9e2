"""Iterations between knots: within a cell their time is linear, and their sums are integers.

A `Cell` answers for decode iterations of one batch whose context lies between two knots, a `Square` for prefills
between two numbers of tokens and two of pairs. Both say how much of each knot a run of iterations is, and its time.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

__all__ = ["FINE_BITS", "NOWHERE", "Cell", "Mixture", "Square"]

FINE_BITS = 32
"""Binary places of weights and of the fine clock below one picosecond."""


class Mixture(NamedTuple):
    """Iterations as a mixture of knots."""

    time_fine: int
    """Sum of weight times the knot's time in ps: time in units of 2**-32 ps."""
    knots: tuple[tuple[int, int], ...]
    """(index into `StepCosts.records`, weight in units of 2**-32 of an iteration)."""


@dataclass(frozen=True, slots=True)
class Cell:
    """Decode iterations of one batch whose total context lies in [`lower`, `lower + 2**spacing_bits`)."""

    batch: int
    lower: int
    upper: int
    spacing_bits: int
    corners: tuple[tuple[int, int, int], ...]
    """(knot at `lower`, knot at the upper edge, weight of this batch knot in units of 2**-batch_bits)."""
    batch_bits: int
    base_fine: int
    """Time of an iteration that reads `lower` tokens."""
    slope_fine: int
    """Further time of each token beyond."""

    def time_fine(self, steps: int, beyond_tokens: int) -> int:
        """Return the time of *steps* iterations that together read *beyond_tokens* more than `lower` each."""
        return steps * self.base_fine + beyond_tokens * self.slope_fine

    def steps_inside(self, first: int, rise: int, most: int) -> int:
        """Return how many of *most* iterations begin in the cell, from *first* tokens beyond `lower` on."""
        return min(most, -(-((1 << self.spacing_bits) - first) // rise)) if rise else most

    def fewest(self, rise: int, first: int, most: int, limit_fine: int) -> int:
        """Return the fewest iterations, at least one, that take *limit_fine*, which *most* of them do."""
        start, bend = self.base_fine + first * self.slope_fine, rise * self.slope_fine
        # n * start + bend * n * (n - 1) / 2 = limit, solved in floats without a difference; then integers decide.
        linear = start - bend / 2
        root = linear * linear + 2.0 * bend * limit_fine
        steps = int(2.0 * limit_fine / (linear + math.sqrt(root))) if linear > 0 and root >= 0 else 1
        steps = min(max(steps, 1), most)
        while steps < most and steps * start + bend * (steps * (steps - 1) // 2) < limit_fine:
            steps += 1
        while steps > 1 and (steps - 1) * start + bend * ((steps - 1) * (steps - 2) // 2) >= limit_fine:
            steps -= 1
        return steps

    def add_weights(self, weights: dict[int, int], steps: int, beyond_tokens: int) -> None:
        """Add the knots' weights of those iterations to *weights*."""
        upper = beyond_tokens << (FINE_BITS - self.spacing_bits)
        lower = (steps << FINE_BITS) - upper
        for low, up, share in self.corners:
            weights[low] = weights.get(low, 0) + (lower * share >> self.batch_bits)
            if upper:
                weights[up] = weights.get(up, 0) + (upper * share >> self.batch_bits)


@dataclass(frozen=True, slots=True)
class Square:
    """Prefills within one cell of tokens and pairs, not on its lower edges."""

    token_bits: int
    pair_bits: int
    knots: tuple[int, ...]
    """At (lower, lower), (lower, upper), (upper, lower), (upper, upper) of tokens and pairs."""
    times_ps: tuple[int, ...]
    distinct: bool
    """No two of the knots are one."""

    def mixture(self, right: int, up: int) -> Mixture:
        """Return the iteration *right* tokens and *up* pairs beyond the lower corner."""
        shift = FINE_BITS - self.token_bits - self.pair_bits
        left, down = (1 << self.token_bits) - right, (1 << self.pair_bits) - up
        lowest, low, high, highest = shares = (
            left * down << shift, left * up << shift, right * down << shift, right * up << shift
        )  # fmt: skip
        first, second, third, last = self.times_ps
        time_fine = lowest * first + low * second + high * third + highest * last
        knots = tuple(zip(self.knots, shares, strict=True))
        return Mixture(time_fine, knots if self.distinct else merged(knots))


NOWHERE = Cell(-1, 0, 0, 0, (), 0, 0, 0)
"""A cell of no batch."""


def merged(knots: Iterable[tuple[int, int]]) -> tuple[tuple[int, int], ...]:
    """Return *knots* with those that are one as one."""
    weights: dict[int, int] = {}
    for knot, weight in knots:
        weights[knot] = weights.get(knot, 0) + weight
    return tuple(weights.items())
