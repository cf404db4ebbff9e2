"""Near-memory units: two books that both sum, routes that skip the interface, a policy by cost."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import pytest
import replay_twin as twin
from pydantic_core import PydanticCustomError

from archsim.errors import InputError
from archsim.hardware.library import load_system
from archsim.hardware.near_spec import check_near_memory
from archsim.hardware.system import System
from archsim.mapping.parallelism import Parallelism
from archsim.mapping.plan import Plan, unrolled
from archsim.mapping.sharding import plan_iteration
from archsim.serving.replay import replay
from archsim.serving.requests import Arrival, Limits
from archsim.step.costs import StepCosts
from archsim.step.record import StepRecord
from archsim.step.simulate import simulate_step
from archsim.units import PS_PER_S
from archsim.workload.batch import Batch
from archsim.workload.model import load_model
from archsim.workload.precision import Precision

MODEL = load_model("llama-3.1-8b")
PNM = "h100-sxm8-pnm"
PLACE = "chip.near_memory.pnm.place"


def plan_on(name: str, settings: Sequence[str] = (), *, batch: int = 16, context: int = 2048) -> tuple[Plan, System]:
    spec = load_system(name, settings)
    ways = Parallelism.default(spec)
    plan = plan_iteration(MODEL, Precision.parse("w16a16kv16"), ways, spec, Batch.of_decode(batch, context))
    return plan, System(spec)


def record_on(name: str, settings: Sequence[str] = (), *, batch: int = 16, context: int = 2048) -> StepRecord:
    return simulate_step(*plan_on(name, settings, batch=batch, context=context))


def useful(record: StepRecord, scope: str) -> float:
    return math.fsum(amount for account, amount in record.books[scope].items() if account.startswith("useful"))


@pytest.mark.parametrize("access", ["blocked", "interleaved"])
@pytest.mark.parametrize("place", ["none", "attention", "auto"])
def test_both_books_of_a_memory_sum_exactly(place: str, access: str) -> None:
    """Arrays and interface have peaks of their own, and every byte/s of either is booked once."""
    record = record_on(PNM, [f"{PLACE}={place}", f"chip.near_memory.pnm.host_access={access}"])
    scopes = {scope.name: scope for scope in record.scopes}
    for name in ("chip0-7.hbm.array", "chip0-7.hbm.phy", "chip0-7.pnm"):
        booked = scopes[name].peak_per_s * record.time_ps / PS_PER_S
        assert math.fsum(record.books[name].values()) == pytest.approx(booked, rel=1e-9)
    assert scopes["chip0-7.hbm.array"].peak_per_s == pytest.approx(8 * 5 * 16 * 64 * 6.4e9 / 8)
    assert scopes["chip0-7.hbm.phy"].peak_per_s == pytest.approx(8 * 5 * 16 * 64 * 5.234375e9 / 8)


def test_a_unit_that_runs_nothing_changes_no_time() -> None:
    """With the policy `none` the machine is the one without units, to the picosecond."""
    idle, without = record_on(PNM, [f"{PLACE}=none"]), record_on("h100-sxm8")
    assert idle.time_ps == without.time_ps
    assert useful(idle, "chip0-7.hbm.phy") == useful(without, "chip0-7.hbm")
    assert useful(idle, "chip0-7.hbm.array") == useful(without, "chip0-7.hbm")


def test_keys_and_values_read_near_the_memory_skip_the_interface() -> None:
    """The arrays book the whole cache once, the interface none of it; weights pass both."""
    near, far = record_on(PNM, [f"{PLACE}=attention"]), record_on("h100-sxm8")
    book, array, phy = far.books["chip0-7.hbm"], near.books["chip0-7.hbm.array"], near.books["chip0-7.hbm.phy"]
    assert array["useful_kv_read"] == book["useful_kv_read"]
    assert "useful_kv_read" not in phy
    assert array["useful_weights"] == phy["useful_weights"] == book["useful_weights"]


def test_repeated_layers_and_folded_chips_give_what_the_long_way_gives() -> None:
    """Units change nothing about exactness: unrolled and unfolded iterations take the same picoseconds."""
    plan, system = plan_on(PNM, [f"{PLACE}=attention"], batch=4)
    short, long = simulate_step(plan, system), simulate_step(unrolled(plan), system)
    assert short.time_ps == long.time_ps
    for scope, accounts in short.books.items():
        assert long.books[scope] == pytest.approx(accounts, rel=1e-12)
    alone = simulate_step(replace(plan, identical_ranks=False), system)
    assert alone.time_ps == short.time_ps
    parts = [alone.books[f"chip{chip}.hbm.array"]["useful_kv_read"] for chip in range(8)]
    assert sum(parts) == pytest.approx(short.books["chip0-7.hbm.array"]["useful_kv_read"], rel=1e-12)


@pytest.mark.parametrize("batch", [1, 16, 64])
def test_the_policy_by_cost_is_as_fast_as_the_faster_order(batch: int) -> None:
    """`auto` is no slower than `attention` and than `none` where kernels follow each other."""
    times = {
        place: record_on(PNM, [f"{PLACE}={place}"], batch=batch).time_ps for place in ("auto", "attention", "none")
    }
    assert times["auto"] == min(times.values())


@pytest.mark.parametrize(
    ("settings", "key", "words"),
    [
        (["chip.near_memory.pnm.place=gemv"], "place", "lacks gemv"),
        (["chip.near_memory.pnm.memory=dram"], "memory", "one of the memories hbm"),
        (["chip.near_memory.pnm.level=bank"], "banks_per_unit", "at the level"),
        (["chip.near_memory.pnm.level=channel", "chip.memory.hbm.device=sram-64b"], "level", "timing table"),
    ],
)
def test_what_cannot_be_is_refused_by_name(settings: list[str], key: str, words: str) -> None:
    """The message names the key and what was expected."""
    with pytest.raises(InputError) as caught:
        load_system(PNM, settings)
    assert any(key in problem.key and words in problem.expected for problem in caught.value.problems)


def test_a_forced_kernel_that_exceeds_the_shards_is_an_error() -> None:
    """`auto` leaves it to the host instead."""
    tight = "chip.near_memory.pnm.shard_limit=1 MiB"
    with pytest.raises(InputError, match="bytes of shards in each of 5 units"):
        record_on(PNM, [tight, f"{PLACE}=attention"])
    assert record_on(PNM, [tight]).time_ps == record_on("h100-sxm8").time_ps


def test_the_replay_equals_its_token_by_token_twin_with_units_at_work() -> None:
    """Batches, contexts and prefills cross from one side to the other; every request's times stay the same integers."""
    spec = load_system("hbm-pim")
    system, ways, bits = System(spec), Parallelism.default(spec), Precision.parse("w8a16kv16")
    costs = StepCosts(lambda batch: simulate_step(plan_iteration(MODEL, bits, ways, spec, batch), system))
    limits = Limits(max_batch=3, max_prefill_tokens=64, kv_blocks=40, block_tokens=8, context_tokens=100)
    arrivals = [Arrival(4 * 10**10 * (index // 3), 9 + 5 * index, 3 + 2 * index) for index in range(7)]
    record, slow = replay(arrivals, costs, limits=limits), twin.twin_replay(arrivals, costs, limits)
    assert record.requests.finish_ps.tolist() == [row.finish_ps for row in slow.rows]
    assert record.requests.first_token_ps.tolist() == [row.first_token_ps for row in slow.rows]


@pytest.mark.parametrize(
    ("name", "unit"), [("hbm-pim", "pim"), ("gddr6-aim", "aim"), ("phone-lpddr-pim", "pim"), ("attacc", "attacc")]
)
def test_every_design_balances_and_is_no_slower_than_its_host_by_cost(name: str, unit: str) -> None:
    """Units at the banks: both books sum (the step floor checks them), and `auto` never loses to `none`."""
    auto, none = (record_on(name, [f"chip.near_memory.{unit}.place={place}"], batch=1) for place in ("auto", "none"))
    assert auto.time_ps <= none.time_ps


def test_host_and_units_that_cooperate_finish_sooner() -> None:
    """Projections overlap with attention, other products are cut: less time, the same useful work."""
    work = "chip.near_memory.attacc.host_work"
    waits, together = (record_on("attacc", [f"{work}={how}"], batch=8) for how in ("waits", "cooperates"))
    assert together.time_ps < waits.time_ps
    assert useful(together, "chip0-7.pim.array") > useful(waits, "chip0-7.pim.array")


def test_a_unit_that_multiplies_a_row_at_a_time_reads_again_for_each_row() -> None:
    """Twice the rows near the memory are twice the array bytes: the second half is overfetch."""
    one, two = (record_on("hbm-pim", ["chip.near_memory.pim.place=all"], batch=batch) for batch in (1, 2))
    array = [record.books["chip0.hbm.array"] for record in (one, two)]
    assert array[0]["useful_weights"] == pytest.approx(array[1]["useful_weights"], rel=1e-3)
    weights = array[1]["useful_weights"]
    assert array[1]["overfetch"] - array[0]["overfetch"] > 0.9 * weights


def test_a_level_that_a_memory_does_not_have_is_refused() -> None:
    """A package of LPDDR has banks and bank groups, but no base die under a stack."""
    unit = load_system("attacc-buffer").chip.near_memory["attacc"].model_copy(update={"level": "base_die"})
    phone = load_system("phone-lpddr-pim").chip.memory["dram"]
    with pytest.raises(PydanticCustomError, match="levels of LPDDR5X"):
        check_near_memory({"attacc": unit}, {"pim": phone})
