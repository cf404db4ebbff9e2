"""Every table of measurements is read by a suite, and what is not predicted says why."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pytest

from archsim import cli
from archsim.errors import InputError
from archsim.validation.decode import suite as decode
from archsim.validation.fits import COLUMNS as FITTED
from archsim.validation.schemas import suite_of
from archsim.validation.summary import run_suite

MEASURED = Path("reference") / "measured"
SUITES = {
    "achieved_peaks": "decode", "argonne_llm_inference_bench": "decode", "attacc_sim_points": "attacc",
    "aws_neuron_decode": "decode", "collectives": "collectives", "distserve_a100_fits": "decode",
    "frontier_a800_llama2_7b_decode_attention": "kernels", "gpt_fast_decode": "decode", "jetstream_tpu_v5e": "decode",
    "kernel_decode_attention_nvidia": "kernels", "kernel_decode_mla_nvidia": "kernels", "kernel_moe_nvidia": "kernels",
    "kernels_gemm_decode_attention": "kernels", "llamacpp_apple_7b": "decode", "llamacpp_llama3_gpus": "decode",
    "llmcompass_a100_mi210": "decode", "llmservingsim_rtx_decode_attention": "kernels",
    "llmservingsim_rtx_linear_ops": "kernels", "neupims_sim_points": "pim", "operators_a100_mi210": "kernels",
    "pope2022_palm_tpuv4": "decode", "serving_tpot_agg_nvidia": "serving", "splitwise_a100_h100": "decode",
    "trtllm_perf_overview": "decode", "vendor_and_operator_claims": "decode", "vidur_linear_ops_a100_h100_a40":
    "kernels",
}  # fmt: skip


def shuffled(path: Path, into: Path, rows: slice) -> Path:
    """Write some rows of *path* with their columns in another order, after a comment."""
    lines = [line for line in path.read_text(encoding="utf-8").splitlines() if not line.startswith("#")]
    cells = [row[::-1] for row in csv.reader([lines[0], *lines[1:][rows]])]
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(cells)
    into.write_text(f"# made up\n{text.getvalue()}", encoding="utf-8")
    return into


def test_every_table_has_a_suite(shared: Path) -> None:
    """No file of the folder is left out, and none is taken for another's."""
    found = {path.stem: suite_of(path) for path in (shared / MEASURED).glob("*.csv")}
    assert found == SUITES


@pytest.mark.parametrize("name", SUITES)
def test_the_order_of_columns_does_not_matter(shared: Path, tmp_path: Path, name: str) -> None:
    """Columns are found by name: the first row says the same from a table turned round."""
    table = shared / MEASURED / f"{name}.csv"
    turned = shuffled(table, tmp_path / f"{name}.csv", slice(0, 1))
    assert suite_of(turned) == SUITES[name]
    if name in {"serving_tpot_agg_nvidia", "attacc_sim_points"}:
        return
    straight = tmp_path / "straight.csv"
    shuffled(turned, straight, slice(0, None))
    ours, theirs = (run_suite(SUITES[name], reference=path, params=None)["rows"] for path in (turned, straight))
    assert [row["predicted"] for row in ours] == [row["predicted"] for row in theirs]


def test_a_table_of_no_suite_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit 2 with the columns; with a known table the suite needs no name."""
    path = tmp_path / "other.csv"
    path.write_text("a,b\n1,2\n", encoding="utf-8")
    with pytest.raises(InputError, match="columns of the suite"):
        suite_of(path)
    assert cli.main(["validate", "--reference", str(path)]) == 2
    path.write_text("batch,mean_seq_len,sub_batch_interleave,stage,total_cycles\n16,1000,0,A,27586\n", encoding="utf-8")
    capsys.readouterr()
    assert cli.main(["validate", "--reference", str(path)]) == 0
    assert capsys.readouterr().out.startswith("pim: ")


def test_achieved_peaks_are_met_to_5_percent(shared: Path) -> None:
    """Best-shape products of nine chips and streams; the sustained rates were set on them, the streams were not."""
    rows = decode(shared / MEASURED / "achieved_peaks.csv")
    errors = [abs(row["error"]) for row in rows if row["error"] is not None]
    assert len(errors) == 19
    assert sum(errors) / len(errors) < 0.03
    assert [row["group"] for row in rows if row["skipped"]] == ["achieved_memory_bandwidth"]


def test_the_operators_of_a_layer_add_up(shared: Path) -> None:
    """GPT-3's layer on four A100, prefill: within 5 % in sum; a decode step of eager PyTorch within 30 %."""
    rows = decode(shared / MEASURED / "llmcompass_a100_mi210.csv")
    assert all(row["skipped"] is None for row in rows)
    totals = [row for row in rows if row["group"] == "layer_time_total"]
    step, prompt = totals
    assert abs(step["error"]) < 0.30
    assert abs(prompt["error"]) < 0.05
    layer = [row for row in rows if row["group"].startswith("op_time_")]
    assert sum(row["predicted"] for row in layer) == pytest.approx(step["predicted"] + prompt["predicted"])


def test_a_saturated_server_is_predicted_within_a_third(shared: Path, tmp_path: Path) -> None:
    """Every seventh row of TensorRT-LLM's overview, on which nothing was set; 13 % over all rows when written."""
    rows = decode(shuffled(shared / MEASURED / "trtllm_perf_overview.csv", tmp_path / "rows.csv", slice(4, None, 10)))
    errors = [abs(row["error"]) for row in rows if row["error"] is not None]
    assert len(errors) >= 3
    assert max(errors) < 0.33


def test_a_saturated_rate_of_a_data_set_says_that_its_lengths_are_missing(shared: Path) -> None:
    """JetStream's rows name ShareGPT, whose lengths are no numbers."""
    rows = decode(shared / MEASURED / "jetstream_tpu_v5e.csv")
    assert {"a data set's are not stated" in str(row["skipped"]) for row in rows} == {True}


def test_fitted_formulas_are_evaluated_where_the_cache_holds_the_batch(shared: Path, tmp_path: Path) -> None:
    """OPT-13B on an engine without rows here: a + b x context + c x batch, decode within 20 % of DistServe's fits."""
    table = shuffled(shared / MEASURED / "distserve_a100_fits.csv", tmp_path / "fits.csv", slice(0, 2))
    rows = decode(table)
    steps = [row for row in rows if row["group"] == "fitted decoding_smallbs DistServe"]
    assert len(rows) == 4 + 6
    one = next(row for row in steps if "batch 1 context 256" in row["id"])
    assert one["expected"] == pytest.approx(19.934702624895458 + 0.0006269356524350583 * 256 + 0.03850697740828398)
    assert all(abs(row["error"]) < 0.20 for row in steps if row["error"] is not None)
    assert ["do not hold so many" in str(row["skipped"]) for row in steps if row["skipped"]] == [True]
    assert "coef_c" in FITTED
