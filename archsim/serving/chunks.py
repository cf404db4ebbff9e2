"""Chunked prefill: prompts cut to what an iteration has room for, beside the sequences that decode.

A35: an iteration processes at most `max_prefill_tokens` tokens; every running sequence takes one, prompts share the
rest in order of arrival. A prompt holds its KV blocks from its first chunk on. Sequences that recompute what a
preemption lost are not mixed with fresh prompts.
"""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

from archsim.serving.requests import Sequence
from archsim.workload.layers import Reach

__all__ = ["Chunks", "cut"]


class Chunks(NamedTuple):
    """What one iteration processes of the prompts under way."""

    sequences: int
    tokens: int
    pairs: int
    """Query-key pairs, counted as `Reach.pairs` does: each new token attends to those before it and to itself."""
    kv_tokens: int
    """Context that the chunks read, themselves included."""
    done: list[Sequence]
    """Those whose prompt this iteration completes."""

    @classmethod
    def of_rest(cls, sequences: list[Sequence], reach: Reach) -> Chunks:
        """Return all that prompts lack whose beginnings are cached."""
        return cls(
            len(sequences),
            sum(sequence.new_tokens for sequence in sequences),
            sum(reach.pairs(sequence.new_tokens, sequence.cached) for sequence in sequences),
            sum(sequence.length for sequence in sequences),
            sequences,
        )


def cut(under_way: deque[Sequence], budget: int, *, reach: Reach) -> Chunks:
    """Take chunks of at most *budget* tokens together, from the head of *under_way*, and note what is processed."""
    sequences = tokens = pairs = kv_tokens = 0
    done = []
    for sequence in under_way:
        chunk = min(sequence.length - sequence.prefilled, budget - tokens)
        if chunk <= 0:
            break
        before = sequence.prefilled
        sequences += 1
        tokens += chunk
        pairs += reach.pairs(chunk, before)
        kv_tokens += before + chunk
        sequence.prefilled += chunk
        if sequence.prefilled == sequence.length:
            done.append(sequence)
    return Chunks(sequences, tokens, pairs, kv_tokens, done)
