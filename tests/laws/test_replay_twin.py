"""The replay that jumps equals its slow twin that walks: every time, every window, every weight."""

from __future__ import annotations

import sys
from collections import Counter
from dataclasses import replace
from fractions import Fraction
from math import isqrt
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import hypothesis.strategies as st
import numpy as np
from hypothesis import given, settings

from archsim.serving.observe import bin_of
from archsim.serving.policies import POLICIES
from archsim.serving.prefix import EVICTIONS, PrefixUse
from archsim.serving.replay import replay
from archsim.serving.requests import Arrival, Limits
from archsim.serving.techniques import AnswerRule, DraftRule, PrefixRule, Techniques
from archsim.step.costs import StepCosts
from archsim.workload.batch import Batch
from archsim.workload.layers import ALL, Reach

sys.path.append(str(Path(__file__).parents[1]))
import replay_toy as toy
import replay_twin as twin

quiet = settings(deadline=None, derandomize=True, database=None, max_examples=150)

scales = st.sampled_from([1, 10**2, 10**4, 10**7, 10**11])


@st.composite
def costs_pairs(draw: st.DrawFn) -> tuple[Any, Any]:
    """Return the same toy costs in closed form and one by one."""
    scale = draw(scales)
    base, per_sequence, per_token = (draw(st.integers(low, 1000)) for low in (1, 0, 0))
    bend = draw(st.integers(0, 50))
    bits = draw(st.integers(0, 9))

    def decode_ps(batch: int, kv_tokens: int) -> int:
        segments = kv_tokens >> bits
        return scale * base + 997 * batch * per_sequence + kv_tokens * per_token + segments * segments * bend

    def prefill_ps(tokens: int, pairs: int) -> int:
        return scale * base + tokens * per_sequence * 31 + pairs * per_token

    return tuple(kind(decode_ps, prefill_ps, spacing_bits=bits) for kind in (toy.ToyCosts, toy.LoopCosts))


@st.composite
def traces(draw: st.DrawFn) -> list[Arrival]:
    """Return up to 30 requests: bursts at one instant, crowds and long pauses."""
    gaps = st.one_of(st.just(0), *(st.integers(0, 10**digits) for digits in (4, 6, 8, 10, 13)))
    rows = draw(st.lists(st.tuples(gaps, st.integers(1, 40), st.integers(1, 60)), max_size=30))
    arrivals = np.cumsum([gap for gap, _, _ in rows]).tolist()
    return [Arrival(int(arrival), row[1], row[2]) for arrival, row in zip(arrivals, rows, strict=True)]


limit_sets = st.builds(
    Limits,
    max_batch=st.integers(1, 8),
    max_prefill_tokens=st.integers(1, 120),
    kv_blocks=st.integers(4, 40),
    block_tokens=st.integers(1, 9),
    context_tokens=st.integers(60, 110),
    reach=st.just(ALL) | st.builds(Reach, st.integers(0, 2), st.integers(1, 3), st.integers(1, 60)),
)


@given(costs_pairs(), st.integers(1, 9), st.integers(1, 400), st.integers(1, 150), st.integers(0, 149))
@quiet
def test_a_run_of_iterations_costs_its_iterations_one_by_one(
    pair: tuple[Any, Any], batch: int, kv_tokens: int, steps: int, split: int
) -> None:
    """decode(n + m) = decode(n) then decode(m), and the first n to reach a limit is the first by counting."""
    closed, loop = pair
    run = closed.decode(batch, kv_tokens, steps)
    assert run.time_fine == loop.decode(batch, kv_tokens, steps).time_fine
    assert dict(run.knots) == dict(loop.decode(batch, kv_tokens, steps).knots)
    assert sum(weight for _, weight in run.knots) == steps << 32
    first = 1 + split % steps
    limit = closed.decode(batch, kv_tokens, first).time_fine
    for limit_fine in (limit - 1, limit, limit + 1):
        expected = loop.decode_steps_until(batch, kv_tokens, limit_fine, steps)
        assert closed.decode_steps_until(batch, kv_tokens, limit_fine, steps) == expected


@given(costs_pairs(), traces(), limit_sets, st.sampled_from(sorted(POLICIES)))
@quiet
def test_the_replay_equals_its_token_by_token_twin(
    pair: tuple[Any, Any], arrivals: list[Arrival], limits: Limits, policy: str
) -> None:
    """Every request time, counter, window and knot weight is the same integer, whoever is served next."""
    closed, loop = pair
    limits = replace(limits, techniques=Techniques(watched=True))
    record = replay(iter(arrivals), closed, limits=limits, policy=policy)
    slow = twin.twin_replay(arrivals, loop, limits, policy)
    _assert_same_requests(record, slow)
    _assert_same_gaps(record, slow)
    assert _windows(record.windows) == twin.twin_windows(slow.pieces)
    assert record.peak_kv_blocks == slow.peak_blocks <= limits.kv_blocks
    assert slow.largest_batch <= limits.max_batch
    assert record.preemptions == slow.preemptions
    decode = [piece for piece in slow.pieces if piece.phase in {"decode", "mixed"}]
    assert record.decode_tokens == sum(piece.decoded for piece in decode)
    assert record.mean_batch == (record.decode_tokens / len(decode) if decode else None)


@st.composite
def talks(draw: st.DrawFn, unit_tokens: int) -> list[Arrival]:
    """Return a trace whose prompts are beginnings of a few long talks, each with an end of its own."""
    own = iter(range(1000, 10**6))
    return [
        arrival._replace(prefix=_beginning(draw, arrival.prompt_tokens // unit_tokens, own))
        for arrival in draw(traces())
    ]


def _beginning(draw: st.DrawFn, units: int, own: Any) -> tuple[int, ...]:
    known, talk = draw(st.integers(0, units)), draw(st.integers(0, 2))
    return (*(100 * talk + depth for depth in range(known)), *(next(own) for _ in range(units - known)))


@st.composite
def cached_cases(draw: st.DrawFn) -> tuple[list[Arrival], Limits]:
    """Return a trace of talks, and limits that cache prefixes."""
    limits = draw(limit_sets)
    unit_tokens = limits.block_tokens * draw(st.integers(1, 3))
    rule = PrefixRule(draw(st.sampled_from(sorted(EVICTIONS))), unit_tokens)
    return draw(talks(unit_tokens)), replace(limits, techniques=Techniques(prefix=rule))


@given(costs_pairs(), cached_cases(), st.sampled_from(sorted(POLICIES)))
@settings(quiet, max_examples=80)
def test_with_cached_prefixes_the_replay_equals_its_twin_too(
    pair: tuple[Any, Any], case: tuple[list[Arrival], Limits], policy: str
) -> None:
    """Whatever is found, shared, kept twice or evicted, and in whatever order units go."""
    closed, loop = pair
    arrivals, limits = case
    record = replay(iter(arrivals), closed, limits=limits, policy=policy)
    slow = twin.twin_replay(arrivals, loop, limits, policy)
    _assert_same_requests(record, slow)
    assert _windows(record.windows) == twin.twin_windows(slow.pieces)
    assert record.peak_kv_blocks == slow.peak_blocks <= limits.kv_blocks
    assert record.preemptions == slow.preemptions
    assert record.prefixes == PrefixUse(slow.cache.prompt, slow.cache.hit, slow.cache.evicted)


shares = st.lists(st.fractions(0, 1, max_denominator=97), min_size=1, max_size=4).map(
    lambda found: tuple(sorted(found, reverse=True))
)


@given(costs_pairs(), cached_cases(), shares, st.integers(0, 3), st.sampled_from(sorted(POLICIES)))
@settings(quiet, max_examples=80)
def test_with_drafts_the_replay_equals_its_twin_too(
    pair: tuple[Any, Any], case: tuple[list[Arrival], Limits], shares: tuple[Any, ...], beyond: int, policy: str
) -> None:
    """Chains and trees, of any shares, with and without a prefix cache and windows; surplus tokens are thrown away."""
    closed, loop = pair
    arrivals, limits = case
    rule = DraftRule(shares, len(shares) + beyond)
    prefix = limits.techniques.prefix if beyond % 2 else None
    limits = replace(limits, techniques=Techniques(prefix=prefix, drafts=rule, watched=True))
    record = replay(iter(arrivals), closed, limits=limits, policy=policy)
    slow = twin.twin_replay(arrivals, loop, limits, policy)
    _assert_same_requests(record, slow)
    assert _windows(record.windows) == twin.twin_windows(slow.pieces)
    assert record.peak_kv_blocks == slow.peak_blocks <= limits.kv_blocks
    assert record.preemptions == slow.preemptions
    assert record.draft_tokens == slow.drafted
    served = record.requests.output_tokens[record.requests.finish_ps >= 0]
    assert record.total.output_tokens == served.sum()
    _assert_same_gaps(record, slow)


rules = st.builds(
    Techniques,
    classes=st.sampled_from([(), (50, 50), (20, 30, 50)]),
    class_preempts=st.booleans(),
    ttft_ps=st.none() | st.integers(0, 10**9),
    tpot_ps=st.none() | st.integers(1, 10**7),
    answers=st.none() | st.builds(AnswerRule, st.fractions(0, 1, max_denominator=9), st.integers(1, 10**9)),
    watched=st.just(True),
)


@given(costs_pairs(), cached_cases(), rules, st.booleans(), st.sampled_from(["prefill_first", "decode_first"]))
@settings(quiet, max_examples=80)
def test_with_classes_and_service_levels_the_replay_equals_its_twin_too(
    pair: tuple[Any, Any], case: tuple[list[Arrival], Limits], rule: Techniques, extra: bool, policy: str
) -> None:
    """Urgent requests first, with and without taking others' places; late ones turned away; nobody slowed too much."""
    closed, loop = pair
    arrivals, limits = case
    if extra:
        rule = replace(rule, prefix=limits.techniques.prefix, drafts=DraftRule(SHARES, 3))
    limits = replace(limits, techniques=rule)
    record = replay(iter(arrivals), closed, limits=limits, policy=policy)
    slow = twin.twin_replay(arrivals, loop, limits, policy)
    _assert_same_requests(record, slow)
    assert _windows(record.windows) == twin.twin_windows(slow.pieces)
    assert record.preemptions == slow.preemptions
    _assert_same_gaps(record, slow)


def test_a_long_draft_run_jumps_over_whole_periods_and_equals_its_twin() -> None:
    """Thousands of iterations of one sequence and of three, with arrivals and windows' borders in between."""
    closed, loop = (
        kind(lambda batch, kv: 9 * 10**5 + 1000 * batch + kv * kv // 50, lambda tokens, pairs: tokens + pairs,
             spacing_bits=6)
        for kind in (toy.ToyCosts, toy.LoopCosts)
    )  # fmt: skip
    arrivals = [Arrival(at * 7 * 10**9, 5 + at, 1500 + 111 * at) for at in range(4)]
    limits = Limits(3, 40, 10**4, 8, 10**5, techniques=Techniques(drafts=DraftRule(SHARES, 3)))
    record, slow = replay(arrivals, closed, limits=limits), twin.twin_replay(arrivals, loop, limits)
    _assert_same_requests(record, slow)
    assert _windows(record.windows) == twin.twin_windows(slow.pieces)


SHARES = (Fraction(3, 4), Fraction(1, 2), Fraction(3, 10))


@given(traces(), limit_sets, st.integers(1, 10**9), st.sampled_from(sorted(POLICIES)))
@settings(quiet, max_examples=60)
def test_on_the_costs_of_the_step_floor_the_replay_equals_its_twin_too(
    arrivals: list[Arrival], limits: Limits, scale_ps: int, policy: str
) -> None:
    """Interpolated over batch, context, tokens and pairs, with a time of no nice form at every knot."""
    costs = StepCosts(lambda batch: _odd_step(batch, scale_ps), reach=limits.reach)
    record = replay(arrivals, costs, limits=limits, policy=policy)
    slow = twin.twin_replay(arrivals, costs, limits, policy)
    _assert_same_requests(record, slow)
    assert _windows(record.windows) == twin.twin_windows(slow.pieces)
    for use in record.total.phases.values():
        assert use.time_fine == sum(weight * costs.records[knot].time_ps for knot, weight in use.weights.items())


@given(traces(), limit_sets, st.lists(st.integers(1, 400), min_size=1, max_size=3), st.sampled_from(sorted(POLICIES)))
@settings(quiet, max_examples=30)
def test_where_tiers_are_full_the_replay_equals_its_twin_too(
    arrivals: list[Arrival], limits: Limits, bends: list[int], policy: str
) -> None:
    """Contexts have further knots around the bends, beyond which a token costs ten times as much."""

    def step(batch: Batch) -> Any:
        slow = sum(max(0, batch.kv_tokens - bend) for bend in bends)
        return SimpleNamespace(time_ps=10**6 + batch.kv_tokens + 10 * slow + 7 * batch.prefill_tokens)

    costs = StepCosts(step, reach=limits.reach, bends=bends)
    record = replay(arrivals, costs, limits=limits, policy=policy)
    slow = twin.twin_replay(arrivals, costs, limits, policy)
    _assert_same_requests(record, slow)
    assert _windows(record.windows) == twin.twin_windows(slow.pieces)


def _odd_step(batch: Batch, scale_ps: int) -> Any:
    work = (
        7 * batch.decode + batch.kv_tokens + batch.window_tokens + 3 * batch.prefill_tokens + batch.prefill_pairs // 5
    )
    return SimpleNamespace(time_ps=scale_ps + isqrt(work * scale_ps))


def test_a_long_run_keeps_its_windows_equal_to_the_twin_through_many_merges() -> None:
    """Thousands of iterations of about 2**22 ps need several doublings; the windows stay those of the plain way."""
    closed, loop = (
        kind(
            lambda batch, kv: 4 * 10**6 + 1000 * batch + kv,
            lambda tokens, pairs: 10**6 * tokens + pairs,
            spacing_bits=6,
        )
        for kind in (toy.ToyCosts, toy.LoopCosts)
    )
    arrivals = [Arrival(3 * 10**7 * (index // 3), 5 + index % 17, 1 + index * 7 % 90) for index in range(400)]
    limits = Limits(max_batch=16, max_prefill_tokens=40, kv_blocks=60, block_tokens=8, context_tokens=200)
    record = replay(arrivals, closed, limits=limits)
    slow = twin.twin_replay(arrivals, loop, limits)
    assert record.preemptions == slow.preemptions > 20
    assert 256 <= len(record.windows) <= 512
    _assert_same_requests(record, slow)
    assert _windows(record.windows) == twin.twin_windows(slow.pieces)


def _assert_same_gaps(record: Any, slow: Any) -> None:
    """Bin by bin, and to the last bit in their sum."""
    gaps = record.observer.gaps
    assert gaps.bins == Counter(bin_of(gap) for gap in slow.gaps)
    assert gaps.total_fine == sum(slow.gaps)


def _assert_same_requests(record: Any, slow: Any) -> None:
    table = record.requests
    assert table.arrival_ps.tolist() == [row.arrival_ps for row in slow.rows]
    assert table.first_token_ps.tolist() == [row.first_token_ps for row in slow.rows]
    assert table.finish_ps.tolist() == [row.finish_ps for row in slow.rows]
    assert table.prompt_tokens.tolist() == [row.prompt for row in slow.rows]
    assert table.output_tokens.tolist() == [row.output for row in slow.rows]
    assert table.preemptions.tolist() == [row.preemptions for row in slow.rows]
    assert [code > 0 for code in table.rejection.tolist()] == [row.rejected for row in slow.rows]


def _windows(windows: Any) -> list[dict[str, Any]]:
    return [
        {
            "start": window.start_fine,
            "end": window.end_fine,
            "idle": window.idle_fine,
            "tokens": window.output_tokens,
            "phases": {
                phase: {"iterations": use.iterations, "time": use.time_fine, "weights": use.weights}
                for phase, use in window.phases.items()
            },
        }
        for window in windows
    ]
