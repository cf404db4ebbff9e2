"""Any product of ways: bytes and FLOPs are conserved, ledgers balance, no way beats the memory, places do not count."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable

import pytest

from archsim.hardware.library import load_system
from archsim.hardware.system import System
from archsim.mapping.default import default_ways
from archsim.mapping.parallelism import Parallelism
from archsim.mapping.plan import Plan, unrolled
from archsim.mapping.sharding import Cut
from archsim.mapping.shares import split_batch
from archsim.metrics.accounts import USEFUL
from archsim.step.pipeline import simulate_pipeline
from archsim.step.record import StepRecord
from archsim.step.simulate import simulate_step
from archsim.units import PS_PER_S
from archsim.workload.batch import Batch
from archsim.workload.model import load_model
from archsim.workload.precision import Precision
from archsim.workload.routing import UNIFORM, Zipf

W16 = Precision.parse("w16a16kv16")
H100 = load_system("h100-sxm8")
PARTS = System(H100)
DENSE, EXPERTS = load_model("llama-3.1-8b"), load_model("qwen3-30b-a3b")
BATCHES = {
    "decode": Batch.of_decode(13, 777),
    "prefill": Batch.of_prefill(300, sequences=3),
    "mixed": Batch.of_decode(5, 64) + Batch.of_prefill(17),
}
DENSE_WAYS = (
    "tp=8",
    "tp=8,layout=2d",
    "tp=4,pp=2,layout=2d",
    "tp=4,pp=2",
    "tp=4,dp=2",
    "tp=4,cp=2",
    "tp=2,pp=2,cp=2",
    "pp=8",
    "cp=8",
    "dp=8",
    "tp=2,pp=2,dp=2",
)
EXPERT_WAYS = (
    "tp=8", "ep=8", "tp=2,ep=8", "tp=8,ep=8", "ep=4,pp=2", "tp=2,ep=4,dp=4", "ep=2,pp=2,dp=4",
    "cp=2,ep=8", "tp=2,cp=2,ep=8", "tp=2,cp=2,ep=4,dp=2", "tp=8,ep=4", "tp=2,cp=4,ep=2", "tp=2,cp=2,ep=2,pp=2",
)  # fmt: skip


def cut(text: str, *, exponent: float | None = None) -> Cut:
    """Return the cut of a model with experts, where *text* has any, or of the dense one."""
    routing = UNIFORM if exponent is None else Zipf(exponent)
    return Cut.of(EXPERTS if "ep" in text else DENSE, W16, Parallelism.parse(text), H100, routing=routing)


def amounts(plans: Iterable[Plan]) -> Counter[str]:
    """Return useful bytes by tensor and direction, and useful matrix FLOPs, over all ranks of *plans*."""
    total: Counter[str] = Counter()
    for plan in plans:
        for rank in range(plan.ranks):
            for segment in plan.of_rank(rank):
                for task in segment.tasks:
                    total["flops"] += segment.repeats * (task.matrix_flops - task.replica_flops)
                    for transfer in task.transfers:
                        if transfer.tensor != "activations":
                            total[f"{transfer.tensor} {transfer.write}"] += segment.repeats * transfer.useful_bytes
    return total


def record_of(a_cut: Cut, batch: Batch) -> StepRecord:
    """Return one iteration of the first replica."""
    if a_cut.ways.pp > 1:
        return simulate_pipeline(a_cut.pipeline(batch), PARTS)
    return simulate_step(a_cut.plan(batch), PARTS)


@pytest.mark.parametrize("phase", BATCHES)
@pytest.mark.parametrize("text", DENSE_WAYS)
def test_all_ranks_together_need_what_the_model_needs(text: str, phase: str) -> None:
    """Weights, KV and FLOPs over ranks and stages are those of one chip, to less than one byte a task and rank."""
    batch = BATCHES[phase]
    one = H100.model_copy(update={"chips": 1})
    alone = amounts([Cut.of(DENSE, W16, Parallelism(1), one).plan(batch)])
    a_cut = cut(text)
    spread = amounts(a_cut.plan(batch, stage=stage) for stage in range(a_cut.ways.pp))
    assert spread.keys() == alone.keys()
    for key, whole in alone.items():
        assert 0 <= whole - spread[key] < 16 * DENSE.layers * a_cut.ways.chips


@pytest.mark.parametrize("exponent", [None, 1.2])
@pytest.mark.parametrize("phase", BATCHES)
@pytest.mark.parametrize("text", [text for text in EXPERT_WAYS if "ep" in text])
def test_expert_ranks_together_need_their_groups_and_the_tokens_experts(
    text: str, phase: str, exponent: float | None
) -> None:
    """FLOPs and KV are the whole batch's, KV by group; weights are every group's own plus the experts touched once."""
    batch, a_cut = BATCHES[phase], cut(text, exponent=exponent)
    spread = amounts(a_cut.plan(batch, stage=stage) for stage in range(a_cut.ways.pp))
    one = Cut.of(EXPERTS, W16, Parallelism(1), H100.model_copy(update={"chips": 1}))
    alone = amounts([one.plan(batch)])
    slack = 64 * EXPERTS.layers * a_cut.ways.chips
    for key in alone.keys() - {"weights False"}:
        assert 0 <= alone[key] - spread[key] < slack
    (load,) = a_cut.routing.loads(EXPERTS, batch.tokens, layer=0, ranks=1)
    (uniform,) = UNIFORM.loads(EXPERTS, batch.tokens, layer=0, ranks=1)
    expert = 2 * 3 * EXPERTS.hidden * EXPERTS.intermediate
    groups = [part for part in split_batch(batch, a_cut.ways.groups) if part is not None]
    dense = 0.0
    for group in groups:
        (own,) = UNIFORM.loads(EXPERTS, group.tokens, layer=0, ranks=1)
        dense += amounts([one.plan(group)])["weights False"] - float(EXPERTS.layers * own.touched * expert)
    expected = dense + float(EXPERTS.layers * load.touched * expert)
    assert spread["weights False"] == pytest.approx(expected, rel=1e-6)
    assert load.touched <= uniform.touched


@pytest.mark.parametrize("batch", [Batch.of_decode(64, 2000), Batch.of_decode(13, 777), Batch.of_prefill(40)])
def test_deepseek_attends_on_each_rank_alone_and_sends_every_token_to_its_experts(batch: Batch) -> None:
    """Latents of a sequence lie on one of eight ranks; 8 experts a token and layer are sent out and back once."""
    model, precision = load_model("deepseek-v3"), Precision.parse("w8a16kv16")
    h200 = load_system("h200-sxm8")
    plan = Cut.of(model, precision, Parallelism.parse("tp=1,dp=8,ep=8"), h200).plan(batch)
    one = h200.model_copy(update={"chips": 1})
    alone, spread = amounts([Cut.of(model, precision, Parallelism(1), one).plan(batch)]), amounts([plan])
    assert spread.keys() == alone.keys()
    for key in alone.keys() - {"weights False"}:
        assert spread[key] == pytest.approx(alone[key], rel=1e-6)
    assert alone["weights False"] <= spread["weights False"] <= 8 * alone["weights False"]
    sent = {
        (segment.name, task.name): 8 * task.collective.bytes
        for segment in plan.segments
        for task in segment.tasks
        if task.collective and task.name in ("dispatch", "combine")
    }
    assert {name for _, name in sent} == {"dispatch", "combine"}
    assert set(sent.values()) == {batch.tokens * model.experts_per_token * model.hidden * 2}
    layers = sum(segment.repeats for segment in plan.segments if (segment.name, "dispatch") in sent)
    assert layers == model.layers - model.dense_layers


@pytest.mark.parametrize("phase", BATCHES)
@pytest.mark.parametrize("text", DENSE_WAYS + EXPERT_WAYS)
def test_no_way_beats_the_memory_and_every_ledger_balances(text: str, phase: str) -> None:
    """Useful bytes over all memories of a replica at peak are a lower bound of its time; every book adds up."""
    record = record_of(cut(text, exponent=0.8 if "ep" in text else None), BATCHES[phase])
    time_s = record.time_ps / PS_PER_S
    memories = [scope for scope in record.scopes if scope.kind == "memory"]
    served = math.fsum(record.books[scope.name].get(account, 0.0) for scope in memories for account in USEFUL)
    assert 0 < served <= math.fsum(scope.peak_per_s for scope in memories) * time_s
    for scope in record.scopes:
        accounts = record.books[scope.name]
        assert math.fsum(accounts.values()) == pytest.approx(scope.peak_per_s * time_s, rel=1e-9)
        assert min(accounts.values()) >= -1e-9 * scope.peak_per_s * time_s
    assert sum(scope.chips for scope in memories) == cut(text).ways.chips // cut(text).ways.replicas


@pytest.mark.parametrize("text", DENSE_WAYS)
def test_pipelined_weights_are_useful_once(text: str) -> None:
    """Bytes of weights and KV booked as useful are the plan's over all stages, however many micro-batches read them."""
    batch, a_cut = BATCHES["decode"], cut(text)
    record = record_of(a_cut, batch)
    needed = amounts(a_cut.plan(batch, stage=stage) for stage in range(a_cut.ways.pp))
    booked: Counter[str] = Counter()
    for accounts in record.books.values():
        booked.update({account: accounts.get(account, 0.0) for account in USEFUL})
    assert booked["useful_weights"] == pytest.approx(needed["weights False"], rel=1e-9)
    assert booked["useful_kv_read"] == pytest.approx(needed["kv_read False"], rel=1e-4)


def by_part(record: StepRecord) -> dict[str, Counter[str]]:
    """Return the books of all chips together by part, and those of all links together."""
    sums: dict[str, Counter[str]] = {}
    for scope, accounts in record.books.items():
        part = re.sub(r"^chip[\d-]+\.", "", scope) if not scope.startswith("link.") else "links"
        sums.setdefault(part, Counter()).update(accounts)
    return sums


@pytest.mark.parametrize("order", ["pp_inner", "dp_inner"])
@pytest.mark.parametrize("text", ["tp=4,pp=2", "tp=2,pp=2,cp=2", "tp=2,ep=8", "ep=4,pp=2", "cp=2,ep=8"])
def test_where_ranks_lie_on_a_switch_changes_nothing(text: str, order: str) -> None:
    """Another order of the axes gives the same time, and the same books but for the names of chips and links."""
    first, second = (record_of(cut(f"{text}{word}"), BATCHES["decode"]) for word in ("", f",order={order}"))
    assert second.time_ps == first.time_ps
    for part, accounts in by_part(first).items():
        assert by_part(second)[part] == pytest.approx(accounts, rel=1e-9, abs=1e-3)


@pytest.mark.parametrize("exponent", [None, 1.2])
@pytest.mark.parametrize("text", ["ep=8", "tp=2,ep=8", "tp=2,ep=4,dp=4", "tp=2,cp=2,ep=8", "tp=8,ep=2"])
def test_one_rank_of_each_kind_stands_for_all(text: str, exponent: float | None) -> None:
    """Folded kinds of ranks and repeated layers take and book what all ranks and layers one by one do."""
    for batch in (Batch.of_decode(13, 777), Batch.of_decode(16, 512), Batch.of_decode(3, 64)):
        plan = cut(text, exponent=exponent).plan(batch)
        kinds = simulate_step(plan, PARTS)
        others = plan.others or (plan.segments,) * (plan.ranks - 1)
        long = Plan(plan.phase, plan.segments, plan.ranks, identical_ranks=False, others=others, each_rank=True,
                    sequences=plan.sequences)  # fmt: skip
        every = simulate_step(unrolled(long), PARTS)
        assert every.time_ps == kinds.time_ps
        for scope, accounts in kinds.books.items():
            assert every.books[scope] == pytest.approx(accounts, rel=1e-9, abs=1e-3)


def test_where_nobody_names_ways_they_are_the_system_s_own_or_hold_the_model() -> None:
    """12 chips do not divide 32 heads: 4 ways hold the model, in 3 replicas; a system may say otherwise."""
    model, bits = load_model("llama-3.1-8b"), Precision.parse("w8a16kv16")
    twelve = load_system("inferentia2-12")
    assert Parallelism.parse(default_ways(model, bits, twelve)) == Parallelism(4, dp=3)
    own = twelve.model_copy(update={"parallel": "tp=2,pp=6,pipeline=continuous"})
    assert default_ways(model, bits, own) == "tp=2,pp=6,pipeline=continuous"
    undivided = twelve.model_copy(update={"parallel": "tp=3,pp=4"})
    assert Parallelism.parse(default_ways(model, bits, undivided)) == Parallelism(4, dp=3)
    eight = load_system("h100-sxm8")
    assert Parallelism.parse(default_ways(model, bits, eight)) == Parallelism(8)
