"""Which kernels run near the memory: a policy by cost.

A kernel is moved whole (N8); `near_tasks` says what it becomes.

`auto` compares the time of the kernel alone on either side, mode switch and operands included, and keeps what is
faster; a tie stays on the host. The other policies are orders: they raise `InputError` where a unit lacks the element
type or where tensors exceed what its units can hold. Prefill stays on the host.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from archsim.errors import InputError, Problem
from archsim.hardware.nearmem import NearUnits
from archsim.hardware.system import System
from archsim.mapping.plan import Plan, Segment, Task, Transfer
from archsim.step.cooperate import cooperating
from archsim.step.near_tasks import near_attention, near_product
from archsim.step.work import alone_ps, work_of

__all__ = ["Sides", "offloaded", "sides"]

_OPERATION = {"attention": "context", "product": "gemv"}


@dataclass(frozen=True, slots=True)
class Sides:
    """One kernel on either side of the interface."""

    task: Task
    kind: str
    """`"attention"` or `"product"`."""
    host_ps: int
    near: Task | None
    """The kernel near the memory; None where no unit supports it."""
    near_ps: int | None

    @property
    def faster(self) -> Task:
        """The kernel where it is faster."""
        return self.near if self.near is not None and (self.near_ps or 0) < self.host_ps else self.task


def offloaded(plan: Plan, system: System) -> Plan:
    """Return *plan* with the kernels that run near a memory, by its policy. Raises `InputError` where it cannot."""
    if not system.near or all(units.spec.place == "none" for units in system.near.values()):
        return plan
    rows = (plan.segments, *plan.others)
    tasks = {task: None for segments in rows for segment in segments for task in segment.tasks}
    full = {name for name, held in _held_bytes(plan, system).items() if held > _room(system, name)}
    moved = {task: _placed(task, system, full) for task in tasks}

    def of(segments: tuple[Segment, ...]) -> tuple[Segment, ...]:
        return tuple(replace(s, tasks=cooperating([moved[t] for t in s.tasks], system)) for s in segments)

    return replace(plan, segments=of(plan.segments), others=tuple(map(of, plan.others)))


def sides(task: Task, system: System) -> Sides | None:
    """Return *task* on both sides; None for one that could never be near a memory."""
    kind, units = _kind(task, system)
    if units is None:
        return None
    near = _near_task(task, kind, units) if _supports(units, task, kind) else None
    near_ps = alone_ps(work_of(near, system), system) + units.spec.mode_switch_ps if near else None
    return Sides(task, kind, alone_ps(work_of(task, system), system), near, near_ps)


def _placed(task: Task, system: System, full: set[str]) -> Task:
    kind, units = _kind(task, system)
    if units is None or units.spec.place == "none":
        return task
    policy = units.spec.place
    if policy == "auto":
        found = sides(task, system)
        return found.faster if found is not None and f"{kind} {units.name}" not in full else task
    if not _ordered(policy, kind, task, units):
        return task
    _check(task, kind, units, system, full)
    return _near_task(task, kind, units)


def _kind(task: Task, system: System) -> tuple[str, NearUnits | None]:
    """Return what *task* is and the units beside its operand; None where there are none or it is not of their kind."""
    if task.collective is None and task.near is None and task.matrix_flops and "prefill" not in task.name:
        for transfer in task.transfers:
            units = system.near.get(transfer.level)
            if units and not transfer.write and transfer.tensor in ("kv_read", "weights"):
                return ("attention" if transfer.tensor == "kv_read" else "product"), units
    return "", None


def _ordered(policy: str, kind: str, task: Task, units: NearUnits) -> bool:
    """Return whether *policy* orders a kernel of *kind* near the memory."""
    if policy == "gemv":
        return kind == "product" and task.matrix_rows <= units.spec.rows
    return policy == "all" or (policy == "attention" and kind == "attention")


def _supports(units: NearUnits, task: Task, kind: str) -> bool:
    known = _OPERATION[kind] in units.spec.operators and task.matrix_dtype in units.dtypes
    return known and len(_operands_of(task, kind)) == 1


def _check(task: Task, kind: str, units: NearUnits, system: System, full: set[str]) -> None:
    key = f"near_memory.{units.name}"
    if task.matrix_dtype not in units.dtypes:
        expected = f"an element type that the unit multiplies for {task.name}: one of {', '.join(units.dtypes)}"
        raise InputError(Problem(system.spec.chip.name, f"{key}.place", task.matrix_dtype, expected))
    if len(memories := [transfer.level for transfer in _operands_of(task, kind)]) > 1:
        expected = f"the operand of {task.name} in one memory, which the units reach"
        raise InputError(Problem(system.spec.chip.name, f"{key}.place", ", ".join(memories), expected))
    if f"{kind} {units.name}" in full:
        expected = f"at most {units.shard_bytes:,} bytes of shards in each of {units.units} units: {task.name} has more"
        raise InputError(Problem(system.spec.chip.name, f"{key}.shard_limit", units.spec.place, expected))


def _room(system: System, name: str) -> int:
    unit = next(units for units in system.near.values() if name.endswith(f" {units.name}"))
    return unit.units * unit.shard_bytes


def _held_bytes(plan: Plan, system: System) -> dict[str, int]:
    """Return for each kind and unit the most bytes that a rank's tensors of that kind have in all layers."""
    most: dict[str, int] = {}
    for segments in (plan.segments, *plan.others):
        held: dict[str, int] = {}
        for segment in segments:
            for task in segment.tasks:
                kind, units = _kind(task, system)
                if units is not None:
                    name = f"{kind} {units.name}"
                    size = sum(t.bytes for t in _operands_of(task, kind) if t.level == units.memory)
                    held[name] = held.get(name, 0) + segment.repeats * size
        most = {name: max(held.get(name, 0), most.get(name, 0)) for name in {**most, **held}}
    return most


def _operands_of(task: Task, kind: str) -> list[Transfer]:
    """Return the reads of what units would read: one for each memory that it lies in."""
    tensor = "kv_read" if kind == "attention" else "weights"
    return [transfer for transfer in task.transfers if transfer.tensor == tensor and not transfer.write]


def _near_task(task: Task, kind: str, units: NearUnits) -> Task:
    made = near_attention if kind == "attention" else near_product
    return made(task, units, _operands_of(task, kind)[0])
