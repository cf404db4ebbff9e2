"""Whatever a user gets wrong ends with exit code 2 and a message that says what and where, through the command line.

Each refusal is checked for the same things: nothing on standard output, no traceback, no file written, and a message
that names the file (or the option), the key, the value and what was expected.
"""

from __future__ import annotations

import csv
import gzip
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import archsim
from archsim import cli
from archsim.errors import InputError
from archsim.files import bundled_path
from archsim.hardware.library import load_system, resolved_toml
from archsim.network.topology import Edge, NetworkOptions, build_network

MODEL = "llama-3.1-8b"
SYSTEM_TOML = resolved_toml(load_system("h100-sxm8"))
MODEL_JSON = json.loads((bundled_path("workloads") / "models" / f"{MODEL}.json").read_text(encoding="utf-8"))
RUN = ("run", "h100-sxm8", "--model", MODEL)
STEP = ("--batch", "1", "--context", "16")
HEADER = "arrival_s,prompt_tokens,output_tokens\n"
SOURCE = str(Path(archsim.__file__).parents[1])

Screen = pytest.CaptureFixture[str]


@pytest.fixture
def screen(capsys: Screen) -> Screen:
    """Return what the command line has printed, under a name that says so."""
    return capsys


@pytest.fixture(autouse=True)
def empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Work in a folder of the test's own, in which nothing may lie that the test did not put there."""
    monkeypatch.chdir(tmp_path)


def tree() -> set[str]:
    """Return every path below the working directory."""
    return {str(path) for path in Path().rglob("*")}


def refusal(screen: Screen, *arguments: str, code: int = 2) -> str:
    """Return what the command line says to *arguments*, after checking that it refuses them as it should."""
    before = tree()
    assert cli.main(arguments) == code
    printed = screen.readouterr()
    assert printed.out == ""
    assert "Traceback" not in printed.err
    assert "internal error" not in printed.err
    assert tree() == before
    return printed.err


LINK = 'link_bandwidth = "450 GB/s"'


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        pytest.param("interleave =", "interleav =",
                     ["chip.memory.hbm.interleav:", "no such key (did you mean 'interleave'?)"], id="unknown key"),
        pytest.param("chips = 8", "", ["chips: expected this key, which is missing"], id="missing key"),
        pytest.param(LINK, "link_bandwidth = 450", ["link_bandwidth: got '450'", "with a unit of bytes/s"],
                     id="bare number"),
        pytest.param(LINK, 'link_bandwidth = "450"', ["link_bandwidth: got '450'", "with a unit of bytes/s"],
                     id="missing unit"),
        pytest.param(LINK, 'link_bandwidth = "450 GB"', ["link_bandwidth: got '450 GB'", "unit 'GB' is not one of"],
                     id="wrong dimension"),
        pytest.param(LINK, 'link_bandwidth = "450 GB/s or so"', ["link_bandwidth: got '450 GB/s or so'"], id="junk"),
        pytest.param(LINK, 'link_bandwidth = "0 GB/s"', ["link_bandwidth: got '0 GB/s'", "above zero"], id="zero rate"),
        pytest.param(LINK, 'link_bandwidth = "-450 GB/s"', ["link_bandwidth: got '-450 GB/s'"], id="negative rate"),
        pytest.param(LINK, "link_bandwidth = nan", ["link_bandwidth: got 'nan'", "a finite number"], id="NaN"),
        pytest.param(LINK, 'link_bandwidth = "nan GB/s"', ["link_bandwidth: got 'nan GB/s'"], id="NaN with a unit"),
        pytest.param(LINK, "link_bandwidth = -inf", ["link_bandwidth: got '-inf'", "a finite number"], id="infinity"),
        pytest.param(LINK, 'link_bandwidth = "inf GB/s"', ["link_bandwidth: got 'inf GB/s'"], id="infinite rate"),
        pytest.param(LINK, 'link_bandwidth = "1e99 GB/s"', ["link_bandwidth: got '1e99 GB/s'"], id="endless rate"),
        pytest.param("chips = 8", f"chips = {'9' * 5000}", ["numbers of ordinary length"], id="5,000 digits"),
        pytest.param("chips = 8", f"chips = {'9' * 60}", ["chips: got '999", "a number up to"], id="60 digits"),
        pytest.param("chips = 8", "chips = 1_000_000_000", ["chips: got '1000000000'", "at most 65,536"], id="a city"),
        pytest.param("chips = 8", f"chips = {'[' * 9000}{']' * 9000}", ["nesting below 64 levels"], id="nested lists"),
        pytest.param("chips = 8", f"chips = {'{a=' * 9000}1{'}' * 9000}", ["nesting below 64"], id="nested tables"),
        pytest.param("chips = 8", f"chips{'.x' * 9000} = 8", ["lines of at most 128 dots"], id="nested keys"),
        pytest.param("chips = 8", "chips = 0", ["chips: got '0'", "a number from 1"], id="no chips"),
        pytest.param("chips = 8", "chips = -8", ["chips: got '-8'", "a number from 1"], id="negative count"),
        pytest.param("chips = 8", 'chips = "8"', ["chips: got '8'", "without quotes"], id="quoted count"),
        pytest.param("chips = 8", "chips = ", ["valid TOML", "line"], id="broken TOML"),
        pytest.param('launch_gap = "1 us"', 'launch_gap = "2 h"', ["runtime.launch_gap: got '2 h'", "at most 1 h"],
                     id="endless gap"),
        pytest.param('launch_gap = "1 us"', 'launch_gap = "0.1 ps"', ["runtime.launch_gap", "whole number of picosec"],
                     id="part of a picosecond"),
        pytest.param('topology = "switch"', 'topology = "swich"',
                     ["network.topology: got 'swich'", "did you mean 'switch'?"], id="unknown topology"),
        pytest.param('topology = "switch"', 'topology = "torus"\nshape = [3, 3]',
                     ["network.shape: got '[3, 3]'", "whose product is 8 chips"], id="shape of another size"),
        pytest.param('topology = "switch"', 'topology = "none"', ["network.topology: got 'none'"], id="no links"),
        pytest.param('main_memory = "hbm"', 'main_memory = "ddr"', ["chip.main_memory: got 'ddr'", "memories: hbm"],
                     id="unknown memory"),
        pytest.param('pin_rate = "5.234375 Gb/s"', 'pin_rate = "6.4 Gb/s"',
                     ["chip.memory.hbm.bandwidth: got '3.35 TB/s'", "pin rate x width, 4.096 TB/s"],
                     id="datasheet contradicts pins"),
    ],
)  # fmt: skip
def test_a_wrong_system_file_is_refused_at_its_key(screen: Screen, old: str, new: str, words: list[str]) -> None:
    """The message names the file as it was given, the dotted key, the value and what would be right."""
    assert old in SYSTEM_TOML
    Path("design.toml").write_text(SYSTEM_TOML.replace(old, new, 1), encoding="utf-8")
    said = refusal(screen, "run", "design.toml", "--model", MODEL, *STEP)
    for word in ["archsim: design.toml:", *words]:
        assert word in said


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        pytest.param(['placement.kv=["hbf"]'], ["chip.placement.kv: got 'hbf'", "flash", "forced"],
                     id="KV in flash"),
        pytest.param(['placement.weights=["ddr"]'], ["chip.placement.weights: got 'ddr'", "hbm, hbf"],
                     id="no such tier"),
        pytest.param(["hbm.stacks=1", 'placement.weights=["hbm"]', "hbm.framework_share=90 %"],
                     ["h100-hbf: hbm of each of 8 chips", "bytes are missing on each chip"], id="tier too small"),
        pytest.param(["energy.idle=500 W", "thermal.limit=0.5 W/mm2"],
                     ["thermal.limit: got '0.5 W/mm2 (407 W)'", "more than the idle power, 500 W"],
                     id="heat below idle"),
    ],
)  # fmt: skip
def test_a_tier_or_a_heat_limit_that_cannot_be_is_refused_by_name(
    screen: Screen, settings: list[str], words: list[str]
) -> None:
    """Setting, value and what was expected."""
    options = [word for setting in settings for word in ("--set", setting)]
    said = refusal(screen, "run", "h100-hbf", "--model", "llama-3.1-8b", "--precision", "w8a16kv16", *STEP, *options)
    for word in words:
        assert word in said


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"num_attention_heads": -32}, "num_attention_heads: got '-32'; expected a positive integer"),
        ({"num_attention_heads": "32"}, "num_attention_heads: got '32'; expected a positive integer"),
        ({"hidden_size": 4096.0}, "hidden_size: got '4096.0'; expected a positive integer"),
        ({"num_hidden_layers": True}, "num_hidden_layers: got 'True'; expected a positive integer"),
        ({"num_hidden_layers": 2**40}, "num_hidden_layers: got '1099511627776'; expected a positive integer below"),
        ({"vocab_size": None}, "vocab_size: expected a positive integer; the key is missing"),
        ({"num_key_value_heads": 3}, "num_key_value_heads: got '3'; expected a divisor of the 32 attention heads"),
        ({"tie_word_embeddings": "yes"}, "tie_word_embeddings: got 'yes'; expected true or false"),
        ({"model_type": "lama"}, "model_type: got 'lama'; expected an architecture that archsim models (did you mean"),
        ({"kv_lora_rank": 512}, "kv_lora_rank: got '512'; expected a model without it: latent attention"),
        ({"hidden_size": float("inf")}, "Infinity is not a number of JSON"),
        ({"hidden_size": float("nan")}, "NaN is not a number of JSON"),
    ],
    ids=lambda case: next(iter(case.items())) if isinstance(case, dict) else "",
)
def test_a_wrong_model_file_is_refused_at_its_key(screen: Screen, change: dict[str, Any], words: str) -> None:
    """One wrong number is one line: nothing is derived from a number that is itself wrong."""
    Path("model.json").write_text(json.dumps(MODEL_JSON | change), encoding="utf-8")
    said = refusal(screen, "run", "h100-sxm8", "--model", "model.json", *STEP)
    assert said.startswith("archsim: model.json:")
    assert words in said
    assert said.count("\n") == 1


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[]", "got 'list'; expected a JSON object"),
        ("{", "line 1: expected valid JSON"),
        ("", "line 1: expected valid JSON"),
        ('{"hidden_size": ' + "9" * 5000 + "}", "numbers of ordinary length"),
        ('{"hidden_size": 1e400}', "hidden_size: got 'inf'; expected a finite number"),
        ("[" * 100_000, "nesting below 64 levels"),
        ('{"a":' * 3000 + "1" + "}" * 3000, "nesting below 64 levels"),
    ],
    ids=["list", "open brace", "empty", "5,000 digits", "overflow", "nested lists", "nested objects"],
)
def test_a_file_that_is_no_model_is_refused(screen: Screen, text: str, words: str) -> None:
    """JSON that no configuration needs is refused by the file's name, at once."""
    Path("model.json").write_text(text, encoding="utf-8")
    said = refusal(screen, "run", "h100-sxm8", "--model", "model.json", *STEP)
    assert said.startswith("archsim: model.json:")
    assert words in said


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ("0,10,5\n1,10\n", "line 3: got '1,10'; expected at least 3 columns"),
        ("0,10,5\n1,ten,5\n", "line 3: got '1, ten, 5'; expected prompt and output of"),
        ("0,10,5\n1,1.5,5\n", "line 3: got '1, 1.5, 5'; expected prompt and output of"),
        ("5,10,5\n1,10,5\n", "line 3: expected an arrival no earlier than the row before"),
        ("0,-10,5\n", "line 2: got '0, -10, 5'; expected prompt and output of 1 to"),
        ("0,0,5\n", "line 2: got '0 prompt and 5 output tokens'; expected at least 1 token of each"),
        ("0,10,0\n", "line 2: got '10 prompt and 0 output tokens'; expected at least 1 token of each"),
        ("nan,10,5\n", "line 2: got 'nan, 10, 5'; expected an arrival in seconds"),
        ("inf,10,5\n", "line 2: got 'inf, 10, 5'; expected an arrival in seconds"),
        ("-1,10,5\n", "line 2: got '-1, 10, 5'; expected an arrival in seconds"),
        ("1e18,10,5\n", "line 2: expected an arrival within 106 days"),
        (f"0,{'9' * 5000},5\n", "line 2: got '0, 999"),
        ("", "expected at least one request after the header"),
    ],
    ids=["short row", "word", "part of a token", "unsorted", "negative tokens", "no prompt", "no output", "NaN",
         "infinity", "before zero", "too late", "5,000 digits", "empty"],
)  # fmt: skip
def test_a_wrong_trace_row_is_refused_by_file_and_line(screen: Screen, rows: str, words: str) -> None:
    """Nothing is replayed of a trace with a wrong row, and no directory is made for it."""
    Path("trace.csv").write_text(HEADER + rows, encoding="utf-8")
    said = refusal(screen, *RUN, "--trace", "trace.csv", "--out", "never")
    assert said.startswith("archsim: trace.csv: " + words)


ENDLESS = {
    "blank lines": (b"\n" * 20_000_000, "line 1001: expected at most 1000 blank lines"),
    "one line": (HEADER.encode() + b"0,10,5" + b" " * 50_000_000, "line 2: expected a line below 1,048,576 characters"),
    "no text": (b"\0" * 50_000_000, "line 1: expected a line below 1,048,576 characters"),
}


@pytest.mark.parametrize("what", ENDLESS)
def test_a_gzip_that_unpacks_without_end_is_refused_while_it_is_read(screen: Screen, what: str) -> None:
    """A few kilobytes that unpack to tens of megabytes of nothing are given up after the first."""
    content, words = ENDLESS[what]
    Path("trace.csv.gz").write_bytes(gzip.compress(content, compresslevel=1))
    assert words in refusal(screen, *RUN, "--trace", "trace.csv.gz")


def test_a_gzip_of_rows_is_read_no_further_than_its_limit(screen: Screen) -> None:
    """A trace of a million rows is no slower than its first three, if three are wanted."""
    Path("trace.csv.gz").write_bytes(gzip.compress(HEADER.encode() + b"0,10,5\n" * 10**6 + b"wrong", compresslevel=1))
    assert cli.main([*RUN, "--trace", "trace.csv.gz", "--limit", "3", "--json"]) == 0
    assert json.loads(screen.readouterr().out)["requests"]["completed"] == 3


@pytest.mark.parametrize("content", [b"\x1f\x8b garbage", b"plain text", gzip.compress(HEADER.encode(), mtime=0)[:-9]])
def test_a_broken_gzip_is_refused(screen: Screen, content: bytes) -> None:
    """A file that ends in .gz and is none, or is cut off."""
    Path("trace.csv.gz").write_bytes(content)
    assert "trace.csv.gz" in refusal(screen, *RUN, "--trace", "trace.csv.gz")


NAMES: dict[str, Callable[[str], tuple[str, ...]]] = {
    "system": lambda name: ("run", name, "--model", MODEL, *STEP),
    "model": lambda name: ("run", "h100-sxm8", "--model", name, *STEP),
    "trace": lambda name: (*RUN, "--trace", name),
    "compared system": lambda name: ("compare", "h100-sxm8", name, "--model", MODEL),
    "shown system": lambda name: ("show", name),
    "inspected trace": lambda name: ("trace", "inspect", name),
}
MISSPELT = {
    "system": ("h100-sxm9", "h100-sxm8"),
    "model": ("llama-3.1-8c", MODEL),
    "trace": ("azure-con", "azure-conv"),
}


@pytest.mark.parametrize("place", NAMES)
def test_an_unknown_name_is_refused_with_the_nearest(screen: Screen, place: str) -> None:
    """A typing error is answered by the name that was meant."""
    wrong, meant = MISSPELT[place.rpartition(" ")[2]]
    said = refusal(screen, *NAMES[place](wrong))
    assert f"got {wrong!r}" in said
    assert f"did you mean {meant!r}?" in said


@pytest.mark.parametrize("name", ["../h100-sxm8", "../../models/llama-3.1-8b", "..", "/", "", "a\0b", "x" * 5000])
@pytest.mark.parametrize("place", NAMES)
def test_a_name_cannot_leave_the_folder_of_bundled_files(screen: Screen, place: str, name: str) -> None:
    """A name with `../` is a path from the working directory, where nothing lies: it never reaches a bundled file."""
    assert name[:30] in refusal(screen, *NAMES[place](name)).replace("\\x00", "\0")


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("hbm.stacks", "got 'hbm.stacks'; expected PATH=VALUE"),
        ("hbm.stackss=5", "got 'hbm.stackss'; expected a setting as `archsim show` prints it (did you mean"),
        ("hbm.stacks=-1", "chip.memory.hbm.stacks: got '-1'; expected a number from 1"),
        ("hbm.pin_rate=5 GB", "chip.memory.hbm.pin_rate: got '5 GB'; expected a number with a unit of bits/s"),
        ("link_bandwidth=nan", "network.link_bandwidth: got 'nan'; expected a number with a unit of bytes/s"),
        ("chips=" + "9" * 5000, "chips: got '999"),
        ("chip=../../chips/h100-sxm", "../../chips/h100-sxm: expected a readable chip file"),
    ],
    ids=lambda case: case[:24],
)
def test_a_wrong_setting_is_refused_by_its_option(screen: Screen, setting: str, words: str) -> None:
    """`--set` is checked as a file is, and says the key in full."""
    assert words in refusal(screen, *RUN, *STEP, "--set", setting)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--batch", "1"], "--batch and --context"),
        (["--trace", "azure-conv", *STEP], "--trace (of a trace) does not go with --batch (of a step)"),
        ([*STEP, "--limit", "5"], "--limit (of a trace) does not go with --batch (of a step)"),
        (["--concurrency", "4"], "--prompt, --output is missing"),
        (["--concurrency", "4", "--prompt", "200000", "--output", "1"], "closed loop: tokens: got '200001'"),
        ([*STEP, "--together"], "--batch (of a step) does not go with --together (of a loop)"),
        (["--trace", "azure-conv", "--slo", "50 ms"], "--saturate, which is missing"),
        (["--trace", "azure-conv", "--saturate", "--slo", "50 GB"], "--slo: got '50 GB'"),
        (["--trace", "azure-conv", "--rate-scale", "nan"], "--rate-scale: got 'nan'"),
        (["--trace", "azure-conv", "--limit", "0"], "--limit"),
        ([*STEP, "--precision", "w7a16kv16"], "--precision: got 'w7a16kv16'; expected weights of"),
        ([*STEP, "--precision", "w4a4kv4"], "--precision: got '4-bit products'"),
        ([*STEP, "--parallel", "tp=3"], "--parallel"),
        ([*STEP, "--parallel", "tpp=8"], "did you mean 'tp'?"),
    ],
    ids=lambda case: " ".join(case) if isinstance(case, list) else "",
)
def test_options_that_contradict_each_other_are_refused(screen: Screen, options: list[str], words: str) -> None:
    """What cannot be meant is not guessed."""
    assert words in refusal(screen, *RUN, *options)


def test_a_model_that_does_not_fit_says_how_many_chips_would_do(screen: Screen) -> None:
    """The bytes that are missing, and the smallest number of such chips that holds the model."""
    said = refusal(screen, "run", "h100-sxm8", "--model", "llama-3.1-405b", *STEP)
    assert "bytes are missing" in said
    assert "16 such chips are the smallest number that holds it" in said


@pytest.mark.parametrize("command", [(*RUN, *STEP), ("compare", "h100-sxm8", "--model", MODEL)], ids=["run", "compare"])
def test_an_output_directory_that_exists_is_refused_and_left_alone(screen: Screen, command: tuple[str, ...]) -> None:
    """A directory, a file, and a link that leads nowhere: what is there stays as it is."""
    Path("directory").mkdir()
    Path("file").write_text("mine", encoding="utf-8")
    Path("link").symlink_to("nowhere")
    for name in ("directory", "file", "link"):
        assert f"{name}: --out: expected a directory that does not exist" in refusal(screen, *command, "--out", name)
    assert "file/inside: --out: expected a directory that can be created" in refusal(
        screen, *RUN, *STEP, "--out", "file/inside"
    )
    assert Path("file").read_text(encoding="utf-8") == "mine"


def test_a_request_that_cannot_be_served_is_rejected_and_the_run_goes_on() -> None:
    """Longer than the context, longer than the KV memory: rejected with the reason; the others are served; exit 0."""
    context = MODEL_JSON["max_position_embeddings"]
    rows = f"0,10,5\n1,{context},1\n2,100000,5\n3,{context - 5},6\n4,10,5\n"
    Path("trace.csv").write_text(HEADER + rows, encoding="utf-8")
    # 69 of 80 GiB reserved: what is left beside the weights holds some 60,000 tokens.
    assert cli.main([*RUN, "--trace", "trace.csv", "--set", "hbm.reserved=69 GiB", "--out", "out"]) == 0
    requests = json.loads(Path("out/result.json").read_text(encoding="utf-8"))["requests"]
    assert requests == {"offered": 5, "completed": 2, "rejected": 3, "preempted": 0}
    with gzip.open("out/requests.csv.gz", "rt", encoding="utf-8", newline="") as table:
        rows_read = list(csv.DictReader(table))
    assert [row["status"] for row in rows_read] == ["completed", "rejected", "rejected", "rejected", "completed"]
    assert f"prompt and output are {context + 1} tokens, the model's context {context}" in rows_read[1]["reason"]
    assert "prompt and output are 100005 tokens, the KV memory holds " in rows_read[2]["reason"]
    assert rows_read[3]["reason"] == rows_read[1]["reason"]
    assert [row["finish_s"] == "" for row in rows_read] == [False, True, True, True, False]


def test_a_trace_of_which_nothing_can_be_served_is_a_result(screen: Screen) -> None:
    """Every request rejected: no latency, no throughput, and still a result with exit code 0."""
    Path("trace.csv").write_text(f"{HEADER}0,999999999,5\n7,999999999,5\n", encoding="utf-8")
    assert cli.main([*RUN, "--trace", "trace.csv", "--json"]) == 0
    result = json.loads(screen.readouterr().out)
    assert result["requests"] == {"offered": 2, "completed": 0, "rejected": 2, "preempted": 0}
    assert result["latency_s"]["ttft"]["mean"] is None
    assert result["mbu"] is None


def test_a_run_beyond_the_clock_ends_with_a_message(screen: Screen) -> None:
    """An arrival 0.8 s before the last picosecond that 63 bits hold, and more than a second of work."""
    Path("trace.csv").write_text(f"{HEADER}9223371.2,100,5000\n", encoding="utf-8")
    said = refusal(screen, *RUN, "--trace", "trace.csv", code=1)
    assert "beyond 106 days of simulated time" in said


def test_a_disconnected_graph_is_refused_with_the_pair_that_has_no_path() -> None:
    """No named topology is disconnected; a free list of links may be, and says between whom."""
    there = Edge("chip0", "chip1", 10**9, 1000)
    back, further = there._replace(src="chip1", dst="chip0"), there._replace(dst="chip2")
    one_way, apart = (there, back, further), (there, back)
    for edges, pair in ((one_way, "chip2 -> chip0"), (apart, "chip0 -> chip2")):
        with pytest.raises(InputError, match=f"network.topology: got '{pair}'; expected a path of links; 1 of 3 chips"):
            build_network("edges", 3, link_bytes_per_s=0, link_latency_ps=0, options=NetworkOptions(edges=edges))


def started(*arguments: str) -> subprocess.Popen[str]:
    """Start the command line in a process of its own."""
    code = "import sys; from archsim.cli import main; sys.exit(main())"
    return subprocess.Popen(
        [sys.executable, "-c", code, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": SOURCE},
    )


def first_row(process: subprocess.Popen[str]) -> None:
    """Wait until the first design's row is printed: the second is being replayed."""
    assert process.stdout is not None
    while "h100-sxm8 " not in process.stdout.readline():
        assert process.poll() is None


def first_file(_process: subprocess.Popen[str]) -> None:
    """Wait until the first file of the result is being written."""
    until = time.monotonic() + 600
    while not any(path.is_file() for path in Path().rglob("*")):
        assert time.monotonic() < until
        time.sleep(0.001)


@pytest.mark.parametrize("moment", [first_row, first_file], ids=["replaying", "writing"])
def test_an_interrupt_leaves_no_partial_directory(moment: Callable[[subprocess.Popen[str]], None]) -> None:
    """Ctrl-C in the midst of a comparison: exit code 130, a word on stderr, and an empty folder."""
    designs = ("h100-sxm8", "h200-sxm8", "a100-sxm8")
    process = started("compare", *designs, "--model", MODEL, "--limit", "200", "--no-saturation", "--out", "a/b")
    try:
        moment(process)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=100)
    finally:
        process.kill()
    assert process.returncode == 130
    assert said.endswith("archsim: interrupted\n")
    assert tree() == set()
