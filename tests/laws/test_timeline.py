"""A timeline says when what the ledger says how much: its slices add up to the books, part by part."""

from __future__ import annotations

import gzip
import itertools
import json
import math
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from archsim.errors import InputError
from archsim.metrics.accounts import ACCOUNTS
from archsim.metrics.timeline import Slice, Span, clipped, lanes
from archsim.report.timeline_file import timeline_json, write_timeline
from archsim.result import Result
from archsim.simulate import evaluate_step, load_model, load_system, load_trace, run
from archsim.single import Bench
from archsim.step.record import StepRecord
from archsim.step.timeline import pipeline_slices
from archsim.timeline import Ask, timeline_of_replay, timeline_of_step
from archsim.workload.batch import Batch
from archsim.workload.closed_loop import ClosedLoop

MS = 10**9
CASES = {
    "one chip": ("m4-max", "llama-2-7b", None, 1, 512),
    "tensor parallel": ("h100-sxm8", "llama-3.1-8b", None, 4, 512),
    "near memory": ("h100-sxm8-pnm", "llama-3.1-8b", None, 4, 512),
    "flash ahead": ("h100-hbf", "llama-3.1-8b", None, 4, 512),
    "overlap, dataflow": ("tpu-v6e-8", "llama-3.1-8b", None, 4, 512),
    "guesses": ("h100-sxm8", "llama-3.1-8b", None, 4, 512),
    "unequal experts": ("h100-sxm8", "gpt-oss-20b", "tp=1,dp=2,ep=2,experts=zipf:1", 4, 512),
}
SETTINGS = {
    "guesses": [
        "serving.speculation.method=eagle", "serving.speculation.depth=3",
        "serving.speculation.acceptance=eagle3-llama-3.1-8b",
    ],
    "unequal experts": ["chips=2"],
}  # fmt: skip


def events(text: str) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Yield (group, track, event) of every slice in a file, read back as a viewer would."""
    rows = json.loads(text)["traceEvents"]
    groups = {row["pid"]: row["args"]["name"] for row in rows if row["ph"] == "M" and row["name"] == "process_name"}
    tracks = {(r["pid"], r["tid"]): r["args"]["name"] for r in rows if r["ph"] == "M" and r["name"] == "thread_name"}
    for row in rows:
        if row["ph"] == "X":
            yield groups[row["pid"]], tracks[row["pid"], row["tid"]], row


def books_of(text: str, record: StepRecord) -> dict[str, dict[str, float]]:
    """Return scope -> account -> amount of a step's file: service times chips, and gaps at the scope's peak."""
    scopes = {scope.name: scope for scope in record.scopes}
    found: dict[str, dict[str, float]] = defaultdict(lambda: defaultdict(float))
    for _, track, row in events(text):
        name = track.partition(" (+")[0]
        if name not in scopes:
            continue
        args = row["args"]
        if row["cat"] == "wait":
            found[name][row["name"]] += scopes[name].peak_per_s * args["ps"] / 1e12
        for account in set(args) & set(ACCOUNTS):
            found[name][account] += args[account] * args.get("chips", 1)
    return found


@pytest.fixture(scope="module")
def step() -> tuple[Result, str]:
    """One iteration on eight chips, as a file holds it."""
    system, model = load_system("h100-sxm8"), load_model("llama-3.1-8b")
    result = evaluate_step(system, model, batch=4, context=512)
    return result, timeline_json(timeline_of_step(system, model, batch=4, context=512), result)[0]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.replace(" ", "-"))
def test_slices_of_a_step_add_up_to_its_ledger(case: str) -> None:
    """For every scope and account: sum of slices = books of the same iteration, to 1e-9 of peak x time."""
    name, model_name, ways, batch, context = CASES[case]
    system, model = load_system(name, SETTINGS.get(case, [])), load_model(model_name)
    result = evaluate_step(system, model, batch=batch, context=context, parallelism=ways)
    timeline = timeline_of_step(system, model, batch=batch, context=context, parallelism=ways)
    setup = Bench(system, model, parallelism=ways).setup
    record = setup.simulate(Batch.of_decode(batch, context))
    assert timeline.end_ps == record.time_ps
    found = books_of(timeline_json(timeline, result)[0], record)
    peaks = {scope.name: scope.peak_per_s * record.time_ps / 1e12 for scope in record.scopes}
    assert {name for name in peaks if not name.startswith("link.")} <= {*found}
    for scope, accounts in found.items():
        for account in {*accounts, *record.books[scope]}:
            expected = record.books[scope].get(account, 0.0)
            assert math.isclose(accounts.get(account, 0.0), expected, rel_tol=0, abs_tol=1e-9 * peaks[scope])


def test_runs_of_a_pipeline_stand_where_its_schedule_has_them() -> None:
    """The timeline ends with the iteration; runs of a stage and its waits fill every part's time."""
    system, model = load_system("h100-sxm8"), load_model("llama-3.1-8b")
    setup = Bench(system, model, parallelism="tp=2,pp=4").setup
    batch = Batch.of_decode(8, 512)
    slices, end_ps = pipeline_slices(setup.cut.pipeline(batch), setup.system)
    assert end_ps == setup.simulate(batch).time_ps
    filled: dict[str, int] = defaultdict(int)
    for each in slices:
        filled[each.track] += each.end_ps - each.start_ps
    parts = {track for track in filled if track.endswith((".hbm", ".matrix", ".l2"))}
    assert len(parts) == 4 * 3
    assert {filled[track] for track in parts} == {end_ps}


def test_slices_of_a_track_do_not_overlap_in_the_file(step: tuple[Result, str]) -> None:
    """A viewer drops slices that overlap: in nanoseconds too, one ends before the next begins."""
    ends: dict[tuple[str, str], int] = defaultdict(int)
    for group, track, row in events(step[1]):
        start, length = (round(1000 * row[key]) for key in ("ts", "dur"))
        assert start >= ends[group, track]
        ends[group, track] = start + length


def test_tracks_have_the_names_of_the_ledger(step: tuple[Result, str]) -> None:
    """Every scope of the ledger has a track of its name, or stands among links that carry the same."""
    result, text = step
    tracks = {track for _, track, _ in events(text)}
    named = {track.partition(" (+")[0] for track in tracks}
    assert {scope for scope in result.ledger if not scope.startswith("link.")} <= named
    alike = [int(track.partition("(+")[2].split()[0]) for track in tracks if "(+" in track]
    links = [scope for scope in result.ledger if scope.startswith("link.")]
    assert sum(track.startswith("link.") for track in tracks) + sum(alike) == len(links)


def test_equal_runs_write_equal_bytes(step: tuple[Result, str], tmp_path: Path) -> None:
    """No time of day and no name goes into the gzip."""
    system, model = load_system("h100-sxm8"), load_model("llama-3.1-8b")
    timeline = timeline_of_step(system, model, batch=4, context=512)
    for name in ("a.json.gz", "b.json.gz"):
        write_timeline(timeline, step[0], tmp_path / name)
    first, second = ((tmp_path / name).read_bytes() for name in ("a.json.gz", "b.json.gz"))
    assert first == second
    assert first[4:8] == b"\0\0\0\0"
    assert gzip.decompress(first).decode() == step[1]


def test_a_window_holds_what_lies_in_it(step: tuple[Result, str]) -> None:
    """Cut in three, slices keep the time of each track and the bytes of every account."""
    system, model = load_system("h100-sxm8"), load_model("llama-3.1-8b")
    whole = timeline_of_step(system, model, batch=4, context=512)
    borders = [0, whole.end_ps // 3, whole.end_ps // 2, whole.end_ps]
    parts = [clipped(whole, Span(*pair)) for pair in itertools.pairwise(borders)]

    def totals(slices: tuple[Slice, ...]) -> tuple[int, float]:
        rows = [row for row in slices if row.track == "chip0-7.hbm"]
        return sum(row.end_ps - row.start_ps for row in rows), math.fsum(x for r in rows for x in r.accounts.values())

    times, amounts = zip(*(totals(part.slices) for part in parts), strict=True)
    expected_time, expected_amount = totals(whole.slices)
    assert sum(times) == expected_time == whole.end_ps
    assert math.fsum(amounts) == pytest.approx(expected_amount, rel=1e-12)


def test_lanes_hold_one_request_at_a_time() -> None:
    """As many lanes as requests are in the system at once, no more."""
    assert lanes([(0, 4), (1, 2), (2, 5), (4, 6), (5, 7)]) == [0, 1, 1, 0, 1]


@pytest.fixture(scope="module")
def replayed() -> tuple[Any, ...]:
    """A short trace served by one replica."""
    system, model = load_system("h100-sxm8"), load_model("llama-3.1-8b")
    trace = load_trace("azure-conv", limit=4)
    return system, model, trace, run(system, model, trace=trace)


def test_iterations_of_a_replay_and_its_bandwidth_are_those_of_the_ledger(replayed: tuple[Any, ...]) -> None:
    """Iterations take the time of the phases; the counters' bytes are the ledger's useful bytes; lanes are requests."""
    system, model, trace, result = replayed
    timeline = timeline_of_replay(result, system, model, traffic=trace)
    busy = sum(row.end_ps - row.start_ps for row in timeline.slices if row.track == "iterations")
    phases = math.fsum(phase.time_s for name, phase in result.phases.items() if name != "none")
    assert busy / 1e12 == pytest.approx(phases, rel=1e-9)
    ledger = result.tables.ledger
    scope = ledger.scopes.index("chip0-7.hbm")
    useful = np.array([account.startswith("useful") for account in ACCOUNTS])[ledger.account]
    expected = float(ledger.amount[useful & (ledger.scope == scope)].sum())
    points = [count for count in timeline.counts if count.name == "chip0-7.hbm useful"]
    pairs = itertools.pairwise(points)
    assert math.fsum(a.value * (b.at_ps - a.at_ps) / 1e12 for a, b in pairs) == pytest.approx(expected, rel=1e-9)
    first = {row.facts["request"]: row for row in timeline.slices if row.name.endswith("to first token")}
    assert [first[i].end_ps for i in range(4)] == result.tables.requests.first_token_ps.tolist()


def test_a_window_of_a_replay_shows_its_iterations_job_by_job(replayed: tuple[Any, ...]) -> None:
    """Operators fill each iteration of the window; what they stretch by is below the error of knots."""
    system, model, trace, result = replayed
    window = Span(1000 * MS, 1004 * MS)
    timeline = timeline_of_replay(result, system, model, traffic=trace, ask=Ask(window=window))
    operators = [row for row in timeline.slices if row.track == "chip0-7.operators"]
    iterations = [row for row in timeline.slices if row.track == "iterations"]
    assert sum(r.end_ps - r.start_ps for r in operators) == sum(r.end_ps - r.start_ps for r in iterations)
    stretches = [row.facts["stretched_by"] for row in operators]
    assert max(abs(float(each) - 1) for each in stretches) < 0.005
    assert all(window.start_ps <= row.start_ps and row.end_ps <= window.end_ps for row in timeline.slices)


def test_a_closed_loop_has_a_timeline_too() -> None:
    """Its iterations end with its last request."""
    system, model, loop = load_system("h100-sxm8"), load_model("llama-3.1-8b"), ClosedLoop(2, 64, 8, 1)
    result = run(system, model, trace=loop)
    timeline = timeline_of_replay(result, system, model, traffic=loop)
    last = max(row.end_ps for row in timeline.slices if row.track == "iterations")
    assert last == int(result.tables.requests.finish_ps.max())  # type: ignore[union-attr]


def test_too_much_is_refused_with_what_to_ask_for(replayed: tuple[Any, ...]) -> None:
    """Parts of a whole replay, a window beyond the end and one with too many iterations."""
    system, model, trace, result = replayed
    for ask, word in (
        (Ask("chunk"), "--timeline-window"),
        (Ask(None, Span(10**18, 10**18 + 1)), "before the end"),
        (Ask(None, Span(0, 3000 * MS)), "at most 64 iterations"),
    ):
        with pytest.raises(InputError, match=word):
            timeline_of_replay(result, system, model, traffic=trace, ask=ask)


@pytest.mark.parametrize("case", ["tensor parallel", "near memory"], ids=lambda case: case.replace(" ", "-"))
def test_channel_groups_add_up_to_their_memory_and_to_the_channels_of_the_ledger(case: str) -> None:
    """Groups sum to the memory, account by account; each is what the ledger says of its channels."""
    name, model_name, ways, batch, context = CASES[case]
    system, model = load_system(name), load_model(model_name)
    timeline = timeline_of_step(system, model, batch=batch, context=context, parallelism=ways)
    result = evaluate_step(system, model, batch=batch, context=context, parallelism=ways)
    assert result.tables is not None
    memory = next(iter({each.track.partition(".ch")[0] for each in timeline.slices if "channels" in each.facts}))
    whole = [each for each in timeline.slices if each.track == memory]
    tracks: dict[str, list[Slice]] = defaultdict(list)
    for each in timeline.slices:
        if each.track.startswith(f"{memory}.ch"):
            tracks[each.track].append(each)
    assert len(tracks) > 1
    stood = {track: sum(e.end_ps - e.start_ps for e in rows if e.waiting) for track, rows in tracks.items()}
    assert set(stood.values()) == {sum(e.end_ps - e.start_ps for e in whole if e.waiting)}
    for account in ACCOUNTS:
        of_groups = math.fsum(e.accounts.get(account, 0.0) for rows in tracks.values() for e in rows)
        of_memory = math.fsum(e.accounts.get(account, 0.0) for e in whole)
        assert math.isclose(of_groups, of_memory, rel_tol=1e-9, abs_tol=1.0), account
    ledger = result.tables.ledger
    for track, rows in tracks.items():
        first, _, last = track.rpartition(".ch")[2].partition("-")
        names = {f"{memory}.ch{channel}" for channel in range(int(first), int(last or first) + 1)}
        assert len(names) == rows[0].facts["channels"]
        scopes = [number for number, scope in enumerate(ledger.scopes) if scope in names]
        for account in ("useful_weights", "useful_kv_read", "overfetch"):
            booked = float(
                ledger.amount[np.isin(ledger.scope, scopes) & (ledger.account == ACCOUNTS.index(account))].sum()
            )
            shown = math.fsum(e.accounts.get(account, 0.0) * int(e.facts["chips"]) for e in rows)
            assert math.isclose(shown, booked, rel_tol=1e-9, abs_tol=1.0), (track, account)


def test_too_many_slices_lose_channel_groups_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """The file says what it leaves out; what is left has every part and no group."""
    system, model = load_system("h100-sxm8"), load_model("llama-3.1-8b")
    whole = timeline_of_step(system, model, batch=1, context=64)
    assert whole.left_out == ""
    monkeypatch.setattr("archsim.timeline.MOST_SLICES", len(whole.slices) - 1)
    less = timeline_of_step(system, model, batch=1, context=64)
    assert less.left_out == "channel groups"
    assert less.slices == tuple(each for each in whole.slices if "channels" not in each.facts)


def test_guesses_are_told_apart_from_what_verifies_them() -> None:
    """Operators of the passes that guess have names of their own; as many passes as the depth."""
    name, model_name, _, batch, context = CASES["guesses"]
    slices = timeline_of_step(load_system(name, SETTINGS["guesses"]), load_model(model_name), batch=batch,
                              context=context).slices  # fmt: skip
    names = [each.name for each in slices if each.track.endswith(".operators")]
    assert sum(name == "draft: qkv" for name in names) == 3
    assert "qkv" in names
