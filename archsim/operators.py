"""What the operators of a run's iterations take: one sequence alone, and the batch that the run had.

For a step that is its batch. For a replay it is the mean decode iteration:

    batch = sum of the requests' decode times / time in which any decodes
    context = mean of prompt + half the output, weighted by decode time

both rounded. The iterations are simulated once more, operator by operator; a result states nothing of operators.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import replace

import numpy as np

from archsim.hardware.spec import SystemSpec
from archsim.mapping.shares import split_evenly
from archsim.metrics.operators import OperatorUse
from archsim.placed import Placed
from archsim.result import RequestColumns, Result
from archsim.step.operators import Operator, operators_of_pipeline, operators_of_plan
from archsim.units import PS_PER_S
from archsim.workload.batch import Batch
from archsim.workload.model import Model

__all__ = ["mean_iteration", "operators_of_step", "with_operators"]

_DRAFT = "draft: "


Ways = tuple[str | None, str | None]
"""Precision and parallelism, as `run` takes them."""


def operators_of_step(
    system: SystemSpec, model: Model, *, batch: int, context: int, ways: Ways = (None, None)
) -> tuple[OperatorUse, ...]:
    """Return the operators of one decode iteration of *batch* sequences that each attend to *context* tokens.

    Replicas with equal shares are taken for equal. Raises `InputError` for what does not divide.
    """
    setup = Placed.of(system, model, *ways)
    return tuple(_uses(setup, batch=batch, context=context))


def with_operators(
    result: Result,
    system: SystemSpec,
    model: Model,
    *,
    iteration: tuple[int, int] | None = None,
    ways: Ways = (None, None),
) -> Result:
    """Return *result* with the operators of its iteration, (batch, context), and of one sequence in its tables.

    Without *iteration* it is the mean one of the requests in the tables. *ways* are those that the result was made
    with. A result without tables, or of nothing decoded, stays as it is.
    """
    tables = result.tables
    if tables is None:
        return result
    found = iteration or (mean_iteration(tables.requests) if tables.requests is not None else None)
    if found is None:
        return result
    batch, context = found[0], min(found[1], model.max_context)
    setup = Placed.of(system, model, *ways)
    shapes = dict.fromkeys((1, batch))
    uses = tuple(use for sequences in shapes for use in _uses(setup, batch=sequences, context=context))
    return result.model_copy(update={"tables": replace(tables, operators=uses)})


def mean_iteration(requests: RequestColumns) -> tuple[int, int] | None:
    """Return (batch, context) of the mean decode iteration of *requests*; None where none decodes."""
    first, finish = requests.first_token_ps, requests.finish_ps
    kept = (first >= 0) & (finish > first)
    if not kept.any():
        return None
    first, finish = first[kept], finish[kept]
    times = (finish - first).tolist()
    order = np.argsort(first, kind="stable")
    covered, until = 0, -1
    for start, end in zip(first[order].tolist(), finish[order].tolist(), strict=True):
        covered += max(0, end - max(start, until))
        until = max(until, end)
    contexts = (requests.prompt_tokens[kept] + requests.output_tokens[kept] / 2).tolist()
    whole = sum(times)
    context = math.fsum(time * tokens for time, tokens in zip(times, contexts, strict=True)) / whole
    return max(1, round(whole / covered)), max(1, round(context))


def _uses(setup: Placed, *, batch: int, context: int) -> Iterable[OperatorUse]:
    replicas = [share for share in split_evenly(batch, len(setup.replicas) or 1) if share]
    one = Batch.of_decode(replicas[0], context)
    operators, chips = _of_batch(setup, one)
    for name, use in operators.items():
        yield OperatorUse(
            batch=batch,
            context=context,
            operator=name,
            executions=use.executions,
            time_s=use.chip_ps / chips / PS_PER_S,
            flops={part: len(replicas) * amount for part, amount in use.flops.items()},
            bytes={part: len(replicas) * amount for part, amount in use.bytes.items()},
        )


def _of_batch(setup: Placed, batch: Batch) -> tuple[dict[str, Operator], int]:
    """Return the operators of an iteration of *batch*, and the chips it runs on."""
    found: dict[str, Operator] = {}
    drafting = setup.drafting
    drafter = None if drafting is None else drafting.drafter
    if drafting is not None and drafter is not None and drafter.hop_ps is None:
        for plan, times in drafting.plans(batch):
            for name, one in operators_of_plan(plan, drafter.system).items():
                found.setdefault(_DRAFT + name, Operator()).add(one, times)
    whole = drafting.verified(batch) if drafting is not None else batch
    if setup.spread.parallelism.pp > 1:
        pipeline = setup.cut.pipeline(whole)
        own = operators_of_pipeline(pipeline, setup.system)
        chips = sum(plans[0].ranks for plans in pipeline.stages)
    else:
        plan = setup.cut.plan(whole)
        own, chips = operators_of_plan(plan, setup.system), plan.ranks
    return found | own, chips
