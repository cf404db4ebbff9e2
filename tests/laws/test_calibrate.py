"""Fits: what was put into rows is found again, and a file says where its numbers are from."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from archsim import cli
from archsim.errors import InputError
from archsim.hardware.library import load_system
from archsim.validation import kernels
from archsim.validation.calibrate import calibrate, least_squares
from archsim.validation.selection import Selection, parse_where

COLUMNS = ("system", "op", "dtype", "m_or_batch", "n", "k", "kv_len", "latency_us")
SIZES = ((1024, 1024), (4096, 4096), (8192, 8192), (16384, 16384), (12288, 4096), (2048, 8192))


def table(path: Path, settings: tuple[str, ...]) -> Path:
    """Write what products of one row take on an H100 with *settings*, and one of an A100 that is no part of them."""
    bare = path.with_suffix(".bare.csv")
    cells = [["H100-SXM5-80GB", "gemm", "bfloat16", 1, n, k, "", 1e6] for n, k in SIZES]
    write(bare, cells)
    predicted = [row["predicted"] for row in kernels.suite(bare, Selection(settings=settings))]
    measured = [[*cell[:-1], time] for cell, time in zip(cells, predicted, strict=True)]
    write(path, [*measured, ["A100-SXM4-80GB", "gemm", "bfloat16", 1, 4096, 4096, "", 999.0]])
    return path


def write(path: Path, rows: list[list[object]]) -> None:
    """Write *rows* under the columns of the schema."""
    with path.open("w", newline="", encoding="utf-8") as stream:
        csv.writer(stream).writerows([COLUMNS, *rows])


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Rows of a machine whose ramp is 4 us and whose bytes in flight are 1.5 MB."""
    path = tmp_path_factory.mktemp("rows") / "k.csv"
    return table(path, ("runtime.ramp=4 us", "chip.bytes_in_flight=1500000 B"))


def test_least_squares_finds_the_minimum_of_a_curve() -> None:
    """The residual x - (1, 2) has its least at (1, 2); where residuals are None the step is not taken."""
    aim = np.array([1.0, 2.0])
    at, _ = least_squares(lambda x: x - aim, np.zeros(2))
    assert at == pytest.approx(aim, abs=1e-6)
    held, _ = least_squares(lambda x: None if x[0] > 0.5 else x - aim, np.zeros(2))
    assert held[0] <= 0.5


def test_a_fit_finds_what_was_put_in(measured: Path) -> None:
    """Ramp and bytes in flight come back from rows made with them, and the rows of other chips have no say."""
    found = calibrate(
        "kernels", measured, where=parse_where("gpu=H100,m_or_batch=1..8"), names="runtime.ramp,chip.bytes_in_flight"
    )
    assert found.before["n"] == len(SIZES)
    assert found.values == pytest.approx((4e-6, 1.5e6), rel=0.02)
    assert found.after["mean_abs_error"] < 0.002 < found.before["mean_abs_error"]


def test_the_file_runs_and_names_its_rows(measured: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The written system is read back with the fitted number, which says on how many rows it was fitted."""
    out = tmp_path / "mine.toml"
    given = ["calibrate", "--on", "kernels", "--reference", str(measured), "--rows", "gpu=H100"]
    assert cli.main([*given, "--parameters", "runtime.ramp", "--out", str(out), "--json"]) == 0
    said = json.loads(capsys.readouterr().out)["parameters"]["runtime.ramp"]
    assert load_system(str(out)).runtime.ramp_ps == round(said["value"] * 1e12)
    lines = [line for line in out.read_text(encoding="utf-8").splitlines() if line.startswith("ramp = ")]
    assert f"{len(SIZES)} rows" in lines[0]
    assert "# source: least squares" in lines[0]


@pytest.mark.parametrize(
    ("names", "rows", "message"),
    [
        ("runtime.nothing", "gpu=H100", "--parameters"),
        ("runtime.host_step", "gpu=H100", "to start from"),
        ("runtime.prefetch", "gpu=H100", "--parameters"),
        ("runtime.ramp", "gpu=none", "more rows"),
        ("runtime.ramp", "colour=red", "a column of the table"),
        ("runtime.ramp", "gpu", "COLUMN=VALUE"),
        ("", "gpu=H100", "at least one"),
    ],
)
def test_what_cannot_be_fitted_is_wrong_input(measured: Path, names: str, rows: str, message: str) -> None:
    """A path that is none, a start that is zero or no quantity, too few rows, and conditions that are none."""
    with pytest.raises(InputError, match=message):
        calibrate("kernels", measured, where=parse_where(rows), names=names)


def test_only_rows_with_a_system_are_fitted() -> None:
    """Memory patterns have no runtime to fit."""
    with pytest.raises(InputError, match="one of kernels, decode, serving"):
        calibrate("dram", None, where=(), names="runtime.ramp")
