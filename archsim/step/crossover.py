"""Up to which batch, or from which on, a kernel is faster near the memory than on the host.

Each kernel's time alone on either side, mode switch and operands included, at every batch asked for; between two of
them where the faster side changes, the batch at which it does is found by halving. A kernel of several layers counts
as often as it runs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from archsim.errors import InputError, Problem
from archsim.hardware.spec import SystemSpec
from archsim.hardware.system import System
from archsim.mapping.default import default_ways
from archsim.mapping.plan import Plan
from archsim.mapping.sharding import Cut
from archsim.mapping.spread import Spread
from archsim.step.offload import sides
from archsim.units import PS_PER_S
from archsim.workload.batch import Batch
from archsim.workload.model import Model
from archsim.workload.precision import Precision

__all__ = ["Curve", "curves", "near_study"]

PlanOf = Callable[[int], Plan]
"""The plan of one decode iteration of so many sequences, on the host."""


@dataclass(frozen=True, slots=True)
class Curve:
    """One kernel against the batch."""

    name: str
    kind: str
    """`"attention"` or `"product"`."""
    batches: tuple[int, ...]
    host_s: tuple[float, ...]
    near_s: tuple[float | None, ...]
    """None where the units do not support it."""
    changes: tuple[tuple[int, str], ...]
    """(batch, side): from that batch on the side is the faster one; the first is that of the smallest batch."""


def curves(plan_of: PlanOf, system: System, batches: Sequence[int]) -> list[Curve]:
    """Return a curve for each kernel of one iteration that units near a memory could run."""
    at = {batch: _times(plan_of(batch), system) for batch in batches}
    found = []
    for name, kind in at[batches[0]]:
        points = [at[batch][name, kind] for batch in batches]
        near = tuple(None if time is None else time / PS_PER_S for _, time in points)
        changes = () if None in near else _changes(plan_of, system, batches, (name, kind))
        found.append(Curve(name, kind, tuple(batches), tuple(host / PS_PER_S for host, _ in points), near, changes))
    return found


def near_study(
    spec: SystemSpec,
    model: Model,
    *,
    batches: Sequence[int],
    context: int,
    precision: str | None = None,
    parallelism: str | None = None,
) -> dict[str, Any]:
    """Return what `archsim near` prints: each kernel on either side at *batches* of *context* tokens a sequence.

    Seconds are of one chip and one iteration. Raises `InputError` for a system without near-memory units, and as a run
    does for what does not divide.
    """
    if not spec.chip.near_memory:
        raise InputError(Problem(spec.name, "near_memory", "", "a chip with near-memory units, such as h100-sxm8-pnm"))
    bits = Precision.parse(precision) if precision is not None else Precision.of_model(model)
    spread = Spread.parse(parallelism, lambda: default_ways(model, bits, spec))
    cut, system = Cut.of(model, bits, spread.parallelism, spec), System(spec)
    found = curves(lambda batch: cut.plan(Batch.of_decode(batch, context)), system, batches)
    return {
        "system": spec.name,
        "title": spec.title,
        "model": model.name,
        "precision": str(bits),
        "parallelism": _ways(str(spread.parallelism)),
        "context": context,
        "batches": list(batches),
        "units": {
            units.name: {"level": units.spec.level, "units": units.units, "memory": memory, "place": units.spec.place}
            for memory, units in system.near.items()
        },
        "operators": [
            {"name": curve.name, "kind": curve.kind, "host_s": list(curve.host_s), "near_s": list(curve.near_s),
             "changes": [list(change) for change in curve.changes], "near_where": _where(curve)}
            for curve in found
        ],
    }  # fmt: skip


def _ways(written: str) -> str:
    return ",".join(word for word in written.split(",") if not word.endswith("=1")) or "tp=1"


def _where(curve: Curve) -> str:
    """Return in words at which batches the kernel is faster near the memory."""
    if None in curve.near_s:
        return "not supported by the units"
    spans = []
    for place, (batch, side) in enumerate(curve.changes):
        if side == "near":
            last = curve.changes[place + 1][0] - 1 if place + 1 < len(curve.changes) else None
            spans.append(f"from {batch}" if last is None else f"{batch} to {last}" if last > batch else f"at {batch}")
    return ", ".join(spans) or "never"


Times = dict[tuple[str, str], tuple[int, int | None]]
"""(name, kind) -> picoseconds on the host and near the memory, over the iteration."""


def _times(plan: Plan, system: System) -> Times:
    total: Times = {}
    for segment in plan.segments:
        for task in segment.tasks:
            pair = sides(task, system)
            if pair is not None:
                host, near = total.get((task.name, pair.kind), (0, 0))
                both = None if pair.near_ps is None or near is None else near + segment.repeats * pair.near_ps
                total[task.name, pair.kind] = (host + segment.repeats * pair.host_ps, both)
    return total


def _faster(plan_of: PlanOf, system: System, batch: int, key: tuple[str, str]) -> str:
    host, near = _times(plan_of(batch), system)[key]
    return "near" if near is not None and near < host else "host"


def _changes(
    plan_of: PlanOf, system: System, batches: Sequence[int], key: tuple[str, str]
) -> tuple[tuple[int, str], ...]:
    side = _faster(plan_of, system, batches[0], key)
    changes = [(batches[0], side)]
    for low, high in pairwise(batches):
        after = _faster(plan_of, system, high, key)
        if after != side:
            changes.append((_between(plan_of, system, (low, high), key), after))
            side = after
    return tuple(changes)


def _between(plan_of: PlanOf, system: System, edges: tuple[int, int], key: tuple[str, str]) -> int:
    low, high = edges
    side = _faster(plan_of, system, low, key)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if _faster(plan_of, system, middle, key) == side else (low, middle)
    return high
