"""The shape of a standard's table.

A set of timings keeps every number as it was published: in nanoseconds, or in clocks where the standard counts clocks.
Public presets state clocks at one speed grade; `at_grade` keeps their nanoseconds, so that another grade's clocks are
computed anew. Names: `tRCDRD` row to read, `tRCDWR` row to write, `tRP`, `tRAS`, `tRC`, `tWR`, `tRTP`, `CL` and `CWL`
(column to data), `tCCDS/L/R` (column to column in another bank group, the same one, another stack id), `tRRDS/L`,
`tFAW`, `tWTRS/L` (end of write data to read), `tRTW` (read to write command), or `tWPRE` (preamble that a write adds to
it), `BLL` (burst as its own bank group counts it), `tPPD`, `tREFI`, `tRFCpb`, `tRREFD`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction

__all__ = ["Split", "Standard", "Timing", "at_grade", "clocks", "ns"]


@dataclass(frozen=True, slots=True)
class Timing:
    """One number of a timing set: the longer of its two parts."""

    ps: Fraction
    """Picoseconds; 0 where the standard counts clocks alone."""
    clocks: int
    """Clocks at the least."""
    source: str

    def in_clocks(self, clock_ps: Fraction) -> int:
        """Return the clocks that this takes at a clock of *clock_ps*, rounded up."""
        return max(self.clocks, -int(-self.ps // clock_ps) if self.ps else 0)


def ns(value: str, source: str, *, at_least: int = 0) -> Timing:
    """Return *value* nanoseconds, and *at_least* so many clocks."""
    return Timing(Fraction(value) * 1000, at_least, source)


def clocks(value: int, source: str) -> Timing:
    """Return *value* clocks at every grade."""
    return Timing(Fraction(0), value, source)


def at_grade(clock_ps: int, source: str, values: Mapping[str, int]) -> dict[str, Timing]:
    """Return timings published as clocks of *clock_ps*, kept in nanoseconds."""
    return {
        name: Timing(Fraction(count * clock_ps), 0, f"{source}: {count} clocks of {clock_ps} ps")
        for name, count in values.items()
    }


@dataclass(frozen=True, slots=True)
class Split:
    """Activation in two commands, between which others may go, and a data clock that is started when it is needed."""

    within: Timing
    """From ACT-1 to the latest ACT-2."""
    guard: Timing
    """Time before that in which nothing else starts."""
    clock_tail: Timing
    """How long a burst keeps the data clock running."""


@dataclass(frozen=True, slots=True)
class Standard:
    """A DRAM standard: geometry of a data lane, commands, and named sets of timings."""

    name: str
    document: str
    """What specifies it."""
    lane_bits: int
    """Data pins that transfer one burst together: a pseudochannel, or the channel where there is none."""
    burst_length: int
    """Beats of a burst, metadata beats left out."""
    bits_per_clock: int
    """Bits a pin carries per command clock."""
    bank_groups: int
    banks_per_group: int
    page_bytes: int
    """Open row of one bank."""
    bus: int
    """Command slots of a clock; see `Device.bus`."""
    half_clocks: bool
    """Row commands take half clocks: ACT three of them, all others one."""
    activate_clocks: int
    """Clocks that an ACT occupies the command bus (where not half clocks)."""
    column_clocks: int
    """Clocks that a read or write occupies it."""
    stack_ids: bool
    """Stacked dies have ids, with tCCDR between them."""
    grade_bits_per_s: int
    """Pin rate of the published grade: the default."""
    sets: Mapping[str, Mapping[str, Timing]]
    """Named timing sets; the first is the default."""
    refresh: tuple[tuple[int, Timing], ...]
    """All-bank refresh time by channel density: `(gigabits at most, tRFCab)`, ascending."""
    default_channel_gbit: int
    """Density of a channel where none is given."""
    split_activate: Split | None = None
    """Present where ACT comes in two commands; a controller may send both together, which takes `activate_clocks`."""
