"""What a system's server does beyond batching, table `[serving]`: each technique a table of its own, absent: off.

Names of policies are checked where the policies are (`archsim.serving.configure`).
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from archsim.hardware.memory_spec import Spec, refusal
from archsim.hardware.quantities import Count, Picoseconds, PositivePicoseconds, Ratio, Text, Watts
from archsim.hardware.tier_spec import TierSpec

__all__ = [
    "AdmissionSpec",
    "AnswerCacheSpec",
    "MetricsSpec",
    "PrefixCacheSpec",
    "PrioritySpec",
    "ScalingSpec",
    "ServingSpec",
    "SpeculationSpec",
]


class PrefixCacheSpec(Spec):
    """Prompts that begin alike share KV, table `[serving.prefix_cache]`."""

    eviction: Text
    """What goes first when blocks are needed: a key of `archsim.serving.prefix.EVICTIONS`."""
    offload: Text | None = None
    """What goes first where the tier is full that keeps prefixes, too: a key of `EVICTIONS`; not stated: none does."""
    fetch: Literal["always", "cheaper"] = "cheaper"
    """When prefixes come back from the tier: always, or where that takes less time than it saves."""
    imbalance: Count | None = None
    """Tokens that a replica may owe beyond the one that owes the fewest, and still be sent what begins as it holds:
    for the router `prefix_affinity`."""


class SpeculationSpec(Spec):
    """Tokens are guessed and verified together, table `[serving.speculation]`."""

    method: Text
    """What guesses: a key of `archsim.workload.drafter.METHODS`."""
    model: Text | None = None
    """The model that guesses, where `method` is `draft`."""
    depth: Count
    """Guesses in a row."""
    branch: Count = 1
    """Guesses of one pass: 1 is a chain, more a tree."""
    tokens: Count | None = None
    """Positions that are verified beside the next one; not stated: all guesses of a chain."""
    acceptance: Text | None = None
    """Name of a table of how many guesses are right (`workloads/acceptance`)."""
    profile: tuple[Text, ...] = ()
    """Shares by position in its place, `"80 %"`."""
    system: Text | None = None
    """Name or file of the system on whose chips guesses are made; not stated: on the model's own."""
    hop_ps: Picoseconds | None = Field(alias="hop", default=None)
    """Time to those chips, and as much back."""

    @model_validator(mode="after")
    def _check(self) -> SpeculationSpec:
        if (self.method == "draft") != (self.model is not None):
            raise refusal("model", self.model or "", "the model that guesses where method is draft, and nowhere else")
        if (self.acceptance is None) == (not self.profile):
            raise refusal("acceptance", self.acceptance or "", "a table of acceptance or a profile, and not both")
        if (self.system is None) != (self.hop_ps is None):
            raise refusal("hop", "", "this time where system says that guesses are made elsewhere, and nowhere else")
        if self.method == "ngram" and self.system is not None:
            raise refusal("system", self.system or "", "nothing for ngram, which computes nothing anywhere")
        if self.branch > 1 and self.tokens is None:
            raise refusal("tokens", "", "how many of a tree's guesses are verified")
        if self.tokens is not None and not self.depth <= self.tokens <= self.most_tokens:
            raise refusal(
                "tokens", self.tokens, f"from {self.depth} (depth) to {self.most_tokens}, all that are guessed"
            )
        return self

    @property
    def most_tokens(self) -> int:
        """Guesses of all passes: `branch` in the first, and as many behind each of those in every other."""
        return self.branch + (self.depth - 1) * self.branch**2

    @property
    def verified(self) -> int:
        """Positions that are verified beside the next one."""
        return self.tokens or self.depth


class MetricsSpec(Spec):
    """What is measured beyond latencies, table `[serving.metrics]`."""

    detail: Literal["tokens"]
    """`tokens`: times between tokens, what waits, runs and is held over time, energy of requests."""
    slo_ttft_ps: PositivePicoseconds | None = Field(alias="slo_ttft", default=None)
    """Time to the first token within which a request counts as served."""
    slo_tpot_ps: PositivePicoseconds | None = Field(alias="slo_tpot", default=None)
    """Time of each further token within which it does."""


class PrioritySpec(Spec):
    """Classes of requests, table `[serving.priority]`."""

    shares: tuple[Count, ...] = Field(min_length=2)
    """Shares of requests in percent by class, the most urgent first."""
    preempt: Literal["never", "recompute", "swap"]
    """Whether an urgent request takes the place of a less urgent one that runs, and how that one gets back what it
    loses: as `preemption` of `[serving]` says."""

    @model_validator(mode="after")
    def _check(self) -> PrioritySpec:
        if sum(self.shares) != 100:
            raise refusal("shares", list(self.shares), "shares that sum to 100 percent")
        return self


class AdmissionSpec(Spec):
    """Bounds by which requests are let in, table `[serving.admission]`."""

    ttft_ps: PositivePicoseconds | None = Field(alias="ttft", default=None)
    """A request that has waited longer for its first token is turned away."""
    tpot_ps: PositivePicoseconds | None = Field(alias="tpot", default=None)
    """Nobody joins who would make an iteration of the running sequences longer."""


class ScalingSpec(Spec):
    """Replicas that start and stop with the load, table `[serving.scaling]`."""

    least: Count = Field(alias="min")
    """Replicas that always run."""
    most: Count = Field(alias="max")
    """Replicas that may run."""
    metric: Literal["requests", "utilization"]
    """What the load of a replica is: unfinished requests, or these in percent of the largest batch."""
    high: Count
    """Load of a replica above which another starts."""
    low: Count
    """Load below which one stops."""
    start_up_ps: Picoseconds = Field(alias="start_up")
    """From the decision until it takes requests."""
    cool_down_ps: Picoseconds = Field(alias="cool_down")
    """From a change until one may stop."""
    standby_watts: Watts | None = Field(alias="standby", default=None)
    """What a chip draws whose replica is off; not stated: nothing is counted."""

    @model_validator(mode="after")
    def _check(self) -> ScalingSpec:
        if self.least > self.most:
            raise refusal("min", self.least, f"at most max, {self.most} replicas")
        if self.low >= self.high:
            raise refusal("low", self.low, f"less than high, {self.high}")
        return self


class AnswerCacheSpec(Spec):
    """Whole answers by meaning, table `[serving.answer_cache]`."""

    hits: Ratio
    """Share of requests whose answer is there."""
    latency_ps: PositivePicoseconds = Field(alias="latency")
    """From arrival to answer."""

    @model_validator(mode="after")
    def _check(self) -> AnswerCacheSpec:
        if not 0 < self.hits <= 1:
            raise refusal("hits", f"{float(100 * self.hits):g} %", "above 0 % and at most 100 %")
        return self


class ServingSpec(Spec):
    """Techniques of the server, table `[serving]`."""

    answer_cache: AnswerCacheSpec | None = None
    """Answer requests that mean what others meant."""

    priority: PrioritySpec | None = None
    """Serve urgent requests first."""
    admission: AdmissionSpec | None = None
    """Let in only who can be served well."""

    metrics: MetricsSpec | None = None
    """Measure more."""

    prefix_cache: PrefixCacheSpec | None = None
    """Keep what prompts have in common."""
    speculation: SpeculationSpec | None = None
    """Guess tokens and verify them together."""

    scaling: ScalingSpec | None = None
    """Start and stop replicas with the load."""

    preemption: Literal["recompute", "swap"] = "recompute"
    """What becomes of the cache of a sequence that gives up its blocks: thrown away, or moved to `tier` and back."""
    tier: TierSpec | None = None
    """Where caches go that have no room: a bundled name, a path, or a table."""

    @model_validator(mode="after")
    def _check_tier(self) -> ServingSpec:
        if self.preemption == "swap" and self.tier is None:
            raise refusal("tier", "", "a tier that preempted sequences' caches move to (preemption is swap)")
        offloads = self.prefix_cache is not None and self.prefix_cache.offload is not None
        if offloads and self.tier is None:
            raise refusal("tier", "", "a tier that keeps prefixes (prefix_cache.offload)")
        if self.tier is not None and self.preemption != "swap" and not offloads:
            expected = "no tier where nothing moves there: neither preemption = swap nor prefix_cache.offload is stated"
            raise refusal("tier", self.tier.name, expected)
        if self.priority and self.priority.preempt not in {"never", self.preemption}:
            expected = f"never or {self.preemption}, as serving.preemption says"
            raise refusal("priority.preempt", self.priority.preempt, expected)
        return self
