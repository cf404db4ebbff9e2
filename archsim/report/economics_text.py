"""Cost and carbon of a result in words: for the lines of `run`, the columns of `compare`, the table of `economics`.

A sum that leaves parts out for want of a figure is a lower bound, and stands with "at least" or ">".
"""

from __future__ import annotations

from collections.abc import Sequence

from archsim.result import Bounds, Carbon, Cost, Result

__all__ = ["amount", "cost_cells", "cost_lines", "mixed_bases", "spread"]

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
