"""Rows of a result about a cascade: what became of its requests, the part of result.json under `cascade`."""

from __future__ import annotations

from typing import Literal

from pydantic import FiniteFloat

from archsim.metrics.row import Count, NonNegative, Row

__all__ = ["CascadeClass", "CascadeFacts", "Outcome", "Spread"]

Outcome = Literal["accepted", "escalated", "skipped"]
"""The first model's answer is kept, the second one answers after it, or at once."""


class Spread(Row):
    """Mean and exact percentiles, seconds; None where no request has the latency."""

    mean: FiniteFloat | None
    p50: FiniteFloat | None
    p90: FiniteFloat | None
    p95: FiniteFloat | None
    p99: FiniteFloat | None


class CascadeClass(Row):
    """Requests that ended alike."""

    requests: Count
    """Completed ones."""
    share: NonNegative
    """Of all completed requests."""
    output_tokens: Count
    """Of the answers that were kept."""
    discarded_tokens: Count
    """What the first model wrote of answers that were not."""
    ttft_s: Spread
    tpot_s: Spread
    e2e_s: Spread
    time_shares: dict[str, NonNegative]
    """Pool -> their share of its time, idle time with it."""
    joules_per_request: FiniteFloat | None
    """On all pools that worked for them; None where a pool's energy is not known."""
    usd_per_request: FiniteFloat | None
    """As above, by the shares of time; None without prices."""


class CascadeFacts(Row):
    """What a cascade did."""

    first: str
    """Pool that every request begins on."""
    second: str
    classes: dict[Outcome, CascadeClass]
    """Those that occurred."""
