"""Reading a reference table: CSV with a header, comment lines before it, each row a mapping of column to text.

Not here: what the columns mean. A suite names the columns that its schema needs, and a file without them is refused.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from pathlib import Path

from archsim.errors import InputError, Problem, printable
from archsim.files import open_text_lines

__all__ = ["MOST_CONTEXT", "MOST_SEQUENCES", "Record", "columns_of", "number", "read_table", "whole"]

_MOST = 10**9
MOST_SEQUENCES, MOST_CONTEXT = 2**14, 2**24
"""Of a row that is compared; no measurement comes near, and a slip of a digit must not cost hours."""

Record = dict[str, str]
"""Column -> cell of one row."""


def columns_of(path: Path) -> tuple[str, ...]:
    """Return the columns of the table in *path*: the first line that is no `#` comment."""
    for at, line in open_text_lines(path):
        if line.strip() and not line.startswith("#"):
            return tuple(_cells(path, at, line))
    return ()


def read_table(path: Path, needed: Sequence[str]) -> Iterator[Record]:
    """Yield the rows of *path*. Raises `InputError` where one of the *needed* columns is missing, or a line not CSV."""
    columns: list[str] = []
    for at, line in open_text_lines(path):
        if not line.strip() or line.startswith("#"):
            continue
        cells = _cells(path, at, line)
        if columns:
            yield dict(zip(columns, [*cells, *[""] * len(columns)], strict=False))
            continue
        columns = cells
        missing = [name for name in needed if name not in columns]
        if missing:
            raise InputError(Problem(str(path), "header", ", ".join(columns), f"the columns {', '.join(missing)}"))
    if not columns:
        raise InputError(Problem(str(path), "header", "", f"the columns {', '.join(needed)}"))


def _cells(path: Path, at: int, line: str) -> list[str]:
    if printable(line) != line:
        raise InputError(Problem(str(path), f"line {at}", printable(line)[:40], "a line without control characters"))
    try:
        return next(csv.reader([line]))
    except csv.Error as error:
        raise InputError(Problem(str(path), f"line {at}", line[:40], f"a line of CSV ({error})")) from None


def number(record: Record, column: str) -> float | None:
    """Return the finite number in *column*, or None where there is none."""
    try:
        value = float(record.get(column, ""))
    except ValueError:
        return None
    return value if abs(value) < float("inf") else None


def whole(record: Record, column: str) -> int | None:
    """Return the whole number from 0 to a milliard in *column*, or None where there is none."""
    value = number(record, column)
    return int(value) if value is not None and value == int(value) and 0 <= value <= _MOST else None
