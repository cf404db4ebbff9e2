"""Traces: exact arrivals, one careful and one fast way to the same rows, and samplers that repeat."""

from __future__ import annotations

import gzip
import itertools
import math
from array import array
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from archsim.errors import InputError
from archsim.files import bundled_path
from archsim.workload import schemas, text_rows
from archsim.workload import trace as trace_module
from archsim.workload.sampler import Quantiles, read_sampler
from archsim.workload.statistics import describe, quantile
from archsim.workload.trace import Request, Trace, bundled_traces, load_trace

LAWS = settings(deadline=None, derandomize=True, database=None, max_examples=100)
PLAIN = "arrival_s,prompt_tokens,output_tokens\n"
AZURE = "TIMESTAMP,ContextTokens,GeneratedTokens\n"


def written(folder: Path, text: str, name: str = "trace.csv") -> str:
    """Return the path of a file that holds *text*, packed where its name says so."""
    path = folder / name
    content = text.encode()
    path.write_bytes(gzip.compress(content, mtime=0) if name.endswith(".gz") else content)
    return str(path)


def rows(
    path: str, limit: int | None = None, rate_scale: float | str | Fraction | None = None
) -> list[tuple[int, ...]]:
    """Return the requests of a trace without their numbers."""
    return [request[:3] for request in load_trace(path, limit, rate_scale)]


def refused(folder: Path, text: str, name: str = "trace.csv") -> str:
    """Return the message with which a trace is refused."""
    with pytest.raises(InputError) as caught:
        load_trace(written(folder, text, name))
    return str(caught.value)


def test_seconds_become_exact_picoseconds(tmp_path: Path) -> None:
    """Decimal text to integers: 0.1 s is 10^11 ps, not the nearest float of it; beyond 12 decimals half rounds up."""
    text = PLAIN + "0.1,5,6\n0.30000000000000004,7,8\n1,9,10\n1.0000000000005,1,1\n2e1,1,1\n"
    arrivals = [arrival for arrival, _, _ in rows(written(tmp_path, text))]
    assert arrivals == [10**11, 3 * 10**11, 10**12, 10**12 + 1, 20 * 10**12]


def test_azure_times_count_from_the_first_request(tmp_path: Path) -> None:
    """Ticks of 100 ns, over midnight and a leap day."""
    text = AZURE + "2024-02-28 23:59:59.9999999,374,44\n2024-02-29 00:00:00.0000001,396,109\n2024-03-01 00:00:00,1,1\n"
    assert rows(written(tmp_path, text)) == [
        (0, 374, 44),
        (200_000, 396, 109),
        (86_400 * 10**12 + 100_000, 1, 1),
    ]


def test_azure_times_may_say_that_they_are_in_utc(tmp_path: Path) -> None:
    """The traces of 2024 end in +00:00; another zone is refused, since it may change within a file."""
    text = AZURE + "2024-05-10 00:00:00.009930+00:00,2162,5\n2024-05-10 00:00:00.017335+00:00,2399,6\n"
    assert rows(written(tmp_path, text)) == [(0, 2162, 5), (7_405_000_000, 2399, 6)]
    assert "in UTC" in refused(tmp_path, text.replace("+00:00", "+01:00"))


@pytest.mark.parametrize("name", ["trace.csv", "trace.csv.gz"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_columns_stand_in_any_order_beside_others(name: str, end: str, tmp_path: Path) -> None:
    """The header says where they are; quotes and spaces go the careful way to the same rows."""
    lines = ["note,output_tokens,arrival_s,extra,prompt_tokens", "a,6,0.5,,5", '"b,c",8,0.75,x, 7 ', "", "d,10,1.0,x,9"]
    path = written(tmp_path, end.join(lines) + end, name)
    assert rows(path) == [(5 * 10**11, 5, 6), (75 * 10**10, 7, 8), (10**12, 9, 10)]


def test_json_lines_hold_the_same_requests(tmp_path: Path) -> None:
    """One object a line, numbers exact, further keys ignored; the digest is that of the CSV with the same rows."""
    lines = [
        '{"prompt_tokens": 5, "arrival_s": 0.1, "output_tokens": 6, "id": "x"}',
        '{"arrival_s": 2, "prompt_tokens": 7, "output_tokens": 8}',
    ]
    jsonl = written(tmp_path, "\n".join(lines), "trace.jsonl.gz")
    table = written(tmp_path, PLAIN + "0.1,5,6\n2,7,8\n")
    assert rows(jsonl) == rows(table) == [(10**11, 5, 6), (2 * 10**12, 7, 8)]
    assert load_trace(jsonl).digest == load_trace(table).digest


plain_numbers = st.decimals(0, 10**6, allow_nan=False, allow_infinity=False, places=9)


@given(st.lists(st.tuples(plain_numbers, st.integers(1, 10**6), st.integers(1, 10**6)), min_size=1, max_size=20))
@LAWS
def test_the_fast_way_and_the_careful_way_read_the_same(requests: list[tuple[Decimal, int, int]]) -> None:
    """Whatever the line pattern takes apart, the careful parser reads as the same row."""
    where = (0, 1, 2)
    match = text_rows.line_pattern(3, where, clock=False).fullmatch
    order = text_rows.group_order(where, clock=False)
    for arrival, prompt, output in requests:
        line = f"{arrival:f},{prompt},{output}"
        found = match(line)
        assert found is not None
        fast = (text_rows.seconds_ps(found.groups(), 0), int(found[order[1] + 1]), int(found[order[2] + 1]))
        cells = dict(zip(schemas.PLAIN.needed, line.split(","), strict=True))
        assert fast == text_rows.cells_row(Path("x"), "line 2", cells, schemas.PLAIN, ())[:3]
        assert fast == (int(arrival * 10**12), prompt, output)


def test_a_trace_can_be_read_again_and_knows_its_count(tmp_path: Path) -> None:
    """Requests are numbered from 0 and iterate as often as asked."""
    trace = load_trace(written(tmp_path, PLAIN + "0,5,6\n1,7,8\n"))
    expected = [Request(0, 5, 6, 0), Request(10**12, 7, 8, 1)]
    assert list(trace) == list(trace.requests) == list(trace) == expected
    assert (trace.count, len(trace), trace.name, trace.sampled, trace.seed) == (2, 2, "trace", False, None)


def test_a_limit_takes_the_first_rows_and_reads_no_further(tmp_path: Path) -> None:
    """What follows may even be malformed."""
    path = written(tmp_path, PLAIN + "0,5,6\n1,7,8\nnonsense\n")
    assert rows(path, 2) == [(0, 5, 6), (10**12, 7, 8)]


@pytest.mark.parametrize("scale", [2, "2", 0.5, "0.1", 3, 1.1, Fraction(7, 3)])
def test_a_rate_scale_divides_arrivals_as_the_number_it_is_written_as(
    scale: float | str | Fraction, tmp_path: Path
) -> None:
    """1.1 means eleven tenths, not the float next to it; the result is rounded to a picosecond once."""
    path = written(tmp_path, PLAIN + "0,5,6\n1,7,8\n3.000000000001,9,9\n")
    exact = Fraction(str(scale))
    expected = [math.floor(arrival / exact + Fraction(1, 2)) for arrival, _, _ in rows(path)]
    assert [arrival for arrival, _, _ in rows(path, None, scale)] == expected


@pytest.mark.parametrize("scale", [0, -1, "nan", "inf", float("nan"), float("inf"), "x", "1/0", "9" * 5000])
def test_an_impossible_rate_scale_is_refused(scale: float | str) -> None:
    """A rate is a positive finite number."""
    with pytest.raises(InputError, match="--rate-scale"):
        load_trace("azure-conv", None, scale)


def test_the_digest_is_of_the_requests(tmp_path: Path) -> None:
    """It changes with any column, with the limit and with the rate, and with nothing else."""
    base = written(tmp_path, PLAIN + "0,5,6\n1,7,8\n")
    other = written(tmp_path, PLAIN + "0,5,6\n1,7,9\n", "other.csv")
    packed = written(tmp_path, PLAIN + "0.0,5,6\n1.000,7,8\n", "packed.csv.gz")
    digests = {
        load_trace(base).digest,
        load_trace(other).digest,
        load_trace(base, 1).digest,
        load_trace(base, None, 2).digest,
    }
    assert len(digests) == 4
    assert load_trace(packed).digest == load_trace(base).digest


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("x,5,6", "an arrival in seconds"),
        ("-1,5,6", "an arrival in seconds"),
        ("nan,5,6", "an arrival in seconds"),
        ("inf,5,6", "an arrival in seconds"),
        ("1_0,5,6", "an arrival in seconds"),
        ("٣,5,6", "an arrival in seconds"),
        ("1e999,5,6", "an arrival in seconds"),
        ("9" * 5000 + ",5,6", "an arrival in seconds"),
        ("9999999999,5,6", "within 106 days"),
        ("1,0,6", "at least 1 token"),
        ("1,5,0", "at least 1 token"),
        ("1,-5,6", "1 to 999,999,999 tokens"),
        ("1,5.5,6", "1 to 999,999,999 tokens"),
        ("1,nan,6", "1 to 999,999,999 tokens"),
        ("1," + "9" * 5000 + ",6", "1 to 999,999,999 tokens"),
        ("1,5", "at least 3 columns"),
        ('1,"5,6', "a CSV row"),
        ("0.5,5,6", "sort the trace"),
    ],
)
def test_a_bad_row_is_refused_with_file_and_line(line: str, words: str, tmp_path: Path) -> None:
    """The header is line 1, so the row after a good one is line 3."""
    message = refused(tmp_path, PLAIN + "0.75,1,1\n" + line + "\n")
    assert words in message
    assert "trace.csv: line 3" in message


@pytest.mark.parametrize(
    "time", ["2023-13-01 00:00:00", "2023-02-29 00:00:00", "2023-01-01 24:00:00", "2023-01-01", "now"]
)
def test_a_time_that_is_none_is_refused(time: str, tmp_path: Path) -> None:
    """Months, days and hours are those of the calendar."""
    message = refused(tmp_path, AZURE + f"2023-01-01 00:00:00,1,1\n{time},5,6\n")
    assert "line 3" in message


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("[1]", "a JSON object"),
        ("{", "a JSON object"),
        ("[" * 100_000, "a JSON object"),
        ('{"arrival_s": NaN, "prompt_tokens": 5, "output_tokens": 6}', "an arrival in seconds"),
        ('{"arrival_s": 1, "prompt_tokens": true, "output_tokens": 6}', "1 to 999,999,999 tokens"),
        ('{"arrival_s": 1, "prompt_tokens": 5}', "1 to 999,999,999 tokens"),
        ('{"arrival_s": 1, "output_tokens": 5, "prompt_tokens": 1' + "0" * 5000 + "}", "1 to 999,999,999 tokens"),
    ],
)
def test_a_bad_json_line_is_refused_with_file_and_line(line: str, words: str, tmp_path: Path) -> None:
    """As for CSV."""
    good = '{"arrival_s": 0, "prompt_tokens": 5, "output_tokens": 6}\n'
    message = refused(tmp_path, good + line + "\n", "trace.jsonl")
    assert words in message
    assert "trace.jsonl: line 2" in message


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "the file is empty"),
        (PLAIN, "at least one request"),
        ("arrival,prompt_tokens,output_tokens\n0,1,1\n", "did you mean 'arrival_s'"),
        ("0,1,1\n", "the columns TIMESTAMP"),
        (PLAIN + "\n" * 2000 + "0,1,1\n", "blank lines"),
        (PLAIN + "0,1,1," + "x" * 2**20 + "\n", "a line below 1,048,576 characters"),
    ],
)
def test_a_file_that_is_no_trace_is_refused(text: str, words: str, tmp_path: Path) -> None:
    """Empty, headless, foreign or endless."""
    assert words in refused(tmp_path, text, "trace.csv.gz")


def test_a_file_with_requests_without_end_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A packed file may unpack to any length; rows are counted. The first ones can still be taken."""
    monkeypatch.setattr(trace_module, "_MOST_REQUESTS", 10)
    path = written(tmp_path, PLAIN + "0,1,1\n" * 20, "trace.csv.gz")
    with pytest.raises(InputError, match="at most 10 requests"):
        load_trace(path)
    assert load_trace(path, 10).count == 10


@pytest.mark.parametrize("name", ["azure-con", "../traces/x.csv", "a\0b", "x" * 5000, ""])
def test_an_unknown_trace_is_refused_with_the_known_ones(name: str) -> None:
    """No traceback for a name that is none."""
    with pytest.raises(InputError, match="azure-conv"):
        load_trace(name)


def test_a_limit_below_one_is_refused() -> None:
    """A replay of nothing has no result."""
    with pytest.raises(InputError, match="--limit"):
        load_trace("azure-conv", 0)


def test_the_sampler_draws_the_same_requests_for_a_seed_and_others_for_another() -> None:
    """Fewer requests are the beginning of more; the trace says that it is sampled, and by which seed."""
    trace = load_trace("azure-conv")
    assert (trace.sampled, trace.seed, trace.count) == (True, 0, 2000)
    assert trace.digest == load_trace("azure-conv").digest != load_trace("azure-conv", seed=1).digest
    assert list(load_trace("azure-conv", 100)) == list(trace)[:100]


def test_the_draw_is_pinned_to_its_bits() -> None:
    """The first words of PCG64(0) are known; a NumPy that gave others would change every sampled result."""
    trace = load_trace("azure-conv", 2)
    words = [11749869230777074271, 4976686463289251617, 755828109848996024]
    gap_ns = round(-math.log1p(-(words[0] >> 11) / 2**53) * 1e9 / Fraction(553, 100))
    sampler = read_sampler(bundled_path("workloads") / "samplers" / "azure-conv.toml")
    expected = (1000 * gap_ns, sampler.prompt_tokens.at(words[1]), sampler.output_tokens.at(words[2]), 0)
    assert next(iter(trace))[:4] == expected


@given(bits=st.integers(0, 2**64 - 1))
@LAWS
def test_an_inverse_distribution_is_linear_between_its_points(bits: int) -> None:
    """Against the same formula in fractions: from 2 at 0 % over 10 at 25 % to 110 at 100 %."""
    share = Fraction(bits, 2**64)
    quarter = Fraction(1, 4)
    exact = 2 + 8 * share / quarter if share < quarter else 10 + 100 * (share - quarter) / (1 - quarter)
    assert Quantiles(((0, 2), (250_000, 10), (10**6, 110))).at(bits) == math.floor(exact + Fraction(1, 2))


@pytest.mark.parametrize("name", bundled_traces())
def test_a_bundled_sampler_gives_a_source_for_every_number(name: str) -> None:
    """Each line with a number ends in a source or an assumption."""
    text = (bundled_path("workloads") / "samplers" / f"{name}.toml").read_text()
    numbered = [line for line in text.splitlines() if "=" in line and not line.startswith(("title", "["))]
    assert len(numbered) > 10
    assert all("# source:" in line or "# assumption:" in line for line in numbered)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (("rate = ", "rates = "), "did you mean 'rate'"),
        (('"5 req/s"', '"0 req/s"'), "from 0.001 req/s"),
        (('"5 req/s"', '"5 s"'), "rate"),
        (("requests = 9", "requests = 0"), "requests"),
        (('"100" = 8', '"99" = 8'), 'from "0" to "100"'),
        (('"100" = 8', '"100" = 2'), "both rising"),
        (('"100" = 8', '"100" = 8.5'), "prompt_tokens"),
        (('"0" = 4', '"x" = 4'), "prompt_tokens"),
    ],
)
def test_a_sampler_with_a_mistake_is_refused_by_key(change: tuple[str, str], words: str, tmp_path: Path) -> None:
    """A sampler of one's own is checked like any other file."""
    good = 'rate = "5 req/s"\nrequests = 9\n[prompt_tokens]\n"0" = 4\n"100" = 8\n[output_tokens]\n"0" = 1\n"100" = 2\n'
    assert load_trace(written(tmp_path, good, "own.toml")).count == 9
    with pytest.raises(InputError) as caught:
        load_trace(written(tmp_path, good.replace(*change), "own.toml"))
    assert words in str(caught.value)


def by_hand(arrivals_s: list[int], prompts: list[int], outputs: list[int]) -> Trace:
    """Return a trace of these columns."""
    arrivals = array("q", (second * 10**12 for second in arrivals_s))
    return Trace(
        "x",
        "x",
        sampled=False,
        seed=None,
        options="",
        arrivals_ps=arrivals,
        prompt_tokens=array("q", prompts),
        output_tokens=array("q", outputs),
    )


def test_statistics_follow_their_definitions() -> None:
    """Gaps 60, 30, 30 and 90 s; minutes hold 1, 1, 2 and 1 requests, the last of which is not whole."""
    facts = describe(by_hand([0, 60, 90, 120, 210], [1, 2, 3, 4, 5], [9, 7, 5, 3, 1]))
    gaps = [60, 30, 30, 90]
    mean = sum(gaps) / 4
    deviation = math.sqrt(sum((gap - mean) ** 2 for gap in gaps) / 4)
    assert facts.interarrival_cv == pytest.approx(deviation / mean, rel=1e-12)
    assert facts.busiest_minute == pytest.approx(2 / (4 / 3), rel=1e-12)
    assert facts.correlation == pytest.approx(-1, rel=1e-12)
    assert (facts.requests, facts.span_s, facts.requests_per_s) == (5, 210, 5 / 210)
    assert (facts.prompt_tokens.mean, facts.prompt_tokens.total, facts.prompt_tokens.quantiles["50"]) == (3, 15, 3)


def test_what_is_undefined_of_one_request_is_none() -> None:
    """No gap, no minute, no spread."""
    facts = describe(by_hand([0], [1], [1]))
    assert (facts.requests_per_s, facts.interarrival_cv, facts.busiest_minute, facts.correlation) == (None,) * 4


@given(values=st.lists(st.integers(1, 10**6), min_size=1, max_size=30).map(sorted))
@LAWS
def test_quantiles_are_linear_between_order_statistics(values: list[int]) -> None:
    """At i/(n-1) stands the i-th value; between two it never leaves them, and it rises with the percentage."""
    assert quantile(values, "0") == values[0]
    assert quantile(values, "100") == values[-1]
    middle = (len(values) - 1) / 2
    assert quantile(values, "50") == (values[math.floor(middle)] + values[math.ceil(middle)]) / 2
    rising = [quantile(values, str(percent)) for percent in range(0, 101, 5)]
    assert all(before <= after for before, after in itertools.pairwise(rising))
