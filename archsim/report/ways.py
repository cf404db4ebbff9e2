"""The ways of spreading a model over a system that a search compared, as a table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from rich.table import Table

from archsim.report.views import percent
from archsim.units import format_quantity

__all__ = ["Way", "ways_table"]

_MOST_ROWS = 24


class Way(Protocol):
    """A row of the search: what `archsim.single.Trial` holds."""

    @property
    def parallelism(self) -> str:
        """As `--parallel` reads it."""

    @property
    def missing_bytes_per_chip(self) -> int:
        """What the fullest chip lacks; negative: it has left."""

    @property
    def tpot_s(self) -> float | None:
        """None where it does not fit."""

    @property
    def output_tokens_per_s(self) -> float | None:
        """None where it does not fit."""

    @property
    def mbu(self) -> float | None:
        """None where it does not fit."""


def ways_table(ways: Sequence[Way]) -> Table:
    """Return *ways* in their order, the best first: at most 24, and how many more there are."""
    table = Table(box=None, header_style="bold", pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("--parallel", no_wrap=True)
    for title in ("TPOT", "tokens/s", "MBU", "left a chip"):
        table.add_column(title, justify="right", no_wrap=True)
    for way in ways[:_MOST_ROWS]:
        name = ",".join(word for word in way.parallelism.split(",") if not word.endswith("=1")) or "tp=1"
        room = format_quantity(abs(way.missing_bytes_per_chip), "bytes", digits=3)
        if way.tpot_s is None:
            table.add_row(name, "-", "-", "-", f"lacks {room}")
            continue
        tpot = format_quantity(way.tpot_s, "s", digits=3)
        table.add_row(name, tpot, f"{way.output_tokens_per_s or 0:,.0f}", percent(way.mbu), room)
    if len(ways) > _MOST_ROWS:
        table.add_row(f"and {len(ways) - _MOST_ROWS} more")
    return table
