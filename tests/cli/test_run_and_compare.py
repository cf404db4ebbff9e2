"""What `run` and `compare` ask of the chain and what they print of its answer, with a chain that answers at once."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from made_result import make_result

from archsim import cli
from archsim.result import Result

Asked = list[tuple[str, dict[str, Any]]]


class NamedTrace(str):
    """A trace that is nothing but its name."""

    __slots__ = ()
    closed = False


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Asked:
    """Put a chain in the place of `archsim.simulate` that notes what it is asked; return its notes."""
    calls: Asked = []
    chain = ModuleType("archsim.simulate")

    def noting(name: str, answer: Callable[..., Any]) -> Callable[..., Any]:
        def verb(*given: Any, **named: Any) -> Any:
            calls.append((name, {"given": given, **named}))
            return answer(*given, **named)

        return verb

    def result(design: Any, *_given: Any, trace: Any, slo_s: float | None, **_named: Any) -> Result:
        made = make_result(design.name, sampled=trace == "azure-conv")
        return made if slo_s is not None else made.model_copy(update={"saturation": None})

    for verb, name, answer in (
        ("load_design", "load_system", lambda name, _overrides: SimpleNamespace(name=name)),
        ("load_model", "load_model", lambda name: name),
        ("load_trace", "load_trace", lambda name, **_named: NamedTrace(name)),
        ("open_traffic", "load_trace", lambda name, *_given, **_named: NamedTrace(name)),
        ("run", "run", result),
        ("evaluate_step", "evaluate_step", lambda design, _model, **_named: make_result(design.name)),
    ):
        setattr(chain, verb, noting(name, answer))
    monkeypatch.setitem(sys.modules, "archsim.simulate", chain)
    monkeypatch.chdir(tmp_path)
    return calls


STEP = ["run", "toy", "--model", "m", "--batch", "8", "--context", "512"]
REPLAY = ["run", "toy", "--model", "m", "--trace", "t"]


def test_run_json_is_exactly_result_json(asked: Asked, capsys: pytest.CaptureFixture[str]) -> None:
    """`run --json` prints the bytes of result.json and nothing else, and writes no file."""
    assert cli.main([*STEP, "--json"]) == 0
    assert capsys.readouterr().out == make_result("toy").to_json()
    assert list(Path().iterdir()) == []


def test_run_hands_its_options_to_the_chain(asked: Asked) -> None:
    """Each option reaches the chain unchanged; a service level becomes seconds."""
    options = ["--precision", "w8a16kv8", "--parallel", "tp=8", "--limit", "5", "--rate-scale", "2", "--seed", "3"]
    assert cli.main([*REPLAY, *options, "--set", "a.b=1 GB", "--set", "c=2", "--saturate", "--slo", "25 ms"]) == 0
    notes = dict(asked)
    assert notes["load_system"]["given"] == ("toy", ("a.b=1 GB", "c=2"))
    assert notes["load_trace"] == {"given": ("t", 5, "2", 3)}
    wanted = {"trace": "t", "precision": "w8a16kv8", "parallelism": "tp=8", "seed": 3, "slo_s": 0.025}
    assert wanted.items() <= notes["run"].items()


def test_run_of_a_step_asks_for_batch_and_context(asked: Asked) -> None:
    """Without a trace one step is evaluated."""
    assert cli.main(STEP) == 0
    assert (dict(asked)["evaluate_step"]["batch"], dict(asked)["evaluate_step"]["context"]) == (8, 512)


def test_run_prints_latency_throughput_and_the_waterfall(asked: Asked, capsys: pytest.CaptureFixture[str]) -> None:
    """The page names what an architect looks for; saturation only where it was asked for."""
    assert cli.main(REPLAY) == 0
    page = capsys.readouterr().out
    for words in ("TTFT", "TPOT", "output tokens/s", "decode MBU", "peak", "weights", "refresh"):
        assert words in page
    assert "at saturation" not in page
    cli.main([*REPLAY, "--saturate"])
    assert "at saturation: the highest request rate with TPOT p99 at most 50 ms" in capsys.readouterr().out


@pytest.mark.parametrize(
    "options",
    [
        [],
        ["--batch", "8"],
        ["--context", "8"],
        ["--batch", "0", "--context", "8"],
        ["--trace", "t", "--batch", "8", "--context", "8"],
        ["--batch", "8", "--context", "8", "--limit", "3"],
        ["--batch", "8", "--context", "8", "--saturate"],
        ["--trace", "t", "--slo", "50 ms"],
        ["--trace", "t", "--saturate", "--slo", "50"],
        ["--trace", "t", "--saturate", "--slo", "0 s"],
        ["--trace", "t", "--saturate", "--slo", "50 GB"],
        ["--trace", "t", "--limit", "0"],
        ["--trace", "t", "--seed", "-1"],
        ["--trace", "t", "--limit", "9" * 5000],
    ],
    ids=" ".join,
)
def test_options_that_make_no_sense_are_wrong_input(
    asked: Asked, capsys: pytest.CaptureFixture[str], options: list[str]
) -> None:
    """Exit code 2, a message on stderr, nothing on stdout, and nothing is run."""
    assert cli.main(["run", "toy", "--model", "m", *options]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err
    assert "internal" not in printed.err
    assert "run" not in dict(asked)


@pytest.mark.parametrize("scale", ["0", "-1", "nan", "inf", "1e400", "9" * 5000, "x", ""])
def test_rate_scale_that_is_no_rate_is_wrong_input(capsys: pytest.CaptureFixture[str], scale: str) -> None:
    """The chain itself checks it: exit code 2 and a message that names the option."""
    replay = ["run", "h100-sxm8", "--model", "llama-3.1-70b", "--trace", "azure-conv"]
    assert cli.main([*replay, f"--rate-scale={scale}"]) == 2
    assert "--rate-scale" in capsys.readouterr().err


@pytest.mark.parametrize("start", [STEP, ["compare", "a", "b", "--model", "m"]], ids=["run", "compare"])
def test_output_directory_that_exists_is_refused_before_anything_runs(asked: Asked, start: list[str]) -> None:
    """Nothing is overwritten unasked, and no hour is spent to find that out at the end."""
    Path("taken").mkdir()
    assert cli.main([*start, "--out", "taken"]) == 2
    assert asked == []


def test_run_writes_only_where_it_is_told(asked: Asked) -> None:
    """With --out there is a run directory, and nothing beside it."""
    assert cli.main([*REPLAY, "--out", "here"]) == 0
    assert [path.name for path in Path().iterdir()] == ["here"]
    assert json.loads(Path("here/result.json").read_text())["system"]["name"] == "toy"


def test_compare_prints_two_blocks_and_writes_a_numbered_directory(
    asked: Asked, capsys: pytest.CaptureFixture[str]
) -> None:
    """Rows at the trace's rate, then the ranking at saturation; the second comparison has the next number."""
    for number in (1, 2):
        assert cli.main(["compare", "a", "b", "--model", "m", "--trace", "t"]) == 0
        page = capsys.readouterr().out
        assert page.index("largest losses") < page.index("at saturation") < page.index("limited by")
        assert f"written to archsim-compare-{number}" in page
    assert sorted(path.name for path in Path("archsim-compare-2").iterdir()) == [
        "a", "b", "bandwidth.svg", "comparison.json", "latency.svg", "ledger.svg",
    ]  # fmt: skip


def test_compare_labels_a_sampled_trace(asked: Asked, capsys: pytest.CaptureFixture[str]) -> None:
    """Without --trace the requests are sampled, and the page says so."""
    assert cli.main(["compare", "a", "--model", "m"]) == 0
    assert "(sampled)" in capsys.readouterr().out


def test_compare_json_is_an_array_and_all_else_goes_to_stderr(asked: Asked, capsys: pytest.CaptureFixture[str]) -> None:
    """`--json` prints only JSON: one result.json for each design."""
    assert cli.main(["compare", "a", "b", "--model", "m", "--json"]) == 0
    printed = capsys.readouterr()
    assert [entry["system"]["name"] for entry in json.loads(printed.out)] == ["a", "b"]
    assert "largest losses" in printed.err


def test_compare_without_saturation_leaves_the_second_block_out(
    asked: Asked, capsys: pytest.CaptureFixture[str]
) -> None:
    """`--no-saturation` asks for none and prints none."""
    assert cli.main(["compare", "a", "--model", "m", "--no-saturation"]) == 0
    assert "at saturation" not in capsys.readouterr().out
    assert dict(asked)["run"]["slo_s"] is None


def test_compare_refuses_twins(asked: Asked, capsys: pytest.CaptureFixture[str]) -> None:
    """Two designs of one name could not be told apart in any output."""
    assert cli.main(["compare", "a", "a", "--model", "m"]) == 2
    assert "different names" in capsys.readouterr().err


def test_interrupted_comparison_leaves_nothing_behind(asked: Asked, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C in the second design: exit code 130 and no directory."""

    def interrupted(design: Any, **_named: Any) -> Result:
        if design.name == "b":
            raise KeyboardInterrupt
        return make_result(design.name)

    monkeypatch.setattr(sys.modules["archsim.simulate"], "run", interrupted)
    assert cli.main(["compare", "a", "b", "--model", "m"]) == 130
    assert list(Path().iterdir()) == []
