"""A store as a table, and several stores as one.

A table holds inputs and results alone, in the order of points, so that two stores of one study that are complete give
the same bytes; where and when a point ran is left out, provenance is added where it is asked for. Rows pass through one
at a time. Text that a spreadsheet would take for a formula gets a leading apostrophe.
"""

from __future__ import annotations

import csv
import importlib
import io
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from archsim.errors import InputError, Problem
from archsim.files import replaced_file
from archsim.study.cases import Outcome
from archsim.study.metrics import METRICS
from archsim.study.store import Store

__all__ = ["export", "merge"]

_PROVENANCE = ("command", "config_digest", "trace_digest", "archsim_version", "seed", "event_count")
_TEXT = ("status", "error")
_FORMULA = ("=", "+", "-", "@", "\t", "\r")
_GROUP = 10_000
"""Rows of a group of a Parquet file."""


def export(store: Store, path: Path, *, provenance: bool = False) -> int:
    """Write the rows of *store* to *path*, `.csv` or `.parquet`, and return how many there are.

    Raises `InputError` for another suffix, for Parquet without pyarrow, and where *path* cannot be written.
    """
    writers = {".csv": _csv, ".parquet": _parquet}
    if path.suffix not in writers:
        raise InputError(Problem(str(path), "", path.suffix, f"a name that ends in {' or '.join(writers)}"))
    if path.exists():
        raise InputError(Problem(str(path), "", "", "a file that does not exist yet"))
    columns = _columns(store, provenance=provenance)
    return writers[path.suffix](store, path, columns)


def _columns(store: Store, *, provenance: bool) -> list[str]:
    inputs = list(next((row.inputs for row in store.rows()), {}))
    named = [name if name not in METRICS else f"input.{name}" for name in inputs]
    return ["point", *named, "status", *METRICS, "error", *(_PROVENANCE if provenance else ())]


def _row(outcome: Outcome, columns: Sequence[str]) -> list[Any]:
    """Return the values of one row; absent ones are None."""
    start = 1 + len(outcome.inputs)
    inputs = [value if value is None or isinstance(value, str) else json.dumps(value)
              for value in outcome.inputs.values()]  # fmt: skip
    rest: dict[str, Any] = {"status": outcome.status, "error": outcome.error, **outcome.metrics}
    rest |= {name: outcome.provenance.get(name) for name in _PROVENANCE}
    return [outcome.point, *inputs, *(rest.get(name) for name in columns[start:])]


def _csv(store: Store, path: Path, columns: list[str]) -> int:
    count = 0
    with replaced_file(path) as file:
        text = io.TextIOWrapper(file, encoding="utf-8", newline="", write_through=True)
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow([_plain(name) for name in columns])
        for outcome in store.rows():
            writer.writerow([_plain(value) for value in _row(outcome, columns)])
            count += 1
        text.flush()
        text.detach()
    return count


def _plain(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, str):
        return f"'{value}" if value.startswith(_FORMULA) else value
    return repr(value)


def _parquet(store: Store, path: Path, columns: list[str]) -> int:
    arrow, parquet = _pyarrow(path)
    inputs = next((len(row.inputs) for row in store.rows()), 0)
    whole = {"point", "seed", "event_count"}
    texts = {*columns[1 : 1 + inputs], *_TEXT, *_PROVENANCE} - whole
    kinds = {name: arrow.string() if name in texts else arrow.int64() if name in whole else arrow.float64()
             for name in columns}  # fmt: skip
    schema = arrow.schema([(name, kinds[name]) for name in columns])
    count = 0
    with replaced_file(path) as file, parquet.ParquetWriter(file, schema, compression="zstd") as writer:
        for group in _groups(store, columns):
            arrays = [arrow.array(values, kinds[name]) for name, values in zip(columns, zip(*group), strict=True)]  # noqa: B905
            writer.write_table(arrow.Table.from_arrays(arrays, schema=schema))
            count += len(group)
    return count


def _groups(store: Store, columns: list[str]) -> Iterator[list[list[Any]]]:
    group: list[list[Any]] = []
    for outcome in store.rows():
        group.append(_row(outcome, columns))
        if len(group) == _GROUP:
            yield group
            group = []
    if group:
        yield group


def _pyarrow(path: Path) -> tuple[Any, Any]:
    try:
        return importlib.import_module("pyarrow"), importlib.import_module("pyarrow.parquet")
    except ImportError:
        expected = "the extra `data` (pip install 'archsim[data]'), which writes Parquet; CSV needs nothing"
        raise InputError(Problem(str(path), "", "", expected)) from None


def merge(sources: Sequence[Path], target: Path) -> int:
    """Write the rows of all *sources*, stores of one study, into *target*, and return how many it then holds.

    Raises `InputError` where the stores are of different studies or versions, before anything is written.
    """
    identities = []
    for path in sources:
        with Store(path) as store:
            identities.append(store.identity)
    for path, identity in zip(sources, identities, strict=True):
        if identity != identities[0]:
            expected = f"a store of the study {identities[0].study} as {sources[0]} has it"
            raise InputError(Problem(str(path), "study", identity.study, expected))
    with Store.create_or_open(target, identities[0]) as into:
        for path in sources:
            with Store(path) as store:
                into.take(store.rows())
        return sum(into.counts().values())
