"""`archsim economics` and the options that change prices."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from archsim import cli

CASE = ["economics", "h100-sxm8", "--model", "llama-3.1-8b", "--limit", "20", "--users", "1000:100000"]
STEP = ["run", "h100-sxm8", "--model", "llama-3.1-8b", "--batch", "4", "--context", "500"]


def test_a_case_is_printed_and_written(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """A table on standard output, the same numbers as JSON, and two figures."""
    out = tmp_path / "case"
    assert cli.main([*CASE, "--out", str(out)]) == 0
    page = capsys.readouterr().out
    assert "output tokens/s at TPOT p99 <= 50 ms" in page
    assert "USD/user/month" in page
    assert sorted(path.name for path in out.iterdir()) == ["cost-curve.svg", "cost-stack.svg", "economics.json"]
    (case,) = json.loads((out / "economics.json").read_text("utf-8"))
    points = case["curve"]
    assert [point["users"] for point in points] == [1000, 2000, 5000, 10_000, 20_000, 50_000, 100_000]
    assert all(point["chips"]["mid"] == 8 * point["systems"]["mid"] for point in points)
    assert f"{points[0]['usd_per_million_output_tokens']['mid']:.3g}" in page


def test_json_is_all_that_json_prints(capsys: pytest.CaptureFixture[str]) -> None:
    """The table goes to standard error."""
    assert cli.main([*CASE, "--json"]) == 0
    (case,) = json.loads(capsys.readouterr().out)
    assert case["system"] == "h100-sxm8"


@pytest.mark.parametrize("users", ["0:10", "10:1", "a:b", "1:2:3", "-1", "1e3:1e6"])
def test_users_are_two_whole_numbers(users: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Anything else is refused with an example."""
    assert cli.main([*CASE[:-1], users]) == 2
    assert "--users" in capsys.readouterr().err


def test_a_level_that_no_rate_meets_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    """The message says how fast the system can be."""
    assert cli.main([*CASE, "--slo", "10 us"]) == 2
    assert "its shortest TPOT p99" in capsys.readouterr().err


def test_options_change_prices_and_nothing_else(capsys: pytest.CaptureFixture[str]) -> None:
    """Another region moves cost and carbon; built-up chips have parts; the simulation stays."""
    found = {}
    for name, options in (("us", ()), ("france", ("--region", "france")), ("parts", ("--basis", "parts"))):
        assert cli.main([*STEP, "--json", *options]) == 0
        found[name] = json.loads(capsys.readouterr().out)
    assert found["us"]["latency_s"] == found["france"]["latency_s"]
    assert found["france"]["carbon"]["region"] == "france"
    assert found["us"]["cost"]["basis"] == "price"
    assert {"chip.die", "chip.hbm", "chip.package"} <= {*found["parts"]["cost"]["by_part"]}


def test_a_file_that_is_none_is_refused(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """An unknown name, a file without keys, an unknown basis."""
    empty = tmp_path / "empty.toml"
    empty.write_text('name = "empty"\n', "utf-8")
    for options, word in ((("--economics", "nosuch"), "nosuch"), (("--economics", str(empty)), "operation"),
                          (("--basis", "guess"), "guess")):  # fmt: skip
        assert cli.main([*STEP, *options]) == 2
        assert word in capsys.readouterr().err


def test_a_run_is_asked_again_by_the_prices_that_it_was_assessed_by(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A chip without a price is built up from parts, whatever the file says: its prices are still the bundled ones."""
    run = ["run", "m4-max", "--model", "qwen3-8b", "--precision", "w8a16kv16", "--batch", "1", "--context", "16"]
    assert cli.main([*run, "--economics", "default", "--out", str(tmp_path / "run")]) == 0
    capsys.readouterr()
    assert cli.main(["whatif", str(tmp_path / "run"), "--set", "runtime.ramp=1 us"]) == 0
    assert "output tokens/s" in capsys.readouterr().out
