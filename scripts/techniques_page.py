"""Write the table of what techniques change in bytes and FLOPs into docs/workloads.md.

Usage: `python scripts/techniques_page.py`. A test compares the page with what this makes, so that no figure in it is
typed by hand.
"""

from __future__ import annotations

import re
from pathlib import Path

from archsim.files import write_atomically
from archsim.hardware.library import load_system
from archsim.mapping.parallelism import Parallelism
from archsim.mapping.plan import Plan
from archsim.mapping.sharding import plan_iteration
from archsim.workload.batch import Batch
from archsim.workload.model import load_model
from archsim.workload.precision import Precision

PAGE = Path(__file__).parents[1] / "docs" / "workloads.md"
BEGIN, END = "<!-- written by scripts/techniques_page.py -->\n", "<!-- end -->\n"
BATCH, CONTEXT = 8, 2000
SYSTEM = "rtx-pro-6000"
ROWS = (
    ("as it is", "llama-3.1-8b", "w16a16kv16"),
    ("8-bit weights", "llama-3.1-8b", "w8a16kv16"),
    ("8-bit weights and activations", "llama-3.1-8b", "w8a8kv16"),
    ("4-bit weights", "llama-3.1-8b", "w4a16kv16"),
    ("4-bit weights, a 16-bit scale for 128", "llama-3.1-8b", "w4g128a16kv16"),
    ("2-bit weights, a 16-bit scale for 64", "llama-3.1-8b", "w2g64a16kv16"),
    ("MXFP4 weights: an 8-bit scale for 32", "llama-3.1-8b", "wmxfp4a16kv16"),
    ("2 of 4 weights kept", "llama-3.1-8b", "w8x2of4a16kv16"),
    ("half of the weights kept, anywhere", "llama-3.1-8b", "w16x50a16kv16"),
    ("8-bit KV", "llama-3.1-8b", "w16a16kv8"),
    ("4-bit KV, a scale for 64", "llama-3.1-8b", "w16a16kv4g64"),
    ("2-bit KV, a scale for 32", "llama-3.1-8b", "w16a16kv2g32"),
    ("half of the tokens leave after layer 16", "llama-3.1-8b+exit=16:50", "w16a16kv16"),
    ("latent attention, 64 experts of which 6", "deepseek-v2-lite", "w16a16kv16"),
    ("sliding windows in 5 of 6 layers", "gemma-3-12b", "w16a16kv16"),
    ("a student of 3.8 B parameters", "phi-3-mini-4k", "w16a16kv16"),
)
"""(what it is, model, precision)"""


def sums_of(plan: Plan) -> tuple[int, int, int, int]:
    """Return bytes of weights and of the KV cache, and FLOPs of the matrix and vector engines."""
    tasks = [(task, segment.repeats) for segment in plan.segments for task in segment.tasks]
    moved = [(each, times) for task, times in tasks for each in task.transfers]
    return (
        sum(times * each.bytes for each, times in moved if each.tensor == "weights"),
        sum(times * each.bytes for each, times in moved if each.tensor.startswith("kv")),
        sum(times * task.matrix_flops for task, times in tasks),
        sum(times * task.vector_flops for task, times in tasks),
    )


def table() -> str:
    """Return the table, a line a technique."""
    system, batch = load_system(SYSTEM), Batch.of_decode(BATCH, CONTEXT)
    lines = [
        "| technique | model and precision | weights | KV | matrix FLOPs | vector FLOPs |",
        "|---|---|---|---|---|---|",
    ]
    for what, name, precision in ROWS:
        plan = plan_iteration(load_model(name), Precision.parse(precision), Parallelism(1), system, batch)
        weights, cache, matrix, vector = sums_of(plan)
        lines.append(
            f"| {what} | `{name}` `{precision}` | {weights / 1e9:.2f} GB | {cache / 1e9:.3f} GB "
            f"| {matrix / 1e9:.1f} G | {vector / 1e9:.2f} G |"
        )
    return "\n".join(lines) + "\n"


def page(text: str) -> str:
    """Return *text* with the table in its place."""
    return re.sub(f"{re.escape(BEGIN)}.*?{re.escape(END)}", lambda _: BEGIN + table() + END, text, flags=re.DOTALL)


if __name__ == "__main__":
    write_atomically(PAGE, page(PAGE.read_text(encoding="utf-8")).encode())
