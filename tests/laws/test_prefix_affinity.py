"""Requests go where their beginnings lie, as the twin that walks says, and it pays where replicas are many."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, assume, given, settings

from archsim.errors import InputError
from archsim.serving.fleet import replay_fleet
from archsim.serving.policies import POLICIES
from archsim.serving.requests import Arrival, Limits
from archsim.serving.router import Offer, prefix_affinity
from archsim.serving.servers import ServerGroup
from archsim.serving.techniques import PrefixRule, Techniques
from archsim.simulate import load_model, load_system, run
from archsim.workload.trace import load_trace

sys.path.append(str(Path(__file__).parents[1]))
sys.path.append(str(Path(__file__).parent))
import fleet_twin
from fleet_twin import COSTS, SLOW
from test_replay_twin import _beginning

quiet = settings(deadline=None, derandomize=True, database=None, suppress_health_check=[HealthCheck.filter_too_much])
LIMITS = Limits(4, 100, 60, 4, 200)


@st.composite
def talks(draw: st.DrawFn) -> list[Arrival]:
    """Return up to twelve requests, no two at one instant, that begin as one of three talks."""
    rows = draw(st.lists(st.tuples(st.integers(1, 10**8), st.integers(4, 60), st.integers(1, 30)), max_size=12))
    own, at, arrivals = iter(range(1000, 10**6)), 0, []
    for gap, prompt, output in rows:
        at += gap
        arrivals.append(Arrival(at, prompt, output, _beginning(draw, prompt // 4, own)))
    return arrivals


@given(talks(), st.integers(2, 4), st.sampled_from([1, 60, 10**6]), st.sampled_from(sorted(POLICIES)))
@settings(quiet, max_examples=60)
def test_a_fleet_behind_affinity_equals_its_twin(
    arrivals: list[Arrival], replicas: int, imbalance: int, policy: str
) -> None:
    """Every request goes to the same replica and has the same times; so does what is found."""
    limits = replace(LIMITS, techniques=Techniques(prefix=PrefixRule("lru", 4, imbalance_tokens=imbalance)))
    fleet = replay_fleet(iter(arrivals), ServerGroup(COSTS, limits, replicas, policy, "prefix_affinity"))
    chosen, twins = fleet_twin.twin_fleet(arrivals, SLOW, limits, replicas, policy)
    done = {row.finish_ps for slow in twins for row in slow.rows}
    assume(not done & {arrival.arrival_ps for arrival in arrivals})
    for replica, (record, slow) in enumerate(zip(fleet.replicas, twins, strict=True)):
        assert record.requests.arrival_ps.tolist() == [
            arrival.arrival_ps for arrival, place in zip(arrivals, chosen, strict=True) if place == replica
        ]
        assert record.requests.finish_ps.tolist() == [row.finish_ps for row in slow.rows]
        assert record.prefixes is not None
        assert record.prefixes.hit_tokens == slow.cache.hit
    assert fleet.record.completed == len(arrivals)
    assert fleet.record.requests.output_tokens.sum() == sum(arrival.output_tokens for arrival in arrivals)


@pytest.mark.parametrize(
    ("held", "owed", "chosen"),
    [
        ((0, 8, 4), (50, 60, 0), 1),  # most of it is there, and the queue is within 60 of the shortest
        ((0, 8, 4), (50, 61, 0), 2),  # one token beyond
        ((0, 0, 0), (5, 5, 9), 0),  # nobody has any
        ((8, 8, 0), (7, 3, 0), 1),  # of equals the one that owes less
    ],
)
def test_affinity_gives_way_to_balance(held: tuple[int, ...], owed: tuple[int, ...], chosen: int) -> None:
    """Imbalance is 60 tokens."""
    assert prefix_affinity(Offer(0, 0, 9, held, 60), owed) == chosen


def test_affinity_finds_all_that_was_said_before() -> None:
    """Five talks of six turns, each a unit longer, one turn after the other: all but what is new is found.

    Dealt in turn on three replicas, turn t of talk k is request 5 t + k and last had the replica three turns before.
    """
    arrivals = [
        Arrival(10**9 * (5 * turn + talk), 4 * turn + 6, 3, tuple(range(100 * talk, 100 * talk + turn + 1)))
        for turn in range(6)
        for talk in range(5)
    ]
    limits = replace(LIMITS, kv_blocks=600, techniques=Techniques(prefix=PrefixRule("lru", 4, imbalance_tokens=10**6)))
    found = {
        router: replay_fleet(iter(arrivals), ServerGroup(COSTS, limits, 3, router=router)).record.prefixes
        for router in ("round_robin", "prefix_affinity")
    }
    assert found["prefix_affinity"] is not None
    assert found["round_robin"] is not None
    assert found["prefix_affinity"].hit_tokens == 5 * sum(4 * turn for turn in range(6))
    assert found["round_robin"].hit_tokens == 5 * sum(4 * (turn - 2) for turn in range(3, 6))


@pytest.mark.parametrize("cache", [(), ("serving.prefix_cache.eviction=lru",)])
def test_affinity_without_a_cache_or_an_imbalance_is_refused(cache: tuple[str, ...]) -> None:
    """The option and what is missing stand in the message."""
    trace = load_trace("azure-conv", limit=2)
    with pytest.raises(InputError, match=r"--parallel router.*serving\.prefix_cache with its key imbalance"):
        run(load_system("h100-sxm8", cache), load_model("llama-3.1-8b"), trace=trace,
            parallelism="tp=1,dp=8,router=prefix_affinity")  # fmt: skip
