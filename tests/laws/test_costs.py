"""Laws of interpolated step costs: exact additivity, the knots themselves, and the error against simulating all."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from archsim.hardware.library import load_system
from archsim.hardware.system import System
from archsim.mapping.parallelism import Parallelism
from archsim.mapping.sharding import plan_iteration
from archsim.serving.chunks import Chunks
from archsim.step.costs import FINE_BITS, Mixture, StepCosts
from archsim.step.record import StepRecord
from archsim.step.simulate import simulate_step
from archsim.workload.batch import Batch
from archsim.workload.model import load_model
from archsim.workload.precision import Precision

LAWS = settings(max_examples=150, deadline=None, derandomize=True, database=None)
ONE = 1 << FINE_BITS
LARGEST_ERROR = 0.005


def crooked(batch: Batch) -> StepRecord:
    """Return a record whose time is no smooth function of the batch, so that any slip in the weights shows."""
    seed = (batch.decode * 7919 + batch.kv_tokens * 104729 + batch.prefill_tokens * 31 + batch.prefill_pairs) % 99991
    return StepRecord(batch.phase, 10**9 + seed * 1001, (), {}, (), (), 0, 1)


def checked(costs: StepCosts, mixture: Mixture, iterations: int) -> int:
    """Return the time of *mixture* after checking that its weights are those of *iterations* and give that time."""
    assert sum(weight for _, weight in mixture.knots) == iterations * ONE
    assert all(weight >= 0 for _, weight in mixture.knots)
    assert mixture.time_fine == sum(costs.records[knot].time_ps * weight for knot, weight in mixture.knots)
    return mixture.time_fine


@LAWS
@given(batch=st.integers(1, 700), beyond=st.integers(0, 10**6), first=st.integers(1, 500), second=st.integers(1, 500))
def test_a_run_costs_the_sum_of_its_parts(batch: int, beyond: int, first: int, second: int) -> None:
    """decode(n + m) = decode(n) + the m that follow, exactly, in time and in every knot's weight."""
    costs, context = StepCosts(crooked), batch + beyond
    whole, head = costs.decode(batch, context, first + second), costs.decode(batch, context, first)
    tail = costs.decode(batch, context + first * batch, second)
    assert checked(costs, whole, first + second) == checked(costs, head, first) + checked(costs, tail, second)
    parts: dict[int, int] = {}
    for knot, weight in head.knots + tail.knots:
        parts[knot] = parts.get(knot, 0) + weight
    assert {knot: weight for knot, weight in whole.knots if weight} == {k: w for k, w in parts.items() if w}


@LAWS
@given(batch=st.integers(1, 300), beyond=st.integers(0, 10**5), limit=st.integers(1, 10**12), most=st.integers(1, 3000))
def test_the_fewest_steps_that_reach_a_limit(batch: int, beyond: int, limit: int, most: int) -> None:
    """`decode_steps_until` returns the first n whose time reaches the limit, or the most allowed."""
    costs, context, limit_fine = StepCosts(crooked), batch + beyond, limit << FINE_BITS
    steps = costs.decode_steps_until(batch, context, limit_fine, most)
    assert 1 <= steps <= most
    if steps > 1:
        assert costs.decode(batch, context, steps - 1).time_fine < limit_fine
    if steps < most:
        assert costs.decode(batch, context, steps).time_fine >= limit_fine


@LAWS
@given(tokens=st.integers(1, 200_000), share=st.floats(0, 1))
def test_prefill_weights_are_those_of_one_iteration(tokens: int, share: float) -> None:
    """The knots around a prefill weigh one iteration together."""
    costs = StepCosts(crooked)
    pairs = tokens + int(share * (tokens * (tokens - 1) // 2))
    assert checked(costs, costs.prefill(1, tokens, pairs, tokens), 1) > 0


@LAWS
@given(
    decode=st.integers(0, 300), context=st.integers(1, 9000), tokens=st.integers(1, 9000), cached=st.integers(0, 9000)
)
def test_mixed_weights_are_those_of_one_iteration(decode: int, context: int, tokens: int, cached: int) -> None:
    """The knots around a chunk beside decoding sequences weigh one iteration together, and so does a chunk alone."""
    costs = StepCosts(crooked)
    pairs = tokens * cached + tokens * (tokens + 1) // 2
    chunks = Chunks(1, tokens, pairs, cached + tokens, [])
    assert checked(costs, costs.mixed(decode, decode * context, chunks), 1) > 0


def test_mixed_iterations_are_within_two_percent_of_simulating_each() -> None:
    """Chunks of 50 to 5,000 tokens behind up to 4,000 others, beside 3 to 170 sequences that decode."""
    spec, model = load_system("h100-sxm8"), load_model("llama-3.1-70b")
    ways, precision, parts = Parallelism.default(spec), Precision.of_model(model), System(spec)

    def simulate(batch: Batch) -> StepRecord:
        return simulate_step(plan_iteration(model, precision, ways, spec, batch), parts)

    costs = StepCosts(simulate)
    for decode, context, tokens, cached in ((3, 900, 50, 0), (23, 2100, 700, 4000), (170, 600, 5000, 0)):
        chunk = Batch.of_prefill(tokens, cached=cached)
        expected = simulate(Batch.of_decode(decode, context) + chunk).time_ps
        chunks = Chunks(1, tokens, chunk.prefill_pairs, chunk.prefill_kv_tokens, [])
        found = costs.mixed(decode, decode * context, chunks).time_fine / ONE
        assert abs(found / expected - 1) <= 4 * LARGEST_ERROR, (decode, tokens)


def test_knots_are_exact() -> None:
    """On a knot the mixture is the simulated iteration itself."""
    costs = StepCosts(crooked)
    for batch, context in ((7, 448), (16, 4096), (24, 8192)):
        exact = crooked(Batch(decode=batch, kv_tokens=context)).time_ps
        assert costs.decode(batch, context, 1).time_fine == exact << FINE_BITS


@pytest.mark.parametrize("name", ["h100-sxm8", "tpu-v6e-8", "mi300x-8"])
def test_interpolation_is_within_half_a_percent_of_simulating_every_iteration(name: str) -> None:
    """Decode from batch 1 to 400 and prefill from 20 to 9,000 tokens, equal and skewed prompts alike."""
    spec, model = load_system(name), load_model("llama-3.1-70b")
    ways, precision, parts = Parallelism.default(spec), Precision.of_model(model), System(load_system(name))

    def simulate(batch: Batch) -> StepRecord:
        return simulate_step(plan_iteration(model, precision, ways, spec, batch), parts)

    costs = StepCosts(simulate)
    for batch in (1, 5, 17, 35, 77, 133, 399):
        for context in (60, 777, 5001):
            expected = simulate(Batch.of_decode(batch, context)).time_ps
            found = costs.decode(batch, batch * context, 1).time_fine / ONE
            assert abs(found / expected - 1) <= LARGEST_ERROR, (batch, context)
    skewed = Batch.of_prefill(3000) + Batch.of_prefill(40, sequences=9)
    prompts = [Batch.of_prefill(tokens) for tokens in (20, 133, 333, 1020, 4141, 9001)]
    for prompt in (*prompts, Batch.of_prefill(307, sequences=13), skewed):
        expected = simulate(prompt).time_ps
        asked = (prompt.prefill_sequences, prompt.prefill_tokens, prompt.prefill_pairs, prompt.prefill_kv_tokens)
        assert abs(costs.prefill(*asked).time_fine / ONE / expected - 1) <= LARGEST_ERROR, prompt
