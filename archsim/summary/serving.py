"""What a result says of the techniques of the server: counts of the replay, and shares of them."""

from __future__ import annotations

from archsim.result import PrefixFacts, ServingFacts
from archsim.serving.prefix import PrefixUse
from archsim.serving.record import Record

__all__ = ["serving_facts"]


def serving_facts(record: Record) -> ServingFacts | None:
    """Return what the techniques of *record*'s server did; None where none is asked for."""
    if record.prefixes is None:
        return None
    return ServingFacts(prefix_cache=_prefix_facts(record.prefixes))


def _prefix_facts(use: PrefixUse) -> PrefixFacts:
    return PrefixFacts(
        prompt_tokens=use.prompt_tokens,
        hit_tokens=use.hit_tokens,
        hit_share=use.hit_tokens / use.prompt_tokens if use.prompt_tokens else 0.0,
        evicted_blocks=use.evicted_units,
    )
