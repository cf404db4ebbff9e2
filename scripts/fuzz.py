"""Give damaged files to every reader of archsim and print what crashed: `python scripts/fuzz.py --inputs 200000`."""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import click

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from fuzzing import TARGETS, Crash, Target, bounded_memory, compile_kernels, inputs_of, tried


def tried_all(targets: list[Target], inputs: int, seed: int) -> tuple[dict[str, Crash], Counter[str]]:
    """Return one crash of each place, and how many inputs each target took."""
    found: dict[str, Crash] = {}
    counts: Counter[str] = Counter()
    compile_kernels()
    with tempfile.TemporaryDirectory() as name, bounded_memory():
        for target in targets:
            began = time.process_time()
            for number, content in enumerate(inputs_of(target, seed, inputs // len(targets))):
                command = target.commands[number % len(target.commands)]
                crash = tried(target, content, command, Path(name))
                counts[target.name] += 1
                if crash is not None and found.setdefault(crash.place, crash) is crash:
                    click.echo(f"{target.name}: {' '.join(command)}: {crash.place}", err=True)
            click.echo(f"{target.name}: {counts[target.name]:,} in {time.process_time() - began:.0f} CPU s", err=True)
    return found, counts


@click.command(context_settings={"show_default": True})
@click.option("--inputs", default=20_000, help="How many, over all targets.")
@click.option("--seed", default=0)
@click.option("--target", "names", multiple=True, help="Only these targets.")
@click.option("--out", type=click.Path(path_type=Path), help="Write the inputs that crashed into this folder.")
def main(inputs: int, seed: int, names: tuple[str, ...], out: Path | None) -> None:
    """Try, count, and exit with 1 where anything crashed."""
    targets = [target for target in TARGETS if not names or target.name in names]
    with tempfile.TemporaryDirectory() as cache:
        os.environ["XDG_CACHE_HOME"] = cache
        found, counts = tried_all(targets, inputs, seed)
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
        for number, crash in enumerate(found.values()):
            (out / f"crash{number}.txt").write_text(f"{crash.target}\n{crash.command}\n{crash.place}\n")
            (out / f"crash{number}.bin").write_bytes(crash.content)
    click.echo(f"{counts.total():,} inputs, {len(found)} places that crash")
    sys.exit(1 if found else 0)


if __name__ == "__main__":
    main()
