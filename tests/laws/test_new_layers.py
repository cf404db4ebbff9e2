"""Layers with windows, latents and shared experts, from capacity to the costs of iterations."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from fractions import Fraction

import pytest

from archsim.errors import InputError
from archsim.hardware.library import load_system
from archsim.hardware.system import System
from archsim.mapping.parallelism import Parallelism
from archsim.mapping.placement import place
from archsim.mapping.plan import Plan
from archsim.mapping.sharding import Cut
from archsim.step.costs import FINE_BITS, StepCosts
from archsim.step.record import StepRecord
from archsim.step.simulate import simulate_step
from archsim.workload.batch import Batch
from archsim.workload.model import Model, load_model
from archsim.workload.precision import Precision
from archsim.workload.replication import load_experts
from archsim.workload.tensors import embedding_table, parameter_count

H100, H200 = load_system("h100-sxm8"), load_system("h200-sxm8")
PARTS = System(H100)
W16 = Precision.parse("w16a16kv16")
LARGEST_ERROR = 0.005


def useful(plan: Plan, tensor: str) -> int:
    """Return the useful bytes of *tensor* that are read over all ranks."""
    transfers = (
        segment.repeats * transfer.useful_bytes
        for rank in range(plan.ranks)
        for segment in plan.of_rank(rank)
        for task in segment.tasks
        for transfer in task.transfers
        if transfer.tensor == tensor and not transfer.write
    )
    return sum(transfers)


def exact(cut: Cut, lengths: Iterable[int]) -> StepRecord:
    """Return the simulated decode of sequences of *lengths*, with what their windows leave of each."""
    lengths, window = list(lengths), cut.model.window
    seen = sum(min(length, window) for length in lengths) if window else 0
    batch = Batch(decode=len(lengths), kv_tokens=sum(lengths), window_tokens=seen)
    return simulate_step(cut.plan(batch), PARTS)


@pytest.mark.parametrize("name", ["gemma-2-27b", "gemma-3-12b", "mistral-7b-v0.1", "gpt-oss-20b"])
def test_costs_are_within_half_a_per_cent_of_simulating_sequences_of_unequal_length(name: str) -> None:
    """Some within their window, some far beyond it: one number stands for all of them."""
    model = load_model(name)
    cut = Cut.of(model, W16, Parallelism(8), H100)
    costs = StepCosts(lambda batch: simulate_step(cut.plan(batch), PARTS), reach=model.reach)
    longest = model.max_context
    for lengths in ([100, 7000], [130, 5000, 900, 8000, 4097], [longest, 70], [3000] * 20 + [7500] * 3):
        attended = sum(map(model.reach.attended, lengths))
        found = costs.decode(len(lengths), attended, 1).time_fine / (1 << FINE_BITS)
        assert abs(found / exact(cut, lengths).time_ps - 1) <= LARGEST_ERROR, lengths


def test_a_step_grows_no_longer_once_all_windows_are_full() -> None:
    """Mistral v0.1 reads 4,096 tokens of each sequence at most: 5,000 and 30,000 take the same time."""
    cut = Cut.of(load_model("mistral-7b-v0.1"), W16, Parallelism(8), H100)
    assert exact(cut, [5_000] * 8).time_ps == exact(cut, [30_000] * 8).time_ps
    assert exact(cut, [3_000] * 8).time_ps < exact(cut, [4_000] * 8).time_ps


def test_windows_leave_room_for_more_sequences() -> None:
    """Beyond its window a sequence holds ceil(4096 / 64) + 1 blocks and no more; without one it holds them all."""
    model = load_model("mistral-7b-v0.1")
    windowed = place(model, W16, H100, Parallelism(8))
    whole = place(replace(model, window=0, windowed=()), W16, H100, Parallelism(8))
    assert windowed.kv_blocks == whole.kv_blocks
    assert windowed.blocks_for(1, 30_000) == 65
    assert whole.blocks_for(1, 30_000) == 469


def test_parts_of_layers_share_the_room_of_a_token() -> None:
    """Gemma 3 12B: six parts of 8 layers; a long sequence takes all blocks of one and 17 of each of five."""
    placement = place(load_model("gemma-3-12b"), W16, H100, Parallelism(8))
    assert placement.blocks_for(1, 64_000) == 1000 + 5 * 17
    assert placement.kv_block_bytes_per_chip * 6 == placement.kv_bytes_per_token_per_chip * 64


def test_every_tensor_rank_holds_the_latent_and_groups_hold_their_own() -> None:
    """576 elements a layer whatever tp is; with attention by groups a chip has those of its own sequences."""
    model, bits = load_model("deepseek-v3"), Precision.parse("w8a16kv16")
    whole = place(model, bits, H200, Parallelism(8))
    groups = place(model, bits, H200, Parallelism.parse("tp=1,dp=8,ep=8"))
    assert whole.kv_bytes_per_token_per_chip == groups.kv_bytes_per_token_per_chip == 70_272
    assert groups.groups == 8
    context = Parallelism.parse("tp=4,cp=2")
    assert place(model, bits, H200, context).kv_bytes_per_token_per_chip == 70_272 // 2


def test_latent_reads_of_tensor_ranks_count_once() -> None:
    """Eight ranks read the same latents: an eighth of each read is useful, the rest overfetch."""
    cut = Cut.of(load_model("deepseek-v3"), Precision.parse("w8a16kv16"), Parallelism(8), H200)
    plan = cut.plan(Batch.of_decode(8, 1000))
    assert useful(plan, "kv_read") == 8 * 1000 * 70_272
    moved = [t for s in plan.segments for task in s.tasks for t in task.transfers if t.tensor == "kv_read"]
    assert all(transfer.bytes == 8 * transfer.useful_bytes for transfer in moved)


WAYS = ("tp=8", "ep=8", "tp=2,ep=8", "tp=8,ep=8", "tp=4,cp=2")


@pytest.mark.parametrize("ways", WAYS)
@pytest.mark.parametrize("name", ["deepseek-v2-lite", "gpt-oss-20b"])
def test_useful_weights_are_the_models_own_in_every_way(name: str, ways: str) -> None:
    """With tokens that touch every expert; a shared expert that every group holds is useful once a group."""
    model = load_model(name)
    parallelism = Parallelism.parse(ways)
    cut = Cut.of(model, W16, parallelism, H100)
    tokens = 40_000
    read = useful(cut.plan(Batch.of_decode(tokens, 10)), "weights")
    groups = parallelism.groups
    routed = model.expert_layers * model.experts * _expert(model)
    outside = parameter_count(model) - embedding_table(model).value - routed
    expected = 2 * (groups * outside + routed + tokens * model.hidden)
    assert read == pytest.approx(expected, rel=1e-6)


def _expert(model: Model) -> int:
    bias = 2 * model.intermediate + model.hidden if model.expert_bias else 0
    return 3 * model.hidden * model.intermediate + bias


def test_layers_stand_in_their_order_over_unequal_stages() -> None:
    """DeepSeek-V3 over four stages: three dense layers and thirteen others, then fifteen each."""
    cut = Cut.of(load_model("deepseek-v3"), Precision.parse("w8a16kv16"), Parallelism.parse("tp=2,pp=4"), H200)
    stages = [cut.plan(Batch.of_decode(8, 100), stage=stage).segments for stage in range(4)]
    layers = [[s.repeats for s in segments if s.name.startswith("layer")] for segments in stages]
    assert layers == [[3, 13], [15], [15], [15]]
    assert stages[0][0].name == "embed"
    assert stages[-1][-1].name == "head"


def test_experts_for_every_token_run_between_router_and_dispatch() -> None:
    """Their partial sums over a group's ranks are added by the exchange that gathers its tokens."""
    cut = Cut.of(load_model("deepseek-v2-lite"), W16, Parallelism.parse("tp=2,ep=8"), H100)
    segments = cut.plan(Batch.of_decode(64, 100)).segments
    names = [task.name for task in segments[2].tasks]
    assert segments[1].repeats == 1
    assert segments[2].repeats == 26
    order = ["router", "shared_gate_up", "shared_down", "dispatch", "experts_gate_up", "experts_down", "combine"]
    assert [name for name in names if name in order] == order
    last = segments[2].tasks[-1].collective
    assert last is not None
    assert (last.kind, last.ways) == ("all_reduce", 2)


def test_experts_of_another_format_are_read_and_held_in_it() -> None:
    """gpt-oss-20b: 4.25 bits for routed experts, 16 for the rest, in placement and in every read."""
    model = load_model("gpt-oss-20b")
    bits = Precision.of_model(model)
    routed = model.expert_layers * model.experts * _expert(model)
    rest = parameter_count(model) - routed
    held = place(model, bits, H100.model_copy(update={"chips": 1}), Parallelism(1)).weight_bytes
    assert held == pytest.approx(routed * 4.25 / 8 + rest * 2, rel=1e-6)
    plan = Cut.of(model, bits, Parallelism(1), H100.model_copy(update={"chips": 1})).plan(Batch.of_decode(9, 9))
    sizes: Counter[str] = Counter()
    for task in plan.segments[1].tasks:
        sizes[task.name] += sum(t.bytes for t in task.transfers if t.tensor == "weights")
    whole = Cut.of(model, W16, Parallelism(1), H100.model_copy(update={"chips": 1})).plan(Batch.of_decode(9, 9))
    same: Counter[str] = Counter()
    for task in whole.segments[1].tasks:
        same[task.name] += sum(t.bytes for t in task.transfers if t.tensor == "weights")
    assert sizes["experts_down"] == pytest.approx(same["experts_down"] * 4.25 / 16, rel=1e-6)
    assert sizes["qkv"] == same["qkv"]


def test_two_of_four_halves_flops_and_nearly_bytes() -> None:
    """Of 8-bit weights half remain with 2 bits of place each: 5 of 8 bits; attention multiplies as before."""
    model, one = load_model("llama-3.1-8b"), H100.model_copy(update={"chips": 1})
    dense, sparse = (
        Cut.of(model, Precision.parse(text), Parallelism(1), one).plan(Batch.of_decode(4, 100)).segments[1].tasks
        for text in ("w8a8kv8", "w8x2of4a8kv8")
    )
    for before, after in zip(dense, sparse, strict=True):
        factor = 1 if "attention" in before.name else 2
        assert before.matrix_flops == factor * after.matrix_flops
        for old, new in zip(before.transfers, after.transfers, strict=True):
            assert new.bytes == (old.bytes * 5 // 8 if old.tensor == "weights" else old.bytes)


def test_tokens_that_leave_early_spare_the_layers_behind_their_arithmetic_and_reads() -> None:
    """Of 10 sequences 3 leave after layer 40 and 2 after 60: layers run 10, 7 and 5 of them, weights in full."""
    model, batch = load_model("llama-3.1-70b+exit=40:30,60:20"), Batch.of_decode(10, 1000)
    assert model.name == "llama-3.1-70b+exit=40:30,60:20"
    segments = Cut.of(model, W16, Parallelism(8), H100).plan(batch).segments[1:-1]
    plain = Cut.of(load_model("llama-3.1-70b"), W16, Parallelism(8), H100).plan(batch).segments[1]
    assert [segment.repeats for segment in segments] == [40, 20, 20]
    for segment, tokens in zip(segments, (10, 7, 5), strict=True):
        for task, whole in zip(segment.tasks, plain.tasks, strict=True):
            assert task.matrix_flops * 10 == whole.matrix_flops * tokens
            sizes = [(t.tensor, t.bytes) for t in task.transfers if t.tensor in ("weights", "kv_read")]
            full = [(t.tensor, t.bytes) for t in whole.transfers if t.tensor in ("weights", "kv_read")]
            assert sizes == [(what, size if what == "weights" else size * tokens // 10) for what, size in full]


def test_a_layer_that_no_token_reaches_is_not_run() -> None:
    """One sequence, of which 60 % leaves after layer 40, rounds to one that leaves; prompts pass all layers."""
    model = load_model("llama-3.1-70b+exit=40:60")
    cut = Cut.of(model, W16, Parallelism(8), H100)
    assert [segment.repeats for segment in cut.plan(Batch.of_decode(1, 100)).segments] == [1, 40, 1]
    assert sum(segment.repeats for segment in cut.plan(Batch.of_prefill(100)).segments) == 82


@pytest.mark.parametrize(
    ("law", "words"),
    [
        ("40", "exits as LAYER:PERCENT"),
        ("40:0", "exits as LAYER:PERCENT"),
        ("40:30,", "exits as LAYER:PERCENT"),
        ("60:10,40:10", "rising layers before the last of 80"),
        ("80:10", "rising layers before the last of 80"),
        ("10:60,20:40", "less than 100 %"),
    ],
)
def test_a_wrong_law_of_exits_is_refused(law: str, words: str) -> None:
    """The message says the form or the bound."""
    with pytest.raises(InputError, match=words):
        load_model(f"llama-3.1-70b+exit={law}")


@pytest.mark.parametrize("ways", ["tp=4,pp=2"])
def test_exits_over_stages_are_refused(ways: str) -> None:
    """Named, rather than computed wrongly."""
    with pytest.raises(InputError, match="tokens leave early"):
        Cut.of(load_model("llama-3.1-70b+exit=40:30"), W16, Parallelism.parse(ways), H100)


def test_copies_of_hot_experts_even_out_the_ranks_and_lose_no_token() -> None:
    """Loads of all ranks sum to the base's; with as many copies again the busiest rank is near the mean."""
    model = load_model("qwen3-30b-a3b")
    plain, copied = load_experts("zipf:1"), load_experts("zipf:1+hot=128")
    before, after = (routing.loads(model, 512, layer=0, ranks=8) for routing in (plain, copied))
    assert sum(load.routed for load in before) == sum(load.routed for load in after)
    mean = sum(load.routed for load in before) / 8
    assert max(load.routed for load in after) < mean * Fraction(102, 100)
    assert max(load.routed for load in after) < max(load.routed for load in before)
    assert copied.name == "zipf:1+hot=128"
    assert sum(load.touched for load in after) >= sum(load.touched for load in before)


def test_copies_take_their_room() -> None:
    """32 more slots on 8 ranks are 4 more experts on each, in each of 48 layers."""
    model, ways = load_model("qwen3-30b-a3b"), Parallelism.parse("ep=8")
    plain, copied = (place(model, W16, H100, ways, spare_experts=spare) for spare in (0, 32))
    grown = copied.weight_bytes_per_chip - plain.weight_bytes_per_chip
    assert grown == model.layers * 4 * 3 * model.hidden * model.intermediate * 2


def test_kept_experts_are_touched_less_within_a_prompt_and_alike_across_sequences() -> None:
    """With P = 1/2 a prompt of 65 tokens touches what 33 independent ones do; 65 sequences touch what they did."""
    model = load_model("qwen3-30b-a3b")
    plain, kept = load_experts("zipf:1"), load_experts("zipf:1+keep=0.5")
    prompt = kept.loads(model, 65, layer=0, ranks=8, sequences=1)
    assert [load.touched for load in prompt] == [load.touched for load in plain.loads(model, 33, layer=0, ranks=8)]
    assert sum(load.routed for load in prompt) == 65 * 8
    assert kept.loads(model, 65, layer=0, ranks=8, sequences=65) == plain.loads(model, 65, layer=0, ranks=8)


@pytest.mark.parametrize("text", ["zipf:1+hot=", "zipf:1+hot=0", "zipf:1+hot=5000", "zipf:1+keep=1", "zipf:1+keep=x"])
def test_a_wrong_law_of_experts_is_refused(text: str) -> None:
    """The message says what it takes."""
    with pytest.raises(InputError, match="with"):
        load_experts(text)


def test_copies_that_do_not_fill_the_ranks_are_refused() -> None:
    """128 experts and 3 copies over 8 ranks leave slots empty."""
    with pytest.raises(InputError, match="a multiple of the 8 expert ranks"):
        Cut.of(load_model("qwen3-30b-a3b"), W16, Parallelism.parse("ep=8"), H100, routing=load_experts("zipf:1+hot=3"))
