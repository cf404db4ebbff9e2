"""What a server does beyond batching, each off unless asked for: data that the replay reads.

Nothing here acts. `prefix` caches what prompts have in common.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["PLAIN", "PrefixRule", "Techniques"]


@dataclass(frozen=True, slots=True)
class PrefixRule:
    """How prefixes are cached."""

    eviction: str
    """A key of `archsim.serving.prefix.EVICTIONS`."""
    unit_tokens: int
    """Tokens for which a prompt has one id: a multiple of the tokens of a block."""


@dataclass(frozen=True, slots=True)
class Techniques:
    """What is asked for; None: not."""

    prefix: PrefixRule | None = None


PLAIN = Techniques()
"""None of them."""
