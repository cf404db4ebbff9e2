"""From a rate to the cost of users: whole systems, their load, and where the curve ends."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from archsim.economics.assess import Owned, Running, assessed
from archsim.economics.growth import Demand, cost_curve, smooth_between, steps_between
from archsim.economics.spec import load_economics
from archsim.errors import InputError
from archsim.hardware.library import load_system
from archsim.simulate import evaluate_step, load_model
from archsim.study.door import load_study
from archsim.study.evaluate import Evaluator
from archsim.study.metrics import metrics_of

SPEC = load_system("h100-sxm8")
DEMAND = Demand(10, 216)
"""216 tokens ten times a day: a fortieth of a token per second."""


@pytest.fixture(scope="module")
def running() -> Running:
    """A system that yields 10,000 tokens/s: at half of the day it serves 200,000 users."""
    result = evaluate_step(SPEC, load_model("llama-3.1-8b"), batch=8, context=1000)
    return Running(result, Owned.of(SPEC, load_economics()), tokens_per_s=10_000.0)


def test_systems_are_whole_and_bought_for_the_busy_hours(running: Running) -> None:
    """Half of 10,000 tokens/s is 200,000 users of a fortieth; one more user takes another system."""
    below, above = cost_curve(running, DEMAND, [200_000, 200_001])
    assert (below.systems[1], above.systems[1]) == (1, 2)
    assert below.load.mid == pytest.approx(0.5, rel=1e-12)
    assert above.load.mid == pytest.approx(0.25, rel=1e-4)


def test_a_full_system_costs_what_a_run_does(running: Running) -> None:
    """At the load that capacity is bought for, a token carries what `cost` says of it."""
    (full,) = cost_curve(running, DEMAND, [200_000])
    used = running.economics.operation.utilization.range
    price = running.economics.place.energy.range
    parts = [*running.per_token(running.capital, used).values()]
    parts += [joules.times(price) for joules in running.joules_per_token(used).values()]
    assert full.usd_per_million_tokens.mid == pytest.approx(1e6 * math.fsum(part.mid for part in parts), rel=1e-12)


def test_one_system_costs_by_its_users(running: Running) -> None:
    """A month of a system that idles: half of its users pay twice, but for the energy of their own tokens."""
    few, more = cost_curve(running, DEMAND, [1000, 2000])
    a_day = (few.usd_per_user_month.mid * 1000, more.usd_per_user_month.mid * 2000)
    assert a_day[0] == pytest.approx(a_day[1], rel=0.01)
    assert few.usd_per_user_month.mid > more.usd_per_user_month.mid


@settings(deadline=None, derandomize=True, database=None, max_examples=60)
@given(st.integers(1, 10**7))
def test_ends_are_in_order_for_any_number_of_users(users: int) -> None:
    """Low <= mid <= high of systems, cost and carbon; no load beyond what capacity is bought for."""
    (point,) = cost_curve(_running(), DEMAND, [users])
    assert point.systems[0] <= point.systems[1] <= point.systems[2]
    for value in (point.usd_per_million_tokens, point.usd_per_user_month, point.g_co2e_per_million_tokens):
        assert value.low <= value.mid <= value.high
    assert all(load <= most + 1e-8 for load, most in zip(point.load, (0.7, 0.5, 0.3), strict=True))


_KEPT: list[Running] = []


def _running() -> Running:
    if not _KEPT:
        result = evaluate_step(SPEC, load_model("llama-3.1-8b"), batch=8, context=1000)
        _KEPT.append(Running(result, Owned.of(SPEC, load_economics()), tokens_per_s=10_000.0))
    return _KEPT[0]


def test_a_query_and_a_month_follow_from_a_token(running: Running) -> None:
    """216 tokens a query, ten of them a day, 365.25 / 12 days a month."""
    (point,) = cost_curve(running, DEMAND, [50_000])
    token = point.usd_per_million_tokens.mid / 1e6
    assert point.usd_per_query.mid == pytest.approx(216 * token, rel=1e-12)
    assert point.usd_per_user_month.mid == pytest.approx(2160 * 365.25 / 12 * token, rel=1e-12)


def test_numbers_of_users_are_round() -> None:
    """1, 2 and 5 of each power of ten between the ends, which are kept as they are."""
    assert steps_between(1000, 20_000) == [1000, 2000, 5000, 10_000, 20_000]
    assert steps_between(7, 7) == [7]
    assert smooth_between(10, 1000, points=3) == [10, 100, 1000]


def test_a_study_takes_prices_of_its_own(tmp_path: Path) -> None:
    """Keys of the study reach every point and the identity of its store; an unknown region is refused by its key."""
    text = (
        'kind = "study"\nname = "priced"\ntitle = "At what price?"\nsystems = ["h100-sxm8"]\nmodel = "llama-3.1-8b"\n'
        '{prices}\n[[workload]]\nname = "w"\nbatch = 4\ncontext = 500\n'
        '[[objective]]\nmetric = "usd_per_million_tokens"\ngoal = "min"\n'
    )
    found, digests = {}, set()
    for name, prices in (("own", 'region = "france"\nbasis = "parts"'), ("none", "")):
        path = tmp_path / f"{name}.toml"
        path.write_text(text.format(prices=prices), "utf-8")
        study = load_study(str(path))
        digests.add(study.identity.digest)
        found[name] = Evaluator().evaluate(study.case(0)).metrics
    assert len(digests) == 2
    own = evaluate_step(SPEC, load_model("llama-3.1-8b"), batch=4, context=500)
    cost = assessed(own, SPEC, load_economics(region="france", basis="parts")).cost
    assert cost is not None
    assert found["own"]["usd_per_million_tokens"] == cost.usd_per_million_output_tokens
    assert own.cost is not None
    assert found["none"]["usd_per_million_tokens"] == own.cost.usd_per_million_output_tokens
    (tmp_path / "wrong.toml").write_text(text.format(prices='region = "mars"'), "utf-8")
    with pytest.raises(InputError, match=r"economics: .*mars"):
        load_study(str(tmp_path / "wrong.toml"))


def test_what_nobody_prices_has_no_metric_to_win_by() -> None:
    """A TPU without a known die has a lower bound in its result and no cost in a study."""
    tpu = load_system("tpu-v6e-8")
    result = evaluate_step(tpu, load_model("llama-3.1-8b"), batch=4, context=500)
    assert result.cost is not None
    assert "chip.die" in result.cost.absent
    metrics = metrics_of(result, tpu)
    assert metrics["usd_per_million_tokens"] is None
    assert metrics["capital_usd"] is None
    assert metrics["g_co2e_per_million_tokens"] is None
