"""The chain itself: system + model + trace -> Result.

What Python users and every room above call. It joins the floors and adds nothing of its own: the plan of a batch is
simulated by the step floor when the replay first needs it, the replay serves the trace on those costs, and the summary
turns what is left into a `Result`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from archsim.economics.assess import Owned, assessed, assessed_as
from archsim.economics.spec import load_economics
from archsim.errors import CapacityError, InputError, Problem
from archsim.hardware.library import load_system
from archsim.hardware.shelf import Shelf
from archsim.hardware.spec import SystemSpec
from archsim.mapping.search import candidates
from archsim.mapping.shares import split_evenly
from archsim.placed import Checkpointed, Placed, Recorded, Traffic
from archsim.result import Result
from archsim.serving.checkpoint import Wanted
from archsim.serving.closed_loop import steady
from archsim.serving.saturation import SLICE_REQUESTS
from archsim.serving.speculation import pattern_of
from archsim.summary.assemble import result_of_replay, result_of_step
from archsim.summary.facts import Served
from archsim.uncertainty.interval import with_interval
from archsim.workload.batch import Batch
from archsim.workload.closed_loop import ClosedLoop
from archsim.workload.model import Model, load_model
from archsim.workload.precision import Precision
from archsim.workload.statistics import mean_context
from archsim.workload.stream import Stream, open_traffic
from archsim.workload.trace import Trace, load_trace

__all__ = [
    "AUTO",
    "SEARCH_BATCH",
    "Bench",
    "Checkpointed",
    "ClosedLoop",
    "Progress",
    "Recorded",
    "Shelf",
    "Traffic",
    "Trial",
    "Wanted",
    "evaluate_step",
    "load_model",
    "load_system",
    "load_trace",
    "mean_context",
    "open_traffic",
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


def run(
    system: SystemSpec,
    model: Model,
    *,
    trace: Traffic,
    precision: str | None = None,
    parallelism: str | None = None,
    seed: int = 0,
    slo_s: float | None = None,
    progress: Progress | None = None,
) -> Result:
    """Replay *trace*, requests, a closed loop of users or decode iterations, with *model* on *system*.

    *precision* is written as `"w8a16kv8"` (default: as published), *parallelism* as `"tp=8"` (default: `default_ways`),
    with `router=`, `experts=` and `pipeline=` where they matter, or as `"auto"`: the fastest of
    `search_parallelism` at the trace's mean context. With *slo_s*, a bound on the 99th percentile of TPOT in seconds,
    the highest rate that meets it is searched on a slice of the trace and reported as `saturation`. Latencies of a
    closed loop are those of its steady part. Raises `InputError` for what does not fit or divide and for a *slo_s* of a
    closed loop, which has no rate; `SimulationError` where a check of the simulation fails.
    """
    if parallelism == AUTO:
        context = mean_context(trace.traffic if isinstance(trace, Recorded | Checkpointed) else trace)
        trials = search_parallelism(
            system, model, batch=SEARCH_BATCH, context=context, precision=precision, progress=progress
        )
        parallelism = trials[0].parallelism
    setup = Placed.of(system, model, precision, parallelism, trace=trace)
    offered = trace.count

    def replayed(done: int, _simulated_ps: int) -> None:
        if progress is not None:
            progress("replay", done / offered)

    search = None
    if slo_s is not None and trace.closed:
        raise InputError(Problem("", "--saturate", trace.name, "an open trace: the rate of a closed loop is its own"))
    fleet = setup.replayed(trace, progress=replayed)
    if isinstance(trace, Recorded | Checkpointed):
        trace = trace.traffic
    if not fleet.record.completed + fleet.record.rejected:
        raise InputError(Problem(trace.name, "", "", "at least one request"))
    if not setup.costs.records:
        # Nothing was served, yet idle time is booked on scopes, which a simulated iteration names.
        setup.costs.knot(Batch.of_decode(1, 1))
    if slo_s and isinstance(trace, Trace | Stream):
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
        scaling=fleet.scaling,
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
        trace: Traffic | None = None,
        shelf: Shelf | None = None,
    ) -> None:
        self.setup = Placed.of(system, model, precision, parallelism, trace=trace, shelf=shelf)
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
