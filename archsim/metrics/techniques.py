"""Rows of a result about techniques of the server: the part of result.json under `serving`."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat

__all__ = ["DraftFacts", "PrefixFacts", "ServingFacts"]

Count = Annotated[int, Field(ge=0)]
Fraction = Annotated[FiniteFloat, Field(ge=0)]


class _Row(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, validate_by_name=True)


class PrefixFacts(_Row):
    """What prompts found in the prefix cache."""

    prompt_tokens: Count
    """Of the prompts that were let in."""
    hit_tokens: Count
    """Of these, those that were there already."""
    hit_share: Fraction
    evicted_blocks: Count
    """Blocks of the trace's, with their tokens."""


class DraftFacts(_Row):
    """What came of guesses."""

    method: str
    acceptance: list[FiniteFloat]
    """Share of drafts whose guesses up to each position are right, as asked for."""
    verified_tokens: Count
    """Positions that an iteration verifies beside the next one."""
    tokens_per_step: FiniteFloat | None
    """Of a sequence, in the iterations that decode; None without any."""
    kv_blocks: Count
    """Of a replica, beside what guesses."""


class ServingFacts(_Row):
    """What techniques of the server did; None: not asked for."""

    prefix_cache: PrefixFacts | None = None
    speculation: DraftFacts | None = None
