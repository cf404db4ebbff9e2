"""Which rows of a table are asked for, and with which settings of the systems that they name."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from archsim.errors import InputError, Problem

__all__ = ["ALL", "Selection", "parse_where"]

_SYSTEM_COLUMNS = ("system", "gpu_system", "gpu", "hardware", "device")
_RANGE = re.compile(r"(-?\d+(?:\.\d+)?)\.\.(-?\d+(?:\.\d+)?)")


@dataclass(frozen=True, slots=True)
class Selection:
    """Conditions that a row must meet, and settings as `--set` takes them."""

    where: tuple[tuple[str, str], ...] = ()
    """(column, wanted): equal as numbers, in a range `1..64`, or a part of the cell whatever its case."""
    settings: tuple[str, ...] = ()

    def of(self, records: Iterable[Mapping[str, str]]) -> Iterator[dict[str, str]]:
        """Yield the *records* that meet every condition. Raises `InputError` for a column that they do not have."""
        for record in records:
            if all(_meets(_cell(record, column), wanted) for column, wanted in self.where):
                yield dict(record)


ALL = Selection()


def parse_where(text: str) -> tuple[tuple[str, str], ...]:
    """Return `column=wanted,column=wanted` taken apart. Raises `InputError` for anything else."""
    found = []
    for part in filter(None, (part.strip() for part in text.split(","))):
        column, sign, wanted = (piece.strip() for piece in part.partition("="))
        if not (column and sign and wanted):
            raise InputError(Problem("", "--rows", part, "COLUMN=VALUE, such as gpu=H100 or m_or_batch=1..64"))
        found.append((column, wanted))
    return tuple(found)


def _cell(record: Mapping[str, str], column: str) -> str:
    names = _SYSTEM_COLUMNS if column in _SYSTEM_COLUMNS else (column,)
    for name in names:
        if name in record:
            return record[name]
    raise InputError(Problem("", "--rows", column, f"a column of the table: {', '.join(record)}"))


def _meets(cell: str, wanted: str) -> bool:
    number, bounds = _number(cell), _RANGE.fullmatch(wanted)
    if bounds is not None:
        return number is not None and float(bounds[1]) <= number <= float(bounds[2])
    if number is not None and (asked := _number(wanted)) is not None:
        return number == asked
    return wanted.casefold() in cell.casefold()


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None
