"""What is kept of requests that are too many to keep: counts, sums and bins of their latencies."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from archsim.metrics.binned import Bins

__all__ = ["ROW", "Rows", "Tally"]

Rows = npt.NDArray[np.int64]
"""A row a request, of the numbers that `ROW` names."""
ROW = (
    "id",
    "arrival_ps",
    "first_token_ps",
    "finish_ps",
    "prompt_tokens",
    "output_tokens",
    "preemptions",
    "rejection",
)


class Tally:
    """Requests that are done, all of them in one."""

    KEPT: ClassVar = ("prompt_tokens", "output_tokens", "ttft", "tpot", "e2e")

    def __init__(self) -> None:
        self.prompt_tokens = 0
        """Of the completed requests, as all here."""
        self.output_tokens = 0
        self.ttft = Bins()
        """Time to first token; of requests that have one."""
        self.tpot = Bins()
        """Time per output token after the first; of those with two or more."""
        self.e2e = Bins()
        """From arrival to the last token."""

    def take(self, rows: Rows) -> None:
        """Count *rows*."""
        _, arrival, first, finish, prompt, output, *_ = (rows[:, place] for place in range(len(ROW)))
        begun, done = first >= 0, finish >= 0
        many = done & (output > 1)
        self.prompt_tokens += int(prompt[done].sum())
        self.output_tokens += int(output[done].sum())
        self.ttft.add((first - arrival)[begun])
        self.tpot.add((finish - first)[many], output[many] - 1)
        self.e2e.add((finish - arrival)[done])

    def with_others(self, others: Sequence[Tally]) -> Tally:
        """Return what this one and *others* have counted."""
        whole = Tally()
        tallies = (self, *others)
        whole.prompt_tokens = sum(tally.prompt_tokens for tally in tallies)
        whole.output_tokens = sum(tally.output_tokens for tally in tallies)
        whole.ttft = self.ttft.with_others([tally.ttft for tally in others])
        whole.tpot = self.tpot.with_others([tally.tpot for tally in others])
        whole.e2e = self.e2e.with_others([tally.e2e for tally in others])
        return whole
