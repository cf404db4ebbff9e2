"""Caches that move to a tier and back: equal to the twin that walks, nothing lost, and what is refused."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings

from archsim.dram.flash import years_to_wear_out
from archsim.errors import InputError
from archsim.hardware.answers import flash_of, stack_of
from archsim.hardware.pools import load_pools
from archsim.serving.policies import POLICIES
from archsim.serving.prefix import EVICTIONS, PrefixUse
from archsim.serving.prefix_tier import FETCHES
from archsim.serving.replay import replay
from archsim.serving.requests import Arrival, Limits
from archsim.serving.techniques import DraftRule, PrefixRule, Techniques, TierRule
from archsim.serving.tier import TierUse
from archsim.simulate import load_model, load_system, run
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
        swaps=draw(st.sampled_from([True, True, False])),
    )
    unit_tokens, orders = block_tokens * draw(st.integers(1, 2)), st.sampled_from(sorted(EVICTIONS))
    offload = draw(st.none() | orders | orders) if reach.full else None
    prefix = PrefixRule(draw(orders), unit_tokens, offload, draw(st.sampled_from(FETCHES)))
    limits = Limits(
        max_batch=draw(st.integers(3, 8)),
        max_prefill_tokens=draw(st.integers(10, 120)),
        kv_blocks=draw(st.integers(one, one + one // 2)),
        block_tokens=block_tokens,
        context_tokens=MOST_TOKENS,
        reach=reach,
        techniques=Techniques(prefix=prefix, tier=tier),
    )
    gaps = st.sampled_from([0, 0, 1, 10**4, 10**8, 10**14])
    rows = draw(st.lists(st.tuples(gaps, st.integers(5, 60), st.integers(1, 40)), min_size=5, max_size=14))
    own, at, arrivals = iter(range(1000, 10**6)), 0, []
    for gap, prompt, output in rows:
        at += gap
        arrivals.append(Arrival(at, prompt, output, _beginning(draw, prompt // unit_tokens, own)))
    return arrivals, limits


@given(
    costs_pairs(), crowds(), st.sampled_from(sorted(POLICIES)),
    st.sampled_from([(), (30, 70)]), st.sampled_from([None, None, 10**6]), st.sampled_from([0, 1, 1, 1, 2, 3]),
)  # fmt: skip
@settings(quiet, max_examples=60)
def test_where_preempted_caches_move_to_a_tier_the_replay_equals_its_twin(
    pair: tuple[Any, Any], case: tuple[list[Arrival], Limits], policy: str,
    classes: tuple[int, ...], tpot_ps: int | None, more: int,
) -> None:  # fmt: skip
    """With and without room in the tier, prefixes, drafts, classes that preempt and bounds on a token's time."""
    _assert_equals_its_twin(pair, case, policy, classes, tpot_ps, more)


@pytest.mark.slow
@given(
    costs_pairs(), crowds(), st.sampled_from(sorted(POLICIES)),
    st.sampled_from([(), (30, 70)]), st.sampled_from([None, None, 10**6]), st.sampled_from([0, 1, 1, 1, 2, 3]),
)  # fmt: skip
@settings(quiet, max_examples=800)
def test_where_preempted_caches_move_to_a_tier_the_replay_equals_its_twin_many_times(
    pair: tuple[Any, Any], case: tuple[list[Arrival], Limits], policy: str,
    classes: tuple[int, ...], tpot_ps: int | None, more: int,
) -> None:  # fmt: skip
    """The same, for much longer."""
    _assert_equals_its_twin(pair, case, policy, classes, tpot_ps, more)


def _assert_equals_its_twin(
    pair: tuple[Any, Any], case: tuple[list[Arrival], Limits], policy: str,
    classes: tuple[int, ...], tpot_ps: int | None, more: int,
) -> None:  # fmt: skip
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
    cache = slow.cache
    assert (use.out_bytes, use.in_bytes, use.turned_away) == (slow.out_bytes, slow.in_bytes, slow.turned_away)
    assert (use.stored_units, use.fetched_units, use.dropped_units) == (cache.stored, cache.fetched, cache.dropped)
    assert use.hit_tokens == cache.tier_hit
    if limits.techniques.prefix is not None:
        assert record.prefixes == PrefixUse(cache.prompt, cache.hit, cache.evicted)
    _assert_conserved(record, limits, held=len(cache.tier))


def _assert_conserved(record: Any, limits: Limits, *, held: int) -> None:
    """What went out is back, was dropped or is still there; every preempted sequence's cache moves or is given up."""
    use, rule, tier = record.tier, limits.techniques.prefix, limits.techniques.tier
    assert tier is not None
    unit = tier.bytes_of(limits.reach.full * rule.unit_tokens) if rule else 0
    swapped_out, swapped_in = use.out_bytes - use.stored_units * unit, use.in_bytes - use.fetched_units * unit
    assert swapped_out == swapped_in
    assert use.swapped_out == use.swapped_in
    assert use.stored_units == use.dropped_units + held
    assert use.swapped_out + use.turned_away == (record.preemptions if tier.swaps else 0)
    assert use.peak_bytes <= tier.capacity_bytes


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


def test_a_cache_for_which_a_tier_has_no_room_is_computed_again() -> None:
    """Three of 8 + 20 tokens in nine blocks of four, and a tier of 25 bytes, a token each.

    At 12 tokens each the third moves there, with 11 bytes; at 16 the second finds no room beside it for its 15. When
    the first is done both go on, the second from a prefill of 16 tokens that yields another; when it has 20, the third
    has 15 and makes room again. With a byte more in the tier nothing is computed twice.
    """
    costs = toy.ToyCosts(lambda _batch, _kv: 1000, lambda _tokens, _pairs: 1000, spacing_bits=4)
    full, roomy = (
        replay([Arrival(0, 8, 20)] * 3, costs, limits=_limits(9, _tier(capacity_bytes=size))) for size in (25, 26)
    )
    use = full.tier
    assert use is not None
    assert (use.swapped_out, use.swapped_in, use.turned_away, full.preemptions) == (2, 2, 1, 3)
    assert (use.out_bytes, use.in_bytes, use.peak_bytes) == (11 + 14, 11 + 14, 14)
    assert full.requests.preemptions.tolist() == [0, 1, 2]
    assert full.total.phases["prefill_recompute"].iterations == 1
    assert roomy.tier is not None
    assert (roomy.tier.turned_away, roomy.tier.peak_bytes) == (0, 26)
    assert "prefill_recompute" not in roomy.total.phases


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


@pytest.mark.parametrize(
    ("in_bytes_per_s", "fetch", "cached"),
    [(8 * 10**9, "cheaper", 8), (10**9, "cheaper", 0), (10**9, "always", 8)],
)
def test_a_prefix_comes_back_where_the_move_takes_less_than_it_saves(
    in_bytes_per_s: int, fetch: str, cached: int
) -> None:
    """A prompt of 12 tokens costs 1,000 ps each beyond what is found; two units of four are 8 bytes of the tier.

    A second prompt drives the first out of the six blocks, the third begins as the first did. Fetched at 8 GB/s
    the units take 1,000 ps and save 8,000; at 1 GB/s as much as they save, which is not less.
    """
    costs = toy.ToyCosts(lambda _batch, _kv: 1000, lambda tokens, _pairs: 1000 * tokens, spacing_bits=4)
    rule = PrefixRule("lru", 4, "lru", fetch)
    tier = _tier(swaps=False, in_bytes_per_s=in_bytes_per_s, out_bytes_per_s=10**10)
    limits = replace(_limits(6), techniques=Techniques(prefix=rule, tier=tier))
    arrivals = [
        Arrival(0, 12, 1, (1, 2, 3)), Arrival(10**9, 20, 1, (4, 5, 6, 7, 8)), Arrival(2 * 10**9, 12, 1, (1, 2, 9)),
    ]  # fmt: skip
    record = replay(arrivals, costs, limits=limits)
    move = -(-8 * 10**12 // in_bytes_per_s) if cached else 0
    assert record.requests.finish_ps[2] == 2 * 10**9 + move + 1000 * (12 - cached)
    use = record.tier
    assert use is not None
    assert (use.stored_units, use.fetched_units, use.hit_tokens) == (3 + 5 + 1, cached // 4, cached)


def test_a_tier_that_could_not_hold_a_single_cache_is_refused() -> None:
    """Eleven tokens of a byte each do not fit ten bytes."""
    costs = toy.ToyCosts(lambda _batch, _kv: 1000, lambda _tokens, _pairs: 1000, spacing_bits=4)
    with pytest.raises(InputError, match=r"serving\.tier\.capacity.*10 bytes.*11 bytes that request 1 has"):
        replay([Arrival(0, 8, 8)] * 2, costs, limits=_limits(6, _tier(capacity_bytes=10)))


SWAP = ("serving.preemption=swap", "serving.tier=host-pcie5")
CACHE = ("serving.prefix_cache.eviction=lru",)
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


def test_a_run_says_which_level_found_what(tmp_path: Path) -> None:
    """A talk of nine blocks of 512 is driven out by two of twenty; eight of its blocks come from the host."""
    rows = [(0, 9, 0), (60_000, 20, 100), (90_000, 20, 200), (120_000, 9, 0)]
    lines = [
        {"timestamp": at, "input_length": 512 * units, "output_length": 2, "hash_ids": [*range(first, first + units)]}
        for at, units, first in rows
    ]
    lines[-1]["hash_ids"] = [*range(8), 77]
    path = tmp_path / "talks.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    model, tight = load_model("llama-3.1-8b"), "hbm.reserved=74 GB"
    one, two = (
        run(load_system("gh200", (tight, *CACHE, *more)), model, trace=load_trace(str(path)))
        for more in ((), ("serving.prefix_cache.offload=lru", "serving.tier=host-pcie5"))
    )
    assert one.serving is not None
    assert one.serving.prefix_cache is not None
    assert (one.serving.prefix_cache.hit_tokens, one.serving.kv_tier) == (0, None)
    assert two.serving is not None
    assert two.serving.kv_tier is not None
    tier = two.serving.kv_tier
    assert (tier.stored_blocks, tier.fetched_blocks, tier.hit_tokens) == (9 + 20 + 20 + 1, 8, 8 * 512)
    assert tier.hit_share == 8 * 512 / (58 * 512)
    assert two.serving.prefix_cache is not None
    assert two.serving.prefix_cache.hit_tokens == tier.hit_tokens
    assert (tier.out_bytes, tier.in_bytes) == (50 * 512 * 131072, 8 * 512 * 131072)
    assert two.phases["prefill"].time_s < one.phases["prefill"].time_s


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
        ("h100-sxm8", (*CACHE, "serving.prefix_cache.offload=lru"), r"serving\.tier.*keeps prefixes"),
        ("h100-sxm8", (*CACHE, *SWAP, "serving.prefix_cache.offload=lry"), r"prefix_cache\.offload.*lru, lfu, fifo"),
        ("h100-sxm8", (*CACHE, *SWAP, "serving.prefix_cache.fetch=never"), r"prefix_cache\.fetch.*always.*cheaper"),
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


@pytest.mark.parametrize(
    ("design", "pool"), [("phone-cloud", "cloud"), ("h100-h200", "prefill"), ("h100-h200", "decode")]
)
@pytest.mark.parametrize(
    ("table", "changes"),
    [
        ("tier", SWAP),
        ("scaling", tuple(f"serving.scaling.{change}" for change in (
            "min=1", "max=1", "metric=requests", "high=2", "low=1", "start_up=1 s", "cool_down=1 s"))),
    ],
)  # fmt: skip
def test_pools_have_neither_tiers_nor_scaling(design: str, pool: str, table: str, changes: tuple[str, ...]) -> None:
    """The pool and the table stand in the message."""
    given = [f"{pool}.{change}" for change in changes]
    with pytest.raises(InputError, match=rf"{pool}.*{table}.*of a pool"):
        run(load_pools(design, given), load_model("llama-3.1-8b"), trace=load_trace("azure-conv", limit=2))


@pytest.mark.slow
def test_a_tier_of_flash_wears_by_what_moves_there() -> None:
    """Bytes out over the time of the run, spread over two stacks on each of eight chips; both memories book them."""
    forced = ("serving.tier=own-hbf", "chip.memory.hbf.device.flash.writes=forced", "hbm.reserved=44.6 GB")
    trace = load_trace("azure-conv", limit=60, rate_scale=1000)
    system = load_system("h100-hbf", (SWAP[0], *forced))
    result = run(system, load_model("llama-3.1-8b"), trace=trace, parallelism="tp=1,dp=8")
    assert result.serving is not None
    assert result.placement is not None
    tier, flash = result.serving.kv_tier, system.chip.memory["hbf"]
    assert tier is not None
    assert tier.out_bytes == tier.in_bytes > 0
    assert flash.device.flash is not None
    rate = Fraction(tier.out_bytes) / Fraction(result.simulated_s) / (8 * 2)
    years = years_to_wear_out(flash_of(flash.device, flash.device.flash, stack_of(flash)), write_bytes_per_s=rate)
    assert result.placement["hbf"].years_to_wear_out == pytest.approx(years)
    for memory in ("hbm", "hbf"):
        book = result.phases["moving"].ledger[f"chip0-7.{memory}"]
        moved = book.accounts["moved"] * book.peak_per_s * result.phases["moving"].time_s
        assert moved == pytest.approx(2 * tier.out_bytes, rel=1e-9)
    assert "link.tier.out" not in result.ledger
