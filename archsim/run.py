"""The chain itself: system + model + trace -> Result.

What Python users and every room above call. It joins the floors and adds nothing of its own: the plan of a batch is
simulated by the step floor when the replay first needs it, the replay serves the trace on those costs, and the summary
turns what is left into a `Result`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from archsim.economics.assess import Owned, assessed, assessed_as
from archsim.economics.spec import load_economics
from archsim.errors import CapacityError, InputError, Problem
from archsim.hardware.library import load_system
from archsim.hardware.shelf import Shelf
from archsim.hardware.spec import SystemSpec
from archsim.hardware.system import System
from archsim.mapping.default import default_ways
from archsim.mapping.placement import Placement, place
from archsim.mapping.replicas import Replica, replicas_of
from archsim.mapping.search import candidates
from archsim.mapping.sharding import Cut
from archsim.mapping.shares import split_evenly
from archsim.mapping.spread import Spread
from archsim.result import Result
from archsim.serving.closed_loop import replay_closed_loop, steady
from archsim.serving.configure import arrivals_of, check_names, techniques_of
from archsim.serving.drafts import blocks_beside, drafting_of
from archsim.serving.replay import replay
from archsim.serving.requests import Arrival, Limits
from archsim.serving.router import DEALT, Fleet, replay_fleet
from archsim.serving.saturation import SLICE_REQUESTS, Saturation, saturate
from archsim.serving.sessions import replay_sessions
from archsim.serving.speculation import pattern_of
from archsim.serving.techniques import Techniques
from archsim.step.costs import StepCosts
from archsim.step.drafting import Drafting
from archsim.step.pipeline import simulate_pipeline
from archsim.step.record import StepRecord
from archsim.step.simulate import simulate_step
from archsim.step.spares import with_spares
from archsim.step.stages import DRAINED
from archsim.summary.assemble import result_of_replay, result_of_step
from archsim.summary.facts import Design, Served
from archsim.uncertainty.interval import with_interval
from archsim.workload.batch import Batch
from archsim.workload.closed_loop import ClosedLoop
from archsim.workload.model import Model, load_model
from archsim.workload.precision import Precision
from archsim.workload.replication import load_experts
from archsim.workload.routing import UNIFORM
from archsim.workload.statistics import mean_context
from archsim.workload.trace import Trace, load_trace

__all__ = [
    "AUTO",
    "SEARCH_BATCH",
    "Bench",
    "ClosedLoop",
    "Shelf",
    "Trial",
    "evaluate_step",
    "load_model",
    "load_system",
    "load_trace",
    "mean_context",
    "run",
    "search_parallelism",
]

Progress = Callable[[str, float], None]
"""Called with what is being done and the share of it that is done, 0 to 1."""

_KEY = "--parallel"
AUTO = "auto"
"""The parallelism that is searched."""
SEARCH_BATCH = 32
"""Sequences at which ways are compared where a trace is to be served."""


@dataclass(frozen=True, slots=True)
class _Setup:
    """A model placed on a system, ready to be asked for iterations."""

    spec: SystemSpec
    model: Model
    precision: Precision
    spread: Spread
    placement: Placement
    cut: Cut
    system: System
    replicas: tuple[Replica, ...]
    """Empty where there is one."""
    techniques: Techniques
    """What the server does beyond batching."""
    drafting: Drafting | None
    """How tokens are guessed; None: they are not."""
    costs: StepCosts = field(init=False)

    def __post_init__(self) -> None:
        costs = StepCosts(self.simulate, bends=self.cut.bends, reach=self.model.reach)
        object.__setattr__(self, "costs", costs)

    @classmethod
    def of(
        cls,
        spec: SystemSpec,
        model: Model,
        precision: str | None,
        parallelism: str | None,
        *,
        trace: Trace | ClosedLoop | None = None,
        shelf: Shelf | None = None,
    ) -> _Setup:
        """Return the setup, or raise `InputError` for what does not divide, fit or exist."""
        bits = Precision.parse(precision) if precision is not None else Precision.of_model(model)
        spread = Spread.parse(parallelism, lambda: default_ways(model, bits, spec))
        check_names(spread, model, spec)
        sizes, system = spread.parallelism, System(spec, shelf)
        routing = load_experts(spread.experts or UNIFORM.name)
        placement = place(model, bits, spec, sizes, spare_experts=routing.spare)
        cut = Cut.of(model, bits, sizes, spec, routing=routing)
        replicas = tuple(replicas_of(sizes, system.network, spec.working_chips)) if sizes.replicas > 1 else ()
        techniques = techniques_of(spec, model, trace)
        drafting = drafting_of(cut, bits, system)
        return cls(spec, model, bits, spread, placement, cut, system, replicas, techniques, drafting)

    def simulate(self, batch: Batch) -> StepRecord:
        """Return the record of one iteration of *batch*, its guesses with it."""
        record = self.drafting.step(batch, self._alone) if self.drafting else self._alone(batch)
        # Replicas have equal scopes; a spare that stands by for all of them would be no one's.
        return record if self.replicas else with_spares(record, self.spec.idle_chips)

    def replayed(self, trace: Trace | ClosedLoop, *, progress: Callable[[int, int], None]) -> Fleet:
        """Return the record of serving *trace*."""
        if isinstance(trace, ClosedLoop):
            return self.serve_loop(trace, progress=progress)
        if trace.closed:
            return self.serve_sessions(trace, progress=progress)
        return self.serve(arrivals_of(trace), progress=progress)

    def _alone(self, batch: Batch) -> StepRecord:
        if self.spread.parallelism.pp > 1:
            schedule = self.spread.pipeline or self.spec.runtime.pipeline or DRAINED
            return simulate_pipeline(self.cut.pipeline(batch), self.system, schedule=schedule)
        return simulate_step(self.cut.plan(batch), self.system)

    def serve_loop(self, loop: ClosedLoop, *, progress: Callable[[int, int], None] | None = None) -> Fleet:
        """Return the record of serving *loop*, whose users are dealt to the replicas and stay."""
        if self.spread.router:
            expected = "no router for a closed loop: its users are dealt to the replicas and stay"
            raise InputError(Problem("", f"{_KEY} router", self.spread.router, expected))
        replicas = len(self.replicas) or 1
        return replay_closed_loop(
            loop, self.costs, limits=self.limits, replicas=replicas, policy=self.scheduler, progress=progress
        )

    def serve(self, arrivals: Iterator[Arrival], *, progress: Callable[[int, int], None] | None = None) -> Fleet:
        """Return the record of serving *arrivals*, and that of each replica where there are several."""
        if not self.replicas:
            record = replay(arrivals, self.costs, limits=self.limits, policy=self.scheduler, progress=progress)
            return Fleet(record, ())
        return replay_fleet(
            arrivals,
            self.costs,
            limits=self.limits,
            replicas=len(self.replicas),
            router=self.spread.router or DEALT,
            policy=self.scheduler,
            progress=progress,
        )

    def serve_sessions(self, trace: Trace, *, progress: Callable[[int, int], None] | None = None) -> Fleet:
        """Return the record of serving *trace*, some of whose requests wait for others."""
        if self.spread.router not in {"", "session_affinity", None}:
            expected = "session_affinity for a trace in a closed loop: sessions are dealt to the replicas and stay"
            raise InputError(Problem("", f"{_KEY} router", self.spread.router or "", expected))
        replicas = len(self.replicas) or 1
        return replay_sessions(
            trace, self.costs, limits=self.limits, replicas=replicas, policy=self.scheduler, progress=progress
        )

    def saturated(self, trace: Trace, slo_s: float) -> Saturation:
        """Return the highest rate of *trace* that meets *slo_s*."""
        return saturate(
            arrivals_of(trace),
            self.costs,
            limits=self.limits,
            slo_tpot_s=slo_s,
            policy=self.scheduler,
            serve=lambda a: self.serve(a).record,
        )

    @property
    def scheduler(self) -> str:
        """Who is served next."""
        return self.spec.runtime.scheduler

    @property
    def limits(self) -> Limits:
        """What the server holds and takes on at once."""
        runtime = self.spec.runtime
        return Limits(
            max_batch=runtime.max_batch,
            max_prefill_tokens=runtime.max_prefill_tokens,
            kv_blocks=blocks_beside(self.drafting, self.placement),
            block_tokens=runtime.kv_block_tokens,
            context_tokens=self.model.max_context,
            reach=self.model.reach,
            techniques=self.techniques,
        )

    @property
    def design(self) -> Design:
        """What the summary says about the setup."""
        return Design(
            self.spec, self.model, self.precision, self.spread.parallelism, self.placement, self.system, self.replicas,
            options=self.spread.options,
        )  # fmt: skip


def run(
    system: SystemSpec,
    model: Model,
    *,
    trace: Trace | ClosedLoop,
    precision: str | None = None,
    parallelism: str | None = None,
    seed: int = 0,
    slo_s: float | None = None,
    progress: Progress | None = None,
) -> Result:
    """Replay *trace*, recorded requests or a closed loop of users, with *model* on *system*.

    *precision* is written as `"w8a16kv8"` (default: as published), *parallelism* as `"tp=8"` (default: `default_ways`),
    with `router=`, `experts=` and `pipeline=` where they matter, or as `"auto"`: the fastest of
    `search_parallelism` at the trace's mean context. With *slo_s*, a bound on the 99th percentile of TPOT in seconds,
    the highest rate that meets it is searched on a slice of the trace and reported as `saturation`. Latencies of a
    closed loop are those of its steady part. Raises `InputError` for what does not fit or divide and for a *slo_s* of a
    closed loop, which has no rate; `SimulationError` where a check of the simulation fails.
    """
    if parallelism == AUTO:
        trials = search_parallelism(
            system, model, batch=SEARCH_BATCH, context=mean_context(trace), precision=precision, progress=progress
        )
        parallelism = trials[0].parallelism
    setup = _Setup.of(system, model, precision, parallelism, trace=trace)
    offered = trace.count

    def replayed(done: int, _simulated_ps: int) -> None:
        if progress is not None:
            progress("replay", done / offered)

    search = None
    if slo_s is not None and trace.closed:
        raise InputError(Problem("", "--saturate", trace.name, "an open trace: the rate of a closed loop is its own"))
    fleet = setup.replayed(trace, progress=replayed)
    if not fleet.record.completed + fleet.record.rejected:
        raise InputError(Problem(trace.name, "", "", "at least one request"))
    if not setup.costs.records:
        # Nothing was served, yet idle time is booked on scopes, which a simulated iteration names.
        setup.costs.knot(Batch.of_decode(1, 1))
    if slo_s and not isinstance(trace, ClosedLoop):
        if progress is not None:
            progress("saturation", 0.0)
        search = setup.saturated(trace, slo_s)
    served = Served(
        record=fleet.record,
        steps=setup.costs.records,
        trace=trace,
        seed=seed,
        slo_s=slo_s,
        search=search,
        offered_per_search=min(SLICE_REQUESTS, offered),
        replicas=fleet.replicas,
        counted=steady(fleet.record.requests, trace) if isinstance(trace, ClosedLoop) else None,
        limits=setup.limits,
    )
    result = with_interval(result_of_replay(setup.design, served), setup.spec)
    return assessed(result, setup.spec, load_economics())


class Bench:
    """A model placed on a system, to be asked for many single decode iterations: what they share is made once.

    *precision* and *parallelism* are as in `run`, but for `"auto"`; *trace* is what its server is set up for. Benches
    on one *shelf* share equal chips and networks. Raises `InputError` for what does not divide.
    """

    def __init__(
        self,
        system: SystemSpec,
        model: Model,
        *,
        precision: str | None = None,
        parallelism: str | None = None,
        trace: Trace | ClosedLoop | None = None,
        shelf: Shelf | None = None,
    ) -> None:
        self.setup = _Setup.of(system, model, precision, parallelism, trace=trace, shelf=shelf)
        self._design = self.setup.design
        self._owned = Owned.of(system, load_economics())

    def step(self, *, batch: int, context: int, tables: bool = True) -> Result:
        """Evaluate one iteration as `evaluate_step` does, without *tables* if so wanted.

        Raises `InputError` where the batch does not fit.
        """
        setup, model = self.setup, self.setup.model
        if context > model.max_context:
            expected = f"at most {model.max_context:,} tokens, the context of {model.name}"
            raise InputError(Problem("", "--context", str(context), expected))
        shares = split_evenly(batch, len(setup.replicas) or 1)
        setup.placement.check_batch(shares[0], context)
        steps = [setup.simulate(Batch.of_decode(share, context)) for share in dict.fromkeys(filter(None, shares))]
        pattern = pattern_of(setup.techniques)
        result = result_of_step(self._design, steps, shares, context=context, tables=tables, pattern=pattern)
        return assessed_as(with_interval(result, setup.spec), self._owned)


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

    The result's TPOT is the time of the iteration; replicas have equal shares of the batch, the first ones one sequence
    more where it does not divide. *parallelism* is as in `run`; `"auto"` is searched at this batch and context. Raises
    `InputError` where the batch's KV cache does not fit.
    """
    if parallelism == AUTO:
        trials = search_parallelism(system, model, batch=batch, context=context, precision=precision)
        parallelism = trials[0].parallelism
    return Bench(system, model, precision=precision, parallelism=parallelism).step(batch=batch, context=context)


@dataclass(frozen=True, slots=True)
class Trial:
    """One way of spreading a model over a system, as it was found in a search."""

    parallelism: str
    """As `--parallel` reads it."""
    missing_bytes_per_chip: int
    """What the fullest chip lacks to hold the batch; negative: it has left. Where it lacks any, the rest is None."""
    tpot_s: float | None = None
    """Time of the iteration."""
    output_tokens_per_s: float | None = None
    mbu: float | None = None


def search_parallelism(
    system: SystemSpec,
    model: Model,
    *,
    batch: int,
    context: int,
    precision: str | None = None,
    progress: Progress | None = None,
) -> list[Trial]:
    """Return every way that divides *model* and fills *system*: by tokens per second, those that do not fit last.

    Each is evaluated at one decode iteration of *batch* sequences of *context* tokens. Raises `InputError` where none
    can serve them.
    """
    bits = Precision.parse(precision) if precision is not None else Precision.of_model(model)
    found = candidates(model, bits, system)
    trials = []
    for number, (ways, placement) in enumerate(found):
        if progress is not None:
            progress("search", number / len(found))
        missing = placement.missing_bytes_per_chip(placement.blocks_for(-(-batch // ways.replicas), context))
        if missing > 0:
            trials.append(Trial(str(ways), missing))
            continue
        result = evaluate_step(system, model, batch=batch, context=context, precision=str(bits), parallelism=str(ways))
        rate = result.throughput.output_tokens_per_s
        trials.append(Trial(str(ways), missing, result.latency_s.tpot.mean, rate, result.mbu))
    # Of equals the one found first wins: the sort is stable.
    trials.sort(key=lambda trial: (-(trial.output_tokens_per_s or 0.0), trial.missing_bytes_per_chip))
    if not trials:
        expected = f"a number of chips into which {model.name} divides"
        raise InputError(Problem(system.name, "chips", str(system.chips), expected))
    if trials[0].tpot_s is None:
        wanted = f"{batch} sequences of {context} tokens of {model.name}"
        lacking = f"at least {trials[0].missing_bytes_per_chip:,} bytes are missing on each chip"
        expected = f"a batch that fits in some way: {lacking} ({trials[0].parallelism})"
        raise CapacityError(Problem(system.name, f"{_KEY} {AUTO}", wanted, expected))
    return trials
