"""Which point stands at a number: a grid, independent draws, or a Latin hypercube.

A grid counts in mixed radix, the last axis fastest. Draws are words of a counter-based generator (Salmon et al. 2011:
"as easy as 1, 2, 3"), here BLAKE2b over seed, axis and number, so that a point is known without those before it. A
Latin hypercube of n points (McKay, Beckman, Conover 1979) cuts every axis into n parts of equal share and visits each
part once; the order of parts is a permutation of its own for each axis, a Feistel network over the bits of n, walked
until it falls below n, so that no list of n is kept.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b

from archsim.study.axes import Axis, Value

__all__ = ["Space"]

_WORD = 2**64
_ROUNDS = 4


@dataclass(frozen=True, slots=True)
class Space:
    """The numbered points of a study."""

    axes: tuple[Axis, ...]
    method: str
    """`"grid"`, `"random"` or `"lhs"`."""
    points: int
    """How many there are."""
    seed: int = 0

    @classmethod
    def grid(cls, axes: Sequence[Axis]) -> Space:
        """Return every combination of the levels of *axes*."""
        return cls(tuple(axes), "grid", math.prod(len(axis.levels) for axis in axes))

    def settings(self, point: int) -> dict[str, Value]:
        """Return key -> value at *point*, 0 to `points` - 1."""
        if not 0 <= point < self.points:
            raise IndexError(point)
        chosen = self._levels(point) if self.method == "grid" else self._drawn(point)
        return {key: value for axis, values in chosen for key, value in zip(axis.keys, values, strict=True)}

    def _levels(self, point: int) -> list[tuple[Axis, tuple[Value, ...]]]:
        chosen = []
        for axis in reversed(self.axes):
            point, level = divmod(point, len(axis.levels))
            chosen.append((axis, axis.levels[level]))
        return chosen[::-1]

    def _drawn(self, point: int) -> list[tuple[Axis, tuple[Value, ...]]]:
        shares = []
        for place in range(len(self.axes)):
            share = self._word(place, point, "share") / _WORD
            if self.method == "lhs":
                share = (self._permuted(place, point) + share) / self.points
            shares.append(min(share, 1 - 2**-53))
        return [(axis, axis.at(share)) for axis, share in zip(self.axes, shares, strict=True)]

    def _permuted(self, place: int, point: int) -> int:
        half = max(1, ((self.points - 1).bit_length() + 1) // 2)
        value = point
        while True:
            value = self._feistel(place, value, half)
            if value < self.points:
                return value

    def _feistel(self, place: int, value: int, half: int) -> int:
        mask = (1 << half) - 1
        left, right = value >> half, value & mask
        for turn in range(_ROUNDS):
            left, right = right, left ^ (self._word(place, right, f"round{turn}") & mask)
        return left << half | right

    def _word(self, place: int, number: int, purpose: str) -> int:
        """Return 64 random bits for one axis, number and purpose."""
        key = f"{self.seed}/{place}/{purpose}/{number}".encode()
        return int.from_bytes(blake2b(key, digest_size=8).digest(), "big")
