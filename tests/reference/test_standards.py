"""The devices that our tables build, against the parameters that Ramulator 2.1 ran the reference streams with.

Two devices are compared by what a controller can see: how long a command waits for another one, at the same bank, at
another bank of its group, in another group, under another stack id, on another data lane. Which list of constraints
says so does not matter. A wait is equal when both are within one clock in picoseconds (the simulator rounds its clock
to whole picoseconds), and in clocks where the clocks are the same.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from fractions import Fraction
from functools import cache
from pathlib import Path

import pytest

from archsim.dram.build import DeviceOptions, build_device
from archsim.dram.channel import simulate
from archsim.dram.described import ramulator2_device, ramulator2_map, ramulator2_profile
from archsim.dram.device import Device
from archsim.dram.patterns import parse_pattern
from archsim.dram.streams import Domain

CASES = {
    "HBM2": ("HBM2_mapB_q32_FRFCFS_Open_AllBank", DeviceOptions(channel_gbit=16)),
    "HBM3": ("HBM3_mapB_q32_FRFCFS_Open_AllBank", DeviceOptions(channel_gbit=8, stack_ids=2)),
    "HBM4": ("HBM4_mapB_q32_FRFCFS_Open_AllBank", DeviceOptions(channel_gbit=8, stack_ids=2)),
    "LPDDR5": ("LPDDR5_mapB_q32_FRFCFS_Open_AllBank", DeviceOptions(channel_gbit=16, split_activate=True)),
    "DDR5": ("DDR5_mapB_q32_FRFCFS_Open_AllBank", DeviceOptions(channel_gbit=64)),
    "GDDR6": ("GDDR6_mapB_q32_FRFCFS_Open_AllBank", DeviceOptions(channel_gbit=8)),
    "GDDR7": ("GDDR7_mapB_q32_FRFCFS_Open_AllBank", DeviceOptions(channel_gbit=8)),
}
"""Standard, the configuration whose parameters it is held against, and the density that this one addresses."""

PLACES = ("bank", "group", "lane", "stack", "channel")
"""Same bank; another bank of the group; another group; another stack id; another lane."""
OPEN = [(first, then) for first in ("ACT", "PRE", "RD", "WR") for then in ("ACT", "PRE", "RD", "WR")]
CLOSING = [(first, "ACT") for first in ("RDA", "WRA")]
"""Auto-precharge waits like RD and WR until its row is closed; only the ACT after it differs."""
REFRESH = [
    *((first, then) for first in ("ACT", "PRE", "RDA", "WRA", "RD", "WR") for then in ("REFA", "PREA")),
    *((first, then) for first in ("PREA", "REFA") for then in ("ACT", "PREA", "REFA")),
    *((first, then) for first in ("ACT", "PRE", "REFB") for then in ("REFB", "ACT")),
]

Pair = tuple[str, str]

_ROW_CYCLE = "the reference rounds tRAS, tRP and tRC up one by one: 53 + 27 > 79; ours is their sum"
_DENSITY = "the reference takes 350 ns for 8 Gb of a pseudochannel, ours 450 ns for 16 Gb of a channel"
_ONE_BANK = "a bank is refreshed again only when its refresh is over; the reference spaces the commands alone"
_GROUP_REFRESH = "the reference spaces ACT and one-bank refresh by tRRD_L within a bank group"
_CLOSED_FIRST = "rows are closed before REFA, and that takes longer; the reference states the wait besides"
_OPEN_LONG = "a row stays open for tRAS; the reference has no such wait of a PREA"

DIFFERENCES: dict[str, dict[Pair, tuple[int, str]]] = {
    "HBM2": dict.fromkeys([("REFA", "ACT"), ("REFA", "PREA")], (100, _DENSITY)),
    "HBM3": {("REFB", "REFB"): (312, _ONE_BANK)},
    "HBM4": {("REFB", "REFB"): (544, _ONE_BANK), ("ACT", "REFB"): (2, _GROUP_REFRESH)},
    "LPDDR5": {
        ("PREA", "REFA"): (2, "tRPab of 17 clocks, where the reference has tRP"),
        ("REFB", "REFB"): (40, _ONE_BANK),
    },
    "DDR5": {},
    "GDDR6": {
        **dict.fromkeys([("ACT", "ACT"), ("ACT", "REFA"), ("ACT", "REFB")], (1, _ROW_CYCLE)),
    },
    "GDDR7": {
        ("RD", "REFA"): (29, _CLOSED_FIRST),
        ("PRE", "REFB"): (2, _CLOSED_FIRST),
        ("ACT", "PREA"): (59, _OPEN_LONG),
    },
}  # fmt: skip
"""Waits that differ, by at most so many clocks, and why. Every other one is equal."""


def _depth(device: Device, place: str) -> int | None:
    """Return the deepest level whose node two banks at *place* share; `None` where the device has no such place."""
    levels = device.levels
    above = {"group": "bg", "lane": "sid" if "sid" in levels else _lane(device), "stack": "pc", "channel": "ch"}
    if place == "bank":
        return len(levels) - 1
    if (place == "group" and "bg" not in levels) or (place == "stack" and "sid" not in levels):
        return None
    if place == "channel" and device.lanes == 1:
        return None
    return levels.index(above[place])


def _lane(device: Device) -> str:
    return next((level for level in ("pc", "ra") if level in device.levels), "ch")


def wait(device: Device, place: str, first: str, then: str, *, window: int = 1) -> int:
    """Return the ticks that *then* waits for *first* at *place*."""
    deepest = _depth(device, place)
    assert deepest is not None
    return max(
        (
            c.ticks
            for c in device.constraints
            if (c.preceding, c.following, c.window) == (first, then, window)
            and (c.level == deepest + 1 if c.sibling else c.level <= deepest)
        ),
        default=0,
    )


@cache
def _devices(name: str, shared: Path) -> tuple[Device, Device]:
    key, options = CASES[name]
    parameters = json.loads((shared / "reference" / "dram" / "params_ramulator2.json").read_text(encoding="utf-8"))
    return ramulator2_device(name, parameters[key]), build_device(name, options)


def _equal(own: Device, own_ticks: int, reference: Device, reference_ticks: int) -> bool:
    if own.clock_ps == reference.clock_ps:
        return own_ticks == reference_ticks
    return abs(own_ticks * own.tick_ps - reference_ticks * reference.tick_ps) <= reference.clock_ps


def _differences(reference: Device, own: Device) -> Iterator[tuple[str, Pair, Fraction]]:
    """Yield place, pair and clocks of every wait that the reference states and ours does not equal."""
    for first, then in OPEN + CLOSING + REFRESH:
        for place in PLACES:
            if _depth(own, place) is None or _depth(reference, place) is None:
                continue
            theirs, ours = wait(reference, place, first, then), wait(own, place, first, then)
            stated = theirs > 0 or (first, then) in OPEN
            if stated and not _equal(own, ours, reference, theirs):
                yield place, (first, then), Fraction(abs(ours - theirs), own.ticks_per_clock)


@pytest.mark.parametrize("name", sorted(CASES))
def test_waits_between_commands_equal_those_of_the_reference(name: str, shared: Path) -> None:
    """Commands wait as long as in the reference, at every distance, but for what `DIFFERENCES` names."""
    known = DIFFERENCES[name]
    unexplained = [
        (place, pair, clocks)
        for place, pair, clocks in _differences(*_devices(name, shared))
        if pair not in known or clocks > known[pair][0]
    ]
    assert unexplained == []


@pytest.mark.parametrize("name", sorted(CASES))
def test_every_listed_difference_is_one(name: str, shared: Path) -> None:
    """What `DIFFERENCES` names still differs: a mended table drops its entry."""
    found = {pair for _, pair, _ in _differences(*_devices(name, shared))}
    assert set(DIFFERENCES[name]) <= found


@pytest.mark.parametrize("pattern", ["seq", "rand", "chunk:4KiB", "conflict", "mix:2:1"])
@pytest.mark.parametrize("name", sorted(CASES))
def test_our_tables_sustain_what_the_reference_devices_do(name: str, pattern: str, shared: Path) -> None:
    """Same map, controller and stream: within 2 %, 5 % for HBM2, which refreshes for 450 ns instead of 350."""
    key, _ = CASES[name]
    reference, own = _devices(name, shared)
    parameters = json.loads((shared / "reference" / "dram" / "params_ramulator2.json").read_text(encoding="utf-8"))[key]
    address_map, profile = ramulator2_map(parameters), ramulator2_profile(parameters)
    domain = Domain(1 << address_map.bits, own.transaction_bytes, address_map.lowest_row_bit())
    stream = parse_pattern(pattern).make(2_000 if pattern == "conflict" else 20_000, domain)
    shares = [float(simulate(device, address_map, profile, stream).utilisation) for device in (own, reference)]
    assert shares[0] == pytest.approx(shares[1], rel=0.05 if name == "HBM2" else 0.02)


@pytest.mark.parametrize("name", sorted(CASES))
def test_four_activations_share_a_window_as_in_the_reference(name: str, shared: Path) -> None:
    """The window of four ACTs (none in GDDR7)."""
    reference, own = _devices(name, shared)
    theirs, ours = (wait(device, "lane", "ACT", "ACT", window=4) for device in (reference, own))
    assert _equal(own, ours, reference, theirs)


@pytest.mark.parametrize("name", sorted(CASES))
def test_intervals_and_latencies_equal_those_of_the_reference(name: str, shared: Path) -> None:
    """TREFI, and from a column command to its last data, to two clocks: rounding, and GDDR7 reads start one later."""
    reference, own = _devices(name, shared)
    assert abs(own.refresh_ticks * own.tick_ps - reference.refresh_ticks * reference.tick_ps) <= 2 * reference.clock_ps
    for key in ("read_ticks", "write_ticks"):
        ours, theirs = getattr(own, key) * own.tick_ps, getattr(reference, key) * reference.tick_ps
        assert abs(ours - theirs) <= 2 * reference.clock_ps


@pytest.mark.parametrize("name", sorted(CASES))
def test_geometry_and_rates_equal_those_of_the_reference(name: str, shared: Path) -> None:
    """Banks, capacity, bytes of a transaction; peak within what rounding the clock to picoseconds moves."""
    reference, own = _devices(name, shared)
    assert own.banks == reference.banks
    assert own.capacity_bytes == reference.capacity_bytes
    assert own.transaction_bytes == reference.transaction_bytes
    assert float(own.peak_bytes_per_s) == pytest.approx(float(reference.peak_bytes_per_s), rel=3e-3)
    assert Fraction(own.burst_ticks, own.ticks_per_clock) == Fraction(reference.burst_ticks, reference.ticks_per_clock)
