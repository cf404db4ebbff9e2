"""Output tokens per second of several designs, each with its 80 % interval."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.figure import Figure

from archsim.report import style
from archsim.report.interval_text import rate_of
from archsim.report.views import trace_label
from archsim.result import Result

__all__ = ["throughput_bars"]

_ROW_IN = 0.36


def throughput_bars(results: Sequence[Result]) -> Figure:
    """Return one bar a design with its error bar: at saturation where it was searched, else over the run.

    Bars of designs outside what was validated are hatched. Those without a rate have no bar.
    """
    saturated = any(result.saturation is not None for result in results)
    with style.styled():
        figure = Figure(figsize=(style.TWO_COLUMNS_IN, _ROW_IN * len(results) + 1.2), layout="constrained")
        axes = figure.add_subplot()
        for row, result in enumerate(results):
            rate = _rate(result, saturated=saturated)
            if rate is None:
                continue
            outside = result.uncertainty is not None and bool(result.uncertainty.extrapolated)
            axes.barh(row, rate, height=0.6, color=style.LINE_COLOURS[0], alpha=0.45 if outside else 0.8,
                      hatch="///" if outside else None, edgecolor="white", linewidth=0.0)  # fmt: skip
            bar = rate_of(result)
            if bar is not None:
                axes.errorbar(rate, row, xerr=[[max(rate - bar.low, 0.0)], [max(bar.high - rate, 0.0)]], fmt="none",
                              ecolor="black", elinewidth=1.0, capsize=3)  # fmt: skip
        axes.set_yticks(range(len(results)), [result.system.name for result in results])
        axes.invert_yaxis()
        axes.set_xlim(left=0)
        axes.set_xlabel(f"output tokens/s{' at saturation' if saturated else ''}; black: 80 % interval; "
                        "hatched: extrapolated beyond what was validated")  # fmt: skip
        axes.xaxis.set_major_formatter("{x:,.0f}")
        style.quiet_axes(axes)
        first = results[0]
        figure.suptitle(f"Output rate: {first.model.name} {first.model.precision}, {trace_label(first)}",
                        fontsize=8.5, fontweight="bold", x=0.01, ha="left")  # fmt: skip
    return figure


def _rate(result: Result, *, saturated: bool) -> float | None:
    if saturated:
        return result.saturation.output_tokens_per_s if result.saturation else None
    return result.throughput.output_tokens_per_s
