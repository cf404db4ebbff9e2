"""Tables of a study for a terminal: what became of its points, the best of them, a difference ledger by ledger."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rich.table import Table

from archsim.report.views import account_label
from archsim.units import UNITS, format_quantity

__all__ = [
    "Change",
    "Column",
    "Row",
    "Value",
    "best_points",
    "changed_metrics",
    "knob_table",
    "ledger_table",
    "quantity",
    "studies_table",
]

_PRINTED_UNITS = {"s": "s", "W": "W", "B": "bytes", "B/s": "bytes/s"}


@dataclass(frozen=True, slots=True)
class Column:
    """A metric as a column."""

    name: str
    unit: str
    """SI unit; empty: a plain number."""


@dataclass(frozen=True, slots=True)
class Value:
    """A number with its 80 % interval."""

    number: float | None
    bar: tuple[float, float] | None = None
    """Its ends, in the unit of the number; None: it has none."""
    outside: bool = False
    """Whether it is extrapolated beyond what was validated."""

    def text(self, unit: str) -> str:
        """Return the number with its *unit* and the interval in brackets, `x` before one that is extrapolated."""
        shown = quantity(self.number, unit)
        if self.bar is None:
            return shown
        low, high = (quantity(end, unit, digits=3) for end in self.bar)
        first, _, prefixed = low.rpartition(" ")
        if first and all(text.endswith(f" {prefixed}") for text in (shown, high)):
            low, high = first, high.removesuffix(f" {prefixed}")
        return f"{shown} ({'x ' if self.outside else ''}{low}-{high})"


@dataclass(frozen=True, slots=True)
class Row:
    """A point as a line."""

    point: int
    on_front: bool
    inputs: Mapping[str, object]
    values: Mapping[str, Value]


@dataclass(frozen=True, slots=True)
class Change:
    """A metric before and after."""

    title: str
    unit: str
    """SI unit; empty: a plain number."""
    before: Value
    after: Value


def quantity(value: float | None, unit: str, *, digits: int = 4) -> str:
    """Return *value* with its unit in few characters; a dash where there is none."""
    if value is None:
        return "-"
    if unit in _PRINTED_UNITS and _PRINTED_UNITS[unit] in UNITS:
        return format_quantity(value, _PRINTED_UNITS[unit], digits=digits)
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.{digits}g}"


def best_points(rows: Sequence[Row], columns: Sequence[Column]) -> Table:
    """Return one line a point: number, inputs that differ, metrics with their intervals, whether it is on the front."""
    varied = [name for name in (rows[0].inputs if rows else {}) if len({str(row.inputs.get(name)) for row in rows}) > 1]
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False)
    table.add_column("point", justify="right")
    for name in varied:
        table.add_column(name, overflow="fold")
    for column in columns:
        table.add_column(column.name, justify="right", overflow="fold")
    table.add_column("front")
    for row in rows:
        table.add_row(
            str(row.point),
            *("-" if row.inputs.get(name) is None else str(row.inputs[name]) for name in varied),
            *(row.values[column.name].text(column.unit) for column in columns),
            "*" if row.on_front else "",
        )
    return table


def studies_table(studies: Sequence[tuple[str, str, int]]) -> Table:
    """Return one line a study: name, points, what it asks."""
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False)
    table.add_column("study", no_wrap=True)
    table.add_column("points", justify="right")
    table.add_column("asks")
    for name, title, points in studies:
        table.add_row(name, f"{points:,}", title)
    return table


_LEAST_S = 1e-9
"""Time of an account that is listed."""


def changed_metrics(rows: Sequence[Change]) -> Table:
    """Return one line a metric: title, before and after with their intervals, relative change."""
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False)
    for title in ("", "before", "after", "change"):
        table.add_column(title, justify="right" if title else "left")
    for row in rows:
        old, new = row.before.number, row.after.number
        change = f"{100 * (new / old - 1):+.1f} %" if old and new is not None else "-"
        table.add_row(row.title, row.before.text(row.unit), row.after.text(row.unit), change)
    return table


def ledger_table(accounts: Sequence[tuple[str, float, float]], total_s: tuple[float, float]) -> Table:
    """Return one line an account: its time before and after, the difference, and the sums."""
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False)
    for title in ("account", "before", "after", "difference"):
        table.add_column(title, justify="left" if title == "account" else "right")
    for account, before, after in accounts:
        if max(before, after) >= _LEAST_S:
            table.add_row(account_label(account), *(quantity(side, "s") for side in (before, after)),
                          _signed(after - before))  # fmt: skip
    table.add_row("all", *(quantity(side, "s") for side in total_s), _signed(total_s[1] - total_s[0]), style="bold")
    return table


def _signed(seconds: float) -> str:
    if abs(seconds) < _LEAST_S:
        return "0"
    return f"{'+' if seconds > 0 else '-'}{format_quantity(abs(seconds), 's', digits=3)}"


def knob_table(
    rows: Sequence[tuple[str, float | None, float | None, float | None, float | None]], *, with_cost: bool
) -> Table:
    """Return one line a knob: change of tokens/s when larger and when smaller, elasticity, that of cost."""
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False)
    table.add_column("knob", no_wrap=True)
    for title in ("larger", "smaller", "elasticity", *(["of cost"] if with_cost else [])):
        table.add_column(title, justify="right")
    for title, up, down, elasticity, of_cost in rows:
        shares = ["-" if side is None else f"{100 * side:+.2f} %" for side in (up, down)]
        slopes = ["-" if slope is None else f"{slope:+.3f}" for slope in (elasticity, of_cost)]
        table.add_row(title, *shares, *(slopes if with_cost else slopes[:1]))
    return table
