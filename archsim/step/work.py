"""A task as work: chunks with durations, and what each scope's service of it is booked as.

Static: a task takes the same service wherever it stands in a step, so this is computed once per task and multiplied.
Waiting is not here; the step simulation finds it. A kernel streams its operands in chunks of a pipeline stage, the
on-chip staging divided by the runtime's pipeline depth.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

from archsim.dram.facts import Access, ChannelFacts
from archsim.hardware.level import Level
from archsim.hardware.system import System
from archsim.mapping.plan import Plan, Task, Transfer
from archsim.units import picoseconds_for

__all__ = ["Chunk", "Service", "Work", "works_of"]

MOST_CHUNKS = 32
"""A2: a kernel is cut into at most 32 chunks; coarser than a real tile, it overstates fill and drain by 1/32."""

Reads = tuple[tuple[str, int, int], ...]
"""(level, duration in ps, latency to the first byte in ps) of each level read."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """One pipeline stage of a kernel."""

    streamed: Reads
    """Reads that depend on no earlier task: weights, which a runtime may prefetch."""
    bound: Reads
    """Reads of what earlier tasks produced."""
    streamed_bytes: int
    bound_bytes: int
    matrix_ps: int
    vector_ps: int
    writes: tuple[tuple[str, int], ...]
    """(level, duration in ps)."""


@dataclass(frozen=True, slots=True)
class Service:
    """How one transfer used one level, enough to book it per scope or per channel."""

    level: str
    tensor: str
    useful_bytes: int
    moved_bytes: int
    busiest_bytes: int
    """Sum over chunks of the busiest channel's bytes."""
    held_ps: int
    """Time the level was held, rounded up chunk by chunk."""
    pieces: int
    """Jobs that were rounded up."""
    facts: ChannelFacts


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


def works_of(plan: Plan, system: System) -> dict[Task, Work]:
    """Return the work of every different kernel in *plan*."""
    ranks = (plan.segments, *plan.others)
    tasks = {task: None for segments in ranks for segment in segments for task in segment.tasks if not task.collective}
    return {task: _work(task, system) for task in tasks}


def _work(task: Task, system: System) -> Work:
    read_bytes = sum(transfer.bytes for transfer in task.transfers if not transfer.write)
    stage_bytes = max(1, system.stage_bytes)
    count = max(1, min(MOST_CHUNKS, -(-read_bytes // stage_bytes)))
    facts = {name: level.sustain(_accesses(task, level)) for name, level in system.levels.items() if _uses(task, name)}
    pieces = {t: _cut(t, count, system.levels[t.level], facts[t.level]) for t in task.transfers}
    padded = _padded_flops(task, system)
    matrix = _cut_time(padded, count, system.sustained_matrix_rate(task.matrix_dtype) if padded else 1)
    vector = _cut_time(task.vector_flops, count, system.vector_rate if task.vector_flops else 1)
    chunks = tuple(_chunk(index, pieces, facts, matrix[index], vector[index]) for index in range(count))
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
    )


def _uses(task: Task, level: str) -> bool:
    return any(transfer.level == level for transfer in task.transfers)


def _accesses(task: Task, level: Level) -> tuple[Access, ...]:
    return tuple(
        Access(bytes=max(1, t.bytes // level.channels), run_bytes=max(1, t.run_bytes), write=t.write)
        for t in task.transfers
        if t.level == level.name and t.bytes
    )


Piece = tuple[int, int, int]
"""(moved bytes, busiest channel's bytes, picoseconds) of one transfer in one chunk."""


def _cut(transfer: Transfer, count: int, level: Level, facts: ChannelFacts) -> list[Piece]:
    # Cuts fall on whole rows of granules, so that only the last piece can load the channels unevenly.
    moved = level.moved_bytes(transfer.bytes, max(1, transfer.run_bytes))
    rows = moved // level.row_bytes
    edges = [index * rows // count * level.row_bytes for index in range(count)] + [moved]
    sizes = [after - before for before, after in itertools.pairwise(edges)]
    busiest = [level.busiest_bytes(size) for size in sizes]
    return [(size, most, level.duration_ps(most, facts)) for size, most in zip(sizes, busiest, strict=True)]


def _cut_time(flops: int, count: int, flop_per_s: int) -> list[int]:
    edges = [index * flops // count for index in range(count + 1)]
    return [picoseconds_for(after - before, flop_per_s) for before, after in itertools.pairwise(edges)]


def _padded_flops(task: Task, system: System) -> int:
    # A3: fewer rows than a tile cost the matrix engine a whole tile. Beyond that, partial tiles count pro rata: a large
    # product is spread over many tiles, of which the last row of tiles is a small part.
    rows, tile = task.matrix_rows, system.row_tile
    return task.matrix_flops * tile // rows if 0 < rows < tile else task.matrix_flops


def _chunk(
    index: int, pieces: dict[Transfer, list[Piece]], facts: dict[str, ChannelFacts], matrix_ps: int, vector_ps: int
) -> Chunk:
    streamed = {t: cut[index] for t, cut in pieces.items() if not t.write and t.tensor == "weights"}
    bound = {t: cut[index] for t, cut in pieces.items() if not t.write and t.tensor != "weights"}
    written = {t: cut[index] for t, cut in pieces.items() if t.write}
    return Chunk(
        streamed=tuple((level, ps, facts[level].first_access_ps) for level, ps in _held_ps(streamed).items()),
        bound=tuple((level, ps, facts[level].first_access_ps) for level, ps in _held_ps(bound).items()),
        streamed_bytes=sum(moved for moved, _, _ in streamed.values()),
        bound_bytes=sum(moved for moved, _, _ in bound.values()),
        matrix_ps=matrix_ps,
        vector_ps=vector_ps,
        writes=tuple(_held_ps(written).items()),
    )


def _held_ps(pieces: dict[Transfer, Piece]) -> dict[str, int]:
    held: dict[str, int] = {}
    for transfer, (moved, _, duration) in pieces.items():
        if moved:
            held[transfer.level] = held.get(transfer.level, 0) + duration
    return held


def _service(transfer: Transfer, cut: list[Piece], level: Level, facts: ChannelFacts) -> Service:
    return Service(
        level=level.name,
        tensor=transfer.tensor,
        useful_bytes=transfer.useful_bytes,
        moved_bytes=sum(moved for moved, _, _ in cut),
        busiest_bytes=sum(most for _, most, _ in cut),
        held_ps=sum(duration for _, _, duration in cut),
        pieces=sum(1 for moved, _, _ in cut if moved),
        facts=facts,
    )
