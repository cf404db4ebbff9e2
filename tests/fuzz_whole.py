"""Targets of several files, and of files that archsim itself has written: whole systems, checkpoints, results."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path

from fuzz_samples import SAMPLES, beside_run, of_run, quietly, stores, text
from fuzzing import Target, packed_parts

from archsim.files import bundled_path

__all__ = ["WHOLE"]

_MAC = ("m4-max", "--model", "qwen3-8b", "--precision", "w8a16kv16")
_GIVEN = ("HERE/input.toml", "--model", "HERE/config.json")
_STEP = ("--batch", "2", "--context", "64")
_TRACE = ("--trace", "HERE/trace.csv")


def _case() -> list[bytes]:
    model = json.loads((bundled_path("workloads") / "models/llama-3.1-8b.json").read_text(encoding="utf-8"))
    system = (bundled_path("hwconfigs") / "systems/h100-sxm8.toml").read_bytes()
    parts = {"input.toml": system, "config.json": json.dumps(model).encode(), "trace.csv": SAMPLES["csv"].encode()}
    return [packed_parts(parts)]


@cache
def _checkpoints() -> list[bytes]:
    """Return a checkpoint of a short run."""
    with tempfile.TemporaryDirectory() as name:
        (Path(name) / "trace.csv").write_text(SAMPLES["csv"], encoding="utf-8")
        kept = Path(name) / "kept"
        every = ("--checkpoint", str(kept), "--checkpoint-every", "1")
        code, said = quietly("run", *_MAC, "--trace", str(Path(name) / "trace.csv"), *every)
        assert code == 0, said
        return [kept.read_bytes()]


def _tiers() -> list[bytes]:
    return [path.read_bytes() for path in sorted((bundled_path("hwconfigs") / "tiers").iterdir())]


def _beside_trace() -> dict[str, bytes]:
    return {"trace.csv": SAMPLES["csv"].encode()}


def _compared(name: str) -> Callable[[], dict[str, bytes]]:
    """Return what gives a run directory and a second one, whose file *name* is absent."""

    def read() -> dict[str, bytes]:
        first = beside_run()
        second = {key.replace("given/", "other/"): value for key, value in first.items() if key != f"given/{name}"}
        return first | second

    return read


WHOLE = (
    Target(
        "generated case",
        "case",
        _case,
        (
            ("run", *_GIVEN, *_STEP, "--assume-capacity"),
            ("run", *_GIVEN, *_TRACE, "--assume-capacity"),
            ("run", *_GIVEN, *_STEP, "--assume-capacity", "--parallel", "auto"),
            ("run", *_GIVEN, *_TRACE, "--assume-capacity", "--metrics", "--economics", "default", "--out", "OUT"),
            ("run", *_GIVEN, *_STEP),
            ("compare", *_GIVEN, *_TRACE, "--no-saturation", "--assume-capacity", "--out", "OUT"),
            ("show", "HERE/input.toml"),
            ("network", "HERE/input.toml", "--bytes", "4KiB:1MiB"),
            ("run", *_GIVEN, *_STEP, "--assume-capacity", "--timeline", "OUT.json.gz"),
        ),
        form="parts",
        weight=60,
    ),
    Target(
        "tier",
        "input.toml",
        _tiers,
        (
            (
                "run",
                "HERE/system.toml",
                "--model",
                "llama-3.1-8b",
                "--precision",
                "w8a16kv16",
                *_TRACE,
            ),
        ),
        beside=lambda: _beside_trace()
        | {
            "system.toml": (
                b'kind = "system"\nname = "s"\ntitle = "t"\nstatus = "hypothetical"\nchip = "h100-sxm"\nchips = 1\n'
                b'runtime = "vllm-2025"\n[network]\ntopology = "none"\n'
                b'[serving]\ntier = "input.toml"\npreemption = "swap"\n'
            )
        },
        form="toml",
        weight=10,
    ),
    Target(
        "checkpoint",
        "kept",
        _checkpoints,
        (("run", *_MAC, *_TRACE, "--resume", "FILE"),),
        beside=_beside_trace,
        form="checkpoint",
        weight=20,
    ),
    Target(
        "result of a figure",
        "given/result.json",
        of_run("result.json"),
        tuple(("figure", kind, "HERE/given", "OUT.svg") for kind in ("ledger", "latency", "cost", "roofline")),
        beside=beside_run,
        form="json",
        weight=4,
    ),
    Target(
        "result beside another",
        "given/result.json",
        of_run("result.json"),
        (("report", "HERE/given", "HERE/other", "--out", "OUT"),),
        beside=_compared("nothing"),
        form="json",
        weight=3,
    ),
    Target(
        "store of a report",
        "input.db",
        stores,
        (("report", "FILE", "--out", "OUT.html"),),
        form="store",
        weight=6,
    ),
    Target("trace in lines", "input.jsonl", text(SAMPLES["jsonl"]), (("run", *_MAC, "--trace", "FILE"),), form="jsonl",
           weight=10),
)  # fmt: skip
"""What `fuzz_targets` adds to the readers of single files."""
