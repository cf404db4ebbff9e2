"""Layers of different kinds in one model, and how far back each of them attends.

A kind is what tells layers apart: a sliding window or the whole context, a dense MLP or experts. `runs` writes a
stretch of layers as repeated patterns, so that whoever simulates layers need not see each one.

`Reach` folds the kinds into the one number that an iteration's KV reads depend on. With a layers that attend to all and
b whose window is w, both in lowest terms, a sequence of n tokens has

  attended(n) = a n + b min(n, w)

and the KV bytes that an iteration reads are proportional to the sum over its sequences, whatever their lengths. W11:
that sum stands for the context of an iteration; how it divides over the two kinds of layers follows equal lengths.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple, TypeVar

__all__ = ["ALL", "LayerKind", "Reach", "runs", "window_pairs"]

_Key = TypeVar("_Key", bound=Hashable)

_LONGEST_PATTERN = 64


class LayerKind(NamedTuple):
    """What one layer is."""

    window: int = 0
    """Tokens that a query attends to, its own with them; 0: all."""
    experts: bool = False
    """Experts in place of the dense MLP."""
    reached: int = 100
    """Per cent of the decoded tokens that run it (`exits`)."""


@dataclass(frozen=True, slots=True)
class Reach:
    """How many tokens the layers attend to, in parts that all kinds share."""

    full: int = 1
    """Parts of layers that attend to every token."""
    windowed: int = 0
    """Parts that attend to the last `window`."""
    window: int = 0

    @property
    def parts(self) -> int:
        """All parts."""
        return self.full + self.windowed

    def attended(self, length: int) -> int:
        """Return the tokens to which the next token of a sequence of *length* (itself included) attends."""
        return self.full * length + self.windowed * min(length, self.window)

    def pairs(self, new: int, cached: int = 0) -> int:
        """Return the query-key pairs of *new* tokens after *cached* ones."""
        if not self.windowed:
            return self.full * (new * cached + new * (new + 1) // 2)
        causal, seen = self.pairs_of(new, cached)
        return self.full * causal + self.windowed * seen

    def pairs_of(self, new: int, cached: int = 0) -> tuple[int, int]:
        """Return (all causal pairs, those within the window; all of them where there is none)."""
        causal = new * cached + new * (new + 1) // 2
        return causal, window_pairs(new, cached, self.window) if self.windowed else causal

    def blocks(self, tokens: int, block_tokens: int) -> int:
        """Return the blocks of one part that hold *tokens* of a sequence.

        A window of w tokens lies in at most ceil(w / block) + 1 blocks, and what has left it is freed.
        """
        whole = -(-tokens // block_tokens)
        return self.full * whole + self.windowed * min(whole, self.most_window_blocks(block_tokens))

    def most_window_blocks(self, block_tokens: int) -> int:
        """Return the blocks beyond which a window never grows."""
        return -(-self.window // block_tokens) + 1


ALL = Reach()
"""Every layer attends to the whole context."""


def window_pairs(new: int, cached: int, window: int) -> int:
    """Return the query-key pairs of *new* tokens after *cached* ones, where each attends to at most *window*."""
    growing = min(max(window - cached, 0), new)
    return growing * cached + growing * (growing + 1) // 2 + (new - growing) * window


def runs(keys: Sequence[_Key]) -> list[tuple[tuple[_Key, ...], int]]:
    """Return *keys* as (pattern, repetitions) one after the other: at each place what covers most, shortest first."""
    known: tuple[tuple[tuple[_Key, ...], int], ...] = _runs(tuple(keys))  # type: ignore[assignment]  # a cache has no type variables
    return list(known)


@lru_cache(maxsize=64)
def _runs(keys: tuple[Hashable, ...]) -> tuple[tuple[tuple[Hashable, ...], int], ...]:
    found: list[tuple[tuple[Hashable, ...], int]] = []
    place = 0
    while place < len(keys):
        best, covered = 1, 0
        for size in range(1, min(_LONGEST_PATTERN, len(keys) - place) + 1):
            count = _repetitions(keys, place, size)
            if count * size > covered and (count > 1 or size == 1):
                best, covered = size, count * size
        found.append((tuple(keys[place : place + best]), covered // best))
        place += covered
    return tuple(found)


def _repetitions(keys: Sequence[_Key], place: int, size: int) -> int:
    """Return how often the *size* keys from *place* on stand there in a row."""
    same = size
    while place + same < len(keys) and keys[place + same] == keys[place + same - size]:
        same += 1
    return same // size
