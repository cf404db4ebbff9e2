"""Experts on their own ranks: laws of popularity, who waits for whom, and what the exchanges carry."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from archsim.errors import InputError
from archsim.hardware.library import load_system
from archsim.hardware.system import System
from archsim.mapping.parallelism import Parallelism
from archsim.mapping.plan import Plan
from archsim.mapping.sharding import Cut
from archsim.metrics.accounts import USEFUL
from archsim.simulate import evaluate_step
from archsim.step.simulate import simulate_step
from archsim.workload.batch import Batch
from archsim.workload.model import load_model
from archsim.workload.operators import distinct_experts
from archsim.workload.precision import Precision
from archsim.workload.routing import UNIFORM, Load, Logged, Routing, Zipf, load_routing

LAWS = settings(max_examples=40, deadline=None, derandomize=True, database=None)
W16 = Precision.parse("w16a16kv16")
H100 = load_system("h100-sxm8")
PARTS = System(H100)
MODEL = load_model("qwen3-30b-a3b")
LOG = "seq,pos,l1,l2\n0,0,8 26,1 2\n0,1,127 3,4 5\n1,0,9 10,0 1\n"


def plan(text: str, batch: int, routing: Routing = UNIFORM) -> Plan:
    """Return the plan of *batch* sequences of 256 tokens."""
    return Cut.of(MODEL, W16, Parallelism.parse(text), H100, routing=routing).plan(Batch.of_decode(batch, 256))


@LAWS
@given(
    exponent=st.floats(0, 8),
    tokens=st.integers(1, 5000),
    ranks=st.sampled_from([1, 2, 8, 128]),
    name=st.sampled_from(["qwen3-30b-a3b", "mixtral-8x7b"]),
)
def test_a_law_routes_every_token_to_its_experts(exponent: float, tokens: int, ranks: int, name: str) -> None:
    """Pairs sum to tokens x experts a token; no rank touches more experts than it has or than it gets pairs."""
    model = load_model(name)
    ranks = min(ranks, model.experts)
    loads = Zipf(exponent).loads(model, tokens, layer=0, ranks=ranks)
    assert sum((load.routed for load in loads), Fraction(0)) == tokens * model.experts_per_token
    for load in loads:
        assert 0 <= load.touched <= model.experts // ranks
        assert load.touched <= load.routed + Fraction(tokens, 2**30)


@pytest.mark.parametrize("tokens", [1, 8, 64, 1000])
def test_no_exponent_is_uniform(tokens: int) -> None:
    """A power of zero makes all experts equal: the count of distinct ones is the formula's."""
    (flat,) = Zipf(0.0).loads(MODEL, tokens, layer=0, ranks=1)
    assert float(flat.touched) == pytest.approx(distinct_experts(MODEL, tokens) / 1024, rel=1e-3)


def test_a_steeper_law_touches_fewer_experts_and_loads_the_hottest_rank_more() -> None:
    """With the exponent the distinct experts fall and the share of the most popular one rises, to every token."""
    found = [Zipf(exponent).loads(MODEL, 32, layer=0, ranks=MODEL.experts) for exponent in (0.0, 0.5, 1.0, 2.0, 4.0)]
    touched = [sum(load.touched for load in loads) for loads in found]
    hottest = [max(load.routed for load in loads) for loads in found]
    assert touched == sorted(touched, reverse=True)
    assert hottest == sorted(hottest)
    assert hottest[0] == pytest.approx(32 * MODEL.experts_per_token / MODEL.experts, rel=1e-9)
    assert hottest[-1] == 32


def test_equal_ranks_fold_and_unequal_ones_wait_for_the_slowest() -> None:
    """Uniform experts make all ranks alike; with a popular few, all but the busiest rank book a bubble at combine."""
    even, skewed = plan("ep=8", 64), plan("ep=8", 64, Zipf(1.0))
    assert even.identical_ranks
    assert not skewed.identical_ranks
    record = simulate_step(skewed, PARTS)
    books = [record.books[f"chip{chip}.hbm"] for chip in range(8)]
    served = [sum(accounts.get(account, 0.0) for account in USEFUL) for accounts in books]
    bubbles = [accounts.get("bubble", 0.0) for accounts in books]
    busiest = served.index(max(served))
    assert bubbles[busiest] < 0.01 * max(bubbles)
    assert all(bubble > 0 for chip, bubble in enumerate(bubbles) if chip != busiest)
    assert all("bubble" not in accounts for accounts in simulate_step(even, PARTS).books.values())


@pytest.mark.parametrize(("text", "groups"), [("ep=8", 8), ("tp=2,ep=8", 4), ("tp=8,ep=8", 1)])
def test_dispatch_and_combine_carry_tokens_times_experts_times_hidden(text: str, groups: int) -> None:
    """All ranks together send 64 x 8 x 2048 elements each way; a group reduces and gathers its own tokens."""
    layer = next(segment for segment in plan(text, 64).segments if segment.name == "layer")
    sizes = {task.name: task.collective for task in layer.tasks if task.collective}
    for name in ("dispatch", "combine"):
        assert sizes[name].bytes * 8 == 64 * MODEL.experts_per_token * MODEL.hidden * 2
    names = ["dispatch", "combine"]
    if groups < 8:
        names = ["attention_all_reduce", *names, "mlp_all_gather"]
        for name in (names[0], names[-1]):
            assert sizes[name].bytes == 64 // groups * MODEL.hidden * 2
            assert sizes[name].ways == (8 // groups if groups > 1 else 0)
    assert list(sizes) == names


@pytest.mark.parametrize(("text", "context"), [("tp=8,ep=4", []), ("tp=2,cp=4,ep=2", ["context_all_to_all"])])
def test_experts_on_parts_of_one_group_are_summed_and_not_sent(text: str, context: list[str]) -> None:
    """Every rank has all tokens: nothing is dispatched, and one all-reduce carries 64 x 2048 elements."""
    layer = next(segment for segment in plan(text, 64).segments if segment.name == "layer")
    sizes = {task.name: task.collective for task in layer.tasks if task.collective}
    assert list(sizes) == [*context, "attention_all_reduce", "mlp_all_reduce"]
    assert sizes["mlp_all_reduce"].bytes == 64 * MODEL.hidden * 2


def test_ranks_of_the_part_with_the_popular_experts_are_waited_for() -> None:
    """Each of four parts is two neighbours with equal slices: equal books, and the busiest two wait for nobody."""
    record = simulate_step(plan("tp=8,ep=4", 64, Zipf(1.0)), PARTS)
    bubbles = [record.books[f"chip{chip}.hbm"].get("bubble", 0.0) for chip in range(8)]
    weights = [record.books[f"chip{chip}.hbm"]["useful_weights"] for chip in range(8)]
    assert bubbles[::2] == bubbles[1::2]
    assert weights[::2] == weights[1::2]
    assert bubbles[weights.index(max(weights))] < 0.01 * max(bubbles)
    assert len(set(bubbles)) == 4


def test_a_group_without_sequences_serves_experts_all_the_same() -> None:
    """Three sequences on eight groups: five ranks attend to nothing and read their experts' weights."""
    record = simulate_step(plan("ep=8", 3), PARTS)
    for chip in range(8):
        accounts = record.books[f"chip{chip}.hbm"]
        assert accounts["useful_weights"] > 0
        assert ("useful_kv_read" in accounts) == (chip < 3)
        assert (accounts.get("bubble", 0.0) > 0) == (chip >= 3)


def test_a_log_is_followed_token_by_token_and_layer_by_layer(tmp_path: Path) -> None:
    """Two of two tokens are both, one is one of them; layer i of a model takes the log's layer i modulo two."""
    path = tmp_path / "log.csv"
    path.write_text(LOG)
    model = load_model("mixtral-8x7b")
    log = load_routing(str(path))
    with pytest.raises(InputError, match=r"2 experts a token, numbers up to 127.*2 a token of 8 experts"):
        log.check(model)
    small = Logged("made", (((0, 7), (1, 7)), ((2, 3), (4, 5))))
    small.check(model)
    assert small.loads(model, 2, layer=0, ranks=4) == (
        Load(Fraction(2), Fraction(2)), Load(Fraction(0), Fraction(0)), Load(Fraction(0), Fraction(0)),
        Load(Fraction(2), Fraction(1)),
    )  # fmt: skip
    assert small.loads(model, 1, layer=2, ranks=2) == (Load(Fraction(1), Fraction(1)),) * 2
    assert sum(load.routed for load in small.loads(model, 1, layer=3, ranks=2)) == 2
    cut = Cut.of(model, W16, Parallelism.parse("ep=8"), H100, routing=small)
    plan_of = cut.plan(Batch.of_decode(2, 9))
    assert [(s.name, s.repeats) for s in plan_of.segments] == [("embed", 1), ("layer0", model.layers // 2), ("head", 1)]
    assert [task.name for task in plan_of.segments[1].tasks].count("dispatch") == 2


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", "columns seq, pos, l1"),
        ("seq,pos\n0,0\n", "columns seq, pos, l1"),
        ("seq,pos,l1\n", "at least one token"),
        ("seq,pos,l1\n0,0,1 1\n", "line 2.*different experts"),
        ("seq,pos,l1\n0,0,1 2\n0,1,3\n", "line 3.*2 different experts"),
        ("seq,pos,l1\n0,0,1 x\n", "line 2"),
        ("seq,pos,l1\n0,0,1 99999\n", "line 2"),
        ("seq,pos,l1\n0,0\n", "line 2.*3 cells"),
    ],
)
def test_a_log_that_is_none_is_refused_with_its_line(tmp_path: Path, content: str, words: str) -> None:
    """The message says what a line should hold."""
    path = tmp_path / "log.csv"
    path.write_text(content)
    with pytest.raises(InputError, match=words):
        load_routing(str(path))


@pytest.mark.parametrize("text", ["zipf", "zipf:", "zipf:-1", "zipf:nan", "zipf:9", "zip:1", "nowhere.csv", ""])
def test_a_routing_that_is_none_is_refused(text: str) -> None:
    """Only the laws and files that exist are routings."""
    with pytest.raises(InputError, match="zipf:S"):
        load_routing(text)


def test_a_routing_is_part_of_the_command() -> None:
    """What experts get is asked for beside the ways, and the canonical command says it."""
    result = evaluate_step(H100, MODEL, batch=16, context=300, parallelism="tp=2,ep=8,experts=zipf:1")
    assert "--parallel tp=2,dp=4,ep=8,experts=zipf:1 " in result.provenance.command + " "
    even = evaluate_step(H100, MODEL, batch=16, context=300, parallelism="tp=2,ep=8")
    assert result.latency_s.tpot.mean != even.latency_s.tpot.mean
