"""Laws of a DRAM channel: closed forms bound it, its causes sum, its maps reach every row once, bad input is named."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from archsim.dram.address import AddressMap, default_map, parse_map
from archsim.dram.bounds import conflict_bound, random_bound, refresh_bound, ticks_between
from archsim.dram.build import DeviceOptions, build_device
from archsim.dram.channel import ChannelRun, simulate
from archsim.dram.device import Device
from archsim.dram.facts import Access, Phase
from archsim.dram.kernel_state import blank_state
from archsim.dram.profile import PROFILES, Profile, profile_named
from archsim.dram.standards import STANDARDS
from archsim.dram.standards.table import clocks, ns
from archsim.dram.streams import Domain, draws, make_stream
from archsim.dram.sustain import memory_channel, phase_stream, sustain
from archsim.errors import InputError

QUIET = replace(PROFILES["ramulator2"], refresh="none")


def _run(device: Device, profile: Profile, pattern: str, param: int = 0, *, requests: int = 6000) -> ChannelRun:
    address_map = replace(default_map(device), hashes=())
    domain = Domain(1 << address_map.bits, device.transaction_bytes, address_map.lowest_row_bit())
    stream = make_stream(pattern, param, requests=requests, domain=domain, place="test")
    return simulate(device, address_map, profile, stream)


def test_the_generator_draws_the_published_numbers() -> None:
    """The first three draws of seed 1, as the definition of the streams states them."""
    assert draws(3).tolist() == [908834774, 1093944153, 1392341196]


def test_draws_computed_in_blocks_are_those_drawn_one_by_one() -> None:
    """Knuth's MMIX generator, its top 31 bits, beyond two blocks of 4,096."""
    state, expected = 1, []
    for _ in range(9000):
        state = (6364136223846793005 * state + 1442695040888963407) % 2**64
        expected.append(state >> 33)
    assert draws(9000).tolist() == expected
    assert draws(9000)[4096:4100].tolist() == draws(4100)[4096:].tolist()


@pytest.mark.parametrize("name", STANDARDS)
def test_closed_forms_bound_every_standard(name: str) -> None:
    """No controller exceeds what one constraint allows; conflicts in one bank reach one burst per tRC exactly."""
    device = build_device(name)
    assert _run(device, QUIET, "rand").utilisation <= random_bound(device) * Fraction(102, 100)
    assert abs(_run(device, QUIET, "conflict", requests=1500).utilisation / conflict_bound(device) - 1) < Fraction(
        1, 100
    )
    deep = replace(PROFILES["ramulator2"], read_queue=256)
    streaming = _run(device, deep, "seq", requests=60_000).utilisation
    assert refresh_bound(device) * Fraction(95, 100) < streaming <= refresh_bound(device) * Fraction(1005, 1000)


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize(("pattern", "param"), [("seq", 0), ("rand", 0), ("seqrw", 3), ("copy", 0), ("chunk", 256)])
def test_causes_sum_to_the_run(profile: str, pattern: str, param: int) -> None:
    """Every tick of every data bus has one cause, and transfers are requests times bursts."""
    device = build_device("HBM2")
    run = _run(device, PROFILES[profile], pattern, param)
    assert sum(run.causes) == run.ticks * device.lanes
    assert min(run.causes) >= 0
    if profile != "dramsim3":
        assert run.cause("transfer") == run.requests * device.burst_ticks


def test_random_access_is_lost_to_activations_and_same_bank_access_to_rows() -> None:
    """HBM3's random reads wait for tFAW; conflicts in one bank wait for the row."""
    device = build_device("HBM3", DeviceOptions(lanes=1))
    random, conflict = _run(device, QUIET, "rand"), _run(device, QUIET, "conflict", requests=1000)
    assert random.cause("activate") > sum(random.causes) // 3
    assert conflict.cause("row") > sum(conflict.causes) * 9 // 10


def test_two_pseudochannels_share_the_row_command_bus() -> None:
    """HBM2's ACT takes two clocks: two lanes do not reach twice the random rate of one."""
    pair, single = build_device("HBM2"), build_device("HBM2", DeviceOptions(lanes=1))
    rate = {d.lanes: _run(d, QUIET, "rand").utilisation * d.lanes for d in (pair, single)}
    assert rate[2] < rate[1] * Fraction(3, 2)


@pytest.mark.parametrize("name", STANDARDS)
def test_default_maps_reach_every_address_once(name: str) -> None:
    """A map with hashes is a bijection on bank, row and column: neighbours never collide."""
    device = build_device(name)
    address_map = default_map(device)
    index = np.arange(1 << 14)
    values = address_map.values(index)
    seen = {tuple(int(values[key][i]) for key in sorted(values)) for i in range(index.size)}
    assert len(seen) == index.size
    assert parse_map(str(address_map), device, place="test") == address_map


def test_a_hash_mixes_in_the_bits_above_its_shift() -> None:
    """Four banks below 16 rows: bits 2 and 3 of the row, which is the index's quarter, change the bank."""
    index = np.arange(64)
    values = AddressMap((("ba", 2), ("ro", 4)), (("ba", "ro", 2),)).values(index)
    assert values["ro"].tolist() == [i // 4 for i in range(64)]
    assert values["ba"].tolist() == [(i % 4) ^ (i // 16) for i in range(64)]


def test_a_default_map_reaches_the_second_rank() -> None:
    """DDR5 with two ranks: the map has a bit for them, so a map that is checked for completeness may say the same."""
    device = build_device("DDR5", DeviceOptions(lanes=1))
    sizes = tuple(2 if level == "ra" else size for level, size in zip(device.levels, device.sizes, strict=True))
    pair = replace(device, sizes=sizes)
    assert dict(default_map(pair).fields)["ra"] == 1
    assert parse_map(str(default_map(pair)), pair, place="test") == default_map(pair)


def test_banks_of_a_lane_have_siblings_and_an_all_bank_refresh_of_their_own() -> None:
    """HBM3, two lanes of two stacks: stacks 0 and 1 are siblings, 2 and 3 are; a lane is refreshed as a whole."""
    device = build_device("HBM3", DeviceOptions(lanes=2, stack_ids=2))
    state, level = blank_state(device)[0], device.levels.index("sid")
    first_stack = int(state["path"][0, level])
    half = device.banks // 2
    assert state["first_sibling"][: device.banks, level].tolist() == [first_stack] * half + [first_stack + 2] * half
    assert state["scope"][: device.banks].tolist() == [0] * half + [1] * half


def test_times_round_up_to_ticks() -> None:
    """HBM2 at 2 Gb/s has ticks of 1 ns: a picosecond more than some takes one more."""
    device = build_device("HBM2", DeviceOptions(pin_bits_per_s=2_000_000_000))
    assert [device.ticks_for(time) for time in (0, 1, 1000, 1001, 2000)] == [0, 1, 1, 2, 2]


def test_a_read_to_write_time_may_be_given_where_the_set_derives_it() -> None:
    """DDR5's set states none; 60 clocks are 60 ticks between a read and a write of its lane."""
    device = build_device("DDR5", DeviceOptions(timings={"tRTW": clocks(60, "test")}))
    assert ticks_between(device, device.levels[1], "RD", "WR") == 60
    assert ticks_between(build_device("DDR5"), device.levels[1], "RD", "WR") < 60


def test_timings_scale_in_nanoseconds() -> None:
    """A faster grade keeps tRC in nanoseconds and so takes more clocks."""
    slow, fast = build_device("HBM3"), build_device("HBM3", DeviceOptions(pin_bits_per_s=8_000_000_000))
    cycle = {d.clock_ps: max(c.ticks for c in d.constraints if c.level == 4 and c.following == "ACT" == c.preceding)
             for d in (slow, fast)}  # fmt: skip
    assert [int(clock * ticks / 2) for clock, ticks in cycle.items()] == [45_000, 45_000]
    assert fast.peak_bytes_per_s == 64 * 10**9


def test_options_cost_what_they_say() -> None:
    """Hot refresh halves the interval; writes at half the peak stream at half the rate."""
    assert build_device("HBM3", DeviceOptions(hot=True)).refresh_ticks == build_device("HBM3").refresh_ticks // 2
    half = build_device("HBM3", DeviceOptions(write_share=Fraction(1, 2)))
    assert Fraction(48, 100) < _run(half, QUIET, "seqw").utilisation <= Fraction(51, 100)


def test_our_controller_reaches_what_silicon_reaches() -> None:
    """H100's and H200's HBM sustain .93 to .94 of peak: 64 KiB pages .93 to .95 here, streaming two points more."""
    for standard, rate, window in (("HBM3", 5_234_375_000, 32_768), ("HBM3E", 6_250_000_000, 45_056)):
        channel = memory_channel(standard, pin_bits_per_s=rate, channel_bits=64, channels=80, interleave_bytes=4096,
                                 channel_bytes=2**30)  # fmt: skip
        for run_bytes, least in ((2**30, 95), (64 * 1024, 93)):
            phase = Phase((Access(1, run_bytes, write=False),), window_bytes=window, latency_ps=600_000)
            found = sustain(channel, PROFILES["archsim"], phase).sustained
            assert Fraction(least, 100) < found < Fraction(least + 2, 100)


@pytest.mark.parametrize("interleave_bytes", [2**20, 2**36])
def test_a_granule_larger_than_the_sample_leaves_every_stream_a_turn(interleave_bytes: int) -> None:
    """However coarse the interleave: reads and writes both move, and no memory is filled to find out."""
    channel = memory_channel("HBM3", pin_bits_per_s=6_400_000_000, channel_bits=64, channels=16,
                             interleave_bytes=interleave_bytes, channel_bytes=2**30)  # fmt: skip
    stream = phase_stream(channel, (Access(31, 2**30, write=False), Access(1, 4096, write=True)), 4096)
    assert 0 < int(stream.write.sum()) < 4096


def test_a_small_window_is_bounded_by_littles_law() -> None:
    """With 2 KiB in flight over 600 ns and more, at most 2 KiB per 600 ns flow, and `latency` is the largest loss."""
    channel = memory_channel("HBM3", pin_bits_per_s=6_400_000_000, channel_bits=64, channels=1, interleave_bytes=256,
                             channel_bytes=2**30)  # fmt: skip
    phase = Phase((Access(1, 2**30, write=False),), window_bytes=2048, latency_ps=600_000)
    facts = sustain(channel, PROFILES["archsim"], phase)
    assert facts.sustained * Fraction(51_200_000_000) <= Fraction(2048 * 10**12, 600_000)
    assert max(facts.causes) == facts.causes[-1]


@pytest.mark.parametrize(
    ("text", "word"),
    [("pc1 bg2", "ro0"), ("pc1 bg2 co5 ba2 sid1 ro15 xx3", "xx3"), ("pc1 bg", "bg"), ("bg^zz", "bg^zz")],
)
def test_a_map_that_does_not_fit_is_named(text: str, word: str) -> None:
    """Fields with too few bits, unknown ones and bad words are all problems of the map."""
    with pytest.raises(InputError) as caught:
        parse_map(text, build_device("HBM3"), place="hw.toml")
    assert word in str(caught.value)


def test_contradictory_and_missing_timings_are_named() -> None:
    """A tRC below tRAS + tRP cannot be; a density without tRFC and an unknown set are refused by name."""
    for options, word in (
        (DeviceOptions(timings={"tRC": ns("30", "test")}), "tRC"),
        (DeviceOptions(channel_gbit=4096), "tRFCab.* at most 64 Gb"),
        (DeviceOptions(timing_set="jedec"), "jedec"),
    ):
        with pytest.raises(InputError, match=word):
            build_device("HBM3", options)
    with pytest.raises(InputError, match="HBM9"):
        build_device("HBM9")


def test_empty_queues_and_patterns_larger_than_the_device_are_refused() -> None:
    """A queue holds at least one request; a chunk fits the memory."""
    with pytest.raises(InputError, match="queue"):
        profile_named("archsim", queue=0)
    with pytest.raises(InputError, match="the device ends"):
        make_stream("chunk", 2**40, requests=1, domain=Domain(2**20, 32, 10), place="--pattern")
