"""The chain for one system: system + model + traffic -> Result.

It joins the floors and adds nothing of its own: the plan of a batch is simulated by the step floor when the replay
first needs it, the replay serves the traffic on those costs, and the summary turns what is left into a `Result`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from archsim.economics.assess import Owned, assessed, assessed_as
from archsim.economics.spec import load_economics
from archsim.errors import CapacityError, InputError, Problem
from archsim.hardware.shelf import Shelf
from archsim.hardware.spec import SystemSpec
from archsim.mapping.search import candidates
from archsim.mapping.shares import split_evenly
from archsim.placed import Placed
from archsim.result import Result
from archsim.serve import saturated, serve
from archsim.serving.closed_loop import steady
from archsim.serving.saturation import SLICE_REQUESTS
from archsim.serving.speculation import pattern_of
from archsim.summary.assemble import result_of_replay, result_of_step
from archsim.summary.facts import Served
from archsim.traffic import Traffic, requests_of
from archsim.uncertainty.interval import with_interval
from archsim.workload.batch import Batch
from archsim.workload.closed_loop import ClosedLoop
from archsim.workload.model import Model
from archsim.workload.precision import Precision
from archsim.workload.statistics import mean_context
from archsim.workload.stream import Stream
from archsim.workload.trace import Trace

__all__ = ["AUTO", "SEARCH_BATCH", "Bench", "Options", "Progress", "Trial", "replay_on_system", "search_parallelism"]

Progress = Callable[[str, float], None]
"""Called with what is being done and the share of it that is done, 0 to 1."""

_KEY = "--parallel"
AUTO = "auto"
"""The parallelism that is searched."""
SEARCH_BATCH = 32
"""Sequences at which ways are compared where a trace is to be served."""


@dataclass(frozen=True, slots=True)
class Options:
    """What is asked of a replay beside design, model and traffic, each as `archsim.run` takes it."""

    precision: str | None
    parallelism: str | None
    seed: int
    slo_s: float | None
    progress: Progress | None

    def check(self, traffic: Traffic) -> None:
        """Raise `InputError` where a rate is to be searched of a closed loop, which has none."""
        if self.slo_s is not None and traffic.closed:
            expected = "an open trace: the rate of a closed loop is its own"
            raise InputError(Problem("", "--saturate", traffic.name, expected))

    def tell(self, stage: str, done: float) -> None:
        """Report that the share *done* of *stage* is done, where anybody wants to know."""
        if self.progress is not None:
            self.progress(stage, done)

    def counter(self, offered: int) -> Callable[[int, int], None]:
        """Return what a replay of *offered* requests calls with the requests done and the simulated picoseconds."""
        return lambda done, _simulated_ps: self.tell("replay", done / offered)


def replay_on_system(system: SystemSpec, model: Model, traffic: Traffic, options: Options) -> Result:
    """Return the result of serving *traffic* with *model* on *system*. Raises as `archsim.run` does."""
    options.check(traffic)
    requests = requests_of(traffic)
    if options.parallelism == AUTO:
        trials = search_parallelism(system, model, batch=SEARCH_BATCH, context=mean_context(requests),
                                    precision=options.precision, progress=options.progress)  # fmt: skip
        options = replace(options, parallelism=trials[0].parallelism)
    setup = Placed.of(system, model, options.precision, options.parallelism, trace=traffic)
    fleet = serve(setup, traffic, progress=options.counter(traffic.count))
    if not fleet.record.offered:
        raise InputError(Problem(requests.name, "", "", "at least one request"))
    setup.name_scopes()
    search = None
    if options.slo_s and isinstance(requests, Trace | Stream):
        options.tell("saturation", 0.0)
        search = saturated(setup, requests, options.slo_s)
    served = Served(
        record=fleet.record,
        steps=setup.costs.records,
        trace=requests,
        seed=options.seed,
        slo_s=options.slo_s,
        search=search,
        offered_per_search=min(SLICE_REQUESTS, traffic.count),
        replicas=fleet.replicas,
        counted=steady(fleet.record.requests, requests) if isinstance(requests, ClosedLoop) else None,
        scaling=fleet.scaling,
        limits=setup.limits,
    )
    result = with_interval(result_of_replay(setup.design, served), setup.spec)
    return assessed(result, setup.spec, load_economics())


class Bench:
    """A model placed on a system, to be asked for many single decode iterations: what they share is made once.

    *precision* and *parallelism* are as in `archsim.run`, but for `"auto"`; *trace* is what its server is set up for.
    Benches on one *shelf* share equal chips and networks. Raises `InputError` for what does not divide.
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
        """Evaluate one iteration as `archsim.evaluate_step` does, without *tables* if so wanted.

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
        bench = Bench(system, model, precision=str(bits), parallelism=str(ways))
        result = bench.step(batch=batch, context=context, tables=False)
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
