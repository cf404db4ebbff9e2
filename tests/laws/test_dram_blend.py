"""Blended answers of the memory floor: exact on what is simulated, straight and continuous between."""

from __future__ import annotations

from fractions import Fraction

import pytest

from archsim.dram.blend import EIGHTHS, LONGEST_SHORT, blended, sustain_mixture
from archsim.dram.facts import CAUSES, Access, ChannelFacts, Phase
from archsim.dram.profile import PROFILES
from archsim.dram.sustain import MemoryChannel, memory_channel, sustain
from archsim.hardware.library import load_chip

READ, WRITE = 2**30, 2**30


def toy(mixture: tuple[Access, ...]) -> ChannelFacts:
    """Return facts in which a byte written costs twice a byte read, by `turnaround`."""
    total = sum(access.bytes for access in mixture)
    written = sum(access.bytes for access in mixture if access.write)
    parts = tuple(written if cause == "turnaround" else 0 for cause in CAUSES)
    return ChannelFacts(total, parts, 100)


@pytest.mark.parametrize("written", [0, 1, 3, 8, 11, 16])
def test_a_cost_that_is_straight_is_blended_exactly(written: int) -> None:
    """Where a byte's cost is linear in the share of writes, so is the blend, at and between the eighths."""
    mixture = tuple(a for a in (Access(16 - written, READ, write=False), Access(written, WRITE, write=True)) if a.bytes)
    facts = blended(mixture, toy)
    assert facts.sustained == pytest.approx(Fraction(16, 16 + written), rel=1e-8)
    assert facts.first_access_ps == 100


def test_kinds_of_one_direction_cost_their_shares() -> None:
    """Three quarters long runs and a quarter short ones cost three quarters of the one and a quarter of the other."""

    def by_run(mixture: tuple[Access, ...]) -> ChannelFacts:
        lost = 1 if mixture[0].run_bytes == 4096 else 0
        return ChannelFacts(1, tuple(lost if cause == "row" else 0 for cause in CAUSES), 0)

    facts = blended((Access(3, READ, write=False), Access(1, 4096, write=False)), by_run)
    assert facts.sustained == pytest.approx(Fraction(4, 5), rel=1e-8)


@pytest.fixture(scope="module")
def h100() -> tuple[MemoryChannel, int, int]:
    """Return the channel of a bundled chip, whose answers ship, with its window and round trip."""
    chip = load_chip("h100-sxm")
    memory = chip.memory["hbm"]
    channel = memory_channel(
        memory.device.standard,
        pin_bits_per_s=memory.pin_bits_per_s,
        channel_bits=memory.channel_bits,
        channels=memory.channels,
        interleave_bytes=memory.interleave_bytes,
        channel_bytes=memory.stack_bytes // memory.channels_per_stack,
    )
    return channel, chip.bytes_in_flight // memory.channels, memory.round_trip_ps


def test_a_simulated_mixture_is_answered_as_simulated(h100: tuple[MemoryChannel, int, int]) -> None:
    """On a knot the blend is the simulation's answer, cause by cause."""
    channel, window, latency_ps = h100
    accesses = (Access(EIGHTHS - 3, READ, write=False), Access(3, WRITE, write=True))
    phase = Phase(accesses, window, latency_ps)
    exact, found = sustain(channel, PROFILES["archsim"], phase), sustain_mixture(channel, PROFILES["archsim"], phase)
    assert found.sustained == pytest.approx(exact.sustained, rel=1e-8)
    for cause, other in zip(found.causes, exact.causes, strict=True):
        assert cause / found.total == pytest.approx(other / exact.total, abs=1e-8)


def test_longer_runs_are_between_short_and_endless_ones(h100: tuple[MemoryChannel, int, int]) -> None:
    """From the longest short run, which costs more, to endless ones the cost of a byte is straight in runs per byte."""
    channel, window, latency_ps = h100

    def cost(run: int) -> float:
        phase = Phase((Access(1, run, write=False),), window, latency_ps)
        return float(1 / sustain_mixture(channel, PROFILES["archsim"], phase).sustained)

    spread = channel.channels
    short, endless, between = cost(LONGEST_SHORT), cost(65536 * spread), cost(16384 * spread)
    assert short > between > endless
    share = (1 / 16384 - 1 / 65536) / (1 / LONGEST_SHORT - 1 / 65536)
    assert between == pytest.approx(share * short + (1 - share) * endless, rel=1e-5)
