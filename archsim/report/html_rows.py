"""The rows of a report's tables: headline, waterfalls, links and engines, energy, and what differs between two runs."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from archsim.metrics.accounts import ACCOUNTS, USEFUL
from archsim.metrics.mixing import useful_share
from archsim.report.html_recovery import recovery
from archsim.report.html_svg import bar
from archsim.report.interval_text import bar_cell, first_cell
from archsim.report.style import ACCOUNT_COLOURS
from archsim.report.views import account_label, largest_losses, percent, trace_label
from archsim.result import Bounds, Result, ScopeLedger, Summary
from archsim.units import format_quantity

__all__ = [
    "Headline",
    "Step",
    "difference_rows",
    "energy_rows",
    "headline_rows",
    "other_rows",
    "waterfall",
]

_LEAST_SHOWN = 5e-4
_DASH = "-"

Cell = tuple[str, float | None]
"""What is shown, and the number behind it, where there is one."""


@dataclass(frozen=True, slots=True)
class Headline:
    """One line of the headline table, a cell a run."""

    name: str
    cells: Sequence[str]
    change: str
    """The second run beside the first; empty where they are the same."""
    differs: bool


@dataclass(frozen=True, slots=True)
class Step:
    """One row of a waterfall."""

    name: str
    share: float
    rate: str
    bar: Markup
    text: str
    kind: str
    """`peak`, `loss` or `useful`."""


def headline_rows(results: Sequence[Result]) -> list[Headline]:
    """Return the lines of the headline table of one or two *results*; lines that no run has are left out."""
    rows = []
    for name, read in _HEADLINES:
        cells = [read(result) for result in results]
        if any(text != _DASH for text, _ in cells):
            differs = len({text for text, _ in cells}) > 1
            rows.append(Headline(name, [text for text, _ in cells], _change(cells) if differs else "", differs))
    return rows


def _change(cells: Sequence[Cell]) -> str:
    before, after = cells[0][1], cells[1][1]
    if before is None or after is None or before == 0:
        return "differs"
    change = 100 * (after / before - 1)
    return f"{change:+.1f} %" if abs(change) < 1000 else f"x {after / before:.3g}"  # ten times


def _words(read: Callable[[Result], str]) -> Callable[[Result], Cell]:
    return lambda result: (read(result), None)


def _seconds(value: float | None) -> Cell:
    return (_DASH if value is None else format_quantity(value, "s", digits=3)), value


def _number(value: float | None, pattern: str) -> Cell:
    return (_DASH if value is None else pattern.format(value)), value


def _percentile(latency: str, which: str) -> Callable[[Result], Cell]:
    def read(result: Result) -> Cell:
        found: Summary = getattr(result.latency_s, latency)
        return _seconds(getattr(found, which))

    return read


def _ways(result: Result) -> str:
    ways = result.parallelism.model_dump()
    return ", ".join(f"{name}={size}" for name, size in ways.items() if size > 1) or "tp=1"


def _requests(result: Result) -> str:
    counts = result.requests
    return f"{counts.completed:,} completed, {counts.rejected:,} rejected, {counts.preempted:,} preemptions"


def _saturation(result: Result) -> Cell:
    return _number(result.saturation.output_tokens_per_s if result.saturation else None, "{:,.1f}")


def _joules(result: Result) -> Cell:
    if result.energy is None:
        return _DASH, None
    text, value = _number(result.energy.joules_per_output_token, "{:.3g}")
    return (f"at least {text}" if result.energy.absent and value is not None else text), value


def _usd(result: Result) -> Cell:
    found = result.cost
    if found is None:
        return _DASH, None
    low, middle, high = (
        found.usd_per_million_output_tokens_low,
        found.usd_per_million_output_tokens,
        found.usd_per_million_output_tokens_high,
    )
    return _bounded(low, middle, high, absent=bool(found.absent)), middle


def _carbon(result: Result) -> Cell:
    found = result.carbon
    if found is None:
        return _DASH, None
    low, middle, high = (
        found.g_co2e_per_million_output_tokens_low,
        found.g_co2e_per_million_output_tokens,
        found.g_co2e_per_million_output_tokens_high,
    )
    return _bounded(low, middle, high, absent=bool(found.absent)), middle


def _bounded(low: float, middle: float, high: float, *, absent: bool) -> str:
    return f"{'at least ' if absent else ''}{middle:.3g} ({low:.3g} to {high:.3g})"


def _peak(result: Result) -> Cell:
    return format_quantity(result.system.memory_bytes_per_s, "bytes/s"), result.system.memory_bytes_per_s


def _tdp(result: Result) -> str:
    return ", ".join(result.energy.over_tdp) if result.energy and result.energy.over_tdp else _DASH


_HEADLINES: Sequence[tuple[str, Callable[[Result], Cell]]] = (
    ("system", _words(lambda r: r.system.title)),
    ("status of the system", _words(lambda r: r.system.status)),
    ("chips", lambda r: _number(r.system.chips, "{:,}")),
    ("main memory, peak", _peak),
    ("model", _words(lambda r: f"{r.model.name}, {r.model.precision}")),
    ("traffic", _words(trace_label)),
    ("parallelism", _words(_ways)),
    ("requests", _words(_requests)),
    ("simulated time", lambda r: _seconds(r.simulated_s)),
    ("output tokens/s", lambda r: _number(r.throughput.output_tokens_per_s, "{:,.1f}")),
    ("output tokens/s per chip", lambda r: _number(r.throughput.output_tokens_per_s_per_chip, "{:,.1f}")),
    ("output tokens/s at saturation", _saturation),
    ("time to first token, p50", _percentile("ttft", "p50")),
    ("time to first token, p99", _percentile("ttft", "p99")),
    ("time per output token, p50", _percentile("tpot", "p50")),
    ("time per output token, p99", _percentile("tpot", "p99")),
    ("mean time to first token, 80 % interval", _words(first_cell)),
    ("mean time per output token, 80 % interval", _words(bar_cell)),
    ("extrapolated", _words(lambda r: ", ".join(r.uncertainty.extrapolated) or "no" if r.uncertainty else _DASH)),
    ("end to end, p50", _percentile("e2e", "p50")),
    ("end to end, p99", _percentile("e2e", "p99")),
    ("decode MBU", lambda r: (percent(r.mbu), r.mbu)),
    ("decode MBU of the arrays", lambda r: (percent(r.mbu_array), r.mbu_array)),
    ("decode MFU", lambda r: (percent(r.mfu), r.mfu)),
    ("joules per output token", _joules),
    ("average power of the system", lambda r: _number(r.energy.average_watts if r.energy else None, "{:,.0f} W")),
    ("phases beyond the design power", _words(_tdp)),
    ("USD per million output tokens", _usd),
    ("g CO2e per million output tokens", _carbon),
)  # fmt: skip


def waterfall(book: ScopeLedger) -> list[Step]:
    """Return the rows from the peak of *book* down to what was useful, losses largest first, useful bytes by class.

    Losses below 0.05 % are one row, so that the rows sum to the peak.
    """
    steps = [Step("peak", 1.0, _rate(book, 1.0), bar(0, 1, "currentColor"), "", "peak")]
    level = 1.0
    lost = largest_losses({name: book.accounts[name] for name in ACCOUNTS if name in book.accounts}, len(ACCOUNTS))
    for account, share in [item for item in lost if item[1] >= _LEAST_SHOWN]:
        level -= share
        drawn = bar(level, share, ACCOUNT_COLOURS[account])
        steps.append(Step(account_label(account), share, _rate(book, share), drawn, recovery(account), "loss"))
    if small := math.fsum(share for _, share in lost if share < _LEAST_SHOWN):
        level -= small
        names = ", ".join(account_label(account) for account, share in lost if share < _LEAST_SHOWN)
        drawn = bar(level, small, "currentColor")
        steps.append(
            Step("all smaller losses", small, _rate(book, small), drawn, f"Below 0.05 % each: {names}.", "loss")
        )
    start = 0.0
    for account in USEFUL:
        if share := book.accounts.get(account, 0.0):
            drawn = bar(start, share, ACCOUNT_COLOURS[account])
            steps.append(Step(account_label(account), share, _rate(book, share), drawn, "", "useful"))
            start += share
    return steps


def _rate(book: ScopeLedger, share: float) -> str:
    dimension = "bytes/s" if book.unit == "B/s" else "flop/s"
    return format_quantity(share * book.peak_per_s, dimension, digits=3)


def other_rows(ledger: Mapping[str, ScopeLedger]) -> list[tuple[str, int, str, float, float, str]]:
    """Return the rows of links and engines; those with equal books are one.

    A row is name, how many, peak of one in words and as a number, useful share, largest losses.
    """
    groups: dict[tuple[object, ...], list[str]] = {}
    for scope, book in ledger.items():
        if book.unit == "FLOP/s" or scope.startswith("link."):
            key = (scope.startswith("link."), book.peak_per_s, book.unit, tuple(sorted(book.accounts.items())))
            groups.setdefault(key, []).append(scope)
    rows = []
    for scopes in groups.values():
        book = ledger[scopes[0]]
        accounts = {name: book.accounts[name] for name in ACCOUNTS if name in book.accounts}
        lost = ", ".join(f"{account_label(name)} {percent(share)}" for name, share in largest_losses(accounts, 3))
        more = f" and {len(scopes) - 1:,} with the same book" if len(scopes) > 1 else ""
        rows.append(
            (
                scopes[0] + more,
                len(scopes),
                _rate(book, 1.0),
                book.peak_per_s,
                useful_share(book.accounts),
                lost or _DASH,
            )
        )
    return rows


def energy_rows(result: Result) -> list[tuple[str, float, float]]:
    """Return (part, joules, share), largest first; empty where the energy is not known."""
    found = result.energy
    if found is None or found.joules <= 0:
        return []
    ordered = sorted(found.by_part.items(), key=lambda item: (-item[1], item[0]))
    return [(part, joules, joules / found.joules) for part, joules in ordered]


def part_rows(by_part: Mapping[str, Bounds]) -> list[tuple[str, Bounds]]:
    """Return (part, figure with its ends), the largest first."""
    return sorted(by_part.items(), key=lambda item: (-item[1].mid, item[0]))


def difference_rows(first: Mapping[str, str], second: Mapping[str, str]) -> list[tuple[str, str, str]]:
    """Return (key, first value, second value) of every key whose values differ; a dash where a side has none."""
    keys = sorted(first.keys() | second.keys())
    return [(key, first.get(key, _DASH), second.get(key, _DASH)) for key in keys if first.get(key) != second.get(key)]
