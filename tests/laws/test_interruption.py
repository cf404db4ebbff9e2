"""Whatever stops a command, and whenever: no partial file under a final name, nothing lost, and it runs again."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import interrupting
import pytest
from interrupting import ACTS, JOBS

import archsim
from archsim import cli

Trials = list[dict[str, object]]


def tried(folder: Path, *, each: int, seed: int) -> Trials:
    """Return the trials of a program of its own: a test runner has threads, whose locks a forked process inherits."""
    command = [sys.executable, str(interrupting.__file__), str(folder), str(each), str(seed)]
    source = str(Path(archsim.__file__).parents[1])
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1", "PYTHONPATH": source}
    done = subprocess.run(command, check=False, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.fixture(scope="module")
def once(tmp_path_factory: pytest.TempPathFactory) -> Trials:
    """Return one trial of every job and act."""
    return tried(tmp_path_factory.mktemp("jobs"), each=1, seed=0)


@pytest.mark.parametrize("act", ACTS)
@pytest.mark.parametrize("job", JOBS, ids=lambda job: job.name)
def test_a_cut_command_leaves_all_or_nothing(job: interrupting.Job, act: str, once: Trials) -> None:
    """Signals, a full disk, an input that vanishes, a clock that jumps: `scripts/interrupt.py` tries any number."""
    found = [trial["wrong"] for trial in once if (trial["job"], trial["act"]) == (job.name, act)]
    assert found == [""]


@pytest.mark.slow
def test_no_moment_is_a_bad_one(tmp_path: Path) -> None:
    """The same at forty moments."""
    found = tried(tmp_path, each=40, seed=1)
    assert len(found) == 40 * len(JOBS) * len(ACTS)
    assert [trial for trial in found if trial["wrong"]] == []


def test_a_file_is_no_folder_for_a_report(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A file where a folder should be takes no result; the message names the path."""
    interrupting.prepared(tmp_path)
    (tmp_path / "file").write_text("x", encoding="utf-8")
    before = sorted(path.name for path in tmp_path.iterdir())
    assert cli.main(["report", str(tmp_path / "given"), "--out", str(tmp_path / "file/page.html")]) == 2
    assert "page.html" in capsys.readouterr().err
    assert sorted(path.name for path in tmp_path.iterdir()) == before


def test_a_command_runs_outside_of_the_main_thread() -> None:
    """Handlers of signals belong to the main thread; a program may call `main` from another one."""
    codes: list[int] = []
    thread = threading.Thread(target=lambda: codes.append(cli.main(["--version"])))
    thread.start()
    thread.join()
    assert codes == [0]
