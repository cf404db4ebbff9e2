"""A result in a notebook: a table in HTML, and figures by name.

`Tables.view` of a result that `run` returns is `VIEW`, so that a room below need not know who draws.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

from archsim.errors import InputError, Problem, did_you_mean
from archsim.files import write_atomically
from archsim.report import table
from archsim.report.views import account_label, main_memory_accounts, percent
from archsim.result import Result
from archsim.units import format_quantity

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["FIGURES", "VIEW", "Drawing", "View"]

_LEAST_SHOWN = 0.001
_BAR = "display:inline-block;height:.7em;background:"


@dataclass(frozen=True, slots=True)
class Drawing:
    """A figure that a notebook shows and that can be saved; no window is opened."""

    figure: Figure

    def savefig(self, path: str | Path) -> None:
        """Write it to *path*, whose ending says how: .pdf, .svg, .png; equal figures are equal bytes.

        Raises `InputError` for another ending.
        """
        from archsim.report.style import figure_bytes  # noqa: PLC0415 - loads matplotlib

        place = Path(path)
        write_atomically(place, figure_bytes(self.figure, place.suffix, key="savefig"))

    def _repr_svg_(self) -> str:
        from archsim.report.style import svg_bytes  # noqa: PLC0415 - loads matplotlib

        return svg_bytes(self.figure).decode()


@dataclass(frozen=True, slots=True)
class View:
    """How a result is shown."""

    def html(self, result: Result) -> str:
        """Return the headline and the decode ledger of the main memory as two tables."""
        lines = [*table.summary_lines(result)]
        rows = "".join(f"<tr><td>{escape(name)}</td><td>{escape(text)}</td></tr>" for name, text in lines)
        title = escape(f"{result.system.title}: {table.headline(result)}")
        return f"<div><b>{title}</b><table>{rows}</table>{_waterfall(result)}</div>"

    def figure(self, result: Result, what: str) -> Drawing:
        """Return the figure *what* of *result*. Raises `InputError` for one that there is not."""
        if what not in FIGURES:
            expected = f"one of {', '.join(FIGURES)}{did_you_mean(what, list(FIGURES))}"
            raise InputError(Problem("", "plot", what[:80], expected))
        if what == "latency" and (result.tables is None or result.tables.requests is None):
            raise InputError(Problem("", "plot", what, "a replay: a single step has no latencies to distribute"))
        if what == "cost" and result.cost is None:
            raise InputError(Problem("", "plot", what, "a system whose silicon somebody has priced"))
        return Drawing(FIGURES[what]([result]))


def _waterfall(result: Result) -> str:
    accounts = main_memory_accounts(result)
    if not accounts:
        return ""
    peak_per_s = result.ledger[result.system.main_memory].peak_per_s
    rows = "".join(
        f"<tr><td>{escape(account_label(account))}</td><td style='text-align:right'>{percent(share)}</td>"
        f"<td style='text-align:right'>{format_quantity(share * peak_per_s, 'bytes/s', digits=3)}</td>"
        f"<td style='text-align:left'><span style='{_BAR}{_colour(account)};width:{16 * share:.2f}em'></span></td></tr>"
        for account, share in accounts.items()
        if share > _LEAST_SHOWN
    )
    head = f"<tr><th>{escape(result.system.main_memory)}, decode</th><th>share</th><th>rate</th><th></th></tr>"
    return f"<table>{head}{rows}</table>"


def _colour(account: str) -> str:
    from archsim.report.style import ACCOUNT_COLOURS  # noqa: PLC0415 - loads matplotlib

    return ACCOUNT_COLOURS[account]


def _ledger(results: Sequence[Result]) -> Figure:
    from archsim.report.figures import ledger_bars  # noqa: PLC0415 - loads matplotlib

    return ledger_bars(results)


def _bandwidth(results: Sequence[Result]) -> Figure:
    from archsim.report.figures import bandwidth_over_time  # noqa: PLC0415 - loads matplotlib

    return bandwidth_over_time(results)


def _latency(results: Sequence[Result]) -> Figure:
    from archsim.report.figures import latency_distributions  # noqa: PLC0415 - loads matplotlib

    return latency_distributions(results)


def _cost(results: Sequence[Result]) -> Figure:
    from archsim.report.economics_figures import cost_stack  # noqa: PLC0415 - loads matplotlib

    return cost_stack(results)


FIGURES: dict[str, Callable[[Sequence[Result]], Figure]] = {
    "ledger": _ledger,
    "bandwidth": _bandwidth,
    "latency": _latency,
    "cost": _cost,
}
"""Figures by the name that `Result.plot` takes."""

VIEW = View()
