"""What one simulated iteration leaves: its time and the ledger of every part."""

from __future__ import annotations

from dataclasses import dataclass

from archsim.metrics.ledger import Books
from archsim.step.work import Service

__all__ = ["ChannelUse", "Scope", "StepRecord"]


@dataclass(frozen=True, slots=True)
class Scope:
    """One part whose peak is booked: memory, cache, engine or link; of one chip or of a fold of equal chips."""

    name: str
    """Address such as `chip0-7.hbm` or `link.chip0-switch0`."""
    kind: str
    """`"memory"`, `"cache"`, `"engine"`, `"link"`, or `"port"`: a chip's link to a memory of its own."""
    unit: str
    """`"bytes"` or `"flop"`."""
    peak_per_s: float
    """Of all chips in the fold together."""
    channels: int = 1
    """Channels of the memory on one chip."""
    chips: int = 1
    """Chips in the fold."""


@dataclass(frozen=True, slots=True)
class ChannelUse:
    """How often a step used a memory in one way: enough to book every channel by itself."""

    scope: str
    service: Service
    count: int
    """Executions on each chip of the fold."""


@dataclass(frozen=True, slots=True)
class StepRecord:
    """One iteration."""

    phase: str
    time_ps: int
    scopes: tuple[Scope, ...]
    books: Books
    """Scope name -> account -> bytes or FLOPs out of `peak_per_s * time`."""
    uses: tuple[ChannelUse, ...]
    collectives: tuple[tuple[str, int, str], ...]
    """(kind, bytes, algorithm) of every different collective."""
    jobs: int
    """Jobs whose time was rounded up, over all chips and repetitions."""
    event_count: int
    """Events that the simulation processed."""
    matrix_flops: tuple[tuple[str, int], ...] = ()
    """(element type, FLOPs done on the matrix engines of all chips), without rows that only fill a tile."""
