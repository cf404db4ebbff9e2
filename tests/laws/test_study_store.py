"""The store of a study: what is in it does not depend on who ran it, how often it was killed, or in what order."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

import archsim
from archsim.errors import InputError
from archsim.study.cases import Case, Outcome
from archsim.study.claims import Claims, Part
from archsim.study.door import load_study
from archsim.study.execute import in_process, on_processes
from archsim.study.export import export, merge
from archsim.study.store import Store
from archsim.study.study import Study
from archsim.study.sweep import Tally, sweep

SOURCE = str(Path(archsim.__file__).parents[1])
STUDY = """
kind = "study"
name = "small"
title = "a small one"
systems = ["h100-sxm8"]
model = "llama-3.1-8b"
[[axis]]
key = "context"
from = 1024
to = 2048
steps = {contexts}
[[axis]]
key = "batch"
values = [1, 2, 3, 4, 5]
[[objective]]
metric = "tokens_per_s"
goal = "max"
"""


def small(folder: Path, contexts: int = 4) -> Study:
    """Return a study of five times *contexts* points."""
    path = folder / "small.toml"
    path.write_text(STUDY.format(contexts=contexts), encoding="utf-8")
    return load_study(str(path))


def toy(cases: Iterator[Case]) -> Iterator[Outcome]:
    """Evaluate cases without a simulation: tokens/s are the batch."""
    for case in cases:
        yield Outcome(case.point, case.inputs, "done", {"tokens_per_s": case.work.batch}, "", {}, 0.0)


def swept(study: Study, path: Path, *, limit: int | None = None, part: Part | None = None) -> Tally:
    """Sweep *study* into *path* with the toy."""
    with Store.create_or_open(path, study.identity) as store:
        part = part or Part(study.space.points)
        return sweep(study, store, executor=toy, part=part, limit=limit)  # type: ignore[arg-type]


def exported(path: Path, out: Path) -> bytes:
    """Return the store at *path* as CSV."""
    with Store(path) as store:
        export(store, out)
    return out.read_bytes()


def test_rows_are_the_same_in_process_and_on_two_processes(tmp_path: Path) -> None:
    """The same study on 1 or N workers: the same bytes."""
    study = small(tmp_path)
    for name, executor in (("one", in_process), ("two", partial(on_processes, workers=2))):
        with Store.create_or_open(tmp_path / f"{name}.db", study.identity) as store:
            tally = sweep(study, store, executor=executor, part=Part(study.space.points))
            assert (tally.done, tally.failed, tally.left) == (20, 0, 0)
    one = exported(tmp_path / "one.db", tmp_path / "one.csv")
    assert one == exported(tmp_path / "two.db", tmp_path / "two.csv")
    assert len(one.splitlines()) == 21


def test_a_sweep_goes_on_where_it_ended(tmp_path: Path) -> None:
    """20 points, 7 at a time: 7, 7, 6 and then none."""
    study, path = small(tmp_path), tmp_path / "s.db"
    assert [swept(study, path, limit=7).done for _ in range(4)] == [7, 7, 6, 0]


def test_a_killed_process_loses_only_the_points_in_flight(tmp_path: Path) -> None:
    """With kill -9 in mid-sweep: the rows are intact, its claims die with it, and the rest is run once."""
    study, path = small(tmp_path, contexts=1000), tmp_path / "s.db"
    command = [sys.executable, "-m", "archsim", "sweep", str(tmp_path / "small.toml"), "--store", str(path)]
    process = subprocess.Popen(
        [*command, "--workers", "2"], env=os.environ | {"PYTHONPATH": SOURCE}, stdout=subprocess.DEVNULL
    )
    kept = wait_for_rows(path, 25, process)
    process.send_signal(signal.SIGKILL)
    process.wait()
    with Store(path) as store:
        rows = sum(store.counts().values())
        assert rows >= kept
        assert store._db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert store._db.execute("SELECT COUNT(*) FROM claims").fetchone()[0] > 0
    tally = swept(study, path, limit=10)
    assert (tally.before, tally.done, tally.elsewhere) == (rows, 10, 0)
    assert not list(tmp_path.glob("s.db.owner-*"))


def wait_for_rows(path: Path, rows: int, process: subprocess.Popen[bytes]) -> int:
    """Wait until the store at *path* has *rows* and return how many it has."""
    deadline = time.monotonic() + 600  # a process that hangs; how fast it is decides nothing
    while time.monotonic() < deadline:
        assert process.poll() is None
        if path.exists():
            with Store(path) as store:
                if (count := sum(store.counts().values())) >= rows:
                    return count
        time.sleep(0.05)
    process.kill()
    raise AssertionError("no rows in time")


def test_an_interrupt_ends_a_sweep_cleanly(tmp_path: Path) -> None:
    """Ctrl-C: exit code 130, a word on how to go on, no claim and no process left."""
    small(tmp_path, contexts=1000)
    path = tmp_path / "s.db"
    command = [sys.executable, "-m", "archsim", "sweep", str(tmp_path / "small.toml"), "--store", str(path)]
    process = subprocess.Popen([*command, "--workers", "2"], env=os.environ | {"PYTHONPATH": SOURCE},
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True)  # fmt: skip
    wait_for_rows(path, 5, process)
    assert all(hears_no_interrupt(child) for child in children_of(process.pid))
    os.killpg(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=300)
    assert process.returncode == 130
    assert b"interrupted" in errors
    assert b"Traceback" not in errors
    assert wait_for_the_end_of(process.pid)
    with Store(path) as store:
        assert store._db.execute("SELECT COUNT(*) FROM claims").fetchone()[0] == 0


def children_of(process: int) -> list[str]:
    """Return the processes that *process* has started."""
    return Path(f"/proc/{process}/task/{process}/children").read_text(encoding="utf-8").split()


def hears_no_interrupt(process: str) -> bool:
    """Return whether *process* blocks or ignores interrupts: they are its parent's."""
    lines = Path(f"/proc/{process}/status").read_text(encoding="utf-8").splitlines()
    masks = [int(line.split()[1], 16) for line in lines if line.startswith(("SigBlk", "SigIgn"))]
    return any(mask >> (signal.SIGINT - 1) & 1 for mask in masks)


def wait_for_the_end_of(group: int) -> bool:
    """Return whether every process of *group* ends in the end: within two minutes."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.05)
    return False


def test_two_processes_never_run_a_point_twice(tmp_path: Path) -> None:
    """What one has claimed the other passes by, also when both draw in turns."""
    study, path = small(tmp_path), tmp_path / "s.db"
    part = Part(study.space.points)
    with Store.create_or_open(path, study.identity) as a, Store(path) as b, Claims(a) as one, Claims(b) as two:
        first, second = one.points(part), two.points(part)
        drawn = [next(first), next(second), next(first), next(second), *first, *second]
        assert sorted(drawn) == list(range(20))
        assert two.others(part) > 0


def test_a_stopped_process_keeps_its_claims_and_a_dead_one_loses_them(tmp_path: Path) -> None:
    """A claim is held by a lock that ends with its owner, not by time."""
    study, path = small(tmp_path), tmp_path / "s.db"
    part = Part(study.space.points)
    with Store.create_or_open(path, study.identity) as a, Store(path) as b:
        one = Claims(a)
        held = list(one.points(part, most=5))
        with Claims(b) as two:
            assert not set(held) & set(two.points(part))
        os.close(one._lock)
        with Claims(b) as two:
            assert set(held) <= set(two.points(part))


def test_a_dead_worker_costs_no_point(tmp_path: Path) -> None:
    """A worker is killed in mid-sweep: another takes its place, and every point has a row."""
    study = small(tmp_path, contexts=20)

    def killing(cases: Iterator[Case]) -> Iterator[Outcome]:
        for number, outcome in enumerate(on_processes(cases, workers=2)):
            if number == 10:
                multiprocessing.active_children()[0].kill()
            yield outcome

    with Store.create_or_open(tmp_path / "s.db", study.identity) as store:
        tally = sweep(study, store, executor=killing, part=Part(study.space.points))  # type: ignore[arg-type]
        assert (tally.done, tally.failed) == (100, 0)
        assert store.counts() == {"done": 100}


def test_a_full_disk_stops_the_sweep_and_leaves_the_store_intact(tmp_path: Path) -> None:
    """A store that may not grow any further: a named error, what was written stays, and there is no half row."""
    study, path = small(tmp_path, contexts=200), tmp_path / "s.db"
    with Store.create_or_open(path, study.identity) as store:
        pages = store._db.execute("PRAGMA page_count").fetchone()[0]
        store._db.execute(f"PRAGMA max_page_count = {pages + 3}")
        with pytest.raises(InputError, match="disk is full"):
            sweep(study, store, executor=toy, part=Part(study.space.points))  # type: ignore[arg-type]
        rows = sum(store.counts().values())
        assert 0 < rows < 1000
    assert swept(study, path).done == 1000 - rows


def test_a_point_that_fails_keeps_its_message_and_stops_nothing(tmp_path: Path) -> None:
    """A batch that does not fit is a row that says so; the points after it are run."""
    text = STUDY.format(contexts=2).replace("[1, 2, 3, 4, 5]", "[1, 1000000, 2]")
    (tmp_path / "small.toml").write_text(text, encoding="utf-8")
    study = load_study(str(tmp_path / "small.toml"))
    with Store.create_or_open(tmp_path / "s.db", study.identity) as store:
        tally = sweep(study, store, executor=in_process, part=Part(study.space.points))
        failed = list(store.rows(status="failed"))
    assert (tally.done, tally.failed) == (6, 2)
    assert all("expected" in outcome.error for outcome in failed)


def test_a_store_of_another_study_or_version_is_refused(tmp_path: Path) -> None:
    """By the digest of the study, and by the version that wrote it."""
    path = tmp_path / "s.db"
    swept(small(tmp_path), path)
    with pytest.raises(InputError, match="has changed"):
        swept(small(tmp_path, contexts=5), path)
    older = replace(small(tmp_path).identity, version="0.0.1")
    Store.create_or_open(tmp_path / "older.db", older).close()
    with pytest.raises(InputError, match=r"0\.0\.1"):
        swept(small(tmp_path), tmp_path / "older.db")


@pytest.mark.parametrize("content", [b"no store at all", b"", b"SQLite format 3\0" + bytes(4096)])
def test_a_file_that_is_no_store_is_refused(tmp_path: Path, content: bytes) -> None:
    """A named error, and the file stays as it is."""
    path = tmp_path / "s.db"
    path.write_bytes(content)
    with pytest.raises(InputError, match="--store"):
        swept(small(tmp_path), path)
    assert path.read_bytes() == content


def test_shards_together_are_the_whole(tmp_path: Path) -> None:
    """Three shards share no point, and their merged store exports to the bytes of the whole one."""
    study = small(tmp_path)
    swept(study, tmp_path / "whole.db")
    shards = [tmp_path / f"{number}.db" for number in range(3)]
    done = [swept(study, path, part=Part(20, first=n, shards=3)).done for n, path in enumerate(shards)]
    assert done == [7, 7, 6]
    assert merge(shards, tmp_path / "merged.db") == 20
    whole = exported(tmp_path / "whole.db", tmp_path / "whole.csv")
    assert exported(tmp_path / "merged.db", tmp_path / "merged.csv") == whole


def test_stores_of_different_studies_are_not_merged(tmp_path: Path) -> None:
    """Their points mean different things; nothing is written."""
    swept(small(tmp_path), tmp_path / "a.db")
    swept(small(tmp_path, contexts=5), tmp_path / "b.db")
    with pytest.raises(InputError, match="a store of the study"):
        merge([tmp_path / "a.db", tmp_path / "b.db"], tmp_path / "c.db")
    assert not (tmp_path / "c.db").exists()


def test_parquet_holds_what_csv_holds(tmp_path: Path) -> None:
    """The same columns and rows, and the same bytes from two stores."""
    parquet = pytest.importorskip("pyarrow.parquet")
    study = small(tmp_path)
    for name in ("a", "b"):
        swept(study, tmp_path / f"{name}.db", limit=11)
        swept(study, tmp_path / f"{name}.db")
        with Store(tmp_path / f"{name}.db") as store:
            assert export(store, tmp_path / f"{name}.parquet") == 20
    assert (tmp_path / "a.parquet").read_bytes() == (tmp_path / "b.parquet").read_bytes()
    table = parquet.read_table(tmp_path / "a.parquet")
    header, first = exported(tmp_path / "a.db", tmp_path / "a.csv").decode().splitlines()[:2]
    assert table.column_names == header.split(",")
    assert table.column("batch")[0].as_py() == first.split(",")[table.column_names.index("batch")] == "1"


def test_text_that_a_spreadsheet_would_run_is_made_harmless(tmp_path: Path) -> None:
    """A message that begins with an equals sign gets an apostrophe."""
    study = small(tmp_path)

    def failing(cases: Iterator[Case]) -> Iterator[Outcome]:
        for case in cases:
            yield Outcome(case.point, case.inputs, "failed", {}, "=1+1", {}, 0.0)

    with Store.create_or_open(tmp_path / "s.db", study.identity) as store:
        sweep(study, store, executor=failing, part=Part(1))  # type: ignore[arg-type]
    assert b",'=1+1\n" in exported(tmp_path / "s.db", tmp_path / "s.csv")


def test_summary_as_json_is_json_alone(tmp_path: Path) -> None:
    """`sweep --json` prints one object: rows by status, the best points and the front."""
    small(tmp_path, contexts=2)
    command = [sys.executable, "-m", "archsim", "sweep", str(tmp_path / "small.toml"), "--json", "--workers", "1"]
    done = subprocess.run([*command, "--store", str(tmp_path / "s.db")], env=os.environ | {"PYTHONPATH": SOURCE},
                          capture_output=True, text=True, check=True, timeout=600)  # fmt: skip
    summary = json.loads(done.stdout)
    assert summary["rows"] == {"done": 10}
    best = summary["best"][0]
    assert best["metrics"]["tokens_per_s"] == max(p["metrics"]["tokens_per_s"] for p in summary["best"])
