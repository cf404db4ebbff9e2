"""`archsim near`, and capacity taken as assumed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from archsim.cli import group
from archsim.errors import CapacityError, InputError

NEAR = ["near", "hbm-pim", "--model", "llama-3.1-8b", "--most", "8", "--context", "1024"]


def test_near_says_where_each_kernel_is_faster(tmp_path: Path) -> None:
    """A unit that multiplies one row at a time wins at batch 1 and loses to a host that reads weights once."""
    drawn = tmp_path / "near.svg"
    done = CliRunner().invoke(group, [*NEAR, "--json", "--out", str(drawn)], catch_exceptions=False)
    study = json.loads(done.stdout)
    assert study["batches"] == [1, 2, 4, 8]
    down = next(curve for curve in study["operators"] if curve["name"] == "down")
    assert down["changes"][0] == [1, "near"]
    assert down["near_where"].startswith(("at 1", "1 to"))
    assert down["near_s"][1] > 1.9 * down["near_s"][0]
    assert drawn.read_text(encoding="utf-8").startswith("<?xml")


def test_near_asks_for_a_system_with_units() -> None:
    """The message names one."""
    with pytest.raises(InputError, match="h100-sxm8-pnm"):
        CliRunner().invoke(group, ["near", "h100-sxm8", "--model", "llama-3.1-8b"], catch_exceptions=False)


def test_assumed_capacity_is_flagged_in_every_output() -> None:
    """What does not fit is refused, or evaluated with a result that says so in title, provenance and command."""
    run = ["run", "h100-sxm8", "--model", "llama-3.1-70b", "--batch", "4096", "--context", "8192", "--json"]
    with pytest.raises(CapacityError):
        CliRunner().invoke(group, run, catch_exceptions=False)
    done = CliRunner().invoke(group, [*run, "--assume-capacity"], catch_exceptions=False)
    result = json.loads(done.stdout)
    assert "capacity assumed" in result["system"]["title"]
    assert "hbm" in result["provenance"]["fidelity"]["capacity"]
    assert "--assume-capacity" in result["provenance"]["command"]
