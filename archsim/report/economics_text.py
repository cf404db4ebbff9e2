"""Cost and carbon of a result in words: for the lines of `run`, the columns of `compare`, the table of `economics`.

A sum that leaves parts out for want of a figure is a lower bound, and stands with "at least" or ">".
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.table import Table

from archsim.economics.growth import Demand, Scale
from archsim.economics.ranges import ENDS
from archsim.result import Bounds, Carbon, Cost, Result, Saturation
from archsim.units import format_quantity

__all__ = [
    "amount",
    "case_headline",
    "cost_cells",
    "cost_lines",
    "curve_rows",
    "curve_table",
    "mixed_bases",
    "spread",
]

_MOST_PARTS = 4
"""Parts that are told, the largest first."""


def amount(value: float) -> str:
    """Return *value* with three digits, thousands set apart."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def spread(value: Bounds) -> str:
    """Return the middle with its ends."""
    return f"{amount(value.mid)} ({amount(value.low)} to {amount(value.high)})"


def cost_cells(result: Result) -> tuple[str, str]:
    """Return USD and g CO2e per million output tokens; `>` before a lower bound, `*` behind chips by their parts.

    Of chips whose silicon has no price there is no cost to show.
    """
    cost, carbon = result.cost, result.carbon
    unknown = cost is None or "chip.die" in cost.absent
    return (
        "-"
        if unknown or cost is None
        else f"{_mark(cost)}{amount(cost.usd_per_million_output_tokens)}{'*' if cost.basis == 'parts' else ''}",
        "-" if carbon is None else f"{_mark(carbon)}{amount(carbon.g_co2e_per_million_output_tokens)}",
    )


def _mark(found: Cost | Carbon) -> str:
    return ">" if found.absent else ""


def cost_lines(result: Result) -> list[tuple[str, str]]:
    """Return the lines of one run: USD by part, g CO2e, and what has no figure."""
    cost, carbon = result.cost, result.carbon
    lines = []
    if cost is not None:
        lines.append(("cost", _cost(cost)))
    if carbon is not None:
        lines.append(("carbon", _carbon(carbon)))
    absent = [*(cost.absent if cost else []), *(carbon.absent if carbon else [])]
    if absent:
        lines.append(("without a price", ", ".join(dict.fromkeys(absent))))
    return lines


def _cost(cost: Cost) -> str:
    middle = cost.usd_per_million_output_tokens
    whole = Bounds(low=cost.usd_per_million_output_tokens_low, mid=middle, high=cost.usd_per_million_output_tokens_high)
    largest = sorted(cost.by_part.items(), key=lambda item: (-item[1].mid, item[0]))[:_MOST_PARTS]
    parts = ", ".join(f"{part} {100 * share.mid / middle:.0f} %" for part, share in largest if middle)
    bound = "at least " if cost.absent else ""
    how = "" if cost.basis == "price" else ", chips by their parts"
    return f"{bound}{spread(whole)} USD a million output tokens in {cost.region}{how}; {parts}"


def _carbon(carbon: Carbon) -> str:
    whole = Bounds(
        low=carbon.g_co2e_per_million_output_tokens_low,
        mid=carbon.g_co2e_per_million_output_tokens,
        high=carbon.g_co2e_per_million_output_tokens_high,
    )
    bound = "at least " if carbon.absent else ""
    embodied = amount(carbon.embodied_g_per_million_output_tokens.mid)
    return f"{bound}{spread(whole)} g CO2e a million output tokens, {embodied} of it embodied"


def mixed_bases(results: Sequence[Result]) -> str:
    """Return a line that says whose chips cost what; empty where all are priced alike or cost nothing known."""
    costs = {result.system.name: result.cost for result in results if result.cost is not None}
    bases = {name: cost.basis for name, cost in costs.items() if "chip.die" not in cost.absent}
    if "parts" not in bases.values():
        return ""
    built = ", ".join(name for name, basis in bases.items() if basis == "parts")
    mixed = "" if len(set(bases.values())) == 1 else "; others state a price: --basis parts builds up all alike"
    return f"* chips built up from their parts with a markup: {built}{mixed}"


def case_headline(result: Result, found: Saturation, demand: Demand) -> str:
    """Return what a system delivers at its service level, what it costs to buy, and what users ask for."""
    rate = amount(found.output_tokens_per_s or 0.0)
    level = format_quantity(found.at_slo.tpot_p99_s, "s")
    asked = f"a user asks {demand.queries_per_day:g} times a day for {demand.output_tokens_per_query:.0f} tokens"
    lines = [
        f"{result.system.title}: {result.model.name} {result.model.precision}",
        f"{rate} output tokens/s at TPOT p99 <= {level} ({found.requests:,} requests); {asked}",
    ]
    if result.cost is not None:
        parts = ", ".join(f"{part} {amount(usd.mid)}" for part, usd in result.cost.capital_usd.items())
        lines.append(f"one system, USD: {parts}")
        if result.cost.absent:
            lines.append(f"without a price, so that costs are lower bounds: {', '.join(result.cost.absent)}")
    return "\n".join(lines)


def curve_table(points: Sequence[Scale], chips: int) -> Table:
    """Return a line for each number of users: systems, chips, load, and costs with their ends."""
    table = Table(box=None, header_style="bold", pad_edge=False, padding=(0, 2, 0, 0))
    money = ("USD/Mtok", "low", "high", "USD/user/month", "low", "high", "gCO2/Mtok")
    for title in ("users", "systems", "low", "high", "chips", "load", *money):
        table.add_column(title, justify="right", no_wrap=True)
    for point in points:
        low, mid, high = point.systems
        table.add_row(
            *(f"{count:,}" for count in (point.users, mid, low, high, mid * chips)), f"{100 * point.load.mid:.1f} %",
            *_middle_first(point.usd_per_million_tokens), *_middle_first(point.usd_per_user_month),
            amount(point.g_co2e_per_million_tokens.mid),
        )  # fmt: skip
    return table


def _middle_first(value: tuple[float, float, float]) -> tuple[str, str, str]:
    low, mid, high = value
    return amount(mid), amount(low), amount(high)


def curve_rows(points: Sequence[Scale], chips: int) -> list[dict[str, Any]]:
    """Return the points as plain rows."""
    return [
        {
            "users": point.users,
            "systems": dict(zip(ENDS, point.systems, strict=True)),
            "chips": dict(zip(ENDS, (chips * number for number in point.systems), strict=True)),
            "load": dict(zip(ENDS, point.load, strict=True)),
            "usd_per_million_output_tokens": point.usd_per_million_tokens._asdict(),
            "usd_per_query": point.usd_per_query._asdict(),
            "usd_per_user_month": point.usd_per_user_month._asdict(),
            "g_co2e_per_million_output_tokens": point.g_co2e_per_million_tokens._asdict(),
        }
        for point in points
    ]
