"""Prefix caching: prompts that begin alike share the KV cache of what they have in common.

Traces say no words, but some say which prompts begin alike: a prompt is cut into units of equally many tokens,
and equal ids of all units up to one mean an equal beginning (Mooncake's hash ids; vLLM's and SGLang's block hashes are
the same idea; Qin et al., FAST 2025; Kwon et al., SOSP 2023; Zheng et al., NeurIPS 2024).

S1: a prompt's whole units are kept from the iteration that completes it on. A later prompt that begins with kept units
attends to them and computes only what follows, at least its last token. A unit is held once, however many running
sequences share it; when none does, it stays until the blocks are needed. What goes first is a policy of `EVICTIONS`;
of equals the deeper unit, so that a chain shrinks from its end. Layers with a sliding window keep nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, fields
from heapq import heapify, heappop, heappush
from typing import ClassVar

from archsim.serving.requests import Limits, Sequence
from archsim.serving.techniques import PrefixRule

__all__ = ["EVICTIONS", "PrefixCache", "PrefixUse", "Unit"]

_STALE = 16
"""Entries of units that have been used again since they were left which may lie about."""


@dataclass(slots=True)
class Unit:
    """The KV cache of one unit of prompts, and of everything before it."""

    KEPT: ClassVar = ("depth", "users", "added", "left", "uses")

    depth: int
    """Units before it."""
    users: int
    """Running sequences that share it."""
    added: int
    """When it was made, on the cache's own clock."""
    left: int
    """When its last user left."""
    uses: int = 1
    """Sequences that have shared it, the one that made it with them."""


@dataclass(frozen=True, slots=True)
class PrefixUse:
    """What a cache was good for."""

    prompt_tokens: int
    """Of the prompts that were let in, without what was computed again after a preemption."""
    hit_tokens: int
    """Of these, those that were not computed."""
    evicted_units: int

    def __add__(self, other: PrefixUse) -> PrefixUse:
        return PrefixUse(*(getattr(self, field.name) + getattr(other, field.name) for field in fields(self)))


EVICTIONS: dict[str, Callable[[Unit], tuple[int, ...]]] = {
    "lru": lambda unit: (unit.left, -unit.depth),
    "lfu": lambda unit: (unit.uses, unit.left, -unit.depth),
    "fifo": lambda unit: (unit.added, -unit.depth),
}
"""Order in which units that nobody uses go, by the name that a system gives: least recently left, least often used,
oldest."""


class PrefixCache:
    """Units by id. Counts blocks, holds no room of its own: who owns the blocks asks it to give some up."""

    KEPT: ClassVar[tuple[str, ...]] = (
        "_units",
        "_leaving",
        "_clock",
        "_prompt_tokens",
        "_hit_tokens",
        "_evicted",
        "idle_blocks",
    )

    def __init__(self, rule: PrefixRule, limits: Limits) -> None:
        self._order = EVICTIONS[rule.eviction]
        self._unit_tokens = rule.unit_tokens
        self._unit_blocks = limits.reach.full * (rule.unit_tokens // limits.block_tokens)
        self._units: dict[int, Unit] = {}
        self._leaving: list[tuple[tuple[int, ...], int]] = []
        """Keys of the units that had no user when they were entered; an entry is stale where they differ."""
        self._clock = 0
        self._prompt_tokens = self._hit_tokens = self._evicted = 0
        self.idle_blocks = 0
        """Blocks of units that nobody uses."""

    @property
    def use(self) -> PrefixUse:
        """What it was good for until now."""
        return PrefixUse(self._prompt_tokens, self._hit_tokens, self._evicted)

    def offered(self, waiting: Iterable[Sequence]) -> Iterator[Sequence]:
        """Yield those *waiting*, each with what it would find: tokens, and blocks that running sequences hold."""
        for sequence in waiting:
            if sequence.stored_bytes:  # all of it comes back as it was
                yield sequence
                continue
            users = [unit.users > 0 for unit in self._found(sequence)]
            sequence.cached = min(len(users) * self._unit_tokens, sequence.length - 1)
            sequence.shared_blocks = sum(users) * self._unit_blocks
            yield sequence

    def share(self, sequence: Sequence) -> int:
        """Let *sequence*, which starts, use what it finds; return the blocks that were nobody's until now."""
        self._clock += 1
        before = self.idle_blocks
        units = list(self._found(sequence))
        for unit in units:
            self._enter(unit)
        sequence.shared_units = len(units)
        sequence.shared_blocks = len(units) * self._unit_blocks
        sequence.cached = min(len(units) * self._unit_tokens, sequence.length - 1)
        if not sequence.generated:
            self._prompt_tokens += sequence.prompt_tokens
            self._hit_tokens += sequence.cached
        return before - self.idle_blocks

    def keep(self, sequence: Sequence) -> int:
        """Keep the units of *sequence*, whose prompt is done; return the blocks that this frees.

        A unit that someone else has made meanwhile takes the place of the sequence's own.
        """
        self._clock += 1
        freed = 0
        for depth, number in enumerate(sequence.prefix[sequence.shared_units :], sequence.shared_units):
            unit = self._units.get(number)
            if unit is None:
                self._units[number] = Unit(depth, 1, self._clock, self._clock)
                continue
            freed += self._unit_blocks if unit.users else 0
            self._enter(unit)
        sequence.shared_units = len(sequence.prefix)
        sequence.shared_blocks = sequence.shared_units * self._unit_blocks
        return freed

    def leave(self, sequence: Sequence) -> int:
        """Let *sequence* go; return the blocks of the units that it was the last to use."""
        self._clock += 1
        before = self.idle_blocks
        for number in sequence.prefix[: sequence.shared_units]:
            unit = self._units[number]
            unit.users -= 1
            unit.left = self._clock
            if not unit.users:
                self.idle_blocks += self._unit_blocks
                heappush(self._leaving, (self._order(unit), number))
        if len(self._leaving) > 2 * len(self._units) + _STALE:
            # Of any number of requests, no more entries than there are units.
            self._leaving = [(self._order(unit), number) for number, unit in self._units.items() if not unit.users]
            heapify(self._leaving)
        sequence.shared_units = sequence.shared_blocks = sequence.cached = 0
        return self.idle_blocks - before

    def shrink_to(self, blocks: int) -> None:
        """Give up units that nobody uses until they hold at most *blocks*."""
        while self.idle_blocks > blocks:
            key, number = heappop(self._leaving)
            unit = self._units.get(number)
            if unit is not None and not unit.users and self._order(unit) == key:
                del self._units[number]
                self.idle_blocks -= self._unit_blocks
                self._evicted += 1

    def _found(self, sequence: Sequence) -> Iterator[Unit]:
        for number in sequence.prefix:
            unit = self._units.get(number)
            if unit is None:
                return
            yield unit

    def _enter(self, unit: Unit) -> None:
        if not unit.users:
            self.idle_blocks -= self._unit_blocks
        unit.users += 1
        unit.uses += 1
