"""From what a system says of its server to what the replay does: names looked up, contradictions refused."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

from archsim.errors import InputError, Problem, did_you_mean
from archsim.hardware.serving_spec import PrefixCacheSpec, ServingSpec, SpeculationSpec
from archsim.hardware.spec import SystemSpec
from archsim.mapping.spread import Spread
from archsim.serving.affinity import AFFINITY
from archsim.serving.drafts import guesses_of
from archsim.serving.policies import POLICIES
from archsim.serving.prefix import EVICTIONS
from archsim.serving.requests import Arrival
from archsim.serving.router import ROUTERS
from archsim.serving.techniques import PLAIN, AnswerRule, DraftRule, PrefixRule, ScaleRule, Techniques
from archsim.step.stages import PIPELINES
from archsim.workload.closed_loop import ClosedLoop
from archsim.workload.decode_trace import DecodeTrace
from archsim.workload.model import Model
from archsim.workload.request import NONE
from archsim.workload.stream import MOST_EXACT, Stream
from archsim.workload.trace import Trace

__all__ = ["arrivals_of", "check_names", "known", "scaling_of", "sessions_of", "techniques_of"]


def arrivals_of(trace: Trace | Stream) -> Iterator[Arrival]:
    """Return the requests of *trace* as a server takes them."""
    size = trace.block_tokens
    if isinstance(trace, Stream):
        return (Arrival(row[0], row[1], row[2], row[5][: row[1] // size] if size else ()) for row in trace.rows())
    if not size:
        return (Arrival(r.arrival_ps, r.prompt_tokens, r.output_tokens) for r in trace)
    return (Arrival(r.arrival_ps, r.prompt_tokens, r.output_tokens, r.blocks[: r.prompt_tokens // size]) for r in trace)


def sessions_of(trace: Trace | Stream) -> Sequence[int]:
    """Return the session of every request of *trace*, its own id where it stands alone; nothing where all do."""
    if isinstance(trace, Stream):
        return ()
    return [at if own == NONE else own for at, own in enumerate(trace.sessions)]


def techniques_of(spec: SystemSpec, model: Model, trace: Trace | Stream | ClosedLoop | None) -> Techniques:
    """Return what the server of *spec* does with *model* on *trace*; None: a single iteration.

    Raises `InputError` for an unknown policy and for what the trace or the model does not allow.
    """
    serving = spec.serving
    if serving is None:
        return PLAIN
    if isinstance(trace, Stream):
        _check_counted(serving, spec, trace)
    if serving.priority and serving.priority.preempt != "never" and spec.runtime.scheduler == "static":
        expected = "never with runtime.scheduler static, whose batches nobody joins"
        raise InputError(Problem(spec.name, "serving.priority.preempt", serving.priority.preempt, expected))
    prefix = serving.prefix_cache if trace is not None else None
    return Techniques(
        prefix=_prefix_rule(prefix, spec, model, trace) if prefix and trace else None,
        drafts=_draft_rule(serving.speculation) if serving.speculation else None,
        classes=serving.priority.shares if serving.priority else (),
        class_preempts=serving.priority is not None and serving.priority.preempt != "never",
        ttft_ps=serving.admission.ttft_ps if serving.admission else None,
        tpot_ps=serving.admission.tpot_ps if serving.admission else None,
        answers=_answer_rule(serving, spec, trace),
        watched=serving.metrics is not None,
    )


def _check_counted(serving: ServingSpec, spec: SystemSpec, trace: Stream) -> None:
    """Raise `InputError` for what is read off rows of requests, which a stream does not leave."""
    asked = {"serving.metrics": serving.metrics, "serving.priority": serving.priority}
    expected = f"a trace of at most {MOST_EXACT:,} requests, whose rows are kept: --limit takes the first ones"
    wrong = [Problem(spec.name, name, f"{trace.count:,} requests", expected) for name, rule in asked.items() if rule]
    if wrong:
        raise InputError(*wrong)


def _draft_rule(setting: SpeculationSpec) -> DraftRule:
    return DraftRule(guesses_of(setting), setting.verified)


def _answer_rule(
    serving: ServingSpec, spec: SystemSpec, trace: Trace | Stream | ClosedLoop | None
) -> AnswerRule | None:
    cache = serving.answer_cache
    if cache is None:
        return None
    if isinstance(trace, ClosedLoop):
        expected = "a trace: users of a closed loop are many equal ones, whose answers mean nothing"
        raise InputError(Problem(spec.name, "serving.answer_cache", trace.name, expected))
    return AnswerRule(cache.hits, cache.latency_ps)


def _prefix_rule(
    prefix: PrefixCacheSpec, spec: SystemSpec, model: Model, trace: Trace | Stream | ClosedLoop
) -> PrefixRule:
    for key, order in (("eviction", prefix.eviction), ("offload", prefix.offload)):
        if order is not None:
            known(spec.name, f"serving.prefix_cache.{key}", order, EVICTIONS)
    own, block_tokens = spec.runtime.kv_block_tokens, 0 if isinstance(trace, ClosedLoop) else trace.block_tokens
    if not block_tokens:
        expected = "a trace that says which prompts begin alike (Mooncake's hash_ids), or no prefix cache"
        raise InputError(Problem(spec.name, "serving.prefix_cache", trace.name, expected))
    if block_tokens % own:
        expected = f"a multiple of the KV block's {own} tokens (runtime.kv_block_tokens)"
        raise InputError(Problem(trace.name, "tokens of a prompt block", str(block_tokens), expected))
    if not model.reach.full:
        expected = "a model with layers that attend to everything: windows keep nothing of a prefix"
        raise InputError(Problem(spec.name, "serving.prefix_cache", model.name, expected))
    return PrefixRule(prefix.eviction, block_tokens, prefix.offload, prefix.fetch, prefix.imbalance)


def scaling_of(
    spec: SystemSpec, replicas: int, trace: Trace | Stream | ClosedLoop | DecodeTrace | None
) -> ScaleRule | None:
    """Return when replicas start and stop; None where all run. Raises `InputError` where there is nothing to scale."""
    setting = spec.serving.scaling if spec.serving else None
    if setting is None:
        return None
    if setting.most > replicas:
        expected = f"at most the {replicas} replicas that there are (dp of --parallel)"
        raise InputError(Problem(spec.name, "serving.scaling.max", str(setting.most), expected))
    if trace is not None and trace.closed:
        expected = "requests that do not wait for others: those of a closed loop stay with their replica"
        raise InputError(Problem(spec.name, "serving.scaling", trace.name, expected))
    percent = setting.metric == "utilization"
    batch = spec.runtime.max_batch if percent else 1
    return ScaleRule(
        setting.least,
        setting.most,
        100 if percent else 1,
        setting.high * batch,
        setting.low * batch,
        setting.start_up_ps,
        setting.cool_down_ps,
    )


def known(file: str, key: str, name: str, names: Collection[str]) -> None:
    """Raise `InputError` unless *name* is one of *names*."""
    if name not in names:
        expected = f"one of {', '.join(names)}{did_you_mean(name, list(names))}"
        raise InputError(Problem(file, key, name, expected))


def check_names(spread: Spread, spec: SystemSpec) -> None:
    """Raise `InputError` for a scheduler, router or pipeline that is not there."""
    known(spec.name, "runtime.scheduler", spec.runtime.scheduler, POLICIES)
    if spec.runtime.pipeline is not None:
        known(spec.name, "runtime.pipeline", spec.runtime.pipeline, PIPELINES)
    if spread.router:
        known("", "--parallel router", spread.router, ROUTERS)
    prefix = spec.serving.prefix_cache if spec.serving else None
    if spread.router == AFFINITY and (prefix is None or prefix.imbalance is None):
        expected = "serving.prefix_cache with its key imbalance beside this router: it goes by what caches hold"
        raise InputError(Problem("", "--parallel router", spread.router, expected))
    if spread.pipeline:
        known("", "--parallel pipeline", spread.pipeline, PIPELINES)
