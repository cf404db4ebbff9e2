"""Rows of a result about techniques of the server: the part of result.json under `serving`."""

from __future__ import annotations

from pydantic import FiniteFloat

from archsim.metrics.row import Count, NonNegative, Row

__all__ = [
    "AnswerFacts",
    "ClassFacts",
    "DraftFacts",
    "EnergyFacts",
    "GapFacts",
    "GoodputFacts",
    "KvTierFacts",
    "MetricFacts",
    "PercentileFacts",
    "PrefixFacts",
    "ScalingFacts",
    "ServingFacts",
]


class PercentileFacts(Row):
    """How percentiles of latencies were counted where requests are too many to be kept."""

    method: str
    relative_error: NonNegative
    """The most by which a percentile may differ from that of the latencies themselves; means and sums do not."""


class PrefixFacts(Row):
    """What prompts found in the prefix cache."""

    prompt_tokens: Count
    """Of the prompts that were let in."""
    hit_tokens: Count
    """Of these, those that were there already."""
    hit_share: NonNegative
    evicted_blocks: Count
    """Blocks of the trace's, with their tokens."""


class DraftFacts(Row):
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


class GapFacts(Row):
    """Time between one emission of a running sequence and its next; percentiles from bins of 0.8 %, lower edges."""

    count: Count
    mean: FiniteFloat | None
    p50: FiniteFloat | None
    p90: FiniteFloat | None
    p95: FiniteFloat | None
    p99: FiniteFloat | None


class GoodputFacts(Row):
    """Requests that were served as well as promised."""

    slo_ttft_s: FiniteFloat | None
    slo_tpot_s: FiniteFloat | None
    requests_per_s: FiniteFloat | None
    share: NonNegative | None
    """Of all requests offered."""


class EnergyFacts(Row):
    """Energy of the completed requests, all of the run's together."""

    mean: FiniteFloat
    p50: FiniteFloat
    p99: FiniteFloat


class MetricFacts(Row):
    """What was measured beyond latencies."""

    inter_token_s: GapFacts
    goodput: GoodputFacts | None
    fairness: dict[str, FiniteFloat | None]
    """Jain's index of output tokens per second from arrival to last token: of `requests`, of `classes`."""
    joules_per_request: EnergyFacts | None
    mean_waiting: FiniteFloat | None
    """Requests, over the time of the run."""
    mean_running: FiniteFloat | None
    mean_kv_blocks: FiniteFloat | None


class ClassFacts(Row):
    """How requests of one class were served."""

    share: NonNegative
    """Of all requests, as asked for."""
    completed: Count
    ttft_p50_s: FiniteFloat | None
    ttft_p99_s: FiniteFloat | None
    e2e_p50_s: FiniteFloat | None


class AnswerFacts(Row):
    """Requests that were answered from a cache."""

    requests: Count
    share: NonNegative
    """Of all offered."""


class KvTierFacts(Row):
    """What a tier of KV caches did; bytes and counts of all replicas."""

    name: str
    capacity_bytes: Count
    swapped_out: Count
    """Preempted sequences whose cache moved there."""
    swapped_in: Count
    """Those that came back."""
    turned_away: Count
    """Preempted sequences that found no room there and were computed again."""
    stored_blocks: Count
    """Blocks of prompts (the trace's, with their tokens) that were copied there."""
    fetched_blocks: Count
    """Those that came back for later prompts, as often as they did."""
    dropped_blocks: Count
    """Those that it gave up for others."""
    hit_tokens: Count
    """Of `prefix_cache.hit_tokens`, those that came from here."""
    hit_share: NonNegative
    """Of the prompt tokens that were let in; what is left of `prefix_cache.hit_share` was in the chips' own blocks."""
    out_bytes: Count
    in_bytes: Count
    peak_bytes: Count
    """Most that lay there at once, replica by replica."""
    time_s: NonNegative
    """In which caches moved and no iteration ran, on average over replicas."""


class ScalingFacts(Row):
    """When replicas ran."""

    replicas: Count
    """All that there are."""
    replica_seconds: NonNegative
    """Time in which replicas were not off, summed over them."""
    mean_replicas: NonNegative
    starts: Count
    """Replicas that were started or taken back."""
    stops: Count
    changes: list[tuple[FiniteFloat, Count]]
    """(seconds, replicas that run, start or finish what they have from then on)."""


class ServingFacts(Row):
    """What techniques of the server did; None: not asked for."""

    prefix_cache: PrefixFacts | None = None
    speculation: DraftFacts | None = None
    answer_cache: AnswerFacts | None = None
    metrics: MetricFacts | None = None
    classes: list[ClassFacts] | None = None
    """The most urgent first."""
    kv_tier: KvTierFacts | None = None
    """Left out where there is none."""
    scaling: ScalingFacts | None = None
    """Left out where all replicas always run."""
