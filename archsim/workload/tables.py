"""Rows of traces that are no text: Parquet files, and the one JSON object that a vLLM benchmark saves.

Parquet needs pyarrow (`pip install archsim[data]`) and is read a group of rows at a time. A vLLM result
(`vllm bench serve --save-result --save-detailed`) is read whole; its requests are those that were answered, in order of
their `start_times`.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from archsim import files
from archsim.errors import InputError, Problem
from archsim.workload.schemas import PLAIN, schema_of
from archsim.workload.text_rows import Text, mapped

__all__ = ["parquet_rows", "pyarrow", "vllm_rows"]

_AT_ONCE = 16_384
_RESULT_LIMIT_BYTES = 2**28
_DAMAGED = (OSError, ValueError, OverflowError)
"""What pyarrow raises beside its own: for metadata that are none, names that are not UTF-8, dates out of range."""
_VLLM_LISTS = ("start_times", "input_lens", "output_lens")


def pyarrow(path: Path) -> tuple[Any, Any]:
    """Return pyarrow and pyarrow.parquet; raise `InputError` where they are missing."""
    try:
        return importlib.import_module("pyarrow"), importlib.import_module("pyarrow.parquet")
    except ImportError:
        expected = "pyarrow, which reads and writes Parquet: pip install 'archsim[data]'"
        raise InputError(Problem(str(path), "", "", expected)) from None


def parquet_rows(path: Path) -> Text:
    """Return the rows of the Parquet file at *path*. Raises `InputError` where it is none or has other columns."""
    arrow, parquet = pyarrow(path)
    try:
        with files.open_binary(path) as file:
            names = list(parquet.ParquetFile(file).schema_arrow.names)
    except (arrow.ArrowException, *_DAMAGED) as error:
        raise _no_parquet(path, error) from None
    schema = schema_of(path, names)
    extras = schema.extras(names)

    def places() -> Iterator[tuple[str, dict[str, Any]]]:
        wanted, number = [*schema.needed, *extras], 0
        try:
            with files.open_binary(path) as file:
                for batch in parquet.ParquetFile(file).iter_batches(_AT_ONCE, columns=wanted):
                    columns = [_texts(arrow, batch.column(name)) for name in wanted]
                    for cells in zip(*columns, strict=True):
                        number += 1
                        yield f"row {number}", dict(zip(wanted, cells, strict=True))
        except (arrow.ArrowException, *_DAMAGED) as error:
            raise _no_parquet(path, error) from None

    return mapped(path, schema, extras, places())


def _no_parquet(path: Path, error: Exception) -> InputError:
    return InputError(Problem(str(path), "", "", f"a Parquet file ({str(error).splitlines()[0][:120]})"))


def _texts(arrow: Any, column: Any) -> list[Any]:
    """Return the values of *column* as exact text, lists as lists of text, nothing as empty text."""
    if arrow.types.is_timestamp(column.type):
        column = column.cast(arrow.string())
    return [_text(value) for value in column.to_pylist()]


def _text(value: object) -> Any:
    if isinstance(value, list):
        return [_text(item) for item in value]
    return "" if value is None or isinstance(value, bool) else str(value)


def vllm_rows(path: Path) -> Text:
    """Return the requests of a vLLM benchmark result at *path*."""
    value = files.read_json(path, limit=_RESULT_LIMIT_BYTES)
    lists = [value.get(name) if isinstance(value, dict) else None for name in _VLLM_LISTS]
    if not all(isinstance(items, list) and len(items) == len(lists[0] or ()) for items in lists):
        expected = f"the result of a vLLM benchmark with lists {', '.join(_VLLM_LISTS)} of one length (--save-detailed)"
        raise InputError(Problem(str(path), "", "", expected))
    starts, inputs, outputs = (items or [] for items in lists)
    for name, items in zip(_VLLM_LISTS, (starts, inputs, outputs), strict=True):
        wrong = [item for item in items if isinstance(item, bool) or not isinstance(item, int | float)]
        if wrong:
            raise InputError(Problem(str(path), name, str(wrong[0]), "numbers"))
    answered = sorted((start, at) for at, start in enumerate(starts) if outputs[at])
    first = answered[0][0] if answered else 0
    cells = (
        (
            f"request {at}",
            dict(zip(PLAIN.needed, (f"{start - first:.9f}", str(inputs[at]), str(outputs[at])), strict=True)),
        )
        for start, at in answered
    )
    return mapped(path, PLAIN, (), cells)
