"""Put small mistakes into archsim, one at a time, and see which the tests miss: `python scripts/mutate.py PATH...`.

A path is a module or an area of mutate.toml, the table that says which tests judge which modules. Needs the `mutate`
extra. Prints each survivor's diff, then killed and survived by module, area and kind of mistake.
"""

from __future__ import annotations

import hashlib
import importlib
import json
import math
import os
import sys
import tomllib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from bench import Change
    from mutants import Mutant
    from reach import Reach
    from trial import Trial

TABLE = Path(__file__).with_suffix(".toml")
ROOT = TABLE.parents[1]
_LOADED = ("hypothesis", "jinja2", "networkx", "numba", "numpy", "pydantic", "pytest", "rich", "simpy", "tomlkit")
"""Imported once, before the first fork."""


@dataclass(frozen=True, slots=True)
class Module:
    """A row of the table."""

    area: str
    path: str
    tests: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of one mutant."""

    area: str
    module: str
    name: str
    kind: str
    outcome: str
    """killed, timeout (the tests did not end: killed too), survived, or unreached by any test (survived too)."""
    diff: str

    @property
    def survived(self) -> bool:
        """Whether no test noticed."""
        return self.outcome in ("survived", "unreached")


def modules_of(table: dict[str, list[dict[str, list[str]]]]) -> list[Module]:
    """Return the rows of *table*: area -> groups of modules (patterns) that the same tests judge."""
    return [
        Module(area, str(path.relative_to(ROOT)), tuple(group["tests"]))
        for area, groups in table.items()
        for group in groups
        for pattern in group["modules"]
        for path in sorted(ROOT.glob(pattern))
        if path.name != "__init__.py"
    ]


def drawn(modules: Iterable[Module], *, most: int, seed: int) -> tuple[list[tuple[Module, Mutant]], int]:
    """Return *most* of all mutants of *modules*, every mutant as likely as another, and how many there are."""
    from mutants import mutants_of  # noqa: PLC0415 - a tool of the extra, after the arguments are known to be good

    found = [
        (module, mutant)
        for module in modules
        for mutant in mutants_of((ROOT / module.path).read_text(encoding="utf-8"))
    ]
    return sorted(found, key=lambda pair: _draw(seed, *pair))[:most], len(found)


def _draw(seed: int, module: Module, mutant: Mutant) -> bytes:
    """Return what a mutant is drawn by, so that others come and go without changing the rest of a sample."""
    return hashlib.sha256(f"{seed} {module.path} {mutant.name}".encode()).digest()


@dataclass(frozen=True, slots=True)
class Case:
    """A mutant and the tests that it meets."""

    module: Module
    mutant: Mutant
    tests: dict[str, float]
    """Test -> CPU seconds that it may take."""
    cpu_s: float
    """What they may take together."""
    changed: list[Change] | None
    """What a process that has collected the tests gets to be judged in; None if it must be one of its own."""

    @property
    def path(self) -> Path:
        """Of the module."""
        return ROOT / self.module.path

    def verdict(self, outcome: str) -> Verdict:
        """Return that *outcome* as the case's."""
        mutant = self.mutant
        return Verdict(self.module.area, self.module.path, mutant.name, mutant.kind, outcome, mutant.diff())


def case_of(module: Module, mutant: Mutant, reach: Reach, *, budget_s: float) -> Case:
    """Return what there is to judge about *mutant*, by tests of *budget_s* CPU seconds together."""
    from bench import changes  # noqa: PLC0415 - a tool of the extra, after the arguments are known to be good

    path = ROOT / module.path
    tests = reach.tests_of(path, mutant.lines, module.tests, budget_s=budget_s)
    early = reach.runs_at_import(path, mutant.lines, module.tests)
    changed = None if early else changes(path.read_text(encoding="utf-8"), mutant.source())
    cpu_s = 2 * budget_s + max(tests.values(), default=0.0)
    return Case(module, mutant, tests, cpu_s, changed)


def judge(cases: list[Case], reach: Reach, *, jobs: int, tell: Callable[[Verdict], None]) -> None:
    """Call *tell* with the verdict on each of *cases*, up to *jobs* at once."""
    from bench import Bench, with_tests  # noqa: PLC0415
    from trial import finished, started  # noqa: PLC0415

    together = [case for case in cases if case.changed and case.tests]
    apart = [case for case in cases if case.tests and not case.changed]
    for case in cases:
        if not case.tests:
            tell(case.verdict("unreached"))
    for case, trial, status in _tried(
        apart, jobs, lambda case: started(case.path, case.mutant.source(), list(case.tests), cpu_s=case.cpu_s)
    ):
        tell(case.verdict(finished(trial, status)))

    def begin(bench: Bench) -> None:
        for case, trial, status in _tried(
            together, jobs, lambda case: bench.started(case.path, case.changed or [], case.tests)
        ):
            bench.learn(case.path, trial)
            tell(case.verdict(finished(trial, status)))

    if together:
        with_tests((test for case in together for test in case.module.tests), reach.modules, begin)


def _tried(cases: list[Case], jobs: int, start: Callable[[Case], Trial]) -> Iterator[tuple[Case, Trial, int]]:
    """Yield every case with its trial and its exit status, as they end."""
    running: dict[int, tuple[Case, Trial]] = {}
    waiting = list(reversed(cases))
    while running or waiting:
        if waiting and len(running) < jobs:
            case = waiting.pop()
            trial = start(case)
            running[trial.process] = case, trial
            continue
        process, status = os.wait()
        case, trial = running.pop(process)
        yield case, trial, status


def interval(killed: int, judged_count: int) -> tuple[float, float]:
    """Return the 95 % interval (Wilson) of the share of all mutants that would be killed, from a sample."""
    z, share = 1.96, killed / judged_count
    middle = share + z * z / (2 * judged_count)
    half = z * math.sqrt(share * (1 - share) / judged_count + z * z / (4 * judged_count**2))
    whole = 1 + z * z / judged_count
    return (middle - half) / whole, (middle + half) / whole


def table_of(verdicts: list[Verdict]) -> str:
    """Return killed and survived as Markdown: a row a module, an area and a kind of mistake."""
    rows = ["| | judged | killed | survived | share killed | 95 % interval |", "|---|---|---|---|---|---|"]
    for area in dict.fromkeys(v.area for v in verdicts):
        mine = [v for v in verdicts if v.area == area]
        rows += [_row(f"`{name}`", [v for v in mine if v.module == name]) for name in sorted({v.module for v in mine})]
        rows.append(_row(f"**{area}**", mine))
    rows += [_row(kind, [v for v in verdicts if v.kind == kind]) for kind in sorted({v.kind for v in verdicts})]
    return "\n".join(rows)


def _row(name: str, verdicts: list[Verdict]) -> str:
    survived = sum(v.survived for v in verdicts)
    killed = len(verdicts) - survived
    low, high = interval(killed, len(verdicts))
    share = f"{killed / len(verdicts):.0%} | {low:.0%} to {high:.0%}"
    return f"| {name} | {len(verdicts)} | {killed} | {survived} | {share} |"


def read(path: Path) -> list[Verdict]:
    """Return the verdicts of an earlier run."""
    return [Verdict(**json.loads(line)) for line in path.read_text(encoding="utf-8").splitlines()]


def _load(*, without_compiler: bool) -> None:
    os.chdir(ROOT)
    if without_compiler:
        os.environ["NUMBA_DISABLE_JIT"] = "1"
    sys.path.insert(0, str(ROOT))
    for name in _LOADED:
        importlib.import_module(name)
    from trial import look_for_no_smallest_example  # noqa: PLC0415

    look_for_no_smallest_example()


@click.command(context_settings={"show_default": True})
@click.argument("paths", nargs=-1, required=True)
@click.option("--sample", "most", default=150, help="Mutants judged, at most.")
@click.option("--seed", default=0, help="Draws the sample.")
@click.option("--jobs", default=2, help="Mutants judged at once.")
@click.option("--budget", "budget_s", default=20.0, help="CPU seconds of tests a mutant meets, the quickest first.")
@click.option("--reach", "folder", type=click.Path(path_type=Path), help="Keep here which test reaches which line.")
@click.option("--out", type=click.Path(path_type=Path), help="Write the verdicts into this file, one a line.")
@click.option(
    "--earlier",
    type=click.Path(exists=True, path_type=Path),
    help="Such a file of the same sources and sample: what was killed there is not judged again.",
)
def main(
    paths: tuple[str, ...],
    most: int,
    seed: int,
    jobs: int,
    budget_s: float,
    folder: Path | None,
    out: Path | None,
    earlier: Path | None,
) -> None:
    """Judge mutants of modules or areas (ledger, dram, network, serving) by the tests that mutate.toml names."""
    rows = modules_of(tomllib.loads(TABLE.read_text(encoding="utf-8")))
    wanted = [row for row in rows if row.area in paths or row.path in paths]
    for path in paths:
        if not any(path in (row.area, row.path) for row in rows):
            raise click.BadParameter(f"{path} is neither an area nor a module of {TABLE.name}", param_hint="PATH")
    folder, out = (None if place is None else place.resolve() for place in (folder, out))
    before = {(v.module, v.name): v for v in ([] if earlier is None else read(earlier))}
    verdicts = [verdict for verdict in before.values() if not verdict.survived]
    _load(without_compiler=any("/dram/" in row.path or "/network/" in row.path for row in wanted))
    from reach import Reach  # noqa: PLC0415 - a tool of the extra, after the arguments are known to be good

    reach = Reach(folder, [".".join(Path(row.path).with_suffix("").parts) for row in wanted])
    mutants, total = drawn(wanted, most=most, seed=seed)
    known = [before.get((row.path, mutant.name)) for row, mutant in mutants]
    new = [pair for pair, verdict in zip(mutants, known, strict=True) if verdict is None]
    mutants = new + [pair for pair, verdict in zip(mutants, known, strict=True) if verdict and verdict.survived]
    click.echo(f"{len(mutants)} of {total} mutants to judge", err=True)

    def tell(verdict: Verdict) -> None:
        verdicts.append(verdict)
        if out is not None:
            out.write_text("".join(json.dumps(asdict(each)) + "\n" for each in verdicts), encoding="utf-8")
        if verdict.survived:
            click.echo(f"{verdict.module}:{verdict.name} {verdict.outcome}\n{verdict.diff}\n")

    judge([case_of(*pair, reach, budget_s=budget_s) for pair in mutants], reach, jobs=jobs, tell=tell)
    click.echo(table_of(verdicts))


if __name__ == "__main__":
    main()
