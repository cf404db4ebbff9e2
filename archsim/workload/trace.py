"""Requests as they arrive: when, how long the prompt, how long the output.

`open_trace` takes a bundled sampler's name, or a path to a sampler (`.toml`) or a recorded trace, and yields requests
one at a time whatever their number. `load_trace` holds them in a `Trace` of integer columns, to be asked often.
"""

from __future__ import annotations

import itertools
import math
import sys
from array import array
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Protocol

from archsim import files
from archsim.errors import InputError, Problem, did_you_mean
from archsim.units import PS_PER_S
from archsim.workload.readers import open_requests
from archsim.workload.request import LONGEST_PS, NONE, Request, Row, Rows
from archsim.workload.sampler import Sampler, read_sampler
from archsim.workload.servegen import is_servegen, read_clients
from archsim.workload.transforms import retimed

__all__ = [
    "DEFAULT_TRACE",
    "OpenTrace",
    "Request",
    "Trace",
    "bundled_traces",
    "columned",
    "held",
    "little_endian",
    "load_trace",
    "open_trace",
]


DEFAULT_TRACE = "azure-conv"
"""The sampler that stands in where no trace is named."""


class Law(Protocol):
    """What requests are drawn from."""

    def rows(self, seed: int) -> Rows:
        """Return the requests for *seed*, drawn while they are taken."""


_SAMPLERS = ("workloads", "samplers", (".toml",))
_MOST_REQUESTS = 10**7
"""Requests held at once; a file that goes on is refused, not swallowed."""


def _column() -> array[int]:
    return array("q")


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
    sessions: array[int] = field(default_factory=_column)
    """Session of each request; empty where there is none in the whole trace."""
    waits_ps: array[int] = field(default_factory=_column)
    """Time of each request after the one before it in its session, or -1; empty where arrivals alone count."""
    block_ids: array[int] = field(default_factory=_column)
    """Blocks of the prompts, one after the other."""
    block_ends: array[int] = field(default_factory=_column)
    """Where those of each request end in `block_ids`; empty where there are none."""
    block_tokens: int = 0
    """Tokens in a block; 0 where there are none."""

    def __iter__(self) -> Iterator[Request]:
        """Yield the requests."""
        plain = (self.arrivals_ps, self.prompt_tokens, self.output_tokens, range(self.count))
        if not (self.sessions or self.waits_ps or self.block_ends):
            return map(Request, *plain)
        sessions, waits = (column or itertools.repeat(NONE, self.count) for column in (self.sessions, self.waits_ps))
        return map(Request, *plain, sessions, waits, self.blocks())

    def blocks(self) -> Iterator[tuple[int, ...]]:
        """Yield the blocks of every request."""
        if not self.block_ends:
            yield from itertools.repeat((), self.count)
        start = 0
        for end in self.block_ends:
            yield tuple(self.block_ids[start:end])
            start = end

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
    def closed(self) -> bool:
        """Some requests wait for the one before them."""
        return any(wait != NONE for wait in self.waits_ps)

    @property
    def digest_so_far(self) -> str:
        """The same, as all requests are known from the first on."""
        return self.digest

    @property
    def digest(self) -> str:
        """Digest of the requests as they are replayed, whatever file format they came in."""
        columns = [self.arrivals_ps, self.prompt_tokens, self.output_tokens]
        further = [self.sessions, self.waits_ps, self.block_ids, self.block_ends, array("q", [self.block_tokens])]
        if any(further[:4]):
            columns += [array("q", [len(column)]) + column for column in further]
        return files.digest_of(b"".join(little_endian(column) for column in columns))


def little_endian(column: array[int]) -> bytes:
    """Return the bytes of *column* as every machine has them."""
    if sys.byteorder == "big":
        column = array(column.typecode, column)
        column.byteswap()
    return column.tobytes()


def bundled_traces() -> list[str]:
    """Return the names of the bundled samplers, sorted."""
    return files.bundled_names(*_SAMPLERS)


@dataclass(frozen=True, slots=True)
class OpenTrace:
    """A trace that is read or drawn anew whenever it is iterated, in memory that does not grow with it."""

    name: str
    source: str
    options: str
    sampled: bool
    seed: int | None
    limit: int | None
    rate_scale: Fraction
    opened: Callable[[], Rows]
    """Opens it."""
    count: int | None = None
    """Requests, where a sampler says so; None: it must be read to the end."""

    def rows(self) -> Rows:
        """Return its rows, no more than the limit, at the rate that is asked for."""
        rows, block_tokens, sessions = self.opened()
        if self.limit is not None:
            rows = itertools.islice(rows, self.limit)
        return Rows(rows if self.rate_scale == 1 else self._scaled(rows), block_tokens, sessions)

    def __iter__(self) -> Iterator[Request]:
        """Yield the requests. Raises `InputError` where the file is wrong, when it comes to it."""
        rows = self.rows().rows
        return (Request(row[0], row[1], row[2], at, *row[3:]) for at, row in enumerate(rows))

    def _scaled(self, rows: Iterator[Row]) -> Iterator[Row]:
        """Yield *rows* with arrivals divided by the scale, each rounded half up; waits are not of the rate."""
        up, down = self.rate_scale.numerator, self.rate_scale.denominator
        for arrival_ps, *rest in rows:
            scaled = (2 * arrival_ps * down + up) // (2 * up)
            if scaled > LONGEST_PS:
                expected = f"a last arrival within {LONGEST_PS // (PS_PER_S * 86400)} days"
                raise InputError(Problem(self.source, "--rate-scale", str(self.rate_scale), expected))
            yield (scaled, *rest)  # type: ignore[misc]


def open_trace(
    name_or_path: str | None = None,
    limit: int | None = None,
    rate_scale: float | str | Fraction | None = None,
    seed: int = 0,
    *,
    per_s: Fraction | None = None,
) -> OpenTrace:
    """Return the first *limit* requests (default: all) with their rate multiplied by *rate_scale* (default: 1).

    Without a name the trace is `DEFAULT_TRACE`. *rate_scale* is taken as the decimal number it is written as; arrivals
    are divided by it and rounded to a picosecond. *seed* is that of a sampler, and of what spreads arrivals that were
    recorded in ticks. With *per_s* arrivals are drawn instead, a Poisson process of that rate. Raises `InputError` for
    what is no trace; what is wrong further on is found when it is read.
    """
    scale = Fraction(1) if rate_scale is None else _scale(rate_scale)
    if limit is not None and limit < 1:
        raise InputError(Problem("", "--limit", str(limit), "at least 1 request"))
    wanted = DEFAULT_TRACE if name_or_path is None else name_or_path
    path = _find(wanted)
    law: Law | None = None
    if path.suffix == ".toml":
        law = read_sampler(path)
    elif is_servegen(path):
        law = read_clients(path)
    sampled = law is not None
    count = law.requests if isinstance(law, Sampler) and law.session is None else None
    return OpenTrace(
        name=path.name.removesuffix(".gz").rsplit(".", 1)[0],
        source=wanted,
        options=_options(path, sampled=sampled, limit=limit, scale=scale),
        sampled=sampled,
        seed=seed if sampled else None,
        limit=limit,
        rate_scale=scale,
        opened=partial(_opened, path, seed, law, per_s),
        count=count if count is None or limit is None else min(count, limit),
    )


def _opened(path: Path, seed: int, law: Law | None, per_s: Fraction | None) -> Rows:
    rows = open_requests(path, seed, timed=per_s is None) if law is None else law.rows(seed)
    return rows if per_s is None else retimed(rows, per_s, seed)


def load_trace(
    name_or_path: str | None = None,
    limit: int | None = None,
    rate_scale: float | str | Fraction | None = None,
    seed: int = 0,
) -> Trace:
    """Return the requests of `open_trace`, held; raises `InputError` that names file and line."""
    return held(open_trace(name_or_path, limit, rate_scale, seed))


def held(trace: OpenTrace) -> Trace:
    """Return the requests of *trace* in columns. Raises `InputError` for more than fit."""
    rows, block_tokens, _ = trace.rows()
    found = columned(trace, itertools.islice(rows, _MOST_REQUESTS + 1), block_tokens)
    if found.count > _MOST_REQUESTS:
        expected = f"at most {_MOST_REQUESTS:,} requests; --limit takes the first ones"
        raise InputError(Problem(trace.source, "", "", expected))
    return found


def columned(trace: OpenTrace, rows: Iterable[Row], block_tokens: int) -> Trace:
    """Return *rows* of *trace* in columns."""
    arrivals, prompts, outputs, sessions, waits, ids, ends = (_column() for _ in range(7))
    for arrival_ps, prompt, output, session, wait_ps, blocks in rows:
        arrivals.append(arrival_ps)
        prompts.append(prompt)
        outputs.append(output)
        sessions.append(session)
        waits.append(wait_ps)
        if block_tokens:
            ids.extend(blocks)
            ends.append(len(ids))
    if not arrivals:
        raise InputError(Problem(trace.source, "", "", "at least one request"))
    return Trace(
        name=trace.name,
        source=trace.source,
        options=trace.options,
        sampled=trace.sampled,
        seed=trace.seed,
        arrivals_ps=arrivals,
        prompt_tokens=prompts,
        output_tokens=outputs,
        sessions=sessions if any(session != NONE for session in sessions) else _column(),
        waits_ps=waits if any(wait != NONE for wait in waits) else _column(),
        block_ids=ids,
        block_ends=ends if ids else _column(),
        block_tokens=block_tokens if ids else 0,
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
