"""Books of a run from the books of its iterations: dense columns and weighted sums.

A replay says how often each knot (simulated iteration) occurred, in parts of an iteration; the same weights mix the
ledgers. Sums run knot by knot in the knots' order, one elementwise operation each, so that the bytes of a result do
not depend on how a linear-algebra library splits its work.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from archsim.metrics.accounts import ACCOUNTS, USEFUL
from archsim.metrics.ledger import Books, check_balance

__all__ = ["BookColumns", "as_recomputed", "balanced_shares", "mixed", "useful_share", "with_idle"]

Amounts = npt.NDArray[np.float64]
"""Bytes or FLOPs by scope and account, shape (scopes, accounts)."""

_COLUMN = {account: column for column, account in enumerate(ACCOUNTS)}
_USEFUL = [_COLUMN[account] for account in USEFUL]


@dataclass(frozen=True, slots=True)
class BookColumns:
    """The books of all knots as one array. Scopes that share one book in every knot, as equal links do, are one row."""

    scopes: tuple[str, ...]
    """The first scope of each row."""
    peaks_per_s: Amounts
    """Shape (rows,)."""
    amounts: Amounts
    """Shape (knots, rows, accounts), in the order of `ACCOUNTS`."""
    rows: Mapping[str, int]
    """Row of each scope."""

    @classmethod
    def of(cls, books: Sequence[Books], peaks_per_s: Mapping[str, float]) -> BookColumns:
        """Return the columns of *books*, one entry a knot. Every book has the scopes of *peaks_per_s*."""
        numbers: dict[tuple[float, ...], int] = {}
        rows = {
            # One object is one book; equal books of two objects are two rows, which costs nothing but room.
            scope: numbers.setdefault((peak, *(id(book[scope]) for book in books)), len(numbers))
            for scope, peak in peaks_per_s.items()
        }
        first = dict(zip(reversed(rows.values()), reversed(rows), strict=True))
        scopes = tuple(first[row] for row in range(len(first)))
        amounts = np.array([[_row(book[scope]) for scope in scopes] for book in books])
        shape = (len(books), len(scopes), len(ACCOUNTS))
        peaks = np.array([peaks_per_s[scope] for scope in scopes])
        return cls(scopes, peaks, amounts.reshape(shape), rows)


def _row(accounts: Mapping[str, float]) -> list[float]:
    row = [0.0] * len(ACCOUNTS)
    for account, amount in accounts.items():
        row[_COLUMN[account]] = amount
    return row


def mixed(columns: BookColumns, weights: Mapping[int, float]) -> Amounts:
    """Return the sum of the knots' books, each multiplied by its weight in iterations."""
    total = np.zeros(columns.amounts.shape[1:])
    for knot in sorted(weights):
        total += columns.amounts[knot] * weights[knot]
    return total


def as_recomputed(amounts: Amounts) -> Amounts:
    """Return *amounts* of iterations that only rebuilt what a preemption threw away: useful work is overfetch."""
    moved = amounts.copy()
    moved[:, _COLUMN["overfetch"]] += amounts[:, _USEFUL].sum(axis=1)
    moved[:, _USEFUL] = 0.0
    return moved


def with_idle(columns: BookColumns, amounts: Amounts, idle_s: float) -> Amounts:
    """Return *amounts* with *idle_s* seconds without a request booked to `idle` on every scope."""
    total = amounts.copy()
    total[:, _COLUMN["idle"]] += columns.peaks_per_s * idle_s
    return total


def balanced_shares(columns: BookColumns, amounts: Amounts, time_s: float) -> list[dict[str, float]]:
    """Return account -> share of peak x *time_s* of each row, without accounts that are zero.

    Raises `SimulationError` where the amounts of a scope do not add up to peak x time within 1e-9.
    """
    shares = []
    for scope, peak, row in zip(columns.scopes, columns.peaks_per_s.tolist(), amounts.tolist(), strict=True):
        booked = peak * time_s
        accounts = {account: amount for account, amount in zip(ACCOUNTS, row, strict=True) if amount}
        check_balance(scope, accounts, booked=booked)
        shares.append({account: amount / booked for account, amount in accounts.items()})
    return shares


def useful_share(accounts: Mapping[str, float]) -> float:
    """Return the share of peak that was useful: MBU of a memory, MFU of an engine."""
    return math.fsum(accounts.get(account, 0.0) for account in USEFUL)
