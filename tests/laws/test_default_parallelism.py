"""The parallelism of a run that names none: it uses all chips, divides, holds the model, and stays inside a domain."""

from __future__ import annotations

import pytest

from archsim.hardware.library import load_system, system_names
from archsim.mapping.default import default_ways
from archsim.mapping.parallelism import Parallelism, check_parallelism
from archsim.mapping.placement import place
from archsim.workload.model import load_model
from archsim.workload.precision import Precision

MODEL = load_model("llama-3.1-8b")
BITS = Precision.parse("w8a16kv16")


@pytest.mark.parametrize("name", system_names())
def test_every_bundled_system_holds_an_8b_model_by_default(name: str) -> None:
    """Whatever the number of chips, the default divides the model, uses them all and fits."""
    system = load_system(name)
    ways = Parallelism.parse(default_ways(MODEL, BITS, system))
    check_parallelism(ways, MODEL, system)
    assert place(MODEL, BITS, system, ways).kv_tokens > 0


@pytest.mark.parametrize(
    ("name", "ways"),
    [
        ("h100-sxm8", Parallelism(8)),
        ("gb200-nvl72", Parallelism(8, dp=9)),
        ("h100-sxm8x4", Parallelism(8, dp=4)),
        ("tpu-v4-64", Parallelism(32, dp=2)),
        ("risc-v-chiplets", Parallelism(16)),
    ],
)
def test_tensor_ranks_fill_a_domain_and_replicas_the_rest(name: str, ways: Parallelism) -> None:
    """32 heads: 72 = 8 x 9, 64 = 32 x 2; a node of eight bounds tensor ranks where nodes are joined by slower links."""
    assert Parallelism.parse(default_ways(MODEL, BITS, load_system(name))) == ways


def test_sram_takes_as_many_stages_as_hold_the_model_and_no_more() -> None:
    """8.03 GB over nodes of 8 x 230 MB: with one stage less of the divisors of 72 nodes, 32 sequences do not fit."""
    system = load_system("groq-576")
    ways = Parallelism.parse(default_ways(MODEL, BITS, system))
    assert ways.tp == 8
    assert ways.tp * ways.pp * ways.dp == 576
    fewer = max(stages for stages in range(1, ways.pp) if 72 % stages == 0)
    held = place(MODEL, BITS, system, Parallelism(8, pp=ways.pp, dp=ways.dp))
    assert held.missing_bytes_per_chip(held.blocks_for(32, 1024)) <= 0
    tight = held.demand.__class__(MODEL, BITS, system, Parallelism(8, pp=fewer, dp=72 // fewer)).over(8)
    assert tight.missing_bytes_per_chip(tight.blocks_for(32, 1024)) > 0


def test_a_model_that_one_node_cannot_hold_takes_stages_over_nodes() -> None:
    """405e9 parameters of 2 bytes are more than 8 x 80 GB: two nodes of eight are two stages."""
    big = load_model("llama-3.1-405b")
    ways = default_ways(big, Precision.parse("w16a16kv16"), load_system("h100-sxm8x2"))
    assert Parallelism.parse(ways) == Parallelism(8, pp=2)


def test_tensor_ranks_span_domains_where_no_stages_of_one_hold_the_model() -> None:
    """A layer of 70e9 / 80 parameters is 0.86 GB; an eighth of it twice, in 72 stages, is more than a chip's 214 MB."""
    big, system = load_model("llama-3.1-70b"), load_system("groq-576")
    ways = Parallelism.parse(default_ways(big, BITS, system))
    assert (ways.tp > 8, ways.chips) == (True, 576)
    assert place(big, BITS, system, ways).kv_tokens >= 1024
