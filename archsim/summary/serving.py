"""What a result says of the techniques of the server: counts of the replay, and shares of them."""

from __future__ import annotations

import numpy as np

from archsim.hardware.spec import SystemSpec
from archsim.metrics.columns import RequestColumns
from archsim.metrics.latency import end_to_end_s, summary, ttft_s
from archsim.metrics.techniques import AnswerFacts, ClassFacts
from archsim.result import DraftFacts, PrefixFacts, ServingFacts
from archsim.serving.prefix import PrefixUse
from archsim.serving.queue import class_of
from archsim.serving.record import Record
from archsim.serving.requests import Limits

__all__ = ["serving_facts"]


def serving_facts(spec: SystemSpec, record: Record, limits: Limits | None) -> ServingFacts | None:
    """Return what the techniques of *record*'s server did; None where none is asked for."""
    steps, tokens = record.decode_tokens, record.draft_tokens
    classes = limits.techniques.classes if limits else ()
    offered = record.offered
    cached = limits is not None and limits.techniques.answers is not None and offered > 0
    facts = ServingFacts(
        answer_cache=AnswerFacts(requests=record.answered, share=record.answered / offered) if cached else None,
        classes=[class_facts(record.requests, classes, rank) for rank in range(len(classes))] or None,
        prefix_cache=_prefix_facts(record.prefixes) if record.prefixes else None,
        speculation=_draft_facts(spec, limits, tokens / steps if steps and tokens is not None else None),
    )
    return facts if facts != ServingFacts() else None


def _draft_facts(spec: SystemSpec, limits: Limits | None, tokens_per_step: float | None) -> DraftFacts | None:
    setting = spec.serving.speculation if spec.serving else None
    rule = limits.techniques.drafts if limits else None
    if limits is None or setting is None or rule is None:
        return None
    return DraftFacts(
        method=setting.method,
        acceptance=[float(share) for share in rule.shares],
        verified_tokens=rule.tokens,
        tokens_per_step=tokens_per_step,
        kv_blocks=limits.kv_blocks,
    )


def class_facts(requests: RequestColumns, classes: tuple[int, ...], rank: int) -> ClassFacts:
    """Return how the requests of one class were served."""
    numbers = range(len(requests.arrival_ps))
    mine = np.array([class_of(number, classes) == rank for number in numbers], dtype=bool) & (requests.finish_ps >= 0)
    arrival = requests.arrival_ps[mine]
    first = summary(ttft_s(arrival, requests.first_token_ps[mine]))
    return ClassFacts(
        share=classes[rank] / 100,
        completed=int(mine.sum()),
        ttft_p50_s=first["p50"],
        ttft_p99_s=first["p99"],
        e2e_p50_s=summary(end_to_end_s(arrival, requests.finish_ps[mine]))["p50"],
    )


def _prefix_facts(use: PrefixUse) -> PrefixFacts:
    return PrefixFacts(
        prompt_tokens=use.prompt_tokens,
        hit_tokens=use.hit_tokens,
        hit_share=use.hit_tokens / use.prompt_tokens if use.prompt_tokens else 0.0,
        evicted_blocks=use.evicted_units,
    )
