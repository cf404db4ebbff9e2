"""The commands about studies, as a user calls them: exit codes, messages, what is printed and written."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from archsim.cli import main
from archsim.study.store import Store

STUDY = """
kind = "study"
name = "tiny"
title = "a tiny one"
systems = ["h100-sxm8"]
model = "llama-3.1-8b"
[[axis]]
key = "parallel"
values = ["tp=8", "tp=4,dp=2"]
[[axis]]
key = "batch"
values = [8, 16]
[[axis]]
key = "context"
values = [1024]
[[objective]]
metric = "tokens_per_s"
goal = "max"
[[objective]]
metric = "tpot_s_p50"
goal = "min"
"""


@pytest.fixture
def study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Return the path of a study of four points, in a folder that is the working one."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tiny.toml").write_text(STUDY, encoding="utf-8")
    return "tiny.toml"


def test_a_sweep_prints_its_best_points_and_writes_figures(study: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The store is named after the study; figures are written beside it; a second sweep finds nothing to do."""
    assert main(["sweep", study, "--workers", "1", "--figures", "drawn"]) == 0
    page = capsys.readouterr().out
    assert "tiny.study.db: 4 of 4 points (4 done); 4 now" in page
    assert "best by tokens_per_s (max)" in page
    with Store(Path("tiny.study.db")) as store:
        low, high = max(
            (row.metrics["tokens_per_s_low"] or 0.0, row.metrics["tokens_per_s_high"] or 0.0) for row in store.rows()
        )
    assert f" ({low:,.0f}-{high:,.0f})" in page
    assert "in brackets: 80 % interval\n" in page
    assert sorted(path.name for path in Path("drawn").iterdir()) == ["heatmap.svg", "pareto.svg", "scaling.svg"]
    assert main(["sweep", study, "--workers", "1"]) == 0
    assert "; 0 now" in capsys.readouterr().out


def test_shards_are_merged_and_exported(study: str, capsys: pytest.CaptureFixture[str]) -> None:
    """`--shard` twice, `study merge`, `study export`: four lines and a header; an existing file is not overwritten."""
    for place in ("1/2", "2/2"):
        assert main(["sweep", study, "--workers", "1", "--shard", place, "--store", f"{place[0]}.db"]) == 0
    assert main(["study", "merge", "1.db", "2.db", "--into", "all.db"]) == 0
    assert main(["study", "export", "all.db", "all.csv", "--provenance"]) == 0
    lines = Path("all.csv").read_text(encoding="utf-8").splitlines()
    assert len(lines) == 5
    assert "archsim run h100-sxm8 --model llama-3.1-8b" in lines[1]
    assert main(["study", "export", "all.db", "all.csv"]) == 2
    assert "does not exist yet" in capsys.readouterr().err


def test_whatif_prints_json_alone(study: str, capsys: pytest.CaptureFixture[str]) -> None:
    """One object, whose ledgers add up to the change."""
    step = ["--model", "llama-3.1-8b", "--batch", "8", "--context", "1024"]
    assert main(["run", "h100-sxm8", *step, "--json"]) == 0
    Path("result.json").write_text(capsys.readouterr().out, encoding="utf-8")
    assert main(["whatif", "result.json", "--set", "runtime.ramp=5 us", "--json"]) == 0
    change = json.loads(capsys.readouterr().out)
    booked = change["ledgers"]["hbm"].values()
    before, after = (change["metrics"]["tpot_s_mean"][side] for side in ("before", "after"))
    assert sum(a["after_s"] - a["before_s"] for a in booked) == pytest.approx(after - before, rel=1e-6)


def test_whatif_shows_the_intervals_of_both_sides(study: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A row of tokens/s with two intervals; a width of weights that no row has is named as extrapolated."""
    step = ["--model", "llama-3.1-8b", "--batch", "8", "--context", "1024"]
    assert main(["run", "h100-sxm8", *step, "--json"]) == 0
    Path("result.json").write_text(capsys.readouterr().out, encoding="utf-8")
    assert main(["whatif", "result.json", "--precision", "w6a16kv16"]) == 0
    page = capsys.readouterr().out
    rate = next(line for line in page.splitlines() if line.startswith("output tokens/s "))
    before, after = re.findall(r"\(.*?\)", rate)
    assert not before.startswith("(x ")
    assert after.startswith("(x ")
    assert "x: after is extrapolated, precision " in page
    assert "low end" not in page.split("energy per output token")[0]


@pytest.mark.slow
def test_sensitivity_prints_json_alone(capsys: pytest.CaptureFixture[str]) -> None:
    """One object, in which every knob names its keys."""
    step = ["--model", "llama-3.1-8b", "--batch", "8", "--context", "1024"]
    assert main(["sensitivity", "h100-sxm8", *step, "--json"]) == 0
    knobs = json.loads(capsys.readouterr().out)["knobs"]
    assert next(knob for knob in knobs if knob["knob"] == "kernel ramp")["keys"] == ["runtime.ramp"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["sweep", "nothing"], "bundled names"),
        (["sweep", "tiny.toml", "--shard", "3/2"], "I from 1 to N"),
        (["sweep", "tiny.toml", "--workers", "2", "--cluster", "tcp://x"], "has its own"),
        (["sweep", "tiny.toml", "--store", "missing/x.db"], "--store"),
        (["sweep", "tiny.toml", "--store", "tiny.toml"], "another file"),
        (["study", "export", "nothing.db", "x.csv"], "there is none"),
        (["study", "merge", "nothing.db", "--into", "x.db"], "there is none"),
        (["whatif", "nothing.json", "--set", "a=b"], "its result.json"),
        (["whatif", "nothing.json"], "nothing is changed"),
        (["sensitivity", "h100-sxm8", "--model", "llama-3.1-8b", "--step", "5"], "--step"),
        (["sensitivity", "h100-sxm8", "--model", "llama-3.1-8b", "--step", "500 %"], "0.1 % to 100 %"),
    ],
)
def test_wrong_input_ends_with_2_and_a_named_error(
    study: str, capsys: pytest.CaptureFixture[str], arguments: list[str], words: str
) -> None:
    """No traceback, nothing on standard output."""
    assert main(arguments) == 2
    printed = capsys.readouterr()
    assert words in printed.err
    assert "Traceback" not in printed.err
    assert printed.out == ""
    assert not Path("x.db").exists()


def test_a_sweep_of_which_every_point_fails_ends_with_1(study: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The messages are counted, and the store keeps them."""
    text = STUDY.replace("values = [8, 16]", "values = [100000000]")
    Path(study).write_text(text, encoding="utf-8")
    assert main(["sweep", study, "--workers", "1"]) == 1
    assert "x failed:" in capsys.readouterr().out
