"""What one iteration works on, in sums over its sequences."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

from archsim.workload.layers import window_pairs

__all__ = ["Attended", "Batch"]


class Attended(NamedTuple):
    """What the layers of one kind attend to."""

    kv_tokens: int
    prefill_pairs: int
    prefill_kv_tokens: int


@dataclass(frozen=True, slots=True)
class Batch:
    """Sequences that decode one token and sequences whose prompt is processed, in one iteration."""

    decode: int = 0
    """Sequences that produce their next token."""
    kv_tokens: int = 0
    """Sum of the context lengths that they attend to, each with its own new token."""
    prefill_sequences: int = 0
    prefill_tokens: int = 0
    """New prompt tokens of all prefilling sequences."""
    prefill_pairs: int = 0
    """Query-key pairs of them under the causal mask: n*cached + n*(n+1)/2 for n new tokens after *cached* ones."""
    prefill_kv_tokens: int = 0
    """Context tokens whose keys and values they read, the new ones with them: cached + n."""
    window_tokens: int = 0
    """Of `kv_tokens` those within the window of the layers that have one; 0: as of equal lengths."""
    window_pairs: int = 0
    """Of `prefill_pairs` those within the window; 0: as of equal prompts."""
    drafted: int = 0
    """Further positions of each decoding sequence, guessed and verified in the same iteration."""
    rejected: int = 0
    """Of the verified positions of all sequences those whose guess is wrong, and whose work nobody needs."""

    def __post_init__(self) -> None:
        counts = (self.decode, self.kv_tokens, self.prefill_sequences, self.prefill_tokens, self.prefill_pairs)
        if min(*counts, self.prefill_kv_tokens) < 0 or self.tokens == 0:
            raise ValueError(f"a batch has tokens and no negative count: {self}")
        if self.kv_tokens < self.decode or (self.decode == 0) != (self.kv_tokens == 0):
            raise ValueError(f"each decoding sequence attends at least to its own token: {self}")
        if self.prefill_tokens < self.prefill_sequences or (self.prefill_sequences == 0) != (self.prefill_tokens == 0):
            raise ValueError(f"each prefilling sequence has at least one new token: {self}")
        if self.prefill_pairs < self.prefill_tokens or self.prefill_kv_tokens < self.prefill_tokens:
            raise ValueError(f"each new token attends at least to itself: {self}")
        if not 0 <= self.rejected <= self.decode * self.drafted:
            raise ValueError(f"of what is drafted, none or some or all is rejected: {self}")

    @classmethod
    def of_decode(cls, sequences: int, context: int) -> Batch:
        """Return a batch of *sequences* that each attend to *context* tokens."""
        return cls(decode=sequences, kv_tokens=sequences * context)

    @classmethod
    def of_prefill(cls, new_tokens: int, *, cached: int = 0, sequences: int = 1) -> Batch:
        """Return a batch of *sequences* that each add *new_tokens* to *cached* ones."""
        return cls(
            prefill_sequences=sequences,
            prefill_tokens=sequences * new_tokens,
            prefill_pairs=sequences * (new_tokens * cached + new_tokens * (new_tokens + 1) // 2),
            prefill_kv_tokens=sequences * (cached + new_tokens),
        )

    def __add__(self, other: Batch) -> Batch:
        """Return both batches in one iteration."""
        return Batch(
            decode=self.decode + other.decode,
            kv_tokens=self.kv_tokens + other.kv_tokens,
            prefill_sequences=self.prefill_sequences + other.prefill_sequences,
            prefill_tokens=self.prefill_tokens + other.prefill_tokens,
            prefill_pairs=self.prefill_pairs + other.prefill_pairs,
            prefill_kv_tokens=self.prefill_kv_tokens + other.prefill_kv_tokens,
            window_tokens=self.window_tokens + other.window_tokens,
            window_pairs=self.window_pairs + other.window_pairs,
            drafted=max(self.drafted, other.drafted),
            rejected=self.rejected + other.rejected,
        )

    def with_context(self, tokens: int) -> Batch:
        """Return the batch whose sequences all attend to *tokens* more, which none of them brought or appends."""
        return replace(
            self,
            kv_tokens=self.kv_tokens + self.decode * tokens,
            prefill_pairs=self.prefill_pairs + self.prefill_tokens * tokens,
            prefill_kv_tokens=self.prefill_kv_tokens + self.prefill_sequences * tokens,
            window_tokens=0,
            window_pairs=0,
        )

    def in_static_cache(self, tokens: int) -> Batch:
        """Return the batch whose decoding sequences attend to *tokens* each at least: all that their cache has."""
        return replace(self, kv_tokens=max(self.kv_tokens, self.decode * tokens), window_tokens=0)

    def thinned(self, percent: int) -> Batch | None:
        """Return the batch with that share of the decoding sequences, rounded, or None where nothing is left."""
        decode = (self.decode * percent + 50) // 100
        if not decode + self.prefill_tokens:
            return None
        context, seen = (
            total * decode // self.decode if self.decode else 0 for total in (self.kv_tokens, self.window_tokens)
        )
        rejected = self.rejected * decode // self.decode if self.decode else 0
        return replace(self, decode=decode, kv_tokens=context, window_tokens=seen, rejected=rejected)

    def windowed(self, window: int) -> Attended:
        """Return what layers attend to that see *window* tokens, or all where it is 0.

        Sums that the batch does not state are those of equal lengths: of sequences of unequal ones the mean is longer
        than what windows leave of them.
        """
        if not window:
            return Attended(self.kv_tokens, self.prefill_pairs, self.prefill_kv_tokens)
        kv_tokens = self.window_tokens or min(self.kv_tokens, self.decode * window)
        count, new = self.prefill_sequences, self.prefill_tokens
        if not count:
            return Attended(kv_tokens, 0, 0)
        length, cached = -(-new // count), (self.prefill_kv_tokens - new) // count
        causal = length * cached + length * (length + 1) // 2
        pairs = self.window_pairs or max(new, self.prefill_pairs * window_pairs(length, cached, window) // causal)
        return Attended(kv_tokens, pairs, new + count * min(cached, window - 1))

    @property
    def sequences(self) -> int:
        """Sequences of both kinds."""
        return self.decode + self.prefill_sequences

    @property
    def decode_rows(self) -> int:
        """Positions of the decoding sequences: the next token's, and those that are guessed beyond it."""
        return self.decode * (1 + self.drafted)

    @property
    def tokens(self) -> int:
        """Tokens that pass through the layers."""
        return self.decode_rows + self.prefill_tokens

    @property
    def sampled(self) -> int:
        """Positions for which the head computes logits: the last one of each prompt, all of a decoding sequence."""
        return self.decode_rows + self.prefill_sequences

    @property
    def phase(self) -> str:
        """`"decode"`, `"prefill"` or `"mixed"`."""
        if not self.prefill_tokens:
            return "decode"
        return "mixed" if self.decode else "prefill"
