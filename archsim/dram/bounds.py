"""Closed forms of a device: upper bounds that no controller exceeds, tight where one constraint binds.

Shares of peak. Random reads: each needs an ACT, so they are bound by four ACTs per tFAW, one per tRRD, one per tRC and
bank, and one per ACT's time on the command bus that the lanes share. Accesses to one bank: one burst per tRC. Refresh
of all banks leaves `1 - tRFC / tREFI`.
"""

from __future__ import annotations

from fractions import Fraction

from archsim.dram.device import Device

__all__ = ["conflict_bound", "random_bound", "refresh_bound", "ticks_between"]


def ticks_between(device: Device, level: str, first: str, then: str, *, window: int = 1) -> int:
    """Return the longest such constraint at *level*, 0 where there is none."""
    at = device.levels.index(level) if level in device.levels else -1
    return max(
        (c.ticks for c in device.constraints
         if c.level == at and c.preceding == first and c.following == then and c.window == window and not c.sibling),
        default=0,
    )  # fmt: skip


def random_bound(device: Device) -> Fraction:
    """Return the share of peak of reads of one transaction each at random rows."""
    lane = device.levels[1]
    burst, banks = device.burst_ticks, device.banks // device.lanes
    bounds = [Fraction(1)]
    if window := ticks_between(device, lane, "ACT", "ACT", window=4):
        bounds.append(Fraction(4 * burst, window))
    if spacing := ticks_between(device, lane, "ACT", "ACT"):
        bounds.append(Fraction(burst, spacing))
    if cycle := ticks_between(device, "ba", "ACT", "ACT"):
        bounds.append(Fraction(banks * burst, cycle))
    act = max(ticks_between(device, "ch", "ACT", "ACT"), 1)
    closing = max(ticks_between(device, "ch", "PRE", "ACT"), 1)
    column = ticks_between(device, "ch", "RD", "ACT") if device.bus in (0, 3) else 0
    bounds.append(Fraction(burst, device.lanes * (act + closing + column)))
    return min(bounds)


def conflict_bound(device: Device) -> Fraction:
    """Return the share of peak of reads that all open another row of one bank: one burst per tRC (tRAS + tRP)."""
    opened = ticks_between(device, "ba", "ACT", "PRE") + ticks_between(device, "ba", "PRE", "ACT")
    return Fraction(device.burst_ticks, max(ticks_between(device, "ba", "ACT", "ACT"), opened) * device.lanes)


def refresh_bound(device: Device) -> Fraction:
    """Return the share of time that refreshes of all banks at once leave."""
    lane = device.levels[device.scope_level]
    return 1 - Fraction(ticks_between(device, lane, "REFA", "ACT"), device.refresh_ticks)
