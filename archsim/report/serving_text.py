"""What techniques of the server did, in words."""

from __future__ import annotations

from archsim.metrics.techniques import KvTierFacts, MetricFacts
from archsim.report.views import percent
from archsim.result import Result
from archsim.units import format_quantity

__all__ = ["serving_lines"]


def serving_lines(result: Result) -> list[tuple[str, str]]:
    """Return (name, text) of each technique that the run asked for."""
    found = result.serving
    if found is None:
        return []
    lines = []
    if (prefix := found.prefix_cache) is not None:
        text = f"{percent(prefix.hit_share)} of {prefix.prompt_tokens:,} prompt tokens found"
        lines.append(("prefix cache", f"{text}, {prefix.evicted_blocks:,} blocks evicted"))
    if (drafts := found.speculation) is not None:
        tokens = "no" if drafts.tokens_per_step is None else f"{drafts.tokens_per_step:.3g}"
        lines.append(
            ("speculation", f"{drafts.method}, {drafts.verified_tokens} guesses verified, {tokens} tokens a step")
        )
    if (answers := found.answer_cache) is not None:
        lines.append(("answer cache", f"{answers.requests:,} requests answered, {percent(answers.share)} of all"))
    if (scaled := found.scaling) is not None:
        text = f"{scaled.mean_replicas:.3g} replicas on average, {scaled.starts:,} started, {scaled.stops:,} stopped"
        lines.append(("scaling", f"{text}, {scaled.replica_seconds:,.4g} replica-seconds"))
    if (tier := found.kv_tier) is not None:
        lines.append(("KV tier", _tier_text(tier)))
    for rank, of_class in enumerate(found.classes or ()):
        times = [(name, value) for name, value in (("p50", of_class.ttft_p50_s), ("p99", of_class.ttft_p99_s))]
        text = ", ".join(f"{name} {format_quantity(value, 's')}" for name, value in times if value is not None)
        lines.append((f"class {rank + 1}", f"{of_class.completed:,} completed, TTFT {text or '-'}"))
    if (measured := found.metrics) is not None:
        lines += _metric_lines(measured)
    return lines


def _tier_text(tier: KvTierFacts) -> str:
    moved = f"{format_quantity(tier.out_bytes, 'bytes')} out, {format_quantity(tier.in_bytes, 'bytes')} back"
    text = f"{tier.name}: {moved} in {format_quantity(tier.time_s, 's')}"
    if tier.stored_blocks:
        text += f", {percent(tier.hit_share)} of prompt tokens found there"
    if tier.swapped_out or tier.turned_away:
        text += f", {tier.swapped_out:,} sequences swapped, {tier.turned_away:,} computed again for want of room"
    return text


def _metric_lines(found: MetricFacts) -> list[tuple[str, str]]:
    gaps, lines = found.inter_token_s, []
    if gaps.p50 is not None and gaps.p99 is not None and gaps.mean is not None:
        times = (("mean", gaps.mean), ("p50", gaps.p50), ("p99", gaps.p99))
        lines.append(("between tokens", ", ".join(f"{name} {format_quantity(value, 's')}" for name, value in times)))
    if (good := found.goodput) is not None and good.share is not None and good.requests_per_s is not None:
        lines.append(("goodput", f"{good.requests_per_s:.3g} requests/s, {percent(good.share)} of all offered"))
    if (index := found.fairness.get("requests")) is not None:
        lines.append(("fairness", f"{index:.3f} (Jain's index of tokens/s, over requests)"))
    if (spent := found.joules_per_request) is not None:
        lines.append(("J a request", f"mean {spent.mean:.3g}, p50 {spent.p50:.3g}, p99 {spent.p99:.3g}"))
    return lines
