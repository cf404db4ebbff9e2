"""Rows of requests that are done, as a server enters them."""

from __future__ import annotations

from array import array
from collections.abc import Callable

import numpy as np

from archsim.result import RequestColumns
from archsim.serving.requests import Sequence

__all__ = ["RequestBooks"]


class RequestBooks:
    """Rows of requests that are done, in the order in which they are done."""

    def __init__(self, done: Callable[[Sequence, int], None]) -> None:
        self._done = done
        self._columns = tuple(array("q") for _ in range(8))
        self._reasons = {"": 0}
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
        self._add(sequence, -1, self._reasons.setdefault(reason, len(self._reasons)))
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
        for column, value in zip(self._columns, row, strict=True):
            column.append(value)

    def columns(self) -> RequestColumns:
        """Return the rows in order of arrival."""
        columns = [np.array(column, dtype=np.int64) for column in self._columns]
        order = np.argsort(columns[0])
        arrivals, firsts, finishes, prompts, outputs, preemptions, rejection = (column[order] for column in columns[1:])
        return RequestColumns(
            arrival_ps=arrivals,
            prompt_tokens=prompts,
            output_tokens=outputs,
            first_token_ps=firsts,
            finish_ps=finishes,
            preemptions=preemptions,
            rejection=rejection,
            rejections=tuple(self._reasons),
        )
