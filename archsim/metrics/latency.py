"""Latency and throughput of requests: pure functions over columns of integer picoseconds.

A request that was rejected has -1 for its first token and its finish; it has no latency and counts in no mean.

    TTFT = first token - arrival            TPOT = (finish - first token) / (output tokens - 1)
    end to end = finish - arrival           throughput = of completed requests / elapsed time

TPOT is undefined for one output token: there is no token after the first. A percentile is the nearest rank: the
smallest value that at least p percent of all values do not exceed, so it is always a value that occurred, and exact.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from archsim.units import PS_PER_S, seconds_of

__all__ = [
    "PERCENTS",
    "distribution",
    "end_to_end_s",
    "percentile",
    "rates",
    "summary",
    "throughput",
    "tpot_s",
    "ttft_s",
]

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

PERCENTS = (50, 90, 95, 99)
"""The percentiles of a `summary`."""


def ttft_s(arrival_ps: Ints, first_token_ps: Ints) -> Floats:
    """Return seconds from arrival to first token, of the requests that have one, in their order."""
    served = first_token_ps >= 0
    return _seconds(first_token_ps[served] - arrival_ps[served])


def tpot_s(first_token_ps: Ints, finish_ps: Ints, output_tokens: Ints) -> Floats:
    """Return mean seconds per token after the first, of the finished requests with two or more output tokens."""
    served = (finish_ps >= 0) & (output_tokens > 1)
    return _seconds(finish_ps[served] - first_token_ps[served]) / (output_tokens[served] - 1)


def end_to_end_s(arrival_ps: Ints, finish_ps: Ints) -> Floats:
    """Return seconds from arrival to the last token, of the finished requests, in their order."""
    served = finish_ps >= 0
    return _seconds(finish_ps[served] - arrival_ps[served])


def _seconds(picoseconds: Ints) -> Floats:
    return picoseconds / np.float64(PS_PER_S)


def percentile(ordered: npt.NDArray[Any], percent: int) -> float:
    """Return the nearest-rank percentile of a non-empty column in ascending order, 1 <= *percent* <= 100."""
    if not 1 <= percent <= 100 or not len(ordered):
        raise ValueError(f"a percentile from 1 to 100 of at least one value, not {percent} of {len(ordered)}")
    rank = -(-percent * len(ordered) // 100)
    return float(ordered[rank - 1])


def summary(values: Floats) -> dict[str, float | None]:
    """Return mean and `PERCENTS` of *values* as `{"mean", "p50", ...}`; None throughout where there are none."""
    names = ["mean", *(f"p{percent}" for percent in PERCENTS)]
    if not len(values):
        return dict.fromkeys(names)
    ordered = np.sort(values)
    mean = math.fsum(ordered.tolist()) / len(ordered)
    return dict(zip(names, [mean, *(percentile(ordered, percent) for percent in PERCENTS)], strict=True))


def distribution(values: Floats) -> tuple[Floats, Floats]:
    """Return the steps of the empirical distribution: ascending values and the share of values up to each."""
    ordered = np.sort(values)
    return ordered, np.arange(1, len(ordered) + 1) / max(1, len(ordered))


def throughput(finish_ps: Ints, output_tokens: Ints, *, elapsed_ps: int, chips: int) -> dict[str, float | None]:
    """Return output tokens and requests per second of the completed requests over *elapsed_ps*; None where it is 0."""
    served = finish_ps >= 0
    return rates(int(output_tokens[served].sum()), int(served.sum()), elapsed_ps=elapsed_ps, chips=chips)


def rates(tokens: int, requests: int, *, elapsed_ps: int, chips: int) -> dict[str, float | None]:
    """Return what `throughput` does, of output *tokens* of completed *requests*."""
    if elapsed_ps <= 0:
        return dict.fromkeys(("output_tokens_per_s", "output_tokens_per_s_per_chip", "requests_per_s"))
    tokens_per_s = tokens / seconds_of(elapsed_ps)
    return {
        "output_tokens_per_s": tokens_per_s,
        "output_tokens_per_s_per_chip": tokens_per_s / chips,
        "requests_per_s": requests / seconds_of(elapsed_ps),
    }
