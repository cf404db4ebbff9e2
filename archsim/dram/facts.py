"""What the memory floor hands up: clocks of one channel's data bus by what they were spent on.

Facts with causes, never an efficiency factor. The floors above turn them into time and into the ledger.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

__all__ = ["CAUSES", "Access", "ChannelFacts", "Phase", "together_on_channel"]

CAUSES = ("refresh", "row", "activate", "bank_group", "turnaround", "command_bus", "queue", "latency")
"""Why a data bus stands still while its channel has work, in the order of the ledger's accounts."""


@dataclass(frozen=True, slots=True)
class Access:
    """One stream of a phase as a channel sees it."""

    bytes: int
    """Bytes that the stream moves over the channel in proportion to the others of its phase; positive."""
    run_bytes: int
    """Contiguous bytes before the stream jumps elsewhere in the device (a KV page; a whole matrix: its size)."""
    write: bool


@dataclass(frozen=True, slots=True)
class Phase:
    """All streams that one operator issues together, closed loop with a window of bytes in flight."""

    accesses: tuple[Access, ...]
    window_bytes: int
    """Bytes in flight that one channel's share of the requesters can sustain."""
    latency_ps: int
    """On-chip round trip, core to channel and back, that adds to the device's own latency."""


@dataclass(frozen=True, slots=True)
class ChannelFacts:
    """Parts of the data bus's time in a phase, in any common unit: `transfer` plus one count for each cause."""

    transfer: int
    causes: tuple[int, ...]
    """Aligned with `CAUSES`."""
    first_access_ps: int
    """From the first request to its first byte, on an idle channel."""

    def __post_init__(self) -> None:
        if self.transfer <= 0 or len(self.causes) != len(CAUSES) or min(self.causes) < 0:
            raise ValueError(f"transfer must be positive and the {len(CAUSES)} causes not negative: {self}")

    @property
    def total(self) -> int:
        """All parts."""
        return self.transfer + sum(self.causes)

    @property
    def sustained(self) -> Fraction:
        """Share of peak that the phase sustains."""
        return Fraction(self.transfer, self.total)


def together_on_channel(run: int, *, channels: int, granule: int) -> int:
    """Return how much of a contiguous *run* lies together on one of *channels* that take turns every *granule*.

    All three are in one unit. A run over all channels is contiguous on each of them, granule after granule.
    """
    return run // channels if run >= channels * granule else min(run, granule)
