"""Host and near-memory units at work together, where a unit's table says that the host cooperates.

Two things overlap. The projections around an attention kernel that units run become one kernel with it, whose chunks
are heads: the host projects a head while the units attend to another. And every other product is cut between both
sides so that they end together: with times h and n for the whole on either side, the units take h / (h + n) of it.

N9: units that take part in a product hold a copy of its weights, whichever memory the host's lie in.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from archsim.hardware.nearmem import NearUnits
from archsim.hardware.system import System
from archsim.mapping.plan import Near, Task, Transfer
from archsim.step.near_tasks import near_product
from archsim.step.work import alone_ps, work_of

__all__ = ["cooperating"]

_PARTS = 1024
"""A product is cut in so many parts."""


def cooperating(tasks: Sequence[Task], system: System) -> tuple[Task, ...]:
    """Return *tasks* with overlaps, where the units on any memory let the host cooperate; else as they are."""
    units = next((units for units in system.near.values() if units.spec.host_work == "cooperates"), None)
    if units is None or not any(task.near for task in tasks):
        return tuple(tasks)
    merged = _merged(list(tasks))
    return tuple(_shared(task, units, system) if _is_product(task) else task for task in merged)


def _is_product(task: Task) -> bool:
    reads = any(transfer.tensor == "weights" for transfer in task.transfers)
    return reads and task.near is None and bool(task.matrix_flops) and bool(task.matrix_inputs)


def _merged(tasks: list[Task]) -> list[Task]:
    """Return *tasks* with each attention near a memory and the projections around it as one kernel."""
    for place, task in enumerate(tasks):
        if task.near is None or not task.shards:
            continue
        first, last = _edge(tasks, place, -1), _edge(tasks, place, 1)
        if first < last:
            return [*tasks[:first], _together(tasks[first : last + 1], task), *tasks[last + 1 :]]
    return tasks


def _edge(tasks: list[Task], place: int, step: int) -> int:
    """Return the place of the next product in the direction of *step*; *place* where a collective comes before it."""
    at = place + step
    while 0 <= at < len(tasks) and tasks[at].collective is None:
        if _is_product(tasks[at]):
            return at
        at += step
    return place


def _together(tasks: list[Task], attention: Task) -> Task:
    amounts: dict[tuple[str, str, bool, int, int], list[int]] = {}
    for task in tasks:
        for t in task.transfers:
            total = amounts.setdefault((t.level, t.tensor, t.write, t.run_bytes, t.granule_bytes), [0, 0])
            total[0] += t.bytes
            total[1] += t.useful_bytes
    transfers = tuple(
        Transfer(level, tensor, size, useful, write, run, granule)
        for (level, tensor, write, run, granule), (size, useful) in amounts.items()
    )
    return replace(
        attention,
        name=" + ".join(task.name for task in tasks),
        transfers=transfers,
        matrix_flops=sum(task.matrix_flops for task in tasks),
        replica_flops=sum(task.replica_flops for task in tasks),
        vector_flops=sum(task.vector_flops for task in tasks),
        matrix_rows=tasks[0].matrix_rows,
        kernels=sum(task.kernels for task in tasks),
    )


def _shared(task: Task, units: NearUnits, system: System) -> Task:
    """Return *task* cut between host and units, or as it is where that is no faster."""
    weights = [t for t in task.transfers if t.tensor == "weights"]
    if "gemv" not in units.spec.operators or task.matrix_dtype not in units.dtypes or len(weights) > 1:
        return task
    near = near_product(task, units, weights[0])
    host_ps, near_ps = (alone_ps(work_of(t, system), system) for t in (task, near))
    part = host_ps * _PARTS // (host_ps + near_ps)
    cut = _cut(task, near, weights[0], part)
    return cut if part and alone_ps(work_of(cut, system), system) < host_ps else task


def _cut(task: Task, near: Task, weights: Transfer, part: int) -> Task:
    kept = _scaled(weights, _PARTS - part)
    moved = [t for t in near.transfers if t not in task.transfers]
    # Inputs go to the units whole; what they read and return is their part.
    taken = [t if t.tensor == "activations" and not t.write else _scaled(t, part) for t in moved]
    flops = task.matrix_flops * part // _PARTS
    useful = (task.matrix_flops - task.replica_flops) * part // _PARTS
    return replace(
        task,
        transfers=(*(t for t in task.transfers if t is not weights), kept, *taken),
        matrix_flops=task.matrix_flops - flops,
        replica_flops=task.replica_flops - (flops - useful),
        near=Near(near.near.memory, flops, useful) if near.near else None,
    )


def _scaled(transfer: Transfer, part: int) -> Transfer:
    size, useful = (amount * part // _PARTS for amount in (transfer.bytes, transfer.useful_bytes))
    return replace(transfer, bytes=size, useful_bytes=useful, run_bytes=max(1, min(transfer.run_bytes, size)))
