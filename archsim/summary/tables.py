"""The ledger as a table: every scope over time, and every memory channel over the whole run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from archsim.hardware.system import System
from archsim.metrics.accounts import ACCOUNTS
from archsim.metrics.mixing import Amounts, BookColumns
from archsim.result import LedgerColumns
from archsim.serving.costs import ps_from_fine
from archsim.serving.record import Window
from archsim.step.channels import channel_amounts
from archsim.step.record import Scope, StepRecord
from archsim.summary.books import phase_amounts, seconds
from archsim.summary.parts import Part, Whole, summed_over

__all__ = ["MOST_ROWS_OF_TIME", "ledger_columns"]

MOST_ROWS_OF_TIME = 128
"""Stretches of time in the ledger table; the replay's windows are merged to no more."""

_IDLE = ACCOUNTS.index("idle")
_PHASES = ("decode", "prefill", "mixed", "none", "moving")


class _Rows:
    """Rows of the ledger table under construction."""

    def __init__(self) -> None:
        self.scopes: dict[str, tuple[float, str]] = {}
        self._columns: list[tuple[int, int, int, int, int, float]] = []

    def add(
        self, window: tuple[int, int], phase: str, scopes: Sequence[tuple[str, float, str]], amounts: Amounts
    ) -> None:
        """Append the accounts that are not zero; *scopes* are (name, peak per s, unit), aligned with *amounts*."""
        for name, peak, unit in scopes:
            self.scopes.setdefault(name, (peak, unit))
        places = {name: place for place, name in enumerate(self.scopes)}
        rows, accounts = np.nonzero(amounts)
        for row, account in zip(rows.tolist(), accounts.tolist(), strict=True):
            scope = places[scopes[row][0]]
            self._columns.append((*window, _PHASES.index(phase), scope, account, float(amounts[row, account])))

    def columns(self) -> LedgerColumns:
        """Return the finished table."""
        start, end, phase, scope, account, amount = (
            zip(*self._columns, strict=True) if self._columns else ((), (), (), (), (), ())
        )
        return LedgerColumns(
            start_ps=np.array(start, dtype=np.int64),
            end_ps=np.array(end, dtype=np.int64),
            phase=np.array(phase, dtype=np.int64),
            scope=np.array(scope, dtype=np.int64),
            account=np.array(account, dtype=np.int64),
            amount=np.array(amount, dtype=np.float64),
            phases=_PHASES,
            scopes=tuple(self.scopes),
            peaks_per_s=tuple(peak for peak, _ in self.scopes.values()),
            units=tuple(unit for _, unit in self.scopes.values()),
        )


def ledger_columns(
    records: Sequence[StepRecord], parts: Sequence[Part], wholes: Sequence[Whole], fleet: Part, system: System
) -> LedgerColumns:
    """Return the ledger of every scope over time, and of every memory channel over the whole run.

    *fleet* is the first replica's part with what all replicas did together: the chips as a whole are booked by it.
    """
    rows = _Rows()
    named = [(whole.scope.name, whole.scope.peak_per_s, _unit(whole.scope)) for whole in wholes]
    for window in _merged(fleet.windows) if wholes else ():
        for phase, amounts in _by_phase(fleet.columns, window):
            rows.add(_span(window), phase, named, np.array([summed_over(whole, amounts) for whole in wholes]))
    for part in parts:
        named = [(scope.name, scope.peak_per_s, _unit(scope)) for scope in part.scopes]
        whole_run = Window(0, 0)
        for window in _merged(part.windows):
            whole_run.add(window)
            for phase, amounts in _by_phase(part.columns, window):
                rows.add(_span(window), phase, named, amounts)
        for scope, source in zip(part.scopes, part.sources, strict=True):
            if scope.kind == "memory":
                _add_channels(rows, records, whole_run, system, scope=scope, source=source)
    return rows.columns()


def _span(window: Window) -> tuple[int, int]:
    return ps_from_fine(window.start_fine), ps_from_fine(window.end_fine)


def _by_phase(columns: BookColumns, window: Window) -> Iterator[tuple[str, Amounts]]:
    for phase, (amounts, _) in phase_amounts(columns, window.phases).items():
        yield phase, amounts
    if window.idle_fine:
        idle = np.zeros(columns.amounts.shape[1:])
        idle[:, _IDLE] = columns.peaks_per_s * seconds(window.idle_fine)
        yield "none", idle


def _merged(windows: Sequence[Window]) -> Iterator[Window]:
    size = -(-len(windows) // MOST_ROWS_OF_TIME) or 1
    for first in range(0, len(windows), size):
        merged = Window(windows[first].start_fine, windows[first].start_fine)
        for window in windows[first : first + size]:
            merged.add(window)
        yield merged


def _add_channels(
    rows: _Rows, records: Sequence[StepRecord], whole: Window, system: System, *, scope: Scope, source: str
) -> None:
    """Add the channels of *scope*, whose books stand under *source* in the records."""
    level = system.levels[system.pipes[scope.name.partition(".")[2]].level]
    peak = scope.peak_per_s / level.channels
    named = [(f"{scope.name}.ch{channel}", peak, _unit(scope)) for channel in range(level.channels)]
    books: list[Amounts] = []
    for record in records:
        uses = [use for use in record.uses if use.scope == source]
        books.append(channel_amounts(record.books[source], uses, level, chips=scope.chips))
    columns = BookColumns(tuple(name for name, _, _ in named), np.full(level.channels, peak), np.array(books))
    for phase, amounts in _by_phase(columns, whole):
        rows.add((0, ps_from_fine(whole.end_fine)), phase, named, amounts)


def _unit(scope: Scope) -> str:
    return "B/s" if scope.unit == "bytes" else "FLOP/s"
