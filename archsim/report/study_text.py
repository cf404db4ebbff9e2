"""Tables of a study for a terminal: what became of its points, the best of them, a difference ledger by ledger."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rich.table import Table

from archsim.units import UNITS, format_quantity

__all__ = ["Column", "best_points", "quantity", "studies_table"]

_PRINTED_UNITS = {"s": "s", "W": "W", "B": "bytes", "B/s": "bytes/s"}


@dataclass(frozen=True, slots=True)
class Column:
    """A metric as a column."""

    name: str
    unit: str
    """SI unit; empty: a plain number."""


def quantity(value: float | None, unit: str) -> str:
    """Return *value* with its unit in few characters; a dash where there is none."""
    if value is None:
        return "-"
    if unit in _PRINTED_UNITS and _PRINTED_UNITS[unit] in UNITS:
        return format_quantity(value, _PRINTED_UNITS[unit], digits=4)
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.4g}"


def best_points(
    rows: Sequence[tuple[int, bool, Mapping[str, object], Mapping[str, float | None]]], columns: Sequence[Column]
) -> Table:
    """Return one line a point: number, whether it is on the Pareto front, inputs that differ, metrics."""
    varied = [
        name for name in (rows[0][2] if rows else {}) if len({str(inputs.get(name)) for _, _, inputs, _ in rows}) > 1
    ]
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False)
    table.add_column("point", justify="right")
    for name in varied:
        table.add_column(name, overflow="fold")
    for column in columns:
        table.add_column(column.name, justify="right", overflow="fold")
    table.add_column("front")
    for point, on_front, inputs, metrics in rows:
        table.add_row(
            str(point),
            *("-" if inputs.get(name) is None else str(inputs[name]) for name in varied),
            *(quantity(metrics.get(column.name), column.unit) for column in columns),
            "*" if on_front else "",
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
