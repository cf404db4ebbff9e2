"""Recorded requests from files, one at a time and in order of arrival, whatever the format.

Formats are known by content and columns: CSV and JSONL (`text_rows`), each plain or gzip,
Parquet and results of vLLM (`tables`). Arrivals are exact:
decimal text to integer picoseconds. Arrivals that a recorder rounded down to ticks are spread over the tick: n of them
at n draws of a uniform law, in the order of the rows. Memory does not grow with the file.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

from numpy.random import PCG64

from archsim import files
from archsim.errors import InputError, Problem
from archsim.workload.request import LONGEST_PS, Row, Rows
from archsim.workload.tables import parquet_rows, vllm_rows
from archsim.workload.text_rows import Place, Text, text_rows

__all__ = ["open_requests"]

_SLACK_PS = 10**9
"""A millisecond by which a tick may lie beside a multiple of its length: Mooncake's do, by rounding."""
_MOST_IN_A_TICK = 10**6


def open_requests(path: Path, seed: int = 0, *, timed: bool = True) -> Rows:
    """Return the requests of the file at *path*, read while they are taken; *seed* spreads what came in ticks.

    Where the file states lengths alone all arrive at zero, which only who is not *timed* may take.

    Raises `InputError` naming file and line, now or when the row is taken: an unknown header, a malformed row, arrivals
    that go back, tokens below 1, more blocks than the prompt fills, or no row at all.
    """
    schema, block_tokens, places, sessions = _open(path)
    if timed and not schema.arrival:
        expected = "arrivals, or --poisson RATE of archsim trace convert, which draws some"
        raise InputError(Problem(str(path), "header", ", ".join(schema.needed), expected))
    if schema.clock:
        places = _from_zero(places)
    if schema.tick_ps:
        places = _spread(path, places, schema.tick_ps, seed)
    return Rows(_checked(path, places, block_tokens), block_tokens, sessions)


def _open(path: Path) -> Text:
    if path.suffix == ".parquet":
        return parquet_rows(path)
    if path.name.removesuffix(".gz").endswith(".json"):
        return vllm_rows(path)
    return text_rows(path, files.open_text_lines(path))


def _from_zero(places: Iterator[Place]) -> Iterator[Place]:
    origin: int | None = None
    for place, row in places:
        if origin is None:
            origin = row[0]
        yield place, (row[0] - origin, *row[1:])


def _spread(path: Path, places: Iterator[Place], tick_ps: int, seed: int) -> Iterator[Place]:
    """Spread the rows of every tick over it, up to the next row that has its own arrival."""
    bits = PCG64(seed)
    groups = (
        (at, list(itertools.islice(rows, _MOST_IN_A_TICK + 1))) for at, rows in itertools.groupby(places, _arrival)
    )
    for (arrival_ps, tick), later in itertools.pairwise(itertools.chain(groups, [None])):  # type: ignore[misc]
        if len(tick) > _MOST_IN_A_TICK:
            raise InputError(Problem(str(path), tick[-1][0], "", f"at most {_MOST_IN_A_TICK:,} rows of one time"))
        if (arrival_ps + _SLACK_PS) % tick_ps > 2 * _SLACK_PS:
            yield from tick
            continue
        room_ps = tick_ps if later is None else max(0, min(tick_ps, later[0] - arrival_ps))
        drawn = sorted(int(word) * room_ps >> 64 for word in bits.random_raw(len(tick)))
        for (place, row), after in zip(tick, drawn, strict=True):
            yield place, (arrival_ps + after, *row[1:])


def _arrival(place: Place) -> int:
    return place[1][0]


def _checked(path: Path, places: Iterator[Place], block_tokens: int) -> Iterator[Row]:
    """Yield the rows, each no earlier than the one before."""
    before = -1
    for place, row in places:
        arrival_ps, prompt, output, _, _, blocks = row
        if arrival_ps < before:
            expected = "an arrival no earlier than the row before; sort the trace by arrival"
            raise InputError(Problem(str(path), place, "", expected))
        if arrival_ps > LONGEST_PS:
            raise InputError(Problem(str(path), place, "", "an arrival within 106 days"))
        if not (prompt and output):
            shown = f"{prompt} prompt and {output} output tokens"
            raise InputError(Problem(str(path), place, shown, "at least 1 token of each"))
        if blocks and len(blocks) > -(-prompt // block_tokens):
            expected = f"at most {-(-prompt // block_tokens)} blocks of {block_tokens} in {prompt} prompt tokens"
            raise InputError(Problem(str(path), place, f"{len(blocks)} blocks", expected))
        before = arrival_ps
        yield row
    if before < 0:
        raise InputError(Problem(str(path), "", "", "at least one request after the header"))
