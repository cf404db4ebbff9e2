"""Who is served next: scheduling policies, functions with one signature.

A policy is asked at every boundary between iterations with the waiting sequences in order, the free places in the
batch, the free KV blocks and the limits. It returns how many of the waiting, from the head, one prefill iteration
takes now; 0 means that the running sequences decode. The replay asks again only after an arrival to an empty queue, a
completion, a preemption or a prefill, so an answer may change for no other reason.

A prefill books blocks for the tokens of a sequence and the one token that it yields. Sequences that were preempted
recompute what they lost and are never mixed with fresh prompts, so that recomputed work has a phase of its own.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from archsim.serving.requests import Limits, Sequence

__all__ = ["POLICIES", "Policy", "prefill_first"]

Policy = Callable[[deque[Sequence], int, int, Limits], int]
"""(waiting, free places, free blocks, limits) -> how many of the waiting to prefill now."""


def prefill_first(waiting: deque[Sequence], places: int, free_blocks: int, limits: Limits) -> int:
    """Serve in order of arrival, and prefill whenever the head of the queue fits: continuous batching (A25).

    As many follow the head as fit the batch, the KV blocks and `max_prefill_tokens`; nobody overtakes.
    """
    count = tokens = 0
    for sequence in waiting:
        length = sequence.length
        tokens += length
        free_blocks -= limits.blocks_for(length + 1)
        if count == places or free_blocks < 0:
            break
        if count and (tokens > limits.max_prefill_tokens or bool(sequence.generated) != bool(waiting[0].generated)):
            break
        count += 1
    return count


POLICIES: dict[str, Policy] = {"prefill_first": prefill_first}
"""Policies by the name that a run gives."""
