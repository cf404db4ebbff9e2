"""Designs whose memories have other room than their own: assumed to hold whatever is asked, or a share of it.

Nothing physical changes but the capacity that placement sees. What a workload would take where it does not fit is
compared with an assumed capacity, and a result made with it says so; two models on the same chips have a share each.
"""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction

from archsim.hardware.memory_spec import MemorySpec
from archsim.hardware.spec import SystemSpec

__all__ = ["assumed_memories", "lent", "with_assumed_capacity"]

_PLENTY_BYTES = 10**15
"""A petabyte a memory: beyond every model and context."""


def with_assumed_capacity(spec: SystemSpec) -> SystemSpec:
    """Return *spec* whose memories hold a petabyte each."""
    return _with_memories(
        spec,
        {
            name: memory.model_copy(update={"assumed_bytes": memory.assumed_bytes or _PLENTY_BYTES})
            for name, memory in spec.chip.memory.items()
        },
    )


def assumed_memories(spec: SystemSpec) -> dict[str, int]:
    """Return the memories whose capacity is assumed, with the bytes that one chip is taken to hold."""
    return {name: memory.assumed_bytes for name, memory in spec.chip.memory.items() if memory.assumed_bytes}


def lent(spec: SystemSpec, share: Fraction) -> SystemSpec:
    """Return *spec* with *share* of what is usable of every memory, rounded down."""
    memories = {}
    for name, memory in spec.chip.memory.items():
        taken = memory.usable_bytes - int(memory.usable_bytes * share)
        memories[name] = memory.model_copy(update={"reserved_bytes": memory.reserved_bytes + taken})
    return _with_memories(spec, memories)


def _with_memories(spec: SystemSpec, memories: Mapping[str, MemorySpec]) -> SystemSpec:
    return spec.model_copy(update={"chip": spec.chip.model_copy(update={"memory": dict(memories)})})
