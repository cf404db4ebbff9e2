"""Logged routes of real tokens: what the reader finds is what the recordings' README states, and what laws miss."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from archsim.hardware.library import load_system
from archsim.hardware.system import System
from archsim.mapping.parallelism import Parallelism
from archsim.mapping.sharding import Cut
from archsim.step.simulate import simulate_step
from archsim.workload.batch import Batch
from archsim.workload.model import Model, load_model
from archsim.workload.operators import distinct_experts
from archsim.workload.precision import Precision
from archsim.workload.routing import Logged, Routing, load_routing

LOGS = {
    "law": (8327, {4: 19.8, 8: 32.2, 16: 46.0, 32: 56.6, 64: 62.0, 128: 63.6}, 3.5),
    "intent": (8222, {4: 19.3, 8: 30.2, 16: 42.5, 32: 52.9, 64: 59.2, 128: 62.1}, 3.8),
}
"""Tokens; distinct experts a layer of batches drawn across sequences; share of the hottest expert over the fair one."""


def log_of(shared: Path, name: str) -> Logged:
    """Return a recording."""
    found: Routing = load_routing(str(shared / "traces" / "moe_routing" / f"dsv2lite_{name}.csv.gz"))
    assert isinstance(found, Logged)
    return found


def model_of(log: Logged) -> Model:
    """Return a model with as many experts as the recorded one and as many layers as are logged."""
    return replace(load_model("qwen3-30b-a3b"), experts=64, experts_per_token=6, layers=log.layers)


@pytest.mark.parametrize("name", LOGS)
def test_a_recording_has_the_tokens_and_the_hot_experts_that_are_stated(shared: Path, name: str) -> None:
    """26 layers, six experts a token; the hottest expert of a layer takes 3.5 or 3.8 times its fair share."""
    tokens, _, hottest = LOGS[name]
    log = log_of(shared, name)
    assert (log.layers, log.per_token, log.highest) == (26, 6, 63)
    assert {len(layer) for layer in log.routes} == {tokens}
    counts = [Counter(expert for token in layer for expert in token) for layer in log.routes]
    mean = sum(max(count.values()) * 64 / (6 * tokens) for count in counts) / len(counts)
    assert mean == pytest.approx(hottest, rel=0.03)


@pytest.mark.parametrize("name", LOGS)
def test_batches_touch_as_many_experts_as_measured_and_fewer_than_uniform(shared: Path, name: str) -> None:
    """A batch spread over the log touches the stated number within 4 %; uniform routing overstates it at 8 to 32."""
    log = log_of(shared, name)
    model = model_of(log)
    for batch, stated in LOGS[name][1].items():
        touched = [float(log.loads(model, batch, layer=layer, ranks=1)[0].touched) for layer in range(log.layers)]
        mean = sum(touched) / len(touched)
        assert mean == pytest.approx(stated, rel=0.04)
        if 8 <= batch <= 32:
            assert distinct_experts(model, batch) / 1024 > 1.03 * mean


def test_recorded_routes_make_ranks_unequal_in_every_layer(shared: Path) -> None:
    """Eight ranks of eight experts: nothing folds, no layer repeats, ranks wait for the hottest, and books balance."""
    log = log_of(shared, "law")
    model, system = model_of(log), load_system("h100-sxm8")
    cut = Cut.of(model, Precision.parse("w16a16kv16"), Parallelism.parse("ep=8"), system, routing=log)
    plan = cut.plan(Batch.of_decode(64, 500))
    assert not plan.identical_ranks
    assert len(plan.segments) == log.layers + 2
    record = simulate_step(plan, System(system))
    bubbles = [record.books[f"chip{chip}.hbm"].get("bubble", 0.0) for chip in range(8)]
    assert min(bubbles) > 0
    even = simulate_step(
        Cut.of(model, Precision.parse("w16a16kv16"), Parallelism.parse("ep=8"), system).plan(Batch.of_decode(64, 500)),
        System(system),
    )
    assert all("bubble" not in accounts for accounts in even.books.values())
