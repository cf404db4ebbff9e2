"""Replicas that start and stop: as the twin that walks says, nothing lost, and paid for as they run."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings

from archsim.errors import InputError
from archsim.serving.fleet import replay_fleet
from archsim.serving.policies import POLICIES
from archsim.serving.requests import Arrival, Limits
from archsim.serving.router import ROUTERS
from archsim.serving.servers import ServerGroup
from archsim.serving.techniques import PrefixRule, ScaleRule, Techniques
from archsim.simulate import load_model, load_system, run
from archsim.workload.trace import load_trace

sys.path.append(str(Path(__file__).parents[1]))
import fleet_twin
from fleet_twin import COSTS, SLOW

quiet = settings(deadline=None, derandomize=True, database=None, suppress_health_check=[HealthCheck.filter_too_much])
LIMITS = Limits(3, 100, 60, 4, 200)


@st.composite
def loads(draw: st.DrawFn) -> list[Arrival]:
    """Return up to twelve requests, no two at one instant: bursts and pauses."""
    gaps = st.sampled_from([3, 3, 10**6, 3 * 10**7, 10**9])
    rows = draw(st.lists(st.tuples(gaps, st.integers(1, 40), st.integers(1, 30)), min_size=5, max_size=12))
    at = np.cumsum([gap for gap, _, _ in rows]).tolist()
    return [Arrival(int(at), prompt, output) for at, (_, prompt, output) in zip(at, rows, strict=True)]


rules = st.builds(
    ScaleRule,
    least=st.integers(1, 2),
    most=st.integers(2, 3),
    scale=st.just(1),
    high=st.integers(2, 3),
    low=st.integers(1, 2),
    start_up_ps=st.sampled_from([0, 10**7, 10**8]),
    cool_down_ps=st.sampled_from([1, 10**7, 10**9]),
)


@given(loads(), rules, st.sampled_from(sorted(POLICIES)))
@settings(quiet, max_examples=20)
def test_a_fleet_that_scales_equals_its_twin(arrivals: list[Arrival], rule: ScaleRule, policy: str) -> None:
    """Every request goes to the same replica, and replicas run for the same picoseconds; nothing is lost."""
    limits = replace(LIMITS, techniques=Techniques(scaling=rule))
    fleet = replay_fleet(iter(arrivals), ServerGroup(COSTS, limits, 3, policy))
    scaler, chosen, end = fleet_twin.twin_scaled(arrivals, SLOW, limits, 3, policy)
    instants = [*(a.arrival_ps for a in arrivals), *scaler.timers, *set(fleet.record.requests.finish_ps.tolist())]
    assume(len(set(instants)) == len(instants) == 2 * len(arrivals) + len(scaler.timers))
    for replica, record in enumerate(fleet.replicas):
        mine = [arrival.arrival_ps for arrival, place in zip(arrivals, chosen, strict=True) if place == replica]
        assert record.requests.arrival_ps.tolist() == mine
    assert fleet.scaling is not None
    assert fleet.record.end_ps == end
    assert list(fleet.scaling.on_ps) == scaler.on_ps
    assert dict(fleet.scaling.changes) == dict(scaler.changes)
    assert fleet.record.completed == len(arrivals)


@given(loads(), st.sampled_from(sorted(ROUTERS)), st.integers(1, 4))
@settings(quiet, max_examples=25)
def test_as_many_at_least_as_at_most_are_fixed_replicas(arrivals: list[Arrival], router: str, replicas: int) -> None:
    """Windows, requests and phases of every replica are the same, and all run to the end."""
    plain = Techniques(prefix=PrefixRule("lru", 4, imbalance_tokens=10))
    rule = ScaleRule(replicas, replicas, 1, 2, 1, 5, 7)
    fixed, scaled = (
        replay_fleet(iter(arrivals), ServerGroup(COSTS, replace(LIMITS, techniques=t), replicas, router=router))
        for t in (plain, replace(plain, scaling=rule))
    )
    assert fixed.record.windows == scaled.record.windows
    assert [one.total for one in fixed.replicas] == [one.total for one in scaled.replicas]
    for name in ("arrival_ps", "first_token_ps", "finish_ps"):
        assert np.array_equal(getattr(fixed.record.requests, name), getattr(scaled.record.requests, name))
    assert scaled.scaling is not None
    assert scaled.scaling.on_ps == (scaled.record.end_ps,) * replicas
    assert (scaled.scaling.starts, scaled.scaling.stops) == (0, 0)


RULE = {"min": 1, "max": 8, "metric": "requests", "high": 2, "low": 1, "start_up": "500 ms", "cool_down": "200 ms"}


def _changes(**other: Any) -> tuple[str, ...]:
    return tuple(f"serving.scaling.{key}={value}" for key, value in (RULE | other).items())


def _run(changes: tuple[str, ...]) -> Any:
    trace = load_trace("azure-conv", limit=12, rate_scale=8)
    system = load_system("h100-sxm8", ("runtime.max_batch=8", *changes))
    return run(system, load_model("llama-3.1-8b"), trace=trace, parallelism="tp=1,dp=8")


@pytest.fixture(scope="module")
def runs() -> dict[str, Any]:
    """Return the same traffic on eight replicas that always run, that may not stop, and that scale."""
    return {
        "fixed": _run(()),
        "pinned": _run(_changes(min=8)),
        "scaled": _run(_changes(standby="10 W")),
    }


def test_pinned_replicas_are_fixed_ones_in_every_figure(runs: dict[str, Any]) -> None:
    """All of the result but its provenance and what is said of scaling."""
    fixed, pinned = runs["fixed"], runs["pinned"]
    same = {"provenance": fixed.provenance, "serving": None, "tables": fixed.tables}
    assert pinned.model_copy(update=same).to_json() == fixed.to_json()
    assert pinned.serving.scaling.mean_replicas == 8
    assert "scaling" not in fixed.to_json()


def test_what_is_off_draws_standby_and_is_not_paid_for(runs: dict[str, Any]) -> None:
    """Idle joules are those of chips whose replica is not off; capital of a token goes by replica-seconds."""
    fixed, scaled = runs["fixed"], runs["scaled"]
    facts = scaled.serving.scaling
    assert 1 <= facts.mean_replicas < 8
    assert facts.starts > 0
    assert scaled.requests.completed == fixed.requests.completed == 12
    assert scaled.tokens == fixed.tokens
    integral = sum(
        count * (after - at)
        for (at, count), (after, _) in zip(facts.changes, [*facts.changes[1:], (scaled.simulated_s, 0)], strict=True)
    )
    assert integral == pytest.approx(facts.replica_seconds, rel=1e-9)
    idle_watts = float(load_system("h100-sxm8").chip.energy.idle_watts)
    chip_s = 8 * scaled.simulated_s - facts.replica_seconds
    assert scaled.energy.by_part["chip.idle"] == pytest.approx(idle_watts * facts.replica_seconds, rel=1e-9)
    assert scaled.energy.by_part["chip.standby"] == pytest.approx(10 * chip_s, rel=1e-9)
    rate, share = scaled.throughput.output_tokens_per_s, facts.mean_replicas / 8
    paid = scaled.cost.by_part["chip"].mid * rate / share
    assert paid == pytest.approx(fixed.cost.by_part["chip"].mid * fixed.throughput.output_tokens_per_s, rel=1e-9)


@pytest.mark.parametrize(
    ("other", "words"),
    [
        ({"min": 9}, r"serving\.scaling\.min.*at most max, 8"),
        ({"max": 9}, r"serving\.scaling\.max.*at most the 8 replicas"),
        ({"low": 3}, r"serving\.scaling\.low.*less than high, 2"),
        ({"metric": "queue"}, r"serving\.scaling\.metric.*requests.*utilization"),
    ],
)
def test_contradictions_are_named(other: dict[str, Any], words: str) -> None:
    """Each message has the key and what was expected."""
    with pytest.raises(InputError, match=words):
        _run(_changes(**other))
