"""Rows of requests that are done, as a server enters them: kept, or counted where they are too many."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

import numpy as np

from archsim.result import RequestColumns
from archsim.serving.requests import Sequence
from archsim.serving.tally import ROW, Rows, Tally

__all__ = ["RequestBooks"]

_AT_ONCE = 4096
"""Rows that are turned into columns together."""


class RequestBooks:
    """Rows of requests that are done, in the order in which they are done; with *tally* they end up there."""

    KEPT: ClassVar = ("_rows", "_chunks", "_reasons", "completed", "rejected", "answered", "tally")

    def __init__(self, done: Callable[[Sequence, int], None], tally: Tally | None = None) -> None:
        self._done = done
        self._rows: list[tuple[int, ...]] = []
        self._chunks: list[Rows] = []
        self._reasons = {"": 0}
        self.tally = tally
        self.completed = 0
        self.rejected = 0
        self.answered = 0

    def complete(self, sequence: Sequence, now_ps: int) -> None:
        """Enter *sequence*, whose last token is there, and say so."""
        self.completed += 1
        self._add(sequence, now_ps, 0)
        self._done(sequence, now_ps)

    def answer(self, sequence: Sequence, now_ps: int) -> None:
        """Enter *sequence*, whose whole answer was there before."""
        self.answered += 1
        sequence.first_token_ps = now_ps
        self.complete(sequence, now_ps)

    def reject(self, sequence: Sequence, reason: str) -> None:
        """Enter *sequence*, which is turned away, and say so."""
        self.rejected += 1
        # Reasons name token counts: kept by request they are bounded, counted they would not be.
        self._add(sequence, -1, 1 if self.tally else self._reasons.setdefault(reason, len(self._reasons)))
        self._done(sequence, sequence.arrival_ps)

    def _add(self, sequence: Sequence, finish_ps: int, rejection: int) -> None:
        row = (
            sequence.id,
            sequence.arrival_ps,
            sequence.first_token_ps,
            finish_ps,
            sequence.prompt_tokens,
            sequence.output_tokens,
            sequence.preemptions,
            rejection,
        )
        self._rows.append(row)
        if len(self._rows) == _AT_ONCE:
            self._pack()

    def _pack(self) -> None:
        """Turn rows into columns: 64 bytes each, where a tuple of integers takes 350."""
        rows = np.array(self._rows, dtype=np.int64).reshape(-1, len(ROW))
        self._rows = []
        if self.tally is None:
            self._chunks.append(rows)
        else:
            self.tally.take(rows)

    def columns(self) -> RequestColumns:
        """Return the rows in order of arrival; none where all are counted."""
        self._pack()
        rows = np.concatenate(self._chunks) if self._chunks else np.empty((0, len(ROW)), dtype=np.int64)
        ordered = rows[np.argsort(rows[:, 0])]
        return RequestColumns(
            **{name: ordered[:, place].copy() for place, name in enumerate(ROW) if place},
            rejections=tuple(self._reasons),
        )
