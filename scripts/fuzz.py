"""Give damaged files to every reader of archsim and print what crashed: `python scripts/fuzz.py --inputs 200000`.

The engine `random` damages good files blindly and is the same for the same seed. `atheris` (`pip install atheris`)
keeps what reached new lines of archsim and damages that further, target by target, for a time.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
from itertools import islice
from pathlib import Path

import click

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from fuzz_targets import TARGETS
from fuzzing import Crash, Tally, Target, compile_kernels, inputs_of, watched

AT_ONCE = 250


def tally_of(target: Target, seed: int, inputs: int, folder: Path) -> Tally:
    """Try *inputs* of *target*."""
    found = Tally(0, [], 0.0, 0.0, 0)
    every = inputs_of(target, seed, inputs)
    while contents := list(islice(every, AT_ONCE)):
        part = watched(target, contents, folder)
        found.inputs += part.inputs
        found.crashes += part.crashes
        found.cpu_s += part.cpu_s
        found.longest_s = max(found.longest_s, part.longest_s)
        found.most_bytes = max(found.most_bytes, part.most_bytes)
    return found


def tried_all(targets: list[Target], inputs: int, seed: int) -> tuple[int, dict[str, Crash]]:
    """Return how many inputs were tried, and one crash of each place."""
    places: dict[str, Crash] = {}
    tried = 0
    compile_kernels()
    click.echo(f"{'target':24} {'inputs':>7} {'crashes':>7} {'CPU s':>7} {'slowest, CPU s':>14} {'most MB':>7}")
    weights = sum(target.weight for target in targets)
    for target in targets:
        share = -(-inputs * target.weight // weights)
        with tempfile.TemporaryDirectory() as name:
            found = tally_of(target, seed, share, Path(name))
        tried += found.inputs
        click.echo(
            f"{target.name:24} {found.inputs:7,} {len(found.crashes):7} {found.cpu_s:7.0f} {found.longest_s:14.1f} "
            f"{found.most_bytes / 1e6:7.0f}"
        )
        for crash in found.crashes:
            if places.setdefault(crash.place, crash) is crash:
                click.echo(f"  {' '.join(crash.command)[:80]}: {crash.place}")
    return tried, places


def guided(targets: list[Target], seconds: int, folder: Path) -> tuple[int, dict[str, Crash]]:
    """Return how many inputs atheris gave to *targets*, *seconds* each, and one crash of each place."""
    script = Path(__file__).with_name("fuzz_guided.py")
    places: dict[str, Crash] = {}
    tried = 0
    for target in targets:
        own = folder / target.name.replace(" ", "-")
        own.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, str(script), target.name, str(seconds), str(own)]
        done = subprocess.run(command, check=False, capture_output=True, text=True, errors="replace")
        units = re.search(r"number_of_executed_units:\s*(\d+)", done.stderr)
        lines = re.findall(r"cov: (\d+)", done.stderr)
        tried += int(units[1]) if units else 0
        click.echo(f"{target.name:24} {units[1] if units else 'ended early':>11} inputs, {lines[-1:] or '-'} lines")
        if not units:
            click.echo(done.stderr[-1000:], err=True)
        if (own / "crashes.jsonl").is_file():
            for line in (own / "crashes.jsonl").read_text(encoding="utf-8").splitlines():
                name, words, place, content = json.loads(line)
                places.setdefault(place, Crash(name, tuple(words), place, bytes.fromhex(content)))
                click.echo(f"  {' '.join(words)[:80]}: {place}")
    return tried, places


@click.command(context_settings={"show_default": True})
@click.option("--engine", type=click.Choice(["random", "atheris"]), default="random")
@click.option("--inputs", default=20_000, help="random: how many, over all targets.")
@click.option("--seconds", default=30, help="atheris: for each target.")
@click.option("--corpus", type=click.Path(path_type=Path), help="atheris: keep what reached new lines in this folder.")
@click.option("--seed", default=0, help="random: of the damage.")
@click.option("--target", "names", multiple=True, help="Only these targets.")
@click.option("--out", type=click.Path(path_type=Path), help="Write the inputs that crashed into this folder.")
def main(  # one parameter an option
    *, engine: str, inputs: int, seconds: int, corpus: Path | None, seed: int, names: tuple[str, ...], out: Path | None
) -> None:
    """Try, count, and exit with 1 where anything crashed."""
    targets = [target for target in TARGETS if not names or target.name in names]
    with tempfile.TemporaryDirectory() as cache:
        os.environ.setdefault("XDG_CACHE_HOME", cache)
        if engine == "random":
            tried, places = tried_all(targets, inputs, seed)
        else:
            tried, places = guided(targets, seconds, corpus or Path(cache) / "corpus")
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
        for number, crash in enumerate(places.values()):
            (out / f"crash{number}.txt").write_text(f"{crash.target}\n{crash.command}\n{crash.place}\n")
            (out / f"crash{number}.bin").write_bytes(crash.content)
    click.echo(f"{tried:,} inputs, {len(places)} places that crash")
    sys.exit(1 if places else 0)


if __name__ == "__main__":
    main()
