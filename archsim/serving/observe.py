"""What happens between tokens and over time, kept in memory that does not grow with the run.

`Gaps` counts the time between one emission of a running sequence and its next in bins whose width is at most 1/128 of
their values: a percentile is off by at most 0.8 %. A jump's iterations are counted bin by bin: their times rise with
their contexts, so that two in one bin have all between them there. Tokens that are emitted together have no gap.

`Series` keeps what waits, runs and is held, weighted by time, in at most `CELLS` cells of equal length that merge in
pairs when the run outgrows them. Blocks are those at the end of a stretch, waiting and running those at its start.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from collections.abc import Sequence as Several
from typing import ClassVar

from archsim.serving.costs import FINE_BITS
from archsim.serving.requests import Sequence

__all__ = ["CELLS", "Gaps", "Observer", "Series", "bin_of"]

CELLS = 512
"""Cells of a series."""
_MANTISSA_BITS = 8
_FIRST_SHIFT = FINE_BITS + 20


class Gaps:
    """Counts of gaps by length."""

    KEPT: ClassVar = ("bins", "total_fine")

    def __init__(self) -> None:
        self.bins: dict[int, int] = {}
        """Lower edge in picoseconds -> gaps in the bin."""
        self.total_fine = 0
        """Sum of all gaps."""

    def add(self, gap_fine: int, count: int) -> None:
        """Count *count* gaps of this length."""
        edge = bin_of(gap_fine)
        self.bins[edge] = self.bins.get(edge, 0) + count
        self.total_fine += count * gap_fine

    def add_rising(self, gap_of: Callable[[int], int], first: int, last: int, count: int) -> None:
        """Count *count* gaps for each iteration from *first* to *last*, whose lengths *gap_of* rise."""
        if first > last:
            return
        low, high = bin_of(gap_of(first)), bin_of(gap_of(last))
        if low == high:
            self.bins[low] = self.bins.get(low, 0) + count * (last - first + 1)
            return
        middle = (first + last) // 2
        self.add_rising(gap_of, first, middle, count)
        self.add_rising(gap_of, middle + 1, last, count)


def bin_of(gap_fine: int) -> int:
    """Return the lower edge, in whole picoseconds, of the bin of a gap."""
    ps = gap_fine >> FINE_BITS
    spare = max(ps.bit_length() - _MANTISSA_BITS, 0)
    return ps >> spare << spare


class Series:
    """Time-weighted sums of what waits, runs and is held."""

    KEPT: ClassVar = ("shift", "cells")

    def __init__(self) -> None:
        self.shift = _FIRST_SHIFT
        """log2 of the cells' length on the fine clock."""
        self.cells: dict[int, list[int]] = {}
        """Cell -> sums over its time of one, of what waits, runs and is held."""

    def add(self, start_fine: int, end_fine: int, levels: tuple[int, int, int]) -> None:
        """Add a stretch with *levels* of (waiting, running, blocks)."""
        while end_fine > start_fine and (end_fine - 1) >> self.shift >= CELLS:
            self._double()
        while start_fine < end_fine:
            cell = start_fine >> self.shift
            stop = min(end_fine, (cell + 1) << self.shift)
            sums = self.cells.setdefault(cell, [0, 0, 0, 0])
            for place, level in enumerate((1, *levels)):
                sums[place] += level * (stop - start_fine)
            start_fine = stop

    def rows(self) -> Iterator[tuple[int, int, float, float, float]]:
        """Yield (start ps, length ps, mean waiting, running, blocks) of each cell."""
        for cell in sorted(self.cells):
            time_fine, *sums = self.cells[cell]
            start_ps = (cell << self.shift) >> FINE_BITS
            waiting, running, blocks = (total / time_fine for total in sums)
            yield start_ps, time_fine >> FINE_BITS, waiting, running, blocks

    def with_others(self, others: Several[Series]) -> Series:
        """Return the sum of all levels over replicas that ran at the same time."""
        whole, shift = Series(), max(series.shift for series in (self, *others))
        whole.shift = shift
        for series in (self, *others):
            for cell, sums in series.cells.items():
                into = whole.cells.setdefault(cell >> (shift - series.shift), [0, 0, 0, 0])
                for place, total in enumerate(sums):
                    into[place] += total
        for sums in whole.cells.values():
            sums[0] //= 1 + len(others)
        return whole

    def _double(self) -> None:
        self.shift += 1
        merged: dict[int, list[int]] = {}
        for cell, sums in self.cells.items():
            into = merged.setdefault(cell >> 1, [0, 0, 0, 0])
            for place, total in enumerate(sums):
                into[place] += total
        self.cells = merged


class Observer:
    """A server under observation."""

    KEPT: ClassVar = ("gaps", "series", "_fresh", "_running", "_end_fine")

    def __init__(self) -> None:
        self.gaps = Gaps()
        self.series = Series()
        self._fresh: dict[int, int] = {}
        """When sequences emitted that have not decoded since, by number."""
        self._running = 0
        """The other running sequences, which all emitted at the end of the last iteration that decoded."""
        self._end_fine = 0

    def joined(self, number: int, now_fine: int, since_fine: int | None) -> None:
        """Note that a sequence decodes from now on; one that was preempted emitted last at *since_fine*."""
        if since_fine is not None:
            self.gaps.add(now_fine - since_fine, 1)
        self._fresh[number] = now_fine

    def returned(self, number: int, since_fine: int) -> None:
        """Note that a sequence, which emitted last at *since_fine*, decodes again without having emitted."""
        self._fresh[number] = since_fine

    def landed(self, sequences: Iterable[Sequence]) -> None:
        """Note that *sequences* decode from now on, which emitted last elsewhere."""
        self._fresh |= {each.id: each.emitted_fine for each in sequences if each.emitted_fine is not None}

    def left(self, number: int) -> int:
        """Note that a sequence is done or preempted, and return when it emitted last."""
        at = self._fresh.pop(number, None)
        if at is None:
            self._running -= 1
        return self._end_fine if at is None else at

    def decoded(self, end_fine: int, steps: int, gap_of: Callable[[int], int], *, since_fine: int) -> None:
        """Note *steps* iterations of all that run, from *since_fine* on; the i-th, from 0 on, takes *gap_of* (i)."""
        first_fine = since_fine + gap_of(0)
        size = self._running + len(self._fresh)
        if self._running:
            self.gaps.add(first_fine - self._end_fine, self._running)
        for at in self._fresh.values():
            self.gaps.add(first_fine - at, 1)
        self.gaps.add_rising(gap_of, 1, steps - 1, size)
        self.gaps.total_fine += size * (end_fine - first_fine)
        self._fresh.clear()
        self._running, self._end_fine = size, end_fine

    def with_others(self, others: Several[Observer]) -> Observer:
        """Return what was seen of this server and of *others* together."""
        whole = Observer()
        for watch in (self, *others):
            for edge, count in watch.gaps.bins.items():
                whole.gaps.bins[edge] = whole.gaps.bins.get(edge, 0) + count
            whole.gaps.total_fine += watch.gaps.total_fine
        whole.series = self.series.with_others([watch.series for watch in others])
        return whole
