"""Caches that move to a tier and back: equal to the twin that walks, nothing lost, and what is refused."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings

from archsim.errors import InputError
from archsim.run import load_model, load_system, run
from archsim.serving.policies import POLICIES
from archsim.serving.prefix import EVICTIONS
from archsim.serving.record import PhaseUse
from archsim.serving.replay import replay
from archsim.serving.requests import Arrival, Limits
from archsim.serving.techniques import DraftRule, PrefixRule, Techniques, TierRule
from archsim.serving.tier import TierUse
from archsim.workload.layers import ALL, Reach
from archsim.workload.trace import load_trace

sys.path.append(str(Path(__file__).parents[1]))
sys.path.append(str(Path(__file__).parent))
import replay_toy as toy
import replay_twin as twin
from test_replay_twin import SHARES, _assert_same_gaps, _assert_same_requests, _beginning, _windows, costs_pairs

quiet = settings(deadline=None, derandomize=True, database=None)

MOST_TOKENS = 100


@st.composite
def crowds(draw: st.DrawFn) -> tuple[list[Arrival], Limits]:
    """Return more long requests than the blocks hold, some of which begin alike, and limits with a tier."""
    block_tokens = draw(st.integers(3, 9))
    reach = draw(st.just(ALL) | st.builds(Reach, st.integers(0, 2), st.integers(1, 2), st.integers(5, 60)))
    one = reach.blocks(MOST_TOKENS + 8, block_tokens)
    kv_bits = draw(st.sampled_from([1, 8, 31]))
    single = reach.parts * MOST_TOKENS * kv_bits // 8 + 1
    tier = TierRule(
        capacity_bytes=draw(st.sampled_from([1, 2, 100])) * single,
        out_bytes_per_s=draw(st.sampled_from([10**6, 10**9, 10**13])),
        in_bytes_per_s=draw(st.sampled_from([10**6, 10**10])),
        latency_ps=draw(st.sampled_from([0, 1, 10**6])),
        kv_bits=kv_bits,
        swaps=True,
    )
    unit_tokens = block_tokens * draw(st.integers(1, 2))
    limits = Limits(
        max_batch=draw(st.integers(3, 8)),
        max_prefill_tokens=draw(st.integers(10, 120)),
        kv_blocks=draw(st.integers(one, 2 * one)),
        block_tokens=block_tokens,
        context_tokens=MOST_TOKENS,
        reach=reach,
        techniques=Techniques(prefix=PrefixRule(draw(st.sampled_from(sorted(EVICTIONS))), unit_tokens), tier=tier),
    )
    gaps = st.sampled_from([0, 0, 1, 10**4, 10**8])
    rows = draw(st.lists(st.tuples(gaps, st.integers(1, 40), st.integers(20, 60)), min_size=4, max_size=12))
    own, at, arrivals = iter(range(1000, 10**6)), 0, []
    for gap, prompt, output in rows:
        at += gap
        arrivals.append(Arrival(at, prompt, output, _beginning(draw, prompt // unit_tokens, own)))
    return arrivals, limits


@given(
    costs_pairs(), crowds(), st.sampled_from(sorted(POLICIES)),
    st.sampled_from([(), (30, 70)]), st.sampled_from([None, None, 10**6]), st.integers(0, 3),
)  # fmt: skip
@settings(quiet, max_examples=50)
def test_where_preempted_caches_move_to_a_tier_the_replay_equals_its_twin(
    pair: tuple[Any, Any], case: tuple[list[Arrival], Limits], policy: str,
    classes: tuple[int, ...], tpot_ps: int | None, more: int,
) -> None:  # fmt: skip
    """With and without room in the tier, prefixes, drafts, classes that preempt and bounds on a token's time."""
    closed, loop = pair
    arrivals, limits = case
    rules = Techniques(
        tier=limits.techniques.tier,
        prefix=limits.techniques.prefix if more & 1 else None,
        drafts=DraftRule(SHARES, 3) if more & 2 else None,
        classes=classes,
        class_preempts=bool(classes) and policy != "static",
        tpot_ps=tpot_ps,
        watched=True,
    )
    limits = replace(limits, techniques=rules)
    record = replay(iter(arrivals), closed, limits=limits, policy=policy)
    slow = twin.twin_replay(arrivals, loop, limits, policy)
    _assert_same_requests(record, slow)
    _assert_same_gaps(record, slow)
    assert _windows(record.windows) == twin.twin_windows(slow.pieces)
    assert record.peak_kv_blocks == slow.peak_blocks <= limits.kv_blocks
    assert record.preemptions == slow.preemptions
    use = record.tier
    assert use is not None
    assert record.total.phases.get("moving", PhaseUse()).iterations == use.swapped_out + use.swapped_in
    assert (use.out_bytes, use.in_bytes, use.turned_away) == (slow.out_bytes, slow.in_bytes, slow.turned_away)
    assert use.swapped_out + use.turned_away == record.preemptions
    assert (use.out_bytes, use.swapped_out) == (use.in_bytes, use.swapped_in)


def _limits(kv_blocks: int, tier: TierRule | None = None) -> Limits:
    return Limits(8, 512, kv_blocks, 4, 400, techniques=Techniques(tier=tier))


def _tier(**changes: int) -> TierRule:
    return replace(TierRule(10**9, 10**9, 10**9, 0, 8, swaps=True), **changes)


def test_a_swap_takes_the_latency_and_the_bytes_over_the_rate_each_way() -> None:
    """Two of 8 + 8 tokens in six blocks of four: at length 12 each the younger leaves with 11 bytes."""
    costs = toy.ToyCosts(lambda _batch, _kv: 1000, lambda _tokens, _pairs: 1000, spacing_bits=4)
    arrivals = [Arrival(0, 8, 8)] * 2
    tier = _tier(out_bytes_per_s=11 * 10**9, in_bytes_per_s=10**9, latency_ps=70)
    record = replay(arrivals, costs, limits=_limits(6, tier))
    # A prefill and 3 iterations for both, 1,070 ps out, 4 iterations of the older, 11,070 ps back, 4 of the younger.
    assert record.requests.finish_ps.tolist() == [4000 + 1070 + 4000, 4000 + 1070 + 4000 + 11070 + 4000]
    assert record.tier == TierUse(
        swapped_out=1, swapped_in=1, out_bytes=11, in_bytes=11, peak_bytes=11,
        out_fine=1000 << 32, in_fine=11000 << 32, out_wait_fine=70 << 32, in_wait_fine=70 << 32,
    )  # fmt: skip


@given(st.integers(1, 40), st.integers(1, 40), st.integers(2, 60), st.integers(2, 60), st.integers(0, 6))
@settings(quiet, max_examples=60)
def test_a_swap_that_takes_no_time_is_never_later_than_computing_again(
    prompt: int, other: int, output: int, further: int, spare: int
) -> None:
    """Of two sequences the younger cannot return before the older is done: then one pays a prefill, the other none.

    A prefill of a context takes at least as long as a decode iteration on it, and yields one token as that does.
    """
    costs = toy.ToyCosts(lambda b, kv: 50 + 9 * b + kv, lambda t, pairs: 60 + 3 * t + pairs, spacing_bits=0)
    arrivals = [Arrival(0, prompt, output), Arrival(0, other, further)]
    blocks = max(-(-(prompt + output) // 4), -(-(other + further) // 4)) + spare
    swapped = replay(arrivals, costs, limits=_limits(blocks, _tier(out_bytes_per_s=2**200, in_bytes_per_s=2**200)))
    again = replay(arrivals, costs, limits=_limits(blocks))
    # A byte takes at least 2**-32 ps, and times are rounded up to whole picoseconds.
    assert (swapped.requests.finish_ps <= again.requests.finish_ps + 1).all()
    assert swapped.total.output_tokens == again.total.output_tokens == output + further


def test_a_tier_that_could_not_hold_a_single_cache_is_refused() -> None:
    """Eleven tokens of a byte each do not fit ten bytes."""
    costs = toy.ToyCosts(lambda _batch, _kv: 1000, lambda _tokens, _pairs: 1000, spacing_bits=4)
    with pytest.raises(InputError, match=r"serving\.tier\.capacity.*10 bytes.*11 bytes that request 1 has"):
        replay([Arrival(0, 8, 8)] * 2, costs, limits=_limits(6, _tier(capacity_bytes=10)))


SWAP = ("serving.preemption=swap", "serving.tier=host-pcie5")
TIGHT = ("hbm.reserved=75.4 GB", "runtime.max_prefill_tokens=2048", "runtime.max_batch=8")


@pytest.fixture(scope="module")
def crowded() -> dict[str, Any]:
    """Return the same crowd on small GPUs, with caches computed again and swapped to the host."""
    model, trace = load_model("llama-3.1-8b"), load_trace("azure-conv", limit=24, rate_scale=1000)
    return {
        name: run(load_system("gh200", (*TIGHT, *more)), model, trace=trace)
        for name, more in {"again": (), "host": SWAP}.items()
    }


def test_what_moves_is_booked_in_the_memory_and_at_the_port(crowded: dict[str, Any]) -> None:
    """Bytes out and back are the `moved` of HBM in the phase, and of the ports; every byte is read or written once."""
    result = crowded["host"]
    tier = result.serving.kv_tier
    assert tier.swapped_out == tier.swapped_in == result.requests.preempted > 0
    assert tier.out_bytes == tier.in_bytes > 0
    phase, span = result.phases["moving"], result.simulated_s
    hbm = phase.ledger["chip0.hbm"]
    assert set(hbm.accounts) == {"moved", "network"}
    assert hbm.accounts["moved"] * hbm.peak_per_s * phase.time_s == pytest.approx(2 * tier.out_bytes, rel=1e-9)
    for way, size in (("out", tier.out_bytes), ("in", tier.in_bytes)):
        port = result.ledger[f"link.tier.{way}"]
        assert port.peak_per_s == 55e9
        assert port.accounts["moved"] * port.peak_per_s * span == pytest.approx(size, rel=1e-9)
        assert sum(port.accounts.values()) == pytest.approx(1, rel=1e-12)
    assert phase.time_s == pytest.approx(tier.time_s, rel=1e-12)
    assert result.energy.by_part["tier"] == pytest.approx(8 * 2 * tier.out_bytes * 25e-12)


def test_what_is_off_leaves_no_trace(crowded: dict[str, Any]) -> None:
    """Without a tier neither the result nor its resolved file knows of one; tokens are the same with it."""
    again, host = crowded["again"], crowded["host"]
    assert "tier" not in again.to_json()
    assert "tier" not in again.tables.resolved_toml
    assert "moving" not in again.phases
    assert again.requests.preempted > 0
    assert again.tokens == host.tokens


@pytest.mark.parametrize(
    ("system", "changes", "words"),
    [
        ("h100-sxm8", ("serving.preemption=swap",), r"serving\.tier.*a tier that preempted"),
        ("h100-sxm8", ("serving.tier=host-pcie5",), r"serving\.tier.*nothing moves there"),
        ("h100-sxm8", (*SWAP[:1], "serving.tier=host-pci5"), r"host-pcie5"),
        ("h100-sxm8", (*SWAP[:1], "serving.tier=own-hbf"), r"serving\.tier\.memory.*it has none"),
        ("h100-hbf", (*SWAP[:1], "serving.tier=own-hbf"), r"flash wears out.*forced"),
        ("gh200-c2c", (*SWAP[:1], "serving.tier=own-lpddr"), r"KV blocks lie"),
        ("sn40l", (*SWAP[:1], "serving.tier=own-ddr", "serving.tier.capacity=400 TB"), r"serving\.tier\.capacity"),
        ("h100-sxm8", (*SWAP, "serving.tier.memory=hbm"), r"no such key: the rate and the latency"),
        (
            "h100-sxm8",
            (*SWAP, "serving.priority.shares=[50, 50]", "serving.priority.preempt=recompute"),
            r"priority\.preempt.*swap, as serving\.preemption says",
        ),
    ],
)
def test_contradictions_are_named(system: str, changes: tuple[str, ...], words: str) -> None:
    """Each message has the key and what was expected."""
    model, trace = load_model("llama-3.1-8b"), load_trace("azure-conv", limit=2)
    with pytest.raises(InputError, match=words):
        run(load_system(system, changes), model, trace=trace)
