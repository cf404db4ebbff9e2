"""Recorded requests from CSV and JSONL files, recognised by their columns.

A schema is a row of `SCHEMAS`: which columns hold arrival, prompt and output. Column order is free and further
columns are ignored. One regular expression takes a well-formed line of a CSV file apart; a line it does not match goes
to a careful parser that accepts what is merely unusual (quotes, spaces, exponents) and names what is wrong with the
rest. Arrivals are exact: decimal text to integer picoseconds, never through a float.
"""

from __future__ import annotations

import csv
import json
import re
from array import array
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import date
from fractions import Fraction
from functools import lru_cache
from pathlib import Path
from typing import Any

from archsim import files
from archsim.errors import InputError, Problem, did_you_mean
from archsim.units import PS_PER_S

__all__ = ["SCHEMAS", "Columns", "Schema", "read_requests"]

_LATEST_PS = 2**63 - 1
_MOST_TOKENS = 10**9
_MOST_REQUESTS = 10**7
"""Rows of 24 bytes held at once; a file that goes on is refused, not swallowed."""
_MOST_BLANK_LINES = 1000
_LONGEST_CELL = 64


@dataclass(frozen=True, slots=True)
class Columns:
    """Requests as columns of 64-bit integers."""

    arrivals_ps: array[int] = field(default_factory=lambda: array("q"))
    prompt_tokens: array[int] = field(default_factory=lambda: array("q"))
    output_tokens: array[int] = field(default_factory=lambda: array("q"))


@dataclass(frozen=True, slots=True)
class Schema:
    """Names of the columns of one kind of trace."""

    arrival: str
    prompt: str
    output: str
    clock: bool
    """Arrivals are dates with times of day, counted from the first; else seconds, counted from zero."""


SCHEMAS = (
    Schema("TIMESTAMP", "ContextTokens", "GeneratedTokens", clock=True),
    Schema("arrival_s", "prompt_tokens", "output_tokens", clock=False),
)
"""Azure LLM inference traces; plain columns."""

_TOKENS = r"(\d{1,9})"
_SECONDS = r"(\d{1,7})(?:\.(\d{1,12}))?"
_CLOCK = r"(\d{4}-\d\d-\d\d)[ T]([01]\d|2[0-3]):([0-5]\d):([0-5]\d)(?:\.(\d{1,12}))?(?:\+00:00|Z)?"
_FRACTION_OF = {digits: 10 ** (12 - digits) for digits in range(1, 13)}

Row = tuple[int, int, int]
"""(arrival in ps, prompt tokens, output tokens); the arrival of a clock counts from year 1."""


def read_requests(path: Path, limit: int | None = None) -> Columns:
    """Return the first *limit* requests of the CSV or JSONL file at *path*.

    Raises `InputError` naming file and line: an unknown header, a malformed row, arrivals that go back, tokens below
    1, or no row at all.
    """
    lines = files.open_text_lines(path)
    first = next(_filled(path, lines), None)
    if first is None:
        raise InputError(Problem(str(path), "", "", "a header and at least one request; the file is empty"))
    rows = _json_rows(path, first, lines) if first[1].lstrip().startswith("{") else _csv_rows(path, first[1], lines)
    columns = Columns()
    _fill(columns, rows, path, limit)
    if not columns.arrivals_ps:
        raise InputError(Problem(str(path), "", "", "at least one request after the header"))
    return columns


def _fill(columns: Columns, rows: Iterator[tuple[int, Row]], path: Path, limit: int | None) -> None:
    arrive, prompt, output = (
        column.append for column in (columns.arrivals_ps, columns.prompt_tokens, columns.output_tokens)
    )
    before = 0
    wanted = _MOST_REQUESTS + 1 if limit is None else limit
    for number, (arrival_ps, prompt_tokens, output_tokens) in rows:
        if arrival_ps < before:
            expected = "an arrival no earlier than the row before; sort the trace by arrival"
            raise InputError(Problem(str(path), f"line {number}", "", expected))
        if arrival_ps > _LATEST_PS:
            raise InputError(Problem(str(path), f"line {number}", "", "an arrival within 106 days"))
        if not (prompt_tokens and output_tokens):
            shown = f"{prompt_tokens} prompt and {output_tokens} output tokens"
            raise InputError(Problem(str(path), f"line {number}", shown, "at least 1 token of each"))
        before = arrival_ps
        arrive(arrival_ps)
        prompt(prompt_tokens)
        output(output_tokens)
        wanted -= 1
        if wanted == 0:
            break
    if len(columns.arrivals_ps) > _MOST_REQUESTS:
        raise InputError(
            Problem(str(path), "", "", f"at most {_MOST_REQUESTS:,} requests; --limit takes the first ones")
        )


def _csv_rows(path: Path, header: str, lines: Iterator[tuple[int, str]]) -> Iterator[tuple[int, Row]]:
    names = [name.strip() for name in next(csv.reader([header]))]
    schema = _schema(path, names)
    where = tuple(names.index(name) for name in (schema.arrival, schema.prompt, schema.output))
    match = _line_pattern(len(names), where, clock=schema.clock).fullmatch
    order = _group_order(where, clock=schema.clock)
    arrival = _clock_ps if schema.clock else _seconds_ps
    origin: int | None = None if schema.clock else 0
    for number, line in _filled(path, lines):
        found = match(line)
        if found is not None:
            groups = found.groups()
            try:
                row = arrival(groups, order[0]), int(groups[order[1]]), int(groups[order[2]])
            except ValueError as error:
                raise InputError(
                    Problem(str(path), f"line {number}", line, f"a date of the calendar ({error})")
                ) from None
        else:
            row = _careful_row(path, number, line, schema, where)
        if origin is None:
            origin = row[0]
        yield number, (row[0] - origin, row[1], row[2])


def _schema(path: Path, names: list[str]) -> Schema:
    for schema in SCHEMAS:
        if {schema.arrival, schema.prompt, schema.output} <= set(names):
            return schema
    known = " or ".join(f"{s.arrival}, {s.prompt}, {s.output}" for s in SCHEMAS)
    words = {word for s in SCHEMAS for word in (s.arrival, s.prompt, s.output)}
    hint = next((text for name in names if name not in words and (text := did_you_mean(name, words))), "")
    raise InputError(Problem(str(path), "header", ", ".join(names), f"the columns {known}{hint}"))


def _line_pattern(columns: int, where: tuple[int, ...], *, clock: bool) -> re.Pattern[str]:
    cells = ['[^,"]*'] * columns
    for place, cell in zip(where, (_CLOCK if clock else _SECONDS, _TOKENS, _TOKENS), strict=True):
        cells[place] = cell
    return re.compile(",".join(cells), re.ASCII)


def _group_order(where: tuple[int, ...], *, clock: bool) -> tuple[int, int, int]:
    """Return the index of the first group of arrival, prompt and output in a match of the line pattern."""
    widths = (5 if clock else 2, 1, 1)
    first, prompt, output = (
        sum(width for width, other in zip(widths, where, strict=True) if other < place) for place in where
    )
    return first, prompt, output


def _seconds_ps(groups: tuple[str, ...], at: int) -> int:
    part = groups[at + 1]
    return int(groups[at]) * PS_PER_S + (int(part) * _FRACTION_OF[len(part)] if part else 0)


def _clock_ps(groups: tuple[str, ...], at: int) -> int:
    day, hour, minute, second, part = groups[at : at + 5]
    whole = _day_s(day) + int(hour) * 3600 + int(minute) * 60 + int(second)
    return whole * PS_PER_S + (int(part) * _FRACTION_OF[len(part)] if part else 0)


@lru_cache(maxsize=8)
def _day_s(day: str) -> int:
    return date.fromisoformat(day).toordinal() * 86400


def _careful_row(path: Path, number: int, line: str, schema: Schema, where: tuple[int, ...]) -> Row:
    try:
        cells = next(csv.reader([line], strict=True))
    except csv.Error as error:
        raise InputError(Problem(str(path), f"line {number}", line, f"a CSV row ({error})")) from None
    if len(cells) <= max(where):
        raise InputError(Problem(str(path), f"line {number}", line, f"at least {max(where) + 1} columns"))
    place = f"line {number}"
    return _row(path, place, [cells[at].strip() for at in where], schema)


def _row(path: Path, place: str, cells: list[str], schema: Schema) -> Row:
    arrival, prompt, output = cells
    read: Callable[[str], int] = _careful_clock if schema.clock else _careful_seconds
    try:
        return read(arrival), _careful_tokens(prompt), _careful_tokens(output)
    except ValueError as error:
        raise InputError(Problem(str(path), place, ", ".join(cells), str(error))) from None


def _careful_clock(text: str) -> int:
    found = re.fullmatch(_CLOCK, text, re.ASCII)
    if found is None:
        raise ValueError("a time such as 2023-11-16 18:15:46.6805900, with at most 12 decimals and in UTC")
    try:
        return _clock_ps(found.groups(), 0)
    except ValueError as error:
        raise ValueError(f"a date of the calendar ({error})") from None


def _careful_seconds(text: str) -> int:
    form = r"\+?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d{1,2})?"
    if len(text) > _LONGEST_CELL or not re.fullmatch(form, text, re.ASCII):
        raise ValueError("an arrival in seconds, a decimal number from 0 on")
    picoseconds = Fraction(text) * PS_PER_S
    return (2 * picoseconds.numerator + picoseconds.denominator) // (2 * picoseconds.denominator)


def _careful_tokens(text: str) -> int:
    if len(text) > _LONGEST_CELL or not re.fullmatch(r"\+?\d+", text, re.ASCII) or not 0 < int(text) < _MOST_TOKENS:
        raise ValueError("prompt and output of 1 to 999,999,999 tokens, whole numbers")
    return int(text)


def _json_rows(path: Path, first: tuple[int, str], lines: Iterator[tuple[int, str]]) -> Iterator[tuple[int, Row]]:
    schema = _schema(path, list(_json_object(path, *first)))
    origin: int | None = None if schema.clock else 0
    for number, line in _filled(path, _chained(first, lines)):
        values = _json_object(path, number, line)
        cells = [_cell(values.get(name)) for name in (schema.arrival, schema.prompt, schema.output)]
        row = _row(path, f"line {number}", cells, schema)
        if origin is None:
            origin = row[0]
        yield number, (row[0] - origin, row[1], row[2])


def _filled(path: Path, lines: Iterator[tuple[int, str]]) -> Iterator[tuple[int, str]]:
    """Yield the lines that are not blank; refuse a file that has little else (a gzip that unpacks without end)."""
    blank = 0
    for number, line in lines:
        if line and not line.isspace():
            yield number, line
            continue
        blank += 1
        if blank > _MOST_BLANK_LINES:
            raise InputError(Problem(str(path), f"line {number}", "", f"at most {_MOST_BLANK_LINES} blank lines"))


def _chained(first: tuple[int, str], lines: Iterator[tuple[int, str]]) -> Iterator[tuple[int, str]]:
    yield first
    yield from lines


def _cell(value: object) -> str:
    """Return the text of a JSON string or number; other values have none, and fail as malformed."""
    return value if isinstance(value, str) else ""


def _json_object(path: Path, number: int, line: str) -> dict[str, Any]:
    try:
        # Numbers stay text, so that an arrival is exact and a number of 5,000 digits is only a long cell.
        value = json.loads(line, parse_float=str, parse_int=str, parse_constant=str)
    except (ValueError, RecursionError) as error:
        reason = getattr(error, "msg", None) or "nested too deeply"
        raise InputError(Problem(str(path), f"line {number}", line, f"a JSON object ({reason})")) from None
    if not isinstance(value, dict):
        raise InputError(Problem(str(path), f"line {number}", line, "a JSON object"))
    return value
