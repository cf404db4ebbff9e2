"""The columns that metrics are read off and tables are written from: flat rows, one column an array."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

__all__ = ["IntColumn", "LedgerColumns", "RequestColumns"]

IntColumn = npt.NDArray[np.int64]


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
