"""The memory floor against runs of Ramulator 2.1 and DRAMsim3: about sixty rows here, all 986 under `-m slow`."""

from __future__ import annotations

from pathlib import Path

import pytest

from archsim.validation.dram import class_of_row, suite
from archsim.validation.summary import summary

SIMULATORS = ("ramulator2", "dramsim3")
STRIDE = {"ramulator2": 17, "dramsim3": 16}
"""Every n-th row: prime to the order of patterns, so that all configurations and patterns come up."""
BARS = {"device-bound": (0.01, 0.03), "policy-bound": (0.03, 0.10)}
"""Median and 95th percentile of |error| that each class is held to."""


def _sample(shared: Path, simulator: str, folder: Path) -> Path:
    """Return every n-th row of the reference, without the slow same-bank conflicts, beside its parameters."""
    source = shared / "reference" / "dram" / f"ref_{simulator}.csv"
    header, *rows = source.read_text(encoding="utf-8").splitlines()
    quick = [row for row in rows if ",conflict," not in row]
    sample = folder / source.name
    sample.write_text("\n".join([header, *quick[:: STRIDE[simulator]]]) + "\n", encoding="utf-8")
    return sample


def _check(rows: list[dict[str, object]]) -> None:
    assert all(row["skipped"] is None for row in rows)
    for name, (median, p95) in BARS.items():
        found = summary(row for row in rows if class_of_row(row) == name)
        assert found["median_abs_error"] is not None
        assert found["median_abs_error"] <= median, name
        assert found["p95_abs_error"] is not None
        assert found["p95_abs_error"] <= p95, name


@pytest.mark.parametrize("simulator", SIMULATORS)
def test_a_sample_of_every_pattern_agrees(shared: Path, simulator: str, tmp_path: Path) -> None:
    """Device-bound rows: median 1 %, p95 3 %; policy-bound rows: median 3 %, p95 10 %. Here: all within 0.5 %."""
    params = shared / "reference" / "dram" / f"params_{simulator}.json"
    sample = _sample(shared, simulator, tmp_path)
    rows = suite(sample, params)
    assert len(rows) == len(sample.read_text(encoding="utf-8").splitlines()) - 1
    assert len(rows) >= 25
    _check(rows)
    assert max(abs(row["error"]) for row in rows) < 0.005


@pytest.mark.slow
@pytest.mark.parametrize("simulator", SIMULATORS)
def test_every_row_agrees(shared: Path, simulator: str) -> None:
    """All rows of the reference, to the rounding of its four digits."""
    rows = suite(shared / "reference" / "dram" / f"ref_{simulator}.csv")
    _check(rows)
    assert max(abs(row["error"]) for row in rows) < 0.005
