"""Laws of collectives beside kernels: exchanged in parts while one goes on, landing in memory, reduced inside."""

from __future__ import annotations

import math

import pytest

from archsim.hardware.library import load_system
from archsim.hardware.system import System
from archsim.mapping.parallelism import Parallelism
from archsim.mapping.plan import Collective, Plan, Segment, Task, Transfer
from archsim.mapping.sharding import plan_iteration
from archsim.step.exchange import exchanges_of
from archsim.step.record import StepRecord
from archsim.step.simulate import simulate_step
from archsim.workload.batch import Batch
from archsim.workload.model import load_model
from archsim.workload.precision import Precision

MODEL, BITS, WAYS = load_model("llama-3.1-8b"), Precision.parse("w8a16kv16"), Parallelism(8)
BATCHES = (Batch.of_decode(1, 500), Batch.of_decode(64, 64_000), Batch.of_prefill(700), Batch.of_prefill(8192))


def machine(*overrides: str) -> System:
    """Return eight H100 whose collectives are timed on the graph."""
    return System(load_system("h100-sxm8", ["collective=auto", *overrides]))


def plan_of(system: System, batch: Batch) -> Plan:
    """Return the plan of *batch*."""
    return plan_iteration(MODEL, BITS, WAYS, system.spec, batch)


def link_bytes(record: StepRecord) -> float:
    """Return the useful bytes of all links."""
    return math.fsum(record.books[scope.name].get("useful", 0.0) for scope in record.scopes if scope.kind == "link")


def waited(record: StepRecord, account: str) -> float:
    """Return what the memories of all chips book to *account*."""
    return record.books["chip0-7.hbm"].get(account, 0.0)


@pytest.mark.parametrize("parts", [2, 4, 7])
@pytest.mark.parametrize("batch", BATCHES, ids=lambda batch: f"{batch.decode}-{batch.prefill_tokens}")
def test_overlap_costs_at_most_the_latency_of_the_parts(batch: Batch, parts: int) -> None:
    """T_on <= T_off + what the parts of all all-reduces take longer, one after the other, than the whole ones."""
    off, on = machine(), machine(f"overlap_parts={parts}")
    plan = plan_of(off, batch)
    plain, cut = exchanges_of(plan, off), exchanges_of(plan, on)
    tasks = [(task, segment.repeats) for segment in plan.segments for task in segment.tasks]
    extra = sum(
        (cut[task.collective].duration_ps - plain[task.collective].duration_ps) * repeats
        for task, repeats in tasks
        if task.collective is not None
    )
    before, after = simulate_step(plan, off), simulate_step(plan, on)
    assert after.time_ps <= before.time_ps + extra + 1e-6 * before.time_ps


@pytest.mark.parametrize("batch", BATCHES, ids=lambda batch: f"{batch.decode}-{batch.prefill_tokens}")
def test_overlap_conserves_bytes(batch: Batch) -> None:
    """Four parts of a tensor of 4 x 8 x n bytes are the tensor: every link carries the same."""
    off, on = machine("collective=two_shot"), machine("collective=two_shot", "overlap_parts=4")
    plan = plan_of(off, batch)
    before, after = simulate_step(plan, off), simulate_step(plan, on)
    assert link_bytes(after) == link_bytes(before)
    assert waited(after, "useful_weights") == waited(before, "useful_weights")


def test_a_long_prefill_hides_its_exchanges_and_the_ledger_shows_it() -> None:
    """64 MiB take 0.3 ms on the wires and their products 0.05 and 0.15 ms, most of which is hidden, and it shows."""
    off, on = machine(), machine("overlap_parts=4")
    plan = plan_of(off, Batch.of_prefill(8192))
    before, after = simulate_step(plan, off), simulate_step(plan, on)
    assert after.time_ps < 0.95 * before.time_ps
    assert waited(after, "network") < 0.85 * waited(before, "network")


def test_a_runtime_that_streams_weights_hides_exchanges_behind_them_and_the_ledger_shows_it() -> None:
    """Reads of the next kernels' weights go on while ranks exchange: less `network`, less time, equal useful bytes."""
    kernel, stream = machine("prefetch=kernel"), machine("prefetch=stream")
    plan = plan_of(kernel, Batch.of_decode(64, 64_000))
    before, after = simulate_step(plan, kernel), simulate_step(plan, stream)
    assert after.time_ps < before.time_ps
    assert waited(after, "network") < 0.9 * waited(before, "network")
    assert waited(after, "useful_weights") == waited(before, "useful_weights")
    assert link_bytes(after) == link_bytes(before)


def test_landing_in_memory_moves_what_arrives_twice() -> None:
    """What a chip receives is written and read again: `moved`, in whole bursts; nothing useful is added."""
    plain, landed = machine(), machine("landing=memory")
    plan = plan_of(plain, Batch.of_decode(64, 64_000))
    before, after = simulate_step(plan, plain), simulate_step(plan, landed)
    facts = exchanges_of(plan, plain)
    received = sum(
        facts[task.collective].received_bytes * segment.repeats
        for segment in plan.segments
        for task in segment.tasks
        if task.collective is not None
    )
    assert waited(before, "moved") == 0
    assert waited(after, "moved") == pytest.approx(8 * 2 * received, rel=1e-3)
    assert waited(after, "useful_weights") == waited(before, "useful_weights")
    assert after.time_ps > before.time_ps


def test_what_arrives_is_what_the_algorithm_sends() -> None:
    """One-shot: the tensor from each of 7; two-shot: an eighth from each, twice; in the network: one tensor."""
    size = 8 * 4096
    expected = {"one_shot": 7 * size, "two_shot": 2 * 7 * size // 8, "ring": 14 * size // 8}
    for algorithm, received in expected.items():
        system = System(load_system("h100-sxm8", [f"collective={algorithm}"]))
        assert system.collective("all_reduce", size, 8).received_bytes == received
    inside = System(load_system("h100-sxm8", ["collective=in_network", "reduces=true"]))
    assert inside.collective("all_reduce", size, 8).received_bytes == size


def test_reduction_in_the_network_is_an_option_that_shows() -> None:
    """With switches that reduce, each port carries the tensor once instead of 2 (N - 1) / N times or more."""
    plain, reducing = machine(), machine("reduces=true")
    plan = plan_of(plain, Batch.of_prefill(8192))
    before, after = simulate_step(plan, plain), simulate_step(plan, reducing)
    assert ("all_reduce", 8192 * 4096 * 2, "in_network") in after.collectives
    assert waited(after, "network") < 0.7 * waited(before, "network")


def kernels(size: int, *, large: int = 0) -> Plan:
    """Return a product of *size* bytes on two ranks, of *large* on the second, and an exchange behind it."""
    reduce = Task("reduce", collective=Collective("all_reduce", 2**26))

    def tasks(size: int) -> tuple[Task, ...]:
        read = Transfer("hbm", "weights", size, size, write=False, run_bytes=size)
        return Task(f"multiply {size}", (read,), matrix_flops=size * 4000), reduce

    others = ((Segment("layer", tasks(large)),),) if large else ()
    return Plan("prefill", (Segment("layer", tasks(size)),), ranks=2, identical_ranks=not large, others=others)


def test_a_part_is_exchanged_once_its_share_of_the_product_is_there_and_not_before() -> None:
    """Of four chunks two are half the tensor: an exchange that takes long ends its two parts after them."""
    system = machine("overlap_parts=2")
    plan = kernels(4 * system.stage_bytes)
    (task, reduce), half = plan.segments[0].tasks, kernels(2 * system.stage_bytes).segments[0].tasks[:1]
    first, second = (part.duration_ps for part in exchanges_of(plan, system)[reduce.collective].parts)
    until_half = simulate_step(Plan("prefill", (Segment("half", half),), ranks=2), system).time_ps
    whole = simulate_step(Plan("prefill", (Segment("whole", (task,)),), ranks=2), system).time_ps
    assert whole < until_half + first
    assert simulate_step(plan, system).time_ps == until_half + first + second


def test_a_chip_that_waits_for_anothers_part_books_a_bubble_and_not_what_that_one_did() -> None:
    """The faster of two chips has read its own bytes; the slower one's reads and products are no fault of its own."""
    system = machine("overlap_parts=2")
    record = simulate_step(kernels(system.stage_bytes, large=8 * system.stage_bytes), system)
    fast, slow = record.books["chip0.hbm"], record.books["chip1.hbm"]
    assert fast["bubble"] > 0.1 * sum(fast.values())
    assert "bubble" not in slow
    assert fast["compute"] < slow["compute"] / 4
    assert fast["network"] == pytest.approx(slow["network"], rel=0.01)


def test_ranks_that_differ_meet_part_by_part() -> None:
    """Ranks simulated one by one give the same as one that stands for all, to the bit."""
    system = machine("overlap_parts=4")
    plan = plan_of(system, Batch.of_prefill(2000))
    every = Plan(plan.phase, plan.segments, plan.ranks, identical_ranks=False, sequences=plan.sequences)
    assert simulate_step(every, system).time_ps == simulate_step(plan, system).time_ps
