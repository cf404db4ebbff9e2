"""Which kernels run near the memory: a policy by cost, and what a kernel becomes when its operands stay there.

A kernel is moved whole. Units read the operand that lies in their memory (KV cache or weights) over the arrays; the
other operand comes over the interface, and results and partial sums go back over it. What the units cannot do (a
softmax, norms, activations) stays on the host, with the traffic that this takes.

`auto` compares the time of the kernel alone on either side, mode switch and operands included, and keeps what is
faster; a tie stays on the host. The other policies are orders: they raise `InputError` where a unit lacks the element
type or where tensors exceed what its units can hold. Prefill stays on the host.

N5: rows beyond what a unit multiplies with one read of the other operand read it again; those bytes are overfetch.
N6: weights lie evenly over all units, each with whole input rows, so that no partial sums leave beyond `result`; inputs
are sent to every place, and again whenever a unit's buffer is full.
N7: a sequence's context lies whole in one place, or is split over all of them; then each place returns a partial output
and its sum in fp32, as each unit of a place does where nobody adds near the memory.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from archsim.errors import InputError, Problem
from archsim.hardware.nearmem import NearUnits
from archsim.hardware.system import System
from archsim.mapping.plan import Near, Plan, Segment, Task, Transfer
from archsim.step.work import Work, work_of

__all__ = ["Sides", "offloaded", "sides"]

_PARTIAL_BYTES = 4
"""A partial sum in fp32."""
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
        return tuple(replace(s, tasks=tuple(moved[task] for task in s.tasks)) for s in segments)

    return replace(plan, segments=of(plan.segments), others=tuple(map(of, plan.others)))


def sides(task: Task, system: System) -> Sides | None:
    """Return *task* on both sides; None for one that could never be near a memory."""
    kind, units = _kind(task, system)
    if units is None:
        return None
    near = _near_task(task, kind, units) if _supports(units, task, kind) else None
    near_ps = _alone_ps(work_of(near, system), system) + units.spec.mode_switch_ps if near else None
    return Sides(task, kind, _alone_ps(work_of(task, system), system), near, near_ps)


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
    made = _attention if kind == "attention" else _product
    return made(task, units, _operands_of(task, kind)[0])


def _attention(task: Task, units: NearUnits, cache: Transfer) -> Task:
    spec, split = units.spec, units.spec.sequences == "split" or not task.shards
    query = sum(t.bytes for t in task.transfers if t.tensor == "activations" and not t.write)
    result = sum(t.bytes for t in task.transfers if t.tensor == "activations" and t.write)
    places = units.places if split else 1
    copies = places * (units.units_per_place if spec.adds == "host" else 1)
    shard = -(-cache.bytes // max(task.shards, 1))
    passes = -(-max(task.matrix_rows, 1) // spec.rows)
    read = replace(
        cache,
        level=units.array,
        bytes=cache.bytes * passes,
        run_bytes=_run(cache, units, -(-shard // places)),
        granule_bytes=0 if split else -(-shard // units.burst_bytes) * units.burst_bytes * passes,
    )
    partial = result // _bytes_per_element(task) * _PARTIAL_BYTES * copies if copies > 1 else result
    inputs, outputs = query * places * units.buses, max(partial, result)
    vector_flops, near_vector = task.vector_flops, 0
    if "softmax" in spec.operators:
        vector_flops, near_vector = 0, task.vector_flops
    else:
        # Scores leave as the units' lanes have them and come back as probabilities.
        outputs += task.scores * spec.result_bytes
        inputs += task.scores * _bytes_per_element(task)
    rest = tuple(t for t in task.transfers if t is not cache)
    useful = task.matrix_flops - task.replica_flops + near_vector
    return replace(
        task,
        transfers=(*rest, read, *_operands(units, (inputs, min(query, inputs)), (outputs, min(result, outputs)))),
        matrix_flops=0,
        replica_flops=0,
        vector_flops=vector_flops,
        near=Near(units.memory, task.matrix_flops + near_vector, useful),
    )


def _product(task: Task, units: NearUnits, weights: Transfer) -> Task:
    spec, rows = units.spec, max(task.matrix_rows, 1)
    passes = -(-rows // (spec.rows if "gemm" in spec.operators else 1))
    element = _bytes_per_element(task)
    # The inner dimension's inputs of one row, and how often a unit's buffer takes them.
    inner = max(1, task.matrix_inputs // rows)
    reloads = max(1, -(-inner * element // spec.buffer_bytes))
    outputs = task.matrix_flops // (2 * inner)
    read = replace(
        weights,
        level=units.array,
        bytes=weights.bytes * passes,
        run_bytes=_run(weights, units, -(-weights.bytes // (units.places * reloads))),
        granule_bytes=0,
    )
    sent = task.matrix_inputs * element
    inputs = (sent * units.places * units.buses, sent)
    results = (outputs * max(spec.result_bytes, element), outputs * element)
    return replace(
        task,
        transfers=(*(t for t in task.transfers if t is not weights), read, *_operands(units, inputs, results)),
        matrix_flops=0,
        replica_flops=0,
        near=Near(units.memory, task.matrix_flops, task.matrix_flops - task.replica_flops),
    )


def _run(operand: Transfer, units: NearUnits, together: int) -> int:
    """Return the bytes of a place that units stream from one loading of inputs on, or that lie together."""
    return max(1, together) if units.spec.level in ("bank", "bank_group") else operand.run_bytes


def _bytes_per_element(task: Task) -> int:
    return {"fp8": 1, "int8": 1, "int4": 1}.get(task.matrix_dtype, 2)


def _operands(units: NearUnits, inputs: tuple[int, int], outputs: tuple[int, int]) -> tuple[Transfer, ...]:
    """Return the transfers of (bytes, useful bytes) over the interface; each is one run."""
    sent = Transfer(units.io, "activations", inputs[0], inputs[1], write=False, run_bytes=inputs[0])
    back = Transfer(units.io, "activations", outputs[0], outputs[1], write=True, run_bytes=outputs[0])
    return tuple(transfer for transfer in (sent, back) if transfer.bytes)


def _alone_ps(work: Work, system: System) -> int:
    """Return the time of *work* on an idle chip: chunks arrive over gates in turn and are computed in turn."""
    free: dict[str, int] = {}
    computed = written = 0
    for chunk in work.chunks:
        arrived = computed
        for held, latency_ps in (*chunk.streamed, *chunk.bound):
            arrived = max(arrived, _reserve(held, 0, free, system) + latency_ps)
        computed = arrived + max(chunk.matrix_ps, chunk.vector_ps, *(ps for _, ps in chunk.near), 0)
        for held in chunk.writes:
            written = max(written, _reserve(held, computed, free, system))
    return max(computed, written)


def _reserve(held: tuple[tuple[str, int], ...], now: int, free: dict[str, int], system: System) -> int:
    ends = now
    done: set[str] = set()
    for pipe, duration in held:
        gate = system.pipes[pipe].gate
        if gate not in done:
            done.add(gate)
            free[gate] = max(free.get(gate, 0), now) + duration
            ends = max(ends, free[gate])
    return ends
