"""A system of whose memories a program has a share: what two models on the same chips see of them.

Nothing physical changes but the room that placement sees.
"""

from __future__ import annotations

from fractions import Fraction

from archsim.hardware.spec import SystemSpec

__all__ = ["lent"]


def lent(spec: SystemSpec, share: Fraction) -> SystemSpec:
    """Return *spec* with *share* of what is usable of every memory, rounded down."""
    memories = {
        name: memory.model_copy(
            update={"reserved_bytes": memory.reserved_bytes + memory.usable_bytes - int(memory.usable_bytes * share)}
        )
        for name, memory in spec.chip.memory.items()
    }
    return spec.model_copy(update={"chip": spec.chip.model_copy(update={"memory": memories})})
