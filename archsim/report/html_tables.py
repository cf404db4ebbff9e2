"""The tables of a run directory, read back for a report: served bytes over time, and the latencies of requests.

    share of peak in a window = bytes served / (peak x length of the window)

Channels are left out: their rows cover the whole run, and a memory's rows hold their sum.
"""

from __future__ import annotations

import csv
import itertools
import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation, Overflow
from pathlib import Path

import numpy as np

from archsim.errors import InputError, Problem
from archsim.files import open_text_lines
from archsim.metrics.accounts import ACCOUNTS, group_of
from archsim.metrics.latency import end_to_end_s, tpot_s, ttft_s
from archsim.metrics.operators import OperatorUse
from archsim.units import PS_PER_S

__all__ = [
    "CHANNEL",
    "LAYERS",
    "Times",
    "Windows",
    "number_in",
    "picoseconds_in",
    "read_ledger",
    "read_operators",
    "read_requests",
    "table_rows",
]

LAYERS = ("decode", "mixed", "prefill", "moved")
"""What a window served: useful bytes by phase, then what was moved besides."""

_LEDGER = ("start_s", "end_s", "phase", "scope", "account", "amount", "unit", "peak_per_s")
CHANNEL = re.compile(r"\.ch\d+$")
"""How the scope of a single channel ends."""
_OPERATORS = ("batch", "context", "operator", "executions", "time_s", "part", "unit", "amount")
_MOST_OPERATORS = 2_000
_REQUESTS = ("arrival_s", "output_tokens", "first_token_s", "finish_s")


@dataclass(frozen=True, slots=True)
class Windows:
    """One memory, cache or link over time."""

    edges_s: tuple[float, ...]
    """Ascending; one more than there are windows."""
    shares: dict[str, tuple[float, ...]]
    """One of `LAYERS` -> share of peak, a window each."""


@dataclass(frozen=True, slots=True)
class Times:
    """Latencies of completed requests, seconds, ascending."""

    ttft_s: tuple[float, ...]
    tpot_s: tuple[float, ...]
    e2e_s: tuple[float, ...]


def read_ledger(path: Path) -> dict[str, Windows]:
    """Return what each scope in bytes of a ledger.csv.gz served over time, in the order of the file.

    Raises `InputError` for a file that is no such table.
    """
    amounts: dict[str, dict[tuple[float, str], list[float]]] = {}
    edges: set[float] = set()
    peaks: dict[str, float] = {}
    for number, row in table_rows(path, _LEDGER):
        start, end, phase, scope, account, amount, unit, peak = row
        if unit != "B" or CHANNEL.search(scope):
            continue
        if account not in ACCOUNTS:
            raise InputError(Problem(str(path), f"line {number}", account, "an account of the ledger"))
        edges |= {number_in(path, number, start), number_in(path, number, end)}
        peaks[scope] = number_in(path, number, peak)
        found = amounts.setdefault(scope, {})
        if (group := group_of(account)) in ("useful", "moved"):
            layer = phase if group == "useful" else "moved"
            found.setdefault((float(start), layer), []).append(number_in(path, number, amount))
    ordered = tuple(sorted(edges))
    return {scope: _windows(ordered, found, peaks[scope]) for scope, found in amounts.items()}


def _windows(edges: tuple[float, ...], amounts: dict[tuple[float, str], list[float]], peak: float) -> Windows:
    spans = list(itertools.pairwise(edges))
    shares = {
        layer: tuple(
            math.fsum(amounts.get((start, layer), ())) / (peak * (end - start)) if peak > 0 else 0.0
            for start, end in spans
        )
        for layer in LAYERS
    }
    return Windows(edges, shares)


def read_requests(path: Path) -> Times:
    """Return the latencies in a requests.csv.gz; raises `InputError` for a file that is no such table."""
    columns: tuple[list[int], ...] = ([], [], [], [])
    for number, row in table_rows(path, _REQUESTS):
        for name, column, text in zip(_REQUESTS, columns, row, strict=True):
            whole = name == "output_tokens"
            column.append(_whole_in(path, number, text) if whole else picoseconds_in(path, number, text))
    arrival, output, first, finish = (np.asarray(column, dtype=np.int64) for column in columns)
    found = ttft_s(arrival, first), tpot_s(first, finish, output), end_to_end_s(arrival, finish)
    return Times(*(tuple(np.sort(values).tolist()) for values in found))


def read_operators(path: Path) -> tuple[OperatorUse, ...]:
    """Return the operators in an operators.csv.gz, in the order of the file.

    Raises `InputError` for a file that is no such table, or one of more operators than an iteration has.
    """
    found: dict[tuple[str, ...], dict[str, dict[str, float]]] = {}
    uses: list[OperatorUse] = []
    for number, row in table_rows(path, _OPERATORS):
        *key, part, unit, amount = row
        if tuple(key) not in found:
            amounts: dict[str, dict[str, float]] = {"FLOP": {}, "B": {}}
            found[tuple(key)] = amounts
            batch, context, executions = (int(number_in(path, number, text)) for text in (key[0], key[1], key[3]))
            time_s = number_in(path, number, key[4])
            uses.append(OperatorUse(batch, context, key[2], executions, time_s, amounts["FLOP"], amounts["B"]))
        if len(uses) > _MOST_OPERATORS:
            raise InputError(Problem(str(path), f"line {number}", "", f"at most {_MOST_OPERATORS:,} operators"))
        if part and unit not in found[tuple(key)]:
            raise InputError(Problem(str(path), f"line {number}", unit[:80], "FLOP or B"))
        if part:
            found[tuple(key)][unit][part] = number_in(path, number, amount)
    return tuple(uses)


def table_rows(path: Path, wanted: Sequence[str]) -> Iterator[tuple[int, list[str]]]:
    """Yield `(line number, cells of the columns wanted)`; the first line names the columns."""
    places: list[int] = []
    width = 0
    for number, line in open_text_lines(path):
        cells = next(csv.reader([line]), [])
        if not places:
            missing = [name for name in wanted if name not in cells]
            if missing:
                raise InputError(Problem(str(path), f"line {number}", line[:80], f"columns {', '.join(missing)}"))
            places, width = [cells.index(name) for name in wanted], len(cells)
        elif len(cells) != width:
            raise InputError(Problem(str(path), f"line {number}", "", f"{width} cells, not {len(cells)}"))
        else:
            yield number, [cells[place] for place in places]


def number_in(path: Path, line: int, text: str) -> float:
    """Return the number that *text* of *line* is. Raises `InputError` for what is none, or negative."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value) or value < 0:
        raise InputError(Problem(str(path), f"line {line}", text, "a finite number that is not negative"))
    return value


def _whole_in(path: Path, line: int, text: str) -> int:
    value = int(number_in(path, line, text))
    if value >= 2**63:
        raise InputError(Problem(str(path), f"line {line}", text, "a whole number below 2^63"))
    return value


def picoseconds_in(path: Path, line: int, text: str) -> int:
    """Return exact picoseconds of decimal seconds; -1 for an empty cell, which stands for never."""
    if not text:
        return -1
    try:
        exact = Decimal(text) * PS_PER_S
    except (InvalidOperation, Overflow):
        exact = Decimal("nan")
    if not exact.is_finite() or not 0 <= exact < 2**63:
        raise InputError(Problem(str(path), f"line {line}", text, "seconds"))
    return int(exact)
