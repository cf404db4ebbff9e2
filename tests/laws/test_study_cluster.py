"""A sweep on a dask scheduler: real processes over loopback, one of which is killed."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

import archsim
from archsim.errors import InputError
from archsim.study.cases import Case, Outcome
from archsim.study.claims import Part
from archsim.study.cluster import on_cluster
from archsim.study.door import load_study
from archsim.study.execute import in_process
from archsim.study.export import export
from archsim.study.store import Store
from archsim.study.study import Study
from archsim.study.sweep import sweep

pytest.importorskip("distributed")
SOURCE = str(Path(archsim.__file__).parents[1])
STUDY = """
kind = "study"
name = "spread"
title = "spread over machines"
systems = ["h100-sxm8"]
model = "llama-3.1-8b"
[[axis]]
key = "context"
from = 1024
to = 2047
steps = 40
[[axis]]
key = "batch"
values = [1, 2, 3]
[[objective]]
metric = "tokens_per_s"
goal = "max"
"""


@contextlib.contextmanager
def started(*arguments: str, word: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Run a dask process and give it with the address that it prints after *word*."""
    process = subprocess.Popen(
        [sys.executable, "-m", *arguments], env=os.environ | {"PYTHONPATH": SOURCE}, stderr=subprocess.PIPE, text=True,
        start_new_session=True,
    )  # fmt: skip
    try:
        assert process.stderr is not None
        for line in process.stderr:
            match = re.search(rf"{word}.*?(tcp://[\d.:]+)", line)
            if match:
                yield process, match[1]
                return
        raise AssertionError(f"{arguments} ended before it said {word}")
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        if process.stderr is not None:
            process.stderr.close()


def worker(address: str) -> contextlib.AbstractContextManager[tuple[subprocess.Popen[str], str]]:
    """Run a worker of the scheduler at *address*."""
    return started("distributed.cli.dask_worker", address, "--nthreads", "1", "--no-nanny", "--no-dashboard",
                   "--host", "127.0.0.1", word="Start worker at")  # fmt: skip


def spread(folder: Path) -> Study:
    """Return the study of 120 points."""
    (folder / "spread.toml").write_text(STUDY, encoding="utf-8")
    return load_study(str(folder / "spread.toml"))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_a_killed_worker_loses_and_doubles_no_point(tmp_path: Path) -> None:
    """Two workers over loopback, one killed in mid-sweep: every point has one row, the same as in one process."""
    study = spread(tmp_path)
    written: list[int] = []
    with (
        started("distributed.cli.dask_scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard",
                word="Scheduler at") as (_, address),
        worker(address) as (victim, _),
        worker(address),
    ):  # fmt: skip

        def killing(cases: Iterator[Case]) -> Iterator[Outcome]:
            for number, outcome in enumerate(on_cluster(cases, address=address)):
                if number == 10:
                    os.killpg(victim.pid, signal.SIGKILL)
                written.append(outcome.point)
                yield outcome

        with Store.create_or_open(tmp_path / "spread.db", study.identity) as store:
            tally = sweep(study, store, executor=killing, part=Part(study.space.points))  # type: ignore[arg-type]
            export(store, tmp_path / "spread.csv")
    assert (tally.done, tally.failed, tally.left) == (120, 0, 0)
    assert sorted(written) == list(range(120))
    with Store.create_or_open(tmp_path / "one.db", study.identity) as store:
        sweep(study, store, executor=in_process, part=Part(study.space.points))
        export(store, tmp_path / "one.csv")
    assert (tmp_path / "spread.csv").read_bytes() == (tmp_path / "one.csv").read_bytes()


def test_a_scheduler_that_does_not_answer_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A named error instead of a wait without end."""
    monkeypatch.setattr("archsim.study.cluster._TIMEOUT_S", 1)
    study = spread(tmp_path)
    executor = partial(on_cluster, address="tcp://127.0.0.1:9")
    with (
        Store.create_or_open(tmp_path / "s.db", study.identity) as store,
        pytest.raises(InputError, match="--cluster"),
    ):
        sweep(study, store, executor=executor, part=Part(study.space.points))
