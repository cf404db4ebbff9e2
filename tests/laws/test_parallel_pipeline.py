"""Pipelines: closed forms of fill and drain, whose fault the waiting is, and what the links carry."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from archsim.hardware.library import load_system
from archsim.hardware.system import System
from archsim.mapping.parallelism import Parallelism
from archsim.mapping.plan import Collective, Pipeline, Plan, Segment, Task, Transfer
from archsim.mapping.sharding import Cut
from archsim.mapping.shares import split_evenly
from archsim.step import simulate
from archsim.step.pipeline import simulate_pipeline
from archsim.step.record import StepRecord
from archsim.step.simulate import simulate_step, simulate_steps
from archsim.step.stages import DRAINED, PIPELINES, drained_runs
from archsim.units import PS_PER_S
from archsim.workload.batch import Batch
from archsim.workload.model import load_model
from archsim.workload.precision import Precision

H100 = load_system("h100-sxm8")
PARTS = System(H100)
MODEL = load_model("llama-3.1-70b")
W16 = Precision.parse("w16a16kv16")
LAWS = settings(max_examples=25, deadline=None, derandomize=True, database=None)


def stage(number: int, size: int, *, ranks: int = 2) -> Plan:
    """Return a stage of two kernels that read *size* bytes, on its own chips."""
    tasks = tuple(
        Task(f"k{half}", (Transfer("hbm", "weights", size, size, write=False, run_bytes=size),)) for half in range(2)
    )
    placed = tuple(range(number * ranks, (number + 1) * ranks))
    return Plan("decode", (Segment("layer", tasks, 3),), ranks=ranks, placed=placed)


def pipeline(sizes: list[int], micro_batches: int, send_bytes: int) -> Pipeline:
    """Return a pipeline whose stages read *sizes*, of equal micro-batches."""
    plans = [stage(number, size) for number, size in enumerate(sizes)]
    send = Collective("send_receive", send_bytes, ways=2)
    stages = tuple((plan,) * micro_batches for plan in plans)
    back = Collective("send_receive", 4, ways=2)
    return Pipeline(stages, tuple(plans), (send,) * micro_batches, (back,) * micro_batches)


def gap_ps(record: StepRecord, scope: str, account: str, before: float = 0.0) -> float:
    """Return the picoseconds that *scope* books to *account* beyond *before* bytes."""
    peak = next(s.peak_per_s for s in record.scopes if s.name == scope)
    return (record.books[scope].get(account, 0.0) - before) / peak * PS_PER_S


@pytest.mark.parametrize("stages", [2, 3, 4])
@pytest.mark.parametrize("micro_batches", [1, 2, 5])
def test_equal_stages_take_m_plus_s_less_one_stage_times_and_the_transfers(stages: int, micro_batches: int) -> None:
    """Each stage waits S - 1 stage times as bubble and S - 1 transfers as network, and runs m times."""
    record = simulate_pipeline(pipeline([10**7] * stages, micro_batches, 4096), PARTS)
    alone = simulate_step(stage(0, 10**7), PARTS)
    transfer = PARTS.collective("send_receive", 4096, (0, 2)).duration_ps
    assert transfer <= alone.time_ps
    wait = (stages - 1) * (alone.time_ps + transfer)
    assert record.time_ps == micro_batches * alone.time_ps + wait
    for number in range(stages):
        scope = f"chip{2 * number}-{2 * number + 1}.hbm"
        assert gap_ps(record, scope, "bubble") == pytest.approx((stages - 1) * alone.time_ps, rel=1e-9)
        assert gap_ps(record, scope, "network") == pytest.approx((stages - 1) * transfer, rel=1e-6)


@LAWS
@given(sizes=st.lists(st.integers(10**6, 4 * 10**7), min_size=2, max_size=4), micro_batches=st.integers(1, 6))
def test_the_slowest_stage_sets_the_pace(sizes: list[int], micro_batches: int) -> None:
    """Equal micro-batches: every stage once, every transfer once, and m - 1 more times of the slowest stage."""
    record = simulate_pipeline(pipeline(sizes, micro_batches, 2048), PARTS)
    times = [simulate_step(stage(number, size), PARTS).time_ps for number, size in enumerate(sizes)]
    transfer = PARTS.collective("send_receive", 2048, (0, 2)).duration_ps
    expected = sum(times) + (len(sizes) - 1) * transfer + (micro_batches - 1) * max(times)
    assert record.time_ps == expected
    for number, time_ps in enumerate(times):
        scope = f"chip{2 * number}-{2 * number + 1}.hbm"
        waited = gap_ps(record, scope, "bubble") + gap_ps(record, scope, "network")
        assert waited == pytest.approx(expected - micro_batches * time_ps, rel=1e-9)


def test_a_slow_link_sets_the_pace_and_is_the_networks_fault() -> None:
    """Where a transfer takes longer than a stage, the next stage waits for it with every micro-batch."""
    send_bytes, micro_batches = 10**9, 4
    record = simulate_pipeline(pipeline([10**6, 10**6], micro_batches, send_bytes), PARTS)
    alone = simulate_step(stage(0, 10**6), PARTS).time_ps
    transfer = PARTS.collective("send_receive", send_bytes, (0, 2)).duration_ps
    assert record.time_ps == 2 * alone + micro_batches * transfer
    later = "chip2-3.hbm"
    assert gap_ps(record, later, "bubble") == pytest.approx(alone, rel=1e-6)
    waited = micro_batches * transfer - (micro_batches - 1) * alone
    assert gap_ps(record, later, "network") == pytest.approx(waited, rel=1e-6)


def test_links_carry_what_stages_hand_on() -> None:
    """Every rank sends its micro-batches once: out of the first stage's port and into the second's, nowhere else."""
    micro_batches, size = 3, 10**6
    record = simulate_pipeline(pipeline([10**7, 10**7], micro_batches, size), PARTS)
    carried = {scope: accounts.get("useful", 0.0) for scope, accounts in record.books.items() if "link" in scope}
    busy = {f"link.chip{chip}-switch0" for chip in (0, 1)} | {f"link.switch0-chip{chip}" for chip in (2, 3)}
    assert {scope for scope, amount in carried.items() if amount} == busy
    assert all(carried[scope] == pytest.approx(micro_batches * size, rel=1e-12) for scope in busy)


def test_weights_read_again_are_overfetch() -> None:
    """Of m micro-batches that read the same weights m times, one is useful and m - 1 are overfetch."""
    one, four = (simulate_pipeline(pipeline([10**7, 10**7], count, 4096), PARTS) for count in (1, 4))
    for scope in ("chip0-1.hbm", "chip2-3.hbm"):
        useful = one.books[scope]["useful_weights"]
        assert four.books[scope]["useful_weights"] == pytest.approx(useful, rel=1e-12)
        again = one.books[scope].get("overfetch", 0.0) * 4 + 3 * useful
        assert four.books[scope]["overfetch"] == pytest.approx(again, rel=1e-12)


@pytest.mark.parametrize("text", ["tp=4,pp=2", "tp=2,pp=4", "pp=8"])
def test_one_sequence_passes_every_stage_in_turn(text: str) -> None:
    """A batch of one is one micro-batch: its time is the sum of the stages and the transfers between them."""
    a_cut = Cut.of(MODEL, W16, Parallelism.parse(text), H100)
    batch, stages = Batch.of_decode(1, 500), a_cut.ways.pp
    record = simulate_pipeline(a_cut.pipeline(batch), PARTS)
    times = [simulate_step(a_cut.plan(batch, stage=number), PARTS).time_ps for number in range(stages)]
    pair = (a_cut.ways.chips_of(stage=0)[0], a_cut.ways.chips_of(stage=1)[0])
    transfer = PARTS.collective("send_receive", 2 * MODEL.hidden, pair).duration_ps
    assert record.time_ps == sum(times) + (stages - 1) * transfer


@pytest.mark.parametrize(("batch", "expected"), [(1, 1), (3, 3), (4, 4), (33, 4)])
def test_there_are_as_many_micro_batches_as_stages_or_sequences(batch: int, expected: int) -> None:
    """Their sequences and context sum to the batch; each sends its tokens' activations."""
    a_cut = Cut.of(MODEL, W16, Parallelism.parse("tp=2,pp=4"), H100)
    planned = a_cut.pipeline(Batch.of_decode(batch, 100))
    assert len(planned.sends) == expected
    assert all(len(plans) == expected for plans in planned.stages)
    assert sum(send.bytes for send in planned.sends) == batch * 2 * MODEL.hidden
    assert len(a_cut.pipeline(Batch.of_decode(batch, 100), micro_batches=2).sends) == min(2, batch)


@pytest.mark.parametrize("stages", [2, 3, 5, 8])
def test_stages_hold_all_layers_and_the_ends_once(stages: int) -> None:
    """The earliest stages have one layer more where they do not divide; embedding first, head last."""
    system = H100.model_copy(update={"chips": stages})
    a_cut = Cut.of(MODEL, W16, Parallelism(1, pp=stages), system)
    plans = [a_cut.plan(Batch.of_decode(4, 9), stage=number) for number in range(stages)]
    layers = [next(s.repeats for s in plan.segments if s.name == "layer") for plan in plans]
    assert layers == split_evenly(MODEL.layers, stages)
    assert sum(layers) == MODEL.layers
    assert [s.name for plan in plans for s in plan.segments] == ["embed", *["layer"] * stages, "head"]


def test_a_pipeline_is_slower_than_its_stages_would_be_without_waiting() -> None:
    """Bubbles of S stages and m micro-batches are (S - 1) / (m + S - 1) of the time, near enough for even layers."""
    a_cut = Cut.of(MODEL, W16, Parallelism.parse("tp=2,pp=4"), H100)
    record = simulate_pipeline(a_cut.pipeline(Batch.of_decode(64, 1000)), PARTS)
    memories = [scope for scope in record.scopes if scope.kind == "memory"]
    lost = math.fsum(record.books[scope.name]["bubble"] for scope in memories)
    booked = math.fsum(scope.peak_per_s for scope in memories) * record.time_ps / PS_PER_S
    assert lost / booked == pytest.approx(3 / 7, rel=0.05)


def test_plans_of_one_micro_batch_size_are_simulated_once() -> None:
    """Events are those of two different stages, not of eight runs."""
    plans = pipeline([10**7, 2 * 10**7], 4, 4096)
    record = simulate_pipeline(plans, PARTS)
    alone = [simulate_step(replace(of_stage[0]), PARTS).event_count for of_stage in plans.stages]
    assert record.event_count == sum(alone)


@pytest.mark.parametrize("stages", [2, 3, 4])
@pytest.mark.parametrize("micro_batches", [1, 2, 3, 8])
def test_a_full_pipeline_takes_m_stage_times_or_one_round(stages: int, micro_batches: int) -> None:
    """Iterations that follow micro-batch by micro-batch take the larger of a stage's work and one micro-batch's way."""
    planned = pipeline([10**7] * stages, micro_batches, 4096)
    record = simulate_pipeline(planned, PARTS, schedule="continuous")
    alone = simulate_step(stage(0, 10**7), PARTS).time_ps
    hop = PARTS.collective("send_receive", 4096, (0, 2)).duration_ps
    back = PARTS.collective("send_receive", 4, (2 * stages - 2, 0)).duration_ps
    expected = max(micro_batches * alone, stages * alone + (stages - 1) * hop + back)
    assert record.time_ps == expected
    for number in range(stages):
        scope = f"chip{2 * number}-{2 * number + 1}.hbm"
        waited = gap_ps(record, scope, "bubble") + gap_ps(record, scope, "network")
        assert waited == pytest.approx(expected - micro_batches * alone, rel=1e-9, abs=1)
    assert record.time_ps <= simulate_pipeline(planned, PARTS).time_ps + back


@LAWS
@given(data=st.data(), stages=st.integers(2, 5), micro_batches=st.integers(1, 6))
def test_any_pipeline_finds_its_period(data: st.DataObject, stages: int, micro_batches: int) -> None:
    """Whatever the times: the period is no shorter than a stage's work or a micro-batch's way, and gaps fill it."""

    def times(rows: int, longest: int) -> list[list[int]]:
        row = st.lists(st.integers(1, longest), min_size=micro_batches, max_size=micro_batches)
        return data.draw(st.lists(row, min_size=rows, max_size=rows))

    runs, sends = times(stages, 1000), times(stages, 100)
    for name, schedule in PIPELINES.items():
        found = schedule(runs, sends if name != DRAINED else sends[:-1])
        longest_way = max(
            sum(row[number] for row in (*runs, *(sends if name != DRAINED else sends[:-1])))
            for number in range(micro_batches)
        )
        assert found.time_ps >= max(*(sum(row) for row in runs), longest_way)
        for row, gaps in zip(runs, found.gaps, strict=True):
            assert sum(gaps.values()) == found.time_ps - sum(row)
            assert set(gaps) <= {"bubble", "network"}


@pytest.mark.parametrize("name", list(PIPELINES))
def test_one_stage_alone_runs_its_micro_batches_one_after_the_other(name: str) -> None:
    """Nothing to wait for but, where one micro-batch follows itself, the way back."""
    back = [] if name == DRAINED else [[1, 1]]
    found = PIPELINES[name]([[5, 7]], back)
    assert (found.time_ps, dict(found.gaps[0])) == (12, {})
    alone = PIPELINES[name]([[5]], [] if name == DRAINED else [[3]])
    assert (alone.time_ps, dict(alone.gaps[0])) == ((5, {}) if name == DRAINED else (8, {"network": 3}))


def test_a_pipeline_that_drains_sends_nothing_back() -> None:
    """A row of transfers behind the last stage is left out: starts, waits and time are those without it."""
    runs, sends = [[5, 7], [4, 9]], [[1, 2], [8, 8]]
    assert drained_runs(runs, sends) == drained_runs(runs, sends[:1])
    assert drained_runs(runs, sends).sent == [[5, 12]]
    assert drained_runs(runs, sends).starts == [[0, 5], [6, 14]]
    assert drained_runs(runs, sends).time_ps == 23
    assert sorted(drained_runs(runs, sends).waits[0]) == [("bubble", 14, 23), ("network", 12, 14)]
    assert sorted(drained_runs(runs, sends).waits[1]) == [
        ("bubble", 0, 5), ("bubble", 10, 12), ("network", 5, 6), ("network", 12, 14),
    ]  # fmt: skip


def test_iterations_that_differ_in_turns_count_as_their_mean() -> None:
    """Where starts recur only after several iterations, the time is the long-run mean, rounded up."""
    runs = [[1, 1, 1, 1], [1, 1, 1, 1], [1, 1, 1, 1], [1, 1, 1, 2]]
    sends = [[1, 1, 1, 1], [1, 1, 1, 1], [1, 1, 5, 2], [1, 6, 2, 4]]
    stage_free, link_free, back = [0] * 4, [0] * 4, [0] * 4
    finished = []
    for _ in range(1200):
        for number in range(4):
            at = back[number]
            for stage in range(4):
                stage_free[stage] = max(stage_free[stage], at) + runs[stage][number]
                link_free[stage] = max(link_free[stage], stage_free[stage]) + sends[stage][number]
                at = link_free[stage]
            back[number] = at
        finished.append(back[-1])
    found = PIPELINES["continuous"](runs, sends)
    assert found.time_ps == -(-(finished[1199] - finished[239]) // 960)
    for row, gaps in zip(runs, found.gaps, strict=True):
        assert sum(gaps.values()) == found.time_ps - sum(row)
        assert all(isinstance(picoseconds, int) for picoseconds in gaps.values())


def test_stages_that_are_alike_share_a_timeline_and_nothing_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Four stages on the nodes of a dragonfly: what is simulated together equals each plan by itself, to the bit."""
    timeline = simulate._timeline
    system = load_system("groq-576", ["chips=32", "network.shape=[8, 9, 4]"])
    model = load_model("llama-3.1-8b")
    ways = Parallelism.parse("tp=8,pp=4")
    pipeline = Cut.of(model, Precision.parse("w8a16kv16"), ways, system).pipeline(Batch.of_decode(4, 400))
    plans = [plan for plans in pipeline.stages for plan in plans]
    parts = System(system)
    simulated = []
    monkeypatch.setattr(simulate, "_timeline", lambda plan, *rest: (simulated.append(plan), timeline(plan, *rest))[1])
    together = simulate_steps(plans, parts)
    assert len(simulated) == len({replace(plan, placed=()) for plan in plans}) < len(set(plans))
    for plan in plans:
        assert together[plan] == simulate_step(plan, parts)
