"""Questions to a memory and names of controllers: what the answer adds up to, and what is refused."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from archsim.dram.address import default_map
from archsim.dram.build import DeviceOptions, build_device
from archsim.dram.device import CLASSES
from archsim.dram.patterns import Pattern, parse_pattern
from archsim.dram.probe import Load, Probe, probe
from archsim.dram.profile import PROFILES, profile_named
from archsim.dram.streams import Domain, Stream
from archsim.dram.sustain import MemoryChannel
from archsim.errors import InputError

UNIT = 32
"""Bytes of one transaction of HBM2."""


def channel(channels: int = 1, interleave_bytes: int = 256) -> MemoryChannel:
    """Return a channel of HBM2 of one lane."""
    device = build_device("HBM2", DeviceOptions(lanes=1))
    return MemoryChannel(device, default_map(device), channels, interleave_bytes)


def asked(pattern: str, *, channels: int = 1, requests: int = 1000, window_bytes: int = 0) -> Probe:
    """Return the answer for *requests* of *pattern* with 100 ns on the chip."""
    load = Load(parse_pattern(pattern), requests, window_bytes, 100_000)
    return probe(channel(channels), replace(PROFILES["ramulator2"], refresh="none"), load)


@pytest.fixture(scope="module")
def alone() -> Probe:
    """A stream on one channel, 1 KiB in flight."""
    return asked("seq", window_bytes=1024)


@pytest.fixture(scope="module")
def three() -> Probe:
    """2,000 transactions over three channels: eight to each in turn, so that the last block of eight is the first's."""
    return asked("seq", channels=3, requests=2000)


def test_shares_of_one_channel_sum_to_one_and_transfer_is_the_share_of_peak(alone: Probe) -> None:
    """What is not transfer has a cause; the peak is the pins'."""
    assert sum(alone.shares.values()) == 1
    assert alone.shares["transfer"] == pytest.approx(float(alone.bytes_per_s / alone.peak_bytes_per_s), rel=0.02)
    assert alone.peak_bytes_per_s == alone.channel.device.peak_bytes_per_s
    assert alone.channel_shares == ()


def test_littles_law_holds_in_a_window(alone: Probe) -> None:
    """Rate x latency is what is in flight: nearly the whole window of a stream, give or take the ends."""
    latency, share = alone.read_latency_ps, alone.window_share
    assert latency is not None
    assert share is not None
    assert share == alone.bytes_per_s * latency / 10**12 / 1024
    assert Fraction(9, 10) < share < Fraction(102, 100)
    assert latency > 100_000 + alone.channel.device.read_ticks * alone.channel.device.tick_ps
    assert asked("seq").window_share is None
    assert asked("write").read_latency_ps is None


def test_the_glance_lists_what_is_lost_the_largest_first(alone: Probe) -> None:
    """All but transfer, and with it the whole; what bears on the answer has three names."""
    glance = alone.glance()
    lost = [share for _, share in glance.losses]
    assert "transfer" not in dict(glance.losses)
    assert lost == sorted(lost, reverse=True)
    assert sum(lost) + glance.shares["transfer"] == 1
    assert [name for name, _ in glance.facts] == ["asked for", "controller", "map"]
    assert glance.device == "HBM2 at 2 Gb/s a pin"


def test_blocks_go_to_the_channels_in_turn(three: Probe) -> None:
    """250 blocks of eight over three: 84, 83 and 83 of them; the slower ones' end is when all is moved."""
    assert three.loads == (84 * 8, 83 * 8, 83 * 8)
    device, last = three.channel.device, max(run.ticks for run in three.runs)
    assert three.bytes_per_s == Fraction(2000 * UNIT * 10**12) / (last * device.tick_ps)
    assert three.peak_bytes_per_s == 3 * device.peak_bytes_per_s
    assert three.channel_shares == tuple(Fraction(load * device.burst_ticks, last) for load in three.loads)


@pytest.mark.parametrize("channels", [1, 2, 4])
def test_a_pattern_is_told_the_size_of_the_memory_and_how_far_the_next_row_is(channels: int) -> None:
    """All channels' bytes; a row's distance later the same channel is at the same bank, one row on."""
    memory, asked_of = channel(channels), []

    def make(count: int, domain: Domain) -> Stream:
        asked_of.append(domain)
        return Stream(np.arange(count) << domain.row_bit, np.zeros(count, np.uint8))

    found = probe(
        memory, replace(PROFILES["ramulator2"], refresh="none"), Load(Pattern("rows", make, None), 1000, 0, 0)
    )
    assert asked_of[0].transactions * UNIT == channels * memory.device.capacity_bytes
    assert found.loads == (1000,) + (0,) * (channels - 1)
    plain = replace(memory.address_map, hashes=())
    banks, rows = plain.decode(np.arange(4) << asked_of[0].row_bit - (channels.bit_length() - 1), memory.device)
    assert (banks.tolist(), rows.tolist()) == ([0] * 4, [0, 1, 2, 3])


def test_shares_of_several_channels_sum_to_one_with_what_the_first_to_end_wait(three: Probe) -> None:
    """Imbalance is the time after a channel's own end."""
    last = max(run.ticks for run in three.runs)
    assert sum(three.shares.values()) == 1
    assert three.shares["imbalance"] == Fraction(sum(last - run.ticks for run in three.runs), 3 * last)
    assert set(three.shares) == {*CLASSES, "imbalance"}
    assert three.commands[3] == sum(run.commands[3] for run in three.runs) == 2000


def test_the_page_of_a_probe_says_what_was_asked_and_found(alone: Probe, three: Probe) -> None:
    """Words for people, SI units for programs."""
    one, several = alone.glance(), three.glance()
    assert one.made_of == f"1 channel of 1 lane and {alone.channel.device.banks} banks"
    assert several.made_of.startswith("3 channels of 1 lane")
    assert dict(one.facts)["asked for"] == "32 kB over 1 channel"
    assert dict(several.facts)["asked for"] == "64 kB over 3 channels, 256 B of each in turn"
    assert "window 1 KiB (100% of it in flight)" in dict(one.facts)["controller"]
    assert "window" not in dict(several.facts)["controller"]
    page = alone.as_json()
    assert page["share_of_peak"] == page["bytes_per_s"] / page["peak_bytes_per_s"]
    assert page["read_latency_s"] == pytest.approx(float(alone.read_latency_ps or 0) * 1e-12)
    assert sum(page["causes"].values()) == pytest.approx(1)
    assert page["commands"]["RD"] == 1000


@pytest.mark.parametrize(
    ("channels", "interleave_bytes", "requests", "words"),
    [(2, 48, 1000, "multiple of 32 B"), (2, 2**50, 1000, "at most"), (1, 256, 999, "at least 32000 B"),
     (4, 256, 3, "at least 128 B")],
)  # fmt: skip
def test_questions_that_cannot_be_judged_are_refused(
    channels: int, interleave_bytes: int, requests: int, words: str
) -> None:
    """A granule is whole transactions within a channel; enough requests show a steady state, or reach each channel."""
    load = Load(parse_pattern("seq"), requests, 0, 0)
    with pytest.raises(InputError, match=words):
        probe(channel(channels, interleave_bytes), PROFILES["ramulator2"], load)


def test_as_few_requests_as_channels_can_be_asked() -> None:
    """Four over four channels, though all lie on the first."""
    load = Load(parse_pattern("seq"), 4, 0, 0)
    assert probe(channel(4), PROFILES["ramulator2"], load).loads == (4, 0, 0, 0)


def test_a_controllers_name_carries_its_options() -> None:
    """What `profile_named` reads, `text` writes, and an answer depends on options that are on."""
    plain = profile_named("archsim")
    assert plain == PROFILES["archsim"]
    assert {"idle_close", "idle_adapts", "ecc_data", "ecc_buffer"}.isdisjoint(plain.question())
    adaptive = profile_named("archsim rows=adaptive:100 ecc=8")
    assert (adaptive.idle_close, adaptive.idle_adapts, adaptive.ecc_data) == (100, True, 8)
    assert adaptive.text == "archsim rows=adaptive:100 ecc=8"
    assert {"idle_close", "idle_adapts", "ecc_data", "ecc_buffer"} <= set(adaptive.question())
    idle = profile_named("ramulator2 rows=idle:1000000 ecc=64")
    assert (idle.idle_close, idle.idle_adapts, idle.text) == (1_000_000, False, "ramulator2 rows=idle:1000000 ecc=64")
    assert profile_named("dramsim3 rows=open") == PROFILES["dramsim3"]
    assert profile_named("dramsim3", refresh="round_robin_bank").refresh == "round_robin_bank"
    assert profile_named("archsim", refresh="stack_bank", queue=1).read_queue == 1
    assert profile_named("archsim", queue=7).write_queue == 7


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("archsin", {}, "did you mean 'archsim'"), ("archsim rows=idle:0", {}, "1 to 1,000,000"),
        ("archsim rows=idle:1000001", {}, "1 to 1,000,000"), ("archsim ecc=65", {}, "1 to 64"),
        ("archsim ecc=x", {}, "1 to 64"), ("dramsim3 rows=idle:5", {}, "not with command queues"),
        ("archsim rows=open:5", {}, "rows=open"), ("archsim row=open", {}, "rows=open"),
        ("archsim", {"queue": 0}, "at least 1"), ("archsim", {"refresh": "all_banks"}, "did you mean 'all_bank'"),
        ("dramsim3", {"refresh": "stack_bank"}, "none, all_bank, round_robin_bank"),
    ],
)  # fmt: skip
def test_controllers_that_do_not_exist_are_refused(name: str, options: dict[str, object], words: str) -> None:
    """Each refusal says what there is."""
    with pytest.raises(InputError, match=words):
        profile_named(name, **options)  # type: ignore[arg-type]
