"""Error bars in words: a cell of a table, the lines of a run, and which designs cannot be told apart."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

from archsim.metrics.uncertainty import Interval, Uncertainty
from archsim.report.views import percent
from archsim.result import Result
from archsim.units import format_quantity

__all__ = ["bar_cell", "first_cell", "interval_lines", "overlap_lines", "rate_of"]

_MOST_PARTS = 3
_MOST_PAIRS = 6
_WORDS = {"between": "between silicons"}


def bar_cell(result: Result) -> str:
    """Return the 80 % interval of TPOT as a range, `x` before one that is extrapolated."""
    found = result.uncertainty
    if found is None:
        return "-"
    return f"{'x ' if found.extrapolated else ''}{_range(found.tpot_s)}"


def interval_lines(result: Result) -> list[tuple[str, str]]:
    """Return the lines of one run: the intervals, what they are made of, and where the design is extrapolated."""
    found = result.uncertainty
    if found is None:
        return []
    rate = found.output_tokens_per_s
    name = f"{percent(found.level, 0)} interval"
    first = "" if found.ttft_s is None else f"TTFT {_range(found.ttft_s)}, "
    lines = [(name, f"TPOT {_range(found.tpot_s)}, {first}{rate.low:,.0f} to {rate.high:,.0f} output tokens/s")]
    lines.append(("  made of", _parts(found)))
    if found.extrapolated:
        lines.append(("  extrapolated", f"{', '.join(found.extrapolated)}: wider by a stated prior"))
    return lines


def first_cell(result: Result) -> str:
    """Return the 80 % interval of TTFT as a range; `-` without requests."""
    found = result.uncertainty
    return "-" if found is None or found.ttft_s is None else _range(found.ttft_s)


def overlap_lines(results: Sequence[Result]) -> list[str]:
    """Return which designs' intervals of output tokens/s overlap, so that their order is not certain."""
    bars = [(result.system.name, bar) for result in results if (bar := rate_of(result)) is not None]
    pairs = [f"{a} and {b}" for (a, first), (b, second) in combinations(bars, 2) if _overlap(first, second)]
    if not pairs:
        return ["80 % intervals of output tokens/s do not overlap"] if len(bars) > 1 else []
    more = f" and {len(pairs) - _MOST_PAIRS} more pairs" if len(pairs) > _MOST_PAIRS else ""
    shown = "; ".join(pairs[:_MOST_PAIRS])
    return [f"80 % intervals of output tokens/s overlap, so their order is not certain: {shown}{more}"]


def rate_of(result: Result) -> Interval | None:
    """Return the interval of output tokens/s: at saturation where that was searched, else over the run."""
    found = result.uncertainty
    if found is None:
        return None
    return found.output_tokens_per_s if result.saturation is None else found.saturation_output_tokens_per_s


def _overlap(first: Interval, second: Interval) -> bool:
    return first.low <= second.high and second.low <= first.high


def _parts(found: Uncertainty) -> str:
    largest = sorted(found.parts.items(), key=lambda item: (-item[1], item[0]))[:_MOST_PARTS]
    parts = ", ".join(f"{_WORDS.get(name, name.replace('_', ' '))} {percent(part, 0)}" for name, part in largest)
    return f"{parts}, added in quadrature ({percent(found.half_width, 0)} in all)"


def _range(bar: Interval) -> str:
    low, high = (format_quantity(value, "s", digits=3) for value in (bar.low, bar.high))
    first, _, unit = low.rpartition(" ")
    return f"{first} to {high}" if high.endswith(f" {unit}") else f"{low} to {high}"
