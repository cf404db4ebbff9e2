"""Near-memory units against the simulators of others."""

from __future__ import annotations

from pathlib import Path

import pytest

from archsim.errors import InputError
from archsim.validation.attacc import suite as attacc
from archsim.validation.pim import gemv_clocks, suite


def test_a_product_of_hbm_pim_takes_pimsimulators_clocks() -> None:
    """4,096 by 4,096 in FP16 on 64 pseudochannels of HBM2: 36,082 clocks without units, 13,166 with, within 10 %."""
    assert gemv_clocks("none") == pytest.approx(36_082, rel=0.1)
    assert gemv_clocks("all") == pytest.approx(13_166, rel=0.1)


def test_stages_that_stream_weights_take_neupims_clocks(shared: Path, tmp_path: Path) -> None:
    """Queries, keys and values, and projection with MLP: within 11 % of another simulator; attention is not met."""
    rows = suite(shared / "reference" / "measured" / "neupims_sim_points.csv")
    errors = {row["id"]: abs(row["error"]) for row in rows if row["error"] is not None}
    streamed = [error for name, error in errors.items() if "stage B" not in name]
    assert (len(errors), len(streamed)) == (8, 6)
    assert max(streamed) < 0.11
    assert {row["group"] for row in rows if row["skipped"]} == {"stage B", "stage C", "stage D", "stage E"}
    other = tmp_path / "rows.csv"
    other.write_text("batch,stage\n1,A\n", encoding="utf-8")
    with pytest.raises(InputError, match="mean_seq_len"):
        suite(other)


def test_attacc_is_as_much_faster_than_a_dgx_as_its_simulator_says(shared: Path) -> None:
    """Speed-up within 15 % and energy ratio within 20 % at every point, 3.5 and 2 % on average."""
    rows = attacc(shared / "reference" / "measured" / "attacc_sim_points.csv")
    for group, most, mean in (("speedup", 0.15, 0.035), ("energy_ratio", 0.20, 0.02)):
        errors = [abs(row["error"]) for row in rows if row["group"] == group and row["error"] is not None]
        assert len(errors) > 100
        assert max(errors) < most
        assert sum(errors) / len(errors) < mean


def test_points_beyond_the_memory_are_marked(shared: Path) -> None:
    """AttAcc checks no capacity; a row that would not fit says that it was assumed."""
    rows = attacc(shared / "reference" / "measured" / "attacc_sim_points.csv")
    marked = [row["id"] for row in rows if "(capacity assumed)" in row["id"]]
    assert any("GPT-175B W16A16 batch 54 lin 2048 lout 2048" in name for name in marked)
