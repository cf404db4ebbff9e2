"""Rows of CSV and JSONL files of any schema, as they stand there.

One regular expression takes a well-formed line of three columns apart; a line it does not match, and every line of a
file with sessions, waits or blocks, goes to a careful parser that accepts what is merely unusual (quotes, spaces,
exponents) and names what is wrong with the rest.
"""

from __future__ import annotations

import csv
import itertools
import json
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from archsim.errors import InputError, Problem
from archsim.units import PS_PER_S
from archsim.workload.cells import (
    CLOCK,
    FRACTION_OF,
    careful_blocks,
    careful_clock,
    careful_tokens,
    careful_whole,
    clock_ps,
    duration_ps,
)
from archsim.workload.request import NONE, Row
from archsim.workload.schemas import Schema, schema_of

__all__ = ["Place", "Text", "cells_row", "mapped", "text_rows"]

_TOKENS = r"(\d{1,9})"
_SECONDS = r"(\d{1,7})(?:\.(\d{1,12}))?"
_MOST_BLANK_LINES = 1000
_Read = TypeVar("_Read")

Place = tuple[str, Row]
"""(where it stands, such as `line 17`; the row). Arrivals of a clock count from year 1."""


class Text(NamedTuple):
    """A file of a known schema."""

    schema: Schema
    block_tokens: int
    """Tokens in a block; 0 where rows have none."""
    rows: Iterator[Place]
    sessions: bool = False
    """Rows may have sessions and waits."""


def text_rows(path: Path, lines: Iterator[tuple[int, str]]) -> Text:
    """Return the rows of the CSV or JSONL file at *path*, whose *lines* are numbered from 1.

    Raises `InputError` for a file without a line and for an unknown header.
    """
    filled = _filled(path, lines)
    first = next(filled, None)
    if first is None:
        raise InputError(Problem(str(path), "", "", "a header and at least one request; the file is empty"))
    number, line = first
    if not line.lstrip().startswith("{"):
        return _csv_rows(path, line, filled)
    names = list(_json_object(path, number, line))
    schema = schema_of(path, names)
    objects = ((at, _json_object(path, at, text)) for at, text in itertools.chain([first], filled))
    places = ((f"line {at}", {name: _cell(value.get(name)) for name in names}) for at, value in objects)
    return mapped(path, schema, schema.extras(names), places)


def _csv_rows(path: Path, header: str, lines: Iterator[tuple[int, str]]) -> Text:
    names = [name.strip() for name in next(csv.reader([header]))]
    schema = schema_of(path, names)
    extras = schema.extras(names)
    if schema.arrival and not extras and not schema.tick_ps:
        return Text(schema, 0, _plain_rows(path, schema, names, lines))
    wanted = {name: names.index(name) for name in (*schema.needed, *extras)}
    places = ((f"line {number}", _cells_of(path, number, line, wanted)) for number, line in lines)
    return mapped(path, schema, extras, places)


def mapped(
    path: Path, schema: Schema, extras: tuple[str, ...], places: Iterator[tuple[str, Mapping[str, Any]]]
) -> Text:
    """Return rows that have *extras*; the first one says how long a block is where the schema does not."""
    sessions = bool(schema.session) and schema.session in extras
    if "block_tokens" not in extras:
        tokens = schema.block_tokens if schema.blocks in extras else 0
        rows = ((at, cells_row(path, at, cells, schema, extras)) for at, cells in places)
        return Text(schema, tokens, rows, sessions)
    first = next(places, None)
    if first is None:
        return Text(schema, 0, iter(()))
    stated = first[1]["block_tokens"]
    tokens = _checked(path, first[0], stated, lambda: careful_tokens(str(stated)))

    def sized() -> Iterator[Place]:
        for at, cells in itertools.chain([first], places):
            if cells["block_tokens"] != stated:
                raise InputError(Problem(str(path), at, str(cells["block_tokens"]), f"block_tokens {stated}, as above"))
            yield at, cells_row(path, at, cells, schema, extras)

    return Text(schema, tokens, sized(), sessions)


def cells_row(path: Path, place: str, cells: Mapping[str, Any], schema: Schema, extras: tuple[str, ...]) -> Row:
    """Return the row of *cells*, column to text. Raises `InputError` that names file and *place*."""

    def read() -> Row:
        # A cell of JSON may be a list; only blocks are to be one.
        prompt, output = str(cells[schema.prompt]), str(cells[schema.output])
        arrival = str(cells[schema.arrival]) if schema.arrival else "0"
        session = str(cells[schema.session]) if schema.session in extras else ""
        wait = str(cells[schema.wait]) if schema.wait in extras else ""
        if wait and not session:
            raise ValueError("a session beside wait_s: the request that it waits for")
        return (
            careful_clock(arrival) if schema.clock else duration_ps(arrival, schema.unit_ps),
            careful_tokens(prompt),
            careful_tokens(output),
            careful_whole(session, "a session") if session else NONE,
            duration_ps(wait, PS_PER_S) if wait else NONE,
            careful_blocks(cells[schema.blocks]) if schema.blocks in extras else (),
        )

    return _checked(path, place, ", ".join(str(cells[name]) for name in schema.needed), read)


def _checked(path: Path, place: str, shown: str, read: Callable[[], _Read]) -> _Read:
    try:
        return read()
    except ValueError as error:
        raise InputError(Problem(str(path), place, shown, str(error))) from None


def _plain_rows(path: Path, schema: Schema, names: list[str], lines: Iterator[tuple[int, str]]) -> Iterator[Place]:
    where = tuple(names.index(name) for name in schema.needed)
    wanted = dict(zip(schema.needed, where, strict=True))
    match = line_pattern(len(names), where, clock=schema.clock).fullmatch
    arrival, prompt, output = group_order(where, clock=schema.clock)
    read = clock_ps if schema.clock else seconds_ps
    for number, line in lines:
        found = match(line)
        if found is None:
            place = f"line {number}"
            yield place, cells_row(path, place, _cells_of(path, number, line, wanted), schema, ())
            continue
        groups = found.groups()
        try:
            row = (read(groups, arrival), int(groups[prompt]), int(groups[output]), NONE, NONE, ())
        except ValueError as error:
            raise InputError(Problem(str(path), f"line {number}", line, f"a date of the calendar ({error})")) from None
        yield f"line {number}", row


def line_pattern(columns: int, where: tuple[int, ...], *, clock: bool) -> re.Pattern[str]:
    """Return what matches a plain line of *columns*, arrival, prompt and output standing at *where*."""
    cells = ['[^,"]*'] * columns
    for place, cell in zip(where, (CLOCK if clock else _SECONDS, _TOKENS, _TOKENS), strict=True):
        cells[place] = cell
    return re.compile(",".join(cells), re.ASCII)


def group_order(where: tuple[int, ...], *, clock: bool) -> tuple[int, int, int]:
    """Return the index of the first group of arrival, prompt and output in a match of the line pattern."""
    widths = (5 if clock else 2, 1, 1)
    first, prompt, output = (
        sum(width for width, other in zip(widths, where, strict=True) if other < place) for place in where
    )
    return first, prompt, output


def seconds_ps(groups: tuple[str, ...], at: int) -> int:
    """Return the picoseconds of whole seconds and decimals, the groups from *at* on."""
    part = groups[at + 1]
    return int(groups[at]) * PS_PER_S + (int(part) * FRACTION_OF[len(part)] if part else 0)


def _cells_of(path: Path, number: int, line: str, wanted: Mapping[str, int]) -> dict[str, str]:
    try:
        cells = next(csv.reader([line], strict=True))
    except csv.Error as error:
        raise InputError(Problem(str(path), f"line {number}", line, f"a CSV row ({error})")) from None
    most = max(wanted.values())
    if len(cells) <= most:
        raise InputError(Problem(str(path), f"line {number}", line, f"at least {most + 1} columns"))
    return {name: cells[at].strip() for name, at in wanted.items()}


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


def _cell(value: object) -> Any:
    """Return the text of a JSON string or number, or a list; nothing for null; other values fail as malformed."""
    return value if isinstance(value, str | list) else "" if value is None else f"{value!r}"[:80]


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
