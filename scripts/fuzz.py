"""Give hostile files to every reader of archsim, judge each, and print a table: `python scripts/fuzz.py`.

Three engines share the inputs: `damage` breaks good files blindly, `grammar` lets Hypothesis draw files that are well
formed and mostly valid, generated systems with a model and a trace among them, `atheris` (`pip install atheris`) keeps
what reached new lines of archsim and damages that further. All but atheris give the same inputs for the same seed.

Work comes in units of a reader, an engine and a number. With `--keep FOLDER` each finished unit is a line of a file
there: a run that was stopped goes on from it, `--part 1/2` and `--part 2/2` share a folder, and once all units are
there the same command prints the table and tries nothing. A folder is of one state of the code.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from fuzz_damage import inputs_of  # noqa: E402
from fuzz_grammar import drawn_inputs_of  # noqa: E402
from fuzz_targets import TARGETS  # noqa: E402
from fuzzing import (  # noqa: E402
    MEMORY_LIMIT_BYTES,
    Crash,
    Stage,
    Tally,
    Target,
    compile_exchanges,
    compile_kernels,
    tally_of,
    watched,
)

AT_ONCE = 250
SHARES = {"damage": 40, "grammar": 40, "atheris": 20}


@dataclass(frozen=True)
class Unit:
    """Some inputs of one reader by one engine."""

    target: Target
    engine: str
    number: int
    inputs: int

    @property
    def name(self) -> str:
        """What it is called in a folder."""
        return f"{self.target.name}/{self.engine}/{self.number}/{self.inputs}"


def units_of(targets: list[Target], engines: tuple[str, ...], inputs: int) -> list[Unit]:
    """Return the units that *inputs* are made of, or a few more."""
    found = []
    weights = sum(target.weight for target in targets) * sum(SHARES[engine] for engine in engines)
    for target in targets:
        for engine in engines:
            share = -(-inputs * target.weight * SHARES[engine] // weights)
            size = share if engine == "atheris" else AT_ONCE
            found += [Unit(target, engine, at, min(size, share - at * size)) for at in range(-(-share // size))]
    return found


def done(unit: Unit, seed: int) -> Tally:
    """Try the inputs of *unit*."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if unit.engine == "atheris":
            return guided(unit, folder)
        draw = inputs_of if unit.engine == "damage" else drawn_inputs_of
        return watched(unit.target, list(draw(unit.target, seed * 100_000 + unit.number, unit.inputs)), folder)


def guided(unit: Unit, folder: Path) -> Tally:
    """Let atheris try *unit* in a process of its own. A process that ends early is a crash, too."""
    script = Path(__file__).with_name("fuzz_guided.py")
    command = [sys.executable, str(script), unit.target.name, str(unit.inputs), str(folder)]
    ended = subprocess.run(command, check=False, capture_output=True, text=True, errors="replace")
    records = folder / "records"
    found = tally_of(records.read_bytes() if records.is_file() else b"")
    kept = folder / "crashes.jsonl"
    for line in kept.read_text(encoding="utf-8").splitlines() if kept.is_file() else ():
        words, place, content = json.loads(line)
        found.crashes.append(Crash(unit.target.name, tuple(words), place, bytes.fromhex(content)))
    if found.inputs < unit.inputs:
        last = folder / "last"
        place = f"atheris ended with {ended.returncode} after {found.inputs} inputs: {ended.stderr[-300:]}"
        found.crashes.append(Crash(unit.target.name, (), place, last.read_bytes() if last.is_file() else b""))
    return found


def code_digest() -> str:
    """Return a digest of what is fuzzed and of what fuzzes it."""
    files = [*(ROOT / "archsim").rglob("*.py"), *(ROOT / "hwconfigs").rglob("*.toml"), *(ROOT / "tests").glob("fuzz*")]
    digest = hashlib.sha256()
    for file in sorted(file for file in files if file.is_file()):
        digest.update(str(file.relative_to(ROOT)).encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()[:16]


def line_of(unit: Unit, head: dict[str, Any], tally: Tally) -> str:
    """Return what is kept of a finished *unit*."""
    crashes = [[crash.target, crash.command, crash.place, crash.content.hex()] for crash in tally.crashes]
    stages = {str(int(stage)): count for stage, count in sorted(tally.stages.items())}
    sums = {"inputs": tally.inputs, "cpu_s": tally.cpu_s, "longest_s": tally.longest_s, "most_bytes": tally.most_bytes}
    different = sorted(tally.different)
    return json.dumps({"unit": unit.name, **head, **sums, "stages": stages, "crashes": crashes, "different": different})


def kept_units(folder: Path, head: dict[str, Any]) -> dict[str, Tally]:
    """Return what is finished: name of a unit -> its tally. Refuses a folder of other code or another seed."""
    found = {}
    for file in sorted(folder.glob("units-*.jsonl")):
        for line in file.read_text(encoding="utf-8").splitlines():
            try:
                one = json.loads(line)
            except ValueError:  # the line that was being written when it was stopped
                continue
            if any(one[key] != value for key, value in head.items()):
                raise click.ClickException(f"{file}: units of other code or another seed; take another folder")
            tally = Tally(one["inputs"], cpu_s=one["cpu_s"], longest_s=one["longest_s"], most_bytes=one["most_bytes"])
            tally.stages.update({int(stage): count for stage, count in one["stages"].items()})
            tally.crashes = [
                Crash(name, tuple(w), place, bytes.fromhex(hexed)) for name, w, place, hexed in one["crashes"]
            ]
            tally.different = set(one["different"])
            found[one["unit"]] = tally
    return found


def summed(tallies: list[Tally]) -> Tally:
    """Return the sum of *tallies*."""
    total = Tally()
    for tally in tallies:
        total.inputs += tally.inputs
        total.cpu_s += tally.cpu_s
        total.stages += tally.stages
        total.crashes += tally.crashes
        total.different |= tally.different
        total.longest_s = max(total.longest_s, tally.longest_s)
        total.most_bytes = max(total.most_bytes, tally.most_bytes)
    return total


def table(units: list[Unit], tallies: dict[str, Tally]) -> Iterator[str]:
    """Yield a line a reader, one an engine, and the sum."""
    yield (f"{'reader':24} {'inputs':>7} {'different':>9} {'accepted':>8} {'failed':>6} {'refused':>7} {'unread':>7} "
           f"{'findings':>8} {'CPU s':>7} {'slowest s':>9} {'most MB':>7}")  # fmt: skip
    names = [
        *((name, "target") for name in dict.fromkeys(unit.target.name for unit in units)),
        *((engine, "engine") for engine in dict.fromkeys(unit.engine for unit in units)),
        ("all", ""),
    ]
    for name, of in names:
        chosen = [u for u in units if not of or name == (u.engine if of == "engine" else u.target.name)]
        total = summed([tallies[unit.name] for unit in chosen if unit.name in tallies])
        stages = total.stages
        yield (
            f"{name:24} {total.inputs:7,} {len(total.different):9,} {stages[Stage.ACCEPTED]:8,} "
            f"{stages[Stage.FAILED]:6,} {stages[Stage.REFUSED]:7,} {stages[Stage.UNREAD]:7,} {len(total.crashes):8,} "
            f"{total.cpu_s:7.0f} {total.longest_s:9.2f} {total.most_bytes / 1e6:7.0f}"
        )


def finish(units: list[Unit], tallies: dict[str, Tally], out: Path | None) -> int:
    """Print the table and a finding of each place, write the inputs that crashed into *out*, return the exit code."""
    click.echo("\n".join(table(units, tallies)))
    places: dict[str, Crash] = {}
    for crash in (crash for unit in units if unit.name in tallies for crash in tallies[unit.name].crashes):
        if places.setdefault(crash.place, crash) is crash:
            click.echo(f"  {crash.target}: {' '.join(crash.command)[:80]}: {crash.place}")
    for number, crash in enumerate(places.values() if out is not None else ()):
        assert out is not None
        out.mkdir(parents=True, exist_ok=True)
        (out / f"crash{number}.txt").write_text(f"{crash.target}\n{crash.command}\n{crash.place}\n", encoding="utf-8")
        (out / f"crash{number}.bin").write_bytes(crash.content)
    largest = max((tally.most_bytes for tally in tallies.values()), default=0)
    if largest > MEMORY_LIMIT_BYTES:
        click.echo(f"  a process of {largest / 1e6:.0f} MB")
    tried = sum(tally.inputs for tally in tallies.values())
    missing = sum(unit.name not in tallies for unit in units)
    left = f"; {missing} of {len(units)} units are still to be tried" if missing else ""
    click.echo(f"{tried:,} inputs, {len(places)} places that crash{left}")
    return 1 if places or largest > MEMORY_LIMIT_BYTES else 0


def _share(_ctx: click.Context, _option: click.Parameter, value: str) -> tuple[int, int]:
    try:
        own, parts = map(int, value.split("/"))
    except ValueError:
        raise click.BadParameter("I/N, such as 1/2") from None
    if not 1 <= own <= parts:
        raise click.BadParameter("I from 1 to N")
    return own, parts


@click.command(context_settings={"show_default": True})
@click.option("--inputs", default=200_000, help="Over all readers and engines.")
@click.option("--engine", "engines", multiple=True, type=click.Choice(list(SHARES)), default=list(SHARES))
@click.option("--target", "names", multiple=True, help="Only these readers.")
@click.option("--seed", default=0)
@click.option("--part", default="1/1", callback=_share, metavar="I/N", help="Only every N-th unit, from the I-th.")
@click.option("--keep", type=click.Path(path_type=Path, file_okay=False), help="Folder of finished units.")
@click.option("--out", type=click.Path(path_type=Path), help="Write the inputs that crashed into this folder.")
def main(  # one parameter an option
    *, inputs: int, engines: tuple[str, ...], names: tuple[str, ...], seed: int, part: tuple[int, int],
    keep: Path | None, out: Path | None,
) -> None:  # fmt: skip
    """Try, print a table, and exit with 1 where anything crashed."""
    targets = [target for target in TARGETS if not names or target.name in names]
    units = units_of(targets, engines, inputs)
    head = {"code": code_digest(), "seed": seed}
    with tempfile.TemporaryDirectory() as temporary:
        os.environ.setdefault("XDG_CACHE_HOME", temporary)
        folder = keep or Path(temporary) / "units"
        folder.mkdir(parents=True, exist_ok=True)
        tallies = kept_units(folder, head)
        own, parts = part
        mine = [unit for unit in units[own - 1 :: parts] if unit.name not in tallies]
        if mine:
            compile_kernels()
            compile_exchanges()
        with (folder / f"units-{own}-of-{parts}.jsonl").open("a", encoding="utf-8") as file:
            if file.tell():
                file.write("\n")  # after a line that was cut off
            for unit in mine:
                file.write(line_of(unit, head, done(unit, seed)) + "\n")
                file.flush()
        tallies = kept_units(folder, head)
    sys.exit(finish(units, tallies, out))


if __name__ == "__main__":
    main()
