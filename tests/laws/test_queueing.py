"""Where the replay is a queue that has been solved, it gives the solution within its confidence interval."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from numpy.random import PCG64

from archsim.serving.replay import replay
from archsim.serving.requests import Arrival, Limits
from archsim.simulate import evaluate_step, load_model, load_system, run
from archsim.step.costs import StepCosts
from archsim.workload.closed_loop import ClosedLoop

REQUESTS = 20_000
SERVICE_PS = 10**9


def _uniforms(seed: int, count: int) -> npt.NDArray[np.float64]:
    words = PCG64(seed).random_raw(count)
    return (np.asarray(words, dtype=np.uint64) >> np.uint64(11)).astype(np.float64) / 2**53 + 2**-54


def _poisson_ps(seed: int, per_ps: float) -> list[int]:
    gaps = -np.log(_uniforms(seed, REQUESTS)) / per_ps
    return [int(at) for at in np.cumsum(gaps)]


def _interval(values: npt.NDArray[np.float64], batches: int = 40) -> tuple[float, float]:
    """Return mean and 3.3 standard errors of it (99.8 % of 39 degrees of freedom) by batch means, warm-up left out."""
    kept = values[len(values) // 20 :]
    means = np.array([part.mean() for part in np.array_split(kept, batches)])
    return float(means.mean()), 3.3 * float(means.std(ddof=1)) / math.sqrt(batches)


@pytest.mark.parametrize("load", [0.5, 0.8])
def test_one_server_with_equal_requests_waits_as_pollaczek_and_khinchine_say(load: float) -> None:
    """M/D/1: mean wait = load x service / (2 (1 - load))."""

    def step(_batch: Any) -> Any:
        return SimpleNamespace(time_ps=SERVICE_PS)

    arrivals = [Arrival(at, 8, 1) for at in _poisson_ps(7, load / SERVICE_PS)]
    table = replay(arrivals, StepCosts(step), limits=Limits(1, 64, 64, 16, 64)).requests
    waits = (table.finish_ps - table.arrival_ps - SERVICE_PS) / SERVICE_PS
    mean, half_width = _interval(waits)
    expected = load / (2 * (1 - load))
    assert half_width < 0.2 * expected
    assert abs(mean - expected) < half_width


def _erlang_c(servers: int, load: float) -> float:
    """Return the probability to wait, with *load* erlangs offered to *servers*."""
    terms = [load**n / math.factorial(n) for n in range(servers)]
    last = load**servers / math.factorial(servers) * servers / (servers - load)
    return last / (sum(terms) + last)


@pytest.mark.parametrize(("places", "load"), [(1, 0.6), (4, 0.8)])
def test_places_of_a_batch_that_do_not_slow_each_other_are_servers(places: int, load: float) -> None:
    """M/M/c: mean wait = Erlang's C / (c / service - arrivals); lengths of 100 tokens on average, geometric."""
    mean_tokens = 100
    token_ps = SERVICE_PS // mean_tokens

    def step(batch: Any) -> Any:
        return SimpleNamespace(time_ps=token_ps if batch.decode else 1)

    rate = load * places / SERVICE_PS
    drawn = np.ceil(np.log(_uniforms(11, REQUESTS)) / math.log(1 - 1 / mean_tokens)).astype(int)
    # The prefill yields the first token in no time; each of the others takes an iteration.
    arrivals = [Arrival(at, 1, 1 + int(n)) for at, n in zip(_poisson_ps(5, rate), drawn, strict=True)]
    limits = Limits(places, 64, 10**6, 16, 10**5)
    table = replay(arrivals, StepCosts(step), limits=limits).requests
    waits = (table.finish_ps - table.arrival_ps) / SERVICE_PS - drawn / mean_tokens
    mean, half_width = _interval(waits)
    expected = _erlang_c(places, load * places) / (places * (1 - load))
    # Whoever finds others decoding waits for the end of their iteration: at most one, half of one on average.
    assert abs(mean - expected) < half_width + 1 / mean_tokens
    assert half_width < 0.25 * expected


def test_one_request_at_a_time_takes_what_a_single_step_takes() -> None:
    """Two output tokens after 1,023 of prompt: TPOT is the step at 1,024 of context, to the picosecond."""
    system, model = load_system("gh200"), load_model("llama-3.1-8b")
    step = evaluate_step(system, model, batch=1, context=1024).latency_s.tpot.mean
    assert run(system, model, trace=ClosedLoop(1, 1023, 2, 3)).latency_s.tpot.mean == step
    # Over a long answer the contexts between are interpolated: the mean of both ends, to half a per cent.
    end = evaluate_step(system, model, batch=1, context=1024 + 400).latency_s.tpot.mean
    tpot = run(system, model, trace=ClosedLoop(1, 1023, 402, 2)).latency_s.tpot.mean
    assert step is not None
    assert end is not None
    assert tpot == pytest.approx((step + end) / 2, rel=0.005)
