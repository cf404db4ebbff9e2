"""Memory tiers: what lies where, bytes that are conserved, bounds that hold, and errors that name the tier."""

from __future__ import annotations

import math
import re
from collections import Counter
from dataclasses import replace
from fractions import Fraction

import pytest

from archsim.errors import CapacityError, InputError
from archsim.hardware.library import load_system
from archsim.hardware.spec import SystemSpec
from archsim.hardware.system import System
from archsim.mapping.parallelism import Parallelism
from archsim.mapping.placement import place
from archsim.mapping.plan import Plan, unrolled
from archsim.mapping.sharding import Cut
from archsim.mapping.tiers import cut, filling
from archsim.result import Result
from archsim.simulate import evaluate_step
from archsim.step.costs import FINE_BITS, StepCosts
from archsim.step.record import StepRecord
from archsim.step.simulate import simulate_step
from archsim.units import PS_PER_S
from archsim.workload.batch import Batch
from archsim.workload.model import load_model
from archsim.workload.precision import Precision

W8 = Precision.parse("w8a16kv16")
LLAMA = load_model("llama-3.1-8b")
LARGE = load_model("llama-3.1-405b")
HBF = load_system("h100-hbf")
ON_TWO = ('placement.weights=["hbm","hbf"]', "placement.kv_reserve=40 GB")
BEHIND_HBM = 'placement.weights=["ddr"]'


def plan(system: SystemSpec, batch: Batch, model: object = LLAMA, ways: Parallelism | None = None) -> Plan:
    """Return one iteration of *batch* of a model in 8 bits."""
    return Cut.of(model, W8, ways or Parallelism.default(system), system).plan(batch)  # type: ignore[arg-type]


def moved(of: Plan, field: str = "bytes") -> dict[str, Counter[str]]:
    """Return tensor -> level -> bytes that a rank of *of* moves."""
    found: dict[str, Counter[str]] = {}
    for segment in of.segments:
        for task in segment.tasks:
            for transfer in task.transfers:
                found.setdefault(transfer.tensor, Counter())[transfer.level] += segment.repeats * getattr(
                    transfer, field
                )
    return found


@pytest.mark.parametrize("parts", [(("a", 1),), (("a", 3), ("b", 7)), (("a", 10**12), ("b", 1), ("c", 5))])
@pytest.mark.parametrize("amount", [0, 1, 17, 10**9 + 7])
def test_a_cut_is_whole_and_in_proportion(parts: tuple[tuple[str, int], ...], amount: int) -> None:
    """The pieces sum to the amount, and none is a whole byte off its share."""
    pieces = cut(amount, parts)
    assert sum(size for _, size in pieces) == amount
    whole = sum(size for _, size in parts)
    for (name, size), (_, share) in zip(pieces, parts, strict=True):
        assert abs(size - Fraction(amount * share, whole)) < 1, name


def test_blocks_fill_tiers_in_order() -> None:
    """The second begins where the first is full, and the last takes what is left."""
    rooms = (("a", 10), ("b", 5), ("c", 0))
    assert filling(7, rooms) == (("a", 7),)
    assert filling(12, rooms) == (("a", 10), ("b", 2))
    assert filling(21, rooms) == (("a", 10), ("b", 5), ("c", 6))


@pytest.mark.parametrize("batch", [Batch.of_decode(9, 1000), Batch.of_prefill(300)])
def test_bytes_of_every_class_are_conserved_over_tiers(batch: Batch) -> None:
    """However weights and KV are spread, the model's bytes and what replicas add are those of a single memory."""
    single = moved(plan(load_system("h100-sxm8"), batch))
    useful = moved(plan(load_system("h100-sxm8"), batch), "useful_bytes")
    for overrides in ((), ON_TWO, ('placement.weights=["hbm"]',)):
        tiered = plan(load_system("h100-hbf", overrides), batch)
        for tensor in ("weights", "kv_read", "kv_write"):
            assert moved(tiered).get(tensor, Counter()).total() == single.get(tensor, Counter()).total()
            expected = useful.get(tensor, Counter()).total()
            assert moved(tiered, "useful_bytes").get(tensor, Counter()).total() == expected


def test_weights_on_two_tiers_are_read_from_both_in_proportion() -> None:
    """405B in 8 bits: HBM holds what it has beyond 40 GB, flash the rest, and every product reads both."""
    system = load_system("h100-hbf", ON_TWO)
    ways = Parallelism(8)
    held = dict(place(LARGE, W8, system, ways).stages[0].filled.weights)
    hbm = system.chip.memory["hbm"].usable_bytes
    assert held["hbm"] == hbm - 40 * 10**9 - place(LARGE, W8, system, ways).activation_bytes_per_chip
    read = moved(plan(system, Batch.of_decode(4, 100), LARGE))["weights"]
    assert read["hbm"] / read["hbf"] == pytest.approx(held["hbm"] / held["hbf"], rel=1e-6)


def assert_bounded(record: StepRecord, of: Plan, system: System) -> None:
    """No iteration is faster than the bytes of any level at its peak."""
    by_level: Counter[str] = sum(moved(of).values(), Counter())
    for name, size in by_level.items():
        assert record.time_ps * system.levels[name].peak_bytes_per_s >= size * PS_PER_S, name


@pytest.mark.parametrize(
    ("name", "overrides"),
    [("h100-hbf", ()), ("h100-hbf", ON_TWO), ("sn40l-16", ()), ("sn40l-16", (BEHIND_HBM,))],
)
@pytest.mark.parametrize("batch", [Batch.of_decode(3, 900), Batch.of_prefill(200)])
def test_folded_and_repeated_tiers_book_what_the_long_way_books(
    name: str, overrides: tuple[str, ...], batch: Batch
) -> None:
    """Repetition and folding are exact with prefetch buffers and landing, and no tier beats its peak."""
    spec = load_system(name, overrides)
    system, short = System(spec), replace(LLAMA, layers=6)
    ways = Parallelism.default(spec)
    made = Cut.of(short, W8, ways, spec).plan(batch)
    folded, long = simulate_step(made, system), simulate_step(unrolled(made), system)
    assert long.time_ps == folded.time_ps
    for scope, accounts in folded.books.items():
        for account, amount in accounts.items():
            assert long.books[scope].get(account, 0.0) == pytest.approx(amount, rel=1e-12, abs=1e-3), (scope, account)
    few = replace(made, segments=made.segments[1:2], ranks=ways.tp)
    apart = simulate_step(replace(few, identical_ranks=False), system)
    assert apart.time_ps == simulate_step(few, system).time_ps
    assert_bounded(folded, made, system)


def test_an_unused_tier_changes_nothing() -> None:
    """All in HBM, with flash beside it: time and every other book are those of the chip without a placement."""
    everything = load_system("h100-hbf", ['placement.weights=["hbm"]'])
    bare = everything.model_copy(
        update={
            "chip": everything.chip.model_copy(
                update={"placement": None, "memory": {"hbm": everything.chip.memory["hbm"]}}
            )
        }
    )
    with_flash, without = (
        evaluate_step(system, LLAMA, batch=7, context=900, precision="w8a16kv16") for system in (everything, bare)
    )
    assert with_flash.latency_s == without.latency_s
    assert with_flash.ledger.keys() - without.ledger.keys() == {"chip0-7.hbf"}
    assert {scope: with_flash.ledger[scope] for scope in without.ledger} == without.ledger
    assert with_flash.provenance.event_count == without.provenance.event_count


def books(result: Result) -> None:
    """Every scope's shares sum to one."""
    for scope in result.ledger.values():
        assert math.fsum(scope.accounts.values()) == pytest.approx(1.0, abs=1e-9)


def test_what_lands_on_the_way_is_moved_twice_and_useful_once() -> None:
    """Weights behind HBM: DDR books them as useful, HBM a write and a read of as many bytes as moved."""
    system = load_system("sn40l-16", [BEHIND_HBM])
    result = evaluate_step(system, LLAMA, batch=1, context=500, precision="w8a16kv16")
    books(result)
    ddr, hbm = (result.ledger[f"chip0-15.{name}"] for name in ("ddr", "hbm"))
    read = (ddr.accounts["useful_weights"] + ddr.accounts.get("overfetch", 0.0)) * ddr.peak_per_s
    assert hbm.accounts["moved"] * hbm.peak_per_s == pytest.approx(2 * read, rel=0.02)
    assert "useful_weights" not in hbm.accounts
    # DDR is the slowest part by far, and its reads run ahead: it is busy nearly all the time.
    assert ddr.accounts["useful_weights"] > 0.9


def test_a_deeper_buffer_never_slows_a_tier() -> None:
    """Flash with more room ahead: less time, down to the bytes at what it sustains."""
    times = []
    for stacks_buffer in ("4 MB", "20 MB", "80 MB", "640 MB"):
        system = load_system("h100-hbf", [f"hbf.prefetch_buffer={stacks_buffer}"])
        tpot = evaluate_step(system, LARGE, batch=8, context=500, precision="w8a16kv16").latency_s.tpot.mean
        assert tpot is not None
        times.append(tpot)
    assert times == sorted(times, reverse=True)
    assert times[0] > 1.2 * times[-1]


SPILLING = ('placement.weights=["hbf"]', 'placement.kv=["hbm","hbf"]', "chip.memory.hbf.device.flash.writes=forced")


def spilling(tokens: int) -> SystemSpec:
    """Return an H100 with flash whose HBM has room for about *tokens* of llama-3.1-8b and no more."""
    room = place(LLAMA, W8, HBF, Parallelism(8))
    keep = room.activation_bytes_per_chip + tokens * room.kv_bytes_per_token_per_chip
    total = HBF.chip.memory["hbm"].capacity_bytes
    return load_system("h100-hbf", [*SPILLING, "hbm.framework_share=0 %", f"hbm.reserved={total - keep} B"])


def test_blocks_beyond_the_first_tier_are_read_from_the_second() -> None:
    """20,000 tokens of which HBM holds 16,000: a fifth of what attention reads comes from flash."""
    system = spilling(16_000)
    read = moved(plan(system, Batch.of_decode(10, 2000)))["kv_read"]
    assert read["hbf"] / read.total() == pytest.approx(0.2, rel=1e-3)
    assert "hbf" not in moved(plan(system, Batch.of_decode(10, 1600)))["kv_read"]
    assert Cut.of(LLAMA, W8, Parallelism(8), system).bends == (16_000,)


def test_iterations_between_knots_stay_true_where_a_tier_is_full() -> None:
    """Around the bend, interpolated and simulated iterations differ by less than 1 %; without it by far more."""
    system = spilling(100_000)
    made, parts = Cut.of(LLAMA, W8, Parallelism(8), system), System(system)
    costs, blind = (
        StepCosts(lambda batch: simulate_step(made.plan(batch), parts), bends=bends) for bends in (made.bends, ())
    )
    errors, blind_errors = [], []
    for context in (70_000, 99_000, 101_000, 104_000, 120_000):
        exact = simulate_step(made.plan(Batch(decode=32, kv_tokens=context)), parts).time_ps
        for found, from_costs in ((errors, costs), (blind_errors, blind)):
            found.append(abs((from_costs.decode(32, context, 1).time_fine >> FINE_BITS) / exact - 1))
    assert max(errors) < 0.01
    assert max(blind_errors) > 3 * max(errors)


def test_a_shared_context_is_read_by_every_sequence_and_never_written() -> None:
    """8 sequences of 100 tokens beside 1,000 that all share: 8,800 tokens are read, 8,000 of them from flash."""
    extra = ('placement.context=["hbf"]', "placement.context_tokens=1000")
    system = load_system("h100-hbf", extra)
    made = moved(plan(system, Batch.of_decode(8, 100)))
    alone = moved(plan(HBF, Batch.of_decode(8, 1100)))
    assert made["kv_read"].total() == alone["kv_read"].total()
    assert made["kv_read"]["hbf"] == pytest.approx(alone["kv_read"].total() * 10 / 11, rel=1e-6)
    assert made["kv_write"] == moved(plan(HBF, Batch.of_decode(8, 100)))["kv_write"]
    stage = place(LLAMA, W8, system, Parallelism(8)).stages[0]
    assert dict(stage.filled.context) == {"hbf": 1000 * stage.kv_bytes_per_token}


def test_forced_flash_wears_out_by_what_is_written() -> None:
    """Wear-out is capacity x cycles / (write rate x amplification), at the rate of the run."""
    system = load_system("h100-hbf", ['placement.kv=["hbf"]', "chip.memory.hbf.device.flash.writes=forced"])
    result = evaluate_step(system, LLAMA, batch=32, context=1000, precision="w8a16kv16")
    tpot = result.latency_s.tpot.mean
    assert result.placement is not None
    assert tpot is not None
    per_chip = 32 * result.model.kv_bytes_per_token / 8 / tpot
    flash = system.chip.memory["hbf"]
    cycles = 100_000 * flash.capacity_bytes
    years = cycles / (per_chip * 2) / (365.25 * 24 * 3600)
    assert result.placement["hbf"].years_to_wear_out == pytest.approx(years, rel=1e-6)
    assert result.placement["hbm"].years_to_wear_out is None
    assert Result.from_json(result.to_json()) == result.model_copy(update={"tables": None})


def test_a_result_without_a_placement_says_nothing_of_tiers() -> None:
    """The JSON of a system of one memory has no such key."""
    result = evaluate_step(load_system("h100-sxm8"), LLAMA, batch=1, context=10, precision="w8a16kv16")
    assert result.placement is None
    assert '"placement"' not in result.to_json()


def test_a_policy_that_cannot_place_says_which_class_lacks_what_where() -> None:
    """405B in HBM alone with flash for KV: weights lack, by the numbers of each tier."""
    system = load_system(
        "h100-hbf",
        ['placement.weights=["hbm"]', 'placement.kv=["hbf"]', "chip.memory.hbf.device.flash.writes=forced"],
    )
    with pytest.raises(CapacityError) as caught:
        place(LARGE, W8, system, Parallelism(8))
    text = str(caught.value)
    found = re.search(r"\(hbm ([\d,]+), hbf ([\d,]+); weights lack ([\d,]+) in hbm\)", text)
    assert found is not None, text
    usable, flash, lacking = (int(number.replace(",", "")) for number in found.groups())
    assert (usable, flash) == tuple(system.chip.memory[name].usable_bytes for name in ("hbm", "hbf"))
    held = place(LARGE, W8, HBF, Parallelism(8))
    assert lacking == held.weight_bytes_per_chip - (usable - held.activation_bytes_per_chip)


REFUSED = [
    (('placement.weights=["hbn"]',), r"chip\.placement\.weights: got 'hbn'.*hbm, hbf.*did you mean 'hbm'"),
    (('placement.kv=["l2"]',), r"chip\.placement\.kv: got 'l2'; expected memories of the chip: hbm, hbf"),
    (('placement.kv=["hbf"]',), r"chip\.placement\.kv: got 'hbf'.*flash.*forced"),
    (('placement.activations=["l2","hbf"]',), r"chip\.placement\.activations: got 'hbf'.*flash"),
    (('placement.kv=["hbm","hbm"]',), r"chip\.placement\.kv: got 'hbm, hbm'; expected each memory once"),
    (("placement.kv=[]",), r"chip\.placement\.kv"),
    (("placement.context_tokens=5",), r"placement\.context: .*context and context_tokens together"),
    (("hbf.through=l2",), r"chip\.memory\.hbf\.through: got 'l2'; expected a memory that engines read: hbm"),
    (("hbm.through=hbf",), r"memory\.hbm\.prefetch_buffer: .*the room in hbf"),
]


@pytest.mark.parametrize(("overrides", "message"), REFUSED, ids=[case[0][0] for case in REFUSED])
def test_a_placement_that_cannot_be_is_refused_by_name(overrides: tuple[str, ...], message: str) -> None:
    """File, key, value and what was expected."""
    with pytest.raises(InputError) as caught:
        load_system("h100-hbf", overrides)
    assert re.search(message, str(caught.value)), str(caught.value)


def test_a_class_that_is_not_placed_is_a_missing_key() -> None:
    """A `[placement]` names weights, kv and activations, all three."""
    with pytest.raises(InputError, match=r"placement\.activations: expected this key, which is missing"):
        load_system("h100-sxm8", ['placement.weights=["hbm"]', 'placement.kv=["hbm"]'])
