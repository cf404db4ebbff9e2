"""How amounts of one model fall on equal ranks: what each handles, and what of it counts once.

All integers, all exact. Useful bytes of a tensor, summed over ranks, are the model's own bytes: what a rank moves
beyond its share is overfetch by definition.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction

from archsim.workload.batch import Batch
from archsim.workload.tensors import Amount, Split

__all__ = ["Shares", "split_batch", "split_evenly"]

_BYTE = Fraction(8)


@dataclass(frozen=True, slots=True)
class Shares:
    """How amounts of one model fall on each of *ranks* equal ranks."""

    ranks: int
    kv_heads: int
    vocabulary: int
    copies: int = 1
    """Ranks that hold the same slice: context ranks all project the heads of their tensor rank."""
    spread: int = 1
    """Ranks over which a slice by heads is cut further: context ranks share its KV cache."""
    whole_over: int = 1
    """Ranks over which what is not cut by tensor ranks is cut all the same: those of an axis of a 2D layout."""
    padding: Fraction = Fraction(1)
    """What the busiest rank handles over an even share: its sequences, where they do not divide."""

    def of(self, amount: Amount, *, bits: Fraction = _BYTE) -> tuple[int, int]:
        """Return (whole bytes that a rank handles, bytes of them that count once in the system).

        *amount* is in elements of *bits*; the default counts the elements themselves.
        """
        held, needed = self._factor(amount.split)
        held, needed = held * self.padding.numerator, needed * self.padding.denominator
        total, share = amount.value * bits.numerator, 8 * bits.denominator * self.ranks
        return -(-total * held // (needed * share)), total // share

    def total(self, amounts: Iterable[Amount], *, bits: Fraction = _BYTE) -> tuple[int, int]:
        """Return the sums of `of` over *amounts*."""
        handled = useful = 0
        for amount in amounts:
            more, more_useful = self.of(amount, bits=bits)
            handled += more
            useful += more_useful
        return handled, useful

    def _factor(self, split: Split) -> tuple[int, int]:
        """Return what all ranks hold together over what the model has, as a fraction."""
        if split == "whole":
            return self.ranks, self.whole_over
        if split == "kv_heads":
            return max(self.kv_heads, self.ranks // (self.copies * self.spread)) * self.copies, self.kv_heads
        if split == "vocabulary":
            return -(-self.vocabulary // self.ranks) * self.ranks, self.vocabulary
        return self.copies, 1


def split_evenly(total: int, parts: int) -> list[int]:
    """Return *parts* whole numbers that sum to *total*, the earliest one more where it does not divide."""
    return [total // parts + (place < total % parts) for place in range(parts)]


def split_batch(batch: Batch, parts: int) -> list[Batch | None]:
    """Return *batch* as *parts* batches of whole sequences, None where a part has none.

    Decoding sequences that do not divide go one each to the earliest parts, prefilling ones to the last; tokens and
    pairs follow the sequences in proportion, and all of them sum to the batch's.
    """
    decode = split_evenly(batch.decode, parts)
    prefill = split_evenly(batch.prefill_sequences, parts)[::-1]
    context = _in_proportion(batch.kv_tokens - batch.decode, decode)
    tokens = _in_proportion(batch.prefill_tokens - batch.prefill_sequences, prefill)
    pairs = _in_proportion(batch.prefill_pairs - batch.prefill_tokens, prefill)
    attended = _in_proportion(batch.prefill_kv_tokens - batch.prefill_tokens, prefill)
    seen, seen_pairs = _in_proportion(batch.window_tokens, decode), _in_proportion(batch.window_pairs, prefill)
    rejected = _in_proportion(batch.rejected, decode)
    split: list[Batch | None] = []
    for place in range(parts):
        new = prefill[place] + tokens[place]
        counts = (decode[place], decode[place] + context[place], prefill[place], new, new + pairs[place])
        split.append(
            Batch(
                *counts,
                new + attended[place],
                seen[place],
                seen_pairs[place],
                drafted=batch.drafted,
                rejected=rejected[place],
            )
            if decode[place] + prefill[place]
            else None
        )
    return split


def _in_proportion(total: int, weights: list[int]) -> list[int]:
    shares, done, whole = [], 0, sum(weights)
    for weight in weights:
        before, done = total * done // whole if whole else 0, done + weight
        shares.append(total * done // whole - before if whole else 0)
    return shares
