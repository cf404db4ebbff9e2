"""Traces in the common schema: CSV, JSONL or Parquet, by the name of the file, `.gz` or not.

    arrival_s, prompt_tokens, output_tokens [, session, wait_s] [, blocks, block_tokens]

Arrivals are exact decimals of seconds; what a request has not is empty. Rows pass through one at a time, the file
appears when it is whole, and equal rows give equal bytes.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from decimal import Decimal
from gzip import GzipFile
from pathlib import Path
from typing import Any, BinaryIO

from archsim.errors import InputError, Problem
from archsim.files import gzip_into, replaced_file
from archsim.units import PS_PER_S
from archsim.workload.request import NONE, Row, Rows
from archsim.workload.schemas import PLAIN
from archsim.workload.tables import pyarrow

__all__ = ["WRITTEN", "write_requests"]

WRITTEN = (".csv", ".csv.gz", ".jsonl", ".jsonl.gz", ".parquet")
"""Endings of names that can be written."""
_GROUP = 65_536
"""Rows of a group of a Parquet file."""


def write_requests(rows: Rows, path: Path) -> int:
    """Write *rows* to *path*, which must not exist, and return their number.

    Raises `InputError` for another ending, an existing file and a trace without a request.
    """
    if not path.name.endswith(WRITTEN):
        raise InputError(Problem(str(path), "", path.name, f"a name that ends in {', '.join(WRITTEN)}"))
    if path.exists() or path.is_symlink():
        raise InputError(Problem(str(path), "", "", "a file that does not exist yet"))
    first = next(rows.rows, None)
    if first is None:
        raise InputError(Problem(str(path), "", "", "at least one request to write"))
    every = rows._replace(rows=itertools.chain([first], rows.rows))
    if path.suffix == ".parquet":
        return _parquet(every, path)
    lines = _jsonl(every) if ".jsonl" in path.suffixes else _csv(every)
    with replaced_file(path) as file:
        if path.suffix != ".gz":
            return _written(lines, file)
        with gzip_into(file) as packed:
            return _written(lines, packed)


def _written(lines: Iterator[tuple[int, str]], file: BinaryIO | GzipFile) -> int:
    count = 0
    for requests, line in lines:
        file.write(line.encode() + b"\n")
        count += requests
    return count


def _seconds(picoseconds: int) -> str:
    whole, part = divmod(picoseconds, PS_PER_S)
    return f"{whole}.{part:012d}".rstrip("0").rstrip(".")


def _names(rows: Rows) -> list[str]:
    names = list(PLAIN.needed)
    if rows.sessions:
        names += [PLAIN.session, PLAIN.wait]
    return [*names, PLAIN.blocks, "block_tokens"] if rows.block_tokens else names


def _csv(rows: Rows) -> Iterator[tuple[int, str]]:
    """Yield lines, each with the number of requests in it."""
    yield 0, ",".join(_names(rows))
    for arrival_ps, prompt, output, session, wait_ps, blocks in rows.rows:
        line = f"{_seconds(arrival_ps)},{prompt},{output}"
        if rows.sessions:
            line += f",{'' if session == NONE else session},{'' if wait_ps == NONE else _seconds(wait_ps)}"
        if rows.block_tokens:
            line += f",{' '.join(map(str, blocks))},{rows.block_tokens}"
        yield 1, line


def _jsonl(rows: Rows) -> Iterator[tuple[int, str]]:
    for arrival_ps, prompt, output, session, wait_ps, blocks in rows.rows:
        line = f'{{"arrival_s":{_seconds(arrival_ps)},"prompt_tokens":{prompt},"output_tokens":{output}'
        if rows.sessions:
            wait = "null" if wait_ps == NONE else _seconds(wait_ps)
            line += f',"session":{"null" if session == NONE else session},"wait_s":{wait}'
        if rows.block_tokens:
            line += f',"blocks":{json.dumps(blocks, separators=(",", ":"))},"block_tokens":{rows.block_tokens}'
        yield 1, line + "}"


def _parquet(rows: Rows, path: Path) -> int:
    arrow, parquet = pyarrow(path)
    seconds = arrow.decimal128(20, 12)
    kinds = {PLAIN.arrival: seconds, PLAIN.wait: seconds, PLAIN.blocks: arrow.list_(arrow.int64())}
    names = _names(rows)
    schema = arrow.schema([(name, kinds.get(name, arrow.int64())) for name in names])
    count = 0
    with replaced_file(path) as file, parquet.ParquetWriter(file, schema, compression="zstd") as writer:
        while group := list(itertools.islice(rows.rows, _GROUP)):
            columns = _columns(group, rows.block_tokens)
            arrays = [arrow.array(columns[name], schema.field(name).type) for name in names]
            writer.write_table(arrow.Table.from_arrays(arrays, schema=schema))
            count += len(group)
    return count


def _columns(group: list[Row], block_tokens: int) -> dict[str, list[Any]]:
    arrivals, prompts, outputs, sessions, waits, blocks = zip(*group, strict=True)
    return {
        PLAIN.arrival: [Decimal(_seconds(at)) for at in arrivals],
        PLAIN.prompt: list(prompts),
        PLAIN.output: list(outputs),
        PLAIN.session: [None if session == NONE else session for session in sessions],
        PLAIN.wait: [None if wait == NONE else Decimal(_seconds(wait)) for wait in waits],
        PLAIN.blocks: [list(ids) for ids in blocks],
        "block_tokens": [block_tokens] * len(group),
    }
