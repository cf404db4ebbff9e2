"""Reads that wait for room (A12): queues over the chunks of all kernels of a rank.

Operands are read into the chip's staging. T3: a memory with a prefetch buffer of its own (flash, host memory behind a
DMA engine) is read ahead of the kernels through that buffer, whatever the runtime does: the addresses of weights and of
KV blocks written before are known early. T4: what such a memory hands on `through` another one is written there first,
in the room that the buffer is, and read from there like any operand once it has landed.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from archsim.hardware.system import System
from archsim.step.chunks import Chunk, Held, Reads

__all__ = ["Feed", "Place", "feeds_of"]

Place = tuple[int, int]
"""(kernel, chunk) of a rank."""


@dataclass(slots=True)
class Feed:
    """One queue: the reads of one rank into one buffer."""

    chunks: list[list[tuple[Reads, int]]]
    """For each kernel in order, its chunks as (reads, bytes)."""
    room_bytes: list[int]
    """For each kernel, the buffer as its chunks find it."""
    ahead: bool
    """Whether it may read for kernels that have not started."""
    lands: list[list[Held]] = field(default_factory=list)
    """For each kernel and chunk, what it holds when it is written to another memory; empty: it is handed on."""
    sources: list[Feed] = field(default_factory=list)
    """Feeds whose chunks must have landed before these are read."""
    kernel: int = 0
    chunk: int = 0
    staged_bytes: int = 0
    arrived: dict[Place, int] = field(default_factory=dict)
    """The job that brought the last byte of a chunk."""
    landed: set[Place] = field(default_factory=set)

    def next(self, running: int) -> Place | None:
        """Return the next chunk that there is room for while kernel *running* runs, or None."""
        last = len(self.chunks) - 1 if self.ahead else running
        while self.kernel <= last and self.chunk == len(self.chunks[self.kernel]):
            self.kernel, self.chunk = self.kernel + 1, 0
        if self.kernel > last:
            return None
        size = self.chunks[self.kernel][self.chunk][1]
        if self.staged_bytes + size > self.room_bytes[self.kernel]:
            return None
        place = (self.kernel, self.chunk)
        if self.sources and any(s.lands_on_the_way(place) and place not in s.landed for s in self.sources):
            return None
        self.staged_bytes += size
        self.chunk += 1
        return place

    def lands_on_the_way(self, place: Place) -> bool:
        """Return whether the chunk at *place* is written to another level before it can be read."""
        kernel, chunk = place
        return bool(self.lands and self.lands[kernel][chunk])

    def has_issued(self, place: Place) -> bool:
        """Return whether the reads of the chunk at *place* are under way."""
        return (self.kernel, self.chunk) > place

    def give_back(self, place: Place) -> None:
        """Free the room of the chunk at *place*, which has been computed."""
        kernel, chunk = place
        self.staged_bytes -= self.chunks[kernel][chunk][1]


def feeds_of(kernels: list[tuple[Chunk, ...]], system: System) -> list[Feed]:
    """Return the feeds of a rank that runs *kernels* in order: those into staging first."""
    staging = system.staging_bytes
    if system.runtime.prefetch == "stream":
        weights = [[(c.streamed, c.streamed_bytes) for c in kernel] for kernel in kernels]
        rest = [[(c.bound, c.bound_bytes) for c in kernel] for kernel in kernels]
        into_staging = [_feed(weights, staging, ahead=True), _feed(rest, staging, ahead=False)]
    else:
        both = [[(c.streamed + c.bound, c.streamed_bytes + c.bound_bytes) for c in kernel] for kernel in kernels]
        into_staging = [_feed(both, staging, ahead=False)]
    # A buffer that nothing is read through would run ahead to the last kernel, and hide that layers repeat.
    used = {early.level for kernel in kernels for chunk in kernel for early in chunk.early}
    early = [_early_feed(kernels, name, level.ahead_bytes) for name, level in system.levels.items() if name in used]
    for feed in into_staging:
        feed.sources = [source for source in early if source.lands]
    return [*into_staging, *early]


def _feed(chunks: list[list[tuple[Reads, int]]], staging_bytes: int, *, ahead: bool) -> Feed:
    # Two chunks of any kernel fit: an engine that waited for one too large for staging would wait for ever.
    room = [max(staging_bytes, 2 * max(size for _, size in kernel)) for kernel in chunks]
    return Feed(chunks, room, ahead)


def _early_feed(kernels: list[tuple[Chunk, ...]], level: str, buffer_bytes: int) -> Feed:
    chunks: list[list[tuple[Reads, int]]] = []
    lands: list[list[Held]] = []
    for kernel in kernels:
        found = [[early for early in chunk.early if early.level == level] for chunk in kernel]
        reads = [tuple((early.held, early.latency_ps) for early in of_chunk) for of_chunk in found]
        sizes = [sum(early.bytes for early in of_chunk) for of_chunk in found]
        chunks.append(list(zip(reads, sizes, strict=True)))
        lands.append([of_chunk[0].lands if of_chunk else () for of_chunk in found])
    feed = _feed(chunks, buffer_bytes, ahead=True)
    if any(held for of_kernel in lands for held in of_kernel):
        feed.lands = lands
    return feed
