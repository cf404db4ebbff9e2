"""What the points of a study can reach at most: a constraint that none can meet is said before they run.

Metrics that a system states are known exactly, for every system of the study where these are not too many. Of the
others a bound is known: weights are read at least once an iteration from memories that deliver at most their peaks, so

    TPOT >= weight bytes that a token needs / (chips x peaks of a chip's memories and caches)

over the fastest system, the smallest model and the fewest bits of the study; tokens/s are at most the largest batch
over it. Shares lie between 0 and 1. A bound that a part of the system could break (units near the memory) is not used.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

from archsim.errors import InputError, Problem
from archsim.hardware.library import load_system
from archsim.hardware.spec import SystemSpec
from archsim.simulate import load_model
from archsim.study.cases import Limit
from archsim.study.metrics import METRICS, system_metrics
from archsim.study.study import OF_STEP, OF_TRACE, PLAIN, Study, assignment
from archsim.workload.model import Model
from archsim.workload.precision import Precision
from archsim.workload.tensors import active_parameter_count, embedding_table

__all__ = ["check_reach"]

_MOST_SYSTEMS = 256
"""Systems that are loaded to see what they state; beyond, nothing is said before running."""
_NOT_HARDWARE = {*PLAIN, *OF_STEP, *OF_TRACE}


def check_reach(study: Study) -> None:
    """Raise `InputError` with every constraint that no point of *study* can meet."""
    if not study.limits:
        return
    systems = list(_systems(study))
    problems = [*_stated(study, systems), *_bounded(study, systems)]
    if problems:
        raise InputError(*problems)


def _problem(study: Study, limit: Limit, reach: str) -> Problem:
    return Problem(study.spec.name, "constraint", limit.text, f"a bound that some point can meet: {reach}")


def _systems(study: Study) -> Iterator[SystemSpec]:
    """Yield every system of the study; none where they are too many."""
    axes = [axis for axis in study.axes if not {*axis.keys} & _NOT_HARDWARE]
    count = len(study.spec.systems)
    for axis in axes:
        count *= len(axis.levels)
    if not 0 < count <= _MOST_SYSTEMS:
        return
    levels = product(*(axis.levels for axis in axes))
    for name, chosen in product(study.spec.systems, levels):
        settings = [(key, value) for axis, values in zip(axes, chosen, strict=True)
                    for key, value in zip(axis.keys, values, strict=True)]  # fmt: skip
        try:
            yield load_system(study.path(name), [assignment(*pair) for pair in settings])
        except InputError:
            continue


def _stated(study: Study, systems: list[SystemSpec]) -> Iterator[Problem]:
    if not systems:
        return
    known = [system_metrics(spec) for spec in systems]
    for limit in study.system_limits:
        if all(limit.broken_by(facts[limit.metric]) for facts in known):
            values = [value for facts in known if (value := facts[limit.metric]) is not None]
            found = f"{min(values):.6g} to {max(values):.6g}" if values else "not stated by any system"
            yield _problem(study, limit, f"{limit.metric} is {found}")
    if study.system_limits and all(
        any(limit.broken_by(facts[limit.metric]) for limit in study.system_limits) for facts in known
    ):
        texts = "; ".join(limit.text for limit in study.system_limits)
        single = [limit for limit in study.system_limits if all(limit.broken_by(f[limit.metric]) for f in known)]
        if not single:
            yield Problem(study.spec.name, "constraint", texts, "bounds that some system can meet together")


def _bounded(study: Study, systems: list[SystemSpec]) -> Iterator[Problem]:
    reach = {name: (0.0, 1.0) for name, metric in METRICS.items() if metric.dimension == "share"}
    if systems and all(work.trace is None for work in study.spec.workload):
        reach |= _step_bounds(study, systems)
    for limit in study.limits:
        low, high = reach.get(limit.metric, (0.0, float("inf")))
        if METRICS[limit.metric].of_system is None and (limit.high < low or limit.low > high):
            best = f"at least {low:.4g}" if limit.high < low else f"at most {high:.4g}"
            yield _problem(study, limit, f"{limit.metric} is {best} at any of them")


def _step_bounds(study: Study, systems: list[SystemSpec]) -> dict[str, tuple[float, float]]:
    if any(spec.chip.near_memory for spec in systems):
        return {}
    precisions: list[str | None] = [*_chosen(study, "precision")] or [None]
    models = [load_model(study.path(name)) for name in _chosen(study, "model")]
    needed = min(_needed_bytes(model, bits) for model in models for bits in precisions)
    fastest = max(spec.chips * _peaks(spec) for spec in systems)
    tpot_s = needed / fastest
    batches = [work.batch for work in study.spec.workload if work.batch] + [
        value for axis in study.axes if "batch" in axis.keys for values in axis.samples
        if isinstance(value := values[axis.keys.index("batch")], int)
    ]  # fmt: skip
    rate = max(batches) / tpot_s
    slowest = dict.fromkeys(("tpot_s_mean", "tpot_s_p50", "tpot_s_p99"), (tpot_s, float("inf")))
    return {**slowest, "tokens_per_s": (0.0, rate), "tokens_per_s_per_user": (0.0, 1 / tpot_s)}


def _peaks(spec: SystemSpec) -> float:
    """Return the bytes/s of all memories and caches of a chip together."""
    memories = sum(memory.peak_bytes_per_s for memory in spec.chip.memory.values())
    return float(memories + sum(cache.bytes_per_s for cache in spec.chip.cache.values()))


def _needed_bytes(model: Model, precision: str | None) -> float:
    bits = Precision.parse(precision) if precision is not None else Precision.of_model(model)
    fewest = min(bits.weights.stored_bits, bits.experts.stored_bits)
    return float((active_parameter_count(model) - embedding_table(model).value) * fewest / 8)


def _chosen(study: Study, column: str) -> list[str]:
    fixed = getattr(study.spec, column)
    axes = [axis for axis in study.axes if column in axis.keys]
    found = [str(values[axis.keys.index(column)]) for axis in axes for values in axis.samples]
    return found or ([fixed] if fixed is not None else [])
