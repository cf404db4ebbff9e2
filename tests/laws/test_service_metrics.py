"""What is measured beyond latencies: bins, levels, shares that sum to the whole."""

from __future__ import annotations

import csv
import gzip
import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from archsim.metrics.columns import RequestColumns
from archsim.metrics.service import binned_percentile, jain_index, met, shares_of_requests
from archsim.report.writers import write_run
from archsim.result import Result
from archsim.serving.observe import CELLS, Series, bin_of
from archsim.serving.replay import replay
from archsim.serving.requests import Arrival, Limits
from archsim.serving.techniques import Techniques
from archsim.simulate import load_model, load_system, run
from archsim.step.costs import StepCosts
from archsim.workload.trace import load_trace

MS = 10**9


def _requests() -> RequestColumns:
    """Return four requests: 1 s, 2 s and 4 s after arrival done, and one rejected; 11, 1 and 21 tokens."""
    columns = ([0, 0, 0, 0], [100, 300, 100, 5], [11, 1, 21, 9], [500, 2000, 100, -1], [1000, 2000, 4000, -1])
    arrival, prompt, output, first, finish = (np.array(column, dtype=np.int64) for column in columns)
    first, finish = (np.where(column < 0, -1, column * MS) for column in (first, finish))
    return RequestColumns(arrival, prompt, output, first, finish, 0 * arrival, np.array([0, 0, 0, 1]), ("", "long"))


def test_a_request_is_good_that_meets_every_level() -> None:
    """TTFT 0.5, 2, 0.1 s; TPOT 50 ms, none, 195 ms; the rejected one is not."""
    table = _requests()
    assert met(table, ttft_s=1.0, tpot_s=None).tolist() == [True, False, True, False]
    assert met(table, ttft_s=None, tpot_s=0.05).tolist() == [True, True, False, False]
    assert met(table, ttft_s=0.5, tpot_s=0.2).tolist() == [True, False, True, False]


def test_shares_of_requests_sum_to_the_whole() -> None:
    """Prefill by prompts (100, 300, 100), decode by outputs (11, 1, 21), the rest by both."""
    shares = shares_of_requests(_requests(), {"prefill": 5.0, "decode": 33.0, "none": 533.0})
    assert shares.tolist() == pytest.approx([1 + 11 + 111, 3 + 1 + 301, 1 + 21 + 121, 0.0])


def test_jains_index_is_one_of_equals_and_one_nth_where_one_has_all() -> None:
    """And None of nothing."""
    assert jain_index(np.array([2.0, 2.0, 2.0])) == 1.0
    assert jain_index(np.array([5.0, 0.0, 0.0, 0.0])) == 0.25
    assert jain_index(np.array([])) is None


def test_a_bin_is_less_than_a_hundredth_wide() -> None:
    """Its lower edge is at most 1/128 below any value in it; percentiles are nearest rank."""
    for ps in (0, 1, 255, 256, 12345, 10**9 + 7, 3 * 10**12):
        assert ps * 127 / 128 <= bin_of(ps << 32) <= ps
    assert binned_percentile({10: 50, 20: 49, 30: 1}, 99) == 20
    assert binned_percentile({10: 50, 20: 49, 30: 2}, 99) == 30
    assert binned_percentile({}, 50) is None


def test_a_series_keeps_its_sums_through_every_merge() -> None:
    """Stretches of a millisecond each, for ten seconds: at most 512 cells, the same integral."""
    series = Series()
    for at in range(10_000):
        series.add(at * MS << 32, (at + 1) * MS << 32, (at % 7, at % 5, 100))
    rows = list(series.rows())
    assert 256 <= len(rows) <= CELLS
    assert sum(length for _, length, *_ in rows) == pytest.approx(10_000 * MS, rel=1e-9)
    total = math.fsum(length * waiting for _, length, waiting, *_ in rows)
    assert total == pytest.approx(MS * sum(at % 7 for at in range(10_000)), rel=1e-9)
    assert all(blocks == pytest.approx(100) for *_, blocks in rows)


def test_littles_law_holds_of_the_series() -> None:
    """Mean waiting and running x time = sum of the requests' times in the system, where iterations are short."""

    def step(batch: Any) -> Any:
        return SimpleNamespace(time_ps=10**6 + 10**4 * batch.tokens)

    limits = Limits(4, 100, 1000, 16, 1000, techniques=Techniques(watched=True))
    arrivals = [Arrival(at * 10**8, 50, 40 + at % 13) for at in range(200)]
    record = replay(arrivals, StepCosts(step), limits=limits)
    assert record.observer is not None
    inside = math.fsum(length * (waiting + runs) for _, length, waiting, runs, _ in record.observer.series.rows())
    table = record.requests
    spent = (table.finish_ps - table.arrival_ps).sum()
    assert inside == pytest.approx(spent, rel=0.02)


@pytest.fixture(scope="module")
def measured() -> Result:
    """A short run on one chip with everything measured."""
    levels = ("serving.metrics.detail=tokens", "serving.metrics.slo_ttft=1 s", "serving.metrics.slo_tpot=30 ms")
    return run(load_system("gh200", levels), load_model("llama-3.1-8b"), trace=load_trace("azure-conv", limit=20))


def test_a_run_reports_what_was_measured(measured: Result) -> None:
    """Every further token has a gap; the rest is within what it can be."""
    assert measured.serving is not None
    found = measured.serving.metrics
    assert found is not None
    assert found.inter_token_s.count == measured.tokens.output - measured.requests.completed
    assert found.inter_token_s.p50 is not None
    assert found.inter_token_s.p99 is not None
    assert found.inter_token_s.mean is not None
    assert found.inter_token_s.p50 <= found.inter_token_s.p99
    tpot = measured.latency_s.tpot.mean
    assert tpot is not None
    assert found.inter_token_s.mean == pytest.approx(tpot, rel=0.2)
    assert found.goodput is not None
    assert found.goodput.share == 1.0
    assert 0 < (found.fairness["requests"] or 0) <= 1


def test_joules_and_dollars_of_requests_sum_to_the_runs(measured: Result, tmp_path: Path) -> None:
    """In the table of a run directory; the series stands beside it."""
    write_run(measured, tmp_path / "run")
    with gzip.open(tmp_path / "run" / "requests.csv.gz", "rt") as file:
        rows = list(csv.DictReader(file))
    assert measured.energy is not None
    assert measured.cost is not None
    assert math.fsum(float(row["joules"]) for row in rows) == pytest.approx(measured.energy.joules)
    usd = measured.cost.usd_per_million_output_tokens * measured.tokens.output / 1e6
    assert math.fsum(float(row["usd"]) for row in rows) == pytest.approx(usd)
    with gzip.open(tmp_path / "run" / "series.csv.gz", "rt") as file:
        series = list(csv.DictReader(file))
    assert float(series[-1]["end_s"]) == pytest.approx(measured.simulated_s)
