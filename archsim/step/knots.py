"""The iterations that are simulated at the knots of the cost axes: which batch stands for a number of tokens or pairs.

The axes count tokens and pairs as `Reach` does: over layers with and without a window in one sum. Where layers have
windows, a knot stands for sequences of equal length, each of which the windows leave as much of (W11).
"""

from __future__ import annotations

from archsim.workload.batch import Batch
from archsim.workload.layers import Reach

__all__ = ["chunk_batch", "decode_batch", "part_batch", "prefill_batch"]


def decode_batch(reach: Reach, sequences: int, attended: int) -> Batch:
    """Return the batch of *sequences* that attend to *attended* tokens together.

    A23: a corner may ask for less context than a token a sequence: no such batch exists, the nearest stands in.
    """
    if not reach.windowed:
        return Batch(decode=sequences, kv_tokens=max(attended, sequences))
    inside = sequences * reach.window
    if not reach.full or attended <= reach.parts * inside:
        # Beyond its window a model of windows alone attends to nothing more: such a corner is there to draw the line.
        tokens = max(-(-attended // reach.parts), sequences)
        return Batch(decode=sequences, kv_tokens=tokens, window_tokens=tokens)
    return Batch(
        decode=sequences, kv_tokens=-(-(attended - reach.windowed * inside) // reach.full), window_tokens=inside
    )


def prefill_batch(reach: Reach, tokens: int, pairs: int) -> Batch:
    """Return the batch that prefills *tokens* with *pairs*.

    A4: a prefill knot stands for equal prompts: n sequences of t/n tokens have about t*t/(2n) pairs. Their number
    matters to the LM head alone.
    """
    if not reach.windowed:
        pairs = max(pairs, tokens)
        sequences = min(max((tokens * tokens + pairs) // (2 * pairs), 1), tokens)
        return Batch(0, 0, sequences, tokens, pairs, tokens)
    few, many = 1, tokens
    while few < many:
        middle = (few + many) // 2
        if middle * reach.pairs(-(-tokens // middle)) > pairs:
            few = middle + 1
        else:
            many = middle
    length = -(-tokens // few)
    causal, seen = few * reach.pairs_of(length)[0], few * reach.pairs_of(length)[1]
    whole = reach.full * causal + reach.windowed * seen
    return Batch(
        0, 0, few, tokens, max(causal * pairs // whole, tokens), tokens, window_pairs=max(seen * pairs // whole, tokens)
    )


def chunk_batch(reach: Reach, sequences: int, tokens: int, pairs: int, kv_tokens: int) -> Batch:
    """Return the batch of *sequences* that add *tokens* to what they have cached of *kv_tokens*, with *pairs*."""
    if not reach.windowed:
        return Batch(0, 0, sequences, tokens, pairs, kv_tokens)
    length, cached = -(-tokens // sequences), (kv_tokens - tokens) // sequences
    causal, seen = reach.pairs_of(length, cached)
    whole = reach.full * causal + reach.windowed * seen
    sums = (max(causal * pairs // whole, tokens), kv_tokens)
    return Batch(0, 0, sequences, tokens, *sums, window_pairs=max(seen * pairs // whole, tokens))


def part_batch(reach: Reach, tokens: int, pairs: int) -> Batch:
    """Return the batch of *tokens* with *pairs*: whole prompts, or a chunk behind what context its pairs ask for."""
    if pairs <= reach.pairs(tokens):
        return prefill_batch(reach, tokens, pairs)
    few, many = 0, pairs // tokens + 1
    while few < many:
        middle = (few + many) // 2
        if reach.pairs(tokens, middle) < pairs:
            few = middle + 1
        else:
            many = middle
    return chunk_batch(reach, 1, tokens, reach.pairs(tokens, few), few + tokens)
