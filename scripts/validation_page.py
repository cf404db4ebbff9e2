"""Write docs/validation.md and docs/images/parity.png from the shared reference data.

Usage: python scripts/validation_page.py ../shared
"""

from __future__ import annotations

import sys
from pathlib import Path

from archsim.files import write_atomically
from archsim.report.parity_figure import points_of, write_parity_figure
from archsim.validation.page import page
from archsim.validation.summary import run_suite

DOCS = Path(__file__).parents[1] / "docs"
MEASURED = "reference/measured"
TABLES = (
    ("dram", "reference/dram/ref_ramulator2.csv"),
    ("dram", "reference/dram/ref_dramsim3.csv"),
    ("kernels", f"{MEASURED}/kernels_gemm_decode_attention.csv"),
    ("kernels", f"{MEASURED}/kernel_decode_attention_nvidia.csv"),
    ("kernels", f"{MEASURED}/kernel_moe_nvidia.csv"),
    ("kernels", f"{MEASURED}/kernel_decode_mla_nvidia.csv"),
    ("kernels", f"{MEASURED}/operators_a100_mi210.csv"),
    ("decode", f"{MEASURED}/gpt_fast_decode.csv"),
    ("decode", f"{MEASURED}/llamacpp_apple_7b.csv"),
    ("decode", f"{MEASURED}/llamacpp_llama3_gpus.csv"),
    ("decode", f"{MEASURED}/splitwise_a100_h100.csv"),
    ("decode", f"{MEASURED}/aws_neuron_decode.csv"),
    ("decode", f"{MEASURED}/argonne_llm_inference_bench.csv"),
    ("decode", f"{MEASURED}/pope2022_palm_tpuv4.csv"),
    ("serving", f"{MEASURED}/serving_tpot_agg_nvidia.csv"),
    ("serving", "traces/vllm_bench/RTXPRO6000_Llama-3.1-8B_requests.csv"),
    ("serving", "traces/vllm_bench/RTXPRO6000_Qwen3-32B_requests.csv"),
    ("collectives", f"{MEASURED}/collectives.csv"),
)

NOTES = """## Choices made on the data

Not parameters of a hwconfig, but made after seeing the errors, so the tables that they touch are not blind tests:

* Small kernels beside the main one, 0 to 4 by operation and type (`_EXTRA` in `validation/kernels.py`): whole numbers
  set from the measured intercepts of A100 and H100, looked at in the same tables.
* How TensorRT-LLM cuts decode attention (`trtllm_cut` in `validation/kernel_tasks.py`): the thresholds are those of its
  source; that its kernel for groups is taken for every fp8 cache, that a merging pass is one kernel, and a wave one
  access to memory, is ours. Grouped and plain heads on H100: 13.7 % mean error before, 11.2 % after.
* How users of a closed loop start: apart for TensorRT-LLM and vLLM, together for SGLang. Both ways were run on
  serving_tpot_agg_nvidia.csv before choosing. Apart: TensorRT-LLM 9.8 %, SGLang 24.6 % mean error of TPOT; together:
  TensorRT-LLM with Llama-3.1-8B 23.3 %, SGLang 10.5 %. SGLang's TTFT speaks for it too (25 % off, against 95 %).
* Host time a sequence of trtllm-2025 and vllm-2025. Before it was set the same table gave 9.8 % (TensorRT-LLM) and
  11.1 % (vLLM): these are the figures nearest to a prediction.
* The all-reduce of two RTX PRO 6000 (NCCL at 27 GB/s) after a first error of 29 %. Llama-3.1-8B on one card was not
  tuned to; vLLM's host time comes from H100. The bytes in flight of the card follow its kernels at one row, what its
  products do not hide those of A100; 20 % and not 25 because of one Splitwise row of A100.
* Heads padded to the cores for Inferentia2 and to the chips for PaLM, caches of Inferentia2 compiled for the prompt and
  the output of a row, and NCCL for TensorRT-LLM of 2024.
* Splitwise end-to-end rows that are shorter than their own time a token allows are skipped (29 of them).

## What misses, and why

* Time to first token of closed loops: the benchmarks behind the rows start all users together more often than not;
  the loop starts them apart, which fits their time per output token. SGLang's rows are modelled as started together.
* Prefill of Splitwise's eager stack on four and eight GPUs: its times grow faster than tokens, which no part of the
  model does.
* llama.cpp on CUDA: its kernels of 2024 read far below the rate of the memory; nothing is fitted to them.
* PaLM on 64 TPU v4: the software time of a collective was set on its decode at batch 64 in int8, the sustained rate of
  the matrix units on its prefill at batch 512; the other four rows follow.
* Elementwise operators of PyTorch on A100 are host time (13 to 48 us a call), for which there is no runtime here.
* Inferentia2's prefill: its time to first token is two to three times what matrix units and memory allow.
* Rows that contradict each other: Splitwise at batch 64 on TP 2, 4 and 8, and H100 TP 2 at batch 32, slower than 64.
* Decode attention on H100 with an fp8 cache where heads are not grouped and pieces are few: what its widening costs is
  counted, that few blocks do it is not. Rows of 8 to 50 us miss most: their benchmark repeats
  on one cache, part of which stays in L2 between repetitions.
"""


def main() -> None:
    """Run every table and write both files."""
    shared = Path(sys.argv[1])
    results = [run_suite(suite, reference=shared / table, params=None) for suite, table in TABLES]
    write_atomically(
        DOCS / "validation.md", page(results, NOTES, run_suite("intervals", reference=None, params=None)).encode()
    )
    panels = [
        (result["reference"].rpartition("/")[2].removesuffix(".csv"), points_of(result["rows"])) for result in results
    ]
    write_parity_figure([panel for panel in panels if panel[1]], DOCS / "images" / "parity.png")


if __name__ == "__main__":
    main()
