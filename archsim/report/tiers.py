"""The tiers of a chip as a table: what each memory holds, how much of its peak is useful, and how long flash lasts."""

from __future__ import annotations

import math

from rich.table import Table

from archsim.metrics.accounts import USEFUL
from archsim.report.views import decode_phase, percent
from archsim.result import Result
from archsim.units import format_quantity

__all__ = ["tier_table"]

_COLUMNS = ("tier, of one chip", "usable", "weights", "room for KV", "activations", "context", "useful", "wears out in")


def tier_table(result: Result) -> Table:
    """Return a line for each memory of the placement of *result*, which has one."""
    table = Table(box=None, header_style="bold", pad_edge=False, padding=(0, 2, 0, 0))
    for place, column in enumerate(_COLUMNS):
        table.add_column(column, justify="right" if place else "left", no_wrap=True)
    for name, tier in (result.placement or {}).items():
        held = (tier.usable_bytes, tier.weight_bytes, tier.kv_bytes, tier.activation_bytes, tier.context_bytes)
        years = tier.years_to_wear_out
        table.add_row(
            name,
            *("-" if size == 0 else format_quantity(size, "bytes", digits=3) for size in held),
            percent(_useful(result, name)),
            "-" if years is None else f"{years:,.3g} years",
        )
    return table


def _useful(result: Result, memory: str) -> float | None:
    """Return the useful share of the peak of *memory* on all chips while decoding."""
    phase = decode_phase(result)
    if phase is None:
        return None
    # A memory with near-memory units has a book of its arrays, which all of its bytes pass.
    scopes = [scope for name, scope in phase.ledger.items() if name.endswith((f".{memory}", f".{memory}.array"))]
    booked = math.fsum(scope.peak_per_s for scope in scopes)
    useful = [scope.accounts.get(name, 0.0) * scope.peak_per_s for scope in scopes for name in USEFUL]
    return math.fsum(useful) / booked
