"""A DRAM channel as data: its tree of banks, its commands' constraints, its clock.

Not a controller and not a standard's table: `standards` builds a `Device` from a table in nanoseconds, and a reference
file may state one constraint by constraint. Times are ticks: `ticks_per_clock` is 2 where the standard has commands of
half a clock (HBM3, HBM4), else 1.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction

from archsim.units import PS_PER_S

__all__ = ["CLASSES", "COMMANDS", "Constraint", "Device", "class_of"]

COMMANDS = ("ACT", "PRE", "PREA", "RD", "WR", "RDA", "WRA", "REFA", "REFB", "ACT2", "CASR", "CASW")
"""Commands by number. ACT2 and CAS exist where activation is split and the data clock is started (LPDDR5, LPDDR6)."""
CLASSES = (
    "transfer", "refresh", "row", "activate", "bank_group", "turnaround", "command_bus", "queue", "latency", "idle",
)  # fmt: skip
"""What a tick of a data bus goes to, by number."""

_REFRESHES = ("REFA", "REFB", "PREA")
_READS, _WRITES = ("RD", "RDA"), ("WR", "WRA")


@dataclass(frozen=True, slots=True)
class Constraint:
    """After *preceding* at a node of *level*, *following* must wait *ticks* there (at its siblings if *sibling*).

    With a *window* of n the wait counts from the n-th last *preceding* (tFAW: 4).
    """

    level: int
    preceding: str
    following: str
    ticks: int
    window: int = 1
    sibling: bool = False


@dataclass(frozen=True, slots=True)
class Device:
    """One channel of a DRAM device."""

    name: str
    levels: tuple[str, ...]
    """From the channel to the bank: `ch`, then `pc`, `ra`, `sid`, `bg` where the standard has them, and `ba`."""
    sizes: tuple[int, ...]
    """How many nodes of each level stand below one node of the level above."""
    rows: int
    row_transactions: int
    """Transactions in one open row."""
    transaction_bytes: int
    clock_ps: Fraction
    ticks_per_clock: int
    burst_ticks: int
    """Ticks of the data bus per transaction."""
    read_ticks: int
    """From the read command to its last data."""
    write_ticks: int
    """From the write command to its last data."""
    constraints: tuple[Constraint, ...]
    bus: int
    """Command slots of a tick: 0 one command, 1 one column and one row command, 2 the same in half clocks, 3 one
    command, with ACT in two (`split_activate`)."""
    split_activate: tuple[int, int, int] | None
    """LPDDR5 and LPDDR6: ACT1 to the latest ACT2, guard before it, how long a burst keeps the data clock (ticks)."""
    refresh_ticks: int
    """tREFI."""
    refresh_bank_interval_ticks: int
    """Interval of one-bank refreshes; 0 where the standard has none."""
    refresh_bank_ticks: int
    """tRFCpb."""

    @property
    def banks(self) -> int:
        """Banks of the channel, over all pseudochannels."""
        return math.prod(self.sizes)

    @property
    def lanes(self) -> int:
        """Independent data buses: pseudochannels."""
        return self.sizes[self.levels.index("pc")] if "pc" in self.levels else 1

    @property
    def scope_level(self) -> int:
        """The level whose nodes an all-bank refresh refreshes whole."""
        return next((self.levels.index(level) for level in ("pc", "ra") if level in self.levels), 0)

    @property
    def tick_ps(self) -> Fraction:
        """Length of a tick."""
        return self.clock_ps / self.ticks_per_clock

    def ticks_for(self, picoseconds: int) -> int:
        """Return the whole ticks that *picoseconds* take, rounded up."""
        return -int(-picoseconds // self.tick_ps)

    @property
    def peak_bytes_per_s(self) -> Fraction:
        """Pin rate times width of the channel."""
        return self.lanes * self.transaction_bytes * PS_PER_S / (self.burst_ticks * self.tick_ps)

    @property
    def capacity_bytes(self) -> int:
        """Bytes that the channel addresses."""
        return self.banks * self.rows * self.row_transactions * self.transaction_bytes


def class_of(constraint: Constraint, levels: tuple[str, ...]) -> str:
    """Return the class of stall that *constraint* causes when it binds last."""
    level, first, then = levels[constraint.level], constraint.preceding, constraint.following
    if first in _REFRESHES or then in _REFRESHES:
        return "refresh"
    if (first in _READS and then in _WRITES) or (first in _WRITES and then in _READS):
        return "turnaround"
    if first == "ACT" and then == "ACT":
        return "row" if level == "ba" else "command_bus" if level == "ch" else "activate"
    if first in _READS + _WRITES and then in _READS + _WRITES:
        if constraint.sibling and level == "ra":
            return "turnaround"
        return "command_bus" if level == "ch" and "ba" in levels[1:] and len(levels) > 2 else "bank_group"
    return "command_bus" if level == "ch" or first == then == "PRE" else "row"
