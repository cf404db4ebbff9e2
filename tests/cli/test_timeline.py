"""`archsim run --timeline`: a file is written, what it holds is said, and what cannot be is refused before the run."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from archsim.cli import main

STEP = ["run", "h100-sxm8", "--model", "llama-3.1-8b", "--batch", "1", "--context", "64"]


def test_a_timeline_is_written_beside_the_result(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With --json the result alone stands on standard output."""
    path = tmp_path / "step.json.gz"
    window = ["--timeline-window", "1ms..1.2ms"]
    assert main([*STEP, "--json", "--timeline", str(path), *window]) == 0
    out, err = capsys.readouterr()
    assert json.loads(out)["schema"].startswith("archsim.result/")
    assert f"timeline written to {path}" in err
    times = [row["ts"] for row in json.loads(gzip.decompress(path.read_bytes()))["traceEvents"] if row["ph"] == "X"]
    assert 1000 == min(times) < max(times) <= 1200


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--timeline-level", "chunk"], "--timeline, which is missing"),
        (["--timeline", "new.gz", "--timeline-window", "20ms"], "10ms..20ms"),
        (["--timeline", "new.gz", "--timeline-window", "20ms..10ms"], "the later one last"),
        (["--timeline", "new.gz", "--timeline-window", "1..2"], "unit"),
        (["--timeline", "old.gz"], "does not exist yet"),
        (["--timeline", "new.gz", "--timeline-window", "5s..6s"], "before the end"),
    ],
)
def test_bad_requests_end_with_two(
    options: list[str],
    expected: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The message names the option, and nothing is written."""
    monkeypatch.chdir(tmp_path)
    Path("old.gz").touch()
    assert main([*STEP, *options]) == 2
    assert expected in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["old.gz"]


def test_a_timeline_of_pools_shows_their_requests_and_bandwidths(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Two slices a request, counters under the names of the pools; parts are refused, a step is the main pool's."""
    monkeypatch.chdir(tmp_path)
    pools = ["run", "h100-h200", "--model", "llama-3.1-8b", "--trace", "azure-conv", "--limit", "4"]
    assert main([*pools, "--timeline", "pools.json.gz"]) == 0
    rows = json.loads(gzip.decompress(Path("pools.json.gz").read_bytes()))["traceEvents"]
    names = [row["name"] for row in rows if row["ph"] == "X"]
    assert len([name for name in names if name.endswith("to first token")]) == 4
    counters = {row["name"] for row in rows if row["ph"] == "C"}
    assert {"prefill/chip0-7.hbm useful", "decode/chip0-7.hbm useful"} <= counters
    capsys.readouterr()
    assert main([*pools, "--timeline-level", "operator", "--timeline", "none.json.gz"]) == 2
    assert "pools show their requests" in capsys.readouterr().err
    assert not Path("none.json.gz").exists()
    step = ["--model", "llama-3.1-8b", "--batch", "1", "--context", "64", "--timeline-level", "iteration"]
    assert main(["run", "h100-h200", *step, "--timeline", "step.json.gz"]) == 0
    rows = json.loads(gzip.decompress(Path("step.json.gz").read_bytes()))["traceEvents"]
    assert {row["pid"] for row in rows if row["ph"] == "X"}
