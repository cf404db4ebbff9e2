"""Run the main commands under what must not matter and compare every byte: `python scripts/determinism.py`.

Each run is a process of its own: other hash seeds, two workers, a study that was stopped and resumed, the opposite
order of tables, designs and options, and each further interpreter of `--python` (of an environment with archsim's
dependencies; figures are those of its matplotlib).
Exits with 1 and the names of files that differ.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path

import click

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests"))

from main_commands import Variant  # noqa: E402

AS_GIVEN = ("compare.out", *(f"c/{name}.svg" for name in ("bandwidth", "cost", "latency", "ledger", "throughput")))
"""Lists designs in the order in which they were named."""


def made(python: str, folder: Path, variant: Variant, seed: str, cache: Path) -> dict[str, str]:
    """Return the digests of one run; print its first line of trouble and exit where it fails."""
    environment = {"PYTHONPATH": str(ROOT), "PYTHONHASHSEED": seed, "XDG_CACHE_HOME": str(cache), "HOME": str(cache)}
    done = subprocess.run(
        [python, str(ROOT / "tests" / "main_commands.py"), str(folder), json.dumps(asdict(variant))],
        env=environment | {"PATH": os.environ["PATH"]}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        raise click.ClickException(done.stderr)
    digests: dict[str, str] = json.loads(done.stdout)["digests"]
    return digests


def different(first: dict[str, str], other: dict[str, str]) -> list[str]:
    """Return the files that only one has, or that differ."""
    return sorted(name for name in first.keys() | other.keys() if first.get(name) != other.get(name))


@click.command()
@click.option("--python", "pythons", multiple=True, help="A further interpreter; any number.")
@click.option("--quick", is_flag=True, help="Interpreters alone, not the variants.")
def main(*, pythons: tuple[str, ...], quick: bool) -> None:
    """Compare, print a line a run, and exit with 1 where a byte differs."""
    runs = [("hash seed 1", sys.executable, Variant(), "1")]
    if not quick:
        runs += [
            ("hash seed 2^32 - 1", sys.executable, Variant(), "4294967295"),
            ("two workers", sys.executable, Variant(workers=2), "0"),
            ("stopped and resumed", sys.executable, Variant(resumed=True), "0"),
            ("other orders", sys.executable, Variant(backwards=True), "0"),
        ]
    runs += [(python, python, Variant(), "0") for python in pythons]
    bad = 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        first = made(sys.executable, folder / "first", Variant(), "0", folder / "cache")
        for number, (title, python, variant, seed) in enumerate(runs):
            cache = folder / ("cache" if python == sys.executable else f"cache{number}")
            wrong = different(first, made(python, folder / str(number), variant, seed, cache))
            if variant.backwards:
                wrong = [file for file in wrong if file not in AS_GIVEN]
            click.echo(
                f"{title}: {len(first) - len(wrong)} of {len(first)} files alike{''.join(f', not {x}' for x in wrong)}"
            )
            bad += len(wrong)
    sys.exit(1 if bad else 0)


if __name__ == "__main__":
    main()
