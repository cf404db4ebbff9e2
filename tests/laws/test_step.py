"""Laws of one iteration: closed forms, exact repetition, exact folding, conservation, physical bounds."""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import replace
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from archsim.dram.facts import Access, ChannelFacts
from archsim.hardware.library import load_system, system_names
from archsim.hardware.spec import SystemSpec
from archsim.hardware.system import System
from archsim.mapping.parallelism import Parallelism, tensor_parallel_sizes
from archsim.mapping.plan import Collective, Plan, Segment, Task, Transfer, unrolled
from archsim.mapping.sharding import plan_iteration
from archsim.metrics.accounts import USEFUL
from archsim.step.books import account_of
from archsim.step.channels import channel_amounts
from archsim.step.record import StepRecord
from archsim.step.simulate import simulate_step
from archsim.units import PS_PER_S, picoseconds_for
from archsim.workload.batch import Batch
from archsim.workload.model import Model, load_model
from archsim.workload.precision import Precision

KERNEL_BY_KERNEL, STREAMING = "h100-sxm8", "tpu-v6e-8"
LAWS = settings(max_examples=25, deadline=None, derandomize=True, database=None)


def system(name: str = KERNEL_BY_KERNEL) -> System:
    """Return the parts of a bundled system."""
    return System(load_system(name))


def weights(size: int) -> Transfer:
    """Return the read of a whole matrix of *size* bytes."""
    return Transfer("hbm", "weights", size, size, write=False, run_bytes=size)


def lone(task: Task, *, times: int = 1) -> Plan:
    """Return a plan of one task on one chip."""
    return Plan("decode", (Segment("only", (task,) * times),), ranks=1)


def streamed(parts: System, size: int) -> ChannelFacts:
    """Return what the memory floor says of streaming a matrix of *size* bytes."""
    return parts.levels["hbm"].sustain((Access(1, size, write=False),))


def read_ps(parts: System, size: int) -> int:
    """Return the time in which the memory streams *size* bytes, by the closed form of rate and busiest channel."""
    level = parts.levels["hbm"]
    facts = streamed(parts, size)
    granules = -(-size // level.interleave_bytes)
    busiest = (granules // level.channels) * level.interleave_bytes
    rest = size - busiest * level.channels
    busiest += min(rest, level.interleave_bytes)
    rate = level.channel_peak_bytes_per_s * facts.sustained
    return math.ceil(Fraction(busiest * PS_PER_S) / rate)


def test_one_kernel_takes_gap_ramp_transfer_and_latency() -> None:
    """A kernel that only reads ends when its last byte has arrived."""
    parts = system()
    size = parts.stage_bytes // 2
    record = simulate_step(lone(Task("read", (weights(size),))), parts)
    runtime = parts.runtime
    overhead = runtime.host_step_ps + runtime.launch_gap_ps + runtime.ramp_ps
    size = parts.levels["hbm"].moved_bytes(size, size)
    assert record.time_ps == overhead + read_ps(parts, size) + streamed(parts, size).first_access_ps


def test_equal_kernels_in_a_row_take_equal_times() -> None:
    """N kernels that run one after the other take the host's time once and everything else N times."""
    parts = system()
    task = Task("read", (weights(10**6),), matrix_flops=10**9, vector_flops=10**6)
    host = parts.runtime.host_step_ps
    one = simulate_step(lone(task), parts).time_ps - host
    assert simulate_step(lone(task, times=7), parts).time_ps == host + 7 * one


def test_compute_bound_kernel_takes_its_flops() -> None:
    """A kernel with little to read takes its first chunk's read and then its arithmetic."""
    parts = system()
    task = Task("multiply", (weights(64),), matrix_flops=10**12)
    runtime, latency = parts.runtime, streamed(parts, 64).first_access_ps
    overhead = runtime.host_step_ps + runtime.launch_gap_ps + runtime.ramp_ps + latency
    expected = overhead + read_ps(parts, 64) + picoseconds_for(10**12, parts.sustained_matrix_rate("bf16"))
    assert simulate_step(lone(task), parts).time_ps == expected


def test_what_products_do_not_hide_is_added_once() -> None:
    """A40: 20 % of the shorter of reads and products, whichever that is, beyond the kernel that hides all."""
    hiding, exposed = (
        System(load_system(KERNEL_BY_KERNEL, [f"chip.engine.matrix.exposed={share} %"])) for share in (0, 20)
    )
    rate = hiding.sustained_matrix_rate("bf16")
    for flops in (10**9, 10**11):
        task = Task("multiply", (weights(2**25),), matrix_flops=flops)
        longer = simulate_step(lone(task), exposed).time_ps - simulate_step(lone(task), hiding).time_ps
        shorter = min(read_ps(hiding, 2**25), picoseconds_for(flops, rate))
        assert longer == pytest.approx(shorter / 5, rel=1e-4)


@pytest.mark.parametrize(
    "off",
    ["runtime.launch_gap=0 us", "runtime.ramp=0 us", "runtime.host_step=0 us", "runtime.host_sequence=0 us",
     "runtime.host_launch=0 us", "runtime.collective_software=0 us", "chip.engine.matrix.exposed=0 %",
     "runtime.key_copies=0", "runtime.static_cache_tokens=0", "runtime.widening_operations=0"],
)  # fmt: skip
def test_turning_an_overhead_off_never_slows_independent_operators(off: str) -> None:
    """Kernels of 1 byte to 16 MiB that need nothing of each other, and a step of a model, with every overhead."""
    burdened = [
        "runtime.host_launch=20 us", "runtime.host_sequence=10 us", "chip.engine.matrix.exposed=20 %",
        "runtime.key_copies=2", "runtime.static_cache_tokens=512", "runtime.widening_operations=4",
    ]  # fmt: skip
    with_it, without = (System(load_system(KERNEL_BY_KERNEL, [*burdened, *more])) for more in ([], [off]))
    tasks = tuple(
        Task(f"k{place}", (weights(4**place),), matrix_flops=4**place * 60, vector_flops=4**place)
        for place in range(13)
    )
    plan = Plan("decode", (Segment("only", tasks),), ranks=1, sequences=3)
    times = [simulate_step(plan, parts).time_ps for parts in (without, with_it)]
    assert times[0] <= times[1]
    model, bits = load_model("llama-3.1-8b"), Precision.parse("w4a16kv16")
    steps = [
        simulate_step(plan_iteration(model, bits, Parallelism(8), parts.spec, Batch.of_decode(3, 100)), parts).time_ps
        for parts in (without, with_it)
    ]
    assert steps[0] <= steps[1]


def layered(layers: int, sizes: list[int], *, ranks: int, phase: str = "decode") -> Plan:
    """Return a plan of *layers* equal layers of kernels that read *sizes* bytes, with an all-reduce after each two."""
    tasks: list[Task] = []
    for index, size in enumerate(sizes):
        append = Transfer("hbm", "kv_write", 64 * (1 + index), 64 * (1 + index), write=True, run_bytes=64)
        moved = (weights(size), Transfer("hbm", "kv_read", size // 3 + 1, size // 3 + 1, write=False, run_bytes=4096))
        tasks.append(Task(f"k{index}", (*moved, append), matrix_flops=size * 64, vector_flops=size, matrix_rows=5))
        if index % 2 and ranks > 1:
            tasks.append(Task(f"r{index}", collective=Collective("all_reduce", 4096 * (index + 1))))
    ends = (Task("end", (weights(sizes[0] * 2 + 77),), matrix_flops=10**7),)
    return Plan(
        phase, (Segment("embed", ends), Segment("layer", tuple(tasks), layers), Segment("head", ends)), ranks=ranks
    )


def assert_equal(first: StepRecord, second: StepRecord) -> None:
    """Assert equal times, and equal books to the last bits of a float sum."""
    assert first.time_ps == second.time_ps
    assert first.books.keys() == second.books.keys()
    for scope, accounts in first.books.items():
        assert accounts.keys() == second.books[scope].keys()
        for account, amount in accounts.items():
            assert amount == pytest.approx(second.books[scope][account], rel=1e-12, abs=1e-3)


@pytest.mark.parametrize("name", [KERNEL_BY_KERNEL, STREAMING])
@LAWS
@given(
    layers=st.integers(1, 40),
    sizes=st.lists(st.integers(1, 60_000_000), min_size=1, max_size=4),
)
def test_repetition_is_exact(name: str, layers: int, sizes: list[int]) -> None:
    """Layers that are found to repeat and multiplied take what they take one by one, tick for tick."""
    parts = system(name)
    plan = layered(layers, sizes, ranks=8)
    assert_equal(simulate_step(plan, parts), simulate_step(unrolled(plan), parts))


@pytest.mark.parametrize("name", [KERNEL_BY_KERNEL, STREAMING])
def test_several_segments_repeat_each_by_itself_and_gaps_go_on_across_them(name: str) -> None:
    """Engines that stand still for many laps book what the long way books, and however many, no more is simulated."""
    parts = system(name)
    read, more = Task("read", (weights(20_000_000),)), Task("more", (weights(31_000_000), weights(300)))
    multiply = Task("multiply", (weights(9_000_000),), matrix_flops=10**10, vector_flops=10**7)
    ends = Segment("end", (multiply,))

    def plan(times: int) -> Plan:
        layers = Segment("a", (read, more), 30 * times), Segment("b", (more,), 25 * times)
        return Plan("decode", (ends, *layers, Segment("c", (multiply, read), 20 * times), ends), ranks=1)

    once = simulate_step(plan(1), parts)
    assert_equal(once, simulate_step(unrolled(plan(1)), parts))
    assert simulate_step(plan(9), parts).event_count == once.event_count


@pytest.mark.parametrize("name", [KERNEL_BY_KERNEL, STREAMING])
@pytest.mark.parametrize("sizes", [[3_000_000, 500], [40_000_000, 11, 9_000_000]])
def test_folding_is_exact(name: str, sizes: list[int]) -> None:
    """One of eight identical chips, multiplied, books what eight simulated chips book together."""
    parts = system(name)
    plan = layered(5, sizes, ranks=8)
    folded = simulate_step(plan, parts)
    unfolded = simulate_step(replace(plan, identical_ranks=False), parts)
    assert unfolded.time_ps == folded.time_ps
    for scope, accounts in folded.books.items():
        if scope.startswith("link."):
            assert unfolded.books[scope] == accounts
            continue
        part = scope.partition(".")[2]
        for account, amount in accounts.items():
            total = math.fsum(unfolded.books[f"chip{chip}.{part}"].get(account, 0.0) for chip in range(8))
            assert total == pytest.approx(amount, rel=1e-12)


def placed(name: str, model: Model) -> tuple[SystemSpec, Parallelism] | None:
    """Return the system and its parallelism, None where *model* does not divide over its chips."""
    spec = load_system(name)
    if spec.chips not in tensor_parallel_sizes(model):
        return None
    return spec, Parallelism.default(spec)


MODEL = load_model("llama-3.1-8b")
BATCHES = {"decode": Batch.of_decode(8, 700), "prefill": Batch.of_prefill(300)}


@pytest.mark.parametrize("phase", BATCHES)
@pytest.mark.parametrize("name", system_names())
def test_every_bundled_system_obeys_the_physical_bounds(name: str, phase: str) -> None:
    """No iteration is faster than its bytes at peak bandwidth or its FLOPs at peak rate, and every book balances."""
    found = placed(name, MODEL)
    if found is None:
        pytest.skip(f"{MODEL.name} does not divide over the chips of {name}")
    spec, ways = found
    plan = plan_iteration(MODEL, Precision.parse("w16a16kv16"), ways, spec, BATCHES[phase])
    record = simulate_step(plan, System(spec))
    time_s = record.time_ps / PS_PER_S
    scopes = {scope.name: scope for scope in record.scopes}
    demand: dict[str, int] = defaultdict(int)
    flops = 0
    for segment in plan.segments:
        for task in segment.tasks:
            flops += (task.matrix_flops - task.replica_flops) * segment.repeats * plan.ranks
            for transfer in task.transfers:
                demand[account_of(transfer.tensor)] += transfer.useful_bytes * segment.repeats * plan.ranks
    served: dict[str, float] = defaultdict(float)
    computed = 0.0
    for name_of, accounts in record.books.items():
        peak = scopes[name_of].peak_per_s
        moved = math.fsum(accounts.get(account, 0.0) for account in (*USEFUL, "overfetch", "moved"))
        assert moved <= peak * time_s * (1 + 1e-12)
        assert math.fsum(accounts.values()) == pytest.approx(peak * time_s, rel=1e-9)
        assert min(accounts.values()) >= -1e-9 * peak * time_s
        # The arrays behind a memory with near-memory units book what passes its interface as well.
        for account in (*USEFUL[:-1], "moved") if not name_of.endswith((".phy", ".link")) else ():
            served[account] += accounts.get(account, 0.0)
        if scopes[name_of].kind == "engine" and not name_of.endswith(".vector"):
            computed += accounts.get("useful", 0.0)
            assert accounts.get("useful", 0.0) <= peak * time_s
    assert computed >= flops * (1 - 1e-12)
    assert computed == pytest.approx(flops, rel=1e-12) or spec.chip.near_memory
    for account, size in demand.items():
        assert served[account] == pytest.approx(size, rel=1e-12)


def test_channels_sum_to_their_memory() -> None:
    """The books of the channels add up to the book of their memory, account by account."""
    parts = system()
    record = simulate_step(layered(3, [1_234_567, 89], ranks=8), parts)
    scope = "chip0-7.hbm"
    uses = [use for use in record.uses if use.scope == scope]
    channels = channel_amounts(record.books[scope], uses, parts.levels["hbm"], chips=8)
    from archsim.metrics.accounts import ACCOUNTS  # noqa: PLC0415 - only here

    peak = record.scopes[0].peak_per_s / len(channels) * record.time_ps / PS_PER_S
    for account, total in zip(ACCOUNTS, channels.sum(axis=0), strict=True):
        assert total == pytest.approx(record.books[scope].get(account, 0.0), rel=1e-9, abs=1e-6 * peak)
    assert channels.sum(axis=1) == pytest.approx([peak] * len(channels), rel=1e-9)


def test_ranks_that_differ_book_their_own_work_and_wait_for_each_other() -> None:
    """The faster of two chips reads its own bytes and waits for the slower one: a bubble, whatever that one did."""
    parts = system()
    small, large = (Task(f"read {size}", (weights(size),)) for size in (10**6, 30 * 10**6))
    meet = Task("meet", collective=Collective("all_reduce", 8192))
    plan = Plan(
        "decode", (Segment("only", (small, meet)),), ranks=2, identical_ranks=False,
        others=((Segment("only", (large, meet)),),),
    )  # fmt: skip
    record = simulate_step(plan, parts)
    books = record.books["chip0.hbm"], record.books["chip1.hbm"]
    assert [book["useful_weights"] for book in books] == [10**6, 30 * 10**6]
    alone = [simulate_step(lone(task), parts).time_ps for task in (small, large)]
    peak = record.scopes[0].peak_per_s
    waited = peak * (alone[1] - alone[0]) / PS_PER_S
    assert books[0]["bubble"] == pytest.approx(waited, rel=1e-6)
    assert "bubble" not in books[1]
    assert "memory" not in {**books[0], **books[1]}
    assert books[0]["network"] == pytest.approx(books[1]["network"])


def test_scopes_say_what_they_are_and_how_many_chips_and_channels_stand_behind_them() -> None:
    """Eight equal chips are one scope a part; each link is one of its own; only memories' uses are kept."""
    parts = system()
    record = simulate_step(layered(3, [1_234_567, 89], ranks=8), parts)
    scopes = {scope.name: scope for scope in record.scopes}
    for name, pipe in parts.pipes.items():
        scope, level = scopes[f"chip0-7.{name}"], parts.levels[pipe.level]
        assert (scope.kind, scope.unit, scope.channels, scope.chips) == (pipe.kind, "bytes", level.channels, 8)
    for name in ("matrix", "vector"):
        scope = scopes[f"chip0-7.{name}"]
        assert (scope.kind, scope.unit, scope.channels, scope.chips) == ("engine", "flop", 1, 8)
    links = [scope for scope in record.scopes if scope.name.startswith("link.")]
    assert len(links) == 16
    assert {(scope.kind, scope.unit, scope.channels, scope.chips) for scope in links} == {("link", "bytes", 1, 1)}
    assert {use.scope for use in record.uses} == {"chip0-7.hbm"}
    adding = simulate_step(lone(Task("read", (weights(100),))), parts)
    assert not any(scope.name.endswith(".matrix") for scope in adding.scopes)


@pytest.mark.parametrize("name", [KERNEL_BY_KERNEL, STREAMING])
def test_layers_that_repeat_cost_no_events(name: str) -> None:
    """However many equal layers there are, only those are simulated that show the period."""
    parts = system(name)
    few, many = (simulate_step(layered(layers, [3_000_000, 500], ranks=8), parts) for layers in (300, 3000))
    assert many.event_count == few.event_count
    assert many.jobs > 9 * few.jobs


def test_each_chunk_and_each_service_may_lose_a_picosecond() -> None:
    """Jobs add up over chips and repetitions; a kernel of two reads and products has four, one that adds has two."""
    parts = system()
    task = Task("read", (weights(100), weights(200)), matrix_flops=10**6)
    one = simulate_step(lone(task), parts)
    assert one.jobs == sum(use.service.pieces for use in one.uses) + 2
    assert simulate_step(lone(task, times=5), parts).jobs == 5 * one.jobs
    other = replace(task, name="other")
    folded = simulate_step(Plan("decode", (Segment("only", (task,) * 3), Segment("more", (other,))), ranks=8), parts)
    assert folded.jobs == 8 * 4 * one.jobs
    assert one.matrix_flops == (("bf16", 10**6),)
    assert folded.matrix_flops == (("bf16", 8 * 4 * 10**6),)


def test_renaming_the_parts_changes_nothing() -> None:
    """A memory by another name books the same amounts under its new scope."""
    spec = load_system(KERNEL_BY_KERNEL)
    chip = spec.chip.model_copy(update={"memory": {"dram": spec.chip.memory["hbm"]}, "main_memory": "dram"})
    renamed = System(spec.model_copy(update={"chip": chip, "name": "other"}))
    batch, precision = Batch.of_decode(4, 900), Precision.parse("w16a16kv16")
    ways = Parallelism(tp=8)
    first = simulate_step(plan_iteration(MODEL, precision, ways, spec, batch), System(spec))
    second = simulate_step(plan_iteration(MODEL, precision, ways, renamed.spec, batch), renamed)
    assert second.time_ps == first.time_ps
    assert second.books["chip0-7.dram"] == first.books["chip0-7.hbm"]


def test_a_slower_dtype_is_booked_to_compute() -> None:
    """Where attention multiplies in bf16 beside fp8 weights, the matrix engine's peak is fp8's and the rest a loss."""
    spec = load_system(KERNEL_BY_KERNEL)
    plan = plan_iteration(MODEL, Precision.parse("w8a8kv16"), Parallelism(tp=8), spec, Batch.of_decode(64, 4000))
    record = simulate_step(plan, System(spec))
    matrix = next(scope for scope in record.scopes if scope.name.endswith(".matrix"))
    assert matrix.peak_per_s == 8 * spec.chip.engine["matrix"].flop_per_s["fp8"]
    assert record.books[matrix.name]["compute"] > 0


def test_what_the_power_limit_takes_is_booked_to_power() -> None:
    """Of a long product's time on an engine of peak P that keeps up S, the share 1 - S / P is booked to `power`."""
    parts = system()
    accounts = simulate_step(lone(Task("multiply", (weights(64),), matrix_flops=10**12)), parts).books["chip0.matrix"]
    rates = parts.matrix_rate("bf16"), parts.sustained_matrix_rate("bf16")
    assert rates[1] < rates[0]
    assert accounts["power"] / (accounts["useful"] + accounts["power"]) == pytest.approx(1 - rates[1] / rates[0])
