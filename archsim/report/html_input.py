"""What a report is made of: a run directory, or a result.json alone, read back and checked.

Of a directory every file that `archsim run --out` writes must be there: one from which files vanish while it is read is
refused, never shown in part. Of a result.json the others are read where they lie beside it. Nothing is simulated. No
path of this machine goes into what is read, so equal runs make equal reports wherever they lie.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from pydantic import ValidationError

from archsim.economics.spec import economics_with
from archsim.errors import InputError, Problem
from archsim.files import bundled_names, bundled_path, parse_json, read_text, read_toml
from archsim.hardware.pools import Design, design_names, load_design
from archsim.hardware.sources import SourceRow, sources, sources_of_file
from archsim.metrics.operators import OperatorUse
from archsim.report.html_tables import Times, Windows, read_ledger, read_operators, read_requests
from archsim.result import SCHEMA, Cost, Result

__all__ = ["ReportRun", "read_result", "read_run"]

_RESULT_LIMIT_BYTES = 256 * 2**20
_MOST_PROBLEMS = 5
_RESULT = "result.json"
_CONFIG = "config.resolved.toml"
_LEDGER = "ledger.csv.gz"
_REQUESTS = "requests.csv.gz"
_OPERATORS = "operators.csv.gz"
_PRICES = "economics"


@dataclass(frozen=True, slots=True)
class ReportRun:
    """One run as a report shows it."""

    result: Result
    windows: Mapping[str, Windows]
    """Memory, cache or link -> what it served over time; empty without ledger.csv.gz."""
    times: Times | None
    """Latencies of the requests; None without requests.csv.gz."""
    operators: Sequence[OperatorUse]
    """Of an iteration of one sequence and of the run's batch; empty without operators.csv.gz."""
    spec: Design | None
    """None without config.resolved.toml."""
    settings: Mapping[str, str]
    """Dotted key of config.resolved.toml -> its value."""
    numbers: Sequence[SourceRow]
    """Where the numbers of the system come from."""
    numbers_note: str
    """Whose numbers these are."""
    command: str
    """What runs it again, from the run directory where it needs the configuration there."""


class _Numbers(NamedTuple):
    rows: list[SourceRow]
    note: str
    command: str


def read_run(path: Path) -> ReportRun:
    """Return the run in *path*, a run directory or its result.json.

    Raises `InputError` where *path* is neither, where a directory is not whole, and for a result of another schema or a
    table that is none.
    """
    result, beside = _found(path)
    config, ledger, requests, operators = (beside.get(name) for name in (_CONFIG, _LEDGER, _REQUESTS, _OPERATORS))
    spec = None if config is None else load_design(str(config))
    numbers = _numbers(result.provenance.command, config, spec)
    prices, options = _prices(result.cost)
    return ReportRun(
        result=result,
        windows={} if ledger is None else read_ledger(ledger),
        times=None if requests is None else read_requests(requests),
        operators=() if operators is None else read_operators(operators),
        spec=spec,
        settings={} if config is None else _flat(read_toml(config), ""),
        numbers=[row._replace(file=_short(row.file)) for row in [*numbers.rows, *prices]],
        numbers_note=numbers.note,
        command=numbers.command + options,
    )


def _found(path: Path) -> tuple[Result, dict[str, Path]]:
    """Return the result of *path*, and name -> path of the files beside it that a report reads."""
    if path.is_dir():
        result = read_result(path / _RESULT)
        replayed = () if result.provenance.trace_name is None else (_REQUESTS,)
        wanted = (_CONFIG, _LEDGER, _OPERATORS, *replayed)
        if missing := [name for name in wanted if not (path / name).is_file()]:
            expected = f"a whole run directory, with {', '.join(missing)}; {_RESULT} alone can be given by its own path"
            raise InputError(Problem(str(path), "", "", expected))
        return result, {name: path / name for name in wanted}
    around = path.parent if path.name == _RESULT else path  # nothing lies in a file
    beside = {name: around / name for name in (_CONFIG, _LEDGER, _REQUESTS, _OPERATORS) if (around / name).is_file()}
    return read_result(path), beside


def read_result(path: Path) -> Result:
    """Return the result in the file *path*. Raises `InputError` where there is none, or one of another schema."""
    if not path.is_file():
        raise InputError(Problem(str(path), "", "", "a run directory of `archsim run --out DIR`, or its result.json"))
    text = read_text(path, limit=_RESULT_LIMIT_BYTES)
    value = parse_json(text, path)
    found = value.get("schema") if isinstance(value, dict) else None
    if found != SCHEMA:
        raise InputError(Problem(str(path), "schema", "" if found is None else str(found), f"{SCHEMA!r}"))
    try:
        return Result.from_json(text)
    except ValidationError as error:
        raise InputError(
            *(
                Problem(str(path), ".".join(map(str, wrong["loc"])), "", f"a result of {SCHEMA}: {wrong['msg']}")
                for wrong in error.errors()[:_MOST_PROBLEMS]
            )
        ) from None


def _numbers(command: str, config: Path | None, spec: Design | None) -> _Numbers:
    name = _asked(command)
    if name in design_names():
        if spec is None:
            note = "As in the bundled files of this version; the run's own configuration is not beside its result."
            return _Numbers(sources(name), note, command)
        if load_design(name) == spec:
            return _Numbers(
                sources(name), "As in the bundled files, which give exactly the system of this run.", command
            )
    if config is None or spec is None:
        note = "The system is not a bundled one and its configuration is not beside the result: no sources are known."
        return _Numbers([], note, command)
    note = (
        "The system is not exactly a bundled one: these are the resolved numbers of this run. A resolved configuration "
        "keeps no comments, so their sources are in the files and overrides that the run was made from."
    )
    return _Numbers(sources_of_file(config), note, _with_configuration(command, name))


def _with_configuration(command: str, name: str) -> str:
    """Return *command* with the resolved configuration of the run in the place of the system's *name*."""
    return command.replace(f"archsim run {name} ", f"archsim run {_CONFIG} ", 1)


def _prices(cost: Cost | None) -> tuple[list[SourceRow], str]:
    """Return the numbers that *cost* rests on, and the options that ask for it, led by a space.

    The numbers are empty where the prices are not a bundled file, or another version of one.
    """
    if cost is None:
        return [], ""
    name = cost.economics
    options = f" --economics {shlex.quote(name)} --region {shlex.quote(cost.region)} --basis"
    if name not in bundled_names("hwconfigs", _PRICES, (".toml",)):
        return [], f"{options} {cost.basis}"
    found = economics_with(name, region=cost.region, digest=cost.economics_digest)
    if found is None:
        return [], f"{options} {cost.basis}"
    return sources_of_file(bundled_path("hwconfigs") / _PRICES / f"{name}.toml"), f"{options} {found.chip.basis}"


def _asked(command: str) -> str:
    """Return the system in the canonical *command*; empty where it names none."""
    try:
        words = shlex.split(command)
    except ValueError:  # not a command of archsim: a quote without its end
        return ""
    return words[2] if len(words) > 2 else ""  # archsim run SYSTEM


def _short(file: str) -> str:
    """Return the last two parts of a path; a file of the run directory by its name alone."""
    return _CONFIG if file.endswith(_CONFIG) else "/".join(Path(file).parts[-2:])


def _flat(tables: Mapping[str, object], prefix: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for name, value in tables.items():
        if isinstance(value, Mapping):
            found |= _flat(value, f"{prefix}{name}.")
        elif name != "aliases":  # other names of the same thing, which change nothing
            found[prefix + name] = str(value)
    return found
