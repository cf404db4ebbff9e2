"""Near-memory compute as parts: a route to the arrays that skips the interface, and units at its end.

A memory with units has two peaks and two books. `hbm.phy` is its interface; `hbm.array` is what the arrays deliver to
the units. A host's access (level `hbm`) holds both; a unit's read (`hbm.array`) holds the arrays alone; operands and
results of units (`hbm.io`) pass the interface alone, or a link of their own (`hbm.link`).

N1: where the host is blocked, arrays and interface serve one access at a time. Where accesses interleave, a host's
access holds the arrays for as long as their own peak needs for its bytes.
N2: data of a tensor lies over the places (stacks, channels) of a memory evenly, or in whole shards where sequences are
kept whole. Units of one place work in lock step.
N3: at the levels `channel` and `base_die` the arrays answer like a host's channel, command by command, with the unit's
own bytes in flight and round trip; the interface passes operands at its peak.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cache

from archsim.dram.all_bank import AllBank, all_bank_facts, broadcast_facts, column_ticks
from archsim.dram.facts import CAUSES, Access, ChannelFacts, Phase
from archsim.dram.sustain import MemoryChannel
from archsim.errors import InputError, Problem
from archsim.hardware.answers import answer_of, channel_of
from archsim.hardware.level import Level
from archsim.hardware.memory_spec import MemorySpec
from archsim.hardware.near_spec import LOCK_STEP, NearMemorySpec
from archsim.hardware.spec import ChipSpec
from archsim.units import PS_PER_S, format_quantity

__all__ = ["NearUnits", "near_levels", "near_units"]


@dataclass(frozen=True, slots=True)
class NearUnits:
    """The units on one memory of a chip."""

    name: str
    spec: NearMemorySpec
    memory: str
    places: int
    """Where a shard can lie: stacks, or channels."""
    units_per_place: int
    shard_bytes: int
    """Bytes that one unit can hold: its limit, at most its part of the memory."""
    burst_bytes: int
    """Smallest access of a place."""
    buses: int
    """Data buses of a place that each take their own copy of what all of its units hear."""

    @property
    def copies(self) -> int:
        """Copies of what all units hear that pass the interface; over a link one does, and the device hands it on."""
        return 1 if self.spec.link_bytes_per_s is not None else self.places * self.buses

    @property
    def units(self) -> int:
        """All units of the chip."""
        return self.places * self.units_per_place

    @property
    def array(self) -> str:
        """Level that the units read, and its scope."""
        return f"{self.memory}.array"

    @property
    def io(self) -> str:
        """Level that operands and results pass."""
        return f"{self.memory}.io"

    @property
    def dtypes(self) -> tuple[str, ...]:
        """Element types with a rate."""
        return tuple(str(dtype) for dtype in self.spec.flop_per_s)

    def flop_per_s(self, dtype: str) -> int:
        """Return the rate of all units. Raises `KeyError` for an element type without one."""
        return self.units * {str(name): rate for name, rate in self.spec.flop_per_s.items()}[dtype]

    @property
    def peak_flop_per_s(self) -> int:
        """The fastest type's rate of all units."""
        return self.units * max(self.spec.flop_per_s.values())


def near_units(chip: ChipSpec) -> dict[str, NearUnits]:
    """Return the units of *chip* by the memory that they sit on."""
    return {spec.memory: _units(name, spec, chip.memory[spec.memory]) for name, spec in chip.near_memory.items()}


def near_levels(units: Mapping[str, NearUnits], levels: Mapping[str, Level], chip: ChipSpec) -> dict[str, Level]:
    """Return *levels* with the routes of near-memory units: the memory's own, its arrays, its operands."""
    routes = dict(levels)
    for memory, unit in units.items():
        routes |= _routes(unit, levels[memory], chip)
    return routes


def _units(name: str, spec: NearMemorySpec, memory: MemorySpec) -> NearUnits:
    places, per_place, buses = memory.stacks, 1, 1
    if spec.level == "channel":
        places = memory.channels
    elif spec.level in LOCK_STEP:
        channel = channel_of(memory, pin_bits_per_s=memory.pin_bits_per_s)
        places, per_place, buses = channel.channels, _units_of_channel(spec, channel), channel.device.lanes
    held = (memory.assumed_bytes or memory.capacity_bytes) // (places * per_place)
    grain = per_place if spec.level in LOCK_STEP else memory.channels // places
    burst = grain * memory.device.burst_bytes
    limit = held if memory.assumed_bytes else min(spec.shard_bytes, held)
    return NearUnits(name, spec, spec.memory, places, per_place, limit, burst, buses)


def _units_of_channel(spec: NearMemorySpec, channel: MemoryChannel) -> int:
    device = channel.device
    if spec.level == "bank":
        return max(1, device.banks // (spec.banks_per_unit or 1))
    return device.banks // device.sizes[device.levels.index("ba")]


def _routes(unit: NearUnits, host: Level, chip: ChipSpec) -> dict[str, Level]:
    spec, memory = unit.spec, chip.memory[unit.memory]
    array = _lock_step_array(unit, memory) if spec.level in LOCK_STEP else _whole_channels(unit, memory, chip)
    if array.peak_bytes_per_s < host.peak_bytes_per_s:
        peak, least = (format_quantity(level.peak_bytes_per_s, "bytes/s", digits=4) for level in (array, host))
        key = f"near_memory.{unit.name}"
        raise InputError(Problem(chip.name, key, peak, f"arrays that feed the memory's interface: at least {least}"))
    blocked = spec.host_access == "blocked"
    share = Fraction(1) if blocked else min(Fraction(1), host.peak_bytes_per_s / array.peak_bytes_per_s)
    phy = f"{unit.memory}.phy"
    return {
        unit.memory: replace(host, holds=((phy, Fraction(1)), (unit.array, share))),
        unit.io: _operands(unit, host, memory),
        unit.array: array,
    }


def _lock_step(unit: NearUnits, channel: MemoryChannel) -> AllBank:
    spec = unit.spec
    return AllBank(
        device=channel.device,
        units=unit.units_per_place,
        interval_ps=spec.column_interval_ps,
        staggered=spec.activation == "staggered",
        grouped=spec.level == "bank_group",
    )


def _lock_step_array(unit: NearUnits, memory: MemorySpec) -> Level:
    channel = channel_of(memory, pin_bits_per_s=memory.pin_bits_per_s)
    mode = _lock_step(unit, channel)
    burst = unit.units_per_place * channel.device.transaction_bytes
    ticks, _ = column_ticks(mode)

    @cache
    def sustain(accesses: tuple[Access, ...]) -> ChannelFacts:
        return all_bank_facts(mode, min(access.run_bytes for access in accesses))

    peak = burst * PS_PER_S / (ticks * channel.device.tick_ps)
    return Level(unit.array, unit.places, burst, burst, Fraction(peak), sustain, inside=True)


def _whole_channels(unit: NearUnits, memory: MemorySpec, chip: ChipSpec) -> Level:
    spec = unit.spec
    inside = memory.model_copy(update={"pin_bits_per_s": spec.array_bits_per_s or memory.pin_bits_per_s})
    per_place = memory.channels // unit.places
    window = max((spec.bytes_in_flight or 0) // per_place, memory.device.burst_bytes)
    answer = answer_of(inside, place=f"{chip.name}: near_memory.{unit.name}")

    @cache
    def sustain(accesses: tuple[Access, ...]) -> ChannelFacts:
        return answer(Phase(accesses, window_bytes=window, latency_ps=spec.round_trip_ps or 0))

    burst = per_place * memory.device.burst_bytes
    peak = per_place * inside.channel_peak_bytes_per_s
    granule = per_place * memory.interleave_bytes
    return Level(unit.array, unit.places, granule, burst, peak, sustain, inside=True)


def _operands(unit: NearUnits, host: Level, memory: MemorySpec) -> Level:
    spec = unit.spec
    if spec.link_bytes_per_s is not None:
        # N4: a link is one path without latency beyond the kernel's own.
        free = ChannelFacts(1, (0,) * len(CAUSES), 0)
        link = ((f"{unit.memory}.link", Fraction(1)),)
        return Level(unit.io, 1, 1, 1, Fraction(spec.link_bytes_per_s), lambda _accesses: free, link)
    if spec.level in LOCK_STEP:
        facts = broadcast_facts(_lock_step(unit, channel_of(memory, pin_bits_per_s=memory.pin_bits_per_s)))
    else:
        facts = ChannelFacts(1, (0,) * len(CAUSES), spec.round_trip_ps or 0)
    return replace(
        host, name=unit.io, sustain=lambda _accesses: facts, holds=((f"{unit.memory}.phy", Fraction(1)),),
        interleave_bytes=host.burst_bytes,
    )  # fmt: skip
