"""Closed form of a channel whose banks all work on one command: what near-memory units at the banks sustain.

One all-bank column command reads a burst from every unit's open row, each `tCCD_L` (banks of one group share their data
path; every group takes part) or whatever interval power or design allows. All rows open and close together, so that
nothing hides a row change. Runs follow each other in the rows; for one of n columns, r = n / columns of a row:

    time = n x interval + r x (read to precharge + tRP + tRCD - interval + stagger) + turnaround

at least tRC a row, and of all time tRFC / tREFI is refresh. `stagger` is 0 where one command opens all rows, else the
wait for the last of b banks, (ceil(b / 4) - 1) tFAW. Between runs the units get new inputs: the bus turns to writes and
back. At the level of bank groups one bank of each group reads while the next one opens, so row changes hide as far as
the other banks' columns last.

Not a controller: nothing else uses the channel meanwhile. What the interval of commands adds beyond tCCD_L for the sake
of power is booked as `activate`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction

from archsim.dram.bounds import ticks_between
from archsim.dram.device import Device
from archsim.dram.facts import CAUSES, ChannelFacts

__all__ = ["AllBank", "all_bank_facts", "broadcast_facts", "column_ticks"]


@dataclass(frozen=True, slots=True)
class AllBank:
    """How a channel is driven in lock step."""

    device: Device
    units: int
    """Units of the channel."""
    interval_ps: int | None
    """Between column commands; None: tCCD_L."""
    staggered: bool
    """Rows open four in each tFAW."""
    grouped: bool
    """One bank of each bank group reads at a time."""


def column_ticks(mode: AllBank) -> tuple[Fraction, Fraction]:
    """Return (ticks of a column access at the peak, ticks of one as it is driven)."""
    device = mode.device
    level = "bg" if "bg" in device.levels else "ba"
    spaced = Fraction(max(ticks_between(device, level, "RD", "RD"), device.burst_ticks))
    if mode.interval_ps is None:
        return spaced, spaced
    driven = mode.interval_ps / device.tick_ps
    return min(spaced, driven), driven


def all_bank_facts(mode: AllBank, run_bytes: int) -> ChannelFacts:
    """Return the parts of the time in which the channel's units together stream runs of *run_bytes*."""
    device = mode.device
    peak, interval = column_ticks(mode)
    columns = max(1, -(-run_bytes // (mode.units * device.transaction_bytes)))
    rows = Fraction(columns, device.row_transactions)
    row, stagger = _row_change(mode, interval, Fraction(device.row_transactions))
    parts = {
        "row": rows * row,
        "activate": rows * stagger + columns * (interval - peak),
        "turnaround": _turnaround(device, interval),
    }
    transfer = columns * peak
    return _facts(device, transfer, parts, _first_read(device))


def broadcast_facts(mode: AllBank) -> ChannelFacts:
    """Return the parts of the time in which a host writes inputs to all units of a channel, or reads their results.

    Every burst goes to the same bank group of registers, so bursts follow each other by tCCD_L.
    """
    device = mode.device
    spaced, _ = column_ticks(mode)
    parts = {"bank_group": max(spaced - device.burst_ticks, Fraction(0))}
    return _facts(device, Fraction(device.burst_ticks), parts, 0)


def _row_change(mode: AllBank, interval: Fraction, columns: Fraction) -> tuple[Fraction, Fraction]:
    """Return the ticks that a change of rows adds to *columns* accesses of a row, without and by staggering."""
    device = mode.device
    lane = device.levels[1]
    reopened = sum(
        ticks_between(device, "ba", first, then) for first, then in (("RD", "PRE"), ("PRE", "ACT"), ("ACT", "RD"))
    )
    added = max(reopened - interval, ticks_between(device, "ba", "ACT", "ACT") - columns * interval, Fraction(0))
    banks = device.banks // device.lanes
    groups = device.sizes[device.levels.index("bg")] if "bg" in device.levels else 1
    if mode.grouped:
        hidden = (banks // groups - 1) * columns * interval
        return max(added - hidden, Fraction(0)), Fraction(0)
    waits = (-(-banks // 4) - 1) * ticks_between(device, lane, "ACT", "ACT", window=4) if mode.staggered else 0
    return added, Fraction(waits)


def _turnaround(device: Device, interval: Fraction) -> Fraction:
    """Return the ticks beyond two intervals in which the bus turns from reads to writes of inputs and back."""
    lane = device.levels[1]
    level = "bg" if "bg" in device.levels else lane
    turns = ticks_between(device, lane, "RD", "WR") + max(
        ticks_between(device, level, "WR", "RD"), ticks_between(device, lane, "WR", "RD")
    )
    return max(turns - 2 * interval, Fraction(0))


def _first_read(device: Device) -> int:
    return int((ticks_between(device, "ba", "ACT", "RD") + device.read_ticks) * device.tick_ps)


def _facts(device: Device, transfer: Fraction, parts: dict[str, Fraction], first_access_ps: int) -> ChannelFacts:
    # Refresh takes tRFC of every tREFI: what is left of the time does the work.
    share = Fraction(ticks_between(device, device.levels[device.scope_level], "REFA", "ACT"), device.refresh_ticks)
    busy = transfer + sum(parts.values())
    every = {**parts, "refresh": busy * share / (1 - share)}
    causes = [every.get(cause, Fraction(0)) for cause in CAUSES]
    unit = math.lcm(*(part.denominator for part in (transfer, *causes)))
    return ChannelFacts(int(transfer * unit), tuple(int(part * unit) for part in causes), first_access_ps)
