"""Figures of cost: what a token's price is made of, and what users cost at any number of them."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from archsim.economics.growth import Scale
from archsim.report import style
from archsim.report.economics_text import amount
from archsim.result import Result

__all__ = ["cost_curve_figure", "cost_stack"]

_PART_COLOURS = {
    "chip": "#0b4a7f",
    "host": "#cc79a7",
    "network": "#e69f00",
    "datacenter": "#8c8c8c",
    "energy": "#d55e00",
    "energy.idle_hours": "#f6c6a4",
}
_BUILT = ("#2f7fc1", "#6fabdc", "#a9cdec", "#009e73", "#7fcfb5")
"""Parts that a chip without a price is built of, in the order they are met."""
_LABELS = {"datacenter": "data center", "energy": "energy at work", "energy.idle_hours": "energy of idle hours"}


def cost_stack(results: Sequence[Result], *, width_in: float = style.TWO_COLUMNS_IN) -> Figure:
    """Return USD per million output tokens of every result with a cost: parts stacked, whiskers from low to high."""
    priced = [(result.system.name, result.cost) for result in results if result.cost is not None]
    parts = sorted({part for _, cost in priced for part in cost.by_part}, key=_rank)
    colours = _colours(parts)
    with style.styled():
        narrow = style.is_narrow(width_in)
        figure = Figure(figsize=(width_in, (2.2 if narrow else 1.5) + 0.34 * max(1, len(priced))), layout="constrained")
        axes = figure.subplots()
        left = [0.0] * len(priced)
        for part in parts:
            widths = [cost.by_part[part].mid if part in cost.by_part else 0.0 for _, cost in priced]
            axes.barh(range(len(priced)), widths, left=left, height=0.6, color=colours[part],
                      label=_LABELS.get(part, part), zorder=2)  # fmt: skip
            left = [start + width for start, width in zip(left, widths, strict=True)]
        for place, (_, cost) in enumerate(priced):
            low, high = cost.usd_per_million_output_tokens_low, cost.usd_per_million_output_tokens_high
            mid = cost.usd_per_million_output_tokens
            axes.errorbar(mid, place, xerr=[[mid - low], [high - mid]], color="#222222", capsize=2.5, linewidth=0.8,
                          zorder=3)  # fmt: skip
            bound = ">" if cost.absent else ""
            axes.annotate(f"{bound}{amount(mid)}", (high, place), xytext=(5, 0), textcoords="offset points",
                          va="center", fontsize=style.SMALL_PT)  # fmt: skip
        axes.set_yticks(range(len(priced)), [name for name, _ in priced])
        axes.invert_yaxis()
        axes.set_xlim(left=0)
        axes.margins(x=0.12)
        words = "USD per million output tokens; whiskers: all low ends together to all high ends together"
        axes.set_xlabel(style.wrapped(words, width_in) if narrow else words)
        figure.legend(loc="outside lower center", ncols=2 if narrow else 4)
        style.quiet_axes(axes)
    return figure


def _rank(part: str) -> tuple[int, str]:
    order = list(_PART_COLOURS)
    return (order.index(part), part) if part in order else (0, part)


def _colours(parts: Sequence[str]) -> dict[str, str]:
    built = [part for part in parts if part not in _PART_COLOURS]
    return _PART_COLOURS | {part: _BUILT[number % len(_BUILT)] for number, part in enumerate(built)}


def cost_curve_figure(curves: Sequence[tuple[str, int, Sequence[Scale]]], *, title: str) -> Figure:
    """Return USD per million tokens and chips against users of *curves*: (system, chips of one, points)."""
    with style.styled():
        figure = Figure(figsize=(style.TWO_COLUMNS_IN, 3.1), layout="constrained")
        money, machines = figure.subplots(1, 2)
        for number, (name, chips, points) in enumerate(curves):
            colour = style.LINE_COLOURS[number % len(style.LINE_COLOURS)]
            line = style.LINE_STYLES[number // len(style.LINE_COLOURS) % len(style.LINE_STYLES)]
            users = [point.users for point in points]
            usd = [point.usd_per_million_tokens for point in points]
            money.plot(users, [value.mid for value in usd], color=colour, linestyle=line, label=name)
            money.fill_between(users, [value.low for value in usd], [value.high for value in usd], color=colour,
                               alpha=0.12, linewidth=0)  # fmt: skip
            machines.plot(users, [chips * point.systems[1] for point in points], color=colour, linestyle=line)
        money.set_ylabel("USD per million output tokens")
        machines.set_ylabel("chips, in whole systems")
        for axes in (money, machines):
            axes.set_xscale("log")
            axes.set_yscale("log")
            axes.set_xlabel("users")
            axes.xaxis.set_major_formatter(FuncFormatter(_short))
            axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
            axes.yaxis.set_major_formatter(FuncFormatter(_short))
            axes.yaxis.set_minor_formatter(NullFormatter())
            axes.grid(which="major", linewidth=0.4, color="#dddddd")
            style.quiet_axes(axes)
        figure.suptitle(title, x=0.01, ha="left", fontsize=8.5, fontweight="bold")
        figure.legend(loc="outside lower center", ncols=4)
    return figure


def _short(value: float, _place: int) -> str:
    for size, letter in ((1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:g}{letter}"
    return f"{value:g}"
