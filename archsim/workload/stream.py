"""Traces of more requests than are held: read or drawn while they are replayed, one at a time.

`open_traffic` chooses. Up to `MOST_EXACT` requests a trace is held, and its latencies are exact. Beyond, it is a
`Stream`: a file is first read once, so that what is wrong in its last line is found before a long run, and its requests
are counted; a sampler says how many it draws. Requests that wait for others (sessions) cannot be read one by one: such
a trace is held in any case.
"""

from __future__ import annotations

import hashlib
import itertools
from array import array
from collections.abc import Iterable, Iterator

from archsim.workload.request import Request, Row
from archsim.workload.trace import OpenTrace, Trace, columned, held, little_endian, open_trace

__all__ = ["MOST_EXACT", "Stream", "open_traffic"]

MOST_EXACT = 10**6
"""Requests up to which all are kept and percentiles are exact."""
_AT_ONCE = 4096


class Stream:
    """Requests in order of arrival, each there only while it is served."""

    closed = False
    """None of them waits for another."""

    def __init__(self, opened: OpenTrace, count: int, block_tokens: int = 0) -> None:
        self._opened = opened
        self._sums = _Sums()
        self._whole: str | None = None
        self.count = count
        self.block_tokens = block_tokens

    @property
    def name(self) -> str:
        """What errors and results call it."""
        return self._opened.name

    @property
    def options(self) -> str:
        """Command-line options that ask for it."""
        return self._opened.options

    @property
    def sampled(self) -> bool:
        """Drawn from published quantiles, not recorded."""
        return self._opened.sampled

    def __iter__(self) -> Iterator[Request]:
        """Yield the requests from the first on."""
        return (Request(row[0], row[1], row[2], at, *row[3:]) for at, row in enumerate(self.rows()))

    def rows(self) -> Iterator[Row]:
        """Yield the same as plain rows."""
        self._sums = sums = _Sums()
        yield from sums.passing(self._opened.rows().rows)
        self._whole = sums.digest

    @property
    def digest(self) -> str:
        """Digest of all requests, taken by the 4,096: not that of a held trace. They are read if nobody has."""
        if self._whole is None:
            for _ in self.rows():
                pass
        return self._whole or ""

    @property
    def digest_so_far(self) -> str:
        """Digest of the requests that the last iterator has yielded."""
        return self._sums.digest


class _Sums:
    """A digest of rows that pass."""

    def __init__(self) -> None:
        self._hash = hashlib.sha256()
        self._pending: list[Row] = []

    def passing(self, rows: Iterable[Row]) -> Iterator[Row]:
        pending = self._pending
        for row in rows:
            pending.append(row)
            yield row
            if len(pending) == _AT_ONCE:
                self._hash.update(_bytes_of(pending))
                pending.clear()

    @property
    def digest(self) -> str:
        whole = self._hash.copy()
        whole.update(_bytes_of(self._pending))
        return "sha256:" + whole.hexdigest()[:16]


def _bytes_of(rows: list[Row]) -> bytes:
    arrivals, prompts, outputs, _, _, blocks = zip(*rows, strict=True) if rows else ((),) * 6
    columns = [array("q", column) for column in (arrivals, prompts, outputs)]
    if any(blocks):
        columns += [array("q", (len(own), *own)) for own in blocks]
    return b"".join(little_endian(column) for column in columns)


def open_traffic(
    name_or_path: str | None = None, limit: int | None = None, rate_scale: str | None = None, seed: int = 0
) -> Trace | Stream:
    """Return the requests of `archsim.workload.trace.open_trace`: held, or a stream of more than `MOST_EXACT`.

    Raises `InputError` that names file and line, and for more sessions than are held.
    """
    opened = open_trace(name_or_path, limit, rate_scale, seed)
    if opened.count is not None and opened.count > MOST_EXACT:
        return Stream(opened, opened.count)
    rows, block_tokens, sessions = opened.rows()
    if sessions:
        return held(opened)
    first = columned(opened, itertools.islice(rows, MOST_EXACT), block_tokens)
    more = sum(1 for _ in rows)
    return Stream(opened, first.count + more, block_tokens) if more else first
