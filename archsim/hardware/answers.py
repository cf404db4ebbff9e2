"""Which mechanism of the memory floor answers: DRAM commands, flash pages, SRAM banks, or a closed form."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from functools import lru_cache, partial
from typing import NamedTuple

from archsim.dram.blend import blended, sustain_mixture
from archsim.dram.closed_form import sustain_closed_form
from archsim.dram.facts import Access, ChannelFacts, Phase, together_on_channel
from archsim.dram.flash import Flash, sustain_flash
from archsim.dram.profile import profile_named
from archsim.dram.sram import Sram, sustain_sram
from archsim.dram.standards import STANDARDS
from archsim.dram.sustain import MemoryChannel, memory_channel
from archsim.errors import InputError, Problem
from archsim.hardware.memory_spec import FlashSpec, MemoryDeviceSpec, MemorySpec, SramSpec

__all__ = ["Stack", "answer_of", "channel_of", "fidelity_of", "flash_of", "sram_of", "stack_alone", "stack_of"]

Answer = Callable[[Phase], ChannelFacts]

_LONG_RUN_LAPS = 16
"""A run that visits every plane of its channel more often is as good as endless."""


def answer_of(spec: MemorySpec, *, place: str) -> Answer:
    """Return what says how a channel of *spec* serves a phase. *place* names the memory in errors.

    Raises `InputError` for a geometry that cannot be; the answer raises it for writes that flash refuses.
    """
    device = spec.device
    if device.flash is not None:
        return _flash_answer(spec, device.flash, place=place)
    if device.sram is not None:
        return partial(_sram_answer, sram_of(device, device.sram, stack_of(spec)))
    if device.standard in STANDARDS:
        return _command_answer(spec)
    return partial(_closed_form, spec)


def fidelity_of(spec: MemorySpec) -> str:
    """Return in words which mechanism answers for *spec*."""
    if spec.device.flash is not None:
        return f"pages of {spec.device.standard}: planes, bus and buffer"
    if spec.device.sram is not None:
        return "banks and ports of SRAM"
    if spec.device.standard in STANDARDS:
        return f"commands of a {spec.device.standard} channel, controller profile {spec.controller}"
    return "closed form: refresh factor, and bytes in flight over latency"


class Stack(NamedTuple):
    """What a chip, or the device's own table, says of one stack."""

    channels: int
    channel_bytes_per_s: Fraction
    capacity_bytes: int


def stack_of(spec: MemorySpec) -> Stack:
    """Return one stack of *spec* as its chip drives it."""
    return Stack(spec.channels_per_stack, spec.channel_peak_bytes_per_s, spec.stack_bytes)


def stack_alone(device: MemoryDeviceSpec, *, place: str) -> Stack:
    """Return one stack of *device* as it is made. Raises `InputError` naming *place* where its file does not say."""
    if device.stack is None:
        expected = "a table [stack] with channels, channel_rate and capacity, or a chip that states them"
        raise InputError(Problem(place, f"{device.name}.stack", "", expected))
    return Stack(device.stack.channels, Fraction(device.stack.channel_bytes_per_s), device.stack.capacity_bytes)


def flash_of(device: MemoryDeviceSpec, flash: FlashSpec, stack: Stack) -> Flash:
    """Return one *stack* of *device* as flash. Raises `InputError` for numbers that cannot be."""
    return Flash(
        name=device.name,
        capacity_bytes=stack.capacity_bytes,
        channels=stack.channels,
        channel_bytes_per_s=int(stack.channel_bytes_per_s),
        dies=flash.dies,
        planes=flash.planes,
        page_bytes=device.page_bytes,
        read_ps=device.access_latency_ps,
        program_ps=flash.program_ps,
        buffer_bytes=flash.buffer_bytes,
        endurance_cycles=flash.endurance_cycles,
        write_amplification=flash.write_amplification,
    )


def sram_of(device: MemoryDeviceSpec, sram: SramSpec, stack: Stack) -> Sram:
    """Return one channel of *stack* as SRAM, whose clock follows from its peak: a word for each port."""
    word_bytes = device.page_bytes
    words = min(sram.ports, sram.banks)
    return Sram(
        name=device.name,
        banks=sram.banks,
        ports=sram.ports,
        word_bytes=word_bytes,
        clock_hz=int(stack.channel_bytes_per_s / (words * word_bytes)),
        access_ps=device.access_latency_ps,
    )


def channel_of(spec: MemorySpec, *, pin_bits_per_s: int) -> MemoryChannel:
    """Return the DRAM channel of *spec* at a rate of its pins. Raises `InputError` as `memory_channel` does."""
    return memory_channel(
        spec.device.standard,
        pin_bits_per_s=pin_bits_per_s,
        channel_bits=spec.channel_bits,
        channels=spec.channels,
        interleave_bytes=spec.interleave_bytes,
        channel_bytes=spec.stack_bytes // spec.channels_per_stack,
        map_text=spec.address_map,
    )


def _command_answer(spec: MemorySpec) -> Answer:
    # Vias may carry less than the pins (H1).
    channel = channel_of(spec, pin_bits_per_s=int(spec.channel_peak_bytes_per_s * 8 / spec.channel_bits))
    return partial(sustain_mixture, channel, profile_named(spec.controller, place="controller"))


def _flash_answer(spec: MemorySpec, table: FlashSpec, *, place: str) -> Answer:
    flash = flash_of(spec.device, table, stack_of(spec))
    longest = _LONG_RUN_LAPS * flash.dies // flash.channels * flash.planes * flash.page_bytes

    # A34: weights and context blocks are asked for ahead, so that the stack's whole buffer is in flight.
    @lru_cache(maxsize=256)
    def canonical(phase: Phase) -> ChannelFacts:
        forced = table.writes == "forced"
        return sustain_flash(flash, phase, ahead=True, force_writes=forced, place=place).channel

    def answer(phase: Phase) -> ChannelFacts:
        local = partial(together_on_channel, channels=spec.channels, granule=spec.interleave_bytes)
        accesses = tuple(replace(a, run_bytes=min(local(a.run_bytes), longest)) for a in phase.accesses)
        return blended(accesses, lambda mixture: canonical(replace(phase, accesses=_in_pages(mixture, flash))))

    return answer


def _in_pages(mixture: tuple[Access, ...], flash: Flash) -> tuple[Access, ...]:
    return tuple(replace(access, bytes=access.bytes * flash.page_bytes) for access in mixture)


def _sram_answer(sram: Sram, phase: Phase) -> ChannelFacts:
    return sustain_sram(sram, phase).channel


def _closed_form(spec: MemorySpec, phase: Phase) -> ChannelFacts:
    # A33: a standard without a timing table sustains what refresh and the bytes in flight leave.
    return sustain_closed_form(
        peak_bytes_per_s=Fraction(spec.channel_peak_bytes_per_s),
        refresh_interval_ps=spec.device.refresh_interval_ps or 0,
        refresh_cycle_ps=spec.device.refresh_cycle_ps or 0,
        access_latency_ps=spec.device.access_latency_ps,
        phase=phase,
    )
