"""Error bars against the rows that they were made without."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from archsim.cli import main
from archsim.uncertainty.residuals import shipped_residuals
from archsim.validation.intervals import CHECKED, residuals_of, suite
from archsim.validation.summary import run_suite

LOW, HIGH = 0.7, 0.9


def test_left_out_silicon_lies_inside_as_often_as_promised() -> None:
    """Of the rows of all silicons, each left out in turn, 70 to 90 % lie inside their 80 % intervals."""
    rows = suite(None)
    overall = [row for row in rows if row["group"] == "overall"]
    assert len(overall) == 1
    assert LOW <= overall[0]["predicted"] <= HIGH
    left_out = [row for row in rows if row["group"] == "left out"]
    assert len(left_out) == len({r.silicon for r in shipped_residuals() if r.table in CHECKED and r.measure == "tpot"})


def test_the_coverage_of_first_tokens_is_shown_beside_it() -> None:
    """No bound is on it: H100 has most of its rows, and TensorRT-LLM's wait for what the loop does not have."""
    groups = [row["group"] for row in suite(None)]
    assert groups.count("overall, first tokens") == 1
    assert groups.count("left out, first tokens") >= 3


def test_the_command_prints_coverage_by_silicon(capsys: pytest.CaptureFixture[str]) -> None:
    """`archsim validate intervals` names each silicon with its rows and says whether the bound holds."""
    assert main(["validate", "intervals", "--json"]) == 0
    result = json.loads(capsys.readouterr().out)[0]
    assert any(row["id"].startswith("h100, ") for row in result["rows"])
    assert [bound["held"] for bound in result["bounds"]] == [True]


def test_own_rows_are_counted(shared: Path) -> None:
    """A file of the decode schema is counted silicon by silicon, and its rows carry intervals about the prediction."""
    table = shared / "reference" / "measured" / "gpt_fast_decode.csv"
    rows = suite(table)
    assert [row["group"] for row in rows] == ["left out", "overall"]
    compared = [row for row in run_suite("decode", reference=table, params=None)["rows"] if row["error"] is not None]
    for row in compared:
        low, high = row["interval"]
        assert math.sqrt(low * high) == pytest.approx(row["predicted"])


@pytest.mark.slow
@pytest.mark.parametrize("table", CHECKED)
def test_shipped_residuals_are_those_of_today(table: str, shared: Path) -> None:
    """The errors of the checked tables are still what the shipped file says; else run scripts/interval_widths.py."""
    kind = "serving" if table.startswith("serving") else "decode"
    rows = run_suite(kind, reference=shared / "reference" / "measured" / f"{table}.csv", params=None)["rows"]
    found = sorted(residual.residual for residual in residuals_of(rows, table))
    shipped = sorted(residual.residual for residual in shipped_residuals() if residual.table == table)
    assert found == pytest.approx(shipped, abs=2e-3)
