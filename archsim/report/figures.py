"""Three figures of one or more results: where the bandwidth went, when, and what the requests felt of it."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import LogLocator, NullFormatter

from archsim.metrics.accounts import ACCOUNTS, GROUPS, USEFUL
from archsim.metrics.latency import distribution, end_to_end_s, tpot_s, ttft_s
from archsim.report import style
from archsim.report.views import account_label, main_memory_accounts, percent, trace_label
from archsim.result import LedgerColumns, RequestColumns, Result
from archsim.units import PS_PER_S, format_quantity

__all__ = ["bandwidth_over_time", "latency_distributions", "ledger_bars"]

_NARROWEST_NAMED = 0.005
"""An account below this fraction is drawn but not named."""
_BAR_ROW_IN = 0.62
_BAR_HEIGHT = 0.6
"""Of its row."""
_TINY_PT = 5.5
_PANEL_ROW_IN = 1.15
_MOST_POINTS = 500
_SMALL_PART_PT = 2.6
"""Mean width of a character of the small parts' line."""
_CHARACTER_EM = 0.58
"""Mean width of a character of DejaVu Sans, in ems: decides which labels fit into their bar."""


def ledger_bars(results: Sequence[Result], *, width_in: float = style.TWO_COLUMNS_IN) -> Figure:
    """Return one stacked bar a design: the peak of its main memory over the decode phase, account by account."""
    narrow = style.is_narrow(width_in)
    title = style.wrapped(_bars_title(results), width_in)
    with style.styled():
        rows = len(results)
        bottom_in, top_in = 1.02 if narrow else 0.72, 0.29 + 0.14 * (title.count("\n") + 1)
        height_in = _BAR_ROW_IN * rows + bottom_in + top_in
        figure = Figure(figsize=(width_in, height_in))
        left, right = (0.29, 0.865) if narrow else (0.175, 0.925)
        axes = figure.add_axes((left, bottom_in / height_in, right - left, _BAR_ROW_IN * rows / height_in))
        width_pt = 72 * width_in * (right - left)
        for row, result in enumerate(results):
            _draw_bar(axes, row, result, width_pt)
        _finish_bars(axes, results)
        figure.text(0.01, 1 - 0.09 / height_in, title, va="top", fontsize=8.5, fontweight="bold")
        across = 2 if narrow else len(GROUPS)
        figure.legend(handles=_group_patches(), loc="lower center", ncols=across, columnspacing=1.2,
                      handlelength=1.0, handletextpad=0.4)  # fmt: skip
    return figure


def _bars_title(results: Sequence[Result]) -> str:
    first = results[0]
    return f"Main memory bandwidth while decoding: {first.model.name} {first.model.precision}, {trace_label(first)}"


def _draw_bar(axes: Axes, row: int, result: Result, width_pt: float) -> None:
    start = 0.0
    small: list[str] = []
    accounts = main_memory_accounts(result)
    for account, fraction in accounts.items():
        axes.barh(row, fraction, left=start, height=_BAR_HEIGHT, color=style.ACCOUNT_COLOURS[account],
                  edgecolor="white", linewidth=0.5)  # fmt: skip
        if not _write_label(axes, account, fraction, (start + fraction / 2, row), width_pt):
            small.append(f"{account_label(account)} {percent(fraction)}")
        start += fraction
    if not accounts:
        axes.text(0.01, row, "nothing was decoded", va="center", fontsize=style.SMALL_PT)
    if small:
        words = textwrap.shorten(f"small parts: {', '.join(small)}", int(width_pt / _SMALL_PART_PT), placeholder=" ...")
        axes.text(0.0, row + 0.335, words, va="top", fontsize=5.5, color="#444444")
    axes.text(1.008, row, percent(result.mbu, 1), va="center", fontsize=8, fontweight="bold")


def _write_label(axes: Axes, account: str, fraction: float, centre: tuple[float, float], width_pt: float) -> bool:
    """Write name and share into a wide bar, the name alone, upright, into a narrow one; say whether that was all."""
    name, colour = account_label(account), style.text_colour(style.ACCOUNT_COLOURS[account])
    wide_pt = fraction * width_pt
    if _length_pt(name, style.SMALL_PT) + 3 <= wide_pt:
        axes.text(*centre, f"{name}\n{percent(fraction, 0)}", ha="center", va="center", fontsize=style.SMALL_PT,
                  color=colour, linespacing=1.15)  # fmt: skip
        return True
    if wide_pt >= _TINY_PT * 1.35 and _length_pt(name, _TINY_PT) <= 72 * _BAR_ROW_IN * _BAR_HEIGHT:
        axes.text(*centre, name, rotation=90, ha="center", va="center", fontsize=_TINY_PT, color=colour)
    return fraction < _NARROWEST_NAMED


def _length_pt(text: str, size_pt: float) -> float:
    return max(len(text), len("00 %")) * _CHARACTER_EM * size_pt


def _finish_bars(axes: Axes, results: Sequence[Result]) -> None:
    axes.set_yticks(range(len(results)), [_bar_name(result) for result in results])
    axes.set_ylim(len(results) - 0.42, -0.42)
    axes.set_xlim(0, 1)
    axes.set_xticks(np.linspace(0, 1, 6), [f"{tick} %" for tick in range(0, 101, 20)])
    axes.set_xlabel("share of peak bandwidth x decode time")
    axes.text(1.008, -0.38, "MBU", va="bottom", fontsize=7)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(axis="y", length=0)


def _bar_name(result: Result) -> str:
    peak = format_quantity(result.system.memory_bytes_per_s, "bytes/s", digits=3)
    shipped = result.system.status == "shipped"
    return f"{result.system.name}\n{peak}" if shipped else f"{result.system.name}\n{result.system.status}\n{peak}"


def _name(result: Result) -> str:
    shipped = result.system.status == "shipped"
    return result.system.name if shipped else f"{result.system.name} ({result.system.status})"


def _group_patches() -> list[Patch]:
    middle = {group: accounts[min(1, len(accounts) - 1)] for group, accounts in GROUPS.items()}
    middle["idle"] = "idle"
    return [Patch(color=style.ACCOUNT_COLOURS[middle[group]], label=style.GROUP_LABELS[group]) for group in GROUPS]


def bandwidth_over_time(results: Sequence[Result], *, width_in: float = style.TWO_COLUMNS_IN) -> Figure:
    """Return one panel a design: bytes served by the main memory in each window, by phase, as a share of its peak.

    Every result must hold its tables.
    """
    with style.styled():
        height_in = _PANEL_ROW_IN * len(results) + 0.95
        figure = Figure(figsize=(width_in, height_in), layout="constrained")
        panels = figure.subplots(len(results), 1, sharex=True, sharey=True, squeeze=False)[:, 0]
        ends_s = [_draw_panel(axes, result) for axes, result in zip(panels, results, strict=True)]
        panels[0].set_xlim(0, max(ends_s))
        panels[-1].set_xlabel("simulated time (s)")
        figure.supylabel("bytes served, share of peak", fontsize=8)
        title = f"Main memory bandwidth over time: {results[0].model.name}, {trace_label(results[0])}"
        figure.suptitle(style.wrapped(title, width_in),
                        fontsize=8.5, fontweight="bold", x=0.01, ha="left")  # fmt: skip
        patches = [
            Patch(color=style.PHASE_COLOURS[phase], label=f"useful, {phase}")
            for phase in _SERVING_PHASES
            if any(phase in result.phases for result in results)
        ]
        patches.append(Patch(color=style.ACCOUNT_COLOURS["overfetch"], label=style.GROUP_LABELS["moved"]))
        across = 2 if style.is_narrow(width_in) else len(patches)
        figure.legend(handles=patches, loc="outside lower center", ncols=across, handlelength=1.0)
    return figure


_SERVING_PHASES = ("decode", "mixed", "prefill")


def _draw_panel(axes: Axes, result: Result) -> float:
    """Draw one design and return its last second."""
    edges_s, layers = _served_by_window(_tables_of(result), result.system.main_memory)
    base = np.zeros(len(edges_s) - 1)
    colours = [*(style.PHASE_COLOURS[phase] for phase in _SERVING_PHASES), style.ACCOUNT_COLOURS["overfetch"]]
    for layer, colour in zip(layers, colours, strict=True):
        axes.stairs(base + layer, edges_s, baseline=base, fill=True, color=colour, linewidth=0)
        base = base + layer
    peak = format_quantity(result.system.memory_bytes_per_s, "bytes/s", digits=3)
    axes.set_title(f"{_name(result)}, peak {peak}", loc="left", pad=3)
    axes.set_ylim(0, 1)
    axes.set_yticks([0, 0.5, 1], ["0", "50 %", "100 %"])
    axes.grid(axis="y", linewidth=0.4, color="#dddddd")
    axes.set_axisbelow(True)
    style.quiet_axes(axes)
    return float(edges_s[-1])


def _tables_of(result: Result) -> LedgerColumns:
    if result.tables is None:
        raise ValueError(f"the result of {result.system.name} holds no tables")
    return result.tables.ledger


def _served_by_window(
    ledger: LedgerColumns, scope: str
) -> tuple[npt.NDArray[np.float64], list[npt.NDArray[np.float64]]]:
    """Return window edges in seconds and shares of peak: useful by serving phase, then all that was moved besides."""
    index = ledger.scopes.index(scope)
    mine = ledger.scope == index
    edges_ps = np.unique(np.concatenate([ledger.start_ps[mine], ledger.end_ps[mine]]))
    window = np.searchsorted(edges_ps, ledger.start_ps)
    full = np.diff(edges_ps) / PS_PER_S * ledger.peaks_per_s[index]
    phases = [ledger.phases.index(phase) if phase in ledger.phases else -1 for phase in _SERVING_PHASES]
    useful = np.isin(ledger.account, [ACCOUNTS.index(account) for account in USEFUL])
    moved = np.isin(ledger.account, [ACCOUNTS.index(account) for account in GROUPS["moved"]])
    chosen = [mine & useful & (ledger.phase == phase) for phase in phases]
    chosen.append(mine & moved)
    sums = [np.bincount(window[rows], weights=ledger.amount[rows], minlength=len(full)) for rows in chosen]
    return edges_ps / PS_PER_S, [np.asarray(booked, dtype=np.float64) / full for booked in sums]


def latency_distributions(results: Sequence[Result], *, width_in: float = style.TWO_COLUMNS_IN) -> Figure:
    """Return the distributions of TTFT, TPOT and end-to-end latency, one line a design, on a logarithmic axis.

    Every result must hold the columns of its requests.
    """
    with style.styled():
        narrow = style.is_narrow(width_in)
        figure = Figure(figsize=(width_in, 5.4 if narrow else 2.7), layout="constrained")
        panels = figure.subplots(3, 1) if narrow else figure.subplots(1, 3, sharey=True)
        for axes, title, which in zip(panels, _LATENCY_TITLES, range(3), strict=True):
            for number, result in enumerate(results):
                _draw_distribution(axes, _latencies(result)[which], number, _name(result))
            _finish_distribution(axes, title)
        for axes in panels if narrow else panels[:1]:
            axes.set_ylabel("share of requests")
        title = f"Latency of requests: {results[0].model.name}, {trace_label(results[0])}"
        figure.suptitle(style.wrapped(title, width_in),
                        fontsize=8.5, fontweight="bold", x=0.01, ha="left")  # fmt: skip
        handles, labels = panels[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=min(1 if narrow else 4, len(results)))
    return figure


_LATENCY_TITLES = ("time to first token (s)", "time per output token (s)", "end to end (s)")


def _latencies(result: Result) -> tuple[npt.NDArray[np.float64], ...]:
    if result.tables is None or result.tables.requests is None:
        raise ValueError(f"the result of {result.system.name} holds no requests")
    rows: RequestColumns = result.tables.requests
    return (
        ttft_s(rows.arrival_ps, rows.first_token_ps),
        tpot_s(rows.first_token_ps, rows.finish_ps, rows.output_tokens),
        end_to_end_s(rows.arrival_ps, rows.finish_ps),
    )


def _draw_distribution(axes: Axes, values: npt.NDArray[np.float64], number: int, name: str) -> None:
    ordered, share = distribution(values[values > 0])
    # Enough ranks for the eye; the tail, which is what the axis is logarithmic for, in full.
    ranks = np.unique(np.append(np.linspace(0, len(ordered) - 1, _MOST_POINTS).astype(int),
                                np.arange(max(0, len(ordered) - 50), len(ordered))))  # fmt: skip
    ranks = ranks[(ranks >= 0) & (ranks < len(ordered))]
    axes.plot(ordered[ranks], share[ranks], drawstyle="steps-post", label=name,
              color=style.LINE_COLOURS[number % len(style.LINE_COLOURS)],
              linestyle=style.LINE_STYLES[number % len(style.LINE_STYLES)])  # fmt: skip


def _finish_distribution(axes: Axes, title: str) -> None:
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axes.xaxis.set_major_formatter(lambda value, _place: f"{value:g}")
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_xlabel(title)
    axes.set_ylim(0, 1.005)
    axes.set_yticks([0, 0.25, 0.5, 0.75, 1], ["0", "25 %", "50 %", "75 %", "100 %"])
    axes.grid(which="major", linewidth=0.4, color="#dddddd")
    style.quiet_axes(axes)
