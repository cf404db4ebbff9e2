"""What tokens cost, and emit, as rows of a result; the arithmetic is that of `archsim.economics`."""

from __future__ import annotations

from typing import Literal

from pydantic import FiniteFloat

from archsim.metrics.row import Row

__all__ = ["Bounds", "Carbon", "Cost"]


class Bounds(Row):
    """A figure with the ends of what its sources allow."""

    low: FiniteFloat
    mid: FiniteFloat
    high: FiniteFloat


class Cost(Row):
    """What the tokens cost, with the system paid off over its life and idle for a part of the day."""

    economics: str
    """Name of the file of prices."""
    economics_digest: str
    region: str
    """Of the energy price, in that file."""
    basis: Literal["price", "parts"]
    """What the chips cost: the price that their file states, or what they are built of, with a markup."""
    usd_per_million_output_tokens: FiniteFloat
    usd_per_million_output_tokens_low: FiniteFloat
    usd_per_million_output_tokens_high: FiniteFloat
    usd_per_query: Bounds | None
    """Mean over the completed requests; None without any."""
    usd_per_user_month: Bounds
    """Of a user who asks as often, and for as long answers, as the file says."""
    by_part: dict[str, Bounds]
    """Part -> USD per million output tokens; they sum to the figures above."""
    capital_usd: dict[str, Bounds]
    """Part -> what the system's cost to buy."""
    included: list[str]
    """Parts that are paid with another: what a chip with a price is built of."""
    absent: list[str]
    """Parts without a figure: sums are lower bounds while one stands here."""


class Carbon(Row):
    """Operational and embodied emissions of the tokens."""

    region: str
    """Of the grid."""
    g_co2e_per_million_output_tokens: FiniteFloat
    g_co2e_per_million_output_tokens_low: FiniteFloat
    g_co2e_per_million_output_tokens_high: FiniteFloat
    operational_g_per_million_output_tokens: Bounds
    embodied_g_per_million_output_tokens: Bounds
    by_part: dict[str, Bounds]
    """Part -> g CO2e per million output tokens; they sum to the figures above."""
    embodied_kg: dict[str, Bounds]
    """Part -> kg CO2e of making the system's."""
    absent: list[str]
    """Parts without a figure: sums are lower bounds while one stands here."""
