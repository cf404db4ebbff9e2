"""Laws of decode traces: what a run writes replays to the same decode phase; a line costs what its steps cost."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from replay_toy import ToyCosts

from archsim.errors import InputError
from archsim.serving.decode_only import Recorder, replay_decode
from archsim.serving.fleet import replay_fleet
from archsim.serving.record import Record
from archsim.serving.replay import replay
from archsim.serving.requests import Arrival, Limits
from archsim.serving.servers import ServerGroup
from archsim.simulate import ClosedLoop, load_model, load_system, load_trace, run
from archsim.study.whatif import asked_of, changed
from archsim.traffic import Recorded
from archsim.workload.decode_trace import open_decode_trace
from archsim.workload.layers import Reach

LAWS = settings(max_examples=25, deadline=None, derandomize=True, database=None)
COSTS = ToyCosts(
    lambda batch, kv_tokens: 10**9 + batch * 10**6 + kv_tokens * 1000,
    lambda tokens, pairs: tokens * 10**6 + pairs * 10,
    spacing_bits=6,
)
TIGHT = Limits(max_batch=8, max_prefill_tokens=96, kv_blocks=24, block_tokens=16, context_tokens=1024)
NARROW = replace(TIGHT, kv_blocks=60, reach=Reach(full=1, windowed=2, window=40))
ARRIVALS = st.lists(st.tuples(st.integers(0, 10**11), st.integers(1, 90), st.integers(1, 60)), min_size=1, max_size=15)


def arrivals_of(rows: list[tuple[int, int, int]]) -> list[Arrival]:
    """Return *rows* in order of arrival."""
    return [Arrival(*row) for row in sorted(rows)]


@pytest.mark.parametrize("limits", [TIGHT, NARROW], ids=["tight", "narrow"])
@pytest.mark.parametrize("policy", ["prefill_first", "decode_first", "static"])
@LAWS
@given(rows=ARRIVALS)
def test_what_a_replay_writes_replays_to_the_same_iterations(
    policy: str, limits: Limits, rows: list[tuple[int, int, int]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Whatever the scheduler, preemptions and windows: iterations, time and weight of every knot, to the last unit."""
    path = tmp_path_factory.mktemp("decode") / "d.jsonl"
    recorder = Recorder(path)
    with recorder.writing(model="toy", shares=False):
        record = replay(arrivals_of(rows), COSTS, limits=replace(limits, log=recorder.log), policy=policy)
    plain = replay(arrivals_of(rows), COSTS, limits=limits, policy=policy)
    assert (record.total, record.windows) == (plain.total, plain.windows)
    written = {phase: use for phase, use in record.total.phases.items() if phase in {"decode", "mixed"}}
    if not written:
        return
    again = replay_decode(open_decode_trace(str(path)), COSTS, limits=limits).record
    assert again.total.phases == written
    assert again.total.idle_fine == 0
    assert again.decode_tokens == record.decode_tokens


def test_a_fleet_writes_whose_sequences_are_whose(tmp_path: Path) -> None:
    """Two replicas, packed: each one's decode phase is its own again."""
    recorder, path = Recorder(tmp_path / "d.jsonl.gz"), tmp_path / "d.jsonl.gz"
    rows = arrivals_of([(number * 10**9, 30 + number, 20) for number in range(9)])
    with recorder.writing(model="toy", shares=False):
        fleet = replay_fleet(rows, ServerGroup(COSTS, replace(TIGHT, log=recorder.log), 2))
    again = replay_decode(open_decode_trace(str(path)), COSTS, limits=TIGHT, replicas=2)
    for before, after in zip(fleet.replicas, again.replicas, strict=True):
        assert before.total.phases["decode"] == after.total.phases["decode"]
    with pytest.raises(InputError, match="replicas below 1"):
        replay_decode(open_decode_trace(str(path)), COSTS, limits=TIGHT)


def by_hand(tmp_path: Path, *lines: str, header: str = '{"format": "archsim-decode-trace", "version": 1}') -> str:
    """Return the path of a decode trace of *lines*."""
    path = tmp_path / "hand.jsonl"
    path.write_text("".join(line + "\n" for line in (header, *lines)))
    return str(path)


def replayed(path: str) -> Record:
    """Return the record of the decode trace at *path*."""
    return replay_decode(open_decode_trace(path), COSTS, limits=TIGHT).record


def test_a_run_of_iterations_costs_what_they_cost_one_by_one(tmp_path: Path) -> None:
    """Two sequences for three steps: each step alone, or all in a line."""
    alone = [json.dumps({"ids": [4, 2], "contexts": [10 + step, 70 + step]}) for step in range(3)]
    one = replayed(by_hand(tmp_path, *alone))
    together = replayed(by_hand(tmp_path, '{"ids": [4, 2], "contexts": [10, 70], "steps": 3}'))
    assert one.total.phases == together.total.phases
    exact = sum(COSTS.decode(2, 80 + 2 * step, 1).time_fine for step in range(3))
    assert one.total.phases["decode"].time_fine == exact
    table = one.requests
    assert table.output_tokens.tolist() == [3, 3]
    assert sorted(table.prompt_tokens.tolist()) == [9, 69]
    assert table.finish_ps.tolist() == [one.end_ps] * 2


STEP = '{"ids": [0], "contexts": [5]}'


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("[1]", "a JSON object"),
        ("[" * 100_000, "a JSON object"),
        ('{"ids": [0]}', '"contexts"'),
        ('{"ids": [], "contexts": []}', "as many contexts as ids"),
        ('{"ids": [0, 1], "contexts": [5]}', "as many contexts as ids"),
        ('{"ids": [0, 0], "contexts": [5, 5]}', "ids that differ"),
        ('{"ids": [0], "contexts": [0]}', "contexts and steps from 1"),
        ('{"ids": [0], "contexts": [5], "steps": 0}', "contexts and steps from 1"),
        ('{"ids": [0], "contexts": [5.5]}', "whole numbers"),
        ('{"ids": [true], "contexts": [5]}', "whole numbers"),
        ('{"ids": [0], "contexts": [1' + "0" * 5000 + "]}", "a JSON object"),
        ('{"ids": [0], "contexts": [5], "replica": 1e3}', "whole numbers"),
        ('{"ids": [0], "contexts": [5], "prefill": 3}', '"prefill"'),
        (
            '{"ids": [0], "contexts": [5], "prefill": {"sequences": 2, "tokens": 1, "pairs": 1, "kv_tokens": 1}}',
            "prefill",
        ),
        ('{"ids": [0], "contexts": [2000]}', "contexts of at most 1,024 tokens"),
        ('{"ids": [0], "contexts": [500]}', "24 blocks of 16 tokens"),
    ],
)
def test_a_bad_line_is_refused_with_file_and_line(line: str, words: str, tmp_path: Path) -> None:
    """When the file is opened; what this model or memory cannot hold, when it is replayed."""
    with pytest.raises(InputError) as caught:
        replayed(by_hand(tmp_path, STEP, line))
    assert words in str(caught.value)
    assert "hand.jsonl: line 3" in str(caught.value)


@pytest.mark.parametrize("header", ["", "{}", '{"format": "archsim-decode-trace", "version": 2}', "ids,contexts"])
def test_a_file_without_its_header_is_refused(header: str, tmp_path: Path) -> None:
    """Whatever follows."""
    with pytest.raises(InputError, match=r"hand\.jsonl"):
        open_decode_trace(by_hand(tmp_path, STEP, header=header))
    with pytest.raises(InputError, match="at least one iteration"):
        open_decode_trace(by_hand(tmp_path))


@pytest.mark.parametrize("scheduler", ["prefill_first", "decode_first"])
def test_a_written_trace_gives_the_same_decode_ledger(scheduler: str, tmp_path: Path) -> None:
    """Of a real machine, in the bytes of result.json: the decode phase, and the mixed one where there is one."""
    system = load_system("m4-max", [f"runtime.scheduler={scheduler}"])
    model, path = load_model("llama-3.1-8b"), tmp_path / "d.jsonl"
    result = run(system, model, trace=Recorded(load_trace("azure-conv", limit=6), path))
    again = run(system, model, trace=open_decode_trace(str(path)))
    before, after = json.loads(result.to_json())["phases"], json.loads(again.to_json())["phases"]
    assert set(after) <= {"decode", "mixed"}
    assert set(after) == set(before) & {"decode", "mixed"}
    assert json.dumps(after) == json.dumps({phase: before[phase] for phase in after})
    assert again.provenance.command.endswith("--decode-only d.jsonl --seed 0")
    with pytest.raises(InputError, match="does not exist yet"):
        run(system, model, trace=Recorded(ClosedLoop(1, 5, 5, 1), path))


def test_a_replayed_decode_trace_can_be_asked_again(tmp_path: Path) -> None:
    """Its command names the file, which must be the same one: another changes the digest and is refused."""
    path = tmp_path / "hand.jsonl"
    by_hand(tmp_path, '{"ids": [0, 1], "contexts": [90, 700], "steps": 4}')
    system = load_system("m4-max")
    result = run(system, load_model("llama-3.1-8b"), trace=open_decode_trace(str(path)))
    again = changed(result, asked_of(result, tmp_path), system, trace_file=str(path))
    assert again.to_json() == result.to_json()
    by_hand(tmp_path, '{"ids": [0, 1], "contexts": [90, 700], "steps": 5}')
    with pytest.raises(InputError, match="the trace of the run"):
        changed(result, asked_of(result, tmp_path), system, trace_file=str(path))
