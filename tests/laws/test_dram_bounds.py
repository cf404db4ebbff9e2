"""Closed forms are upper bounds, and tight: random reads by tFAW, tRRD, tRC and the command bus, conflicts, refresh."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import pytest

from archsim.dram.address import default_map
from archsim.dram.bounds import conflict_bound, random_bound, refresh_bound
from archsim.dram.build import DeviceOptions, build_device
from archsim.dram.channel import simulate
from archsim.dram.device import Constraint, Device
from archsim.dram.profile import PROFILES, Profile
from archsim.dram.standards import STANDARDS
from archsim.dram.streams import Domain, make_stream

SETS = [(name, stated) for name in sorted(STANDARDS) for stated in STANDARDS[name].sets]
SEVERAL_BIND = {"HBM2E": 0.98, "LPDDR4X": 0.95, "LPDDR5": 0.93, "GDDR7": 0.97}
"""Standards whose random reads meet two constraints of nearly the same length, and what is left of the shorter form."""
MEASURED = 1.002
"""Random rows meet an open one now and then: one in banks x rows x columns reads, and the deeper the queue the more."""


def _share(device: Device, profile: Profile, pattern: str, requests: int) -> float:
    address_map = replace(default_map(device), hashes=())
    domain = Domain(1 << address_map.bits, device.transaction_bytes, address_map.lowest_row_bit())
    stream = make_stream(pattern, 0, requests=requests, domain=domain, place="test")
    return float(simulate(device, address_map, profile, stream).utilisation)


@pytest.mark.parametrize(("name", "stated"), SETS)
def test_random_reads_of_a_lane_reach_the_closed_form_and_do_not_pass_it(name: str, stated: str) -> None:
    """min(1, 4 nBL / nFAW, nBL / nRRD, banks nBL / nRC, command bus): within 1 % where one of them binds alone."""
    device = build_device(name, DeviceOptions(lanes=1, timing_set=stated))
    profile = replace(PROFILES["ramulator2"], read_queue=256, refresh="none")
    reached = _share(device, profile, "rand", 20_000) / float(random_bound(device))
    assert SEVERAL_BIND.get(name, 0.99) < reached <= MEASURED


@pytest.mark.parametrize(("name", "stated"), SETS)
def test_conflicts_in_one_bank_reach_a_burst_per_row_cycle(name: str, stated: str) -> None:
    """NBL / nRC of one lane, within 0.3 %: the row's ACT commands are the only thing that counts."""
    device = build_device(name, DeviceOptions(lanes=1, timing_set=stated))
    profile = replace(PROFILES["ramulator2"], refresh="none")
    reached = _share(device, profile, "conflict", 2_000) / float(conflict_bound(device))
    assert reached == pytest.approx(1, abs=0.003)


@pytest.mark.parametrize("name", sorted(STANDARDS))
def test_streams_under_all_bank_refresh_stay_below_its_factor(name: str) -> None:
    """1 - nRFC / nREFI, less what closing all rows before and opening them after takes: at most 5 % of what is left."""
    device = build_device(name)
    profile = replace(PROFILES["ramulator2"], read_queue=256)
    reached = _share(device, profile, "seq", 60_000) / float(refresh_bound(device))
    assert 0.95 < reached <= 1.005


def test_the_closed_form_of_random_reads_follows_its_constraint() -> None:
    """HBM3: 4 x 2 / 24 = 1/3 by tFAW; without it 2 / 4 by tRRD; 16 banks x 2 / 72 = 4/9 where a lane has so few."""
    device = build_device("HBM3", DeviceOptions(lanes=1))
    assert random_bound(device) == Fraction(1, 3)
    free = replace(device, constraints=tuple(c for c in device.constraints if c.window == 1))
    assert random_bound(free) == Fraction(1, 2)
    small = build_device("HBM3", DeviceOptions(lanes=1, stack_ids=1))
    assert random_bound(replace(small, constraints=tuple(c for c in small.constraints if c.window == 1))) == Fraction(
        4, 9
    )


def test_nothing_is_faster_than_the_data_bus() -> None:
    """DDR5 without constraints: a command in two would carry four bursts' time, and the share is one."""
    device = build_device("DDR5", DeviceOptions(lanes=1))
    assert random_bound(replace(device, constraints=())) == 1


def test_random_reads_share_the_command_bus_with_their_rows() -> None:
    """LPDDR4X: ACT in 4 clocks, PRE in 1 and RD in 4 on one bus, 8/9 of a burst of 8; HBM2 has a bus for columns.

    A PRE that keeps the bus for three clocks counts three.
    """
    for name, share in (("LPDDR4X", Fraction(8, 4 + 1 + 4)), ("HBM2", Fraction(2, 2 + 1))):
        device = build_device(name, DeviceOptions(lanes=1))
        alone = replace(device, constraints=tuple(c for c in device.constraints if c.level == 0))
        assert random_bound(alone) == share
    single = build_device("HBM2", DeviceOptions(lanes=1))
    waits = (Constraint(0, "ACT", "ACT", 2), Constraint(0, "PRE", "ACT", 3))
    assert random_bound(replace(single, constraints=waits)) == Fraction(2, 2 + 3)
    pair = build_device("HBM2", DeviceOptions(lanes=2))
    assert random_bound(replace(pair, constraints=tuple(c for c in pair.constraints if c.level == 0))) == Fraction(2, 6)


def test_the_closed_form_of_conflicts_is_a_burst_in_a_row_cycle() -> None:
    """HBM3: 4 ticks of 72 and more, tRC or tRAS + tRP, whichever is longer; two lanes share a bank's worth of rows."""
    device = build_device("HBM3", DeviceOptions(lanes=1))
    bank = len(device.levels) - 1
    waits = {(c.preceding, c.following): c.ticks for c in device.constraints if c.level == bank}
    cycle = max(waits["ACT", "ACT"], waits["ACT", "PRE"] + waits["PRE", "ACT"])
    assert conflict_bound(device) == Fraction(device.burst_ticks, cycle)
    longer = replace(
        device,
        constraints=tuple(
            replace(c, ticks=c.ticks + 50) if (c.level, c.preceding, c.following) == (bank, "ACT", "PRE") else c
            for c in device.constraints
        ),
    )
    opened = waits["ACT", "PRE"] + 50 + waits["PRE", "ACT"]
    assert conflict_bound(longer) == Fraction(device.burst_ticks, opened)
    pair = build_device("HBM3", DeviceOptions(lanes=2))
    assert conflict_bound(pair) == conflict_bound(device) / 2
