"""One request of a trace: when it comes, how long it is, what it shares with others.

A row is what readers and samplers yield, in order of arrival: a plain tuple of all that a `Request` has but its place.
Sessions and waits make a closed loop: a request that has a wait is sent that long after the request before it in its
session is done, and its arrival is then only the earliest time at which it could come, as if every answer were
immediate. Blocks are the identities of the first blocks of the prompt: requests whose prompts begin with equal blocks
begin with equal tokens. What lies behind the last block is like no other prompt.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

__all__ = ["LONGEST_PS", "NONE", "Request", "Row", "Rows"]

LONGEST_PS = 2**63 - 1
"""Latest arrival: 106 days."""

NONE = -1
"""The session and the wait of a request that has none."""

Row = tuple[int, int, int, int, int, tuple[int, ...]]
"""(arrival in ps, prompt tokens, output tokens, session or -1, wait in ps or -1, blocks)."""


class Request(NamedTuple):
    """One request."""

    arrival_ps: int
    """When it comes; with a wait, the earliest time at which it can."""
    prompt_tokens: int
    output_tokens: int
    id: int
    """Its place in the trace, from 0."""
    session: int = NONE
    """Requests of one conversation or agent share it; -1: it stands alone."""
    wait_ps: int = NONE
    """It is sent that long after the request before it in its session is done; -1: at its arrival, whatever happens."""
    blocks: tuple[int, ...] = ()
    """Identities of the first blocks of its prompt, `block_tokens` of the trace each; the last may be part filled."""


class Rows(NamedTuple):
    """A trace as it is read or drawn."""

    rows: Iterator[Row]
    """In order of arrival, one at a time."""
    block_tokens: int = 0
    """Tokens in a block; 0 where rows have none."""
    sessions: bool = False
    """Rows may have sessions and waits."""
