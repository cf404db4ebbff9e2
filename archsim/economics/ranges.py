"""A figure with the ends of what sources allow, and its arithmetic.

Ends are combined end by end: all lows together make the low, all highs the high. They are bounds of what the sources
together allow, not a confidence interval.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import NamedTuple

__all__ = ["ENDS", "Range", "total"]

ENDS = ("low", "mid", "high")


class Range(NamedTuple):
    """Low <= mid <= high, in one unit."""

    low: float
    mid: float
    high: float

    def times(self, other: Range) -> Range:
        """Return the product, end by end."""
        return Range(self.low * other.low, self.mid * other.mid, self.high * other.high)

    def scaled(self, factor: float) -> Range:
        """Return the range times a *factor* that is not negative."""
        return Range(self.low * factor, self.mid * factor, self.high * factor)

    def turned(self) -> Range:
        """Return the ends swapped: of something that costs less the more of it there is."""
        return Range(self.high, self.mid, self.low)

    def over(self, divisor: Range) -> Range:
        """Return the quotient, end by end; turn the *divisor* where more of it makes the quotient less."""
        return Range(self.low / divisor.low, self.mid / divisor.mid, self.high / divisor.high)


def total(ranges: Iterable[Range]) -> Range:
    """Return the exact sum of *ranges*, end by end."""
    columns = list(zip(*ranges, strict=True))
    return Range(*(math.fsum(column) for column in columns)) if columns else Range(0.0, 0.0, 0.0)
