"""Derive the widths of error bars from the shared reference data: archsim/uncertainty/residuals.csv and widths.toml.

Usage: python scripts/interval_widths.py ../shared [TABLE...], such as aws_neuron_decode: only these anew
"""

from __future__ import annotations

import sys
from pathlib import Path

from archsim.uncertainty.residuals import SHIPPED as RESIDUALS
from archsim.uncertainty.residuals import read_residuals, shipped_residuals, write_residuals
from archsim.uncertainty.widths import SHIPPED as WIDTHS
from archsim.uncertainty.widths import derived, write_widths
from archsim.validation.intervals import residuals_of
from archsim.validation.summary import run_suite

MEASURED = "reference/measured"
TABLES = (
    ("kernels", f"{MEASURED}/kernels_gemm_decode_attention.csv"),
    ("kernels", f"{MEASURED}/kernel_decode_attention_nvidia.csv"),
    ("kernels", f"{MEASURED}/kernel_moe_nvidia.csv"),
    ("kernels", f"{MEASURED}/kernel_decode_mla_nvidia.csv"),
    ("kernels", f"{MEASURED}/operators_a100_mi210.csv"),
    ("collectives", f"{MEASURED}/collectives.csv"),
    ("decode", f"{MEASURED}/gpt_fast_decode.csv"),
    ("decode", f"{MEASURED}/llamacpp_apple_7b.csv"),
    ("decode", f"{MEASURED}/splitwise_a100_h100.csv"),
    ("decode", f"{MEASURED}/aws_neuron_decode.csv"),
    ("decode", f"{MEASURED}/argonne_llm_inference_bench.csv"),
    ("decode", f"{MEASURED}/pope2022_palm_tpuv4.csv"),
    ("serving", f"{MEASURED}/serving_tpot_agg_nvidia.csv"),
    ("serving", "traces/vllm_bench/RTXPRO6000_Llama-3.1-8B_requests.csv"),
    ("serving", "traces/vllm_bench/RTXPRO6000_Qwen3-32B_requests.csv"),
)
"""Not llamacpp_llama3_gpus.csv: on CUDA its kernels of 2024 read far below the rate of the memory, and on the M1 Max
its rows contradict llamacpp_apple_7b.csv. Its runtime counts as not validated."""


def main() -> None:
    """Run every table and write both files."""
    shared, names = Path(sys.argv[1]), {Path(table).stem.removesuffix("_requests") for _, table in TABLES}
    wanted = set(sys.argv[2:]) or names
    found = [residual for residual in shipped_residuals() if residual.table in names - wanted]
    for suite, table in TABLES:
        name = Path(table).stem.removesuffix("_requests")
        if name in wanted:
            mine = residuals_of(run_suite(suite, reference=shared / table, params=None)["rows"], name)
            before = sum(residual.table == name for residual in shipped_residuals())
            print(f"{name}: {len(mine)} residuals, {before} before")
            found += mine
    write_residuals(RESIDUALS, found)
    write_widths(WIDTHS, derived(read_residuals(RESIDUALS)))


if __name__ == "__main__":
    main()
