"""A kernel's chunks: what each reads and writes, how long it holds which pipes, and how long it is computed.

Transfers are cut in whole rows of granules and arithmetic evenly, so that pieces sum to the whole; every duration is
rounded up. Weights that no earlier task decides are streamed ahead where the runtime does so, what a memory's own
prefetch buffer brings is early (T3, T4), all else is bound to the tasks before. When a chunk's turn comes is the
simulation's to find (`iteration`).
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from fractions import Fraction

from archsim.dram.facts import ChannelFacts
from archsim.hardware.level import Level
from archsim.mapping.plan import Transfer
from archsim.units import picoseconds_for

__all__ = ["Chunk", "Early", "Held", "Kind", "Piece", "Reads", "chunk_of", "cut_time", "cut_transfer", "on_pipes"]

Held = tuple[tuple[str, int], ...]
"""(pipe, duration in ps) of what one access holds at once."""
Reads = tuple[tuple[Held, int], ...]
"""(what is held, latency to the first byte in ps) of each level read."""


@dataclass(frozen=True, slots=True)
class Early:
    """What a chunk reads of a memory with a prefetch buffer of its own."""

    level: str
    bytes: int
    held: Held
    latency_ps: int
    lands: Held
    """What its being written to another memory on the way holds, if anything."""


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
    near: Held
    """Near-memory units and how long they compute."""
    writes: tuple[Held, ...]
    early: tuple[Early, ...] = ()


Piece = tuple[int, int, int]
"""(moved bytes, busiest channel's bytes, picoseconds) of one transfer in one chunk."""


def cut_transfer(transfer: Transfer, count: int, level: Level, facts: ChannelFacts) -> list[Piece]:
    """Return *transfer* of *level* in *count* pieces."""
    # Cuts fall on whole rows of granules, so that only the last piece can load the channels unevenly.
    level = replace(level, interleave_bytes=transfer.granule_bytes) if transfer.granule_bytes else level
    moved = level.moved_bytes(transfer.bytes, max(1, transfer.run_bytes))
    rows = moved // level.row_bytes
    edges = [index * rows // count * level.row_bytes for index in range(count)] + [moved]
    sizes = [after - before for before, after in itertools.pairwise(edges)]
    busiest = [level.busiest_bytes(size) for size in sizes]
    return [(size, most, level.duration_ps(most, facts)) for size, most in zip(sizes, busiest, strict=True)]


def cut_time(flops: int, count: int, flop_per_s: int) -> list[int]:
    """Return the picoseconds of each of *count* pieces of *flops*."""
    edges = [index * flops // count for index in range(count + 1)]
    return [picoseconds_for(after - before, flop_per_s) for before, after in itertools.pairwise(edges)]


Kind = tuple[tuple[Piece, ...], int, int, Held]
"""What makes a chunk: a piece of every transfer, and the time of matrix, vector and near engines."""


def chunk_of(
    kind: Kind, transfers: Iterable[Transfer], levels: dict[str, Level], facts: dict[str, ChannelFacts]
) -> Chunk:
    """Return the chunk of *kind* of a kernel with *transfers*, whose *levels* sustain *facts*."""
    pieces, matrix_ps, vector_ps, near = kind
    mine = dict(zip(transfers, pieces, strict=True))
    early = {t: piece for t, piece in mine.items() if t.ahead}
    read = {t: piece for t, piece in mine.items() if not t.ahead and not t.write}
    streamed = {t: piece for t, piece in read.items() if (t.tensor == "weights" and not t.late) or t.staged_by}
    bound = {t: piece for t, piece in read.items() if t not in streamed}
    written = {t: piece for t, piece in mine.items() if t.write and not t.staged_by}
    landing = {t: piece for t, piece in mine.items() if t.write and t.staged_by}
    return Chunk(
        streamed=_reads(streamed, levels, facts),
        bound=_reads(bound, levels, facts),
        streamed_bytes=_staged_bytes(streamed, levels),
        bound_bytes=_staged_bytes(bound, levels),
        matrix_ps=matrix_ps,
        vector_ps=vector_ps,
        near=near,
        writes=tuple(_held(written, levels).values()),
        early=tuple(_early(early, landing, levels, facts)),
    )


def _reads(pieces: dict[Transfer, Piece], levels: dict[str, Level], facts: dict[str, ChannelFacts]) -> Reads:
    return tuple((held, facts[level].first_access_ps) for level, held in _held(pieces, levels).items())


def _early(
    read: dict[Transfer, Piece],
    landing: dict[Transfer, Piece],
    levels: dict[str, Level],
    facts: dict[str, ChannelFacts],
) -> Iterator[Early]:
    for level, held in _held(read, levels).items():
        size = sum(moved for transfer, (moved, _, _) in read.items() if transfer.level == level)
        on_the_way = {transfer: piece for transfer, piece in landing.items() if transfer.staged_by == level}
        lands = next(iter(_held(on_the_way, levels).values()), ())
        yield Early(level, size, held, facts[level].first_access_ps, lands)


def _staged_bytes(pieces: dict[Transfer, Piece], levels: dict[str, Level]) -> int:
    """Return the bytes that come to the chip: what units read from their arrays does not."""
    return sum(moved for transfer, (moved, _, _) in pieces.items() if not levels[transfer.level].inside)


def _held(pieces: dict[Transfer, Piece], levels: dict[str, Level]) -> dict[str, Held]:
    durations: dict[str, list[int]] = {}
    for transfer, (moved, _, duration) in pieces.items():
        if moved:
            durations.setdefault(transfer.level, []).append(duration)
    return {level: on_pipes(levels[level], each) for level, each in durations.items()}


def on_pipes(level: Level, durations: Iterable[int]) -> Held:
    """Return how long accesses of *durations* to *level* hold each of its pipes."""
    each = list(durations)
    return tuple((pipe, sum(_share(ps, share) for ps in each)) for pipe, share in level.pipes)


def _share(duration_ps: int, share: Fraction) -> int:
    return -(-duration_ps * share.numerator // share.denominator)
