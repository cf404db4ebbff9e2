"""What a trace is like: rate, quantiles, burstiness, correlation. Pure functions over its columns.

    rate = requests / span                          span = time of the last arrival, from zero
    inter-arrival CV = standard deviation / mean of the gaps (1 for a Poisson process, more for bursts)
    busiest minute = requests of the fullest whole minute / mean of all whole minutes
    correlation = Pearson's, of prompt and output tokens
    prefix share = prompt tokens in leading blocks that an earlier prompt held / all prompt tokens: the most that a
                   cache of prefixes could serve, which nothing leaves and every prompt enters as it arrives

Quantiles are linear between order statistics. What is undefined (one request, no whole minute, equal lengths) is None.
"""

from __future__ import annotations

import itertools
import math
from array import array
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from archsim.errors import InputError, Problem
from archsim.units import PS_PER_S, seconds_of
from archsim.workload.closed_loop import ClosedLoop
from archsim.workload.decode_trace import DecodeTrace
from archsim.workload.request import NONE
from archsim.workload.stream import Stream
from archsim.workload.trace import Trace

__all__ = ["PERCENTS", "Lengths", "TraceStatistics", "describe", "mean_context", "quantile"]

PERCENTS = ("1", "5", "25", "50", "75", "90", "95", "99", "99.9")
"""The quantiles of `Lengths`, in percent."""

_MINUTE_PS = 60 * PS_PER_S
_FIRST = 100_000


@dataclass(frozen=True, slots=True)
class Lengths:
    """Distribution of a token count."""

    mean: float
    smallest: int
    largest: int
    total: int
    quantiles: dict[str, float]
    """Percent, as in `PERCENTS`, to tokens."""


@dataclass(frozen=True, slots=True)
class TraceStatistics:
    """A trace in numbers."""

    requests: int
    span_s: float
    requests_per_s: float | None
    interarrival_cv: float | None
    busiest_minute: float | None
    """Over the mean of the whole minutes."""
    correlation: float | None
    """Of prompt and output tokens."""
    prompt_tokens: Lengths
    output_tokens: Lengths
    prefix_share: float | None = None
    """Of prompt tokens; None where the trace has no blocks."""
    distinct_blocks: int | None = None
    sessions: int | None = None
    """None where the trace knows none."""
    waiting: int | None = None
    """Requests that wait for the one before them in their session."""


def describe(trace: Trace) -> TraceStatistics:
    """Return the statistics of *trace*."""
    span_ps = trace.arrivals_ps[-1]
    share, distinct = _prefixes(trace)
    return TraceStatistics(
        requests=trace.count,
        span_s=seconds_of(span_ps),
        requests_per_s=trace.count / seconds_of(span_ps) if span_ps else None,
        interarrival_cv=_interarrival_cv(trace.arrivals_ps),
        busiest_minute=_busiest_minute(trace.arrivals_ps),
        correlation=_correlation(trace.prompt_tokens, trace.output_tokens),
        prompt_tokens=_lengths(trace.prompt_tokens),
        output_tokens=_lengths(trace.output_tokens),
        prefix_share=share,
        distinct_blocks=distinct,
        sessions=len(set(trace.sessions)) if trace.sessions else None,
        waiting=sum(wait != NONE for wait in trace.waits_ps) if trace.waits_ps else None,
    )


def _prefixes(trace: Trace) -> tuple[float, int] | tuple[None, None]:
    """Return the share of prompt tokens in leading blocks seen before, and the number of different blocks."""
    if not trace.block_tokens:
        return None, None
    known: set[int] = set()
    served = 0
    for prompt, blocks in zip(trace.prompt_tokens, trace.blocks(), strict=True):
        leading = next((at for at, block in enumerate(blocks) if block not in known), len(blocks))
        served += min(leading * trace.block_tokens, prompt)
        known.update(blocks)
    return served / sum(trace.prompt_tokens), len(known)


def quantile(ordered: Sequence[int], percent: str) -> float:
    """Return the quantile of *ordered* (rising, not empty) at *percent*, linear between order statistics."""
    whole, _, decimals = percent.partition(".")
    unit: int = 10 ** (2 + len(decimals))
    at, rest = divmod(int(whole + decimals) * (len(ordered) - 1), unit)
    above = ordered[min(at + 1, len(ordered) - 1)]
    return ordered[at] + rest * (above - ordered[at]) / unit


def _lengths(column: array[int]) -> Lengths:
    ordered, total = sorted(column), sum(column)
    return Lengths(
        mean=total / len(ordered),
        smallest=ordered[0],
        largest=ordered[-1],
        total=total,
        quantiles={percent: quantile(ordered, percent) for percent in PERCENTS},
    )


def _interarrival_cv(arrivals_ps: array[int]) -> float | None:
    gaps = [after - before for before, after in itertools.pairwise(arrivals_ps)]
    total = sum(gaps)
    if not total:
        return None
    # Variance over squared mean, in integers: n * sum(g^2) / sum(g)^2 - 1.
    excess = len(gaps) * sum(gap * gap for gap in gaps) - total * total
    return math.sqrt(excess / (total * total))


def _busiest_minute(arrivals_ps: array[int]) -> float | None:
    minutes = arrivals_ps[-1] // _MINUTE_PS
    counts = Counter(arrival // _MINUTE_PS for arrival in arrivals_ps)
    del counts[minutes]  # the last minute is not whole
    inside = counts.total()
    return max(counts.values()) * minutes / inside if inside else None


def _correlation(first: array[int], second: array[int]) -> float | None:
    count, sum_first, sum_second = len(first), sum(first), sum(second)
    spread_first = count * sum(value * value for value in first) - sum_first * sum_first
    spread_second = count * sum(value * value for value in second) - sum_second * sum_second
    if not (spread_first and spread_second):
        return None
    joint = count * sum(a * b for a, b in zip(first, second, strict=True)) - sum_first * sum_second
    return joint / (math.sqrt(spread_first) * math.sqrt(spread_second))


def mean_context(trace: Trace | Stream | ClosedLoop | DecodeTrace) -> int:
    """Return the mean tokens that a decoding sequence of *trace* attends to: its prompt and half of its output.

    Of a stream, its first 100,000 requests stand for all.
    """
    if isinstance(trace, ClosedLoop):
        return trace.prompt_tokens + trace.output_tokens // 2
    if isinstance(trace, DecodeTrace):
        return trace.mean_context
    if isinstance(trace, Stream):
        lengths = [(row[1], row[2]) for row in itertools.islice(trace.rows(), _FIRST)]
        return max(1, sum(2 * prompt + output for prompt, output in lengths) // (2 * len(lengths)))
    if not trace.count:
        raise InputError(Problem(trace.name, "", "", "at least one request"))
    return max(1, (2 * sum(trace.prompt_tokens) + sum(trace.output_tokens)) // (2 * trace.count))
