"""From what a system says of a tier to what it holds and how fast caches pass: of one replica.

S12: caches pass the ports of all chips of a replica at once, in equal shares, no faster than the chip's main memory
reads or writes KV blocks. A tier that is another of the chip's memories has what placement leaves of it, and the rate
at which it writes and reads such blocks.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from archsim.dram.facts import Access
from archsim.errors import InputError, Problem, did_you_mean
from archsim.hardware.spec import SystemSpec
from archsim.hardware.system import System
from archsim.hardware.tier_spec import TierSpec
from archsim.mapping.placement import Placement
from archsim.serving.techniques import TierRule
from archsim.step.drafting import Drafting
from archsim.step.moves import Moves
from archsim.workload.model import Model
from archsim.workload.precision import Precision

__all__ = ["PlacedTier", "check_tier", "tier_of"]

_TABLE = "serving.tier"


@dataclass(frozen=True, slots=True)
class PlacedTier:
    """A tier beside a model that is placed."""

    rule: TierRule
    moves: Moves


def tier_of(model: Model, precision: Precision, placement: Placement, system: System, chips: int) -> PlacedTier | None:
    """Return the tier of a replica of *chips* chips; None where the system has none.

    Raises `InputError` for a memory that is not there, that KV blocks fill, that may not be written, or that holds
    nothing more.
    """
    spec = system.spec
    serving = spec.serving
    if serving is None or serving.tier is None:
        return None
    tier, main = serving.tier, spec.chip.main_memory
    block_bytes = placement.kv_block_bytes_per_chip
    out_rate, in_rate = (_rate(system, main, block_bytes, write=write) for write in (False, True))
    memories = {main}
    if tier.memory is None:
        out_rate, in_rate = (min(rate, Fraction(tier.bytes_per_s or 0)) for rate in (out_rate, in_rate))
        latency_ps, capacity = tier.latency_ps or 0, tier.capacity_bytes or 0
    else:
        left = _left(spec, placement, tier.memory)
        capacity = _checked_capacity(spec, tier, left)
        out_rate = min(out_rate, _rate(system, tier.memory, block_bytes, write=True))
        in_rate = min(in_rate, _rate(system, tier.memory, block_bytes, write=False))
        memory = spec.chip.memory[tier.memory]
        latency_ps = memory.device.access_latency_ps + memory.round_trip_ps
        memories.add(tier.memory)
    rule = TierRule(
        capacity_bytes=chips * capacity,
        out_bytes_per_s=int(chips * out_rate),
        in_bytes_per_s=int(chips * in_rate),
        latency_ps=latency_ps,
        kv_bits=int(model.kv_elements_per_token * precision.kv.stored_bits) // model.reach.parts,
        swaps=serving.preemption == "swap",
    )
    idle = tuple(f"chip{chip}" for chip in spec.idle_chips)
    return PlacedTier(rule, Moves(memories, out_rate, in_rate, idle))


def check_tier(drafting: Drafting | None, spec: SystemSpec) -> None:
    """Raise `InputError` for guesses whose cache lies beside the model's and would have to move, too."""
    if drafting is not None and drafting.drafter is not None and drafting.drafter.hop_ps is None:
        expected = "ngram, or guesses on chips of their own: the cache of what guesses here would have to move, too"
        method = spec.serving.speculation.method if spec.serving and spec.serving.speculation else ""
        raise InputError(Problem(spec.name, "serving.speculation with serving.tier", method, expected))


def _rate(system: System, memory: str, block_bytes: int, *, write: bool) -> Fraction:
    """Return the bytes/s at which *memory* of a chip reads or writes KV blocks."""
    levels = system.levels
    level = levels.get(memory) or levels[f"{memory}.phy"]
    facts = level.sustain((Access(level.burst_bytes, max(block_bytes, level.burst_bytes), write),))
    return level.peak_bytes_per_s * facts.sustained


def _left(spec: SystemSpec, placement: Placement, name: str) -> int:
    """Return the bytes of memory *name* of a chip that hold nothing."""
    chip = spec.chip
    known = [memory for memory in chip.memory if memory != chip.main_memory]
    if name not in known:
        expected = f"one of the chip's other memories ({', '.join(known) or 'it has none'}){did_you_mean(name, known)}"
        raise InputError(Problem(spec.name, f"{_TABLE}.memory", name, expected))
    flash = chip.memory[name].device.flash
    if flash is not None and flash.writes == "refused":
        expected = (
            f"a memory that may be written at will: flash wears out after {flash.endurance_cycles:,} cycles "
            f'(chip.memory.{name}.device.flash.writes = "forced" allows it)'
        )
        raise InputError(Problem(spec.name, f"{_TABLE}.memory", name, expected))
    tiers = placement.tiers
    if name in tiers.kv:
        expected = "a memory in which no running sequence's KV blocks lie (placement.kv): they take all that is left"
        raise InputError(Problem(spec.name, f"{_TABLE}.memory", name, expected))
    filled = placement.fullest.filled
    held = sum(dict(parts).get(name, 0) for parts in (filled.activations, filled.context, filled.weights))
    return chip.memory[name].usable_bytes - held


def _checked_capacity(spec: SystemSpec, tier: TierSpec, left: int) -> int:
    capacity = left if tier.capacity_bytes is None else tier.capacity_bytes
    if not 0 < capacity <= left:
        expected = f"more than nothing and at most the {left:,} bytes that placement leaves of {tier.memory}"
        raise InputError(Problem(spec.name, f"{_TABLE}.capacity", f"{capacity:,} bytes", expected))
    return capacity
