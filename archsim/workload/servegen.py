"""Clients of a production service as ServeGen publishes them: rates and lengths by window of time, to draw from.

Two files stand side by side. `NAME_rates.csv` has a row for each client and window of 600 s: its rate and the law of
its gaps, Gamma or Weibull with a shape. `NAME_lengths.jsonl` has a line for each client and window of 21,600 s with
probabilities of numbers of input and output tokens. Both may be packed (`.gz`).

    gaps of mean 1 by the law of the window, in units of the integral of the rate over time

so that every window has its rate whatever the law's published scale, and a gap may reach over a border. Input and
output are drawn independently: the source states no joint distribution. Every client has random numbers of its own.
(Xiang et al., ServeGen: Workload Characterization and Generation of Large Language Model Serving in Production, 2025.)
"""

from __future__ import annotations

import bisect
import csv
import heapq
import itertools
import json
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from numpy.random import PCG64

from archsim import files
from archsim.errors import InputError, Problem
from archsim.workload.draws import Uniforms, from_words, gamma, uniforms, weibull
from archsim.workload.request import NONE, Row, Rows

__all__ = ["Clients", "is_servegen", "read_clients"]

_RATES, _LENGTHS = "_rates.csv", "_lengths.jsonl"
_COLUMNS = ("client", "t_s", "rate_rps", "pattern", "p1")
_FIELDS = ("input_tokens", "output_tokens")
_LAWS: dict[str, Callable[[float], Callable[[Uniforms], Uniforms]]] = {"Gamma": gamma, "Weibull": weibull}
_WINDOW_S = 600
_MOST_ROWS = 10**6
_MOST_AT_ONCE = 4096
_PS_PER_NS = 1000
_SHAPES = (1e-2, 1e3)
_MOST_RATE = 1e6
_LATEST_S = 10**7
_MOST_TOKENS = 10**9


class _Window(NamedTuple):
    start_s: int
    rate: float
    pattern: str
    shape: float


@dataclass(frozen=True, slots=True)
class _Law:
    """Numbers of tokens with their probabilities."""

    values: tuple[int, ...]
    ends: tuple[float, ...]
    """Rising sums of the probabilities."""

    def at(self, bits: int) -> int:
        """Return the value at the probability *bits* / 2**64."""
        place = bisect.bisect_right(self.ends, (bits >> 11) * 2.0**-53 * self.ends[-1])
        return self.values[min(place, len(self.values) - 1)]


@dataclass(frozen=True, slots=True)
class _Client:
    number: int
    windows: tuple[_Window, ...]
    starts_s: tuple[int, ...]
    """Of its windows of lengths."""
    lengths: tuple[tuple[_Law, _Law], ...]

    def rows(self, seed: int) -> Iterator[Row]:
        """Yield its requests."""
        bits = PCG64([seed, self.number])
        ahead = math.inf
        """Rest of the open gap, in units of the integral of the rate."""
        for window, after in itertools.zip_longest(self.windows, self.windows[1:]):
            prompt, output = self.lengths[max(bisect.bisect_right(self.starts_s, window.start_s) - 1, 0)]
            room_s = _WINDOW_S if after is None else min(_WINDOW_S, after.start_s - window.start_s)
            room = window.rate * room_s
            law = _LAWS[window.pattern](window.shape)
            if ahead == math.inf:
                ahead = float(law(uniforms(bits, 1))[0])
            while ahead < room:
                words = bits.random_raw(3 * min(_MOST_AT_ONCE, int(room - ahead) + 16)).tolist()
                for gap, first, second in zip(
                    law(from_words(words[::3])).tolist(), words[1::3], words[2::3], strict=True
                ):
                    if ahead >= room:
                        break
                    at_ns = round((window.start_s + ahead / window.rate) * 1e9)
                    yield at_ns * _PS_PER_NS, prompt.at(first), output.at(second), NONE, NONE, ()
                    ahead += gap
            ahead -= room


@dataclass(frozen=True, slots=True)
class Clients:
    """All clients of a service."""

    clients: tuple[_Client, ...]

    def rows(self, seed: int) -> Rows:
        """Return the requests of all clients for *seed*, drawn while they are taken."""
        return Rows(heapq.merge(*(client.rows(seed) for client in self.clients), key=lambda row: row[0]))


def is_servegen(path: Path) -> bool:
    """Return whether the name of *path* is that of a table of rates."""
    return path.name.removesuffix(".gz").endswith(_RATES)


def read_clients(path: Path) -> Clients:
    """Return the clients of the table of rates at *path* and of the lengths beside it.

    Raises `InputError` naming file and line, or the client that has a rate and no lengths.
    """
    rates = _read_rates(path)
    stem = path.name.removesuffix(".gz").removesuffix(_RATES)
    beside = [path.with_name(stem + _LENGTHS + packed) for packed in (".gz", "")]
    found = next((other for other in beside if other.is_file()), None)
    if found is None:
        raise InputError(Problem(str(path), "", "", f"{stem}{_LENGTHS}, packed or not, beside it"))
    lengths = _read_lengths(found)
    without = sorted(set(rates) - set(lengths))
    if without:
        raise InputError(Problem(str(found), "", f"client {without[0]}", "lengths of every client that has a rate"))
    clients = []
    for number in sorted(rates):
        laws = sorted(lengths[number].items())
        windows = tuple(sorted(rates[number]))
        clients.append(_Client(number, windows, tuple(at for at, _ in laws), tuple(pair for _, pair in laws)))
    return Clients(tuple(clients))


def _read_rates(path: Path) -> dict[int, list[_Window]]:
    lines = files.open_text_lines(path)
    names = next(csv.reader([next(lines, (1, ""))[1]]), [])
    if not set(_COLUMNS) <= set(names):
        raise InputError(Problem(str(path), "header", ", ".join(names), f"the columns {', '.join(_COLUMNS)}"))
    where = [names.index(name) for name in _COLUMNS]
    clients: dict[int, list[_Window]] = {}
    for number, line in lines:
        try:
            client, window = _window(number, line.split(","), where)
        except (ValueError, IndexError):
            expected = (
                f"a client, a start within {_LATEST_S:,} s, a rate up to {_MOST_RATE:,.0f}, {' or '.join(_LAWS)}, "
                f"a shape from {_SHAPES[0]} to {_SHAPES[1]:,.0f}; at most {_MOST_ROWS:,} rows"
            )
            raise InputError(Problem(str(path), f"line {number}", line, expected)) from None
        clients.setdefault(client, []).append(window)
    if not clients:
        raise InputError(Problem(str(path), "", "", "at least one client"))
    return clients


def _window(number: int, cells: list[str], where: list[int]) -> tuple[int, _Window]:
    client, start, rate, pattern, shape = (cells[at] for at in where)
    window = _Window(int(start[:20]), float(rate), pattern, float(shape))
    good = 0 < window.rate <= _MOST_RATE and 0 <= window.start_s <= _LATEST_S and pattern in _LAWS
    if not (good and _SHAPES[0] <= window.shape <= _SHAPES[1] and 0 <= int(client[:20]) < 2**63):
        raise ValueError(client)
    if number > _MOST_ROWS:
        raise ValueError(number)
    return int(client), window


def _read_lengths(path: Path) -> dict[int, dict[int, tuple[_Law, _Law]]]:
    clients: dict[int, dict[int, tuple[_Law, _Law]]] = {}
    for number, line in files.open_text_lines(path):
        try:
            client, start, laws = _laws(number, json.loads(line))
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError, OverflowError):
            expected = f"client, window_s and probabilities of {' and '.join(_FIELDS)} by number of tokens"
            raise InputError(Problem(str(path), f"line {number}", line, expected)) from None
        if laws is not None:
            clients.setdefault(client, {})[start] = laws
    return clients


def _laws(number: int, row: dict[str, Any]) -> tuple[int, int, tuple[_Law, _Law] | None]:
    """Return client, window and laws of a line; None where the client was silent."""
    client, start = row["client"], row["window_s"]
    if type(client) is not int or type(start) is not int or number > _MOST_ROWS:
        raise ValueError(number)
    prompt, output = (_law(row[name]) for name in _FIELDS)
    return client, start, (prompt, output) if prompt and output else None


def _law(table: dict[str, Any]) -> _Law | None:
    pairs = sorted((max(1, int(value[:20])), float(share)) for value, share in table.items() if share)
    if not all(0 < share <= 1 for _, share in pairs):
        raise ValueError(pairs)
    if pairs and pairs[-1][0] >= _MOST_TOKENS:
        raise ValueError(pairs[-1])
    values, shares = zip(*pairs, strict=True) if pairs else ((), ())
    return _Law(values, tuple(itertools.accumulate(shares))) if pairs else None
