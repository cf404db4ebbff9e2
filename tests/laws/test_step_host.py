"""Laws of the host that issues tasks ahead of the chip: closed forms, exact repetition and folding, monotony."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from archsim.hardware.library import load_system
from archsim.hardware.system import System
from archsim.mapping.parallelism import Parallelism
from archsim.mapping.plan import Collective, Plan, Segment, Task, Transfer, unrolled
from archsim.mapping.sharding import plan_iteration
from archsim.step.record import StepRecord
from archsim.step.simulate import simulate_step
from archsim.workload.batch import Batch
from archsim.workload.model import load_model
from archsim.workload.precision import Precision

LAWS = settings(max_examples=40, deadline=None, derandomize=True, database=None)
MICROSECOND = 10**6


def system(launch_us: int, *, host_time: str = "100 %") -> System:
    """Return the parts of eight H100 whose host issues a task in *launch_us*."""
    settings_ = (f"runtime.host_launch={launch_us} us", f"host_time={host_time}", "runtime.host_step=50 us")
    return System(load_system("h100-sxm8", settings_))


def reads(size: int) -> Task:
    """Return a kernel that reads *size* bytes."""
    return Task("read", (Transfer("hbm", "weights", size, size, write=False, run_bytes=size),))


def layered(layers: int, sizes: list[int], *, ranks: int = 8, ends: int = 1000) -> Plan:
    """Return *layers* equal layers of kernels that read *sizes* bytes and an all-reduce, between two other kernels."""
    tasks = [*map(reads, sizes), Task("reduce", collective=Collective("all_reduce", 8192))]
    outer = tuple([reads(ends)] * 3)
    return Plan(
        "decode", (Segment("embed", outer), Segment("layer", tuple(tasks), layers), Segment("head", outer)), ranks=ranks
    )


def assert_equal(first: StepRecord, second: StepRecord) -> None:
    """Assert equal times, and equal books to the last bits of a float sum."""
    assert first.time_ps == second.time_ps
    for scope, accounts in first.books.items():
        assert accounts.keys() == second.books[scope].keys()
        for account, amount in accounts.items():
            assert amount == pytest.approx(second.books[scope][account], rel=1e-12, abs=1e-3)


def host_share(record: StepRecord) -> float:
    """Return the share of the memory's time that is booked to the host."""
    accounts = record.books["chip0.hbm"]
    return accounts.get("host", 0.0) / math.fsum(accounts.values())


def test_a_slow_host_sets_the_pace() -> None:
    """Where each kernel is shorter than its launch, n of them take the host's step, n launches and the last kernel."""
    parts = system(100)
    plan = Plan("decode", (Segment("only", (reads(10**6),) * 20),), ranks=1)
    alone = simulate_step(Plan("decode", (Segment("only", (reads(10**6),)),), ranks=1), parts).time_ps
    assert simulate_step(plan, parts).time_ps == alone + 19 * 100 * MICROSECOND
    assert host_share(simulate_step(plan, parts)) > 0.9


def test_a_fast_host_costs_its_first_launch() -> None:
    """Where each kernel is longer than its launch, the host is ahead for good after the first kernel."""
    plan = Plan("decode", (Segment("only", (reads(10**9),) * 5),), ranks=1)
    without, gap = simulate_step(plan, system(0)).time_ps, system(0).runtime.launch_gap_ps
    assert simulate_step(plan, system(20)).time_ps == without + 20 * MICROSECOND - gap


def test_a_slower_machine_takes_longer_for_all_host_work() -> None:
    """`host_time` multiplies the step's and each launch's time."""
    parts = system(100, host_time="150 %")
    assert parts.host_launch_ps == 150 * MICROSECOND
    assert parts.host_ps(parts.runtime.host_step_ps) == 75 * MICROSECOND


def test_each_sequence_costs_the_host_its_own_time() -> None:
    """A step of n sequences takes n times `host_sequence` more than one that counts none."""
    parts = System(load_system("h100-sxm8", ["runtime.host_sequence=200 us", "host_time=150 %"]))
    none = layered(3, [10**6])
    some = replace(none, sequences=7)
    assert simulate_step(some, parts).time_ps == simulate_step(none, parts).time_ps + 7 * 300 * MICROSECOND


def test_a_plan_counts_the_sequences_that_sample() -> None:
    """One for each sequence that decodes, and one for each whose prompt is processed."""
    spec, model = load_system("h100-sxm8"), load_model("llama-3.1-8b")
    batch = Batch.of_decode(5, 100) + Batch.of_prefill(30, sequences=2)
    assert plan_iteration(model, Precision.parse("w16a16kv16"), Parallelism(tp=8), spec, batch).sequences == 7


@LAWS
@given(
    layers=st.integers(1, 40),
    sizes=st.lists(st.sampled_from([1000, 3_000_000, 20_000_000, 60_000_000, 300_000_000]), min_size=1, max_size=4),
    launch_us=st.integers(1, 40),
    ends=st.sampled_from([1000, 500_000_000]),
)
def test_repetition_is_exact_beside_a_host(layers: int, sizes: list[int], launch_us: int, ends: int) -> None:
    """Whether the host leads, lags or is caught up with, layers multiplied take what they take one by one."""
    plan, parts = layered(layers, sizes, ends=ends), system(launch_us)
    assert_equal(simulate_step(plan, parts), simulate_step(unrolled(plan), parts))


@pytest.mark.parametrize("launch_us", [1, 12, 60])
def test_layers_beside_a_host_that_leads_or_lags_cost_no_events(launch_us: int) -> None:
    """Once the host's lead repeats, or grows and nothing waits for it, no further layer is simulated."""
    parts = system(launch_us)
    few, many = (simulate_step(layered(layers, [3_000_000, 20_000_000]), parts) for layers in (40, 900))
    assert many.event_count == few.event_count


@pytest.mark.parametrize("launch_us", [2, 12, 60])
def test_folding_is_exact_beside_a_host(launch_us: int) -> None:
    """Every rank has a host of its own: eight simulated chips take what one multiplied takes."""
    plan, parts = layered(5, [3_000_000, 20_000_000]), system(launch_us)
    folded, unfolded = simulate_step(plan, parts), simulate_step(replace(plan, identical_ranks=False), parts)
    assert unfolded.time_ps == folded.time_ps
    for account, amount in folded.books["chip0-7.hbm"].items():
        total = math.fsum(unfolded.books[f"chip{chip}.hbm"].get(account, 0.0) for chip in range(8))
        assert total == pytest.approx(amount, rel=1e-12)


@LAWS
@given(
    sizes=st.lists(st.integers(1, 50_000_000), min_size=1, max_size=6),
    faster_us=st.integers(0, 30),
    slower_us=st.integers(0, 30),
)
def test_a_faster_host_never_slows_a_run(sizes: list[int], faster_us: int, slower_us: int) -> None:
    """Less time for each launch never makes a step longer."""
    faster_us, slower_us = sorted((faster_us, slower_us))
    plan = layered(4, sizes)
    assert simulate_step(plan, system(faster_us)).time_ps <= simulate_step(plan, system(slower_us)).time_ps
