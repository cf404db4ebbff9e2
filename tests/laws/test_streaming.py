"""Requests that are counted, not kept: the same result in memory that does not grow, percentiles within their bins."""

from __future__ import annotations

import math
import sys
from fractions import Fraction
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings

from archsim.errors import InputError
from archsim.metrics.binned import RELATIVE_ERROR, Bins
from archsim.metrics.latency import PERCENTS, end_to_end_s, percentile, tpot_s, ttft_s
from archsim.serving.fleet import replay_fleet
from archsim.serving.replay import replay
from archsim.serving.requests import Arrival, Limits
from archsim.serving.servers import ServerGroup
from archsim.simulate import load_model, load_pools, load_system, run
from archsim.workload import stream
from archsim.workload.stream import Stream, open_traffic
from archsim.workload.trace import Trace, load_trace

sys.path.append(str(Path(__file__).parents[1]))
import replay_toy as toy

quiet = settings(deadline=None, derandomize=True, database=None, max_examples=100)


@given(st.lists(st.integers(0, 2**63 - 1) | st.integers(0, 2000), min_size=1, max_size=50))
@quiet
def test_a_binned_percentile_is_within_its_error_of_the_value_and_a_mean_is_exact(values: list[int]) -> None:
    """Of all times that a column holds: the nearest rank by its bin's middle, the sum as integers have it."""
    bins = Bins()
    bins.add(np.array(values, dtype=np.int64))
    found, ordered = bins.summary(), np.sort(np.array(values, dtype=np.int64))
    assert bins.count == len(values)
    assert found["mean"] == float(Fraction(sum(values), len(values) * 10**12))
    for percent in PERCENTS:
        true = int(ordered[-(-percent * len(values) // 100) - 1])
        assert abs(found[f"p{percent}"] * 10**12 - true) <= true * RELATIVE_ERROR * (1 + 1e-12)


@given(st.lists(st.tuples(st.integers(0, 2**62), st.integers(1, 2**20)), min_size=1, max_size=30))
@quiet
def test_the_sum_of_quotients_lacks_less_than_a_unit_of_each(pairs: list[tuple[int, int]]) -> None:
    """Times over tokens: in units of 2**-32 ps each quotient is rounded down once."""
    bins = Bins()
    bins.add(*np.array(pairs, dtype=np.int64).T)
    lost = sum(Fraction(time << 32, tokens) for time, tokens in pairs) - bins.total_fine
    assert 0 <= lost < len(pairs)


def test_bins_of_nothing_say_nothing() -> None:
    """No request has the latency: null throughout."""
    assert set(Bins().summary().values()) == {None}


@st.composite
def traces(draw: st.DrawFn) -> list[Arrival]:
    """Return up to 40 requests in bursts and with pauses, some longer than the server holds."""
    rows = draw(st.lists(st.tuples(st.integers(0, 10**9), st.integers(1, 60), st.integers(1, 60)), max_size=40))
    arrivals = np.cumsum([gap for gap, _, _ in rows]).tolist()
    return [Arrival(int(at), prompt, output) for at, (_, prompt, output) in zip(arrivals, rows, strict=True)]


def _costs() -> toy.ToyCosts:
    return toy.ToyCosts(
        lambda batch, kv: 10**7 + 1000 * batch + kv, lambda tokens, pairs: 10**6 * tokens + pairs, spacing_bits=6
    )


def _limits(*, tallied: bool) -> Limits:
    return Limits(6, 90, 40, 4, 100, tallied=tallied)


def _assert_counted(kept: Any, counted: Any) -> None:
    """The counts of one replay are those of the rows of the other."""
    tally, table = counted.tally, kept.requests
    done = table.finish_ps >= 0
    assert len(counted.requests.arrival_ps) == 0
    assert (counted.offered, counted.completed, counted.rejected) == (kept.offered, kept.completed, kept.rejected)
    assert tally.prompt_tokens == table.prompt_tokens[done].sum()
    assert tally.output_tokens == table.output_tokens[done].sum()
    columns = {
        "ttft": ttft_s(table.arrival_ps, table.first_token_ps),
        "tpot": tpot_s(table.first_token_ps, table.finish_ps, table.output_tokens),
        "e2e": end_to_end_s(table.arrival_ps, table.finish_ps),
    }
    for name, values in columns.items():
        bins = getattr(tally, name)
        assert bins.count == len(values)
        if not len(values):
            continue
        found = bins.summary()
        assert found["mean"] == pytest.approx(math.fsum(values) / len(values), rel=1e-12)
        for percent in PERCENTS:
            # Bins are of whole picoseconds: a quotient is cut off to one.
            true = percentile(np.sort(values), percent)
            assert abs(found[f"p{percent}"] - true) <= true * RELATIVE_ERROR + 1e-12


@given(traces())
@quiet
def test_counted_requests_come_to_the_same_as_kept_ones(arrivals: list[Arrival]) -> None:
    """Windows, counters and sums are equal, percentiles within the width of a bin."""
    kept, counted = (replay(arrivals, _costs(), limits=_limits(tallied=tallied)) for tallied in (False, True))
    _assert_counted(kept, counted)
    assert kept.windows == counted.windows
    assert (kept.event_count, kept.peak_kv_blocks) == (counted.event_count, counted.peak_kv_blocks)


@given(traces(), st.sampled_from(["round_robin", "least_tokens"]))
@settings(quiet, max_examples=30)
def test_counted_requests_of_replicas_are_summed(arrivals: list[Arrival], router: str) -> None:
    """The router forgets who is done and sends everybody where it would have."""
    kept, counted = (
        replay_fleet(arrivals, ServerGroup(_costs(), _limits(tallied=tallied), 3, router=router))
        for tallied in (False, True)
    )
    _assert_counted(kept.record, counted.record)
    for one, other in zip(kept.replicas, counted.replicas, strict=True):
        _assert_counted(one, other)
        assert one.windows == other.windows


def test_what_is_kept_of_counted_requests_does_not_grow() -> None:
    """After 10,000 requests the books hold what they held after 5,000: fewer than 4,096 rows, and bins."""
    held = []
    for count in (5_000, 10_000):
        arrivals = (Arrival(at * 10**9, 1 + at % 50, 1 + at % 7) for at in range(count))
        record = replay(arrivals, _costs(), limits=_limits(tallied=True))
        held.append(record.tally.e2e.counts.nbytes)
        assert record.completed == count
        assert record.requests.arrival_ps.nbytes == 0
        assert len(record.windows) <= 512
    assert held[0] == held[1] < 2**17


@pytest.fixture(name="most")
def _most(monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(stream, "MOST_EXACT", 50)
    return 50


def _file(path: Path, rows: int, *, header: str = "arrival_s,prompt_tokens,output_tokens", tail: str = "") -> Path:
    path.write_text(header + "\n" + "".join(f"{n / 8},{20 + n % 30},{2 + n % 9}{tail}\n" for n in range(rows)))
    return path


def test_more_requests_than_are_kept_make_a_stream(most: int, tmp_path: Path) -> None:
    """One more than the most: of a file, which is counted, and of a sampler, which knows; sessions are held."""
    held, streamed = (open_traffic(str(_file(tmp_path / f"{n}.csv", n))) for n in (most, most + 1))
    assert isinstance(held, Trace)
    assert isinstance(streamed, Stream)
    assert (held.count, streamed.count) == (most, most + 1)
    drawn = open_traffic("azure-week", 1000)
    assert isinstance(drawn, Stream)
    assert drawn.count == 1000 == sum(1 for _ in drawn)
    assert isinstance(open_traffic("azure-week", most), Trace)
    assert isinstance(open_traffic("agents", 200), Trace)


def test_a_week_says_how_long_it_is_without_being_drawn() -> None:
    """27 million requests: the progress bar knows the end, and nothing is read before the replay."""
    assert open_traffic("azure-week").count == 27_000_000


def test_a_stream_yields_the_requests_of_the_held_trace_and_digests_them(most: int, tmp_path: Path) -> None:
    """As often as asked; the digest is of all of them, whoever read how many last, and another trace has another."""
    path = str(_file(tmp_path / "a.csv", 9000))
    streamed, held = open_traffic(path), load_trace(path)
    assert isinstance(streamed, Stream)
    assert list(streamed) == list(held)
    digest = streamed.digest
    next(iter(streamed))
    assert streamed.digest == digest
    assert streamed.digest_so_far != digest
    changed = open_traffic(str(_file(tmp_path / "b.csv", 8999)))
    assert changed.digest != digest


def test_a_wrong_line_far_down_is_found_before_the_run(most: int, tmp_path: Path) -> None:
    """The file is read once to be counted, so that no run ends in its last line."""
    path = _file(tmp_path / "a.csv", 500)
    path.write_text(path.read_text() + "nonsense\n")
    with pytest.raises(InputError, match="line 502"):
        open_traffic(str(path))


@pytest.fixture(scope="module", name="both")
def _both() -> tuple[Any, Any]:
    """Return results of the same requests held and streamed."""
    given_ = (load_system("h100-sxm8"), load_model("llama-3.1-8b"))
    with pytest.MonkeyPatch.context() as patch:
        results = []
        for most in (10**6, 20):
            patch.setattr(stream, "MOST_EXACT", most)
            results.append(run(*given_, trace=open_traffic("azure-conv", 30), slo_s=0.05))
    return results[0], results[1]


def test_a_streamed_result_is_that_of_the_held_trace(both: tuple[Any, Any]) -> None:
    """All but percentiles, which say how they were counted: ledger, energy, cost, saturation, provenance."""
    but = {"latency_s", "percentiles", "uncertainty"}
    held, streamed = (result.model_dump(exclude=but) for result in both)
    assert held == streamed
    assert both[0].uncertainty.half_width == both[1].uncertainty.half_width
    assert both[0].percentiles is None
    assert "percentiles" not in both[0].to_json()
    assert both[1].percentiles.relative_error == RELATIVE_ERROR
    for name in ("ttft", "tpot", "e2e"):
        exact, binned = (getattr(result.latency_s, name) for result in both)
        assert binned.mean == pytest.approx(exact.mean, rel=1e-12)
        for percent in PERCENTS:
            assert getattr(binned, f"p{percent}") == pytest.approx(getattr(exact, f"p{percent}"), rel=RELATIVE_ERROR)


def test_a_streamed_result_has_no_table_of_requests(both: tuple[Any, Any]) -> None:
    """Nor a figure of their latencies; both refuse by name."""
    assert len(both[1].columns("ledger")["start_s"]) > 0
    with pytest.raises(InputError, match="kept them"):
        both[1].columns("requests")
    with pytest.raises(InputError, match="latency"):
        both[1].plot("latency")


@pytest.mark.parametrize(
    ("overrides", "named"),
    [
        (("serving.metrics.detail=tokens",), "serving.metrics"),
        (("serving.priority.shares=[20, 80]", "serving.priority.preempt=never"), "serving.priority"),
    ],
)
def test_what_needs_every_request_is_refused_for_a_stream(most: int, overrides: tuple[str, ...], named: str) -> None:
    """Goodput, fairness, energy of requests and classes are read off rows that a stream does not leave."""
    with pytest.raises(InputError, match=f"{named}.*at most 1,000,000 requests"):
        run(load_system("h100-sxm8", overrides), load_model("llama-3.1-8b"), trace=open_traffic("azure-conv", 80))


def test_pools_serve_no_stream(most: int) -> None:
    """Requests that pass between servers are joined by their rows."""
    with pytest.raises(InputError, match="at most 1,000,000 requests for several pools"):
        run(load_pools("h100-h200"), load_model("llama-3.1-8b"), trace=open_traffic("azure-conv", 80))
