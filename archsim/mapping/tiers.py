"""Tiers: which memories of a chip hold how many bytes of each tensor class.

Classes come one after the other: activations, the shared context, weights (which leave `kv_reserve` to the cache), and
KV blocks in what is left. Each fills the memories of its list in order. A chip without a `[placement]` is the case of a
single tier, its main memory.

T1: a tensor is cut over the tiers of its class in proportion to what they hold, so that every kernel reads all of them
at once. T2: KV blocks fill their tiers in order at every moment: those of an iteration that exceed the first tier are
in the second, whichever sequence they belong to, and moving them there and back costs nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from archsim.hardware.spec import ChipSpec

__all__ = ["Filled", "Parts", "Tiers", "cut", "filling"]

_LEAVING = ("weights", "experts")
"""Classes that leave `kv_reserve` to the cache."""

Parts = tuple[tuple[str, int], ...]
"""(memory, bytes) in the order in which they fill."""


@dataclass(frozen=True, slots=True)
class Filled:
    """What lies where on a chip, in bytes."""

    activations: Parts
    context: Parts
    weights: Parts
    kv_rooms: Parts
    """What is left for KV blocks, by tier."""
    lacking: Parts
    """(tensor class, bytes that found no place)."""
    experts: Parts = ()
    """Routed experts, where they lie apart from the weights, which then hold their cache."""


@dataclass(frozen=True, slots=True)
class Tiers:
    """The lists of a chip's placement, and the room of every memory in them."""

    weights: tuple[str, ...]
    kv: tuple[str, ...]
    activations: tuple[str, ...]
    """Memories alone: room is kept for them whether a cache holds them at the time or not (W9)."""
    context: tuple[str, ...]
    usable: Parts
    """Usable bytes of every memory named above."""
    kv_reserve_bytes: int = 0
    context_tokens: int = 0
    experts: tuple[str, ...] = ()
    """Memories of routed experts; empty: they lie with the weights."""
    expert_cache_bytes: int = 0

    @classmethod
    def of(cls, chip: ChipSpec) -> Tiers:
        """Return the tiers of *chip*."""
        placed = chip.placement
        if placed is None:
            main = (chip.main_memory,)
            return cls(main, main, main, (), ((chip.main_memory, chip.memory[chip.main_memory].usable_bytes),))
        activations = tuple(name for name in placed.activations if name in chip.memory)
        named = dict.fromkeys((*placed.weights, *placed.kv, *activations, *placed.context, *placed.experts))
        return cls(
            weights=placed.weights,
            kv=placed.kv,
            activations=activations,
            context=placed.context,
            usable=tuple((name, chip.memory[name].usable_bytes) for name in named),
            kv_reserve_bytes=placed.kv_reserve_bytes or 0,
            context_tokens=placed.context_tokens or 0,
            experts=placed.experts,
            expert_cache_bytes=placed.expert_cache_bytes or 0,
        )

    @property
    def usable_bytes(self) -> int:
        """Of all tiers together."""
        return sum(size for _, size in self.usable)

    def filled(self, *, activation_bytes: int, context_bytes: int, weight_bytes: int, expert_bytes: int = 0) -> Filled:
        """Return where these bytes lie; *expert_bytes* are of experts that lie apart, and not among the weights."""
        room = dict(self.usable)
        lacking: list[tuple[str, int]] = []
        wanted = {"activations": activation_bytes, "context": context_bytes, "weights": weight_bytes,
                  "experts": expert_bytes}  # fmt: skip
        placed: dict[str, Parts] = {}
        lists = {"activations": self.activations, "context": self.context, "weights": self.weights}
        for what, names in (*lists.items(), ("experts", self.experts)):
            held = {self.kv[0]: min(self.kv_reserve_bytes, room[self.kv[0]])} if what in _LEAVING else {}
            placed[what], left = _into(room, names, wanted=wanted[what], held=held)
            if left:
                lacking.append((what, left))
        rooms = tuple((name, room[name]) for name in self.kv)
        return Filled(
            placed["activations"], placed["context"], placed["weights"], rooms, tuple(lacking), placed["experts"]
        )


def _into(room: dict[str, int], names: tuple[str, ...], *, wanted: int, held: Mapping[str, int]) -> tuple[Parts, int]:
    """Take *wanted* bytes from *room* in the order of *names*, less what is *held*; return them and what is left."""
    parts: list[tuple[str, int]] = []
    for name in names:
        taken = min(wanted, room[name] - held.get(name, 0))
        room[name] -= taken
        wanted -= taken
        if taken:
            parts.append((name, taken))
    return tuple(parts), wanted


def cut(amount: int, parts: Parts) -> list[tuple[str, int]]:
    """Return *amount* cut over *parts* in proportion to them, in whole numbers that sum to it."""
    whole = sum(size for _, size in parts)
    pieces: list[tuple[str, int]] = []
    before = done = 0
    for name, size in parts:
        done += size
        after = amount * done // whole
        pieces.append((name, after - before))
        before = after
    return pieces


def filling(amount: int, rooms: Parts) -> Parts:
    """Return how much of *amount* lies in each of *rooms* (T2), filled in order; the last takes what is left."""
    *before, (last, _) = rooms
    parts: list[tuple[str, int]] = []
    for name, room in before:
        taken = min(amount, room)
        amount -= taken
        if taken:
            parts.append((name, taken))
    if amount or not parts:
        parts.append((last, max(amount, 1)))
    return tuple(parts)
