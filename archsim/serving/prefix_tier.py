"""Prefixes in two levels: what running sequences' memory cannot keep lies in a tier, and comes back where that pays.

S13: when a prompt is done, its units that the tier lacks are copied there, before anything else runs; the server's own
blocks keep theirs as before (`prefix`). A later prompt finds a unit in its blocks or in the tier. What it finds in the
tier is fetched before its first iteration, all of it or nothing: always, or where the move takes less time than the
prompt, alone, saves by it. A fetched unit takes blocks like any other, and the tier keeps its copy. Where the tier is
full, what goes first is a policy of `EVICTIONS`, and caches of preempted sequences go before prefixes.
"""

from __future__ import annotations

from collections.abc import Iterator
from heapq import heappop, heappush
from typing import ClassVar

from archsim.serving.batch import Batch
from archsim.serving.chunks import Chunks
from archsim.serving.costs import Costs
from archsim.serving.prefix import EVICTIONS, PrefixCache, Unit
from archsim.serving.requests import Limits, Sequence
from archsim.serving.techniques import PrefixRule
from archsim.serving.tier import Tier
from archsim.serving.windows import WindowLog

__all__ = ["ALWAYS", "FETCHES", "TieredPrefixes", "second_level"]

ALWAYS = "always"
FETCHES = (ALWAYS, "cheaper")
"""When units are fetched that the tier has."""


def second_level(batch: Batch, tier: Tier | None, costs: Costs, limits: Limits) -> TieredPrefixes | None:
    """Give *batch* a cache of prefixes that goes on in *tier*, and return it; None where that is not asked for."""
    rule = limits.techniques.prefix
    if tier is None or rule is None or rule.offload is None:
        return None
    batch.prefixes = levels = TieredPrefixes(rule, limits, tier, costs)
    return levels


class TieredPrefixes(PrefixCache):
    """A prefix cache whose units lie in a tier, too."""

    KEPT: ClassVar = (*PrefixCache.KEPT, "_kept", "_leaving_tier", "unwritten", "_unfetched")

    def __init__(self, rule: PrefixRule, limits: Limits, tier: Tier, costs: Costs) -> None:
        super().__init__(rule, limits)
        self._tier, self._costs, self._reach = tier, costs, limits.reach
        self._always = rule.fetch == ALWAYS
        self._tier_order = EVICTIONS[rule.offload or ""]
        self._unit_bytes = tier.bytes_of(limits.reach.full * rule.unit_tokens)
        self._kept: dict[int, Unit] = {}
        """In the tier, by id."""
        self._leaving_tier: list[tuple[tuple[int, ...], int]] = []
        self.unwritten = self._unfetched = 0
        """Units that are to move there, and back."""
        self._pays: dict[tuple[int, int, int, int], bool] = {}
        tier.yields = self._drop

    def write(self, log: WindowLog, now_fine: int) -> int:
        """Copy what prompts have left for the tier since, and return when that ends."""
        count, self.unwritten = self.unwritten, 0
        return log.moved(now_fine, self._tier.move_out(count * self._unit_bytes, self._costs))

    def fetch(self, log: WindowLog, now_fine: int) -> int:
        """Bring what prompts that start have found in the tier since, and return when that ends."""
        count, self._unfetched = self._unfetched, 0
        return log.moved(now_fine, self._tier.move_in(count * self._unit_bytes, self._costs)) if count else now_fine

    def share(self, sequence: Sequence) -> int:
        """Let *sequence*, which starts, use what it finds; return the blocks that were nobody's until now."""
        units = list(self._found(sequence))
        own = sum(number in self._units for number in sequence.prefix[: len(units)])
        for number, unit in zip(sequence.prefix, units, strict=False):
            if number not in self._units:
                self._units[number] = unit
                self.idle_blocks += self._unit_blocks
                self._touch(number)
        self._unfetched += len(units) - own
        self._tier.use.fetched_units += len(units) - own
        taken = super().share(sequence)
        if not sequence.generated:
            self._tier.use.hit_tokens += sequence.cached - min(own * self._unit_tokens, sequence.cached)
        return taken

    def keep(self, sequence: Sequence) -> int:
        """Keep the units of *sequence*, whose prompt is done, here and in the tier; return the blocks that it frees."""
        freed = super().keep(sequence)
        for number in sequence.prefix:
            if number in self._kept:
                self._touch(number)
        room = self._tier.room_bytes // self._unit_bytes if self._unit_bytes else 0
        new = [(depth, number) for depth, number in enumerate(sequence.prefix) if number not in self._kept][:room]
        while len(self._kept) + len(new) > room:
            self._drop()
        for depth, number in new:
            self._kept[number] = Unit(depth, 0, self._clock, self._clock)
            heappush(self._leaving_tier, (self._tier_order(self._kept[number]), number))
        self.unwritten += len(new)
        self._tier.use.stored_units += len(new)
        self._tier.hold_units(len(new) * self._unit_bytes)
        return freed

    def _found(self, sequence: Sequence) -> Iterator[Unit]:
        found: list[Unit] = []
        here = missing = 0
        for depth, number in enumerate(sequence.prefix):
            unit = self._units.get(number)
            if unit is None:
                if number not in self._kept:
                    break
                unit = Unit(depth, 0, self._clock, self._clock, uses=0)
                missing += 1
            elif not missing:
                here += 1
            found.append(unit)
        return iter(
            found if not missing or self._is_worth(sequence.length, here, len(found), missing) else found[:here]
        )

    def _is_worth(self, length: int, here: int, found: int, missing: int) -> bool:
        """Return whether a prompt of *length* that has *here* units fetches *missing* to have *found*."""
        if self._always:
            return True
        key = (length, here, found, missing)
        if key not in self._pays:
            before, after = (min(units * self._unit_tokens, length - 1) for units in (here, found))
            saved = self._alone(length, before) - self._alone(length, after)
            self._pays[key] = self._tier.in_fine(missing * self._unit_bytes) < saved
        return self._pays[key]

    def _alone(self, length: int, cached: int) -> int:
        reach = self._reach
        if not cached:
            return self._costs.prefill(1, length, reach.pairs(length), length).time_fine
        new = length - cached
        return self._costs.mixed(0, 0, Chunks(1, new, reach.pairs(new, cached), length, [])).time_fine

    def _touch(self, number: int) -> None:
        unit = self._kept[number]
        unit.left, unit.uses = self._clock, unit.uses + 1
        heappush(self._leaving_tier, (self._tier_order(unit), number))

    def _drop(self) -> bool:
        """Let the tier give up a unit; return whether it had one."""
        while self._leaving_tier:
            key, number = heappop(self._leaving_tier)
            unit = self._kept.get(number)
            if unit is not None and self._tier_order(unit) == key:
                del self._kept[number]
                self._tier.use.dropped_units += 1
                self._tier.hold_units(-self._unit_bytes)
                return True
        return False
