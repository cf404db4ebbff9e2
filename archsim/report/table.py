"""What a terminal shows of results, made with rich: the two blocks of `compare` and the pages of `run`.

A row of the first block is printed as soon as its system is done, before the others are known, so every column has a
fixed width. Nothing is drawn that a pipe or a file could not hold; colour appears on a terminal alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from rich.console import Console
from rich.table import Table

from archsim.report.economics_text import cost_cells, cost_lines
from archsim.report.energy_text import energy_cells, energy_lines
from archsim.report.interval_text import bar_cell, interval_lines, rate_of
from archsim.report.pools_text import pool_lines
from archsim.report.serving_text import serving_lines
from archsim.report.views import (
    account_label,
    largest_losses,
    main_memory_accounts,
    percent,
    ranked,
    trace_label,
)
from archsim.result import Result, Summary
from archsim.units import format_quantity

__all__ = [
    "console",
    "headline",
    "run_summary",
    "saturation_block",
    "saturation_headline",
    "summary_lines",
    "trace_header",
    "trace_row",
    "waterfall",
]

_NARROWEST_CONSOLE = 240
"""Characters of a line; no table of this module is wider. A narrower terminal wraps lines, but loses nothing."""
_LEAST_SHOWN = 0.001
_LIMITS = {
    "slo": "service level",
    "capacity": "nothing: all requests at once meet it",
    "unreachable": "service level, at any rate",
}
"""What ended the search for saturation, in words."""


@dataclass(frozen=True, slots=True)
class _Column:
    title: str
    width: int | None
    """None for the last one, which nothing stands beside."""
    justify: Literal["left", "right"] = "right"


_TRACE_COLUMNS = (
    _Column("status", 12, "left"),
    _Column("completed", 9),
    _Column("rejected", 8),
    _Column("TTFT p50", 8),
    _Column("p99", 8),
    _Column("TPOT p50", 8),
    _Column("p99", 8),
    _Column("MBU", 6),
    _Column("largest losses while decoding", None, "left"),
)
_TOKEN_COLUMNS = (
    _Column("status", 12, "left"),
    _Column("TPOT mean", 9),
    _Column("80 %", 20),
    _Column("J/token", 8),
    _Column("W/chip", 7),
    _Column("USD/Mtok", 8),
    _Column("gCO2e/Mtok", 10),
)
_SATURATION_COLUMNS = (
    _Column("status", 12, "left"),
    _Column("req/s", 8),
    _Column("tokens/s", 9),
    _Column("80 %", 16),
    _Column("per chip", 8),
    _Column("TPOT p99", 8),
    _Column("MBU", 6),
    _Column("MFU", 6),
    _Column("limited by", None, "left"),
)


def console(*, stderr: bool = False) -> Console:
    """Return a console for standard output (or *stderr*) that cuts no table, whatever the width of its window."""
    screen = Console(stderr=stderr, highlight=False, soft_wrap=True)
    screen.width = max(screen.width, _NARROWEST_CONSOLE)
    return screen


def headline(result: Result) -> str:
    """Return what is run, in one line: model, precision and trace."""
    return f"{result.model.name} {result.model.precision}, {trace_label(result)}"


def trace_header(names: Sequence[str]) -> Table:
    """Return the header line of the first block for systems of these *names*."""
    return _fixed(names, _TRACE_COLUMNS, header=True)


def trace_row(result: Result, names: Sequence[str]) -> Table:
    """Return the line of one system in the first block: the trace at its own rate."""
    table = _fixed(names, _TRACE_COLUMNS, header=False)
    ttft, tpot = result.latency_s.ttft, result.latency_s.tpot
    lost = largest_losses(main_memory_accounts(result), 3)
    table.add_row(
        result.system.name,
        result.system.status,
        f"{result.requests.completed:,}",
        f"{result.requests.rejected:,}",
        *(_seconds(value) for value in (ttft.p50, ttft.p99, tpot.p50, tpot.p99)),
        percent(result.mbu),
        ", ".join(f"{account_label(account)} {percent(fraction)}" for account, fraction in lost) or "-",
    )
    return table


def token_block(results: Sequence[Result]) -> Table:
    """Return the block between: how sure the mean TPOT is, and what an output token takes."""
    table = _fixed([result.system.name for result in results], _TOKEN_COLUMNS, header=True)
    for result in results:
        table.add_row(
            result.system.name,
            result.system.status,
            _seconds(result.latency_s.tpot.mean),
            bar_cell(result),
            *energy_cells(result),
            *cost_cells(result),
        )
    return table


def saturation_headline(results: Sequence[Result]) -> str:
    """Return what saturation means here, in one line; empty where no result has it."""
    found = [result.saturation for result in results if result.saturation is not None]
    if not found:
        return ""
    limit = format_quantity(found[0].at_slo.tpot_p99_s, "s")
    return f"at saturation: the highest request rate with TPOT p99 at most {limit}, {found[0].requests:,} requests"


def saturation_block(results: Sequence[Result]) -> Table:
    """Return the second block: every system at saturation, ranked by output tokens/s."""
    table = _fixed([result.system.name for result in results], _SATURATION_COLUMNS, header=True)
    for result in ranked(results):
        table.add_row(result.system.name, result.system.status, *_saturation_cells(result))
    return table


def _saturation_cells(result: Result) -> list[str]:
    found = result.saturation
    if found is None:
        return ["-"] * (len(_SATURATION_COLUMNS) - 1)
    return [
        _number(found.requests_per_s, 2),
        _number(found.output_tokens_per_s, 0),
        _bar(result),
        _number(found.output_tokens_per_s_per_chip, 0),
        _seconds(found.tpot_p99_s),
        percent(found.mbu),
        percent(found.mfu),
        _LIMITS.get(found.limited_by, account_label(found.limited_by)),
    ]


def _bar(result: Result) -> str:
    bar = rate_of(result)
    if bar is None or result.uncertainty is None:
        return "-"
    return f"{'x ' if result.uncertainty.extrapolated else ''}{bar.low:,.0f}-{bar.high:,.0f}"


def _fixed(names: Sequence[str], columns: Sequence[_Column], *, header: bool) -> Table:
    table = Table(box=None, show_header=header, header_style="bold", pad_edge=False, padding=(0, 2, 0, 0))
    width = max(len("system"), *(len(name) for name in names))
    table.add_column("system", width=width, no_wrap=True)
    for column in columns:
        table.add_column(column.title, width=column.width, justify=column.justify, no_wrap=True)
    return table


def run_summary(result: Result) -> Table:
    """Return what one run came to: requests, throughput, MBU, MFU and the latencies, one line each."""
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    lines = summary_lines(result)
    table.add_column(no_wrap=True, min_width=max(len(name) for name, _ in lines))
    table.add_column(no_wrap=True)
    for name, text in lines:
        table.add_row(name, text)
    return table


def summary_lines(result: Result) -> list[tuple[str, str]]:
    """Return what one run came to as (name, text), one a line."""
    counts, rate = result.requests, result.throughput
    lines = [("parallelism", _parallelism(result))] if result.pools is None else pool_lines(result)
    if result.tables is None or result.tables.requests is not None:
        preempted = f", {counts.preempted:,} preemptions" if counts.preempted else ""
        lines.append(("requests", f"{counts.completed:,} completed, {counts.rejected:,} rejected{preempted}"))
    lines.append(("simulated", format_quantity(result.simulated_s, "s")))
    per_chip = _number(rate.output_tokens_per_s_per_chip, 1)
    lines.append(("output tokens/s", f"{_number(rate.output_tokens_per_s, 1)} ({per_chip} per chip)"))
    lines += [(name, _spread(summary)) for name, summary in _latencies(result) if summary.mean is not None]
    lines.append(("decode MBU, MFU", f"{percent(result.mbu)}, {percent(result.mfu)}"))
    if result.mbu_array is not None:
        lines.append(("MBU of the arrays", f"{percent(result.mbu_array)}, behind the interface"))
    lines += serving_lines(result)
    lines += interval_lines(result)
    lines += energy_lines(result)
    lines += cost_lines(result)
    return lines


def _parallelism(result: Result) -> str:
    ways = result.parallelism.model_dump()
    named = ", ".join(f"{name}={ways[name]}" for name in ("tp", "pp", "dp", "ep", "cp") if ways[name] > 1)
    algorithms = ", ".join(f"{kind.replace('_', '-')} {how}" for kind, how in sorted(result.collectives.items()))
    return (named or "tp=1") + (f"; {algorithms}" if algorithms else "")


def _latencies(result: Result) -> list[tuple[str, Summary]]:
    found = result.latency_s
    return [("TTFT", found.ttft), ("TPOT", found.tpot), ("end to end", found.e2e)]


def _spread(summary: Summary) -> str:
    parts = [("mean", summary.mean), ("p50", summary.p50), ("p90", summary.p90), ("p99", summary.p99)]
    return ", ".join(f"{name} {_seconds(value)}" for name, value in parts if value is not None)


def waterfall(result: Result) -> Table:
    """Return the decode ledger of the main memory from peak downwards: every account above 0.1 %, with its rate."""
    peak_per_s = result.ledger[result.system.main_memory].peak_per_s
    table = Table(box=None, header_style="bold", pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column(f"{result.system.main_memory}, decode", no_wrap=True)
    table.add_column("share", justify="right", no_wrap=True)
    table.add_column("rate", justify="right", no_wrap=True)
    table.add_column("", no_wrap=True)
    table.add_row("peak", percent(1.0), format_quantity(peak_per_s, "bytes/s", digits=3), "")
    for account, fraction in main_memory_accounts(result).items():
        if fraction > _LEAST_SHOWN:
            rate = format_quantity(fraction * peak_per_s, "bytes/s", digits=3)
            table.add_row(account_label(account), percent(fraction), rate, "#" * round(40 * fraction))
    return table


def _seconds(value: float | None) -> str:
    return "-" if value is None else format_quantity(value, "s", digits=3)


def _number(value: float | None, decimals: int) -> str:
    return "-" if value is None else f"{value:,.{decimals}f}"
