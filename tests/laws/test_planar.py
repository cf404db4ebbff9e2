"""Matrices cut by both dimensions: amounts are conserved, exchanges fall as they should, one rank needs none."""

from __future__ import annotations

import math
from dataclasses import replace
from fractions import Fraction

import pytest

from archsim.errors import InputError
from archsim.hardware.library import load_system
from archsim.mapping.parallelism import Parallelism
from archsim.mapping.placement import place
from archsim.mapping.plan import Plan, Task
from archsim.mapping.sharding import Cut
from archsim.network.collectives import collective_facts
from archsim.network.timing import algorithm_facts, schedule_of
from archsim.network.topology import Network, build_network
from archsim.units import PS_PER_S
from archsim.workload.batch import Batch
from archsim.workload.model import load_model
from archsim.workload.precision import Precision

W16 = Precision.parse("w16a16kv16")
TPU = load_system("tpu-v4-64")
PALM = replace(load_model("palm-540b"), heads=64)
PLANAR = Parallelism.parse("tp=64,layout=2d")
RATE, HOP_PS = 45 * 10**9, 1_000_000


def plan_of(batch: Batch, ways: Parallelism = PLANAR) -> Plan:
    """Return the plan of PaLM-540B with 64 heads on 64 chips."""
    return Cut.of(PALM, W16, ways, TPU).plan(batch)


def layer(plan: Plan) -> tuple[Task, ...]:
    """Return the tasks of a layer."""
    return plan.segments[1].tasks


def torus() -> Network:
    """Return 4 x 4 x 4 chips."""
    return build_network("torus", 64, link_bytes_per_s=RATE, link_latency_ps=HOP_PS, shape=(4, 4, 4))


@pytest.mark.parametrize("members", [range(64), range(0, 64, 4), range(4)], ids=["cube", "plane", "line"])
def test_a_torus_gathers_at_the_rate_of_all_its_links(members: range) -> None:
    """(N-1)/N of the tensor over 2 D links a chip; 2 steps an axis of four; every used link carries as much."""
    made, size, axes = torus(), 64 * 10**6, round(math.log(len(members), 4))
    facts = collective_facts(
        made, kind="all_gather", ranks=tuple(members), bytes=size, algorithm="torus", software_ps=0
    )
    lower = Fraction(size * (len(members) - 1), len(members) * 2 * axes * RATE) * PS_PER_S
    assert lower <= facts.duration_ps <= lower * Fraction(102, 100) + 2 * axes * HOP_PS
    assert len({carried for carried in facts.link_bytes if carried}) == 1
    assert sum(carried > 0 for carried in facts.link_bytes) == len(members) * 2 * axes


@pytest.mark.parametrize("shape", [(8,), (2, 4), (3, 5), (2, 2, 3)], ids=str)
def test_every_rank_of_any_torus_receives_all_shards_but_its_own(shape: tuple[int, ...]) -> None:
    """An all-gather brings (N-1) shards to each; reduce-scatter is as long, an all-reduce both."""
    chips = math.prod(shape)
    made = build_network("torus", chips, link_bytes_per_s=RATE, link_latency_ps=HOP_PS, shape=shape)
    size = 60 * 8 * chips
    times = {}
    for kind in ("all_gather", "reduce_scatter", "all_reduce"):
        schedule = schedule_of(made, kind, tuple(range(chips)), size=size, algorithm="torus")
        facts = algorithm_facts(made, schedule, members=tuple(range(chips)), algorithm="torus", software_ps=0)
        times[kind] = facts.duration_ps
        assert facts.received_bytes == size * (chips - 1) // chips * (2 if kind == "all_reduce" else 1)
    assert times["all_reduce"] <= times["all_gather"] + times["reduce_scatter"]


def test_chips_that_fill_no_box_take_a_ring() -> None:
    """Three corners of a torus have no closed line in common."""
    made = torus()
    ring, bent = (schedule_of(made, "all_gather", (0, 1, 4), size=900, algorithm=name) for name in ("ring", "torus"))
    assert bent == ring


@pytest.mark.parametrize(
    "batch", [Batch.of_decode(64, 2048), Batch.of_prefill(2048), Batch.of_prefill(64, sequences=128)], ids=str
)
def test_all_ranks_together_do_the_model_s_work(batch: Batch) -> None:
    """64 equal ranks: FLOPs are those of the model once, useful weights too; no key is read twice at 64 sequences."""
    for one, other in zip(layer(plan_of(batch)), layer(plan_of(batch)), strict=True):
        assert one == other
    ways = Parallelism(64)
    flat = {task.name: task for task in layer(plan_of(batch, ways)) if task.collective is None}
    flops = sum(task.matrix_flops - task.replica_flops for task in flat.values())
    planar = [task for task in layer(plan_of(batch)) if task.collective is None]
    assert sum(task.matrix_flops for task in planar) == pytest.approx(flops, rel=1e-9)
    for tensor in ("weights", "kv_read"):
        wanted, found = (
            sum(t.useful_bytes for task in tasks for t in task.transfers if t.tensor == tensor)
            for tasks in (flat.values(), planar)
        )
        assert found == pytest.approx(wanted, rel=1e-3, abs=64)


def test_keys_are_dealt_out_by_sequences() -> None:
    """One KV head, 64 ranks: at 64 sequences each reads one's keys; at one sequence all read them all."""
    heads = Parallelism(64)
    for sequences, share in ((64, 64), (128, 64), (1, 1), (16, 16)):
        batch = Batch.of_decode(sequences, 2048)
        read, whole = (
            sum(t.bytes for task in layer(plan_of(batch, ways)) for t in task.transfers if t.tensor == "kv_read")
            for ways in (PLANAR, heads)
        )
        assert read == whole // share
    rooms = [place(PALM, Precision.parse("w8a16kv16"), TPU, ways) for ways in (PLANAR, heads)]
    assert rooms[0].kv_tokens > 32 * rooms[1].kv_tokens


def test_exchanges_fall_with_the_root_of_the_ranks() -> None:
    """From 16 to 64 ranks a token's exchanges over one axis halve: E/x + F x/n at the best x is 2 sqrt(E F / n)."""
    from archsim.mapping.planar import _exchanged_elements, hidden_ways  # noqa: PLC0415 - the closed form itself

    assert hidden_ways(PALM, PLANAR, TPU) == 4
    few, many = (
        min(_exchanged_elements(PALM, 2**power, n) for power in range(7) if 2**power <= n) for n in (256, 1024)
    )
    assert many == pytest.approx(few / 2, rel=0.05)


def test_long_prefills_of_many_sequences_gather_weights() -> None:
    """512 prompts of 2,048 tokens gather them; one prompt, or one token of each, moves activations."""
    for batch, gathers in (
        (Batch.of_prefill(2048, sequences=512), True),
        (Batch.of_prefill(2048), False),
        (Batch.of_decode(512, 2048), False),
    ):
        kinds = {task.name for task in layer(plan_of(batch)) if task.collective}
        assert ("gate_up_weights" in kinds) == gathers
        assert ("layer_reduce_scatter" in kinds) != gathers


def test_one_chip_has_nothing_to_lay_out() -> None:
    """A plane of one rank is that rank."""
    system, model = load_system("h100-sxm8", ["chips=1"]), load_model("llama-3.1-8b")
    for batch in (Batch.of_decode(3, 100), Batch.of_prefill(77)):
        one, plane = (Cut.of(model, W16, Parallelism(1, layout=layout), system).plan(batch) for layout in ("1d", "2d"))
        assert one == plane


@pytest.mark.parametrize(("model", "ways"), [("qwen3-30b-a3b", "tp=8"), ("llama-3.1-8b", "tp=4,cp=2")])
def test_what_is_not_known_in_a_plane_is_refused(model: str, ways: str) -> None:
    """Experts and context ranks are cut by one dimension."""
    with pytest.raises(InputError, match="layout"):
        Cut.of(load_model(model), W16, Parallelism.parse(f"{ways},layout=2d"), load_system("h100-sxm8"))
