"""What a server does beyond batching, each off unless asked for: data that the replay reads.

Nothing here acts.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

__all__ = ["PLAIN", "AnswerRule", "DraftRule", "PrefixRule", "ScaleRule", "Techniques", "TierRule"]


@dataclass(frozen=True, slots=True)
class PrefixRule:
    """How prefixes are cached."""

    eviction: str
    """A key of `archsim.serving.prefix.EVICTIONS`."""
    unit_tokens: int
    """Tokens for which a prompt has one id: a multiple of the tokens of a block."""
    offload: str | None = None
    """How a tier that keeps units, too, gives them up: a key of `EVICTIONS`; None: no tier does."""
    fetch: str = "cheaper"
    """When they come back: one of `archsim.serving.prefix_tier.FETCHES`."""
    imbalance_tokens: int | None = None
    """What a replica may owe beyond the one that owes the fewest, and still be sent what begins as it holds."""


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
class TierRule:
    """Where KV caches go that have no room, and how they pass (`archsim.serving.tier`): of one replica."""

    capacity_bytes: int
    out_bytes_per_s: int
    """To the tier, all chips together; no more than the memories at both ends pass."""
    in_bytes_per_s: int
    """Back from it."""
    latency_ps: int
    """Of one move."""
    kv_bits: int
    """Of one token in one of the parts that layers attend in (`Reach.parts`)."""
    swaps: bool
    """Caches of preempted sequences go there."""

    def bytes_of(self, attended: int) -> int:
        """Return the bytes of a cache of *attended* tokens, counted as `Reach.attended` does."""
        return -(-attended * self.kv_bits // 8)


@dataclass(frozen=True, slots=True)
class ScaleRule:
    """When replicas start and stop (`archsim.serving.scaling`)."""

    least: int
    """Replicas that always run."""
    most: int
    scale: int
    """What one unfinished request counts in the unit of `high` and `low`."""
    high: int
    """Load of a replica above which another starts."""
    low: int
    """Load below which one stops."""
    start_up_ps: int
    cool_down_ps: int


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
    tier: TierRule | None = None
    """Keep caches that have no room elsewhere."""
    scaling: ScaleRule | None = None
    """Start and stop replicas with the load."""
    watched: bool = False
    """Note the time between tokens, and what waits, runs and is held over time."""


PLAIN = Techniques()
"""None of them."""
