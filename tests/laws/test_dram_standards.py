"""Laws of the standards' tables: clocks from nanoseconds, peak and capacity, refresh within its interval, bad input."""

from __future__ import annotations

import math
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from archsim.dram.build import DeviceOptions, build_device, standard_named
from archsim.dram.device import Device
from archsim.dram.standards import STANDARDS, Timing
from archsim.dram.standards.table import clocks, ns
from archsim.errors import InputError
from archsim.hardware.library import load_chip

NAMES = sorted(STANDARDS)


def _wait(device: Device, level: str, first: str, then: str, *, window: int = 1) -> int:
    """Return the clocks of a constraint between two commands that occupy their bus equally long."""
    found = {
        c.ticks
        for c in device.constraints
        if (device.levels[c.level], c.preceding, c.following, c.window) == (level, first, then, window)
        and not c.sibling
    }
    assert len(found) == 1
    return found.pop() // device.ticks_per_clock


@settings(deadline=None, derandomize=True, database=None)
@given(ps=st.integers(1, 10**7), numerator=st.integers(1, 10**7), denominator=st.integers(1, 10**4))
def test_clocks_are_the_fewest_that_are_long_enough(ps: int, numerator: int, denominator: int) -> None:
    """A time in nanoseconds takes n clocks where n clocks suffice and n - 1 do not."""
    clock_ps = Fraction(numerator, denominator)
    count = Timing(Fraction(ps), 0, "").in_clocks(clock_ps)
    assert (count - 1) * clock_ps < ps <= count * clock_ps


def test_a_time_with_a_least_count_takes_the_longer() -> None:
    """tCCD_L of 2.5 ns, at least 4 clocks: 4 at 625 ps and above, 5 at 500 ps, 6 at 416.7 ps."""
    timing = ns("2.5", "", at_least=4)
    assert [timing.in_clocks(clock) for clock in (Fraction(833), Fraction(625), Fraction(500), Fraction(1250, 3))] == [
        4, 4, 5, 6,
    ]  # fmt: skip
    assert clocks(2, "").in_clocks(Fraction(1)) == 2


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("scale", [Fraction(1), Fraction(3, 4), Fraction(5, 4)])
def test_peak_is_pin_rate_times_width_at_every_grade(name: str, scale: Fraction) -> None:
    """Bits per second of all data pins over 8, exactly: no rounding of the clock."""
    standard = STANDARDS[name]
    rate = int(standard.grade_bits_per_s * scale)
    device = build_device(name, DeviceOptions(pin_bits_per_s=rate))
    assert device.peak_bytes_per_s == Fraction(device.lanes * standard.lane_bits * rate, 8)


@pytest.mark.parametrize("name", NAMES)
def test_capacity_is_the_density_asked_for(name: str) -> None:
    """Banks x rows x bytes of a row = the channel's gigabits."""
    for gbit in {1 << most.bit_length() - 1 for most, _ in STANDARDS[name].refresh}:
        assert build_device(name, DeviceOptions(channel_gbit=gbit)).capacity_bytes == gbit * 2**30 // 8


@pytest.mark.parametrize("name", NAMES)
def test_every_bank_is_refreshed_within_the_refresh_interval(name: str) -> None:
    """One-bank refreshes of a lane's banks in turn: banks x interval <= tREFI < banks x (interval + 1)."""
    device = build_device(name)
    banks = device.banks // device.lanes
    assert banks * device.refresh_bank_interval_ticks <= device.refresh_ticks
    assert device.refresh_ticks < banks * (device.refresh_bank_interval_ticks + 1)


@pytest.mark.parametrize("name", NAMES)
def test_hot_devices_refresh_twice_as_often(name: str) -> None:
    """Half of tREFI, and nothing else changes but the interval between banks."""
    cold, hot = build_device(name), build_device(name, DeviceOptions(hot=True))
    assert hot.refresh_ticks == cold.refresh_ticks // (2 * cold.ticks_per_clock) * cold.ticks_per_clock
    assert hot.constraints == cold.constraints


@pytest.mark.parametrize("name", NAMES)
def test_every_number_of_a_table_says_where_it_comes_from(name: str) -> None:
    """Timings and refresh times carry a source or an assumption."""
    standard = STANDARDS[name]
    timings = [timing for table in standard.sets.values() for timing in table.values()]
    assert all(timing.source.strip() for timing in [*timings, *(timing for _, timing in standard.refresh)])


@pytest.mark.parametrize(("name", "stated"), [(name, table) for name in NAMES for table in STANDARDS[name].sets])
def test_every_named_set_builds_a_device_without_contradiction(name: str, stated: str) -> None:
    """No public set is left that contradicts itself, and each opens a row again no sooner than it was closed."""
    device = build_device(name, DeviceOptions(timing_set=stated))
    cycle = _wait(device, "ba", "ACT", "ACT")
    opened, closed = _wait(device, "ba", "ACT", "PRE"), _wait(device, "ba", "PRE", "ACT")
    assert cycle * device.ticks_per_clock >= opened + closed - 2 * device.ticks_per_clock


@pytest.mark.parametrize(
    ("stated", "window", "cycle"), [("ramulator2.1", 24, 72), ("gem5", math.ceil(12 / 0.625), math.ceil(43 / 0.625)),
                                    ("attacc", 48, 78)],
)  # fmt: skip
def test_sets_of_hbm3_differ_where_public_numbers_do(stated: str, window: int, cycle: int) -> None:
    """Clocks of tFAW and tRC: 24, 72 (Ramulator 2.1); 12 and 43 ns (gem5); 48 and 77, below its tRAS + tRP (AttAcc)."""
    device = build_device("HBM3", DeviceOptions(timing_set=stated))
    assert _wait(device, "pc", "ACT", "ACT", window=4) == window
    assert _wait(device, "ba", "ACT", "ACT") == cycle


def test_hbm4_at_twice_the_rate_has_twice_the_clocks() -> None:
    """Nanoseconds stay: the public 16 Gb/s preset is twice the 8 Gb/s one, where the standard does not count clocks."""
    slow = build_device("HBM4")
    fast = build_device("HBM4", DeviceOptions(pin_bits_per_s=16_000_000_000))
    for level, first, then, window in (("ba", "ACT", "ACT", 1), ("pc", "ACT", "ACT", 4), ("pc", "ACT", "ACT", 1),
                                       ("bg", "ACT", "ACT", 1), ("pc", "RD", "WR", 1)):  # fmt: skip
        assert _wait(fast, level, first, then, window=window) == 2 * _wait(slow, level, first, then, window=window)
    assert fast.refresh_ticks == 2 * slow.refresh_ticks
    assert _wait(fast, "bg", "RD", "RD") == _wait(slow, "bg", "RD", "RD") == 4


def test_slower_writes_stretch_the_burst_of_writes_alone() -> None:
    """A write peak of half the read peak keeps writes two bursts apart; reads stay one burst apart."""
    device = build_device("HBM3", DeviceOptions(write_share=Fraction(1, 2)))
    assert _wait(device, "pc", "WR", "WR") == 2 * _wait(device, "pc", "RD", "RD")


def test_a_row_cycle_shorter_than_its_parts_is_refused() -> None:
    """Where tRAS + tRP > tRC the error names tRC and both sums."""
    options = DeviceOptions(timings={"tRC": ns("44", "test")})
    with pytest.raises(InputError, match=r"HBM3.tRC.*44000 ps.*tRAS \+ tRP <= tRC"):
        build_device("HBM3", options)


def test_negative_times_are_named_together() -> None:
    """All problems of a set at once."""
    options = DeviceOptions(timings={"tWR": ns("-1", "test"), "tFAW": ns("-2", "test")})
    with pytest.raises(InputError) as caught:
        build_device("HBM3", options)
    assert {problem.key for problem in caught.value.problems} == {"HBM3.tWR", "HBM3.tFAW"}


def test_a_density_without_a_refresh_time_is_refused() -> None:
    """No tRFCab is made up beyond the densities that the table states."""
    most = STANDARDS["HBM4"].refresh[-1][0]
    with pytest.raises(InputError, match="tRFCab"):
        build_device("HBM4", DeviceOptions(channel_gbit=2 * most))


def test_unknown_standards_and_sets_are_refused_with_what_is_known() -> None:
    """Names are checked at the door."""
    with pytest.raises(InputError, match="did you mean 'HBM3'"):
        standard_named("HBM3X")
    with pytest.raises(InputError, match=r"HBM3.set.*gem5"):
        build_device("HBM3", DeviceOptions(timing_set="jedec"))


@pytest.mark.parametrize("name", ["a100-sxm", "a100-sxm-40gb", "h100-sxm", "mi300x", "h200-sxm", "b300-sxm", "rubin"])
def test_a_bundled_stack_refreshes_as_long_as_its_table_says(name: str) -> None:
    """The memory's own tRFC is the timing table's for a channel of that many gigabits: one truth, not two."""
    memory = load_chip(name).memory["hbm"]
    gbit = Fraction(8 * memory.stack_bytes, memory.channels_per_stack * 2**30)
    stated = next(timing for most, timing in STANDARDS[memory.device.standard].refresh if gbit <= most)
    assert memory.device.refresh_cycle_ps == stated.ps


def test_a_refresh_that_takes_longer_than_its_interval_is_refused_by_name() -> None:
    """3 us fit into 3.9; into half of it, where it is hot, they do not."""
    timings = {"tRFC": ns("3000", "test")}
    assert build_device("HBM3", DeviceOptions(timings=timings)).refresh_ticks > 0
    with pytest.raises(InputError, match="tRFC < tREFI: a refresh is due every"):
        build_device("HBM3", DeviceOptions(timings=timings, hot=True))


@pytest.mark.parametrize(
    ("name", "lanes", "levels"),
    [
        ("LPDDR5", 1, ("ch", "ra", "bg", "ba")),
        ("HBM2", 1, ("ch", "pc", "bg", "ba")),
        ("HBM2", 2, ("ch", "pc", "bg", "ba")),
        ("HBM3", 1, ("ch", "pc", "sid", "bg", "ba")),
    ],
)
def test_a_channel_is_a_tree_of_lanes_or_of_one_rank(name: str, lanes: int, levels: tuple[str, ...]) -> None:
    """Pseudochannels where the standard has them, be there one; stack ids of stacks."""
    device = build_device(name, DeviceOptions(lanes=lanes))
    assert device.levels == levels
    assert device.lanes == lanes
