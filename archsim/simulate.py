"""What a user calls: a design, a model and traffic -> `Result`.

`archsim.run` and `archsim.evaluate_step` are these functions. A design is one system or several joined as pools; which
chain serves it (`archsim.single`, `archsim.pools`) is decided here and nowhere else.
"""

from __future__ import annotations

from archsim.economics.assess import assessed
from archsim.economics.spec import Economics
from archsim.errors import InputError, Problem
from archsim.hardware.library import load_system
from archsim.hardware.pools import Design, load_design, load_pools
from archsim.hardware.pools_spec import PoolSpec, PoolsSpec
from archsim.hardware.spec import SystemSpec
from archsim.pools import replay_on_pools
from archsim.result import Result
from archsim.single import AUTO, Bench, Options, Progress, replay_on_system, search_parallelism
from archsim.summary.costs import costs_of_pools
from archsim.traffic import Traffic
from archsim.workload.closed_loop import ClosedLoop
from archsim.workload.model import Model, load_model
from archsim.workload.stream import open_traffic
from archsim.workload.trace import load_trace

__all__ = [
    "ClosedLoop",
    "evaluate_step",
    "load_design",
    "load_model",
    "load_pools",
    "load_system",
    "load_trace",
    "open_traffic",
    "run",
    "with_prices",
]


def run(
    system: Design,
    model: Model,
    *,
    trace: Traffic,
    precision: str | None = None,
    parallelism: str | None = None,
    seed: int = 0,
    slo_s: float | None = None,
    progress: Progress | None = None,
) -> Result:
    """Replay *trace*, requests, a closed loop of users or decode iterations, with *model* on *system*, one or pools.

    *precision* is written as `"w8a16kv8"` (default: as published), *parallelism* as `"tp=8"` (default: `default_ways`),
    with `router=`, `experts=` and `pipeline=` where they matter, or as `"auto"`: the fastest of
    `search_parallelism` at the trace's mean context; pools state their own. With *slo_s*, a bound on the 99th
    percentile of TPOT in seconds, the highest rate that meets it is searched on a slice of the trace and reported as
    `saturation`. Latencies of a closed loop are those of its steady part. Raises `InputError` for what does not fit or
    divide, and for a *slo_s* of a closed loop, which has no rate; `SimulationError` where a check of the simulation
    fails.
    """
    options = Options(precision, parallelism, seed, slo_s, progress)
    if isinstance(system, SystemSpec):
        return replay_on_system(system, model, trace, options)
    _refuse_parallelism(system, parallelism)
    return replay_on_pools(system, model, trace, options)


def evaluate_step(
    system: Design,
    model: Model,
    *,
    batch: int,
    context: int,
    precision: str | None = None,
    parallelism: str | None = None,
) -> Result:
    """Evaluate one decode iteration of *batch* sequences that each attend to *context* tokens, without a trace.

    The result's TPOT is the time of the iteration; replicas have equal shares of the batch, the first ones one sequence
    more where it does not divide. Of pools it is that of a copy of the system that decodes. *parallelism* is as in
    `run`; `"auto"` is searched at this batch and context. Raises `InputError` where the batch's KV cache does not fit,
    and for pools that divide requests.
    """
    if not isinstance(system, SystemSpec):
        _refuse_parallelism(system, parallelism)
        pool = _decoding_pool(system, batch)
        system, parallelism = pool.system, pool.parallel
    if parallelism == AUTO:
        trials = search_parallelism(system, model, batch=batch, context=context, precision=precision)
        parallelism = trials[0].parallelism
    return Bench(system, model, precision=precision, parallelism=parallelism).step(batch=batch, context=context)


def with_prices(result: Result, design: Design, economics: Economics) -> Result:
    """Return *result* of *design* with its cost and carbon by *economics*."""
    if isinstance(design, SystemSpec):
        return assessed(result, design, economics)
    return costs_of_pools(result, design, economics)


def _decoding_pool(design: PoolsSpec, batch: int) -> PoolSpec:
    if not design.hands_over:
        systems = " or ".join(pool.system.name for pool in design.pools.values())
        expected = f"a trace: a single step runs on one system, {systems}"
        raise InputError(Problem(design.name, "--batch", str(batch), expected))
    return design.pools[design.main]


def _refuse_parallelism(design: PoolsSpec, parallelism: str | None) -> None:
    if parallelism is not None:
        first = next(iter(design.pools))
        what = "no search over pools" if parallelism == AUTO else "each pool's own"
        expected = f"{what}: --set {first}.parallel=tp=4"
        raise InputError(Problem(design.name, "--parallel", parallelism, expected))
