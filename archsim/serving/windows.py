"""The run in at most 512 windows, however long it gets: a log that keeps its size by merging pairs.

Time is cut into cells of 2**shift fine units. An iteration belongs to the cell in which it starts; idle time is cut at
the cells' borders. A window is what belongs to one cell. When something starts beyond the last cell, cells double and
pairs of windows merge. The windows are thereby a function of the iterations and of the final cell size alone: how a
run of iterations was booked, in one piece or in many, leaves no trace.
"""

from __future__ import annotations

from typing import ClassVar

from archsim.serving.batch import Batch
from archsim.serving.chunks import Chunks
from archsim.serving.costs import FINE_BITS, Run
from archsim.serving.record import PhaseUse, Window

__all__ = ["FIRST_SHIFT", "MOST_WINDOWS", "WindowLog"]

MOST_WINDOWS = 512
"""Windows kept."""
FIRST_SHIFT = FINE_BITS + 20
"""Cells start at 2**20 ps, about a microsecond: shorter than an iteration on any system."""


class WindowLog:
    """Windows under construction. Things are booked in order of time, each starting where the one before ended."""

    KEPT: ClassVar = ("_shift", "_cells", "_windows", "_open", "border_fine")

    def __init__(self) -> None:
        self._shift = FIRST_SHIFT
        self._cells: list[int] = []
        self._windows: list[Window] = []
        self._open = Window(0, 0)
        self.border_fine = 0
        """End of the open cell: an iteration that starts here or later opens another."""

    def open(self, start_fine: int) -> None:
        """Make the window ready in which something at *start_fine*, the end of all booked so far, belongs."""
        if start_fine < self.border_fine:
            return
        while start_fine >> self._shift >= MOST_WINDOWS:
            self._double()
        cell = start_fine >> self._shift
        self._open = Window(start_fine, start_fine)
        self._cells.append(cell)
        self._windows.append(self._open)
        self.border_fine = (cell + 1) << self._shift

    def decoding(self, batch: Batch, steps: int, chunks: Chunks | None = None) -> None:
        """Hear who decodes in the *steps* iterations that are booked next, beside *chunks*; a plain log does not."""

    def book(self, phase: str, iterations: int, run: Run, output_tokens: int) -> None:
        """Book *iterations*, all starting in the open window."""
        window = self._open
        use = window.phases.get(phase)
        if use is None:
            use = window.phases[phase] = PhaseUse()
        use.iterations += iterations
        use.time_fine += run.time_fine
        weights = use.weights
        for knot, weight in run.knots:
            weights[knot] = weights.get(knot, 0) + weight
        window.end_fine += run.time_fine
        window.output_tokens += output_tokens

    def moved(self, start_fine: int, run: Run) -> int:
        """Book a move of KV caches, between iterations, and return when it ends."""
        self.open(start_fine)
        self.book("moving", 1, run, 0)
        return start_fine + run.time_fine

    def idle(self, start_fine: int, end_fine: int) -> None:
        """Book the time between as idle."""
        while (end_fine - 1) >> self._shift >= MOST_WINDOWS:
            self._double()
        while start_fine < end_fine:
            self.open(start_fine)
            end_of_piece = min(end_fine, self.border_fine)
            self._open.idle_fine += end_of_piece - start_fine
            self._open.end_fine = start_fine = end_of_piece

    def windows(self) -> tuple[Window, ...]:
        """Return the windows so far."""
        return tuple(self._windows)

    def _double(self) -> None:
        self._shift += 1
        cells: list[int] = []
        windows: list[Window] = []
        for cell, window in zip(self._cells, self._windows, strict=True):
            if cells and cells[-1] == cell >> 1:
                windows[-1].add(window)
            else:
                cells.append(cell >> 1)
                windows.append(window)
        self._cells, self._windows = cells, windows
        if cells:
            self._open = windows[-1]
            self.border_fine = (cells[-1] + 1) << self._shift
