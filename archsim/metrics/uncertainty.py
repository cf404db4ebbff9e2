"""The error bar of a prediction as rows of a result; how it is found is the matter of `archsim.uncertainty`."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat

__all__ = ["Interval", "Uncertainty"]

Share = Annotated[FiniteFloat, Field(ge=0)]


class _Row(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Interval(_Row):
    """Where the measured value lies with the probability that `Uncertainty` states."""

    low: FiniteFloat
    high: FiniteFloat


class Uncertainty(_Row):
    """The error bar of a prediction: how far off the suites' rows of the same mechanisms were."""

    level: Share
    """Probability that an interval holds the measured value."""
    half_width: Share
    """Of ln(measured / predicted) of the time per output token."""
    shares: dict[str, Share]
    """Mechanism -> share of that time; they sum to 1."""
    parts: dict[str, Share]
    """Mechanism, `between` silicons, or reason of extrapolation -> its part of the half-width, added in quadrature."""
    extrapolated: list[str]
    """Where the design lies outside what was validated; empty: nowhere."""
    tpot_s: Interval
    """Of the mean time per output token."""
    ttft_s: Interval | None = None
    """Of the mean time to the first token, from how far off the suites' times to it were; None without requests."""
    output_tokens_per_s: Interval
    saturation_output_tokens_per_s: Interval | None
