"""Replicas behind a router: nothing is lost or shared, one is none, and routers keep their word."""

from __future__ import annotations

import math
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from archsim.errors import InputError
from archsim.hardware.library import load_system
from archsim.hardware.system import System
from archsim.mapping.parallelism import Parallelism
from archsim.mapping.replicas import replicas_of
from archsim.serving.fleet import Fleet, replay_fleet
from archsim.serving.replay import replay
from archsim.serving.requests import Arrival, Limits
from archsim.serving.router import ROUTERS, Offer
from archsim.serving.servers import ServerGroup
from archsim.serving.techniques import PrefixRule, Techniques
from archsim.simulate import evaluate_step, load_trace, run
from archsim.single import search_parallelism
from archsim.workload.model import load_model

sys.path.append(str(Path(__file__).parents[1]))
import replay_toy as toy

LAWS = settings(max_examples=60, deadline=None, derandomize=True, database=None)
COSTS = toy.ToyCosts(
    lambda batch, kv: 10**9 + 10**6 * batch + 1000 * kv, lambda tokens, pairs: 10**9 + 10**7 * tokens + pairs,
    spacing_bits=10,
)  # fmt: skip
LIMITS = Limits(
    max_batch=8, max_prefill_tokens=100, kv_blocks=40, block_tokens=4, context_tokens=110,
    techniques=Techniques(prefix=PrefixRule("lru", 4, imbalance_tokens=100)),
)  # fmt: skip
H100 = load_system("h100-sxm8")
MODEL = load_model("llama-3.1-8b")


@st.composite
def traces(draw: st.DrawFn) -> list[Arrival]:
    """Return arrivals, some at one instant, some too long for the limits."""
    rows = draw(st.lists(st.tuples(st.integers(0, 10**11), st.integers(1, 60), st.integers(1, 60)), max_size=40))
    return [Arrival(at, prompt, output) for at, prompt, output in sorted(rows)]


def fleet_of(arrivals: list[Arrival], router: str, replicas: int) -> Fleet:
    """Return the replay on a toy's fleet."""
    return replay_fleet(iter(arrivals), ServerGroup(COSTS, LIMITS, replicas, router=router))


@LAWS
@given(arrivals=traces(), router=st.sampled_from(sorted(ROUTERS)))
def test_one_replica_is_a_server_without_a_router(arrivals: list[Arrival], router: str) -> None:
    """Requests, windows and phases are those of the plain replay; only the router's own events come on top."""
    fleet, alone = fleet_of(arrivals, router, 1), replay(iter(arrivals), COSTS, limits=LIMITS)
    for name in ("arrival_ps", "first_token_ps", "finish_ps", "preemptions", "prompt_tokens", "output_tokens"):
        assert np.array_equal(getattr(fleet.record.requests, name), getattr(alone.requests, name))
    assert fleet.record.total.phases == alone.total.phases
    assert (fleet.record.total.end_fine, fleet.record.total.idle_fine) == (alone.total.end_fine, alone.total.idle_fine)
    assert (fleet.record.completed, fleet.record.preemptions) == (alone.completed, alone.preemptions)


@LAWS
@given(arrivals=traces(), replicas=st.integers(2, 4))
def test_a_dealt_replica_serves_its_requests_as_if_alone(arrivals: list[Arrival], replicas: int) -> None:
    """Round robin gives replica r every R-th request; it serves them as a server of its own would."""
    fleet = fleet_of(arrivals, "round_robin", replicas)
    for number, record in enumerate(fleet.replicas):
        alone = replay(iter(arrivals[number::replicas]), COSTS, limits=LIMITS)
        assert np.array_equal(record.requests.finish_ps, alone.requests.finish_ps)
        assert np.array_equal(fleet.record.requests.finish_ps[number::replicas], alone.requests.finish_ps)
        assert record.total.phases == alone.total.phases


@LAWS
@given(arrivals=traces(), router=st.sampled_from(sorted(ROUTERS)), replicas=st.integers(2, 4))
def test_replicas_sum_to_the_fleet(arrivals: list[Arrival], router: str, replicas: int) -> None:
    """Every request is served or refused once; every replica's time is idle or in a phase, to the end of the last."""
    fleet = fleet_of(arrivals, router, replicas)
    record, parts = fleet.record, fleet.replicas
    assert record.completed + record.rejected == len(arrivals)
    assert sum(len(part.requests.arrival_ps) for part in parts) == len(arrivals)
    assert list(record.requests.arrival_ps) == [arrival.arrival_ps for arrival in arrivals]
    refused = record.requests.rejection > 0
    assert np.array_equal(refused, record.requests.finish_ps < 0)
    ends = {part.total.end_fine for part in parts}
    assert len(ends) == 1
    whole = [record.total, *record.windows]
    for window in whole:
        spent = window.idle_fine + sum(use.time_fine for use in window.phases.values())
        assert abs(spent - replicas * (window.end_fine - window.start_fine)) <= 2 * replicas
    assert all(before.end_fine == after.start_fine for before, after in pairwise(record.windows))
    assert record.total.output_tokens == sum(part.total.output_tokens for part in parts)
    for phase, use in record.total.phases.items():
        assert use.iterations == sum(p.total.phases[phase].iterations for p in parts if phase in p.total.phases)


def test_the_least_loaded_replica_gets_the_next_request() -> None:
    """A long request on the first replica sends the next two to the second, until that owes more."""
    arrivals = [Arrival(0, 50, 50), Arrival(1, 10, 10), Arrival(2, 10, 10), Arrival(3, 40, 40), Arrival(4, 5, 5)]
    fleet = fleet_of(arrivals, "least_tokens", 2)
    first, second = (list(part.requests.arrival_ps) for part in fleet.replicas)
    assert first == [0, 4]
    assert second == [1, 2, 3]


def test_what_is_done_is_owed_no_more() -> None:
    """After its request is finished a replica is as free as the others: the first of equals is chosen again."""
    far = 10**13
    fleet = fleet_of([Arrival(0, 50, 50), Arrival(far, 5, 5), Arrival(far + 1, 5, 5)], "least_tokens", 2)
    assert [list(part.requests.arrival_ps) for part in fleet.replicas] == [[0, far], [far + 1]]


def test_a_session_stays_where_it_is() -> None:
    """Requests of one session go to one replica; without sessions each request is its own."""
    arrivals = [Arrival(at, 5, 5) for at in range(12)]
    sessions = [7, 4, 7, 4, 1, 1, 7, 2, 2, 4, 1, 7]
    fleet = replay_fleet(iter(arrivals), ServerGroup(COSTS, LIMITS, 3, router="session_affinity"), sessions=sessions)
    for number, part in enumerate(fleet.replicas):
        assert [sessions[at] % 3 for at in part.requests.arrival_ps] == [number] * len(part.requests.arrival_ps)
    assert ROUTERS["session_affinity"](Offer(5, 5, 10), (0, 0, 0)) == ROUTERS["round_robin"](Offer(5, 5, 10), (0, 0, 0))


def test_an_unknown_router_is_refused_with_a_suggestion() -> None:
    """The names are those of `ROUTERS`."""
    with pytest.raises(InputError, match="did you mean 'round_robin'"):
        fleet_of([], "round_robbin", 2)


@pytest.mark.parametrize("text", ["dp=8", "tp=4,dp=2", "tp=2,pp=2,dp=2", "tp=2,dp=4,order=dp_inner"])
def test_replicas_of_a_batch_are_systems_of_their_own(text: str) -> None:
    """Eight chips in R replicas take for R times the batch what one replica's chips take for the batch."""
    ways = Parallelism.parse(text)
    whole = evaluate_step(H100, MODEL, batch=4 * ways.dp, context=900, parallelism=text)
    small = H100.model_copy(update={"chips": ways.tp * ways.pp})
    part = evaluate_step(small, MODEL, batch=4, context=900, parallelism=f"tp={ways.tp},pp={ways.pp}")
    assert whole.latency_s.tpot.mean == part.latency_s.tpot.mean
    assert whole.mbu == pytest.approx(part.mbu, rel=1e-9)
    assert whole.throughput.output_tokens_per_s == pytest.approx(
        ways.dp * (part.throughput.output_tokens_per_s or 0.0), rel=1e-12
    )
    for ledger in whole.ledger.values():
        assert math.fsum(ledger.accounts.values()) == pytest.approx(1.0, rel=1e-9)


def test_a_replica_without_a_sequence_is_idle() -> None:
    """Three sequences on eight replicas: five chips do nothing, three do what one alone does."""
    result = evaluate_step(H100, MODEL, batch=3, context=900, parallelism="dp=8")
    assert [result.ledger[f"chip{chip}.hbm"].accounts.get("idle", 0.0) for chip in range(8)] == [0.0] * 3 + [1.0] * 5
    assert result.ledger["chip0-7.hbm"].accounts["idle"] == pytest.approx(5 / 8, rel=1e-12)
    assert result.phases["decode"].ledger["chip0-7.hbm"].accounts.get("idle", 0.0) == 0.0


def test_a_trace_on_replicas_reports_all_of_them() -> None:
    """Ledgers of every replica and of all chips balance, and the whole is the mean of its parts."""
    trace = load_trace("azure-conv", limit=120, rate_scale="1", seed=0)
    result = run(H100, MODEL, trace=trace, parallelism="tp=4,dp=2,router=least_tokens", slo_s=0.05)
    assert result.requests.completed == 120
    assert result.system.main_memory == "chip0-7.hbm"
    assert {"chip0-3.hbm", "chip4-7.hbm", "chip0-7.hbm"} <= result.ledger.keys()
    links = {scope for scope in result.ledger if scope.startswith("link.")}
    assert len(links) == 16
    for phase in (result, *result.phases.values()):
        for ledger in phase.ledger.values():
            assert math.fsum(ledger.accounts.values()) == pytest.approx(1.0, rel=1e-9)
    parts = [result.ledger[scope].accounts for scope in ("chip0-3.hbm", "chip4-7.hbm")]
    for account, share in result.ledger["chip0-7.hbm"].accounts.items():
        assert share == pytest.approx(sum(part.get(account, 0.0) for part in parts) / 2, rel=1e-9)
    assert sum(phase.time_s for phase in result.phases.values()) == pytest.approx(result.simulated_s, rel=1e-9)
    assert result.saturation is not None
    assert "router=least_tokens" in result.provenance.command
    assert result.tables is not None
    ledger = result.tables.ledger
    whole = ledger.scope == ledger.scopes.index("chip0-7.hbm")
    peak = ledger.peaks_per_s[ledger.scopes.index("chip0-7.hbm")]
    assert ledger.amount[whole].sum() == pytest.approx(peak * result.simulated_s, rel=1e-9)


def test_replicas_that_share_links_are_refused() -> None:
    """On a ring, replicas of every second chip pass each other's links; neighbours do not."""
    ring = System(load_system("h100-sxm8", ("network.topology=ring", "network.shape=[8]"))).network
    assert len(replicas_of(Parallelism(2, dp=4), ring, range(8))) == 4
    with pytest.raises(InputError, match=r"link\.chip\d-chip\d, which replicas 0 and 1 pass"):
        replicas_of(Parallelism(2, dp=4, order="dp_inner"), ring, range(8))


def test_replicas_map_every_link_once() -> None:
    """The links of all replicas are the network's, each of one replica."""
    network = System(H100).network
    found = replicas_of(Parallelism(2, dp=4), network, range(8))
    names = sorted(name for replica in found for name in replica.links.values())
    assert names == sorted(link.name for link in network.links)


def test_the_search_shows_the_fastest_first_and_why_others_cannot() -> None:
    """`auto` takes the first row: no other way that fits yields more tokens a second."""
    large = load_model("llama-3.1-70b")
    trials = search_parallelism(H100, large, batch=16, context=2000)
    rates = [trial.output_tokens_per_s or 0.0 for trial in trials]
    assert rates == sorted(rates, reverse=True)
    refused = [trial for trial in trials if trial.tpot_s is None]
    assert refused == trials[-len(refused) :]
    assert all((trial.missing_bytes_per_chip > 0) == (trial in refused) for trial in trials)
    best = evaluate_step(H100, large, batch=16, context=2000, parallelism="auto")
    assert best.latency_s.tpot.mean == trials[0].tpot_s
    assert ",".join(f"{k}={v}" for k, v in best.parallelism.model_dump().items()) == trials[0].parallelism


def test_a_search_in_which_nothing_fits_says_what_is_missing() -> None:
    """405 billion parameters on eight chips fit in no way."""
    with pytest.raises(InputError, match="bytes are missing on each chip"):
        search_parallelism(H100, load_model("llama-3.1-405b"), batch=1, context=100)
