"""The chain itself: system + model + trace -> Result.

What Python users and every room above call. It joins the floors and adds nothing of its own: the plan of a batch is
simulated by the step floor when the replay first needs it, the replay serves the trace on those costs, and the summary
turns what is left into a `Result`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from archsim.errors import InputError, Problem
from archsim.hardware.library import load_system
from archsim.hardware.spec import SystemSpec
from archsim.hardware.system import System
from archsim.mapping.parallelism import Parallelism
from archsim.mapping.placement import Placement, place
from archsim.mapping.sharding import plan_iteration
from archsim.result import Result
from archsim.serving.replay import replay
from archsim.serving.requests import Arrival, Limits
from archsim.serving.saturation import SLICE_REQUESTS, saturate
from archsim.step.costs import StepCosts
from archsim.step.record import StepRecord
from archsim.step.simulate import simulate_step
from archsim.summary.assemble import Design, Served, result_of_replay, result_of_step
from archsim.workload.batch import Batch
from archsim.workload.model import Model, load_model
from archsim.workload.precision import Precision
from archsim.workload.trace import Trace, load_trace

__all__ = ["evaluate_step", "load_model", "load_system", "load_trace", "run"]

Progress = Callable[[str, float], None]
"""Called with what is being done and the share of it that is done, 0 to 1."""


@dataclass(frozen=True, slots=True)
class _Setup:
    """A model placed on a system, ready to be asked for iterations."""

    spec: SystemSpec
    model: Model
    precision: Precision
    parallelism: Parallelism
    placement: Placement
    system: System
    costs: StepCosts = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "costs", StepCosts(self._simulate))

    @classmethod
    def of(cls, spec: SystemSpec, model: Model, precision: str | None, parallelism: str | None) -> _Setup:
        """Return the setup, or raise `InputError` for what does not divide, fit or exist."""
        bits = Precision.parse(precision) if precision else Precision.of_model(model)
        ways = Parallelism.parse(parallelism) if parallelism else Parallelism.default(spec)
        return cls(spec, model, bits, ways, place(model, bits, spec, ways), System(spec))

    def _simulate(self, batch: Batch) -> StepRecord:
        plan = plan_iteration(self.model, self.precision, self.parallelism, self.spec, batch)
        return simulate_step(plan, self.system)

    @property
    def limits(self) -> Limits:
        """What the server holds and takes on at once."""
        runtime = self.spec.runtime
        return Limits(
            max_batch=runtime.max_batch,
            max_prefill_tokens=runtime.max_prefill_tokens,
            kv_blocks=self.placement.kv_blocks,
            block_tokens=runtime.kv_block_tokens,
            context_tokens=self.model.max_context,
        )

    @property
    def design(self) -> Design:
        """What the summary says about the setup."""
        return Design(self.spec, self.model, self.precision, self.parallelism, self.placement, self.system)


def run(
    system: SystemSpec,
    model: Model,
    *,
    trace: Trace,
    precision: str | None = None,
    parallelism: str | None = None,
    seed: int = 0,
    slo_s: float | None = None,
    progress: Progress | None = None,
) -> Result:
    """Replay *trace* with *model* on *system*.

    *precision* is written as `"w8a16kv8"` (default: as published), *parallelism* as `"tp=8"` (default: tensor parallel
    over all chips). With *slo_s*, a bound on the 99th percentile of TPOT in seconds, the highest rate that meets it is
    searched on a slice of the trace and reported as `saturation`. Raises `InputError` for what does not fit or divide,
    `SimulationError` where a check of the simulation fails.
    """
    setup = _Setup.of(system, model, precision, parallelism)
    offered = trace.count

    def replayed(done: int, _simulated_ps: int) -> None:
        if progress is not None:
            progress("replay", done / offered)

    record = replay(_arrivals(trace), setup.costs, limits=setup.limits, progress=replayed)
    if not record.completed + record.rejected:
        raise InputError(Problem(trace.name, "", "", "at least one request"))
    if progress is not None and slo_s is not None:
        progress("saturation", 0.0)
    search = saturate(_arrivals(trace), setup.costs, limits=setup.limits, slo_tpot_s=slo_s) if slo_s else None
    served = Served(
        record=record,
        steps=setup.costs.records,
        trace=trace,
        seed=seed,
        slo_s=slo_s,
        search=search,
        offered_per_search=min(SLICE_REQUESTS, offered),
    )
    return result_of_replay(setup.design, served)


def evaluate_step(
    system: SystemSpec,
    model: Model,
    *,
    batch: int,
    context: int,
    precision: str | None = None,
    parallelism: str | None = None,
) -> Result:
    """Evaluate one decode iteration of *batch* sequences that each attend to *context* tokens, without a trace.

    The result's TPOT is the time of the iteration. Raises `InputError` where the batch's KV cache does not fit.
    """
    setup = _Setup.of(system, model, precision, parallelism)
    setup.placement.check_batch(batch, context)
    record = setup.costs.records[setup.costs.knot(Batch.of_decode(batch, context))]
    return result_of_step(setup.design, record, batch=batch, context=context)


def _arrivals(trace: Trace) -> Iterator[Arrival]:
    return (Arrival(r.arrival_ps, r.prompt_tokens, r.output_tokens) for r in trace)
