"""Where the prediction of a row comes from: chip, memory, runtime, precision, and its time by mechanism.

A row that carries its origin can have an error bar, and its error can become one of the residuals that error bars are
made of (`archsim.uncertainty`). The time is that of the iterations that the row's metric is about.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

from archsim.hardware.system import System
from archsim.step.record import StepRecord
from archsim.uncertainty.shares import Shares, mechanism_shares
from archsim.validation.machines import Machine

__all__ = ["ONE", "Origin", "of_iterations", "of_kernel", "of_library"]

Origin = dict[str, Any]
ONE = 1 << 32
"""Weight of one iteration."""


def of_iterations(made: Machine, weights: Mapping[int, int], *, sequences: float, measure: str) -> Origin:
    """Return the origin of a time that is *weights* (2**-32 iterations) of the machine's knots, of *sequences* each."""
    records = made.costs.records
    weighted = [(records[knot], weight / ONE) for knot, weight in sorted(weights.items())]
    return _origin(made.system, measure, _shares(made.system, weighted, sequences), precision=str(made.precision))


def of_kernel(system: System, record: StepRecord, precision: str) -> Origin:
    """Return the origin of the time of a lone operation."""
    return _origin(system, "kernel", _shares(system, [(record, 1.0)], 0.0), precision=precision)


def of_library(chip: str, runtime: str) -> Origin:
    """Return the origin of the time of a lone collective."""
    shares: Shares = {"collectives": 1.0}
    return {
        "measure": "collective",
        "system": "",
        "chip": chip,
        "memory": "",
        "runtime": runtime,
        "precision": "",
        "shares": shares,
    }


def _origin(system: System, measure: str, shares: Shares, *, precision: str) -> Origin:
    chip = system.spec.chip
    return {
        "measure": measure,
        "system": system.spec.name,
        "chip": chip.name,
        "memory": chip.memory[chip.main_memory].device.standard,
        "runtime": system.runtime.name,
        "precision": precision,
        "shares": shares,
    }


def _shares(system: System, weighted: Iterable[tuple[StepRecord, float]], sequences: float) -> Shares:
    suffix = f".{system.spec.chip.main_memory}"
    pairs = list(weighted)
    books: dict[str, list[float]] = {}
    for record, weight in pairs:
        for scope in record.scopes:
            if scope.kind == "memory" and scope.name.removesuffix(".phy").endswith(suffix):
                for account, amount in record.books[scope.name].items():
                    books.setdefault(account, []).append(amount * weight)
    amounts = {account: math.fsum(parts) for account, parts in books.items()}
    total = math.fsum(amounts.values())
    if not total:
        return {}
    accounts = {account: amount / total for account, amount in amounts.items()}
    runtime = system.runtime
    steps = math.fsum(weight for _, weight in pairs)
    taken_ps = math.fsum(record.time_ps * weight for record, weight in pairs)
    each_ps = system.host_ps(runtime.host_step_ps) + sequences * system.host_ps(runtime.host_sequence_ps)
    return mechanism_shares(accounts, host=None if runtime.host_launch_ps else steps * each_ps / taken_ps)
