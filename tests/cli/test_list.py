"""`archsim list`: everything bundled, for people and for programs."""

from __future__ import annotations

import json
from typing import Any

import pytest
from click.testing import CliRunner

from archsim.cli.list import command
from archsim.hardware.library import load_system
from archsim.hardware.pools import design_names
from archsim.workload.model import bundled_models
from archsim.workload.trace import bundled_traces


def _list(*arguments: str) -> str:
    result = CliRunner().invoke(command, list(arguments), catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


def _rows(*arguments: str) -> list[dict[str, Any]]:
    rows = json.loads(_list("--json", *arguments))
    assert isinstance(rows, list)
    return rows


def test_json_is_an_array_of_objects_with_name_kind_and_status() -> None:
    """Systems, models and traces, in this order."""
    rows = _rows()
    assert all({"name", "kind", "status"} <= set(row) for row in rows)
    assert [row["name"] for row in rows] == [*design_names(), *bundled_models(), *bundled_traces()]


@pytest.mark.parametrize(
    ("what", "kinds"), [("systems", {"system", "pools"}), ("models", {"model"}), ("traces", {"trace"})]
)
def test_one_kind_can_be_asked_for(what: str, kinds: set[str]) -> None:
    """And nothing else comes."""
    rows = _rows(what)
    assert rows
    assert {row["kind"] for row in rows} == kinds


def test_a_system_s_row_says_what_its_spec_says() -> None:
    """Capacity and peak of one chip's main memory."""
    spec = load_system("mi300x-8")
    row = next(row for row in _rows("systems") if row["name"] == "mi300x-8")
    assert row["peak_bytes_per_s"] == spec.chip.memory["hbm"].peak_bytes_per_s
    assert (row["memory"], row["chips"], row["topology"]) == ("HBM3", 8, "full_mesh")


def test_systems_are_filtered_by_memory_and_status() -> None:
    """The start of a standard is enough, in any case; without a match the list is empty."""
    assert all("HBM3E" in row["memories"] for row in _rows("--memory", "hbm3e"))
    assert {row["status"] for row in _rows("--status", "shipped")} == {"shipped"}
    assert _rows("--memory", "core rope") == []


def test_the_tables_group_systems_by_maker() -> None:
    """Every name stands at the start of a line under a heading."""
    page = _list().splitlines()
    first = [line.split()[0] for line in page if line.strip()]
    assert set(design_names()) | set(bundled_models()) | set(bundled_traces()) <= set(first)
    for heading in ("systems: NVIDIA", "systems: Apple", "models", "traces"):
        assert heading in [line.strip() for line in page]


def test_an_unknown_kind_is_refused() -> None:
    """Usage errors leave with 2."""
    result = CliRunner().invoke(command, ["chips"])
    assert result.exit_code == 2
