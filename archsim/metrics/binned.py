"""Latencies of any number of requests in memory that does not grow: exact sums, and counts in logarithmic bins.

A value v in whole picoseconds, of b bits, lies in the bin of its 9 leading bits: the bins are 2**max(b - 9, 0) wide, at
most 1/256 of their lower edge. A percentile is the nearest rank, as that of `archsim.metrics.latency`, and stated by
the middle of its bin: off by at most half a width, which is `RELATIVE_ERROR` of the value. Below 512 ps bins hold one
value. Sums are integers in units of 2**-32 ps, and do not depend on the order of the requests.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from archsim.metrics.latency import PERCENTS, Ints
from archsim.units import PS_PER_S, seconds_of

__all__ = ["RELATIVE_ERROR", "Bins"]

_BITS = 9
"""Leading bits that tell bins apart."""
_IN_OCTAVE = 1 << (_BITS - 1)
_BINS = (64 - _BITS) * _IN_OCTAVE + (1 << _BITS)
_FINE_BITS = 32
RELATIVE_ERROR = 2.0**-_BITS
"""By which a percentile may differ from that of the values themselves: half the width of a bin."""


class Bins:
    """How often each latency occurred."""

    KEPT: ClassVar = ("counts", "total_fine")

    def __init__(self) -> None:
        self.counts: npt.NDArray[np.int64] = np.zeros(_BINS, dtype=np.int64)
        self.total_fine = 0
        """Sum of all values in units of 2**-32 ps."""

    @property
    def count(self) -> int:
        """Number of values."""
        return int(self.counts.sum())

    def add(self, values_ps: Ints, divisors: Ints | None = None) -> None:
        """Count *values_ps*, none negative, each over its divisor: those below a picosecond's are cut off in bins.

        Of a quotient no more than 2**-32 ps is lost to the sum.
        """
        if divisors is not None:
            values_ps, rest = np.divmod(values_ps, divisors)
            self.total_fine += int(((rest << _FINE_BITS) // divisors).sum())
        # In halves, as the sum of many times may pass 2**63.
        high, low = values_ps >> _FINE_BITS, values_ps & ((1 << _FINE_BITS) - 1)
        self.total_fine += (int(high.sum()) << 2 * _FINE_BITS) + (int(low.sum()) << _FINE_BITS)
        self.counts += np.bincount(_places(values_ps), minlength=_BINS)

    def with_others(self, others: Sequence[Bins]) -> Bins:
        """Return the values of this one and of *others* together."""
        whole = Bins()
        for each in (self, *others):
            whole.counts += each.counts
            whole.total_fine += each.total_fine
        return whole

    def summary(self) -> dict[str, float | None]:
        """Return mean and `PERCENTS` in seconds as `archsim.metrics.latency.summary` does; None where nothing is."""
        names = ["mean", *(f"p{percent}" for percent in PERCENTS)]
        ranks = np.cumsum(self.counts)
        count = int(ranks[-1])
        if not count:
            return dict.fromkeys(names)
        mean = self.total_fine / ((count * PS_PER_S) << _FINE_BITS)
        places = (int(np.searchsorted(ranks, -(-percent * count // 100))) for percent in PERCENTS)
        return dict(zip(names, [mean, *(_middle_s(place) for place in places)], strict=True))


def _places(values_ps: Ints) -> Ints:
    """Return the bin of each value."""
    # A float of more than 53 bits may be rounded up to the next power of two: the place comes out the same.
    bits = np.frexp(values_ps.astype(np.float64))[1].astype(np.int64)
    spare = np.maximum(bits - _BITS, 0)
    places: Ints = spare * _IN_OCTAVE + (values_ps >> spare)
    return places


def _middle_s(place: int) -> float:
    """Return the middle of a bin in seconds."""
    spare = max(place // _IN_OCTAVE - 1, 0)
    lower = (place - spare * _IN_OCTAVE) << spare
    return seconds_of(2 * lower + (1 << spare) - 1) / 2
