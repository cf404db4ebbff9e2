"""The answers that archsim ships are the ones it would compute."""

from __future__ import annotations

import pytest

from archsim.dram.facts import Access, Phase
from archsim.dram.memo import key_of, shipped
from archsim.dram.profile import PROFILES
from archsim.dram.sustain import answer_of, canonical_phase, memory_channel, question_of, run_phase
from archsim.hardware.library import load_chip


@pytest.mark.parametrize("name", ["h100-sxm", "mi300x", "apple-m4-max"])
@pytest.mark.parametrize("run_bytes", [16 * 1024, 2**30])
def test_a_shipped_answer_is_what_a_simulation_gives(name: str, run_bytes: int) -> None:
    """Recomputed from the bundled chip, integer for integer; stale answers fail here."""
    chip = load_chip(name)
    memory = chip.memory[chip.main_memory]
    channel = memory_channel(
        memory.device.standard,
        pin_bits_per_s=memory.pin_bits_per_s,
        channel_bits=memory.channel_bits,
        channels=memory.channels,
        interleave_bytes=memory.interleave_bytes,
        channel_bytes=memory.stack_bytes // memory.channels_per_stack,
    )
    window = max(chip.bytes_in_flight // memory.channels, memory.device.burst_bytes)
    phase = canonical_phase(channel, Phase((Access(1, run_bytes, write=False),), window, memory.round_trip_ps))
    stored = shipped(key_of(question_of(channel, PROFILES["archsim"], phase)))
    assert stored == answer_of(run_phase(channel, PROFILES["archsim"], phase), phase)
