"""The charts of a report: roofline, bandwidth over time, latency distributions, and the drawing of the system.

Roofline, all chips together, per phase and memory level:

    intensity = useful FLOPs of the matrix engines (and near-memory units) / bytes that the level moved
    attained  = useful FLOPs / time              ceiling of a level = intensity x peak bytes/s

so a mark lies on its level's ceiling where that level is busy all the time. S. Williams, A. Waterman, D. Patterson,
Roofline, CACM 52 (4), 2009.
"""

from __future__ import annotations

import base64
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from archsim.metrics.accounts import GROUPS, USEFUL
from archsim.report.html_svg import Area, Axis, Chart, Line, Mark, chart, swatch
from archsim.report.html_tables import LAYERS, Times, Windows
from archsim.report.style import ACCOUNT_COLOURS, LINE_COLOURS, PHASE_COLOURS
from archsim.result import Result, ScopeLedger
from archsim.units import format_quantity

__all__ = [
    "Drawing",
    "bandwidth",
    "ceilings",
    "decades",
    "latency",
    "peaks",
    "picture",
    "roofline",
    "roofs",
    "whole_scopes",
]

_SHAPES = {"decode": "circle", "mixed": "diamond", "prefill": "square"}
_DASHES = ("none", "8 4", "2 3", "8 3 2 3")
_CHIPS = re.compile(r"(?P<pool>(?:[^/]+/)?)chip(?P<first>\d+)(?:-(?P<last>\d+))?\.(?P<level>.+)")
_MOST_POINTS = 400
_DECADE = 10.0


@dataclass(frozen=True, slots=True)
class Drawing:
    """A chart, and what its colours and shapes stand for."""

    svg: Markup
    keys: Sequence[tuple[Markup, str]]


def whole_scopes(ledger: Mapping[str, ScopeLedger]) -> dict[str, ScopeLedger]:
    """Return the scopes of *ledger* without links, and without those that another one of the ledger sums up.

    Stages, replicas and unlike ranks have scopes of their own beside the one of all chips.
    """
    parts = {name: found for name in ledger if (found := _CHIPS.fullmatch(name)) is not None}
    spans: dict[tuple[str, str], list[tuple[int, int]]] = {}
    for found in parts.values():
        spans.setdefault((found["pool"], found["level"]), []).append(_span(found))
    kept = {}
    for name, book in ledger.items():
        match = parts.get(name)
        if match is not None:
            low, high = _span(match)
            others = spans[match["pool"], match["level"]]
            if any(first <= low and high <= last and (first, last) != (low, high) for first, last in others):
                continue
        if not name.startswith("link."):
            kept[name] = book
    return kept


def _span(found: re.Match[str]) -> tuple[int, int]:
    return int(found["first"]), int(found["last"] or found["first"])


def level_of(scope: str) -> str:
    """Return the part of a chip that *scope* is a book of: `hbm` for `chip0-7.hbm`."""
    return scope.split(".", 1)[-1]


def roofline(result: Result) -> Drawing | None:
    """Return the roofline of *result* with every memory level as a ceiling; None where nothing was multiplied."""
    bytes_peaks, flop_peaks = peaks(result.ledger, "B/s"), peaks(result.ledger, "FLOP/s")
    flop_peaks.pop("vector", None)
    marks = _roofline_marks(result, list(bytes_peaks))
    if not marks or not flop_peaks:
        return None
    roof = max(flop_peaks.values())
    ridges = [roof / peak for peak in bytes_peaks.values()]
    low = 10.0 ** math.floor(math.log10(min(*(mark.at[0] for mark in marks), *ridges, 1.0)))
    high = 10.0 ** math.ceil(math.log10(max(*(mark.at[0] for mark in marks), *ridges) * 2))
    bottom = 10.0 ** math.floor(math.log10(min(mark.at[1] for mark in marks) / 2))
    x = Axis("useful FLOP per byte moved at the level", low, high, decades(low, high, ""), logarithmic=True)
    y = Axis("FLOP/s", bottom, roof * 2, decades(bottom, roof * 2, "flop/s"), logarithmic=True)
    lines = [*ceilings(bytes_peaks, roof, x, y), *roofs(flop_peaks, x, y)]
    keys = [(swatch(line.colour, dash=line.dash), line.name) for line in lines]
    phases = [name for name in _SHAPES if any(mark.shape == _SHAPES[name] for mark in marks)]
    keys += [(swatch("currentColor", shape=_SHAPES[phase]), f"attained in {phase}") for phase in phases]
    return Drawing(chart(Chart(f"Roofline of {result.system.name}", x, y, lines=lines, marks=marks)), keys)


def ceilings(levels: Mapping[str, float], roof: float, x: Axis, y: Axis) -> list[Line]:
    """Return the line of every level, name -> peak bytes/s, up to the *roof*."""
    lines = []
    for index, (name, peak) in enumerate(levels.items()):
        start = max(x.low, y.low / peak)
        lines.append(
            Line(f"{name}, {format_quantity(peak, 'bytes/s', digits=3)}", LINE_COLOURS[index % 6],
                 [(start, start * peak), (roof / peak, roof)], _DASHES[index % len(_DASHES)])
        )  # fmt: skip
    return lines


def roofs(engines: Mapping[str, float], x: Axis, y: Axis) -> list[Line]:
    """Return the line of every engine, name -> peak FLOP/s, that lies above the foot of the chart."""
    return [
        Line(f"{name} engine, {format_quantity(peak, 'flop/s', digits=3)}", "currentColor",
             [(x.low, peak), (x.high, peak)], _DASHES[index % len(_DASHES)])
        for index, (name, peak) in enumerate(engines.items())
        if peak >= y.low
    ]  # fmt: skip


def peaks(ledger: Mapping[str, ScopeLedger], unit: str) -> dict[str, float]:
    """Return level -> peak of all chips together, links left out."""
    sums: dict[str, list[float]] = {}
    for scope, book in whole_scopes(ledger).items():
        if book.unit == unit:
            sums.setdefault(level_of(scope), []).append(book.peak_per_s)
    return {level: math.fsum(sums[level]) for level in sorted(sums)}


def _roofline_marks(result: Result, levels: Sequence[str]) -> list[Mark]:
    marks = []
    for phase, shape in _SHAPES.items():
        if phase not in result.phases:
            continue
        book = whole_scopes(result.phases[phase].ledger)
        flops = math.fsum(
            scope.peak_per_s * _share(scope, USEFUL)
            for name, scope in book.items()
            if scope.unit == "FLOP/s" and level_of(name) != "vector"
        )
        for index, level in enumerate(levels):
            moved = math.fsum(
                scope.peak_per_s * _share(scope, (*USEFUL, *GROUPS["moved"]))
                for name, scope in book.items()
                if scope.unit == "B/s" and level_of(name) == level
            )
            if flops > 0 and moved > 0:
                attained = format_quantity(flops, "flop/s", digits=3)
                text = f"{phase}, {level}: {attained} at {flops / moved:.3g} FLOP per byte"
                marks.append(Mark(text, LINE_COLOURS[index % 6], (flops / moved, flops), shape))
    return marks


def _share(scope: ScopeLedger, accounts: Sequence[str]) -> float:
    return math.fsum(scope.accounts.get(account, 0.0) for account in accounts)


def decades(low: float, high: float, dimension: str) -> list[tuple[float, str]]:
    """Return ticks from *low* to *high* with their names, in units of *dimension* if there is one."""
    first, last = math.ceil(math.log10(low) - 1e-9), math.floor(math.log10(high) + 1e-9)
    step = max(1, (last - first) // 6)
    values = [_DECADE**power for power in range(first, last + 1, step)]
    return [(value, format_quantity(value, dimension, digits=3) if dimension else f"{value:g}") for value in values]


def bandwidth(windows: Windows, name: str) -> Drawing:
    """Return what *name* served over time, as shares of its peak stacked by phase."""
    used = [layer for layer in LAYERS if any(windows.shares[layer])]
    end = windows.edges_s[-1]
    base = [0.0] * (len(windows.edges_s) - 1)
    areas = []
    for layer in used:
        top = [low + share for low, share in zip(base, windows.shares[layer], strict=True)]
        colour = ACCOUNT_COLOURS["overfetch"] if layer == "moved" else PHASE_COLOURS[layer]
        areas.append(Area(_layer_name(layer), colour, _steps(windows.edges_s, base), _steps(windows.edges_s, top)))
        base = top
    x = Axis("simulated time", 0.0, end, [(end * part, _time(end * part)) for part in (0, 0.25, 0.5, 0.75, 1)])
    y = Axis("share of peak", 0.0, 1.0, [(part, f"{100 * part:.0f} %") for part in (0, 0.25, 0.5, 0.75, 1)])
    keys = [(swatch(area.colour), area.name) for area in areas]
    return Drawing(chart(Chart(f"Bytes served by {name} over time", x, y, areas=areas, zooms=True)), keys)


def _layer_name(layer: str) -> str:
    return "moved, not needed" if layer == "moved" else f"useful, {layer}"


def _time(seconds: float) -> str:
    return "0" if seconds == 0 else format_quantity(seconds, "s", digits=3)


def _steps(edges: Sequence[float], values: Sequence[float]) -> list[tuple[float, float]]:
    points = []
    for start, end, value in zip(edges, edges[1:], values, strict=False):
        points += [(start, value), (end, value)]
    return points


def latency(runs: Sequence[tuple[str, Times]], which: str, title: str) -> Drawing | None:
    """Return the distribution of one latency (a field of `Times`) of *runs* (name, times); None where none has it."""
    columns = [(name, getattr(times, which)) for name, times in runs]
    positive = [(name, [value for value in values if value > 0]) for name, values in columns]
    shown = [(name, values) for name, values in positive if values]
    if not shown:
        return None
    lowest, highest = min(values[0] for _, values in shown), max(values[-1] for _, values in shown)
    low, high = 10.0 ** math.floor(math.log10(lowest)), 10.0 ** math.ceil(math.log10(highest * 1.0001))
    x = Axis(title, low, high, _log_ticks(low, high), logarithmic=True)
    y = Axis("share of requests", 0.0, 1.0, [(part, f"{100 * part:.0f} %") for part in (0, 0.25, 0.5, 0.75, 1)])
    lines = [
        Line(name, LINE_COLOURS[index], _distribution(values), _DASHES[index])
        for index, (name, values) in enumerate(shown)
    ]
    keys = [(swatch(line.colour, dash=line.dash), line.name) for line in lines]
    return Drawing(chart(Chart(f"Distribution: {title}", x, y, lines=lines)), keys)


def _log_ticks(low: float, high: float) -> list[tuple[float, str]]:
    """Return 1, 2 and 5 of each decade where these are few, else the decades alone."""
    powers = range(round(math.log10(low)), round(math.log10(high)) + 1)
    factors = (1, 2, 5) if len(powers) <= 3 else (1,)  # two decades
    values = [factor * _DECADE**power for power in powers for factor in factors]
    return [(value, format_quantity(value, "s", digits=3)) for value in values if low <= value <= high * 1.0001]


def _distribution(values: Sequence[float]) -> list[tuple[float, float]]:
    """Return the steps of the empirical distribution, at enough ranks for the eye and at every one of the tail."""
    count = len(values)
    ranks = {round(index * (count - 1) / _MOST_POINTS) for index in range(_MOST_POINTS + 1)}
    ranks |= set(range(max(0, count - 50), count))
    points = [(values[0], 0.0)]
    for rank in sorted(ranks):
        points += [(values[rank], points[-1][1]), (values[rank], (rank + 1) / count)]
    return points


def picture(svg: bytes, words: str) -> Markup:
    """Return a finished SVG as an image that stands in the page: its names and its ids stay its own."""
    data = base64.b64encode(svg).decode("ascii")
    return Markup('<img class="picture" alt="{}" src="data:image/svg+xml;base64,{}">').format(words, data)
