"""What can be made of a trace: scaled, cut, thinned, merged. Functions from rows to rows, one at a time.

lengths times a factor     rounded half up, at least 1; blocks keep their identity and grow with the prompt, so that
                           what prompts share stays what it is
Poisson arrivals           of a rate, in place of those that a file has or has not
context cut by retrieval   a prompt beyond head + passages tokens keeps its head and gets that many tokens of
                           passages instead of the rest; only the head can equal that of another prompt
share                      whole sessions, and single requests, each by a draw of its own
merge                      in order of arrival; sessions and blocks of different traces stay apart
"""

from __future__ import annotations

import heapq
import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction

from numpy.random import PCG64

from archsim.errors import InputError, Problem
from archsim.workload.draws import exponential, uniforms
from archsim.workload.request import NONE, Row, Rows

__all__ = ["Retrieval", "merged", "retimed", "scaled_lengths", "shared_out", "sliced", "with_retrieval"]

_MOST_TOKENS = 10**9
_AT_ONCE = 4096
_LARGEST = 2**63


def scaled_lengths(rows: Rows, prompt: Fraction, output: Fraction) -> Rows:
    """Return *rows* with prompts and outputs multiplied.

    Raises `InputError` where a block would not be whole tokens, and at a length beyond a thousand million.
    """
    block = rows.block_tokens * prompt
    if block.denominator != 1:
        expected = f"a factor that makes whole tokens of a block of {rows.block_tokens}"
        raise InputError(Problem("", "--prompt-scale", str(float(prompt)), expected))

    def scaled() -> Iterator[Row]:
        for arrival_ps, before, answer, *rest in rows.rows:
            lengths = (_times(before, prompt), _times(answer, output))
            if max(lengths) >= _MOST_TOKENS:
                raise InputError(Problem("", "scale", f"{max(lengths):,} tokens", "lengths below 1,000,000,000 tokens"))
            yield (arrival_ps, *lengths, *rest)  # type: ignore[misc]

    return rows._replace(rows=scaled(), block_tokens=int(block))


def _times(tokens: int, factor: Fraction) -> int:
    return max(1, math.floor(tokens * factor + Fraction(1, 2)))


@dataclass(frozen=True, slots=True)
class Retrieval:
    """Retrieved passages instead of the whole context."""

    head_tokens: int
    """First tokens of a prompt that stay: instructions and question."""
    passage_tokens: int
    """Tokens of the passages that replace the rest."""


def with_retrieval(rows: Rows, law: Retrieval) -> Rows:
    """Return *rows* whose prompts are cut to what *law* retrieves."""
    most = law.head_tokens + law.passage_tokens

    def cut() -> Iterator[Row]:
        for row in rows.rows:
            if row[1] <= most:
                yield row
                continue
            kept = row[5][: law.head_tokens // rows.block_tokens] if rows.block_tokens else ()
            yield (row[0], most, row[2], row[3], row[4], kept)

    return rows._replace(rows=cut())


def retimed(rows: Rows, per_s: Fraction, seed: int) -> Rows:
    """Return *rows* at the arrivals of a Poisson process of *per_s* requests a second, in their order.

    Raises `InputError` for sessions, whose requests wait for one another.
    """
    if rows.sessions:
        raise InputError(Problem("", "--poisson", str(per_s), "requests without sessions"))

    def timed() -> Iterator[Row]:
        bits, at_ns = PCG64(seed), 0
        while together := list(itertools.islice(rows.rows, _AT_ONCE)):
            gaps = exponential(uniforms(bits, len(together))) * 1e9 / float(per_s)
            for gap_ns, row in zip(gaps.tolist(), together, strict=True):
                at_ns += round(gap_ns)
                yield (at_ns * 1000, *row[1:])

    return rows._replace(rows=timed())


def shared_out(rows: Rows, share: Fraction, seed: int) -> Rows:
    """Return about that *share* of *rows*: all requests of a session, or none."""
    bound = math.floor(share * 2**64)

    def kept() -> Iterator[Row]:
        for number, row in enumerate(rows.rows):
            alone = row[3] == NONE
            if _mixed(seed, 2 * (number if alone else row[3]) + alone) < bound:
                yield row

    return rows._replace(rows=kept())


def _mixed(seed: int, key: int) -> int:
    """Return 64 bits that depend on both alone: SplitMix64 (Steele, Lea and Flood, OOPSLA 2014)."""
    word = (seed + 0x9E3779B97F4A7C15 * (key + 1)) % 2**64
    word = (word ^ word >> 30) * 0xBF58476D1CE4E5B9 % 2**64
    word = (word ^ word >> 27) * 0x94D049BB133111EB % 2**64
    return word ^ word >> 31


def sliced(rows: Rows, start_ps: int, span_ps: int | None) -> Rows:
    """Return *rows* that arrive from *start_ps* on, for *span_ps*, on a clock that starts there.

    A request that waits for one before the slice arrives at its earliest time instead.
    """

    def inside() -> Iterator[Row]:
        known: set[int] = set()
        for arrival_ps, prompt, output, session, wait_ps, blocks in rows.rows:
            if arrival_ps < start_ps:
                continue
            if span_ps is not None and arrival_ps >= start_ps + span_ps:
                return
            wait = wait_ps if session in known else NONE
            if session != NONE:
                known.add(session)
            yield arrival_ps - start_ps, prompt, output, session, wait, blocks

    return rows._replace(rows=inside())


def merged(traces: Sequence[Rows]) -> Rows:
    """Return the rows of all *traces* by arrival, those of an instant in the order of the traces.

    Blocks of different sizes become blocks of their greatest common divisor.
    """
    tokens = math.gcd(*(trace.block_tokens for trace in traces))
    if tokens and max(trace.block_tokens for trace in traces) // tokens > _MOST_PARTS:
        expected = (
            f"traces whose blocks have a common size, not {', '.join(str(t.block_tokens) for t in traces)} tokens"
        )
        raise InputError(Problem("", "blocks", "", expected))
    apart = [_apart(trace, place, len(traces), tokens) for place, trace in enumerate(traces)]
    rows = heapq.merge(*apart, key=lambda row: row[0])
    return Rows(rows, tokens, any(trace.sessions for trace in traces))


_MOST_PARTS = 64


def _apart(trace: Rows, place: int, count: int, tokens: int) -> Iterator[Row]:
    parts = trace.block_tokens // tokens if tokens else 0
    for arrival_ps, prompt, output, session, wait_ps, blocks in trace.rows:
        own = session if session == NONE else session * count + place
        ids = [(block * parts + part) * count + place for block in blocks for part in range(parts)]
        if own >= _LARGEST or (ids and max(ids) >= _LARGEST):
            expected = f"identities of sessions and blocks that leave room for {count} traces below 2^63"
            raise InputError(Problem("", "merge", str(max([own, *ids])), expected))
        yield arrival_ps, prompt, output, own, wait_ps, tuple(ids[: -(-prompt // tokens)] if tokens else ())
