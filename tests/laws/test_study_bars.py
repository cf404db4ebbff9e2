"""The interval of a point of a study: ends as the result has them, and quotients of the rate with its relative ends."""

from __future__ import annotations

import math

import pytest

from archsim.report.study_figures import Curve, FrontPoint, Measure, pareto_front, scaling_curve
from archsim.result import Result
from archsim.simulate import load_model, load_system
from archsim.single import Bench
from archsim.study.bars import Bar, bar_of, is_extrapolated, is_uncertainty
from archsim.study.metrics import METRICS, Number, metrics_of


@pytest.fixture(scope="module", params=["h100-sxm8", "h100-sxm8-pnm"])
def step(request: pytest.FixtureRequest) -> tuple[Result, dict[str, Number]]:
    """Return one step of a validated design and of one with units near memory, and its row."""
    spec = load_system(request.param)
    result = Bench(spec, load_model("llama-3.1-8b")).step(batch=8, context=1024, tables=False)
    return result, metrics_of(result, spec)


def test_a_row_has_the_ends_of_its_result(step: tuple[Result, dict[str, Number]]) -> None:
    """Rate and mean time: `uncertainty` of the result; the flag is that any reason stands there."""
    result, row = step
    found = result.uncertainty
    assert found is not None
    assert bar_of("tokens_per_s", row) == Bar(found.output_tokens_per_s.low, found.output_tokens_per_s.high)
    assert (row["tpot_s_mean_low"], row["tpot_s_mean_high"]) == (found.tpot_s.low, found.tpot_s.high)
    assert row["saturation_tokens_per_s_low"] is None
    assert is_extrapolated(row) == bool(found.extrapolated) == (result.system.name == "h100-sxm8-pnm")


@pytest.mark.parametrize("metric", ["tokens_per_s_per_chip", "tokens_per_s_per_w", "tokens_per_s_per_user"])
def test_quotients_of_the_rate_have_its_relative_interval(step: tuple[Result, dict[str, Number]], metric: str) -> None:
    """In a step without idle time all are exp(+-half-width) about the value; those of one user as the inverse of it."""
    result, row = step
    bar, value = bar_of(metric, row), row[metric]
    assert bar is not None
    assert value is not None
    assert result.uncertainty is not None
    for end, sign in ((bar.low, -1), (bar.high, 1)):
        assert math.log(end / value) == pytest.approx(sign * result.uncertainty.half_width, abs=1e-6)


def test_what_has_no_interval_has_none(step: tuple[Result, dict[str, Number]]) -> None:
    """Ranges of energy and cost are no intervals, nor is a percentile given one; rows without ends have none."""
    _, row = step
    assert all(bar_of(metric, row) is None for metric in ("energy_j_per_token", "usd_per_million_tokens", "tpot_s_p99"))
    assert bar_of("tokens_per_s", {"tokens_per_s": 1.0}) is None
    ends = {metric for metric in METRICS if is_uncertainty(metric)}
    assert {"tokens_per_s_low", "tpot_s_mean_high", "saturation_tokens_per_s_low", "extrapolated"} < ends
    assert len(ends) == 7


def test_figures_draw_the_interval_of_a_named_point_and_mark_what_is_extrapolated() -> None:
    """A line from end to end in the axes' units, ms and 1/s, and one hollow marker; a faint point has neither."""
    points = [
        FrontPoint(0.010, 50.0, "front", "a", x_ends=(0.009, 0.011), y_ends=(45.0, 55.0)),
        FrontPoint(0.020, 90.0, "front", "b", x_ends=(0.016, 0.025), y_ends=(70.0, 110.0), outside=True),
        FrontPoint(0.030, 10.0, "dominated"),
    ]
    figure = pareto_front(points, (Measure("time", "s"), Measure("rate", "1/s")), title="t")
    lines = figure.axes[0].get_lines()
    spans = [
        tuple(line.get_xdata()) for line in lines if len(set(line.get_ydata())) == 1 and len(line.get_xdata()) == 2
    ]
    assert spans == [pytest.approx((9.0, 11.0)), pytest.approx((16.0, 25.0))]
    assert [list(line.get_xdata()) for line in lines if line.get_markerfacecolor() == "white"] == [[20.0]]
    curve = Curve("c", [1.0, 2.0], [1.0, 2.0], ends=(1.5, 2.5), outside=[False, True])
    lines = scaling_curve([curve], "x", Measure("rate", "1/s"), title="t").axes[0].get_lines()
    assert [2.0] in [list(line.get_xdata()) for line in lines if line.get_markerfacecolor() == "white"]
    assert (1.5, 2.5) in [tuple(line.get_ydata()) for line in lines]
