"""What a server does beyond batching, each off unless asked for: data that the replay reads.

Nothing here acts.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

__all__ = ["PLAIN", "AnswerRule", "DraftRule", "PrefixRule", "Techniques"]


@dataclass(frozen=True, slots=True)
class PrefixRule:
    """How prefixes are cached."""

    eviction: str
    """A key of `archsim.serving.prefix.EVICTIONS`."""
    unit_tokens: int
    """Tokens for which a prompt has one id: a multiple of the tokens of a block."""


@dataclass(frozen=True, slots=True)
class DraftRule:
    """How many guesses are verified and accepted (`archsim.serving.speculation`)."""

    shares: tuple[Fraction, ...]
    """Of drafts whose guesses up to each position are right."""
    tokens: int
    """Positions that an iteration verifies beyond the next one; at least as many as shares."""


@dataclass(frozen=True, slots=True)
class AnswerRule:
    """Which requests are answered from a cache, and when."""

    share: Fraction
    """Of all requests."""
    latency_ps: int
    """From arrival to answer."""


@dataclass(frozen=True, slots=True)
class Techniques:
    """What is asked for; None: not."""

    prefix: PrefixRule | None = None
    """Cache what prompts have in common."""
    drafts: DraftRule | None = None
    """Guess tokens and verify them together."""
    classes: tuple[int, ...] = ()
    """Shares of requests in percent by class, the most urgent first; empty: all are alike."""
    class_preempts: bool = False
    """An urgent request takes the place of a less urgent one that runs."""
    ttft_ps: int | None = None
    """Turn away who has waited longer for its first token; None: nobody."""
    tpot_ps: int | None = None
    """Let nobody join who would make an iteration longer; None: whatever happens."""
    answers: AnswerRule | None = None
    """Give the answers of some requests from a cache."""
    watched: bool = False
    """Note the time between tokens, and what waits, runs and is held over time."""


PLAIN = Techniques()
"""None of them."""
