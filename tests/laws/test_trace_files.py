"""Laws of trace files: formats keep requests, changes do what they say, hostile files end in one error."""

from __future__ import annotations

import gzip
import http.server
import itertools
import json
import threading
import tracemalloc
from collections.abc import Iterator
from fractions import Fraction
from functools import partial
from pathlib import Path

import pytest

from archsim.errors import ArchsimError, InputError
from archsim.workload import public, transforms
from archsim.workload.request import Rows
from archsim.workload.statistics import describe
from archsim.workload.trace import load_trace, open_trace
from archsim.workload.writers import WRITTEN, write_requests

MOONCAKE = [
    {"timestamp": 0, "input_length": 1030, "output_length": 5, "hash_ids": [1, 2, 3]},
    {"timestamp": 0, "input_length": 700, "output_length": 5, "hash_ids": [1, 4]},
    {"timestamp": 2999, "input_length": 1030, "output_length": 5, "hash_ids": [1, 2, 9]},
    {"timestamp": 4500, "input_length": 10, "output_length": 5, "hash_ids": []},
]
RATES = (
    "client,t_s,rate_rps,cv,pattern,p1,p2\n3,0,5,1,Gamma,1,0.2\n3,600,20,2,Gamma,0.25,0.2\n8,1200,10,1,Weibull,0.7,1\n"
)
LENGTHS = [
    {"client": 3, "window_s": 0, "input_tokens": {"10": 0.5, "20": 0.5}, "output_tokens": {"7": 1}},
    {"client": 8, "window_s": 0, "input_tokens": {"40": 1.0}, "output_tokens": {"0": 0.2, "9": 0.8}},
    {"client": 8, "window_s": 21600, "input_tokens": {}, "output_tokens": {}},
]


def mooncake(folder: Path) -> str:
    """Return the path of a small Mooncake trace."""
    path = folder / "moon.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in MOONCAKE))
    return str(path)


def servegen(folder: Path, rates: str = RATES, lengths: str | None = None) -> str:
    """Return the path of a table of rates, lengths beside it."""
    (folder / "x_rates.csv").write_text(rates)
    (folder / "x_lengths.jsonl").write_text(
        "".join(json.dumps(row) + "\n" for row in LENGTHS) if lengths is None else lengths
    )
    return str(folder / "x_rates.csv")


def test_requests_of_a_tick_are_spread_over_it_by_the_seed(tmp_path: Path) -> None:
    """In the order of the rows, within 3 s and before the next row; ticks lie on 3 s to a millisecond, others stay."""
    trace = load_trace(mooncake(tmp_path))
    arrivals = trace.arrivals_ps.tolist()
    assert 0 <= arrivals[0] < arrivals[1] < 2.999 * 10**12 < arrivals[2] < 4.5 * 10**12 == arrivals[3]
    assert arrivals != load_trace(mooncake(tmp_path), seed=1).arrivals_ps.tolist()
    assert arrivals == load_trace(mooncake(tmp_path)).arrivals_ps.tolist()
    assert [request.blocks for request in trace] == [(1, 2, 3), (1, 4), (1, 2, 9), ()]
    # Second prompt: its first block; third: two blocks; of 2,770 tokens in all.
    assert describe(trace).prefix_share == pytest.approx((512 + 1024) / 2770)


@pytest.mark.parametrize("ending", WRITTEN)
@pytest.mark.parametrize("name", ["mooncake", "agents", "azure-conv"])
def test_every_format_keeps_every_request(ending: str, name: str, tmp_path: Path) -> None:
    """To the picosecond, with sessions, waits and blocks; written twice, the bytes are the same."""
    if ending == ".parquet":
        pytest.importorskip("pyarrow")
    source = mooncake(tmp_path) if name == "mooncake" else name
    before = load_trace(source, limit=50)
    one, other = tmp_path / f"a{ending}", tmp_path / f"b{ending}"
    assert write_requests(open_trace(source, limit=50).rows(), one) == before.count
    write_requests(open_trace(str(one)).rows(), other)
    after = load_trace(str(other))
    assert (after.digest, list(after), after.block_tokens) == (before.digest, list(before), before.block_tokens)
    assert one.read_bytes() == other.read_bytes()
    with pytest.raises(InputError, match="does not exist yet"):
        write_requests(open_trace(source).rows(), one)


def test_lengths_scale_and_keep_what_prompts_share(tmp_path: Path) -> None:
    """Twice the prompt in blocks of twice the tokens: the same identities and, rounding aside, the same share."""
    rows = transforms.scaled_lengths(open_trace(mooncake(tmp_path)).rows(), Fraction(2), Fraction(1, 2))
    assert rows.block_tokens == 1024
    assert [(row[1], row[2], row[5]) for row in rows.rows][:2] == [(2060, 3, (1, 2, 3)), (1400, 3, (1, 4))]
    with pytest.raises(InputError, match="whole tokens of a block"):
        transforms.scaled_lengths(open_trace(mooncake(tmp_path)).rows(), Fraction(1, 3), Fraction(1))


def test_lengths_without_arrivals_get_some(tmp_path: Path) -> None:
    """By a Poisson process of the rate that is asked for; without one the file is refused by its header."""
    path = tmp_path / "lengths.csv"
    path.write_text("num_prefill_tokens,num_decode_tokens\n" + "".join(f"{n},{n + 1}\n" for n in range(1, 3001)))
    with pytest.raises(InputError, match="--poisson RATE"):
        load_trace(str(path))
    drawn = list(open_trace(str(path), per_s=Fraction(5)))
    assert [request.prompt_tokens for request in drawn] == list(range(1, 3001))
    gaps = [after.arrival_ps - before.arrival_ps for before, after in itertools.pairwise(drawn)]
    mean = sum(gaps) / len(gaps)
    assert mean == pytest.approx(10**12 / 5, rel=0.06)
    assert (sum((gap - mean) ** 2 for gap in gaps) / len(gaps)) ** 0.5 == pytest.approx(mean, rel=0.08)
    with pytest.raises(InputError, match="without sessions"):
        open_trace("agents", per_s=Fraction(5)).rows()


def test_a_long_trace_streams_in_little_memory() -> None:
    """Ten thousand of 27 million requests, and closed sessions, within two megabytes."""
    tracemalloc.start()
    try:
        for name in ("azure-week", "multi-turn"):
            last = None
            for request in open_trace(name, limit=10_000):
                last = request
            assert last is not None
            assert tracemalloc.get_traced_memory()[1] < 2 * 2**20
    finally:
        tracemalloc.stop()


def test_retrieval_cuts_long_prompts_to_head_and_passages(tmp_path: Path) -> None:
    """Short ones stay; of a cut one only the blocks within the head can be shared."""
    rows = transforms.with_retrieval(open_trace(mooncake(tmp_path)).rows(), transforms.Retrieval(512, 200))
    assert [(row[1], row[5]) for row in rows.rows] == [(712, (1,)), (700, (1, 4)), (712, (1,)), (10, ())]


def test_a_share_takes_sessions_whole() -> None:
    """Every session of the sample is complete; about the share of sessions is there, another seed takes others."""
    rows = list(open_trace("agents", limit=1000).rows().rows)
    of = {seed: list(transforms.shared_out(Rows(iter(rows)), Fraction(1, 2), seed).rows) for seed in (0, 1)}
    kept = {row[3] for row in of[0]}
    assert of[0] == [row for row in rows if row[3] in kept]
    assert of[0] != of[1]
    assert 0.25 < len(kept) / len({row[3] for row in rows}) < 0.75


def test_a_slice_starts_its_own_clock_and_waits_for_nobody_outside() -> None:
    """From ten seconds on for twenty; who waited for one before the slice comes when it could."""
    rows = list(open_trace("agents", limit=500).rows().rows)
    start, span = 10 * 10**12, 20 * 10**12
    inside = [row for row in rows if start <= row[0] < start + span]
    cut = list(transforms.sliced(Rows(iter(rows)), start, span).rows)
    assert [(row[0] + start, *row[1:4]) for row in cut] == [row[:4] for row in inside]
    firsts = [next(group)[4] for _, group in itertools.groupby(sorted(cut, key=lambda row: row[3]), lambda row: row[3])]
    assert set(firsts) == {-1}


def test_merged_traces_stay_apart(tmp_path: Path) -> None:
    """By arrival; no session or block of one is one of another; blocks of 512 become runs of 64."""
    one, two = open_trace(mooncake(tmp_path)).rows(), open_trace("agents", limit=30).rows()
    shares = [describe(load_trace(mooncake(tmp_path))), describe(load_trace("agents", limit=30))]
    both = transforms.merged([one, two])
    rows = list(both.rows)
    assert both.block_tokens == 64
    assert [row[0] for row in rows] == sorted(row[0] for row in rows)
    path = tmp_path / "both.jsonl"
    write_requests(both._replace(rows=iter(rows)), path)
    facts = describe(load_trace(str(path)))
    totals = [share.prompt_tokens.total for share in shares]
    exact = sum((share.prefix_share or 0) * total for share, total in zip(shares, totals, strict=True)) / sum(totals)
    assert facts.prefix_share == pytest.approx(exact, abs=1e-12)
    assert facts.sessions == (shares[1].sessions or 0) + 1  # and -1, those without


def test_a_vllm_result_is_the_requests_that_were_answered(tmp_path: Path) -> None:
    """In order of their start, the first at zero; a failed one has no output."""
    path = tmp_path / "result.json"
    path.write_text(json.dumps({"start_times": [7.5, 7.0, 8.25], "input_lens": [5, 6, 7], "output_lens": [3, 2, 0]}))
    assert [request[:3] for request in load_trace(str(path))] == [(0, 6, 2), (5 * 10**11, 5, 3)]


def test_clients_have_the_rates_and_lengths_of_their_windows(tmp_path: Path) -> None:
    """Arrivals of a window within four deviations of rate x 600 s; lengths are those with a probability."""
    trace = load_trace(servegen(tmp_path))
    assert trace.sampled
    counts = [sum(at // (600 * 10**12) == window for at in trace.arrivals_ps) for window in range(3)]
    for count, mean, cv in zip(counts, (3000, 12000, 6000), (1, 2, 1.5), strict=True):
        assert count == pytest.approx(mean, abs=4 * cv * mean**0.5)
    ends = {(request.prompt_tokens, request.output_tokens) for request in trace}
    assert ends == {(10, 7), (20, 7), (40, 1), (40, 9)}
    assert list(load_trace(servegen(tmp_path), limit=9)) == list(trace)[:9]


ROW = '{"timestamp":0,"input_length":9,"output_length":1,"hash_ids":%s}'
PLAIN = "arrival_s,prompt_tokens,output_tokens"
HOSTILE = {
    "blocks.jsonl": (ROW % "[1,2]", "at most 1 blocks of 512"),
    "negative.jsonl": (ROW % "[-1]", "a block identity"),
    "nested.jsonl": (ROW % "[[1]]", "a block identity"),
    "wide.jsonl": (ROW % ("[" + "9" * 5000 + "]"), "a block identity"),
    "none.jsonl": (ROW % '{"a":1}', "a block identity"),
    "loose.csv": (PLAIN + ",wait_s\n0,1,1,5\n", "a session beside wait_s"),
    "size.csv": (PLAIN + ",blocks\n0,1,1,5\n", "a column block_tokens"),
    "sizes.csv": (PLAIN + ",blocks,block_tokens\n0,1,1,5,16\n1,1,1,5,32\n", "block_tokens 16, as above"),
    "session.csv": (PLAIN + ",session\n0,1,1,-4\n", "a session: a whole number"),
    "no.json": ("[1, 2]", "start_times"),
    "few.json": ('{"start_times": [1], "input_lens": [1], "output_lens": []}', "of one length"),
    "text.json": ('{"start_times": ["x"], "input_lens": [1], "output_lens": [1]}', "numbers"),
    "deep.json": ("[" * 100_000, "nesting"),
    "bytes.parquet": ("PAR1 and nothing more", "a Parquet file"),
    "a_rates.csv": ("client,rate\n1,2\n", "the columns client"),
    "b_rates.csv": (RATES, "b_lengths.jsonl, packed or not, beside it"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_file_is_refused_by_name(name: str, tmp_path: Path) -> None:
    """One `InputError` that names the file."""
    text, words = HOSTILE[name]
    if name.endswith(".parquet"):
        pytest.importorskip("pyarrow")
    (tmp_path / name).write_text(text)
    with pytest.raises(InputError) as caught:
        load_trace(str(tmp_path / name))
    assert words in str(caught.value)
    assert name in str(caught.value)


@pytest.mark.parametrize("bad", ["3,0,-1,1,Gamma,1,1", "3,0,nan,1,Gamma,1,1", "3,0,1,1,Normal,1,1", "3,x,1,1,Gamma,1,1",
                                 "3,0,1,1,Gamma,1e99,1", "3,0", "9,0,1,1,Gamma,1,1"])  # fmt: skip
def test_a_bad_row_of_clients_is_refused(bad: str, tmp_path: Path) -> None:
    """By line, or by the client that has no lengths."""
    with pytest.raises(InputError, match=r"line 5|client 9"):
        load_trace(servegen(tmp_path, RATES + bad + "\n"))


WRONG = '{"client":1,"window_s":0,"input_tokens":%s,"output_tokens":{}}'


@pytest.mark.parametrize("bad", ["{}", "[]", "x", WRONG % '{"x":1}', WRONG % '{"1":7}'])
def test_bad_lengths_of_clients_are_refused(bad: str, tmp_path: Path) -> None:
    """By file and line."""
    with pytest.raises(InputError, match=r"x_lengths.jsonl: line 1"):
        load_trace(servegen(tmp_path, lengths=bad + "\n"))


CONTENT = (PLAIN + "\n0,5,6\n1,7,8\n").encode()


class _Answers(http.server.BaseHTTPRequestHandler):
    """A publisher on this machine: a file, a redirection, a refusal."""

    def do_GET(self) -> None:
        if self.path == "/away":
            self.send_response(302)
            self.send_header("Location", "ftp://127.0.0.1/trace.csv")
            self.end_headers()
            return
        self.send_response(200 if self.path == "/trace.csv" else 404)
        self.end_headers()
        self.wfile.write(CONTENT)

    def log_message(self, *_arguments: object) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def publisher() -> Iterator[str]:
    """Return the address of a server on the loopback."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Answers) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


FETCH = partial(public.fetched, schemes=("http",))


def test_a_download_is_kept_when_it_is_what_was_published(publisher: str, tmp_path: Path) -> None:
    """The bytes of the publisher, under the name that was asked for, never over another file."""
    trace = public.Public(f"{publisher}/trace.csv", "plain", 2, 1000, "none", ".csv")
    public.download(trace, tmp_path / "t.csv", fetch=FETCH)
    assert (tmp_path / "t.csv").read_bytes() == CONTENT
    with pytest.raises(InputError, match="does not exist yet"):
        public.download(trace, tmp_path / "t.csv", fetch=FETCH)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"requests": 3}, "has 2 requests, not 3"),
        ({"schema": "azure"}, "has the schema plain, not azure"),
        ({"most_bytes": 10}, "goes on beyond 10 bytes"),
        ({"url": "/nothing"}, "answers 404"),
        ({"url": "/away"}, "nothing is fetched from there"),
    ],
)
def test_a_download_that_is_something_else_is_not_kept(
    change: dict[str, object], words: str, publisher: str, tmp_path: Path
) -> None:
    """Nothing is written, the reason is said; the exit code is that of a failed run."""
    facts: dict[str, object] = {"url": "/trace.csv", "schema": "plain", "requests": 2, "most_bytes": 1000} | change
    trace = public.Public(**facts | {"url": publisher + str(facts["url"])}, licence="none", suffix=".csv")  # type: ignore[arg-type]
    with pytest.raises(ArchsimError) as caught:
        public.download(trace, tmp_path / "t.csv", fetch=FETCH)
    assert words in str(caught.value)
    assert caught.value.exit_code == 1
    assert list(tmp_path.iterdir()) == []


def test_without_a_network_a_download_says_so(tmp_path: Path) -> None:
    """A port that nobody listens on; and anything but https is not even tried."""
    trace = public.Public("http://127.0.0.1:9/t.csv", "plain", 2, 1000, "none", ".csv")
    with pytest.raises(ArchsimError, match="is there a network"):
        public.download(trace, tmp_path / "t.csv", fetch=FETCH)
    with pytest.raises(ArchsimError, match="is not https"):
        public.download(trace, tmp_path / "t.csv")
    assert all(one.url.startswith("https://") and one.requests for one in public.PUBLIC.values())


def test_a_gzip_of_one_time_is_refused_before_it_fills_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows of one tick are held together: more than a limit of them are refused."""
    monkeypatch.setattr("archsim.workload.readers._MOST_IN_A_TICK", 100)
    path = tmp_path / "t.jsonl.gz"
    path.write_bytes(gzip.compress((ROW % "[1]" + "\n").encode() * 500))
    with pytest.raises(InputError, match="at most 100 rows of one time"):
        load_trace(str(path))
