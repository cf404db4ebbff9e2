"""Ways of cutting a model: how they are written, where their ranks lie, and what does not divide."""

from __future__ import annotations

import itertools

import pytest

from archsim.errors import CapacityError, InputError
from archsim.hardware.library import load_system
from archsim.hardware.spec import SystemSpec
from archsim.mapping.parallelism import ORDERS, Parallelism, check_parallelism
from archsim.mapping.placement import place
from archsim.mapping.search import candidates
from archsim.mapping.shares import split_batch, split_evenly
from archsim.workload.batch import Batch
from archsim.workload.model import load_model
from archsim.workload.precision import Precision

H100 = load_system("h100-sxm8")
W16 = Precision.parse("w16a16kv16")
DENSE, EXPERTS = load_model("llama-3.1-8b"), load_model("mixtral-8x7b")


def system(chips: int) -> SystemSpec:
    """Return the H100 system with another number of chips."""
    return H100.model_copy(update={"chips": chips})


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("ep=8", Parallelism(1, dp=8, ep=8)),
        ("tp=2,ep=8", Parallelism(2, dp=4, ep=8)),
        ("tp=8,ep=8", Parallelism(8, ep=8)),
        ("ep=4,dp=8", Parallelism(1, dp=8, ep=4)),
        ("tp=4,pp=2,order=pp_inner", Parallelism(4, pp=2, order="pp_inner")),
        ("tp=2,cp=4", Parallelism(2, cp=4)),
    ],
)
def test_what_is_not_named_follows_from_what_is(text: str, expected: Parallelism) -> None:
    """All else is 1; beside an ep that tp does not fill, dp is ep / tp. What is printed is read back."""
    assert Parallelism.parse(text) == expected
    assert Parallelism.parse(str(expected)) == expected


@pytest.mark.parametrize("text", ["order=inside", "order=tp_inner,order=tp_inner", "tp=2,order="])
def test_an_order_is_one_of_those_that_exist(text: str) -> None:
    """And is given once."""
    with pytest.raises(InputError, match="order=tp_inner or pp_inner or dp_inner"):
        Parallelism.parse(text)


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize(
    "ways", [Parallelism(4), Parallelism(2, pp=3, dp=2, cp=2), Parallelism(2, pp=2, dp=8, ep=8), Parallelism(1, dp=6)]
)
def test_every_chip_has_one_rank(order: str, ways: Parallelism) -> None:
    """Whatever the order, stages and replicas share the chips without rest."""
    placed = Parallelism(ways.tp, pp=ways.pp, dp=ways.dp, ep=ways.ep, cp=ways.cp, order=order)
    used = [
        chip
        for stage, replica in itertools.product(range(placed.pp), range(placed.replicas))
        for chip in placed.chips_of(stage=stage, replica=replica)
    ]
    assert sorted(used) == list(range(placed.chips))
    assert placed.chips == placed.stage_ranks * placed.pp * placed.replicas


def test_tensor_ranks_are_neighbours_by_default() -> None:
    """A stage's chips follow one another, and its tensor ranks first of all."""
    ways = Parallelism(2, pp=2, dp=2, cp=2)
    assert ways.chips_of() == (0, 1, 2, 3)
    assert ways.chips_of(stage=1) == (4, 5, 6, 7)
    assert ways.chips_of(replica=1) == (8, 9, 10, 11)


@pytest.mark.parametrize(
    ("ways", "chips", "words"),
    [
        ("tp=8,pp=2", 8, r"tp 8 x pp 2 x dp 1 x cp 1 = 16.*a product of 8, the number of chips"),
        ("tp=4", 8, "expected 8, the number of chips"),
        ("tp=2,dp=2", 8, "tp 2 x pp 1 x dp 2 x cp 1 = 4"),
        ("tp=1,pp=40", 40, "at most the 32 layers"),
        ("tp=1,cp=3", 3, "ways that with tp 1 .3 in all. divide the MLP width 14336 and the attention width 4096"),
        ("ep=8", 8, "1: llama-3.1-8b has no experts"),
    ],
)
def test_a_dense_model_refuses_with_numbers(ways: str, chips: int, words: str) -> None:
    """Each message says what was given and what would be accepted."""
    with pytest.raises(InputError, match=words):
        check_parallelism(Parallelism.parse(ways), DENSE, system(chips))


@pytest.mark.parametrize(
    ("ways", "chips", "words"),
    [
        ("ep=16", 16, "8 experts on 16 ranks leave some without"),
        ("ep=3", 3, "a divisor of the 8 experts of mixtral-8x7b"),
        ("tp=2,cp=3,ep=4", 6, "a multiple or a divisor of tp 2 x cp 3, the 6 ranks that attend together"),
        ("tp=1,ep=4,dp=6", 6, "a multiple of 4: ep 4 over tp 1 joins as many of its ways"),
        ("tp=2,cp=2,ep=8,dp=1", 4, "a multiple of 2: ep 8 over tp 2 x cp 2 joins as many of its ways"),
    ],
)
def test_experts_refuse_with_numbers(ways: str, chips: int, words: str) -> None:
    """Fewer experts than ranks, experts that do not divide, and ways that do not multiply to each other."""
    with pytest.raises(InputError, match=words):
        check_parallelism(Parallelism.parse(ways), EXPERTS, system(chips))


def test_all_problems_are_told_at_once() -> None:
    """Chips, heads and layers that do not fit are three problems of one error."""
    with pytest.raises(InputError) as caught:
        check_parallelism(Parallelism(3, pp=33, ep=2), DENSE, H100)
    assert len(caught.value.problems) == 5


@pytest.mark.parametrize(("total", "parts"), [(80, 8), (80, 7), (3, 3), (0, 4), (5, 8)])
def test_an_uneven_split_gives_the_earliest_one_more(total: int, parts: int) -> None:
    """Parts sum to the total, fall, and differ by at most one."""
    split = split_evenly(total, parts)
    assert sum(split) == total
    assert split == sorted(split, reverse=True)
    assert split[0] - split[-1] <= 1


@pytest.mark.parametrize("parts", [1, 2, 3, 8, 40])
@pytest.mark.parametrize(
    "batch", [Batch.of_decode(13, 777), Batch.of_prefill(37, sequences=3), Batch(5, 999, 2, 100, 4000, 130)]
)
def test_the_parts_of_a_batch_are_the_batch(batch: Batch, parts: int) -> None:
    """Sequences, tokens, pairs and context sum; each part with sequences is a batch, the others are none."""
    split = split_batch(batch, parts)
    assert len(split) == parts
    there = [part for part in split if part is not None]
    total = there[0]
    for part in there[1:]:
        total += part
    assert total == batch
    assert (
        len(there) == min(parts, max(batch.decode, batch.prefill_sequences)) or batch.decode * batch.prefill_sequences
    )


def test_a_stage_holds_its_own_layers_and_ends() -> None:
    """Four stages of one chip: weights sum to the model's on one chip; each keeps its layers' KV."""
    alone = place(DENSE, W16, system(1), Parallelism(1))
    staged = place(DENSE, W16, system(4), Parallelism(1, pp=4))
    assert sum(holding.weight_bytes for holding in staged.stages) == alone.weight_bytes == staged.weight_bytes
    assert sum(h.kv_bytes_per_token for h in staged.stages) == alone.kv_bytes_per_token_per_chip
    middle = staged.stages[1].weight_bytes
    assert staged.stages[0].weight_bytes > middle < staged.stages[3].weight_bytes
    assert staged.weight_bytes_per_chip == max(h.weight_bytes for h in staged.stages)


def test_context_ranks_share_the_cache_of_a_sequence() -> None:
    """Twice the ranks by context hold twice the tokens' bytes a chip; by tensor beyond the KV heads they do not."""
    model = load_model("llama-3.1-70b")
    eight = place(model, W16, system(8), Parallelism(8))
    by_context = place(model, W16, system(16), Parallelism(8, cp=2))
    by_tensor = place(model, W16, system(16), Parallelism(16))
    assert 2 * by_context.kv_bytes_per_token_per_chip == eight.kv_bytes_per_token_per_chip
    assert by_tensor.kv_bytes_per_token_per_chip == eight.kv_bytes_per_token_per_chip
    assert by_context.kv_tokens > by_tensor.kv_tokens > eight.kv_tokens


def test_expert_ranks_hold_whole_experts_and_a_copy_of_the_rest() -> None:
    """Over 8 ranks: an eighth of the experts, all of attention, norms, router and tables; blocks in every group."""
    placement = place(EXPERTS, W16, H100, Parallelism.parse("ep=8"))
    alone = place(EXPERTS, Precision.parse("w4a16kv16"), system(1), Parallelism(1))
    inputs = 3 * EXPERTS.hidden * EXPERTS.intermediate * EXPERTS.layers
    whole = 4 * alone.weight_bytes
    assert placement.weight_bytes_per_chip == whole - 2 * 7 * inputs
    assert placement.kv_blocks % 8 == 0


def test_replicas_hold_the_model_each() -> None:
    """The weights of all chips are the model's, once for each replica; blocks are those of one."""
    one, two = (place(DENSE, W16, system(n), Parallelism(4, dp=n // 4)) for n in (4, 8))
    assert two.weight_bytes == 2 * one.weight_bytes
    assert two.kv_blocks == one.kv_blocks


def test_a_batch_that_a_stage_cannot_hold_is_refused() -> None:
    """The error names the bytes that its fullest chip lacks."""
    placement = place(load_model("llama-3.1-70b"), W16, H100, Parallelism(4, pp=2))
    with pytest.raises(CapacityError, match="bytes are missing on each chip"):
        placement.check_batch(256, 131072)


def test_the_search_knows_every_way() -> None:
    """All products over 8 chips are there once, each with the placement that `place` finds or refuses."""
    found = candidates(EXPERTS, W16, H100)
    ways = [candidate.ways for candidate in found]
    assert len(set(ways)) == len(ways)
    assert all(way.chips == 8 for way in ways)
    for text in ("tp=8", "tp=4,dp=2", "ep=8", "tp=2,ep=8", "tp=2,ep=4,dp=4", "tp=2,cp=2,pp=2", "pp=8"):
        assert Parallelism.parse(text) in ways
    for candidate in found:
        if candidate.placement.missing_bytes_per_chip(1) > 0:
            with pytest.raises(CapacityError):
                place(EXPERTS, W16, H100, candidate.ways)
        else:
            assert candidate.placement == place(EXPERTS, W16, H100, candidate.ways)
