"""What one change does to a run, ledger by ledger.

A run says in its provenance how it was asked; the same is asked again of the changed system. The ledger of a scope
books its peak times time, so an account's share times the time of the decode phase is the time that it costs, and

    time of a decode phase per output token = sum over accounts of (share x time)

holds for every scope by itself. The differences of the accounts therefore add up to the difference in time, exactly, in
each ledger: what a change gave, and where it went.
"""

from __future__ import annotations

import math
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from archsim.economics.spec import Economics, economics_with
from archsim.errors import InputError, Problem
from archsim.files import digest_of
from archsim.hardware.library import load_system, resolved_toml
from archsim.hardware.spec import SystemSpec
from archsim.metrics.accounts import ACCOUNTS
from archsim.report.html_input import read_result
from archsim.result import Result
from archsim.simulate import ClosedLoop, evaluate_step, load_model, load_trace, run
from archsim.units import parse_quantity
from archsim.workload.decode_trace import DecodeTrace, open_decode_trace
from archsim.workload.trace import Trace

__all__ = ["Asked", "LedgerChange", "asked_of", "changed", "ledger_changes", "load_run", "prices_of", "system_of"]


_WAYS = ("--batch", "--trace", "--concurrency", "--decode-only")
"""Options of which one says what was asked."""
_LOOP = ("--concurrency", "--prompt", "--output", "--rounds")


@dataclass(frozen=True, slots=True)
class Asked:
    """How a run was asked, from the command in its provenance."""

    system: str
    model: str
    precision: str
    parallel: str
    options: dict[str, str]
    """Every other option -> its value, empty for a flag."""


@dataclass(frozen=True, slots=True)
class LedgerChange:
    """One scope before and after: account -> seconds of the decode phase per output token (per iteration of a step)."""

    scope: str
    """Without the chip: `hbm`, `matrix`, `network`."""
    before_s: dict[str, float]
    after_s: dict[str, float]

    @property
    def accounts(self) -> list[str]:
        """Accounts of either, in the order of the ledger."""
        return [account for account in ACCOUNTS if account in self.before_s or account in self.after_s]

    @property
    def total_s(self) -> tuple[float, float]:
        """All accounts before and after."""
        return math.fsum(self.before_s.values()), math.fsum(self.after_s.values())


def load_run(path: Path) -> Result:
    """Return the result in *path*, a run directory or a result.json; raises `InputError` where it is none."""
    return read_result(path / "result.json" if path.is_dir() else path)


def asked_of(result: Result, path: Path) -> Asked:
    """Return how *result*, read from *path*, was asked; raises `InputError` where it cannot be asked again."""
    words = shlex.split(result.provenance.command)
    options: dict[str, str] = {}
    rest = words[3:]
    while rest:
        name = rest.pop(0)
        options[name] = rest.pop(0) if rest and not rest[0].startswith("--") else ""
    needed = ("--model", "--precision", "--parallel")
    known = [name for name in _WAYS if name in options]
    if words[:2] != ["archsim", "run"] or not known or any(name not in options for name in needed):
        command = result.provenance.command
        raise InputError(
            Problem(str(path), "provenance.command", command, "a run of a trace, of a closed loop or of a single step")
        )
    model, precision, parallel = (options.pop(name) for name in needed)
    return Asked(words[2], model, precision, parallel, options)


def system_of(result: Result, asked: Asked, path: Path, overrides: Sequence[str]) -> SystemSpec:
    """Return the system of *result* with *overrides*: the resolved one beside it, else the bundled one of its name."""
    resolved = (path if path.is_dir() else path.parent) / "config.resolved.toml"
    if resolved.is_file():
        return load_system(str(resolved), overrides)
    spec = load_system(asked.system, overrides)
    if not _same(result, load_system(asked.system)):
        expected = "config.resolved.toml beside the result: the system was not the bundled one, or has changed since"
        raise InputError(Problem(str(path), "provenance.config_digest", result.provenance.config_digest, expected))
    return spec


def _same(result: Result, spec: SystemSpec) -> bool:
    return digest_of(resolved_toml(spec).encode()) == result.provenance.config_digest


def changed(
    result: Result,
    asked: Asked,
    system: SystemSpec,
    *,
    precision: str | None = None,
    parallel: str | None = None,
    model_file: str | None = None,
    trace_file: str | None = None,
) -> Result:
    """Return what *asked* gives on *system*, with another precision or parallelism where they are given.

    *model_file* and *trace_file* say where a model or trace lies that is not bundled. Cost is that of the chain.
    Raises `InputError` where the trace is another than that of *result*.
    """
    model = load_model(model_file or asked.model)
    bits, ways, options = precision or asked.precision, parallel or asked.parallel, asked.options
    if "--batch" in options:
        sizes = {"batch": int(options["--batch"]), "context": int(options["--context"])}
        return evaluate_step(system, model, **sizes, precision=bits, parallelism=ways)
    seed = int(options.get("--seed", "0"))
    trace = _loop(options) if "--concurrency" in options else _trace(result, options, file=trace_file, seed=seed)
    slo_s = float(parse_quantity(options["--slo"], "s")) if "--saturate" in options else None
    return run(system, model, trace=trace, precision=bits, parallelism=ways, seed=seed, slo_s=slo_s)


def _loop(options: dict[str, str]) -> ClosedLoop:
    users, prompt, output, rounds = (int(options[name]) for name in _LOOP)
    return ClosedLoop(users, prompt, output, rounds, together="--together" in options)


def _trace(result: Result, options: dict[str, str], *, file: str | None, seed: int) -> Trace | DecodeTrace:
    trace: Trace | DecodeTrace
    if "--decode-only" in options:
        name = file or options["--decode-only"]
        trace = open_decode_trace(name)
    else:
        limit = int(options["--limit"]) if "--limit" in options else None
        name = file or options["--trace"]
        trace = load_trace(name, limit=limit, rate_scale=options.get("--rate-scale"), seed=seed)
    if trace.digest != result.provenance.trace_digest:
        raise InputError(
            Problem(name, "trace", trace.digest, f"the trace of the run, {result.provenance.trace_digest}")
        )
    return trace


def prices_of(result: Result, path: Path) -> Economics | None:
    """Return the prices that *result*, read from *path*, was assessed by; None where it has no cost.

    Raises `InputError` where the file of that name is another one, or there is none: two bills by different prices
    do not compare.
    """
    cost = result.cost
    if cost is None:
        return None
    found = economics_with(cost.economics, region=cost.region, digest=cost.economics_digest)
    if found is None:
        expected = "the prices of the run, or --economics for both: the bundled ones are other"
        raise InputError(Problem(str(path), "cost.economics", cost.economics, expected))
    return found


def ledger_changes(before: Result, after: Result) -> list[LedgerChange]:
    """Return the change of every scope that both have, the main memory first."""
    old, new = _costs(before), _costs(after)
    main = _kind(before.system.main_memory)
    names = sorted({*old} & {*new}, key=lambda scope: (scope != main, scope))
    return [LedgerChange(scope, old[scope], new[scope]) for scope in names]


def _costs(result: Result) -> dict[str, dict[str, float]]:
    """Return scope -> account -> seconds of the decode phase."""
    phase = result.phases.get("decode")
    if phase is None:
        return {}
    single = result.provenance.trace_name is None and not result.requests.offered
    time_s = phase.time_s if single else phase.time_s / max(1, result.tokens.output)
    costs: dict[str, dict[str, float]] = {}
    for scope, ledger in sorted(phase.ledger.items()):
        booked = {account: share * time_s for account, share in ledger.accounts.items()}
        costs.setdefault(_kind(scope), booked)
    return costs


def _kind(scope: str) -> str:
    return scope.partition(".")[2] or scope
