"""Decode, prefill and end-to-end times against silicon, to the errors that hold today."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from archsim import cli
from archsim.errors import InputError
from archsim.validation.decode import suite

MEASURED = Path("reference") / "measured"


def sampled(path: Path, folder: Path, *, every: int) -> Path:
    """Write header and every n-th row of the table at *path* into *folder*."""
    lines = path.read_text(encoding="utf-8").splitlines()
    small = folder / path.name
    small.write_text("\n".join([lines[0], *lines[1::every]]) + "\n", encoding="utf-8")
    return small


def mean_abs_error(rows: list[dict[str, object]], *groups: str) -> float:
    """Return the mean of |error| over the compared rows of *groups*; all groups where none is named."""
    errors = [row["error"] for row in rows if row["error"] is not None and (not groups or row["group"] in groups)]
    assert errors
    return math.fsum(abs(float(str(error))) for error in errors) / len(errors)


def test_published_figures_of_decode_are_met() -> None:
    """Without a file: 16 published figures, mean error below 10 %, none skipped for want of a name."""
    rows = suite(None)
    assert mean_abs_error(rows) < 0.10
    assert [row["skipped"] for row in rows if row["skipped"] and "bytes" not in row["skipped"]] == []


@pytest.mark.parametrize(
    ("table", "groups", "bound"),
    [
        ("gpt_fast_decode", (), 0.10),
        ("llamacpp_apple_7b", ("decode_tokens_per_s",), 0.10),
        ("llamacpp_apple_7b", ("prefill_tokens_per_s",), 0.12),
        ("splitwise_a100_h100", ("decode_time_per_token",), 0.05),
        ("aws_neuron_decode", ("tpot_p50",), 0.08),
    ],
)
def test_batch_one_tables_stay_within_their_errors(
    shared: Path, table: str, groups: tuple[str, ...], bound: float
) -> None:
    """Whole tables that take a second or two."""
    assert mean_abs_error(suite(shared / MEASURED / f"{table}.csv"), *groups) < bound


@pytest.mark.slow
def test_palm_of_62_billion_is_predicted_from_what_was_set_on_540(shared: Path) -> None:
    """No row of PaLM-62B (8 to 32 chips) was looked at when TPU v4 and its runtime were set, on PaLM-540B on 64."""
    rows = suite(shared / MEASURED / "pope2022_palm_tpuv4.csv")
    seen, blind = ([row for row in rows if name in row["id"]] for name in ("540B", "62B"))
    assert (sum(row["error"] is not None for row in seen), mean_abs_error(seen) < 0.05) == (6, True)
    assert (sum(row["error"] is not None for row in blind), mean_abs_error(blind) < 0.15) == (4, True)


def test_a_sample_of_end_to_end_times_stays_within_15_percent(shared: Path, tmp_path: Path) -> None:
    """Every 37th row of Argonne's A100 and H100 nodes; the runtimes were fitted on H100 alone."""
    table = sampled(shared / MEASURED / "argonne_llm_inference_bench.csv", tmp_path, every=37)
    assert mean_abs_error(suite(table)) < 0.15


@pytest.mark.slow
def test_all_end_to_end_times_stay_within_15_percent(shared: Path) -> None:
    """All 904 rows, mean error 8 %."""
    assert mean_abs_error(suite(shared / MEASURED / "argonne_llm_inference_bench.csv")) < 0.10


def test_what_cannot_be_compared_is_counted_with_its_reason(shared: Path) -> None:
    """Power rows, and runs that ended before their stated output, are skipped and said so."""
    rows = suite(shared / MEASURED / "splitwise_a100_h100.csv")
    skipped = [row for row in rows if row["skipped"]]
    assert all(row["error"] is None for row in skipped)
    power = [row for row in skipped if row["group"] == "average_power_fraction_of_tdp"]
    assert len(power) == len([row for row in rows if row["group"] == "average_power_fraction_of_tdp"]) > 0
    assert any("ended before" in row["skipped"] for row in skipped)


def test_an_error_is_signed_and_relative(shared: Path) -> None:
    """(predicted - expected) / expected, and a rate that is predicted too high is too high."""
    for row in suite(shared / MEASURED / "gpt_fast_decode.csv"):
        assert row["error"] == pytest.approx((row["predicted"] - row["expected"]) / row["expected"])


def test_a_table_of_another_schema_is_refused(tmp_path: Path) -> None:
    """The missing columns are named."""
    path = tmp_path / "other.csv"
    path.write_text("a,b\n1,2\n", encoding="utf-8")
    with pytest.raises(InputError, match="system, chips, model"):
        suite(path)


def test_decode_faster_than_its_weights_can_be_read_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """138 GB of weights at 100 tokens/s on two A100 of 2 TB/s each are no measurement: refused, counted, and said."""
    path = tmp_path / "rows.csv"
    cells = "a100-80gb,2,llama2-70b,fp16,1,512,128,decode_tokens_per_s,{},tok/s,splitwise"
    lines = ["system,chips,model,precision,batch,input_len,output_len,metric,value,unit,source"]
    path.write_text("\n".join([*lines, cells.format(100), cells.format(18), ""]), encoding="utf-8")
    assert cli.main(["validate", "decode", "--reference", str(path)]) == 0
    said = capsys.readouterr().out
    assert "refused as reference: 1 rows: impossible: weights read at so many TB/s a chip" in said
