"""Requests drawn from published quantiles, for when no trace is at hand.

A sampler is a TOML file: a rate, a number of requests, and quantiles of prompt and output tokens; optionally the
coefficient of variation of the gaps between arrivals, and a law of sessions. Without the first arrivals are a Poisson
process, with it a renewal process of gamma gaps. Token counts are independent of arrivals and of each other, each by
the inverse of its distribution, which is linear between the published quantiles. Requests are drawn while they are
taken: memory does not grow with their number.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

from numpy.random import PCG64

from archsim import files
from archsim.errors import InputError, Problem, did_you_mean
from archsim.units import parse_quantity
from archsim.workload.draws import Quantiles, from_words, gamma
from archsim.workload.request import NONE, Row, Rows
from archsim.workload.sessions import SessionLaw, session_rows

__all__ = ["Quantiles", "Sampler", "read_sampler"]

_KEYS = {"title", "rate", "requests", "prompt_tokens", "output_tokens", "arrivals", "session"}
_SESSION_COUNTS = {"shared_tokens": 0, "block_tokens": 1, "most_tokens": 1}
"""Whole numbers of a law of sessions, with the smallest that each may be."""
_SESSION_LAWS = ("turns", "growth_tokens", "wait_ms")
_MOST_REQUESTS = 10**9
_MOST_TOKENS = 10**9
_LEAST_CV, _MOST_CV = 0.05, 100
_PS_PER_NS = 1000
_AT_ONCE = 4096


@dataclass(frozen=True, slots=True)
class Sampler:
    """Arrivals with independent token counts."""

    per_s: Fraction
    """Requests, or sessions where there is a law of them."""
    requests: int
    prompt_tokens: Quantiles
    """Of a session its first prompt."""
    output_tokens: Quantiles
    cv: float | None = None
    """Standard deviation of the gaps over their mean; None: a Poisson process."""
    session: SessionLaw | None = None

    def rows(self, seed: int) -> Rows:
        """Return the sampler's requests for *seed*, drawn while they are taken."""
        if not 0 <= seed < 2**64:
            raise InputError(Problem("", "--seed", str(seed), "a whole number from 0 below 2^64"))
        if self.session is None:
            return Rows(self._alone(seed))
        starts = (at_ns * _PS_PER_NS for at_ns, _, _ in self._arrivals(seed))
        rows = session_rows(starts, self.session, first_prompt=self.prompt_tokens, output=self.output_tokens, seed=seed)
        return Rows(itertools.islice(rows, self.requests), self.session.block_tokens, sessions=True)

    def _alone(self, seed: int) -> Iterator[Row]:
        prompt_at, output_at = self.prompt_tokens.at, self.output_tokens.at
        for at_ns, prompt, output in self._arrivals(seed):
            yield at_ns * _PS_PER_NS, prompt_at(prompt), output_at(output), NONE, NONE, ()

    def _arrivals(self, seed: int) -> Iterator[tuple[int, int, int]]:
        """Yield (arrival in ns, two raw words)."""
        bits, at_ns = PCG64(seed), 0
        for done in range(0, self.requests, _AT_ONCE):
            words = bits.random_raw(3 * min(_AT_ONCE, self.requests - done)).tolist()
            for gap_ns, prompt, output in zip(self._gaps_ns(words[::3]), words[1::3], words[2::3], strict=True):
                at_ns += gap_ns
                yield at_ns, prompt, output

    def _gaps_ns(self, words: Sequence[int]) -> list[int]:
        per_s = float(self.per_s)
        if self.cv is None:
            return [round(-math.log1p(-(word >> 11) * 2.0**-53) * 1e9 / per_s) for word in words]
        gaps = gamma(self.cv**-2)(from_words(words))
        return [round(gap * 1e9 / per_s) for gap in gaps.tolist()]


def read_sampler(path: Path) -> Sampler:
    """Return the sampler in the TOML file at *path*; raise `InputError` with all its problems."""
    tables = files.read_toml(path)
    problems = _unknown(path, "", tables, _KEYS)
    rate = _rate(path, tables.get("rate"), problems)
    requests = _whole(path, "requests", tables.get("requests"), problems, least=1, most=_MOST_REQUESTS)
    prompt, output = (_quantiles(path, key, tables.get(key), problems) for key in ("prompt_tokens", "output_tokens"))
    cv = _cv(path, tables["arrivals"], problems) if "arrivals" in tables else None
    session = _session(path, tables["session"], problems) if "session" in tables else None
    if problems:
        raise InputError(*problems)
    return Sampler(rate, requests, prompt, output, cv, session)


def _unknown(path: Path, table: str, keys: dict[str, Any], known: set[str]) -> list[Problem]:
    prefix = f"{table}." if table else ""
    return [
        Problem(str(path), prefix + key, "", f"a known key{did_you_mean(key, known)}: {', '.join(sorted(known))}")
        for key in keys
        if key not in known
    ]


def _cv(path: Path, table: object, problems: list[Problem]) -> float:
    if isinstance(table, dict):
        problems += _unknown(path, "arrivals", table, {"cv"})
        cv = table.get("cv")
        if isinstance(cv, int | float) and not isinstance(cv, bool) and _LEAST_CV <= cv <= _MOST_CV:
            return float(cv)
        problems.append(Problem(str(path), "arrivals.cv", str(cv), f"a number from {_LEAST_CV} to {_MOST_CV}"))
    else:
        problems.append(Problem(str(path), "arrivals", str(table), "a table: [arrivals]"))
    return 1.0


def _session(path: Path, table: object, problems: list[Problem]) -> SessionLaw | None:
    if not isinstance(table, dict):
        problems.append(Problem(str(path), "session", str(table), "a table: [session]"))
        return None
    problems += _unknown(path, "session", table, {*_SESSION_COUNTS, *_SESSION_LAWS})
    counts = [
        _whole(path, f"session.{key}", table.get(key), problems, least=least, most=_MOST_TOKENS)
        for key, least in _SESSION_COUNTS.items()
    ]
    laws = [_quantiles(path, f"session.{key}", table.get(key), problems) for key in _SESSION_LAWS]
    return SessionLaw(*counts, *laws)  # type: ignore[arg-type]


def _whole(path: Path, key: str, value: object, problems: list[Problem], *, least: int, most: int) -> int:
    if type(value) is int and least <= value <= most:
        return value
    problems.append(Problem(str(path), key, str(value), f"a whole number from {least} to {most:,}"))
    return 1


def _rate(path: Path, text: object, problems: list[Problem]) -> Fraction:
    try:
        rate = parse_quantity(text, "1/s")
    except ValueError as error:
        problems.append(Problem(str(path), "rate", str(text), str(error)))
        return Fraction(1)
    if not Fraction(1, 1000) <= rate <= 10**6:
        problems.append(Problem(str(path), "rate", str(text), "from 0.001 req/s to 1,000,000 req/s"))
    return rate


def _quantiles(path: Path, key: str, table: Any, problems: list[Problem]) -> Quantiles:
    """Return the table *key*, percent as text to values: `{ "0" = 2, "50" = 1020, "100" = 14050 }`."""
    expected = 'a table of percent and tokens from "0" to "100", both rising: { "0" = 2, "50" = 1020, "100" = 14050 }'
    try:
        points = [(Fraction(percent) * 10**4, value) for percent, value in table.items()]
        whole = all(at.denominator == 1 and type(value) is int and 0 < value < 10**9 for at, value in points)
        rising = all(low[0] < high[0] and low[1] <= high[1] for low, high in itertools.pairwise(points))
        if whole and rising and points[0][0] == 0 and points[-1][0] == 10**6:
            return Quantiles(tuple((int(at), value) for at, value in points))
    except (AttributeError, IndexError, TypeError, ValueError, ZeroDivisionError):
        pass
    problems.append(Problem(str(path), key, "" if table is None else str(table), expected))
    return Quantiles(((0, 1), (10**6, 1)))
