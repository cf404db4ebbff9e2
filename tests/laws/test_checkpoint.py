"""A replay that was cut goes on from its checkpoint to the bytes of one that was not."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from archsim import cli
from archsim.errors import InputError
from archsim.serving.checkpoint import Keeper, Wanted
from archsim.serving.replay import replay
from archsim.serving.requests import Arrival, Limits
from archsim.serving.state import restore, saved
from archsim.serving.techniques import PLAIN, AnswerRule, DraftRule, PrefixRule, Techniques
from archsim.step.costs import StepCosts
from archsim.workload import stream
from archsim.workload.batch import Batch
from archsim.workload.layers import ALL, Reach

IDENTITY = {"archsim": "1", "command": "archsim run this", "system": "sha256:1"}
ARRIVALS = [
    Arrival(at * 10**7, 9 + at * 7 % 60, 1 + at * 11 % 40, (at % 3, 10 + at % 5, 100 + at)[: (9 + at * 7 % 60) // 8])
    for at in range(150)
]
TECHNIQUES = {
    "plain": PLAIN,
    "prefixes": Techniques(prefix=PrefixRule("lru", 8)),
    "drafts": Techniques(drafts=DraftRule((Fraction(3, 4), Fraction(1, 3)), 2), watched=True),
    "classes": Techniques(classes=(30, 70), class_preempts=True, ttft_ps=10**9, watched=True),
    "answers": Techniques(answers=AnswerRule(Fraction(1, 4), 10**6), tpot_ps=2 * 10**7),
}


def _step(batch: Batch) -> Any:
    work = 5 * batch.decode + batch.kv_tokens // 9 + 2 * batch.prefill_tokens + batch.prefill_pairs // 50
    return SimpleNamespace(time_ps=10**6 + 10**4 * work)


def _seen(record: Any) -> Any:
    """Return all that *record* holds as plain values, dictionaries in their order."""
    table, watch = record.requests, record.observer
    return (
        [getattr(table, name).tolist() for name in ("arrival_ps", "first_token_ps", "finish_ps", "preemptions")],
        table.rejections,
        [
            (window.start_fine, window.end_fine, window.idle_fine, window.output_tokens, _phases(window))
            for window in record.windows
        ],
        [getattr(record, name) for name in ("completed", "rejected", "preemptions", "decode_tokens", "peak_kv_blocks")],
        [getattr(record, name) for name in ("event_count", "answered", "draft_tokens", "prefixes")],
        watch and (list(watch.gaps.bins.items()), watch.gaps.total_fine, list(watch.series.rows())),
        record.tally and [record.tally.output_tokens, record.tally.e2e.counts.tolist(), record.tally.tpot.total_fine],
    )


def _phases(window: Any) -> Any:
    return [(name, use.iterations, use.time_fine, [*use.weights.items()]) for name, use in window.phases.items()]


def _replayed(limits: Limits, policy: str, wanted: Wanted | None = None) -> tuple[Any, StepCosts]:
    costs = StepCosts(_step, reach=limits.reach)
    keeper = Keeper(wanted, IDENTITY, costs, lambda: "all") if wanted else None
    return replay(iter(ARRIVALS), costs, limits=limits, policy=policy, keeper=keeper), costs


@pytest.mark.parametrize("policy", ["prefill_first", "decode_first", "static"])
@pytest.mark.parametrize("technique", TECHNIQUES)
@pytest.mark.parametrize(
    ("reach", "tallied"), [(ALL, False), (Reach(1, 2, 24), True)], ids=["whole-kept", "windows-counted"]
)
def test_a_replay_goes_on_to_what_an_uncut_one_comes_to(
    policy: str, technique: str, reach: Reach, tallied: bool, tmp_path: Path
) -> None:
    """Whatever the server does: requests, windows with the order of their knots, gaps, counters, iterations."""
    limits = Limits(8, 60, 90, 4, 130, reach=reach, techniques=TECHNIQUES[technique], tallied=tallied)
    if technique == "classes" and policy == "static":
        limits = replace(limits, techniques=replace(limits.techniques, class_preempts=False))
    file = tmp_path / "run.ckpt"
    uncut, knots = _replayed(limits, policy)
    kept, _ = _replayed(limits, policy, Wanted(path=file, every=40))
    taken = json.loads(file.read_text().splitlines()[1])["taken"]
    resumed, again = _replayed(limits, policy, Wanted(resume=file))
    assert 40 <= taken < len(ARRIVALS) + 1
    assert _seen(uncut) == _seen(kept) == _seen(resumed)
    assert knots.asked == again.asked


def test_a_checkpoint_while_requests_wait_run_and_recompute_holds_them(tmp_path: Path) -> None:
    """With little room the state has sequences in the queue and in the batch, some of them preempted before."""
    limits = Limits(8, 60, 40, 4, 130)
    file = tmp_path / "run.ckpt"
    uncut, _ = _replayed(limits, "prefill_first", Wanted(path=file, every=60))
    state = json.loads(file.read_text().splitlines()[1])["server"]
    assert state["_scheduler"]["part"]["preemptions"] > 0
    scheduler = state["_scheduler"]["part"]
    assert scheduler["waiting"]["part"]["_waiting"]["deque"]
    assert scheduler["batch"]["part"]["_members"]["dict"]
    assert _seen(_replayed(limits, "prefill_first", Wanted(resume=file))[0]) == _seen(uncut)


@pytest.fixture(scope="module", name="file")
def _file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("kept") / "run.ckpt"
    _replayed(Limits(8, 60, 90, 4, 130), "prefill_first", Wanted(path=file, every=70))
    return file


@pytest.mark.parametrize("key", sorted(IDENTITY))
def test_another_runs_checkpoint_is_refused_by_name(file: Path, key: str) -> None:
    """The version, the command or the system: the message says which differs, and both."""
    with pytest.raises(InputError, match=f"{key}.*{IDENTITY[key]}.*this run's: other"):
        Keeper(Wanted(resume=file), IDENTITY | {key: "other"}, StepCosts(_step), lambda: "all")


def test_a_checkpoint_of_another_trace_is_refused(file: Path) -> None:
    """The same options, but the file of requests has changed since."""
    costs = StepCosts(_step)
    keeper = Keeper(Wanted(resume=file), IDENTITY, costs, lambda: "others")
    with pytest.raises(InputError, match="first requests are those"):
        replay(iter(ARRIVALS), costs, limits=Limits(8, 60, 90, 4, 130), keeper=keeper)


@pytest.mark.parametrize(
    ("change", "found"),
    [
        (lambda text: text[:-40], "not what was written"),
        (lambda text: text.replace('"taken":', '"taken":1'), "not what was written"),
        (lambda text: text.replace('"version": 1', '"version": 2'), "version 2"),
        (lambda _: '{"format": "something"}\n{}\n', "another file"),
        (lambda _: "[]\n", "another file"),
        (lambda _: "no JSON\n", "valid JSON"),
        (lambda _: "", "valid JSON"),
    ],
    ids=["cut", "changed", "newer", "foreign", "list", "text", "empty"],
)
def test_what_is_no_checkpoint_is_refused(file: Path, change: Any, found: str, tmp_path: Path) -> None:
    """Cut off, changed, from another version, or another file altogether: an error of the input that names the file."""
    path = tmp_path / "bad.ckpt"
    path.write_text(change(file.read_text()))
    with pytest.raises(InputError, match=f"bad.ckpt.*{found}"):
        Keeper(Wanted(resume=path), IDENTITY, StepCosts(_step), lambda: "all")


def test_a_state_of_another_server_is_refused(file: Path) -> None:
    """A checkpoint names nothing but what a server is made of, and all of that."""
    costs = StepCosts(_step)
    for wrong in ({"batch": 3}, {"log": {"part": {"os": 1}}}, {"under_way": {"Popen": ["true"]}}):
        keeper = Keeper(Wanted(resume=file), IDENTITY, costs, lambda: "all")
        assert keeper.resume is not None
        keeper.resume.server["_scheduler"]["part"].update(wrong)
        with pytest.raises(InputError, match="a checkpoint of archsim"):
            replay(iter(ARRIVALS), costs, limits=Limits(8, 60, 90, 4, 130), keeper=keeper)


RUN = [
    "run",
    "m4-max",
    "--model",
    "qwen3-8b",
    "--precision",
    "w8a16kv16",
    "--trace",
    "azure-week",
    "--limit",
    "20",
    "--json",
]


def _printed(capsys: pytest.CaptureFixture[str], *options: str) -> str:
    assert cli.main([*RUN, *options]) == 0
    return capsys.readouterr().out


@pytest.mark.parametrize("most", [10**6, 10], ids=["kept", "streamed"])
def test_a_resumed_command_prints_the_bytes_of_an_uncut_one(
    most: int, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Held or streamed, from a file that goes on to be written: result.json to the last digit."""
    monkeypatch.setattr(stream, "MOST_EXACT", most)
    file = str(tmp_path / "run.ckpt")
    uncut = _printed(capsys)
    assert _printed(capsys, "--checkpoint", file, "--checkpoint-every", "8") == uncut
    assert _printed(capsys, "--checkpoint", file, "--checkpoint-every", "5", "--resume", file) == uncut


def _refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert cli.main(list(arguments)) == 2
    return " ".join(capsys.readouterr().err.split())


def test_a_file_that_exists_is_not_overwritten_unasked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Only the file that a run goes on from may be replaced."""
    (tmp_path / "mine").write_text("x")
    assert "does not exist yet" in _refused(capsys, *RUN, "--checkpoint", str(tmp_path / "mine"))
    assert (tmp_path / "mine").read_text() == "x"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--checkpoint-every", "5"), "--checkpoint-every is of --checkpoint"),
        (("--checkpoint", "a", "--decode-trace", "b.jsonl"), "does not go with --decode-trace"),
        (("--checkpoint", "a", "--timeline", "b.json"), "does not go with --timeline"),
        (("--resume", "nowhere.ckpt"), "nowhere.ckpt"),
    ],
    ids=["alone", "decode", "timeline", "absent"],
)
def test_what_cannot_be_kept_is_refused(
    options: tuple[str, ...], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """By name, before the run, and nothing is written."""
    monkeypatch.chdir(tmp_path)
    assert said in _refused(capsys, *RUN, *options)
    assert list(tmp_path.iterdir()) == []


def test_replicas_have_no_checkpoint(capsys: pytest.CaptureFixture[str]) -> None:
    """They wait for each other in the middle of iterations: what is not written down is refused."""
    command = ["run", "h100-sxm8", "--model", "llama-3.1-8b", "--trace", "azure-week", "--limit", "20"]
    assert "2 replicas" in _refused(capsys, *command, "--checkpoint", "a", "--parallel", "tp=4,dp=2")


def test_a_closed_loop_and_a_step_have_no_checkpoint(capsys: pytest.CaptureFixture[str]) -> None:
    """A trace alone is read again from its beginning; sessions depend on what was done."""
    system = RUN[:6]
    step = _refused(capsys, *system, "--batch", "1", "--context", "9", "--checkpoint", "a")
    assert "is of a run on a trace" in step
    assert "closed loop" in _refused(capsys, *system, "--trace", "agents", "--limit", "9", "--checkpoint", "a")


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_killed_run_goes_on_to_the_same_bytes(tmp_path: Path) -> None:
    """`kill -9` at three moments after a checkpoint: what the file holds then is whole, and resumed it is the same."""
    command = [sys.executable, "-m", "archsim", *RUN[:-3], "--limit", "12000", "--json"]
    uncut = subprocess.run(command, check=True, capture_output=True).stdout
    for wait_s in (0.0, 0.3, 0.6):
        file = tmp_path / f"{wait_s}.ckpt"
        cut = subprocess.Popen([*command, "--checkpoint", str(file), "--checkpoint-every", "300"],
                               stdout=subprocess.DEVNULL)  # fmt: skip
        while cut.poll() is None and not file.exists():
            time.sleep(0.01)
        time.sleep(wait_s)
        os.kill(cut.pid, signal.SIGKILL)
        cut.wait()
        resumed = subprocess.run([*command, "--resume", str(file)], check=True, capture_output=True).stdout
        assert resumed == uncut


def test_columns_survive_as_they_are() -> None:
    """Values of 63 bits and empty columns, through base64 and back."""
    part = SimpleNamespace(KEPT=("a", "b"), a=np.array([[1, -1], [2**62, 5]]), b=np.empty((0, 8), dtype=np.int64))
    other = SimpleNamespace(KEPT=("a", "b"), a=None, b=None)
    restore(other, json.loads(json.dumps(saved(part))))
    assert np.array_equal(other.a, part.a)
    assert other.b.shape == (0, 8)
