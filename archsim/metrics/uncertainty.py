"""The error bar of a prediction as rows of a result; how it is found is the matter of `archsim.uncertainty`."""

from __future__ import annotations

from pydantic import FiniteFloat

from archsim.metrics.row import NonNegative, Row

__all__ = ["Interval", "Uncertainty"]


class Interval(Row):
    """Where the measured value lies with the probability that `Uncertainty` states."""

    low: FiniteFloat
    high: FiniteFloat


class Uncertainty(Row):
    """The error bar of a prediction: how far off the suites' rows of the same mechanisms were."""

    level: NonNegative
    """Probability that an interval holds the measured value."""
    half_width: NonNegative
    """Of ln(measured / predicted) of the time per output token."""
    shares: dict[str, NonNegative]
    """Mechanism -> share of that time; they sum to 1."""
    parts: dict[str, NonNegative]
    """Mechanism, `between` silicons, or reason of extrapolation -> its part of the half-width, added in quadrature."""
    extrapolated: list[str]
    """Where the design lies outside what was validated; empty: nowhere."""
    tpot_s: Interval
    """Of the mean time per output token."""
    ttft_s: Interval | None = None
    """Of the mean time to the first token, from how far off the suites' times to it were; None without requests."""
    output_tokens_per_s: Interval
    saturation_output_tokens_per_s: Interval | None
