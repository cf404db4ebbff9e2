"""Published figures that stand in the project itself: what `archsim validate` compares with where no file is given.

Facts with their sources, one row a figure, in the columns of the decode schema.
"""

from __future__ import annotations

from archsim.validation.table import Record

__all__ = ["DECODE", "KERNELS", "POWER", "SERVING"]

_COLUMNS = ("system", "chips", "model", "precision", "batch", "input_len", "output_len", "metric", "value", "unit",
            "source")  # fmt: skip
_GPT_FAST = "pytorch-labs/gpt-fast README (BSD-3)"
_SPLITWISE = "Splitwise, ISCA 2024, figures by Mutinifni/splitwise-sim (MIT)"
_LLAMA_CPP = "llama.cpp discussion 4167"
_ARGONNE = "LLM-Inference-Bench, SC24 workshop, argonne-lcf; TensorRT-LLM"
_POPE = "Pope et al. 2022, arXiv 2211.05102"
_NEURON = "AWS Neuron SDK benchmarks, Inf2.48xlarge, Transformers NeuronX, Neuron 2.18.1"
_A100, _M2, _TPU = "A100-SXM4-80GB-330W", "Apple M2 Ultra (76-core GPU, 800 GB/s)", "TPU v4"

_FIGURES = (
    (_A100, 1, "Llama-2-7B", "bf16", 1, 5, "", "decode_tokens_per_s", 104.9, "tok/s/user", _GPT_FAST),
    (_A100, 1, "Llama-2-7B", "int8-weight", 1, 5, "", "decode_tokens_per_s", 155.58, "tok/s/user", _GPT_FAST),
    (_A100, 2, "Llama-2-70B", "bf16", 1, 5, "", "decode_tokens_per_s", 21.32, "tok/s/user", _GPT_FAST),
    (_A100, 8, "Llama-2-70B", "bf16", 1, 5, "", "decode_tokens_per_s", 62.5, "tok/s/user", _GPT_FAST),
    ("a100-80gb", 2, "llama2-70b", "fp16", 1, 512, 128, "decode_time_per_token", 54.8, "ms/token", _SPLITWISE),
    ("a100-80gb", 8, "llama2-70b", "fp16", 1, 512, 128, "decode_time_per_token", 44.9, "ms/token", _SPLITWISE),
    ("h100-80gb", 2, "llama2-70b", "fp16", 1, 512, 128, "decode_time_per_token", 37.0, "ms/token", _SPLITWISE),
    ("h100-80gb", 8, "llama2-70b", "fp16", 1, 512, 128, "decode_time_per_token", 29.7, "ms/token", _SPLITWISE),
    (_M2, 1, "LLaMA-7B", "F16", 1, 0, 128, "decode_tokens_per_s", 41.02, "tok/s", _LLAMA_CPP),
    (_M2, 1, "LLaMA-7B", "Q8_0", 1, 0, 128, "decode_tokens_per_s", 66.64, "tok/s", _LLAMA_CPP),
    (_M2, 1, "LLaMA-7B", "Q4_0", 1, 0, 128, "decode_tokens_per_s", 94.27, "tok/s", _LLAMA_CPP),
    ("Nvidia A100 GPU", 1, "Llama-3-8B", "fp16", 1, 1024, 1024, "e2e_latency", 14.86, "s", _ARGONNE),
    ("Nvidia H100 GPU", 1, "Llama-3-8B", "fp16", 1, 1024, 1024, "e2e_latency", 7.73, "s", _ARGONNE),
    ("Inferentia2", 12, "Llama-3-8B", "int8", 1, 2048, 2048, "tpot_p50", 6.5, "ms", _NEURON),
    (_TPU, 64, "PaLM-540B", "int8", 64, 2048, 64, "latency_decode_64_tokens", 1.82, "s", _POPE),
    (_TPU, 64, "PaLM-540B", "bf16", 512, 2048, 64, "latency_decode_64_tokens", 6.0, "s", _POPE),
)
"""Cells in the order of the columns."""

DECODE: tuple[Record, ...] = tuple(dict(zip(_COLUMNS, map(str, cells), strict=True)) for cells in _FIGURES)
"""Figures of the decode suite as rows of its schema."""

_POWER_METRIC = "average_power_fraction_of_tdp"
_POWERS = tuple(
    ("a100-80gb", chips, "llama2-70b", "fp16", batch, prompt, 128, _POWER_METRIC, share, "", _SPLITWISE)
    for chips, batch, prompt, share in (
        (2, 1, 512, 0.736), (4, 1, 512, 0.599), (8, 1, 512, 0.435), (2, 16, 512, 0.794), (8, 16, 512, 0.458),
        (2, 1, 4096, 0.679), (8, 1, 4096, 0.387),
    )
)  # fmt: skip
POWER: tuple[Record, ...] = tuple(dict(zip(_COLUMNS, map(str, cells), strict=True)) for cells in _POWERS)
"""Figures of the power suite as rows of the decode schema."""

_KERNEL_COLUMNS = ("system", "op", "dtype", "m_or_batch", "n", "k", "kv_len", "q_heads", "kv_heads", "head_dim",
                   "kv_dtype", "latency_us")  # fmt: skip
_PRODUCTS = tuple(
    (system, "gemm", dtype, rows, columns, inner, "", "", "", "", "", latency_us)
    for system, dtype, rows, columns, inner, latency_us in (
        ("A100-SXM4-80GB", "bfloat16", 1, 4096, 4096, 26.214),
        ("A100-SXM4-80GB", "bfloat16", 1, 16384, 16384, 320.683),
        ("A100-SXM4-80GB", "int4_wo", 1, 8192, 8192, 37.888),
        ("H100-SXM5-80GB", "bfloat16", 1, 4096, 4096, 16.56),
        ("H100-SXM5-80GB", "bfloat16", 1, 16384, 16384, 186.144),
        ("H100-SXM5-80GB", "fp8", 1, 4096, 4096, 18.491),
        ("H100-SXM5-80GB", "fp8", 16, 8192, 8192, 37.707),
    )
)
_ATTENTIONS = tuple(
    ("H100-SXM5-80GB", "decode_attention", "bfloat16", batch, "", "", context, 32, 8, 128, "bfloat16", latency_us)
    for batch, times in (
        (1, (12.619, 15.184, 24.011)),
        (16, (48.331, 105.456, 190.779)),
        (64, (107.589, 365.333, 715.376)),
    )
    for context, latency_us in zip((1024, 4096, 8192), times, strict=True)
)
KERNELS: tuple[Record, ...] = tuple(
    dict(zip(_KERNEL_COLUMNS, map(str, cells), strict=True)) for cells in (*_PRODUCTS, *_ATTENTIONS)
)
"""Products of few rows and decode attention: ai-dynamo/aiconfigurator (Apache-2.0), TensorRT-LLM measurements."""

_SERVING_COLUMNS = ("model", "gpu_system", "weight_precision", "engine", "input_tokens", "output_tokens", "concurrency",
                    "tensor_parallel", "measured_ttft_ms", "measured_tpot_ms")  # fmt: skip
_LOOPS = (
    ("Qwen/Qwen3-32B", "h100_sxm", "fp8", "trtllm", 1024, 128, 8, 1, 271.983, 18.652),
    ("Qwen/Qwen3-32B", "h100_sxm", "fp8", "trtllm", 1024, 128, 64, 4, 230.844, 24.6527),
    ("Qwen/Qwen3-32B", "h100_sxm", "", "vllm", 1024, 128, 16, 2, 187.938, 22.1835),
    ("Qwen/Qwen3-32B", "h100_sxm", "", "sglang", 1024, 128, 16, 4, 492.761, 10.5506),
)
SERVING: tuple[Record, ...] = tuple(dict(zip(_SERVING_COLUMNS, map(str, cells), strict=True)) for cells in _LOOPS)
"""Closed loops: ai-dynamo/aiconfigurator (Apache-2.0), silicon_sample.csv."""
