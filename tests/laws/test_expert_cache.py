"""Experts that lie in a slower memory: what a cache of them misses, and where the bytes of misses go."""

from __future__ import annotations

import math
import re
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from archsim.errors import InputError
from archsim.hardware.library import load_system
from archsim.hardware.system import System
from archsim.mapping.parallelism import Parallelism
from archsim.mapping.plan import Plan, Task, Transfer
from archsim.mapping.sharding import Cut, plan_iteration
from archsim.simulate import evaluate_step
from archsim.step.work import work_of
from archsim.workload.batch import Batch
from archsim.workload.expert_cache import Cached, misses_of
from archsim.workload.model import load_model
from archsim.workload.precision import Precision
from archsim.workload.routing import UNIFORM, Zipf, load_routing

LAWS = settings(phases=[Phase.generate], max_examples=80, deadline=None, derandomize=True, database=None)
MIXTRAL, LITE = load_model("mixtral-8x7b"), load_model("deepseek-v2-lite")
APART = ["placement.experts=['lpddr']"]
CACHED = [*APART, 'placement.expert_cache="50 GB"', "placement.expert_policy=lru"]


@st.composite
def visits(draw: st.DrawFn) -> tuple[list[list[int]], list[int], int]:
    """Return the experts that iterations touch, the places of all experts among the popular, and slots."""
    experts = draw(st.integers(2, 9))
    touched = draw(st.lists(st.sets(st.integers(0, experts - 1), max_size=experts), min_size=1, max_size=20))
    places = draw(st.permutations(range(experts)))
    return [sorted(one) for one in touched], list(places), draw(st.integers(1, experts))


def as_rows(touched: list[list[int]], experts: int) -> list[np.ndarray[tuple[int], np.dtype[np.bool_]]]:
    """Return the same as a row of truths an iteration."""
    return [np.isin(np.arange(experts), one) for one in touched]


@LAWS
@given(case=visits())
def test_least_recently_used_equals_a_list(case: tuple[list[list[int]], list[int], int]) -> None:
    """A list, the last touched first: those of an iteration go to its head by number, and what falls off is gone."""
    touched, places, slots = case
    cache = sorted(range(len(places)), key=lambda expert: places[expert])[:slots]
    seen = missed = kept = 0
    for one in touched:
        new = [expert for expert in one if expert not in cache]
        cache = ([*one, *(expert for expert in cache if expert not in one)])[:slots]
        seen, missed, kept = seen + len(one), missed + len(new), kept + sum(expert in cache for expert in new)
    found = misses_of(as_rows(touched, len(places)), np.array([places]), slots=slots, policy="lru", warm_up=0)
    assert found == ((seen, missed, kept),)


@LAWS
@given(case=visits())
def test_least_frequently_used_equals_counts(case: tuple[list[list[int]], list[int], int]) -> None:
    """Of what is there and what is touched, those of the most iterations stay; of equals the popular ones."""
    touched, places, slots = case
    cache = set(sorted(range(len(places)), key=lambda expert: places[expert])[:slots])
    counts = dict.fromkeys(range(len(places)), 0)
    seen = missed = kept = 0
    for one in touched:
        for expert in one:
            counts[expert] += 1
        new = set(one) - cache
        cache = set(sorted(cache | set(one), key=lambda expert: (-counts[expert], places[expert]))[:slots])
        seen, missed, kept = seen + len(one), missed + len(new), kept + len(new & cache)
    found = misses_of(as_rows(touched, len(places)), np.array([places]), slots=slots, policy="lfu", warm_up=0)
    assert found == ((seen, missed, kept),)


def test_popular_experts_are_never_missed() -> None:
    """One token under a law: the chances of all experts but the most popular, exactly; all of them without a slot."""
    law = Zipf(1.0)
    each = law.loads(LITE, 4, layer=0, ranks=LITE.experts)
    ordered = sorted((load.touched for load in each), reverse=True)
    for slots in (1, 20, 63):
        (load,) = Cached(law, slots, "popular").loads(LITE, 4, layer=0, ranks=1, sequences=4)
        assert load.missed == sum(ordered[slots:], Fraction(0))
        assert load.kept == 0
    (none,) = Cached(law, 0, "popular").loads(LITE, 4, layer=0, ranks=1)
    assert none.missed == none.touched
    (every,) = Cached(law, 64, "lru").loads(LITE, 4, layer=0, ranks=1)
    assert every.missed == 0


def test_without_popularity_a_cache_serves_its_share() -> None:
    """Uniform draws, one token: whatever 32 of 64 experts are there, half of the next ones are; 256 x 6 draws."""
    cached = Cached(UNIFORM, 32, "lru")
    (found,) = cached.missed(LITE, 1, layer=0, ranks=1, sequences=1)
    # Four standard deviations.
    assert abs(float(found.share) - 0.5) < 4 * math.sqrt(0.25 / found.touched)


def test_overlap_between_iterations_makes_hits() -> None:
    """Half of a token's experts are those of the token before: half of the misses of independent tokens are left."""
    shares = []
    for kept in (Fraction(0), Fraction(1, 2)):
        (found,) = Cached(Zipf(0.0, kept), 32, "lru").missed(LITE, 1, layer=0, ranks=1, sequences=1)
        shares.append(float(found.share))
    assert shares[1] == pytest.approx(shares[0] / 2, abs=0.05)


def test_misses_of_a_log_are_what_neighbours_do_not_share(shared: Path) -> None:
    """Six slots, one sequence: a token finds the experts of the token before, 29 % of them in the routes of `law`."""
    log = load_routing(str(shared / "traces/moe_routing/dsv2lite_law.csv.gz"))
    cached = Cached(log, 6, "lru")
    found = [cached.missed(LITE, 1, layer=layer, ranks=1, sequences=1)[0] for layer in range(log.layers)]
    hits = 1 - sum(one.missed for one in found) / sum(one.touched for one in found)
    assert hits == pytest.approx(0.29, abs=0.03)
    larger = Cached(log, 32, "lru").missed(LITE, 1, layer=3, ranks=1, sequences=1)[0]
    assert larger.share < found[3].share


def plan_of(batch: Batch, settings: list[str], routing: object = UNIFORM, ways: int = 1) -> Plan:
    """Return the plan of Mixtral on a GH200 with *settings*."""
    spec = load_system("gh200-c2c", settings)
    cut = Cut.of(MIXTRAL, Precision.parse("w8a16kv16"), Parallelism(ways), spec, routing=routing)  # type: ignore[arg-type]
    return cut.plan(batch)


@pytest.mark.parametrize("batch", [Batch.of_decode(4, 1000), Batch.of_prefill(300)], ids=["decode", "prefill"])
def test_a_cache_of_all_experts_changes_nothing_but_room(batch: Batch) -> None:
    """The kernels of one rank with every expert in the cache are those of a chip whose experts are weights."""
    whole = [*APART, 'placement.expert_cache="60 GB"', "placement.expert_policy=lru", "placement.weights=['hbm']"]
    plain = plan_of(batch, ["placement.weights=['hbm']"])
    assert plan_of(batch, whole).segments == plain.segments


def weights_by_memory(plan: Plan) -> dict[tuple[str, str], int]:
    """Return (memory, tensor) -> bytes of a plan's weights and of what is moved."""
    found: dict[tuple[str, str], int] = {}
    for segment in plan.segments:
        for transfer in (transfer for task in segment.tasks for transfer in task.transfers):
            if transfer.tensor in {"weights", "moved"}:
                key = (transfer.level, transfer.tensor)
                found[key] = found.get(key, 0) + segment.repeats * transfer.bytes
    return found


@pytest.mark.parametrize("policy", ["lru", "lfu", "popular"])
def test_hits_and_misses_are_all_that_is_touched(policy: str) -> None:
    """Bytes of experts from HBM and over the port sum to what an iteration reads; what is kept is written once."""
    batch, law = Batch.of_decode(4, 1000), Zipf(1.0)
    given = [*APART, 'placement.expert_cache="25 GB"', f"placement.expert_policy={policy}", "placement.weights=['hbm']"]
    spec = load_system("gh200-c2c", given)
    cut = Cut.of(MIXTRAL, Precision.parse("w8a16kv16"), Parallelism(1), spec, routing=law)
    assert isinstance(cut.routing, Cached)
    # An expert of a layer is 3 x 4096 x 14336 bytes; 32 layers, 8 experts.
    expert = 3 * 4096 * 14336
    assert cut.routing.slots == 25 * 10**9 // (32 * expert) == 4
    found = weights_by_memory(cut.plan(batch))
    (load,) = cut.routing.loads(MIXTRAL, 4, layer=0, ranks=1, sequences=4)
    assert found["lpddr", "weights"] == pytest.approx(32 * load.missed * expert, rel=1e-6)
    assert found.get(("hbm", "moved"), 0) == pytest.approx(32 * load.kept * expert, rel=1e-6)
    every = plan_of(batch, ["placement.weights=['hbm']"], law)
    assert found["hbm", "weights"] + found["lpddr", "weights"] == pytest.approx(
        weights_by_memory(every)["hbm", "weights"], rel=1e-6
    )


def test_misses_that_engines_cannot_read_pass_the_memory_before() -> None:
    """SN40L's DDR5 lies behind its HBM: every missed byte is written there and read again."""
    given = ["placement.experts=['ddr']", 'placement.expert_cache="2 GB"', "placement.expert_policy=popular"]
    spec = load_system("sn40l-16", given)
    plan = plan_iteration(
        MIXTRAL, Precision.parse("w8a16kv16"), Parallelism(8, dp=2), spec, Batch.of_decode(4, 1000), routing=Zipf(1.0)
    )
    found = weights_by_memory(plan)
    assert found["hbm", "moved"] == 2 * found["ddr", "weights"] > 0


def test_what_a_router_chose_is_not_read_ahead() -> None:
    """Weights run ahead of their kernel; those of missed experts are among what waits for it."""
    system = System(load_system("gh200-c2c", ["runtime.prefetch=stream"]))
    weights = Transfer("hbm", "weights", 10**6, 10**6, write=False, run_bytes=10**6)
    known, chosen = (work_of(Task("up", (one,)), system).chunks[0] for one in (weights, replace(weights, late=True)))
    assert known.streamed
    assert not known.bound
    assert chosen.bound
    assert not chosen.streamed


@pytest.mark.slow
def test_a_smaller_cache_is_slower_and_its_port_busier() -> None:
    """Time of a token falls with the slots; the port's memory is what HBM waits for."""
    times = []
    for cache in ("6 GB", "25 GB", "45 GB"):
        given = [*APART, f'placement.expert_cache="{cache}"', "placement.expert_policy=lru"]
        result = evaluate_step(
            load_system("gh200-c2c", given), MIXTRAL, batch=2, context=500, precision="w8a16kv16",
            parallelism="experts=zipf:1+keep=0.3",
        )  # fmt: skip
        times.append(result.latency_s.tpot.mean or 0)
        for scope, book in result.ledger.items():
            assert math.fsum(book.accounts.values()) == pytest.approx(1.0, rel=1e-9), scope
        assert result.ledger["chip0.lpddr"].accounts["useful_weights"] > 0
    assert times[0] > times[1] > times[2]


def test_one_chip_takes_a_law_of_popularity() -> None:
    """Ranks that share all experts follow a law, too: fewer different ones than uniform routing touches."""
    batch = Batch.of_decode(4, 1000)
    plain, hot = (weights_by_memory(plan_of(batch, [], law))["hbm", "weights"] for law in (UNIFORM, Zipf(1.5)))
    assert hot < plain


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        ([*APART, 'placement.expert_cache="10 GB"'], "expert_cache and expert_policy together"),
        ([*APART, "placement.expert_policy=lru"], "expert_cache and expert_policy together"),
        (['placement.expert_cache="10 GB"', "placement.expert_policy=lru"], "memories in experts"),
        (["placement.experts=['ddr']"], "memories of the chip: hbm, lpddr"),
        ([*APART, 'placement.expert_cache="10 GB"', "placement.expert_policy=mru"], "'lru', 'lfu' or 'popular'"),
    ],
)
def test_a_wrong_cache_is_refused_by_key(overrides: list[str], expected: str) -> None:
    """Each problem names what was expected."""
    with pytest.raises(InputError, match=re.escape(expected)):
        load_system("gh200-c2c", overrides)


@pytest.mark.parametrize(
    ("model", "settings", "ways", "expected"),
    [
        ("llama-3.1-8b", CACHED, "tp=1", "a model with experts, which llama-3.1-8b has not"),
        ("mixtral-8x7b", [*CACHED, 'placement.expert_cache="1 GB"'], "tp=1", "an expert of each layer"),
        ("llama-3.1-8b", [], "experts=zipf:1", "nothing for a model without experts"),
        ("mixtral-8x7b", [], "experts=zipf:1+hot=2", "copies are for expert ranks"),
        ("mixtral-8x7b", ['chip.memory.lpddr.stack_capacity="10 GB"', *APART], "tp=1", "experts lack"),
    ],
)
def test_what_cannot_be_is_refused(model: str, settings: list[str], ways: str, expected: str) -> None:
    """A dense model, a cache for less than an expert a layer, copies that nobody has, a memory that is too small."""
    with pytest.raises(InputError, match=re.escape(expected)):
        evaluate_step(load_system("gh200-c2c", settings), load_model(model), batch=1, context=100, parallelism=ways,
                      precision="w8a16kv16")  # fmt: skip


def test_a_log_of_another_model_is_refused_on_one_chip(shared: Path) -> None:
    """Six of 64 experts a token are not two of eight."""
    log = shared / "traces/moe_routing/dsv2lite_law.csv.gz"
    with pytest.raises(InputError, match="2 a token of 8 experts, as mixtral-8x7b has"):
        evaluate_step(load_system("gh200-c2c"), MIXTRAL, batch=1, context=100, parallelism=f"experts={log}")
