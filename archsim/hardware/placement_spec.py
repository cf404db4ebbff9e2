"""What a chip is told about where tensors lie, table `[placement]`: each class on memories that fill in order.

A class fills the first memory of its list, then the next; what fits nowhere is a capacity error. Without the table
weights and KV lie in the main memory, and activations in the largest cache and what it cannot hold beside them.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Literal

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from archsim.errors import did_you_mean
from archsim.hardware.memory_spec import MemorySpec, Spec, refusal
from archsim.hardware.quantities import Bytes, Count, Identifier

__all__ = ["PlacementSpec", "check_placement"]


class PlacementSpec(Spec):
    """Tensor classes on memories, table `[placement]`."""

    weights: tuple[Identifier, ...] = Field(min_length=1)
    """Memories that hold weights, filled in order; each tensor is cut over them alike, so that they stream together."""
    kv: tuple[Identifier, ...] = Field(min_length=1)
    """Memories that hold the blocks of the KV cache, filled in order."""
    activations: tuple[Identifier, ...] = Field(min_length=1)
    """Caches and memories that hold what kernels hand on, filled in order."""
    context: tuple[Identifier, ...] = ()
    """Memories that hold the KV of a context that all sequences share and nobody writes; with `context_tokens`."""
    context_tokens: Count | None = None
    """Tokens of that context, which every token attends to beside its own sequence."""
    experts: tuple[Identifier, ...] = ()
    """Memories that routed experts lie in, filled in order, apart from the other weights."""
    expert_cache_bytes: Bytes | None = Field(alias="expert_cache", default=None)
    """Bytes of the memories of `weights` that keep hot experts; not stated: each is read from where it lies."""
    expert_policy: Literal["lru", "lfu", "popular"] | None = None
    """What that cache holds: what was touched last, most often, or what is popular."""
    kv_reserve_bytes: Bytes | None = Field(alias="kv_reserve", default=None)
    """Bytes of the first memory of `kv` that weights leave to it."""

    @model_validator(mode="after")
    def _check_context(self) -> PlacementSpec:
        if bool(self.context) != (self.context_tokens is not None):
            raise refusal("context", list(self.context), "context and context_tokens together, or neither")
        if (self.expert_cache_bytes is None) != (self.expert_policy is None):
            expected = "expert_cache and expert_policy together, or neither"
            raise refusal("expert_policy", str(self.expert_policy or ""), expected)
        if self.expert_cache_bytes is not None and not self.experts:
            raise refusal("expert_cache", "", "a cache for experts that lie apart: memories in experts")
        return self


def check_placement(
    placement: PlacementSpec, memories: Mapping[str, MemorySpec], caches: Collection[str]
) -> PydanticCustomError | None:
    """Return what is wrong with *placement* on a chip of these *memories* and *caches*, or None."""
    for key, names in _named(placement):
        known = [*memories, *caches] if key == "activations" else list(memories)
        for name in names:
            if name not in known:
                expected = f"memories of the chip: {', '.join(known)}{did_you_mean(name, known)}"
                return refusal(f"placement.{key}", name, expected)
            if len(set(names)) < len(names):
                return refusal(f"placement.{key}", ", ".join(names), "each memory once")
            if key == "activations" and name in memories and memories[name].through:
                return refusal("placement.activations", name, "memories that engines read themselves")
            flash = memories[name].device.flash if name in memories else None
            if flash is not None and key in {"kv", "activations"} and flash.writes == "refused":
                return refusal(
                    f"placement.{key}",
                    name,
                    f"a memory that may be written in every iteration: {memories[name].device.name} is flash and wears "
                    f'out after {flash.endurance_cycles:,} cycles (its key flash.writes = "forced" allows it)',
                )
    return None


def _named(placement: PlacementSpec) -> Iterator[tuple[str, tuple[str, ...]]]:
    for key in ("weights", "kv", "activations", "context", "experts"):
        yield key, getattr(placement, key)
