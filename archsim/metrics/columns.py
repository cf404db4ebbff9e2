"""The columns that metrics are read off and tables are written from: flat rows, one column an array."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from archsim.metrics.accounts import ACCOUNTS
from archsim.units import PS_PER_S

__all__ = ["IntColumn", "LedgerColumns", "Named", "RequestColumns", "polars_frame"]

IntColumn = npt.NDArray[np.int64]
Named = dict[str, npt.NDArray[Any]]
"""Column by name, equally long; times are float64 seconds, -1 ps (never) is NaN."""


def polars_frame(columns: Mapping[str, npt.NDArray[Any]]) -> Any:
    """Return *columns* as a Polars frame, which the extra `notebook` installs. Raises `ImportError` without it."""
    import polars as pl  # noqa: PLC0415 - an extra, and slow to load

    plain = {name: column.tolist() if column.dtype.kind == "U" else column for name, column in columns.items()}
    return pl.DataFrame(plain)


def _seconds(column: IntColumn) -> npt.NDArray[np.float64]:
    return np.where(column < 0, np.nan, column / PS_PER_S)


@dataclass(frozen=True, slots=True)
class RequestColumns:
    """One row a request, in order of arrival; equally long columns, times in picoseconds of the simulation."""

    arrival_ps: IntColumn
    prompt_tokens: IntColumn
    output_tokens: IntColumn
    first_token_ps: IntColumn
    """-1 where the request was rejected."""
    finish_ps: IntColumn
    """-1 where the request was rejected."""
    preemptions: IntColumn
    rejection: IntColumn
    """Index into `rejections`; 0 for a request that was completed."""
    rejections: tuple[str, ...] = ("",)
    """Reasons of rejection; the first is empty."""

    def named(self) -> Named:
        """Return what requests.csv.gz holds, a row a request."""
        return {
            "arrival_s": _seconds(self.arrival_ps),
            "prompt_tokens": self.prompt_tokens,
            "output_tokens": self.output_tokens,
            "first_token_s": _seconds(self.first_token_ps),
            "finish_s": _seconds(self.finish_ps),
            "preemptions": self.preemptions,
            "reason": np.array(self.rejections)[self.rejection],
        }


@dataclass(frozen=True, slots=True)
class LedgerColumns:
    """One row for each window x phase x scope x account that is not zero; equally long columns.

    Scopes are memories, engines and links and, beneath a memory, its channels (`chip0.hbm.ch3`): a scope's rows are
    the sum of its channels' and are not to be added to them.
    """

    start_ps: IntColumn
    end_ps: IntColumn
    phase: IntColumn
    """Index into `phases`."""
    scope: IntColumn
    """Index into `scopes`."""
    account: IntColumn
    """Index into `archsim.metrics.accounts.ACCOUNTS`."""
    amount: npt.NDArray[np.float64]
    """Bytes, or FLOPs for an engine, booked to the account in the window."""
    phases: tuple[str, ...]
    scopes: tuple[str, ...]
    peaks_per_s: tuple[float, ...]
    """Aligned with `scopes`."""
    units: tuple[str, ...]
    """Aligned with `scopes`: `"B/s"` or `"FLOP/s"`."""

    def named(self) -> Named:
        """Return what ledger.csv.gz holds, a row for each window, phase, scope and account."""
        return {
            "start_s": _seconds(self.start_ps),
            "end_s": _seconds(self.end_ps),
            "phase": np.array(self.phases)[self.phase],
            "scope": np.array(self.scopes)[self.scope],
            "account": np.array(ACCOUNTS)[self.account],
            "amount": self.amount,
            "unit": np.array([unit.removesuffix("/s") for unit in self.units])[self.scope],
            "peak_per_s": np.array(self.peaks_per_s)[self.scope],
        }
