"""The 80 % interval of a metric of a point, from the ends that its row has.

A row holds the ends for output tokens/s, the mean time per output token and the rate at saturation (`METRICS`).
Quotients of the rate by what is known have its relative interval; the median time per token is taken to have that of
the mean, which it is in a single step, and tokens/s of one user are its inverse. Other metrics have none: the ends of
energy and cost are ranges of prices and devices, not probabilities.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from archsim.study.metrics import Number

__all__ = ["EXTRAPOLATED", "Bar", "bar_of", "is_extrapolated", "is_uncertainty", "needed_of"]

_RATE, _TIME = "tokens_per_s", "tpot_s_mean"
_BASES = {
    _RATE: _RATE,
    "tokens_per_s_per_chip": _RATE,
    "tokens_per_s_per_w": _RATE,
    "tokens_per_s_per_mm2": _RATE,
    "tokens_per_s_per_usd": _RATE,
    _TIME: _TIME,
    "tpot_s_p50": _TIME,
    "tokens_per_s_per_user": _TIME,
    "saturation_tokens_per_s": "saturation_tokens_per_s",
}
"""Metric -> the one that has ends in a row."""
_INVERSE = frozenset({"tokens_per_s_per_user"})
EXTRAPOLATED = "extrapolated"
"""Metric that is 1 where a point lies outside what was validated."""
_ENDS = frozenset(f"{base}_{end}" for base in _BASES.values() for end in ("low", "high"))


@dataclass(frozen=True, slots=True)
class Bar:
    """Ends of an interval, in the unit of its metric."""

    low: float
    high: float


def needed_of(metric: str) -> frozenset[str]:
    """Return the metrics of a row that a figure of *metric* with its interval reads."""
    base = _BASES.get(metric)
    return frozenset({metric, EXTRAPOLATED} | ({base, f"{base}_low", f"{base}_high"} if base else set()))


def bar_of(metric: str, metrics: Mapping[str, Number]) -> Bar | None:
    """Return the 80 % interval of *metric* in a row of *metrics*; None where it has none."""
    base = _BASES.get(metric)
    if base is None:
        return None
    value, middle, low, high = (metrics.get(name) for name in (metric, base, f"{base}_low", f"{base}_high"))
    if not value or not middle or not low or not high:
        return None
    if metric == base:
        return Bar(low, high)
    if metric in _INVERSE:
        return Bar(value * middle / high, value * middle / low)
    return Bar(value * low / middle, value * high / middle)


def is_extrapolated(metrics: Mapping[str, Number]) -> bool:
    """Return whether a row of *metrics* lies outside what was validated."""
    return bool(metrics.get(EXTRAPOLATED))


def is_uncertainty(metric: str) -> bool:
    """Return whether *metric* says how certain others are, rather than what a point gives."""
    return metric == EXTRAPOLATED or metric in _ENDS
