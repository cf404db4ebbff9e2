"""What `archsim memory` asks: a memory meant by name, with what the user wants otherwise, and a pattern.

A name is a standard (`HBM3`), a memory device, a chip or a system; of the last two the main memory is asked, or the one
that is named. DRAM answers command by command, flash page by page, SRAM by banks and ports.
"""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from typing import NamedTuple

from archsim.dram.address import default_map, parse_map
from archsim.dram.build import DeviceOptions, build_device, standard_named
from archsim.dram.glance import Glance
from archsim.dram.patterns import Pattern, parse_pattern
from archsim.dram.probe import Load, probe
from archsim.dram.probe_flash import FlashLoad, probe_flash
from archsim.dram.probe_sram import SramLoad, probe_sram
from archsim.dram.profile import profile_named
from archsim.dram.standards import STANDARDS, Standard
from archsim.dram.sustain import MemoryChannel, geometry_of
from archsim.errors import InputError, Problem, did_you_mean
from archsim.files import read_toml
from archsim.hardware.answers import Stack, flash_of, sram_of, stack_alone, stack_of
from archsim.hardware.library import (
    chip_names,
    find_hardware,
    load_chip,
    load_memory_device,
    load_system,
    memory_device_names,
    system_names,
)
from archsim.hardware.memory_settings import OF_DRAM, OF_FLASH, OF_SRAM, Settings
from archsim.hardware.memory_spec import FlashSpec, MemoryDeviceSpec, MemorySpec, SramSpec
from archsim.hardware.spec import ChipSpec
from archsim.units import format_quantity

__all__ = ["answer_to"]

_REQUESTS = 60_000
"""Of one channel, and of each of several up to the number below in all."""
_SPLITTING = ("ramulator2",)
"""Controllers that put other commands between the two of an activation, where a standard has two."""
_FEMTOJOULES_OF_A_PICOJOULE = 1000
_GRADE_REACH = 4
"""A pin rate may be so many times the published grade, or that part of it."""
_USUAL_REQUESTS = 1 << 20
_MOST_REQUESTS = 1 << 24
_DIES = {4: 1, 8: 2, 12: 4, 16: 4}
"""Dies of a stack -> stack ids: four dies share one, and a field of bits holds a power of two."""


class _Target(NamedTuple):
    """A memory that was asked for: its standard, and its device and chip where the name has them."""

    standard: str
    device: MemoryDeviceSpec | None
    memory: MemorySpec | None
    chip: ChipSpec | None


def answer_to(name: str, settings: Settings) -> Glance:
    """Return what the memory that *name* means answers.

    Raises `InputError` for an unknown name, a setting that its kind does not have, or one that cannot be.
    """
    target, pattern = _target(name, settings.memory), parse_pattern(settings.pattern)
    device = target.device
    if device is not None and device.flash is not None:
        answer = _ask_flash(target, device, device.flash, settings, pattern)
    elif device is not None and device.sram is not None:
        answer = _ask_sram(target, device, device.sram, settings, pattern)
    else:
        answer = _ask_dram(target, settings, pattern)
    answer = _with_stated_energy(answer, target)
    return replace(answer, device=f"{target.chip.name}, {answer.device}") if target.chip else answer


def _with_stated_energy(answer: Glance, target: _Target) -> Glance:
    """Where no source covers any part, state what the device's own file takes a bit to cost, as runs do."""
    device, energy = target.device, answer.energy
    if device is None or device.pj_per_bit is None or energy.by_part or energy.average is not None:
        return answer
    average = int(device.pj_per_bit * _FEMTOJOULES_OF_A_PICOJOULE)
    stated = replace(energy, average=average, source=f"as {device.name} states, and why: `archsim show --sources`")
    return replace(answer, energy=stated, content=answer.content | {"energy": stated.as_json()})


def _target(name: str, memory: str | None) -> _Target:
    standard = next((known for known in STANDARDS if known.casefold() == name.casefold()), None)
    if standard is not None:
        return _without_chip(_Target(standard, None, None, None), memory)
    kind = _kind_of(name, ("memories", "chips", "systems") if memory is None else ("chips", "systems", "memories"))
    if kind == "memories":
        device = load_memory_device(name)
        return _without_chip(_Target(device.standard, device, None, None), memory)
    chip = load_chip(name) if kind == "chips" else load_system(name).chip
    chosen = memory or chip.main_memory
    if chosen not in chip.memory:
        hint = did_you_mean(chosen, chip.memory)
        raise InputError(Problem("", "--memory", chosen, f"a memory of {chip.name}: {', '.join(chip.memory)}{hint}"))
    spec = chip.memory[chosen]
    return _Target(spec.device.standard, spec.device, spec, chip)


def _without_chip(target: _Target, memory: str | None) -> _Target:
    if memory is not None:
        raise InputError(Problem("", "--memory", memory, "a chip or a system as DEVICE: only they have several"))
    return target


def _kind_of(name: str, folders: tuple[str, ...]) -> str:
    """Return the first of *folders* in which *name* stands, or where the file that it names would stand."""
    for folder in folders:
        try:
            path = find_hardware(name, folder=folder)
        except InputError:
            continue
        content = read_toml(path)
        return "systems" if "chip" in content else "chips" if "memory" in content else "memories"
    if "/" in name or name.endswith(".toml"):
        raise InputError(Problem(name, "", "", "a readable file of a memory device, chip or system at this path"))
    known = [*STANDARDS, *memory_device_names(), *chip_names(), *system_names()]
    listed = f"a standard ({', '.join(STANDARDS)}), a memory device ({', '.join(memory_device_names())}), "
    raise InputError(
        Problem(
            "", "DEVICE", name[:80], f"{listed}a chip, a system or a path (`archsim list`){did_you_mean(name, known)}"
        )
    )


def _ask_dram(target: _Target, settings: Settings, pattern: Pattern) -> Glance:
    settings.refuse(OF_FLASH, "DRAM")
    settings.refuse(OF_SRAM, "DRAM")
    standard = standard_named(settings.standard or target.standard, place=_place(target, settings))
    channel, all_channels = _channel(standard, target, settings)
    window = latency = 0
    if target.chip is not None and target.memory is not None:
        window, latency = _in_flight_bytes(target.chip, target.memory) // all_channels, target.memory.round_trip_ps
    profile = settings.controller(target.memory.controller if target.memory else "archsim")
    unit = channel.device.transaction_bytes
    requests = min(_REQUESTS * channel.channels, _USUAL_REQUESTS)
    if settings.total_bytes is not None:
        requests = -(-settings.total_bytes // unit)
    if not 1 <= requests <= _MOST_REQUESTS:
        raise InputError(Problem("", "--bytes", f"{settings.total_bytes} B", f"{unit} B to {_MOST_REQUESTS * unit} B"))
    _require_window(settings, unit)
    load = Load(pattern, requests, _or(settings.window_bytes, window), _or(settings.latency_ps, latency))
    return probe(channel, profile_named(profile, queue=settings.queue, refresh=settings.refresh), load).glance()


def _in_flight_bytes(chip: ChipSpec, memory: MemorySpec) -> int:
    """Return what is asked of *memory* at once: by its own engines, or by the best kernels of the chip."""
    return memory.outstanding_bytes or max(chip.bytes_in_flight, chip.most_bytes_in_flight or 0)


def _require_window(settings: Settings, unit_bytes: int) -> None:
    if settings.window_bytes is not None and settings.window_bytes < unit_bytes:
        expected = f"at least {unit_bytes} B, the smallest access"
        raise InputError(Problem("", "--window", f"{settings.window_bytes} B", expected))


def _place(target: _Target, settings: Settings) -> str:
    if settings.standard or target.standard in STANDARDS:
        return "--standard"
    return f"{target.standard} has no timing table; --standard takes another's"


def _or(stated: int | None, otherwise: int) -> int:
    return otherwise if stated is None else stated


def _channel(standard: Standard, target: _Target, settings: Settings) -> tuple[MemoryChannel, int]:
    """Return the channels that are asked, and how many of them the chip has."""
    memory = target.memory
    lanes, channels, density = None, 1, settings.density_gbit
    if memory is not None:
        lanes, channels, gbit = geometry_of(
            standard,
            channel_bits=memory.channel_bits,
            channels=memory.channels,
            channel_bytes=memory.stack_bytes // memory.channels_per_stack,
        )
        density = density or gbit
    elif target.device is not None and settings.standard is None:
        density = density or _density(standard, target.device)
    if settings.pin_bits_per_s is not None:
        _require_rate(standard, settings.pin_bits_per_s)
    device = build_device(
        standard.name,
        DeviceOptions(
            pin_bits_per_s=settings.pin_bits_per_s or (memory.pin_bits_per_s if memory else None),
            lanes=lanes,
            channel_gbit=density,
            stack_ids=_stack_ids(standard, settings.dies),
            timing_set=settings.timing_set,
            timings=dict(settings.timings),
            hot=settings.hot,
            write_share=settings.write_share or Fraction(1),
            split_activate=_splits(settings, memory),
        ),
    )
    map_text = settings.map_text
    if map_text is None and memory is not None and settings.standard is None:
        map_text = memory.address_map or None
    address_map = default_map(device) if map_text is None else parse_map(map_text, device, place="--map")
    granule = settings.interleave_bytes or (memory.interleave_bytes if memory else 256)
    if settings.interleave_bytes is None:
        granule = max(granule, device.transaction_bytes)
    if settings.channels == 0 and memory is None:
        raise InputError(Problem("", "--channels", "all", "a chip or a system as DEVICE, or a number"))
    asked = channels if settings.channels == 0 else settings.channels or 1
    return MemoryChannel(device, address_map, asked, granule), channels


def _require_rate(standard: Standard, rate: int) -> None:
    """Refuse a pin rate so far from the published grade that its nanoseconds say nothing any more."""
    least, most = standard.grade_bits_per_s // _GRADE_REACH, standard.grade_bits_per_s * _GRADE_REACH
    if not least <= rate <= most:
        reach = f"{format_quantity(least, 'bits/s')} to {format_quantity(most, 'bits/s')}"
        raise InputError(Problem("", "--pin-rate", format_quantity(rate, "bits/s"), f"{reach} for {standard.name}"))


def _splits(settings: Settings, memory: MemorySpec | None) -> bool:
    """Say whether the controller sends ACT-1 and ACT-2 apart; one that refreshes banks beside others does not."""
    profile = settings.profile or (memory.controller if memory else "archsim")
    return profile.split()[0] in _SPLITTING and settings.refresh != "overlapped_bank"


def _stack_ids(standard: Standard, dies: int | None) -> int:
    if dies is None:
        return DeviceOptions().stack_ids
    if not standard.stack_ids:
        raise InputError(Problem("", "--dies", str(dies), f"a standard with stack ids; {standard.name} has none"))
    if dies not in _DIES:
        raise InputError(Problem("", "--dies", str(dies), f"one of {', '.join(map(str, _DIES))}"))
    return _DIES[dies]


def _density(standard: Standard, device: MemoryDeviceSpec) -> int | None:
    """Return the gigabits of a channel whose refresh takes as long as *device* states; `None` where none does."""
    below = 0
    for most, timing in standard.refresh:
        if timing.ps == device.refresh_cycle_ps and below:
            return min(most, 2 * below)
        if timing.ps == device.refresh_cycle_ps:
            return min(most, standard.default_channel_gbit)
        below = most
    return None


def _ask_flash(
    target: _Target, device: MemoryDeviceSpec, table: FlashSpec, settings: Settings, pattern: Pattern
) -> Glance:
    settings.refuse((*OF_DRAM, "channels"), "flash")
    settings.refuse(OF_SRAM, "flash")
    flash = flash_of(device, table, _stack(target, device))
    flash = replace(
        flash,
        buffer_bytes=settings.buffer_bytes or flash.buffer_bytes,
        page_bytes=settings.page_bytes or flash.page_bytes,
        planes=settings.planes or flash.planes,
    )
    _require_window(settings, flash.page_bytes)
    load = FlashLoad(
        pattern=pattern,
        stacks=target.memory.stacks if target.memory else 1,
        interleave_bytes=_granule(target, settings, flash.page_bytes),
        window_bytes=settings.window_bytes or 0,
        latency_ps=_or(settings.latency_ps, target.memory.round_trip_ps if target.memory else 0),
        write_bytes_per_s=settings.write_bytes_per_s,
        forced=settings.force_writes or table.writes == "forced",
    )
    return probe_flash(flash, load, place="--force-writes").glance()


def _ask_sram(
    target: _Target, device: MemoryDeviceSpec, table: SramSpec, settings: Settings, pattern: Pattern
) -> Glance:
    settings.refuse((*OF_DRAM, "channels"), "SRAM")
    settings.refuse(OF_FLASH, "SRAM")
    stack = _stack(target, device)
    sram = sram_of(device, table, stack)
    sram = replace(sram, banks=settings.banks or sram.banks, ports=settings.ports or sram.ports)
    stacks = target.memory.stacks if target.memory else 1
    _require_window(settings, sram.word_bytes)
    load = SramLoad(
        pattern=pattern,
        channels=stacks * stack.channels,
        interleave_bytes=_granule(target, settings, sram.word_bytes),
        capacity_bytes=stacks * stack.capacity_bytes,
        window_bytes=settings.window_bytes or 0,
        latency_ps=_or(settings.latency_ps, target.memory.round_trip_ps if target.memory else 0),
    )
    return probe_sram(sram, load).glance()


def _granule(target: _Target, settings: Settings, unit_bytes: int) -> int:
    stated = settings.interleave_bytes
    if stated is not None and stated % unit_bytes:
        expected = f"a multiple of {unit_bytes} B, the smallest access"
        raise InputError(Problem("", "--interleave", f"{stated} B", expected))
    return stated or max(target.memory.interleave_bytes if target.memory else 0, unit_bytes)


def _stack(target: _Target, device: MemoryDeviceSpec) -> Stack:
    return stack_alone(device, place=device.name) if target.memory is None else stack_of(target.memory)
