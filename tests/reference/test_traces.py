"""The Azure trace: what the readers make of it and what its README says of it."""

from __future__ import annotations

import csv
import gzip
import time
from datetime import datetime
from pathlib import Path

import pytest

from archsim.workload.statistics import describe
from archsim.workload.trace import Trace, load_trace

FILE = "azure_llm_2023_conv.csv.gz"

# Quantiles of ../shared/traces/README.md, in percent; it rounds to whole tokens.
CONTEXT = {"1": 29, "5": 181, "25": 396, "50": 1020, "75": 1189, "90": 2734, "95": 4083, "99": 4142, "99.9": 6179}
GENERATED = {"1": 16, "5": 41, "25": 85, "50": 129, "75": 395, "90": 424, "95": 451, "99": 601, "99.9": 954}


@pytest.fixture(scope="module")
def azure(shared: Path) -> Trace:
    """Return the whole trace."""
    return load_trace(str(shared / "traces" / FILE))


def test_the_fast_reader_equals_a_slow_one(azure: Trace, shared: Path) -> None:
    """Every row, against the standard library's CSV and datetime, which know microseconds; ticks are added by hand."""
    with gzip.open(shared / "traces" / FILE, "rt") as text:
        slow = []
        for row in csv.DictReader(text):
            whole, ticks = row["TIMESTAMP"].split(".")
            second = datetime.strptime(whole, "%Y-%m-%d %H:%M:%S")  # noqa: DTZ007 - the trace has no time zone
            delta = second - datetime(2023, 11, 16)  # noqa: DTZ001
            arrival_ps = (delta.days * 86400 + delta.seconds) * 10**12 + int(ticks) * 10 ** (12 - len(ticks))
            slow.append((arrival_ps, int(row["ContextTokens"]), int(row["GeneratedTokens"])))
    first = slow[0][0]
    assert [request[:3] for request in azure] == [(at - first, prompt, output) for at, prompt, output in slow]


def test_the_trace_is_the_one_its_readme_describes(azure: Trace) -> None:
    """Rows, span, rate, burstiness, correlation, means and every quantile."""
    facts = describe(azure)
    assert facts.requests == 19_366
    assert facts.span_s == pytest.approx(3501.7, abs=0.05)
    assert facts.requests_per_s == pytest.approx(5.53, abs=0.005)
    assert facts.interarrival_cv == pytest.approx(1.09, abs=0.005)
    assert facts.busiest_minute == pytest.approx(1.52, abs=0.005)
    assert facts.correlation == pytest.approx(-0.11, abs=0.005)
    for lengths, published, mean, largest in (
        (facts.prompt_tokens, CONTEXT, 1154.7, 14050),
        (facts.output_tokens, GENERATED, 211.1, 1000),
    ):
        assert lengths.quantiles == pytest.approx(published, abs=0.51)
        assert lengths.mean == pytest.approx(mean, abs=0.05)
        assert lengths.largest == largest


def test_the_whole_trace_is_read_in_a_quarter_of_a_second(shared: Path) -> None:
    """A replay at 3,000 requests/s has 6.5 s for the whole trace; reading may take little of it (best of three)."""
    seconds = []
    for _ in range(3):
        begun = time.process_time()
        load_trace(str(shared / "traces" / FILE))
        seconds.append(time.process_time() - begun)
    assert min(seconds) < 0.25


def test_mooncake_repeats_what_its_readme_says(shared: Path) -> None:
    """Rows, span, quantiles, distinct blocks, and the share that an unbounded prefix cache would serve: 34.7 %."""
    trace = load_trace(str(shared / "traces" / "mooncake_conversation_first30min.jsonl.gz"))
    facts = describe(trace)
    assert (facts.requests, facts.distinct_blocks) == (5_719, 96_534)
    assert facts.prefix_share == pytest.approx(0.347, abs=0.0005)
    assert 1797 <= facts.span_s < 1800
    assert facts.prompt_tokens.mean == pytest.approx(12_870, abs=0.5)
    for lengths, published in (
        (facts.prompt_tokens, [894, 901, 2508, 7640, 16254, 28638, 41793, 91207, 121299]),
        (facts.output_tokens, [3, 9, 152, 356, 476, 608, 707, 1105, 2000]),
    ):
        assert list(lengths.quantiles.values()) == pytest.approx(published, abs=0.51)
    # Three-second ticks are gone: nobody arrives with anybody else.
    assert len(set(trace.arrivals_ps)) == 5_719


# Volume-weighted quantiles of the reasoning model's output, in percent, and its means, from the same README.
REASONED = {"1": 136, "5": 217, "25": 453, "50": 1022, "75": 1664, "90": 3808, "95": 5635, "99": 10170}


def test_the_reasoning_sampler_has_the_published_quantiles() -> None:
    """Two thousand requests: answers longer than questions, quantiles within sampling error."""
    facts = describe(load_trace("reasoning"))
    assert facts.output_tokens.mean > facts.prompt_tokens.mean
    for percent in ("5", "25", "50", "75", "90", "95"):
        assert facts.output_tokens.quantiles[percent] == pytest.approx(REASONED[percent], rel=0.12)


@pytest.mark.slow
def test_a_day_of_reasoning_clients_has_the_published_quantiles(shared: Path) -> None:
    """All 37 clients for the whole day: 863,007 requests by the sum of their rates, means and quantiles within 1 %."""
    facts = describe(load_trace(str(shared / "traces" / "servegen" / "reason_deepseek_r1_rates.csv.gz")))
    assert facts.requests == pytest.approx(863_007, rel=0.01)
    assert (facts.prompt_tokens.mean, facts.output_tokens.mean) == pytest.approx((1296, 1604), rel=0.01)
    for percent, tokens in REASONED.items():
        assert facts.output_tokens.quantiles[percent] == pytest.approx(tokens, rel=0.01)


def test_requests_of_a_vllm_benchmark_are_a_trace(shared: Path) -> None:
    """300 requests at 10.3/s with gaps of CV 0.94, outputs of at least 512 tokens but for a few, median 632."""
    facts = describe(load_trace(str(shared / "traces" / "vllm_bench" / "RTXPRO6000_Llama-3.1-8B_requests.csv")))
    assert facts.requests == 300
    assert facts.requests_per_s == pytest.approx(10.3, abs=0.1)
    assert facts.interarrival_cv == pytest.approx(0.94, abs=0.01)
    assert facts.output_tokens.quantiles["50"] == pytest.approx(632, abs=1)


def test_the_sampler_has_the_distribution_of_the_trace(azure: Trace) -> None:
    """Quantiles it was given within sampling error, means within 4 %, the rate within 3 %: two thousand requests."""
    drawn, real = describe(load_trace("azure-conv")), describe(azure)
    assert drawn.requests_per_s == pytest.approx(real.requests_per_s, rel=0.03)
    assert drawn.interarrival_cv == pytest.approx(1, abs=0.05)
    for sample, trace in ((drawn.prompt_tokens, real.prompt_tokens), (drawn.output_tokens, real.output_tokens)):
        assert sample.mean == pytest.approx(trace.mean, rel=0.04)
        for percent in ("25", "50", "75", "90", "95"):
            assert sample.quantiles[percent] == pytest.approx(trace.quantiles[percent], rel=0.06)
