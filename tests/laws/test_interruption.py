"""Whatever stops a command, and whenever: no partial file under a final name, nothing lost, and it runs again."""

from __future__ import annotations

import random
import threading
from pathlib import Path

import pytest
from interrupting import ACTS, JOBS, Job, prepared, trial_of, uncut

from archsim import cli

pytestmark = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the inputs of every job."""
    path = tmp_path_factory.mktemp("jobs")
    prepared(path)
    return path


@pytest.fixture(scope="module", params=JOBS, ids=lambda job: job.name)
def job(request: pytest.FixtureRequest, folder: Path) -> tuple[Job, object, float]:
    """Return a job, what it writes when nothing happens, and how long that takes."""
    return (request.param, *uncut(request.param, folder))


@pytest.mark.parametrize("act", ACTS)
def test_a_cut_command_leaves_all_or_nothing(job: tuple[Job, object, float], act: str, folder: Path) -> None:
    """Signals, a full disk, an input that vanishes, a clock that jumps: `scripts/interrupt.py` tries any number."""
    which, good, seconds = job
    moment = random.Random(f"{which.name}-{act}").uniform(0, 0.8 * seconds)
    assert trial_of(which, act, good, moment, folder).wrong == ""


@pytest.mark.slow
@pytest.mark.parametrize("act", ACTS)
def test_no_moment_is_a_bad_one(job: tuple[Job, object, float], act: str, folder: Path) -> None:
    """The same at forty moments."""
    which, good, seconds = job
    draw = random.Random(act)
    trials = [trial_of(which, act, good, draw.uniform(0, 1.1 * seconds), folder) for _ in range(40)]
    assert [trial for trial in trials if trial.wrong] == []


def test_a_read_only_place_is_refused(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A file where a folder should be takes no result; the message names the path."""
    (tmp_path / "file").write_text("x", encoding="utf-8")
    assert cli.main(["report", str(folder / "given"), "--out", str(tmp_path / "file/page.html")]) == 2
    assert "page.html" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_command_runs_outside_of_the_main_thread() -> None:
    """Handlers of signals belong to the main thread; a program may call `main` from another one."""
    codes: list[int] = []
    thread = threading.Thread(target=lambda: codes.append(cli.main(["--version"])))
    thread.start()
    thread.join()
    assert codes == [0]
