"""Every reader of user files, as a target of `fuzzing`: good examples, and the commands that read them.

Also options that are a language of their own: settings, ways to divide a model, precisions, quantities, names.
"""

from __future__ import annotations

import gzip
import json
import tomllib

from fuzz_samples import (
    LINKED,
    SAMPLES,
    beside_run,
    bundled,
    described,
    foreign,
    of_run,
    parquet,
    resolved,
    stores,
    streams,
    system_of,
    text,
)
from fuzz_whole import WHOLE
from fuzzing import Target

__all__ = ["TARGETS"]

_SETTINGS = (
    "chip.memory.hbm.bandwidth=3 TB/s", "chips=4", "runtime.max_batch=8", "network.topology=ring",
    "runtime.prefetch=none", "chip.memory.hbm.stacks=6", 'serving.speculation.profile=["45 %", "30 %"]',
    "runtime=vllm-2025", "chip=h200-sxm", "network.link_latency=1 us", "runtime.collective=nccl",
)  # fmt: skip


def _settings() -> list[bytes]:
    """Return every key of a system with its value, as an option sets it."""
    tables = tomllib.loads(resolved()[0].decode())
    pending, found = [("", tables)], list(_SETTINGS)
    while pending:
        path, table = pending.pop()
        for key, value in table.items():
            if isinstance(value, dict):
                pending.append((f"{path}{key}.", value))
            else:
                found.append(f"{path}{key}={value if isinstance(value, str) else json.dumps(value)}")
    return [text.encode() for text in found]


_WAYS = ("tp=8", "tp=4,pp=2", "ep=8,dp=8", "tp=2,dp=4", "auto", "tp=8,sp=1", "cp=2,tp=4", "pp=8,microbatches=4")
_STEP = ("--batch", "1", "--context", "16")
_SHORT = ("--model", "llama-3.1-8b", "--precision", "w8a16kv16", *_STEP)
_MAC = ("m4-max", "--model", "qwen3-8b", "--precision", "w8a16kv16")

TARGETS = (
    Target(
        "system",
        "input.toml",
        resolved,
        (
            ("show", "FILE"),
            ("show", "FILE", "--sources"),
            ("run", "FILE", *_SHORT),
            ("run", "FILE", *_SHORT),
            ("run", "FILE", *_SHORT, "--timeline", "OUT.json.gz"),
            ("network", "FILE", "--bytes", "4KiB:4KiB"),
            ("near", "FILE", "--set", "chip=h100-sxm-pnm", "--model", "llama-3.1-8b", "--most", "2"),
        ),
        form="toml",
        weight=10,
    ),
    Target(
        "system with a trace",
        "input.toml",
        resolved,
        (("run", "FILE", "--model", "llama-3.1-8b", "--precision", "w8a16kv16", "--trace", "HERE/trace.csv"),),
        beside=lambda: {"trace.csv": SAMPLES["csv"].encode()},
        form="toml",
        weight=10,
    ),
    Target(
        "bundled system",
        "input.toml",
        bundled("hwconfigs", "systems", 40),
        (("show", "FILE"), ("run", "FILE", *_SHORT)),
        form="toml",
        weight=10,
    ),
    Target(
        "chip",
        "input.toml",
        bundled("hwconfigs", "chips", 40),
        (("memory", "FILE"),),
        form="toml",
    ),
    Target(
        "chip of a system",
        "input.toml",
        bundled("hwconfigs", "chips", 40),
        (("show", "HERE/system.toml"), ("run", "HERE/system.toml", *_SHORT, "--assume-capacity")),
        beside=system_of('chip = "input.toml"', 'runtime = "vllm-2025"'),
        form="toml",
        weight=15,
    ),
    Target(
        "runtime",
        "input.toml",
        bundled("hwconfigs", "runtimes"),
        (("show", "HERE/system.toml"), ("run", "HERE/system.toml", *_SHORT, "--assume-capacity")),
        beside=system_of('chip = "h100-sxm"', 'runtime = "input.toml"'),
        form="toml",
        weight=10,
    ),
    Target(
        "memory",
        "input.toml",
        bundled("hwconfigs", "memories", 40),
        (("memory", "FILE"),),
        form="toml",
    ),
    Target(
        "pools",
        "input.toml",
        lambda: [*bundled("hwconfigs", "pools")(), LINKED, LINKED],
        (("show", "FILE"), ("run", "FILE", "--model", "llama-3.1-8b", "--trace", "HERE/trace.csv")),
        beside=lambda: {"trace.csv": SAMPLES["csv"].encode()},
        form="toml",
        weight=10,
    ),
    Target(
        "model",
        "input.json",
        bundled("workloads", "models", 40),
        (("run", "h100-sxm8", "--model", "FILE", *_STEP),),
        form="json",
        weight=15,
    ),
    Target(
        "settings",
        "text",
        _settings,
        (("run", "h100-sxm8", *_SHORT, "--set", "TEXT"), ("show", "h100-sxm8", "--set", "TEXT")),
        form="setting",
    ),
    Target(
        "ways",
        "text",
        text(*_WAYS),
        (("run", "h100-sxm8", "--model", "mixtral-8x7b", *_STEP, "--parallel", "TEXT"),),
        form="pairs",
        weight=10,
    ),
    Target(
        "precision",
        "text",
        text("w8a16kv8", "w4g128a16kv8", "bf16", "fp8", "w4a8"),
        (("run", "h100-sxm8", "--model", "llama-3.1-8b", *_STEP, "--precision", "TEXT"),),
        form="words",
    ),
    Target(
        "quantities",
        "text",
        text("50 ms", "1KiB:1GiB", "10ms..20ms", "1000:1000000", "5 req/s", "512+3584", "10 %"),
        (
            ("run", *_MAC, "--trace", "HERE/t.csv", "--metrics", "--slo-ttft", "TEXT"),
            ("network", "h100-sxm8", "--bytes", "TEXT"),
            ("trace", "convert", "HERE/t.csv", "OUT.csv", "--poisson", "TEXT"),
            ("trace", "convert", "HERE/t.csv", "OUT.csv", "--retrieve", "TEXT"),
            ("trace", "convert", "HERE/t.csv", "OUT.csv", "--start", "TEXT"),
            ("run", *_MAC, *_STEP, "--timeline", "OUT.json.gz", "--timeline-window", "TEXT"),
        ),
        beside=lambda: {"t.csv": SAMPLES["csv"].encode()},
        form="words",
    ),
    Target(
        "names",
        "text",
        text("h100-sxm8", "../x", "llama-3.1-8b", "azure-conv", "a" * 5000),
        (
            ("show", "TEXT"),
            ("run", "m4-max", "--model", "TEXT", *_STEP),
            ("trace", "inspect", "TEXT", "--limit", "3"),
            ("memory", "TEXT"),
            ("sweep", "TEXT", "--limit", "1"),
            ("report", "TEXT", "--out", "OUT"),
        ),
        form="words",
    ),
    Target(
        "trace",
        "input.csv",
        text(SAMPLES["csv"]),
        (
            ("trace", "inspect", "FILE"),
            ("run", *_MAC, "--trace", "FILE", "--limit", "3"),
            ("trace", "convert", "FILE", "OUT.jsonl", "--prompt-scale", "2", "--rate-scale", "3"),
        ),
        form="csv",
        weight=20,
    ),
    Target(
        "lines",
        "input.jsonl",
        text(SAMPLES["jsonl"], SAMPLES["mooncake"]),
        (("trace", "inspect", "FILE"), ("trace", "convert", "FILE", "OUT.csv", "--retrieve", "10+20")),
        form="jsonl",
    ),
    Target(
        "parquet",
        "input.parquet",
        parquet,
        (("trace", "inspect", "FILE"),),
        needs="pyarrow",
        form="parquet",
    ),
    Target(
        "benchmark",
        "input.json",
        text(SAMPLES["vllm"]),
        (("trace", "show", "FILE"),),
        form="json",
    ),
    Target(
        "rates of clients",
        "x_rates.csv",
        text(SAMPLES["rates"]),
        (("trace", "inspect", "FILE", "--limit", "9"),),
        beside=lambda: {"x_lengths.jsonl": SAMPLES["lengths"].encode()},
        form="csv",
    ),
    Target(
        "lengths of clients",
        "x_lengths.jsonl",
        text(SAMPLES["lengths"]),
        (("trace", "inspect", "HERE/x_rates.csv", "--limit", "9"),),
        beside=lambda: {"x_rates.csv": SAMPLES["rates"].encode()},
        form="jsonl",
    ),
    Target(
        "decode trace",
        "input.jsonl",
        text(SAMPLES["decoding"]),
        (("run", "m4-max", "--model", "qwen3-8b", "--decode-only", "FILE"),),
        form="jsonl",
        weight=10,
    ),
    Target(
        "operator graph",
        "input.et",
        lambda: [*streams(), SAMPLES["graph"].encode()],
        (("trace", "replay", "FILE", "h100-sxm8"),),
        form="graph",
    ),
    Target(
        "packed trace",
        "input.csv.gz",
        lambda: [gzip.compress(SAMPLES["csv"].encode(), mtime=0)],
        (("trace", "inspect", "FILE"),),
    ),
    Target(
        "sampler",
        "input.toml",
        bundled("workloads", "samplers"),
        (("trace", "inspect", "FILE", "--limit", "9"),),
        form="toml",
    ),
    Target(
        "routes",
        "input.csv",
        text(SAMPLES["routes"]),
        (("run", "h100-sxm8", "--model", "mixtral-8x7b", *_STEP, "--parallel", "ep=8,experts=FILE"),),
        form="csv",
        weight=10,
    ),
    Target(
        "study",
        "input.toml",
        bundled("workloads", "studies"),
        (("sweep", "FILE", "--limit", "1", "--workers", "1", "--store", "OUT"),),
        form="toml",
        weight=6,
    ),
    Target(
        "store",
        "input.db",
        stores,
        (("study", "export", "FILE", "OUT.csv"), ("study", "merge", "FILE", "--into", "OUT.db")),
        form="store",
    ),
    Target(
        "economics",
        "input.toml",
        bundled("hwconfigs", "economics"),
        (("run", "m4-max", "--model", "qwen3-8b", *_STEP, "--economics", "FILE"),),
        form="toml",
    ),
    Target(
        "result",
        "given/result.json",
        of_run("result.json"),
        (
            ("report", "FILE", "--out", "OUT"),
            ("whatif", "HERE/given", "--set", "chips=1", "--trace-file", "HERE/trace.csv"),
        ),
        beside=beside_run,
        form="json",
        weight=6,
    ),
    Target(
        "requests of a run",
        "given/requests.csv.gz",
        of_run("requests.csv.gz"),
        (("report", "HERE/given", "--out", "OUT"),),
        beside=beside_run,
        packed=True,
        form="csv",
        weight=6,
    ),
    Target(
        "ledger of a run",
        "given/ledger.csv.gz",
        of_run("ledger.csv.gz"),
        (("report", "HERE/given", "--out", "OUT"),),
        beside=beside_run,
        packed=True,
        form="csv",
        weight=6,
    ),
    Target(
        "configuration of a run",
        "given/config.resolved.toml",
        of_run("config.resolved.toml"),
        (
            ("report", "HERE/given", "--out", "OUT"),
            ("whatif", "HERE/given", "--set", "chips=1", "--trace-file", "HERE/trace.csv"),
        ),
        beside=beside_run,
        form="toml",
    ),
    Target("other simulators", "input", foreign, (("import", "FILE"), ("import", "FILE", "--json"))),
    Target(
        "network rows",
        "input.json",
        text(SAMPLES["network"], SAMPLES["fifo"]),
        (("validate", "network", "--reference", "FILE"),),
        form="json",
    ),
    Target(
        "decode rows",
        "input.csv",
        text(SAMPLES["decode"]),
        (
            ("validate", "decode", "--reference", "FILE"),
            ("validate", "power", "--reference", "FILE"),
            ("validate", "intervals", "--reference", "FILE"),
        ),
        form="csv",
    ),
    Target(
        "serving rows",
        "input.csv",
        text(SAMPLES["serving"]),
        (
            ("validate", "serving", "--reference", "FILE"),
            (
                "calibrate",
                "--on",
                "serving",
                "--reference",
                "FILE",
                "--rows",
                "gpu=h100_sxm",
                "--parameters",
                "runtime.ramp",
            ),
        ),
        form="csv",
        weight=10,
    ),
    Target(
        "collective rows",
        "input.csv",
        text(SAMPLES["collectives"]),
        (("validate", "collectives", "--reference", "FILE"),),
        form="csv",
    ),
    Target(
        "kernel rows",
        "input.csv",
        text(SAMPLES["products"], SAMPLES["experts"], SAMPLES["vidur"], SAMPLES["layers"]),
        (
            ("validate", "kernels", "--reference", "FILE"),
            (
                "calibrate",
                "--on",
                "kernels",
                "--reference",
                "FILE",
                "--rows",
                "gpu=H100",
                "--parameters",
                "runtime.ramp",
            ),
        ),
        form="csv",
    ),
    Target(
        "attacc rows",
        "input.csv",
        text(SAMPLES["attacc"]),
        (("validate", "attacc", "--reference", "FILE"),),
        form="csv",
    ),
    Target(
        "dram rows",
        "input.csv",
        text(SAMPLES["dram"]),
        (("validate", "dram", "--reference", "FILE", "--params", "HERE/params.json"),),
        beside=lambda: {"params.json": described()[0]},
        form="csv",
        weight=10,
    ),
    Target(
        "dram parameters",
        "params.json",
        described,
        (("validate", "dram", "--reference", "HERE/rows.csv", "--params", "FILE"),),
        beside=lambda: {"rows.csv": SAMPLES["dram"].encode()},
        form="json",
    ),
    Target(
        "stage rows",
        "input.csv",
        text(SAMPLES["stages"]),
        (("validate", "pim", "--reference", "FILE"),),
        form="csv",
        weight=10,
    ),
    *WHOLE,
)
"""Every reader of user files."""
