"""Latency and throughput on hand-written rows."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from archsim.metrics.latency import (
    PERCENTS,
    distribution,
    end_to_end_s,
    percentile,
    summary,
    throughput,
    tpot_s,
    ttft_s,
)

MS = 10**9
ARRIVAL = np.array([0, 10, 20, 30]) * MS
FIRST = np.array([5 * MS, 40 * MS, 20 * MS, -1])
FINISH = np.array([105 * MS, 40 * MS, 50 * MS, -1])
OUTPUT = np.array([11, 1, 4, 7])
"""Three requests are served, the second with one token only; the fourth is rejected."""


def test_ttft_runs_from_arrival_to_first_token_of_served_requests() -> None:
    """TTFT = first token - arrival; the rejected request has none."""
    assert ttft_s(ARRIVAL, FIRST).tolist() == [0.005, 0.030, 0.0]


def test_tpot_divides_by_the_tokens_after_the_first() -> None:
    """TPOT = (finish - first) / (output - 1): 100 ms over 10 tokens and 30 ms over 3; undefined for one token."""
    assert tpot_s(FIRST, FINISH, OUTPUT).tolist() == pytest.approx([0.010, 0.010], rel=1e-15)


def test_end_to_end_runs_from_arrival_to_finish() -> None:
    """End to end = finish - arrival, queueing included."""
    assert end_to_end_s(ARRIVAL, FINISH).tolist() == [0.105, 0.030, 0.030]


def test_summary_of_no_values_is_none_not_nan() -> None:
    """An absent metric is None in every field."""
    assert summary(np.array([])) == dict.fromkeys(["mean", "p50", "p90", "p95", "p99"])


def test_percentiles_are_nearest_ranks() -> None:
    """Of 1..200 the p-th percentile is the value 2p: the smallest that p % of the values do not exceed."""
    values = np.arange(200, 0, -1).astype(float)
    assert summary(values) == {"mean": 100.5, "p50": 100.0, "p90": 180.0, "p95": 190.0, "p99": 198.0}


def test_percentile_of_one_value_is_that_value() -> None:
    """A single value is every percentile."""
    assert {percentile(np.array([3.5]), percent) for percent in PERCENTS} == {3.5}


@pytest.mark.parametrize("percent", [0, 101, -5])
def test_percentile_outside_its_range_is_refused(percent: int) -> None:
    """Nearest ranks exist from 1 to 100."""
    with pytest.raises(ValueError, match="from 1 to 100"):
        percentile(np.array([1.0]), percent)


@settings(deadline=None, derandomize=True, database=None)
@given(st.lists(st.integers(0, 10**9), min_size=1, max_size=60), st.integers(1, 100))
def test_percentile_is_the_smallest_value_with_enough_values_below(values: list[int], percent: int) -> None:
    """The definition itself, by counting: enough values up to it, too few up to any smaller one."""
    got = percentile(np.sort(np.array(values, dtype=float)), percent)
    enough = [v for v in values if sum(other <= v for other in values) * 100 >= percent * len(values)]
    assert got == min(enough)


def test_distribution_climbs_in_equal_steps_to_one() -> None:
    """Sorted, n values give n steps of 1/n in ascending order."""
    ordered, share = distribution(np.array([3.0, 1.0, 2.0, 2.0]))
    assert ordered.tolist() == [1.0, 2.0, 2.0, 3.0]
    assert share.tolist() == [0.25, 0.5, 0.75, 1.0]


def test_throughput_counts_completed_requests_over_elapsed_time() -> None:
    """11 + 1 + 4 tokens and 3 requests in half a second on 8 chips; the rejected request counts nothing."""
    got = throughput(FINISH, OUTPUT, elapsed_ps=500 * MS, chips=8)
    assert got == {"output_tokens_per_s": 32.0, "output_tokens_per_s_per_chip": 4.0, "requests_per_s": 6.0}


def test_throughput_of_no_time_is_none() -> None:
    """A run in which no time passed has no rate."""
    assert set(throughput(FINISH, OUTPUT, elapsed_ps=0, chips=1).values()) == {None}


def test_mean_does_not_depend_on_the_order_of_rows() -> None:
    """The sum is exact before it is rounded once."""
    values = np.array([1e16, 1.0, 1.0, -1e16, 0.1])
    assert summary(values)["mean"] == summary(values[::-1])["mean"] == math.fsum(values) / 5
