"""The slow twin of archsim.serving.prefix: every unit a row in a dictionary, everything counted anew each time."""

from __future__ import annotations

from fractions import Fraction
from types import SimpleNamespace
from typing import Any


class TwinCache:
    """Units by id, and who uses them. Without a rule nothing is ever found or kept."""

    def __init__(self, limits: Any) -> None:
        self.rule = limits.techniques.prefix
        self.limits = limits
        self.units: dict[int, dict[str, Any]] = {}
        self.clock = 0
        self.prompt = self.hit = self.evicted = 0
        self.tier: dict[int, dict[str, Any]] = {}
        self.costs: Any = None
        self.unwritten = self.fetched = self.stored = self.dropped = self.tier_hit = 0
        self.swapped_bytes = 0

    @property
    def unit_blocks(self) -> int:
        """Blocks of one unit: those of the layers without a window."""
        return self.limits.reach.full * self.rule.unit_tokens // self.limits.block_tokens if self.rule else 0

    def found(self, row: Any) -> list[int]:
        """Return the ids that *row* would find, from the first on without a gap, here or in the tier."""
        here, found = [], []
        for number in row.prefix if self.rule else ():
            if number not in self.units and number not in self.tier:
                break
            found.append(number)
            if number in self.units and len(here) == len(found) - 1:
                here.append(number)
        missing = [number for number in found if number not in self.units]
        if not missing or self.rule.fetch == "always":
            return found
        tier = self.limits.techniques.tier
        bytes_per_ps = Fraction(tier.in_bytes_per_s, 10**12)
        fine = tier.latency_ps * 2**32 - (-len(missing) * self.unit_bytes * 2**32 // bytes_per_ps)
        saved = self._prompt(row.length, len(here)) - self._prompt(row.length, len(found))
        return found if fine < saved else here

    def _prompt(self, length: int, units: int) -> int:
        """Return the time of the rest of a prompt alone."""
        cached = min(units * self.rule.unit_tokens, length - 1)
        pairs = sum(self._reads(at) for at in range(cached + 1, length + 1))
        if not cached:
            return int(self.costs.prefill(1, length, pairs, length).time_fine)
        counts = SimpleNamespace(sequences=1, tokens=length - cached, pairs=pairs, kv_tokens=length)
        return int(self.costs.mixed(0, 0, counts).time_fine)

    def _reads(self, position: int) -> int:
        reach = self.limits.reach
        return int(reach.full * position + reach.windowed * min(position, reach.window))

    @property
    def unit_bytes(self) -> int:
        """Bytes of one unit."""
        tokens = self.limits.reach.full * self.rule.unit_tokens
        return int(-(-tokens * self.limits.techniques.tier.kv_bits // 8))

    @property
    def tier_units(self) -> int:
        """Units for which the tier has room beside swapped sequences."""
        free = self.limits.techniques.tier.capacity_bytes - self.swapped_bytes
        return free // self.unit_bytes if self.unit_bytes else 0

    def drop(self) -> None:
        """Let the tier give up a unit."""
        del self.tier[min(self.tier, key=lambda number: self._ranked(self.tier[number], self.rule.offload))]
        self.dropped += 1

    def cached(self, row: Any) -> int:
        """Return the tokens that *row* need not compute: never its last."""
        return min(len(self.found(row)) * self.rule.unit_tokens, row.length - 1) if self.rule else 0

    def own(self, row: Any, blocks: int) -> int:
        """Return which of *blocks* are *row*'s own."""
        return blocks - len(row.shared) * self.unit_blocks

    def would_take(self, row: Any, blocks: int) -> int:
        """Return the blocks that *row* would take: all but those that others hold for it."""
        shared = sum(number in self.units and bool(self.units[number]["users"]) for number in self.found(row))
        return blocks - self.unit_blocks * shared

    @property
    def held(self) -> int:
        """Blocks of units that somebody uses."""
        return self.unit_blocks * sum(bool(unit["users"]) for unit in self.units.values())

    def share(self, row: Any) -> None:
        """Let *row* use what it finds."""
        row.shared = self.found(row)
        row.cached = self.cached(row)
        own = len([number for number in row.shared if number in self.units])
        for depth, number in enumerate(row.shared):
            if number not in self.units:
                at = self.clock
                self.units[number] = {"depth": depth, "users": set(), "uses": 0, "added": at, "left": at}
                self.touch(number)
                self.fetched += 1
        if self.rule and not row.generated:
            self.tier_hit += row.cached - min(own * self.rule.unit_tokens, row.cached)
        self.clock += 1
        for number in row.shared:
            self.units[number]["users"] |= {row.id}
            self.units[number]["uses"] += 1
        if not row.generated:
            self.prompt += row.prompt
            self.hit += row.cached

    def keep(self, row: Any) -> None:
        """Keep the prompt of *row*, whose every unit is then shared."""
        self.clock += 1
        for depth, number in enumerate(row.prefix if self.rule else ()):
            if number in row.shared:
                continue
            if number in self.units:
                self.units[number]["uses"] += 1
            else:
                self.units[number] = {"depth": depth, "users": set(), "uses": 1, "added": self.clock, "left": 0}
            self.units[number]["users"] |= {row.id}
            row.shared = [*row.shared, number]

        if self.rule and self.rule.offload:
            self._offload(row)

    def touch(self, number: int) -> None:
        """Note that a unit of the tier is used."""
        self.tier[number]["left"] = self.clock
        self.tier[number]["uses"] += 1

    def _offload(self, row: Any) -> None:
        for number in row.prefix:
            if number in self.tier:
                self.touch(number)
        new = [(depth, number) for depth, number in enumerate(row.prefix) if number not in self.tier][: self.tier_units]
        while len(self.tier) + len(new) > self.tier_units:
            self.drop()
        for depth, number in new:
            self.tier[number] = {"depth": depth, "uses": 1, "added": self.clock, "left": self.clock}
        self.unwritten += len(new)
        self.stored += len(new)

    def leave(self, row: Any) -> None:
        """Let *row* go."""
        self.clock += 1
        for number in row.shared:
            self.units[number]["users"] -= {row.id}
            self.units[number]["left"] = self.clock
        row.shared, row.cached = [], 0

    def shrink(self, used: int) -> None:
        """Evict what nobody uses until everything fits beside *used* blocks."""
        while self.unit_blocks * sum(not unit["users"] for unit in self.units.values()) > self.limits.kv_blocks - used:
            idle = [number for number, unit in self.units.items() if not unit["users"]]
            del self.units[min(idle, key=self._rank)]
            self.evicted += 1

    def _rank(self, number: int) -> tuple[int, ...]:
        return self._ranked(self.units[number], self.rule.eviction)

    @staticmethod
    def _ranked(unit: dict[str, Any], eviction: str) -> tuple[int, ...]:
        return {
            "lru": (unit["left"], -unit["depth"]),
            "lfu": (unit["uses"], unit["left"], -unit["depth"]),
            "fifo": (unit["added"], -unit["depth"]),
        }[eviction]
