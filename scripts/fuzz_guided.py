"""Give one reader of archsim what atheris makes, guided by the lines that inputs reach.

`python scripts/fuzz_guided.py TARGET INPUTS FOLDER` begins at the target's good examples, which it writes into
FOLDER/corpus, and keeps there what reached new lines. Every input is judged as any other: what became of it goes to
FOLDER/records, crashes go to FOLDER/crashes.jsonl, one of each place, and FOLDER/last holds what is being tried.
`scripts/fuzz.py` starts a process for each reader. Kernels that Numba compiles are not instrumented: it reads their
bytecode.
"""

from __future__ import annotations

import json
import random
import sys
import tempfile
from pathlib import Path

import atheris

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]
COMPILED = [
    *(f"archsim.dram.{path.stem}" for path in sorted((ROOT / "archsim/dram").glob("kernel_*.py"))),
    *(f"archsim.network.{name}" for name in ("columns", "filling", "sharing")),
]

atheris.instrument_imports(include=["archsim"], exclude=COMPILED).__enter__()  # lazy imports are instrumented, too

from fuzz_damage import damaged  # noqa: E402
from fuzz_targets import TARGETS  # noqa: E402
from fuzzing import (  # noqa: E402
    HANG_LIMIT_S,
    Target,
    bounded_memory,
    command_of,
    compile_exchanges,
    compile_kernels,
    judged,
    recorded,
)


def seeded(target: Target, corpus: Path) -> list[bytes]:
    """Write the examples of *target* into *corpus* and return them."""
    examples = target.examples()
    corpus.mkdir(parents=True, exist_ok=True)
    for number, example in enumerate(examples):
        (corpus / f"example{number}").write_bytes(example)
    return examples


def main() -> None:
    """Fuzz until all inputs are tried; atheris ends the process."""
    name, inputs, folder = sys.argv[1], int(sys.argv[2]), Path(sys.argv[3])
    target = next(target for target in TARGETS if target.name == name)
    examples = seeded(target, folder / "corpus")
    found: set[str] = set()
    inside = Path(tempfile.mkdtemp(dir=folder))
    records = (folder / "records").open("ab", buffering=0)

    def give(content: bytes) -> None:
        number = sum(content) if content else 0
        (folder / "last").write_bytes(content)
        result = judged(target, content, command_of(target, number), inside)
        crash = result.crash
        if crash is not None and crash.place not in found:
            found.add(crash.place)
            with (folder / "crashes.jsonl").open("a", encoding="utf-8") as file:
                file.write(json.dumps([crash.command, crash.place, content.hex()]) + "\n")
        records.write(recorded(result, content))

    def mutate(content: bytes, most: int, seed: int) -> bytes:
        draw = random.Random(seed)
        if draw.randrange(2):
            return bytes(atheris.Mutate(content, most))
        return damaged(content, draw, examples)[:most]

    compile_kernels()
    compile_exchanges()
    options = [f"-runs={inputs}", "-max_len=65536", "-rss_limit_mb=4096", f"-timeout={HANG_LIMIT_S:.0f}", "-seed=1"]
    atheris.Setup([sys.argv[0], *options, str(folder / "corpus")], give, custom_mutator=mutate)
    with bounded_memory():
        atheris.Fuzz()


if __name__ == "__main__":
    main()
