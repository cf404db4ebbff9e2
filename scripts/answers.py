"""Write archsim/dram/answers.json: what the memory floor answers for the bundled systems.

Plans of several models, batches and prompt lengths are laid on every bundled system; each question that their tasks put
to the memory floor is answered by the command-level simulation and kept. Run it after a change of a kernel, a profile,
a timing table or a hwconfig; tests/reference/test_dram_answers.py recomputes a sample.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from pathlib import Path

from archsim.dram import memo
from archsim.errors import InputError
from archsim.files import write_atomically
from archsim.hardware.library import load_system, system_names
from archsim.hardware.system import System
from archsim.mapping.parallelism import Parallelism
from archsim.mapping.sharding import plan_iteration
from archsim.step.work import works_of
from archsim.workload.batch import Batch
from archsim.workload.model import load_model
from archsim.workload.precision import Precision

MODELS = ("llama-2-7b", "llama-3.1-8b", "llama-3.1-70b", "mixtral-8x7b", "qwen3-32b")
PRECISIONS = ("w16a16kv16", "w8a16kv8")
BATCHES = (
    *(Batch.of_decode(sequences, 1000) for sequences in (1, 8, 64, 512)),
    *(Batch.of_prefill(tokens) for tokens in (16, 256, 1024, 2048, 3072, 4096, 6144, 8192, 16384)),
)


def ask(name: str) -> None:
    """Lay plans on system *name*, so that the memory floor is asked and remembers."""
    spec = load_system(name)
    parts, ways = System(spec), Parallelism.default(spec)
    for model in map(load_model, MODELS):
        for text in PRECISIONS:
            for batch in BATCHES:
                try:
                    works_of(plan_iteration(model, Precision.parse(text), ways, spec, batch), parts)
                except InputError:  # the model does not divide over this system's chips, or the dtype is missing
                    break


def main(names: list[str]) -> None:
    """Answer for *names*, or for all bundled systems, and write the table."""
    with tempfile.TemporaryDirectory() as folder:
        os.environ["XDG_CACHE_HOME"] = folder
        for name in names or system_names():
            ask(name)
            print(name, flush=True)
        answers = {path.stem: json.loads(path.read_text())["answer"] for path in Path(folder).rglob("*.json")}
    content = json.dumps({"version": memo.VERSION, "answers": dict(sorted(answers.items()))}, separators=(",", ":"))
    target = Path(memo.__file__).parent / "answers.json"
    write_atomically(target, content.replace("},", "},\n").encode() + b"\n")
    print(f"{len(answers)} answers, {target.stat().st_size} bytes")


if __name__ == "__main__":
    main(sys.argv[1:])
