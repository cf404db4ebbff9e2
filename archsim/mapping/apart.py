"""Routed experts that lie apart from the other weights of a chip, and the cache of hot ones among those.

A cache has equally many slots in every layer with experts: as many as its bytes hold, at most the experts of a chip.
Which experts are in it is `workload.expert_cache`'s to say.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction

from archsim.errors import InputError, Problem
from archsim.hardware.spec import SystemSpec
from archsim.mapping.parallelism import Parallelism
from archsim.mapping.shares import Shares
from archsim.mapping.tiers import Tiers
from archsim.workload.layers import LayerKind
from archsim.workload.model import Model
from archsim.workload.tensors import Amount, expert_weights

__all__ = ["Apart", "check_apart"]


@dataclass(frozen=True, slots=True)
class Apart:
    """Routed experts of a stage's chip that lie apart, and their cache."""

    expert_bytes: int = 0
    slots: int = 0
    """Of each layer."""
    cache_bytes: int = 0
    least_bytes: int = 0
    """Of a cache with a slot in each layer."""

    @classmethod
    def of(
        cls, model: Model, bits: Fraction, ways: Parallelism, *, kinds: Mapping[LayerKind, int], tiers: Tiers
    ) -> Apart:
        """Return those of so many layers of each of *kinds*, weights in *bits*; none where *tiers* puts none apart."""
        layers = sum(count for kind, count in kinds.items() if kind.experts)
        if not (layers and tiers.experts):
            return cls()
        sliced = Shares(max(ways.ep, ways.group_ranks), model.kv_heads, model.vocabulary)
        whole = Amount(model.experts * sum(expert_weights(model)), "ranks")
        in_layer = sliced.of(whole, bits=bits)[0]
        held = -(-model.experts // ways.ep)
        one = -(-in_layer // held)
        slots = min(held, tiers.expert_cache_bytes // (layers * one))
        return cls(layers * in_layer, slots, layers * min(in_layer, slots * one), layers * one)


def check_apart(model: Model, system: SystemSpec, ways: Parallelism, spare_experts: int) -> None:
    """Raise `InputError` for experts that lie apart where that means nothing or is not modelled."""
    placed = system.chip.placement
    if placed is None or not placed.experts:
        return
    found = ", ".join(placed.experts)
    wrong = {
        f"a model with experts, which {model.name} has not": not model.experts,
        "no copies of hot experts beside a cache of them": spare_experts > 0,
        "layout=1d: a 2D layout cuts every expert over all ranks": ways.layout == "2d",
        "no packed weights ([decompression]) beside experts that lie apart": system.chip.decompression is not None,
    }
    if problems := [Problem(system.name, "placement.experts", found, expected) for expected, is_so in wrong.items()
                    if is_so]:  # fmt: skip
        raise InputError(*problems)
