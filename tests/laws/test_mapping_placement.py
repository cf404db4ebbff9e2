"""Placement: bytes of a chip by closed forms, and capacity errors whose numbers are right."""

from __future__ import annotations

import re

import pytest

from archsim.errors import CapacityError, InputError
from archsim.hardware.library import load_system
from archsim.hardware.spec import SystemSpec
from archsim.mapping.parallelism import Parallelism, tensor_parallel_sizes
from archsim.mapping.placement import Demand, Placement, place
from archsim.workload.model import bundled_models, load_model
from archsim.workload.precision import Precision
from archsim.workload.tensors import parameter_count

W16 = Precision.parse("w16a16kv16")
H100 = load_system("h100-sxm8")


def on(name: str, chips: int = 8, precision: Precision = W16) -> Placement:
    """Return the placement of a bundled model on H100s."""
    return place(load_model(name), precision, system(chips), Parallelism(chips))


def system(chips: int) -> SystemSpec:
    """Return the H100 system with another number of chips."""
    return H100.model_copy(update={"chips": chips})


def test_a_chip_holds_its_share_of_the_weights_and_all_norms() -> None:
    """Llama-3.1-70B over 8: an eighth of every matrix; 2 norms a layer and the final one in full."""
    model = load_model("llama-3.1-70b")
    norms = (2 * model.layers + 1) * model.hidden
    matrices = parameter_count(model) - norms
    assert on("llama-3.1-70b").weight_bytes_per_chip == 2 * (matrices // 8 + norms)


def test_replicated_kv_heads_cost_memory_twice() -> None:
    """Over 16 chips each of 8 KV heads is held by two: KV bytes of a token and its projections stay as over 8."""
    model = load_model("llama-3.1-70b")
    eight, sixteen = on("llama-3.1-70b", 8), on("llama-3.1-70b", 16)
    assert eight.kv_bytes_per_token_per_chip == model.kv_elements_per_token // 8 * 2
    assert sixteen.kv_bytes_per_token_per_chip == eight.kv_bytes_per_token_per_chip
    kv_projection = model.layers * 2 * model.hidden * model.kv_width // 8
    norms = (2 * model.layers + 1) * model.hidden
    shared = parameter_count(model) - norms - 8 * kv_projection
    assert sixteen.weight_bytes_per_chip == 2 * (shared // 16 + kv_projection + norms)


@pytest.mark.parametrize("name", bundled_models())
def test_blocks_fill_what_is_left_and_not_more(name: str) -> None:
    """Weights, activations and all KV blocks fit; one block more would not."""
    model = load_model(name)
    tp = tensor_parallel_sizes(model)[-1]
    placement = on(name, tp)
    assert (
        placement.missing_bytes_per_chip(placement.kv_blocks)
        <= 0
        < placement.missing_bytes_per_chip(placement.kv_blocks + 1)
    )
    parts = model.reach.parts
    assert placement.kv_tokens == placement.kv_blocks // parts * H100.runtime.kv_block_tokens
    assert placement.kv_bytes_per_token_per_chip * 64 <= placement.kv_block_bytes_per_chip * parts
    assert placement.activation_bytes_per_chip > 0


def test_a_model_too_large_says_what_is_missing_and_how_many_chips_would_do() -> None:
    """The number of chips named is the first of those that divide which holds it: it does, and none below."""
    model = load_model("llama-3.1-405b")
    with pytest.raises(CapacityError) as caught:
        on("llama-3.1-405b")
    demand = Demand(model, W16, H100)
    missing = demand.over(8).missing_bytes_per_chip(1)
    assert f"{missing:,} bytes are missing on each chip, {8 * missing:,} in all" in str(caught.value)
    named = re.search(r"(\d+) such chips are the smallest number", str(caught.value))
    assert named is not None
    enough = int(named[1])
    assert place(model, W16, system(enough), Parallelism(enough)).kv_blocks >= 1
    below = [size for size in tensor_parallel_sizes(model) if size < enough]
    assert all(demand.over(size).missing_bytes_per_chip(1) > 0 for size in below)


def test_a_model_that_no_number_of_chips_holds_says_so() -> None:
    """A KV cache that replicas keep from shrinking has no chip count."""
    placement = on("llama-3.1-70b")
    with pytest.raises(CapacityError, match="no number of such chips"):
        placement.check_batch(256, 131072)


def test_a_batch_fits_exactly_while_its_blocks_do() -> None:
    """Each sequence takes whole blocks: as many sequences of one block as there are blocks fit, one more does not."""
    placement = on("llama-3.1-70b")
    placement.check_batch(placement.kv_blocks, 1)
    placement.check_batch(placement.kv_blocks, placement.kv_block_tokens)
    with pytest.raises(CapacityError, match="bytes are missing"):
        placement.check_batch(placement.kv_blocks + 1, 1)
    with pytest.raises(CapacityError, match="bytes are missing"):
        placement.check_batch(placement.kv_blocks, placement.kv_block_tokens + 1)


def test_fewer_bits_leave_room_for_more_blocks() -> None:
    """Half the weight bytes and half the bytes a token: the blocks follow exactly."""
    wide, narrow = on("llama-3.1-70b"), on("llama-3.1-70b", precision=Precision.parse("w8a16kv8"))
    assert 2 * narrow.weight_bytes_per_chip == wide.weight_bytes_per_chip
    assert 2 * narrow.kv_bytes_per_token_per_chip == wide.kv_bytes_per_token_per_chip
    left = wide.usable_bytes_per_chip - narrow.weight_bytes_per_chip - narrow.activation_bytes_per_chip
    assert narrow.kv_blocks == left // (narrow.kv_bytes_per_token_per_chip * narrow.kv_block_tokens)


def test_a_placement_needs_a_parallelism_that_divides() -> None:
    """What cannot be cut cannot be placed: 28 heads over 8 chips."""
    with pytest.raises(InputError, match="a divisor of the 28 attention heads"):
        on("qwen2.5-7b")
