"""Designs that hold whatever they are asked to: for comparing what a workload would take where it does not fit.

Nothing physical changes but the capacity that placement sees. A result made with it says so.
"""

from __future__ import annotations

from archsim.hardware.spec import SystemSpec

__all__ = ["assumed_memories", "with_assumed_capacity"]

_PLENTY_BYTES = 10**15
"""A petabyte a memory: beyond every model and context."""


def with_assumed_capacity(spec: SystemSpec) -> SystemSpec:
    """Return *spec* whose memories hold a petabyte each."""
    memories = {
        name: memory.model_copy(update={"assumed_bytes": memory.assumed_bytes or _PLENTY_BYTES})
        for name, memory in spec.chip.memory.items()
    }
    return spec.model_copy(update={"chip": spec.chip.model_copy(update={"memory": memories})})


def assumed_memories(spec: SystemSpec) -> dict[str, int]:
    """Return the memories whose capacity is assumed, with the bytes that one chip is taken to hold."""
    return {name: memory.assumed_bytes for name, memory in spec.chip.memory.items() if memory.assumed_bytes}
