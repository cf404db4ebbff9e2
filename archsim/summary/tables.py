"""The ledger as a table: every scope over time, and every memory channel over the whole run."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import numpy.typing as npt

from archsim.hardware.system import System
from archsim.metrics.accounts import ACCOUNTS
from archsim.metrics.mixing import Amounts, BookColumns
from archsim.result import LedgerColumns
from archsim.serving.costs import ps_from_fine
from archsim.serving.record import Window
from archsim.step.channels import channel_amounts
from archsim.step.record import Scope, StepRecord
from archsim.summary.parts import Part, Whole, summed_over
from archsim.summary.phases import phase_amounts, seconds

__all__ = ["MOST_ROWS_OF_TIME", "ledger_columns"]

MOST_ROWS_OF_TIME = 128
"""Stretches of time in the ledger table; the replay's windows are merged to no more."""

Ints = npt.NDArray[np.int64]

_IDLE = ACCOUNTS.index("idle")
_PHASES = ("decode", "prefill", "mixed", "none", "moving")


class _Rows:
    """Rows of the ledger table under construction."""

    def __init__(self) -> None:
        self._scopes: dict[str, tuple[int, float, str]] = {}
        self._spans: list[tuple[int, int, int, int]] = []
        """Start, end, phase and number of rows of what was added."""
        self._columns: list[tuple[Ints, Ints, Amounts]] = []
        """Scope, account and amount of its rows."""

    def places(self, scopes: Iterable[tuple[str, float, str]]) -> Ints:
        """Return the numbers of *scopes*, (name, peak per s, unit), in the table."""
        return np.array(
            [self._scopes.setdefault(name, (len(self._scopes), peak, unit))[0] for name, peak, unit in scopes],
            dtype=np.int64,
        )

    def add(self, window: tuple[int, int], phase: str, places: Ints, amounts: Amounts) -> None:
        """Append the accounts that are not zero, of the scopes with numbers *places*, aligned with *amounts*."""
        rows, accounts = np.nonzero(amounts)
        self._spans.append((*window, _PHASES.index(phase), len(rows)))
        self._columns.append((places[rows], accounts, amounts[rows, accounts]))

    def columns(self) -> LedgerColumns:
        """Return the finished table."""
        start, end, phase, count = np.array(self._spans, dtype=np.int64).reshape(-1, 4).T
        scope, account, amount = zip(*self._columns, strict=True) if self._columns else ((), (), ())
        return LedgerColumns(
            start_ps=np.repeat(start, count),
            end_ps=np.repeat(end, count),
            phase=np.repeat(phase, count),
            scope=np.concatenate([np.array((), dtype=np.int64), *scope]),
            account=np.concatenate([np.array((), dtype=np.int64), *account]),
            amount=np.concatenate([np.array((), dtype=np.float64), *amount]),
            phases=_PHASES,
            scopes=tuple(self._scopes),
            peaks_per_s=tuple(peak for _, peak, _ in self._scopes.values()),
            units=tuple(unit for _, _, unit in self._scopes.values()),
        )


def ledger_columns(
    records: Sequence[StepRecord], parts: Sequence[Part], wholes: Sequence[Whole], fleet: Part, system: System
) -> LedgerColumns:
    """Return the ledger of every scope over time, and of every memory channel over the whole run.

    *fleet* is the first replica's part with what all replicas did together: the chips as a whole are booked by it.
    """
    rows = _Rows()
    if wholes:
        places = rows.places((whole.scope.name, whole.scope.peak_per_s, _unit(whole.scope)) for whole in wholes)
        for window in _merged(fleet.windows):
            for phase, amounts in _by_phase(fleet.columns, window):
                rows.add(_span(window), phase, places, np.array([summed_over(whole, amounts) for whole in wholes]))
    channels: dict[str, BookColumns] = {}
    for part in parts:
        places = rows.places((scope.name, scope.peak_per_s, _unit(scope)) for scope in part.scopes)
        whole_run, own = Window(0, 0), list(part.rows)
        for window in _merged(part.windows):
            whole_run.add(window)
            for phase, amounts in _by_phase(part.columns, window):
                rows.add(_span(window), phase, places, amounts[own])
        for scope, source in zip(part.scopes, part.sources, strict=True):
            if scope.kind == "memory":
                if source not in channels:
                    channels[source] = _channel_columns(records, system, scope=scope, source=source)
                _add_channels(rows, channels[source], whole_run, scope)
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


def _channel_columns(records: Sequence[StepRecord], system: System, *, scope: Scope, source: str) -> BookColumns:
    """Return the books of the channels of *scope*, whose own stand under *source* in the records."""
    level = system.levels[system.pipes[scope.name.partition(".")[2]].level]
    books: list[Amounts] = []
    for record in records:
        uses = [use for use in record.uses if use.scope == source]
        books.append(channel_amounts(record.books[source], uses, level, chips=scope.chips))
    names = tuple(f"ch{channel}" for channel in range(level.channels))
    peaks = np.full(level.channels, scope.peak_per_s / level.channels)
    return BookColumns(names, peaks, np.array(books), {name: row for row, name in enumerate(names)})


def _add_channels(rows: _Rows, channels: BookColumns, whole: Window, scope: Scope) -> None:
    peaks = channels.peaks_per_s.tolist()
    places = rows.places(
        (f"{scope.name}.{channel}", peak, _unit(scope)) for channel, peak in zip(channels.scopes, peaks, strict=True)
    )
    for phase, amounts in _by_phase(channels, whole):
        rows.add((0, ps_from_fine(whole.end_fine)), phase, places, amounts)


def _unit(scope: Scope) -> str:
    return "B/s" if scope.unit == "bytes" else "FLOP/s"
