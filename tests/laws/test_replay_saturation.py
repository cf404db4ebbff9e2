"""The search for the saturating rate: what it returns meets the level, what is a little faster does not."""

from __future__ import annotations

import math
import sys
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from archsim.errors import InputError
from archsim.serving.replay import replay
from archsim.serving.requests import Arrival, Limits
from archsim.serving.saturation import SLICE_REQUESTS, saturate, steady_part

sys.path.append(str(Path(__file__).parents[1]))
import replay_toy as toy

BASE_PS, SEQUENCE_PS = 10**9, 10**8
LIMITS = Limits(max_batch=64, max_prefill_tokens=4096, kv_blocks=10_000, block_tokens=16, context_tokens=100_000)


def costs_with(prefill_token_ps: int) -> Any:
    """Return costs in which a decode iteration takes 1 ms and 0.1 ms a sequence, whatever the context."""
    return toy.ToyCosts(
        lambda batch, _: BASE_PS + SEQUENCE_PS * batch,
        lambda tokens, _: prefill_token_ps * tokens,
        spacing_bits=10,
    )


FREE_PREFILL = costs_with(1)
TRACE = [Arrival(number * 10**11, 20, 40) for number in range(600)]
ALONE_S = (BASE_PS + SEQUENCE_PS) / 1e12
FULL_S = (BASE_PS + 64 * SEQUENCE_PS) / 1e12


def test_a_level_that_the_full_batch_meets_is_limited_by_capacity() -> None:
    """With all requests at once the batch is full: TPOT is the iteration's time, and 39 of 40 tokens take one."""
    found = saturate(TRACE, FREE_PREFILL, limits=LIMITS, slo_tpot_s=1.001 * FULL_S)
    assert found.limited_by == "capacity"
    assert found.scale == math.inf
    assert found.requests_per_s is None
    assert len(found.trials) == 1
    assert found.output_tokens_per_s == pytest.approx(64 / FULL_S * 40 / 39, rel=5e-3)


def test_a_level_below_one_request_alone_is_unreachable_and_the_floor_is_told() -> None:
    """A batch of one takes 1.1 ms; 1 ms can be met at no rate, and no replay is needed to know."""
    found = saturate(TRACE, FREE_PREFILL, limits=LIMITS, slo_tpot_s=0.001)
    assert (found.limited_by, found.scale, found.record, found.trials) == ("unreachable", None, None, ())
    assert found.floor_tpot_p99_s == found.tpot_p99_s == pytest.approx(ALONE_S)


def test_the_rate_found_meets_the_level_and_one_within_the_width_does_not() -> None:
    """Between a request alone and a full batch: the best trial holds, and a failing one is at most 2 % faster."""
    slo_s = (ALONE_S + FULL_S) / 2
    found = saturate(TRACE, FREE_PREFILL, limits=LIMITS, slo_tpot_s=slo_s, relative_width=0.02)
    assert found.limited_by == "slo"
    assert found.scale is not None
    assert found.record is not None
    assert found.tpot_p99_s is not None
    assert found.tpot_p99_s <= slo_s
    failing = [trial.scale for trial in found.trials if not trial.meets]
    assert found.scale < min(failing) <= 1.02 * found.scale
    assert max(trial.scale for trial in found.trials if trial.meets) == found.scale
    assert found.requests_per_s == pytest.approx(10 * found.scale)


def test_iteration_time_at_saturation_obeys_the_batch_that_little_predicts() -> None:
    """Evenly spaced arrivals, constant output: batch = rate x 39 iterations, so the level fixes the rate.

    TPOT is 1 ms + 0.1 ms x batch and the batch is rate x 39 x TPOT, hence rate = (TPOT - 1 ms) / (0.1 ms x 39 TPOT).
    """
    slo_s = 0.004
    found = saturate(TRACE, FREE_PREFILL, limits=LIMITS, slo_tpot_s=slo_s, relative_width=0.01)
    expected_per_s = (slo_s - BASE_PS / 1e12) / (SEQUENCE_PS / 1e12 * 39 * slo_s)
    assert found.requests_per_s == pytest.approx(expected_per_s, rel=0.05)
    assert found.output_tokens_per_s == pytest.approx(40 * expected_per_s, rel=0.05)


def test_the_record_is_the_replay_of_the_arrivals_divided_by_the_scale() -> None:
    """Nothing but the arrival times changes: they start at 0 and are divided exactly, rounded down."""
    late = [Arrival(7 + row.arrival_ps, *row[1:]) for row in TRACE]
    found = saturate(late, FREE_PREFILL, limits=LIMITS, slo_tpot_s=0.003)
    assert found.scale is not None
    assert found.record is not None
    scaled = [Arrival(math.floor(row.arrival_ps / Fraction(found.scale)), *row[1:]) for row in TRACE]
    again = replay(scaled, FREE_PREFILL, limits=LIMITS)
    assert again.windows == found.record.windows
    assert again.requests.finish_ps.tolist() == found.record.requests.finish_ps.tolist()


def test_a_slow_trace_is_sped_up_and_a_fast_one_slowed_down_to_the_same_rate() -> None:
    """The trace's own rate is no part of the answer."""
    rates = [
        saturate(
            [Arrival(row.arrival_ps * num // 100, *row[1:]) for row in TRACE],
            FREE_PREFILL,
            limits=LIMITS,
            slo_tpot_s=0.003,
        ).requests_per_s
        for num in (1, 100, 10_000)
    ]
    assert None not in rates
    assert max(rates) <= 1.02**2 * min(rates)


def test_stalls_by_prefill_count_against_the_level() -> None:
    """With prompts that cost 10 ms each, fewer requests a second keep the level than with free prompts."""
    rates = [
        saturate(TRACE, costs, limits=LIMITS, slo_tpot_s=0.004).requests_per_s
        for costs in (FREE_PREFILL, costs_with(5 * 10**8))
    ]
    assert rates[0] > 2 * rates[1] > 0


def test_the_search_starts_too_low_after_a_straggler_and_climbs() -> None:
    """One answer of 4,000 tokens makes the slice served at once last long: the first rate leaves the others alone."""
    trace = [Arrival(0, 20, 4000), *(Arrival(number * 10**10, 20, 40) for number in range(1, 65))]
    found = saturate(trace, FREE_PREFILL, limits=LIMITS, slo_tpot_s=0.003)
    met = [trial.meets for trial in found.trials]
    assert met[:4] == [False, True, True, True]
    assert [trial.scale / found.trials[1].scale for trial in found.trials[1:4]] == [1, 2, 4]
    failing = [trial.scale for trial in found.trials if not trial.meets]
    assert found.scale is not None
    assert found.scale < min(failing) <= 1.02 * found.scale


def test_the_search_takes_the_same_steps_every_time() -> None:
    """Equal input, equal trials."""
    first, second = (saturate(TRACE, FREE_PREFILL, limits=LIMITS, slo_tpot_s=0.003).trials for _ in range(2))
    assert first == second


def test_a_burst_cannot_be_slowed_down() -> None:
    """All at one instant and a level that only a small batch meets: no rate exists to be lowered."""
    found = saturate([Arrival(3, 20, 40)] * 64, FREE_PREFILL, limits=LIMITS, slo_tpot_s=0.003)
    assert found.limited_by == "unreachable"
    assert found.tpot_p99_s == pytest.approx(FULL_S)
    assert found.floor_tpot_p99_s == pytest.approx(ALONE_S)


def test_bursts_that_no_scale_parts_are_given_up_within_the_range_of_the_clock() -> None:
    """Two bursts of 64: slowed down as far as the clock reaches, each still runs as a full batch."""
    burst = [Arrival(at, 20, 40) for at in (0, 10**12) for _ in range(64)]
    found = saturate(burst, FREE_PREFILL, limits=LIMITS, slo_tpot_s=0.003)
    assert found.limited_by == "unreachable"
    assert all(slow.scale > next_slow.scale for slow, next_slow in pairwise(found.trials))
    assert 10**12 / found.trials[-1].scale <= 2**62


def test_requests_without_a_second_token_have_no_tpot_and_meet_any_level() -> None:
    """One output token each: no TPOT exists, capacity is the limit."""
    found = saturate([Arrival(0, 5, 1), Arrival(9, 5, 1)], FREE_PREFILL, limits=LIMITS)
    assert (found.limited_by, found.tpot_p99_s, found.floor_tpot_p99_s) == ("capacity", None, None)


def test_the_slice_is_the_first_two_thousand() -> None:
    """More are not drawn."""
    trace = iter([Arrival(number * 10**8, 5, 2) for number in range(SLICE_REQUESTS + 9)])
    saturate(trace, FREE_PREFILL, limits=LIMITS)
    assert len(list(trace)) == 9


def test_the_steady_part_leaves_out_ramp_and_drain() -> None:
    """Between a fifth and four fifths of the tokens, whole windows, books added up."""
    record = replay(TRACE, FREE_PREFILL, limits=LIMITS)
    part = steady_part(record)
    inside = [w for w in record.windows if part.start_fine <= w.start_fine and w.end_fine <= part.end_fine]
    assert part.output_tokens == sum(window.output_tokens for window in inside)
    assert part.idle_fine == sum(window.idle_fine for window in inside)
    before = sum(window.output_tokens for window in record.windows if window.end_fine <= part.start_fine)
    total = record.total.output_tokens
    assert 0.2 * total <= before <= 0.22 * total
    assert 0.58 * total <= part.output_tokens <= 0.6 * total
    busy_fine = sum(use.time_fine for use in part.phases.values())
    assert part.end_fine - part.start_fine == part.idle_fine + busy_fine


def test_a_record_of_one_window_is_steady_as_a_whole() -> None:
    """Too short to have a middle."""
    record = replay([Arrival(0, 1, 1)], FREE_PREFILL, limits=LIMITS)
    assert steady_part(record) == record.total


@pytest.mark.parametrize(
    ("arrivals", "slo_tpot_s", "relative_width"),
    [([], 0.05, 0.02), (TRACE, 0.0, 0.02), (TRACE, math.nan, 0.02), (TRACE, 0.05, -1.0), (TRACE, math.inf, 0.02)],
)
def test_bad_searches_are_refused(arrivals: list[Arrival], slo_tpot_s: float, relative_width: float) -> None:
    """An empty slice, a level or width that is zero, negative or not finite."""
    with pytest.raises(InputError, match="saturation"):
        saturate(arrivals, FREE_PREFILL, limits=LIMITS, slo_tpot_s=slo_tpot_s, relative_width=relative_width)
