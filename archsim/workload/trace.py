"""Requests as they arrive: when, how long the prompt, how long the output.

A `Trace` holds three integer columns and is what every reader and sampler yields. `load_trace` takes a bundled
sampler's name, or a path to a sampler (`.toml`), a CSV or a JSONL file, gzip or plain.
"""

from __future__ import annotations

import math
import sys
from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

from archsim import files
from archsim.errors import InputError, Problem, did_you_mean
from archsim.units import PS_PER_S
from archsim.workload.readers import Columns, read_requests
from archsim.workload.sampler import read_sampler

__all__ = ["DEFAULT_TRACE", "LONGEST_PS", "Request", "Trace", "bundled_traces", "load_trace"]

LONGEST_PS = 2**63 - 1
"""Latest arrival: 106 days."""

DEFAULT_TRACE = "azure-conv"
"""The sampler that stands in where no trace is named."""

_SAMPLERS = ("workloads", "samplers", (".toml",))


class Request(NamedTuple):
    """One request."""

    arrival_ps: int
    prompt_tokens: int
    output_tokens: int
    id: int
    """Its place in the trace, from 0."""


@dataclass(frozen=True, slots=True)
class Trace:
    """Requests in order of arrival; iterate it as often as needed."""

    name: str
    source: str
    """Path of the file, or name of the sampler."""
    options: str
    """Command-line options that ask for it, in a fixed order and without a folder of this machine."""
    sampled: bool
    """Drawn from published quantiles, not recorded: every output says so."""
    seed: int | None
    """Seed of the draw; None for a recorded trace."""
    arrivals_ps: array[int]
    prompt_tokens: array[int]
    output_tokens: array[int]

    def __iter__(self) -> Iterator[Request]:
        """Yield the requests."""
        return map(Request, self.arrivals_ps, self.prompt_tokens, self.output_tokens, range(self.count))

    def __len__(self) -> int:
        return self.count

    @property
    def requests(self) -> Iterator[Request]:
        """A new iterator over the requests."""
        return iter(self)

    @property
    def count(self) -> int:
        """Number of requests."""
        return len(self.arrivals_ps)

    @property
    def digest(self) -> str:
        """Digest of the requests as they are replayed, whatever file format they came in."""
        columns = (self.arrivals_ps, self.prompt_tokens, self.output_tokens)
        return files.digest_of(b"".join(_little_endian(column) for column in columns))


def _little_endian(column: array[int]) -> bytes:
    if sys.byteorder == "big":
        column = array(column.typecode, column)
        column.byteswap()
    return column.tobytes()


def bundled_traces() -> list[str]:
    """Return the names of the bundled samplers, sorted."""
    return files.bundled_names(*_SAMPLERS)


def load_trace(
    name_or_path: str | None = None,
    limit: int | None = None,
    rate_scale: float | str | Fraction | None = None,
    seed: int = 0,
) -> Trace:
    """Return the first *limit* requests (default: all) with their rate multiplied by *rate_scale* (default: 1).

    Without a name the trace is `DEFAULT_TRACE`. *rate_scale* is taken as the decimal number it is written as; arrivals
    are divided by it and rounded to a picosecond. *seed* is that of a sampler; a recorded trace has none. Raises
    `InputError` that names file and line.
    """
    scale = Fraction(1) if rate_scale is None else _scale(rate_scale)
    if limit is not None and limit < 1:
        raise InputError(Problem("", "--limit", str(limit), "at least 1 request"))
    wanted = DEFAULT_TRACE if name_or_path is None else name_or_path
    path = _find(wanted)
    sampled = path.suffix == ".toml"
    columns = read_sampler(path).draw(seed, limit) if sampled else read_requests(path, limit)
    name = path.name.removesuffix(".gz").rsplit(".", 1)[0]
    return Trace(
        name=name,
        source=wanted,
        options=_options(path, sampled=sampled, limit=limit, scale=scale),
        sampled=sampled,
        seed=seed if sampled else None,
        arrivals_ps=_scaled(columns, scale, path),
        prompt_tokens=columns.prompt_tokens,
        output_tokens=columns.output_tokens,
    )


def _find(name_or_path: str) -> Path:
    kind, folder, suffixes = _SAMPLERS
    known = bundled_traces()
    if name_or_path in known:
        return files.find(name_or_path, kind=kind, folder=folder, suffixes=suffixes)
    try:
        path = Path(name_or_path)
        if path.is_file():
            return path
    except (OSError, ValueError):  # longer than a path may be, or with a NUL
        pass
    hint = did_you_mean(name_or_path, known)
    expected = f"a readable CSV, JSONL or sampler file, or one of the bundled names{hint}: {', '.join(known)}"
    raise InputError(Problem("", "trace", name_or_path, expected))


def _options(path: Path, *, sampled: bool, limit: int | None, scale: Fraction) -> str:
    bundled = sampled and path.stem in bundled_traces()
    options = ["--trace", path.stem if bundled else path.name]
    if limit is not None:
        options += ["--limit", str(limit)]
    if scale != 1:
        options += ["--rate-scale", str(float(scale))]
    return " ".join(options)


def _scale(value: float | str | Fraction) -> Fraction:
    text = str(value)
    try:
        finite = not isinstance(value, float) or math.isfinite(value)
        scale = Fraction(text) if finite and len(text) <= 40 else Fraction(0)
    except (ValueError, ZeroDivisionError):
        scale = Fraction(0)
    if not Fraction(1, 10**6) <= scale <= 10**6:
        raise InputError(Problem("", "--rate-scale", text, "a number from 0.000001 to 1,000,000"))
    return scale


def _scaled(columns: Columns, scale: Fraction, path: Path) -> array[int]:
    """Return the arrivals divided by *scale*, each rounded half up."""
    if scale == 1:
        return columns.arrivals_ps
    up, down = scale.numerator, scale.denominator
    scaled = [(2 * arrival * down + up) // (2 * up) for arrival in columns.arrivals_ps]
    if scaled[-1] > LONGEST_PS:
        days = LONGEST_PS // (PS_PER_S * 86400)
        raise InputError(Problem(str(path), "--rate-scale", str(scale), f"a last arrival within {days} days"))
    return array("q", scaled)
