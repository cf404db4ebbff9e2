"""What sliding windows change for a running batch: sequences stop growing when they fill theirs.

A sequence of n tokens keeps min(n, window) of them for the layers with a window, in at most ceil(window / block) + 1
blocks. While it decodes it reaches two full steps: when it fills the window, reads stop growing; when it fills the
window's blocks, those do. Between the full steps of its members a batch grows evenly, so a jump ends at the next one.
"""

from __future__ import annotations

from collections.abc import Iterator
from heapq import heappop, heappush
from typing import ClassVar

from archsim.serving.requests import Limits, Sequence

__all__ = ["SlidingWindows"]


class SlidingWindows:
    """The members of a batch as the layers with a window see them."""

    KEPT: ClassVar = ("_growing", "_offsets", "_taking", "_full_steps")

    def __init__(self, limits: Limits) -> None:
        self._parts, self._window = limits.reach.windowed, limits.reach.window
        self._full_blocks = limits.reach.most_window_blocks(limits.block_tokens) * limits.block_tokens - limits.ahead
        self._growing: dict[int, Sequence] = {}
        """Members that have not filled the window, by number."""
        self._offsets = 0
        self._taking: dict[int, Sequence] = {}
        """Members that have not filled its blocks."""
        self._full_steps: list[tuple[int, int]] = []

    @property
    def growth(self) -> int:
        """Tokens that each further iteration reads more."""
        return self._parts * len(self._growing)

    @property
    def round_blocks(self) -> int:
        """Blocks that as many iterations as a block has tokens need."""
        return self._parts * len(self._taking)

    def kv_tokens(self, step: int, members: int) -> int:
        """Return the tokens that the next iteration reads of *members* sequences."""
        grown = self._offsets + step * len(self._growing)
        return self._parts * (grown + self._window * (members - len(self._growing)))

    def join(self, sequence: Sequence, step: int) -> None:
        """Take up *sequence*, which decodes from *step* on."""
        offset = sequence.length_offset
        sequence.window_full_step = self._window - offset
        sequence.window_blocks_full_step = self._full_blocks - offset
        if sequence.window_full_step > step:
            self._growing[sequence.id] = sequence
            self._offsets += offset
            heappush(self._full_steps, (sequence.window_full_step, sequence.id))
        if sequence.window_blocks_full_step > step:
            self._taking[sequence.id] = sequence
            heappush(self._full_steps, (sequence.window_blocks_full_step, sequence.id))

    def leave(self, sequence: Sequence, step: int) -> None:
        """Forget *sequence*; its full steps stay behind and may end a jump early."""
        if sequence.window_full_step > step:
            self._settle(sequence)
        self._taking.pop(sequence.id, None)

    def steps_to_change(self, step: int, most: int) -> int:
        """Return the steps to the next full step, at most *most*."""
        return min(most, self._full_steps[0][0] - step) if self._full_steps else most

    def pass_to(self, step: int) -> Iterator[Sequence]:
        """Pass the full steps up to *step*; yield the members that take no more blocks for the window from there on."""
        while self._full_steps and self._full_steps[0][0] <= step:
            _, number = heappop(self._full_steps)
            growing, taking = self._growing.get(number), self._taking.get(number)
            if growing is not None and growing.window_full_step <= step:
                self._settle(growing)
            if taking is not None and taking.window_blocks_full_step <= step:
                del self._taking[number]
                yield taking

    def _settle(self, sequence: Sequence) -> None:
        del self._growing[sequence.id]
        self._offsets -= sequence.length_offset
