"""Requests drawn from published quantiles, for when no trace is at hand.

A sampler is a TOML file: a rate, a number of requests, and quantiles of prompt and output tokens. Arrivals are a
Poisson process; the token counts are independent of it and of each other, each by the inverse of its distribution,
which is linear between the published quantiles. What a sampler cannot have: bursts beyond Poisson and the correlation
of prompt and output.

Draws use the raw 64-bit output of PCG64 and integer arithmetic, because NumPy's own distributions may change between
its versions. Gaps are rounded to a nanosecond, far above the last bit in which logarithms of two platforms differ.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

from numpy.random import PCG64

from archsim import files
from archsim.errors import InputError, Problem, did_you_mean
from archsim.units import parse_quantity
from archsim.workload.request import NONE, Row, Rows

__all__ = ["Quantiles", "Sampler", "read_sampler"]

_KEYS = {"title", "rate", "requests", "prompt_tokens", "output_tokens"}
_MOST_REQUESTS = 10**7
_PS_PER_NS = 1000
_AT_ONCE = 4096


@dataclass(frozen=True, slots=True)
class Quantiles:
    """A distribution of positive integers by points of its inverse."""

    points: tuple[tuple[int, int], ...]
    """(probability in units of 1e-6, value), from 0 to a million, both rising."""

    def at(self, bits: int) -> int:
        """Return the value at the probability *bits* / 2**64, rounded half up."""
        position = bits * 10**6
        (low, start), (high, end) = next(
            pair for pair in itertools.pairwise(self.points) if position < pair[1][0] << 64
        )
        rest, width = position - (low << 64), (high - low) << 64
        return start + (2 * (end - start) * rest + width) // (2 * width)


@dataclass(frozen=True, slots=True)
class Sampler:
    """Poisson arrivals with independent token counts."""

    per_s: Fraction
    requests: int
    prompt_tokens: Quantiles
    output_tokens: Quantiles

    def rows(self, seed: int) -> Rows:
        """Return the sampler's requests for *seed*, drawn while they are taken."""
        if not 0 <= seed < 2**64:
            raise InputError(Problem("", "--seed", str(seed), "a whole number from 0 below 2^64"))
        return Rows(self._rows(PCG64(seed)))

    def _rows(self, bits: PCG64) -> Iterator[Row]:
        arrival_ns = 0
        for done in range(0, self.requests, _AT_ONCE):
            words = bits.random_raw(3 * min(_AT_ONCE, self.requests - done)).tolist()
            for gap, prompt, output in zip(words[::3], words[1::3], words[2::3], strict=True):
                arrival_ns += round(-math.log1p(-(gap >> 11) * 2.0**-53) * 1e9 / self.per_s)
                at = (arrival_ns * _PS_PER_NS, self.prompt_tokens.at(prompt), self.output_tokens.at(output))
                yield (*at, NONE, NONE, ())


def read_sampler(path: Path) -> Sampler:
    """Return the sampler in the TOML file at *path*; raise `InputError` with all its problems."""
    tables = files.read_toml(path)
    problems = [
        Problem(str(path), key, "", f"a known key{did_you_mean(key, _KEYS)}: {', '.join(sorted(_KEYS))}")
        for key in tables
        if key not in _KEYS
    ]
    rate = _rate(path, tables.get("rate"), problems)
    requests = tables.get("requests")
    if not isinstance(requests, int) or isinstance(requests, bool) or not 0 < requests <= _MOST_REQUESTS:
        problems.append(Problem(str(path), "requests", str(requests), f"a whole number from 1 to {_MOST_REQUESTS:,}"))
    prompt, output = (_quantiles(path, tables, key, problems) for key in ("prompt_tokens", "output_tokens"))
    if problems or not isinstance(requests, int):
        raise InputError(*problems)
    return Sampler(rate, requests, prompt, output)


def _rate(path: Path, text: object, problems: list[Problem]) -> Fraction:
    try:
        rate = parse_quantity(text, "1/s")
    except ValueError as error:
        problems.append(Problem(str(path), "rate", str(text), str(error)))
        return Fraction(1)
    if not Fraction(1, 1000) <= rate <= 10**6:
        problems.append(Problem(str(path), "rate", str(text), "from 0.001 req/s to 1,000,000 req/s"))
    return rate


def _quantiles(path: Path, tables: dict[str, Any], key: str, problems: list[Problem]) -> Quantiles:
    """Return the table *key*, percent as text to tokens: `{ "0" = 2, "50" = 1020, "100" = 14050 }`."""
    table = tables.get(key)
    expected = 'a table of percent and tokens from "0" to "100", both rising: { "0" = 2, "50" = 1020, "100" = 14050 }'
    try:
        points = [(Fraction(percent) * 10**4, tokens) for percent, tokens in table.items()]  # type: ignore[union-attr]
        whole = all(at.denominator == 1 and type(tokens) is int and 0 < tokens < 10**9 for at, tokens in points)
        rising = all(low[0] < high[0] and low[1] <= high[1] for low, high in itertools.pairwise(points))
        if whole and rising and points[0][0] == 0 and points[-1][0] == 10**6:
            return Quantiles(tuple((int(at), tokens) for at, tokens in points))
    except (AttributeError, IndexError, TypeError, ValueError, ZeroDivisionError):
        pass
    problems.append(Problem(str(path), key, "" if table is None else str(table), expected))
    return Quantiles(((0, 1), (10**6, 1)))
