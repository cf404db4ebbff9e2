"""The tables of a run directory, read back as the columns that figures are drawn from."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from archsim.errors import InputError, Problem
from archsim.metrics.accounts import ACCOUNTS
from archsim.metrics.columns import IntColumn
from archsim.report.html_tables import CHANNEL, number_in, picoseconds_in, table_rows
from archsim.result import LedgerColumns, RequestColumns

__all__ = ["ledger_columns_of", "request_columns_of"]

_LEDGER = ("start_s", "end_s", "phase", "scope", "account", "amount", "unit", "peak_per_s")
_REQUESTS = ("arrival_s", "prompt_tokens", "output_tokens", "first_token_s", "finish_s", "preemptions", "reason")


def ledger_columns_of(path: Path) -> LedgerColumns:
    """Return the columns of a ledger.csv.gz without its channels, which it sums up besides.

    Raises `InputError` for a file that is no such table.
    """
    start: list[int] = []
    end: list[int] = []
    phase: list[int] = []
    scope: list[int] = []
    account: list[int] = []
    amount: list[float] = []
    phases: dict[str, int] = {}
    scopes: dict[str, tuple[int, str, float]] = {}
    for line, row in table_rows(path, _LEDGER):
        if CHANNEL.search(row[3]):
            continue
        if row[4] not in ACCOUNTS:
            raise InputError(Problem(str(path), f"line {line}", row[4][:80], "an account of the ledger"))
        start.append(picoseconds_in(path, line, row[0]))
        end.append(picoseconds_in(path, line, row[1]))
        phase.append(phases.setdefault(row[2], len(phases)))
        scope.append(scopes.setdefault(row[3], (len(scopes), f"{row[6]}/s", number_in(path, line, row[7])))[0])
        account.append(ACCOUNTS.index(row[4]))
        amount.append(number_in(path, line, row[5]))
    return LedgerColumns(
        start_ps=_whole(start),
        end_ps=_whole(end),
        phase=_whole(phase),
        scope=_whole(scope),
        account=_whole(account),
        amount=np.array(amount, dtype=np.float64),
        phases=tuple(phases),
        scopes=tuple(scopes),
        peaks_per_s=tuple(peak for _, _, peak in scopes.values()),
        units=tuple(unit for _, unit, _ in scopes.values()),
    )


def _whole(column: list[int]) -> IntColumn:
    return np.array(column, dtype=np.int64)


def request_columns_of(path: Path) -> RequestColumns:
    """Return the columns of a requests.csv.gz. Raises `InputError` for a file that is no such table."""
    columns: tuple[list[int], ...] = tuple([] for _ in _REQUESTS)
    reasons = {"": 0}
    for line, row in table_rows(path, _REQUESTS):
        for column, name, text in zip(columns, _REQUESTS, row, strict=True):
            if name == "reason":
                column.append(reasons.setdefault(text, len(reasons)))
            elif name.endswith("_s"):
                column.append(picoseconds_in(path, line, text))
            else:
                column.append(int(number_in(path, line, text)))
    arrival, prompt, output, first, finish, preemptions, rejection = map(_whole, columns)
    return RequestColumns(arrival, prompt, output, first, finish, preemptions, rejection, tuple(reasons))
