"""A task as work: chunks with durations, and what each scope's service of it is booked as.

Static: a task takes the same service wherever it stands in a step, so this is computed once per task and multiplied.
Waiting is not here; the step simulation finds it. A kernel streams its operands in chunks of a pipeline stage, the
on-chip staging divided by the runtime's pipeline depth.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from archsim.dram.facts import Access, ChannelFacts
from archsim.hardware.level import Level
from archsim.hardware.nearmem import NearUnits
from archsim.hardware.system import System
from archsim.mapping.plan import Near, Plan, Task, Transfer
from archsim.step.chunks import Chunk, Held, Piece, chunk_of, cut_time, cut_transfer, on_pipes
from archsim.step.exchange import Exchanges, is_overlapped

__all__ = ["Service", "Work", "alone_ps", "landings_of", "work_of", "works_of"]

MOST_CHUNKS = 32
"""A2: a kernel is cut into at most 32 chunks; coarser than a real tile, it overstates fill and drain by 1/32."""

_KEPT_WORKS = 2048
"""Tasks whose work a system keeps, some 5 KB each."""


@dataclass(frozen=True, slots=True)
class Service:
    """How one transfer used one level, enough to book it per scope or per channel."""

    level: str
    tensor: str
    useful_bytes: int
    moved_bytes: int
    busiest_bytes: int
    """Sum over chunks of the busiest channel's bytes."""
    held: Held
    """Pipes of the level and how long they were held, rounded up chunk by chunk."""
    pieces: int
    """Jobs that were rounded up."""
    facts: ChannelFacts
    granule_bytes: int
    """Bytes that lie together on one channel."""

    @property
    def held_ps(self) -> int:
        """Time the level itself was held."""
        return self.held[0][1]


@dataclass(frozen=True, slots=True)
class Work:
    """One execution of a task on one rank."""

    chunks: tuple[Chunk, ...]
    services: tuple[Service, ...]
    useful_matrix_flops: int
    """Without what a replica computes again."""
    padded_matrix_flops: int
    vector_flops: int
    matrix_ps: int
    vector_ps: int
    matrix_dtype: str
    near: Near | None
    near_ps: int
    kernels: int
    exposed_ps: int
    """What neither reads nor products hide of each other (A40)."""


def works_of(plan: Plan, system: System) -> dict[Task, Work]:
    """Return the work of every different kernel in *plan*."""
    ranks = (plan.segments, *plan.others)
    tasks: dict[Task, int] = {}
    for segment in (segment for segments in ranks for segment in segments):
        # A segment without tasks (a group without sequences) has none that follows.
        for task, following in zip(segment.tasks, (*segment.tasks[1:], None), strict=False):
            if not task.collective:
                parts = (
                    system.runtime.overlap_parts if following is not None and is_overlapped(following, system) else 1
                )
                tasks[task] = max(parts, tasks.get(task, 1))
    return {task: _kept_work(task, system, least) for task, least in tasks.items()}


def _kept_work(task: Task, system: System, least_chunks: int) -> Work:
    """Return `work_of`, worked out once for all iterations of *system* that have the task."""
    key = (task, least_chunks)
    work = system.works.pop(key, None)
    if not isinstance(work, Work):
        work = work_of(task, system, least_chunks=least_chunks)
        if len(system.works) >= _KEPT_WORKS:
            del system.works[next(iter(system.works))]
    system.works[key] = work
    return work


def landings_of(plan: Plan, exchanges: Exchanges, system: System) -> dict[Task, Work]:
    """Return for each collective of *plan* the work of a buffer in main memory; nothing where packets land in SRAM.

    What the busiest rank receives is written once it is there, and read again before the next kernel (P7).
    """
    if system.spec.network.landing == "sram":
        return {}
    memory = system.spec.chip.main_memory
    tasks = {task: exchanges[task.collective] for s in plan.segments for task in s.tasks if task.collective is not None}
    return {
        task: work_of(
            Task(task.name, tuple(Transfer(memory, "moved", size, size, way, size) for way in (True, False))), system
        )
        for task, facts in tasks.items()
        if (size := facts.received_bytes)
    }


def work_of(task: Task, system: System, *, least_chunks: int = 1) -> Work:
    """Return the work of one kernel, in at least so many chunks."""
    count = max(least_chunks, _chunk_count(task, system))
    facts = {name: _sustained(task, level, system) for name, level in system.levels.items() if _uses(task, name)}
    pieces = {t: cut_transfer(t, count, system.levels[t.level], facts[t.level]) for t in task.transfers}
    padded = _padded_flops(task, system)
    matrix = cut_time(padded, count, system.sustained_matrix_rate(task.matrix_dtype) if padded else 1)
    vector = cut_time(task.vector_flops, count, system.vector_rate if task.vector_flops else 1)
    near = _near_times(task, count, system)
    # Cut in whole rows, all but a few chunks of a kernel are equal: each kind is made once.
    kinds = [
        (tuple(cut[index] for cut in pieces.values()), matrix[index], vector[index], near[index])
        for index in range(count)
    ]
    made = {kind: chunk_of(kind, pieces, system.levels, facts) for kind in dict.fromkeys(kinds)}
    chunks = tuple(made[kind] for kind in kinds)
    services = tuple(_service(t, pieces[t], system.levels[t.level], facts[t.level]) for t in task.transfers if t.bytes)
    return Work(
        chunks=chunks,
        services=services,
        useful_matrix_flops=task.matrix_flops - task.replica_flops,
        padded_matrix_flops=padded,
        vector_flops=task.vector_flops,
        matrix_ps=sum(matrix),
        vector_ps=sum(vector),
        matrix_dtype=task.matrix_dtype,
        near=task.near,
        kernels=task.kernels,
        near_ps=sum(duration for held in near for _, duration in held),
        exposed_ps=_exposed_ps(pieces, sum(matrix), system),
    )


def _exposed_ps(pieces: dict[Transfer, list[Piece]], matrix_ps: int, system: System) -> int:
    # A40: where loads and products share the slots of issue, part of the shorter of the two is not hidden.
    share = system.spec.chip.engine["matrix"].exposed
    if not share:
        return 0
    reads: dict[str, int] = {}
    for transfer, cut in pieces.items():
        if not transfer.write:
            reads[transfer.level] = reads.get(transfer.level, 0) + sum(duration for _, _, duration in cut)
    return int(share * min(matrix_ps, max(reads.values(), default=0)))


def _chunk_count(task: Task, system: System) -> int:
    """Return the stages of a kernel: as many as its reads fill staging, or the buffers of the units that read them."""
    stages = Fraction(0)
    units = system.near.get(task.near.memory) if task.near else None
    for transfer in task.transfers:
        if not transfer.write:
            room = units.units * units.spec.buffer_bytes if units and transfer.level == units.array else 0
            stages += Fraction(transfer.bytes, room or max(1, system.stage_bytes))
    return max(1, min(MOST_CHUNKS, -int(-stages // 1)))


def _near_times(task: Task, count: int, system: System) -> list[Held]:
    if task.near is None or not task.near.flops:
        return [()] * count
    units: NearUnits = system.near[task.near.memory]
    times = cut_time(task.near.flops, count, units.flop_per_s(task.matrix_dtype))
    return [((units.name, duration),) for duration in times]


def _sustained(task: Task, level: Level, system: System) -> ChannelFacts:
    # N10: where cores are counted, each piece of the KV cache is one core's, and pieces come in whole rounds of cores.
    cores = system.spec.chip.cores
    reads = any(transfer.level == level.name and transfer.tensor == "kv_read" for transfer in task.transfers)
    if cores is None or not reads or not task.shards or level.sustain_in_part is None:
        return level.sustain(_accesses(task, level))
    rounds = -(-task.shards // cores)
    return level.sustain_in_part(_accesses(task, level), Fraction(task.shards, rounds * cores))


def _uses(task: Task, level: str) -> bool:
    return any(transfer.level == level for transfer in task.transfers)


def _accesses(task: Task, level: Level) -> tuple[Access, ...]:
    return tuple(
        Access(bytes=max(1, t.bytes // level.channels), run_bytes=max(1, t.run_bytes), write=t.write)
        for t in task.transfers
        if t.level == level.name and t.bytes
    )


def _padded_flops(task: Task, system: System) -> int:
    # A3: fewer rows than a tile cost the matrix engine a whole tile. Beyond that, partial tiles count pro rata: a large
    # product is spread over many tiles, of which the last row of tiles is a small part.
    rows, tile = task.matrix_rows, system.row_tile
    return task.matrix_flops * tile // rows if 0 < rows < tile else task.matrix_flops


def _service(transfer: Transfer, cut: list[Piece], level: Level, facts: ChannelFacts) -> Service:
    return Service(
        level=level.name,
        tensor=transfer.tensor,
        useful_bytes=transfer.useful_bytes,
        moved_bytes=sum(moved for moved, _, _ in cut),
        busiest_bytes=sum(most for _, most, _ in cut),
        held=on_pipes(level, [duration for moved, _, duration in cut if moved]),
        pieces=sum(1 for moved, _, _ in cut if moved),
        facts=facts,
        granule_bytes=transfer.granule_bytes or level.interleave_bytes,
    )


def alone_ps(work: Work, system: System) -> int:
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
    return max(computed, written) + work.exposed_ps


def _reserve(held: Held, now: int, free: dict[str, int], system: System) -> int:
    ends = now
    done: set[str] = set()
    for pipe, duration in held:
        gate = system.pipes[pipe].gate
        if gate not in done:
            done.add(gate)
            free[gate] = max(free.get(gate, 0), now) + duration
            ends = max(ends, free[gate])
    return ends
