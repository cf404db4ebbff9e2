"""What a near-memory unit is told: where in a memory it sits, what it computes, and what it costs to use it.

A unit at the level `bank` or `bank_group` is driven by all-bank commands: all units of a channel read their own banks
in lock step. A unit at the level `channel` (a buffer chip) or `base_die` (the logic die under a stack) reads whole
channels as a host does, without the host's interface and queues. How many units there are follows from the memory.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field, model_validator

from archsim.dram.build import standard_named
from archsim.dram.standards import STANDARDS
from archsim.hardware.memory_spec import MemorySpec, Spec, refusal
from archsim.hardware.quantities import (
    BitsPerSecond,
    Bytes,
    BytesPerSecond,
    Count,
    FlopPerSecond,
    Identifier,
    PicojoulesPerBit,
    PicojoulesPerFlop,
    Picoseconds,
    PositivePicoseconds,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["LOCK_STEP", "NearLevel", "NearMemorySpec", "check_near_memory"]

NearLevel = Literal["bank", "bank_group", "channel", "base_die"]
"""Where a unit sits."""
LOCK_STEP = ("bank", "bank_group")
"""Levels whose units an all-bank command drives together."""
Operation = Literal["score", "softmax", "context", "gemv", "gemm"]
_ATTENTION = ("score", "context")
_ONLY_LOCK_STEP = ("column_interval_ps", "activation")
_ONLY_ABOVE = ("bytes_in_flight", "round_trip_ps")


class NearMemorySpec(Spec):
    """Near-memory units on one memory, table `[near_memory.NAME]` of a chip."""

    memory: Identifier
    """The chip's memory that they sit on."""
    level: NearLevel
    """Where in it."""
    place: Literal["auto", "attention", "gemv", "all", "none"]
    """Which operators run there: the policy."""
    operators: tuple[Operation, ...] = Field(min_length=1)
    """What a unit can do: products with keys, softmax, products with values; with weights, a row at a time or more."""
    flop_per_s: dict[Literal["bf16", "fp16", "fp8", "int8", "int4"], FlopPerSecond] = Field(alias="rate", min_length=1)
    """Rate of one unit by element type."""
    banks_per_unit: Count | None = None
    """Banks that share a unit; only at the level `bank`."""
    buffer_bytes: Bytes = Field(alias="buffer")
    """Input operands that one unit holds."""
    rows: Count
    """Input rows that a unit multiplies with one read of the other operand; more rows read it again."""
    shard_bytes: Bytes = Field(alias="shard_limit")
    """Most bytes of tensors that one unit works on."""
    sequences: Literal["whole", "split"]
    """A sequence's context for a KV head lies whole in one place, or is spread over all of them."""
    adds: Literal["near", "host"]
    """Who adds partial sums of units that work on one shard."""
    result_bytes: Bytes = Field(alias="result")
    """What the host reads for each output element of a unit: partial sums where its lanes are not added."""
    mode_switch_ps: Picoseconds = Field(alias="mode_switch")
    """To start units and to give the memory back, once a kernel."""
    host_access: Literal["blocked", "interleaved"]
    """What the host may do with the memory meanwhile: nothing, or take turns with the units."""
    host_work: Literal["waits", "cooperates"] = "waits"
    """What the host's engines do meanwhile: wait, or work on the projections around attention and on their part of
    products that are cut between both sides."""
    column_interval_ps: PositivePicoseconds | None = Field(alias="column_interval", default=None)
    """Time between all-bank column accesses where it is not the standard's tCCD_L: by power, or by design."""
    activation: Literal["together", "staggered"] | None = None
    """Rows of all banks open by one command, or four in each tFAW."""
    bytes_in_flight: Bytes | None = Field(alias="in_flight", default=None)
    """Outstanding reads of one unit at the levels `channel` and `base_die`."""
    round_trip_ps: PositivePicoseconds | None = Field(alias="round_trip", default=None)
    """From such a unit to the array's controller and back."""
    array_bits_per_s: BitsPerSecond | None = Field(alias="array_rate", default=None)
    """Rate of a data line between array and unit (through-silicon via); not stated: the memory's pin rate."""
    link_bytes_per_s: BytesPerSecond | None = Field(alias="link", default=None)
    """Rate at which operands and results pass, where the memory hangs on a link and not on the chip's own pins."""
    pj_per_bit: PicojoulesPerBit | None = Field(alias="energy", default=None)
    """Energy of a bit from the cells to the unit."""
    pj_per_flop: PicojoulesPerFlop | None = Field(alias="flop_energy", default=None)
    """Energy of a FLOP on the unit."""

    @model_validator(mode="after")
    def _check_level(self) -> NearMemorySpec:
        lock_step = self.level in LOCK_STEP
        if (self.level == "bank") != (self.banks_per_unit is not None):
            raise refusal("banks_per_unit", self.banks_per_unit, 'a count at the level "bank", and at no other')
        if lock_step and self.activation is None:
            raise refusal("activation", "", '"together" or "staggered"')
        absent, odd = (_ONLY_ABOVE, _ONLY_LOCK_STEP) if not lock_step else ((), _ONLY_ABOVE)
        keys = {name: info.alias or name for name, info in type(self).model_fields.items()}
        for name in absent:
            if getattr(self, name) is None:
                raise refusal(keys[name], "", f'this key, which the level "{self.level}" needs')
        for name in odd:
            if getattr(self, name) is not None:
                raise refusal(keys[name], getattr(self, name), f'no such key at the level "{self.level}"')
        return self

    @model_validator(mode="after")
    def _check_operators(self) -> NearMemorySpec:
        wanted = {"attention": _ATTENTION, "gemv": ("gemv",), "all": (*_ATTENTION, "gemv")}.get(self.place, ())
        if missing := [name for name in wanted if name not in self.operators]:
            raise refusal("place", self.place, f"operators that the unit supports; it lacks {', '.join(missing)}")
        return self


def check_near_memory(units: Mapping[str, NearMemorySpec], memories: Mapping[str, MemorySpec]) -> None:
    """Raise a refusal where a unit sits on no memory, on a level that its memory does not have, or beside another."""
    taken: dict[str, str] = {}
    for name, unit in units.items():
        if unit.memory not in memories:
            raise refusal(f"near_memory.{name}.memory", unit.memory, f"one of the memories {', '.join(memories)}")
        if unit.memory in taken:
            expected = f"one table for the memory {unit.memory}: {taken[unit.memory]} has it"
            raise refusal(f"near_memory.{name}.memory", unit.memory, expected)
        taken[unit.memory] = name
        if levels := _levels_of(memories[unit.memory]):
            if unit.level in levels:
                continue
            expected = f"one of {', '.join(levels)}: levels of {memories[unit.memory].device.standard}"
        else:
            expected = f"a DRAM with a timing table ({', '.join(STANDARDS)})"
        raise refusal(f"near_memory.{name}.level", unit.level, expected)


def _levels_of(memory: MemorySpec) -> tuple[NearLevel, ...]:
    device = memory.device
    if device.flash is not None or device.sram is not None or device.standard not in STANDARDS:
        return ()
    standard = standard_named(device.standard)
    groups: tuple[NearLevel, ...] = ("bank_group",) if standard.bank_groups > 1 else ()
    stacked: tuple[NearLevel, ...] = ("base_die",) if device.standard.startswith("HBM") else ()
    return ("bank", *groups, "channel", *stacked)
