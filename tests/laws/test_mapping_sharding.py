"""Sharding: what ranks move sums to what the model has, and every byte beyond has its reason."""

from __future__ import annotations

import dataclasses
from collections import Counter
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from archsim.errors import InputError
from archsim.hardware.library import load_system
from archsim.hardware.spec import SystemSpec
from archsim.mapping.parallelism import Parallelism, check_parallelism, tensor_parallel_sizes
from archsim.mapping.plan import Plan, Task, Transfer, unrolled
from archsim.mapping.sharding import plan_iteration
from archsim.mapping.shares import Shares
from archsim.workload.batch import Batch
from archsim.workload.model import Model, bundled_models, load_model
from archsim.workload.precision import Precision
from archsim.workload.tensors import Amount

LAWS = settings(deadline=None, derandomize=True, database=None, max_examples=200)
MODELS = {name: load_model(name) for name in bundled_models()}
W16 = Precision.parse("w16a16kv16")
H100 = load_system("h100-sxm8")
BATCHES = (Batch.of_decode(13, 777), Batch.of_prefill(300, cached=20), Batch.of_decode(5, 64) + Batch.of_prefill(17))


def system(chips: int, base: SystemSpec = H100) -> SystemSpec:
    """Return *base* with another number of chips."""
    return base.model_copy(update={"chips": chips})


def plan(model: Model, tp: int, batch: Batch, precision: Precision = W16) -> Plan:
    """Return the plan over *tp* chips."""
    return plan_iteration(model, precision, Parallelism(tp), system(tp), batch)


def tasks(a_plan: Plan) -> list[Task]:
    """Return every task of *a_plan*, repetitions written out."""
    return [task for segment in unrolled(a_plan).segments for task in segment.tasks]


def in_all_ranks(a_plan: Plan) -> tuple[Counter[str], Counter[str]]:
    """Return (useful bytes by tensor and direction and useful matrix FLOPs, times each occurs), over all ranks."""
    total: Counter[str] = Counter()
    times: Counter[str] = Counter()
    for segment in a_plan.segments:
        for task in segment.tasks:
            useful = [("flops", task.matrix_flops - task.replica_flops)]
            useful += [(f"{t.tensor} {t.write}", t.useful_bytes) for t in task.transfers]
            for key, amount in useful:
                total[key] += a_plan.ranks * segment.repeats * amount
                times[key] += a_plan.ranks * segment.repeats
    return total, times


def transfers(a_plan: Plan, tensor: str, task: str) -> list[Transfer]:
    """Return the transfers of *tensor* in the tasks named *task*."""
    return [t for one in tasks(a_plan) if one.name == task for t in one.transfers if t.tensor == tensor]


@pytest.mark.parametrize("name", sorted(MODELS))
@pytest.mark.parametrize("precision", ["w16a16kv16", "w8a16kv8", "w4a16kv8"])
def test_useful_bytes_and_flops_of_all_ranks_are_the_models_own(name: str, precision: str) -> None:
    """By tensor class, for every way the model can be cut: exactly for weights, KV and FLOPs over 2^n ranks.

    Elsewhere (an odd vocabulary, 3 ranks) each share loses less than a byte of its kind: the part is overfetch.
    """
    model, bits = MODELS[name], Precision.parse(precision)
    for batch in BATCHES:
        alone, _ = in_all_ranks(plan(model, 1, batch, bits))
        for tp in tensor_parallel_sizes(model):
            cut, times = in_all_ranks(plan(model, tp, batch, bits))
            for key, whole in alone.items():
                # A latent of 576 elements and experts with their biases do not divide by every power of two.
                even = not (model.latent or model.expert_bias)
                exact = even and tp.bit_count() == 1 and "activations" not in key
                assert 0 <= whole - cut[key] < (1 if exact else times[key])


@pytest.mark.parametrize("name", sorted(MODELS))
def test_one_chip_moves_useful_bytes_only(name: str) -> None:
    """Without ranks there are no replicas and no padding."""
    for batch in BATCHES:
        alone = tasks(plan(MODELS[name], 1, batch))
        # Where decode absorbs the matrix that prefill expands with, the second read is needed no more.
        once = [task for task in alone if task.name != "expand" or batch.phase != "mixed"]
        assert all(t.bytes == t.useful_bytes for task in once for t in task.transfers)
        assert not any(task.replica_flops for task in alone)


@given(
    value=st.integers(0, 10**13),
    split=st.sampled_from(["ranks", "kv_heads", "vocabulary", "whole"]),
    ranks=st.integers(1, 512),
    kv_heads=st.integers(1, 128),
    bits=st.sampled_from([Fraction(8), Fraction(4), Fraction(16), Fraction(33, 8), Fraction(3)]),
)
@LAWS
def test_shares_lose_less_than_a_byte_a_rank(value: int, split: str, ranks: int, kv_heads: int, bits: Fraction) -> None:
    """Useful bytes are the whole, short of less than one byte a rank; what is handled is at least what is useful."""
    handled, useful = Shares(ranks, kv_heads, 50257).of(Amount(value, split), bits=bits)  # type: ignore[arg-type]
    whole = value * bits / 8
    assert useful <= handled
    assert 0 <= whole - useful * ranks < ranks
    assert handled * ranks >= whole


@pytest.mark.parametrize(("tp", "copies"), [(1, 1), (4, 1), (8, 1), (16, 2), (64, 8)])
def test_kv_heads_are_replicated_where_there_are_more_ranks(tp: int, copies: int) -> None:
    """Llama's 8 KV heads over tp ranks: each is held max(8, tp)/8 times, and the copies are overfetch."""
    model = MODELS["llama-3.1-70b"]
    cut = plan(model, tp, Batch.of_decode(8, 128))
    for tensor, task in (("kv_read", "attention_decode"), ("kv_write", "rope_append")):
        for transfer in transfers(cut, tensor, task):
            assert transfer.bytes == copies * transfer.useful_bytes
    qkv = next(task for task in tasks(cut) if task.name == "qkv")
    replicas = (copies - 1) * 2 * 8 * model.hidden * 2 * model.kv_width // tp
    assert qkv.replica_flops == replicas


def test_norms_and_routers_are_overfetch_on_all_ranks_but_one() -> None:
    """A rank reads the whole norm vector and router of a layer; 1/tp of it counts."""
    model = MODELS["mixtral-8x7b"]
    (router,) = set(transfers(plan(model, 8, Batch.of_decode(1, 1)), "weights", "router"))
    elements = model.hidden + model.hidden * model.experts
    assert (router.bytes, router.useful_bytes) == (2 * elements, 2 * elements // 8)


def test_a_static_cache_is_read_to_its_end() -> None:
    """3 sequences of 100 tokens read the 4,096 that each cache has; longer ones what they have."""
    static = system(1).model_copy(update={"runtime": H100.runtime.model_copy(update={"static_cache_tokens": 4096})})
    model = MODELS["llama-3.1-8b"]
    for context, read in ((100, 4096), (5000, 5000)):
        made, wanted = (
            plan_iteration(model, W16, Parallelism(1), a_system, batch)
            for a_system, batch in ((static, Batch.of_decode(3, context)), (system(1), Batch.of_decode(3, read)))
        )
        assert made == wanted


def test_keys_are_copied_as_often_as_the_runtime_says() -> None:
    """Half of what attention reads, written and read again, twice; nothing else changes."""
    copying = system(1).model_copy(update={"runtime": H100.runtime.model_copy(update={"key_copies": 2})})
    model, batch = MODELS["llama-3.1-8b"], Batch.of_decode(3, 777)
    plain, copied = (
        tasks(plan_iteration(model, W16, Parallelism(1), a_system, batch)) for a_system in (system(1), copying)
    )
    for one, other in zip(plain, copied, strict=True):
        moved = [t for t in other.transfers if t.tensor == "moved"]
        read = sum(t.bytes for t in one.transfers if t.tensor == "kv_read")
        assert [(t.bytes, t.write) for t in moved] == ([(read, True), (read, False)] if read else [])
        assert one == dataclasses.replace(other, transfers=tuple(t for t in other.transfers if t not in moved))


def test_vector_units_widen_narrow_caches_of_ungrouped_heads() -> None:
    """7 operations an element of keys and values, for fp8 and heads of their own; none for groups or for 16 bits."""
    runtime = H100.runtime.model_copy(update={"kv_widening_operations": 7})
    widening, plain = system(1).model_copy(update={"runtime": runtime}), system(1)
    narrow = Precision.parse("w16a16kv8")
    for name, bits, share in (("llama-2-7b", narrow, 7), ("llama-3.1-8b", narrow, 0), ("llama-2-7b", W16, 0)):
        model, batch = MODELS[name], Batch.of_decode(3, 777)
        more = [
            sum(task.vector_flops for task in tasks(plan_iteration(model, bits, Parallelism(1), a_system, batch)))
            for a_system in (
                widening,
                plain.model_copy(update={"runtime": runtime.model_copy(update={"kv_widening_operations": 0})}),
            )
        ]
        assert more[0] - more[1] == share * 3 * 777 * 2 * model.kv_width * model.layers


def test_vocabulary_is_padded_to_equal_ranks() -> None:
    """GPT-3's 50,257 rows over 8 ranks are 6,283 each: 7 rows and their FLOPs beyond the model's."""
    model = MODELS["gpt3-175b"]
    cut = plan(model, 8, Batch.of_decode(2, 10))
    (head,) = transfers(cut, "weights", "lm_head")
    norm = 2 * 2 * model.hidden
    assert head.bytes == 6283 * model.hidden * 2 + norm
    assert 8 * head.useful_bytes == 50257 * model.hidden * 2 + norm
    product = next(task for task in tasks(cut) if task.name == "lm_head")
    assert product.matrix_flops == 2 * 2 * model.hidden * 6283
    assert 8 * product.replica_flops == 2 * 2 * model.hidden * 7
    gather = next(task for task in tasks(cut) if task.name == "logits_all_gather")
    assert gather.collective is not None
    assert gather.collective.bytes == 2 * 2 * 8 * 6283


def test_collectives_carry_the_whole_tensor_and_one_chip_has_none() -> None:
    """An all-reduce is tokens x hidden in 16 bits, however narrow the activations."""
    model = MODELS["llama-3.1-8b"]
    for precision in ("w16a16kv16", "w8a8kv8"):
        cut = plan(model, 4, Batch.of_decode(3, 50), Precision.parse(precision))
        sizes = {
            task.collective.bytes for task in tasks(cut) if task.collective and task.collective.kind == "all_reduce"
        }
        assert sizes == {3 * model.hidden * 2}
        assert sum(task.collective is not None for task in tasks(cut)) == 2 * model.layers + 2
    assert not [task for task in tasks(plan(model, 1, BATCHES[0])) if task.collective]


def test_weights_are_one_run_and_kv_comes_in_blocks() -> None:
    """A block holds keys and values of one layer and rank for the runtime's block of tokens; an append one token's."""
    model, block = MODELS["llama-3.1-70b"], H100.runtime.kv_block_tokens
    cut = plan(model, 8, Batch.of_decode(3, 4096) + Batch.of_prefill(1000))
    token = 2 * 1 * model.head_dim * 2
    assert {t.run_bytes for t in transfers(cut, "kv_read", "attention_decode")} == {block * token}
    assert {t.run_bytes for t in transfers(cut, "kv_write", "rope_append")} == {token, block * token}
    assert all(t.run_bytes == t.bytes for t in transfers(cut, "weights", "gate_up"))
    assert {t.run_bytes for t in transfers(cut, "weights", "embed")} == {model.hidden * 2}
    assert all(0 < t.run_bytes <= t.bytes for task in tasks(cut) for t in task.transfers)


def test_activations_stay_in_the_cache_up_to_its_capacity() -> None:
    """What a kernel's inputs and outputs exceed the last-level cache by goes through main memory, and no more."""
    model, cache = MODELS["llama-3.1-70b"], H100.chip.cache
    capacity = max(level.capacity_bytes for level in cache.values())
    spills = set()
    for tokens in (8, 2048, 8192):
        for task in tasks(plan(model, 8, Batch.of_prefill(tokens))):
            activations = [t for t in task.transfers if t.tensor == "activations"]
            total = sum(t.bytes for t in activations)
            spilt = sum(t.bytes for t in activations if t.level not in cache)
            assert 0 <= max(0, total - capacity) - spilt < 2
            spills.add(spilt > 0)
    assert spills == {True, False}


def test_a_chip_without_a_cache_keeps_activations_in_main_memory() -> None:
    """There is nowhere else to put them."""
    bare = system(1).model_copy(update={"chip": H100.chip.model_copy(update={"cache": {}})})
    cut = plan_iteration(MODELS["llama-3.1-8b"], W16, Parallelism(1), bare, Batch.of_decode(1, 1))
    assert {t.level for task in tasks(cut) for t in task.transfers} == {H100.chip.main_memory}


def test_a_plan_repeats_its_layers_and_names_its_phase() -> None:
    """Three segments; the layer's tasks stand once and repeat."""
    model = MODELS["qwen3-32b"]
    cut = plan(model, 8, BATCHES[2])
    assert [(segment.name, segment.repeats) for segment in cut.segments] == [("embed", 1), ("layer", 64), ("head", 1)]
    assert (cut.phase, cut.ranks, cut.identical_ranks) == ("mixed", 8, True)


def test_eight_bit_weights_are_half_the_bytes_of_sixteen() -> None:
    """Weight bytes follow the weight bits and nothing else does; scales come on top where declared."""
    model, batch = MODELS["llama-3.1-70b"], Batch.of_decode(4, 100)
    wide, narrow = (in_all_ranks(plan(model, 8, batch, Precision.parse(p)))[0] for p in ("w16a16kv16", "w8a16kv16"))
    assert 2 * narrow.pop("weights False") == wide["weights False"]
    scaled = in_all_ranks(plan(model, 8, batch, Precision.parse("w4g128a16kv16")))[0]
    assert scaled["weights False"] * 128 * 8 == wide["weights False"] // 2 * (4 * 128 + 16)
    del wide["weights False"]
    assert narrow == wide


def test_attention_multiplies_in_the_wider_of_activations_and_kv() -> None:
    """Weights of 8 bits with activations of 8 use the 8-bit engine; 16-bit KV keeps attention at 16."""
    cut = plan(MODELS["llama-3.1-8b"], 8, Batch.of_decode(1, 9), Precision.parse("w8a8kv16"))
    dtypes = {task.name: task.matrix_dtype for task in tasks(cut)}
    assert (dtypes["qkv"], dtypes["attention_decode"]) == ("fp8", "bf16")


@pytest.mark.parametrize(("text", "sizes"), [("tp=8", (8, 1)), (" tp = 4 , pp=2", (4, 2)), ("pp=3", (1, 3))])
def test_a_parallelism_is_read_as_it_is_written(text: str, sizes: tuple[int, int]) -> None:
    """What is not named is 1, and what is printed is read back."""
    parallelism = Parallelism.parse(text)
    assert (parallelism.tp, parallelism.pp) == sizes
    assert Parallelism.parse(str(parallelism)) == parallelism


@pytest.mark.parametrize(
    "text", ["", "8", "tp=0", "tp=-1", "tp=8,tp=8", "tpp=8", "tp=8;pp=1", "tp=1.5", "tp=" + "9" * 5000]
)
def test_a_malformed_parallelism_is_refused(text: str) -> None:
    """The message shows the form."""
    with pytest.raises(InputError, match="NAME=N"):
        Parallelism.parse(text)


@pytest.mark.parametrize(
    ("changes", "chips", "parallelism", "words"),
    [
        ({}, 8, Parallelism(4), "expected 8, the number of chips"),
        ({}, 8, Parallelism(8, pp=2), "tp 8 x pp 2 x dp 1 x cp 1 = 16'; expected a product of 8, the number of chips"),
        ({}, 6, Parallelism(6), "a divisor of the 32 attention heads"),
        ({"kv_heads": 16, "heads": 48}, 24, Parallelism(24), "a divisor or a multiple of the 16 KV heads"),
        (
            {"intermediate": 100},
            8,
            Parallelism(8),
            "a divisor of the MLP width 100; llama-3.1-8b can be cut 1, 2, 4 ways",
        ),
    ],
)
def test_what_does_not_divide_is_refused_with_numbers(
    changes: dict[str, int], chips: int, parallelism: Parallelism, words: str
) -> None:
    """The message says what would have been accepted."""
    model = dataclasses.replace(MODELS["llama-3.1-8b"], **changes)  # type: ignore[arg-type]
    with pytest.raises(InputError, match=words):
        check_parallelism(parallelism, model, system(chips))


def test_the_default_is_tensor_parallel_over_all_chips() -> None:
    """And it is what a plan accepts."""
    assert Parallelism.default(H100) == Parallelism(8)
    check_parallelism(Parallelism.default(H100), MODELS["llama-3.1-70b"], H100)


def test_widened_weights_cost_the_vector_engine() -> None:
    """A product whose weights are stored narrower than multiplied does the runtime's operations for each of them."""
    spec = load_system("h100-sxm8", ["runtime.widening_operations=12"])
    model, batch = load_model("llama-3.1-8b"), Batch.of_decode(1, 100)

    def down(precision: str) -> Task:
        plan = plan_iteration(model, Precision.parse(precision), Parallelism(tp=8), spec, batch)
        return next(task for task in plan.segments[1].tasks if task.name == "down")

    extra = down("w4a16kv16").vector_flops - down("w16a16kv16").vector_flops
    assert extra == 12 * model.hidden * model.intermediate // 8
