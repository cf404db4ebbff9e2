"""The slow twin of archsim.serving.prefix: every unit a row in a dictionary, everything counted anew each time."""

from __future__ import annotations

from typing import Any


class TwinCache:
    """Units by id, and who uses them. Without a rule nothing is ever found or kept."""

    def __init__(self, limits: Any) -> None:
        self.rule = limits.techniques.prefix
        self.limits = limits
        self.units: dict[int, dict[str, Any]] = {}
        self.clock = 0
        self.prompt = self.hit = self.evicted = 0

    @property
    def unit_blocks(self) -> int:
        """Blocks of one unit: those of the layers without a window."""
        return self.limits.reach.full * self.rule.unit_tokens // self.limits.block_tokens if self.rule else 0

    def found(self, row: Any) -> list[int]:
        """Return the ids that *row* would find, from the first on without a gap."""
        found = []
        for number in row.prefix if self.rule else ():
            if number not in self.units:
                break
            found.append(number)
        return found

    def cached(self, row: Any) -> int:
        """Return the tokens that *row* need not compute: never its last."""
        return min(len(self.found(row)) * self.rule.unit_tokens, row.length - 1) if self.rule else 0

    def own(self, row: Any, blocks: int) -> int:
        """Return which of *blocks* are *row*'s own."""
        return blocks - len(row.shared) * self.unit_blocks

    def would_take(self, row: Any, blocks: int) -> int:
        """Return the blocks that *row* would take: all but those that others hold for it."""
        return blocks - self.unit_blocks * sum(bool(self.units[number]["users"]) for number in self.found(row))

    @property
    def held(self) -> int:
        """Blocks of units that somebody uses."""
        return self.unit_blocks * sum(bool(unit["users"]) for unit in self.units.values())

    def share(self, row: Any) -> None:
        """Let *row* use what it finds."""
        self.clock += 1
        row.shared = self.found(row)
        row.cached = self.cached(row)
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
        unit = self.units[number]
        return {
            "lru": (unit["left"], -unit["depth"]),
            "lfu": (unit["uses"], unit["left"], -unit["depth"]),
            "fifo": (unit["added"], -unit["depth"]),
        }[self.rule.eviction]
