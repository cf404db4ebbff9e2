"""Commands that are cut off at a random moment, and what they leave behind.

A `Job` is a command that writes; a trial forks a process that runs it, does something to it (a signal, a full disk, a
vanished input, a clock that jumps) and looks at the folder: under its final name a result is whole or absent, what was
there before is untouched, and the command run again gives the bytes of a run that nothing happened to.
"""

from __future__ import annotations

import contextlib
import io
import os
import random
import resource
import shutil
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from archsim import cli

__all__ = ["ACTS", "JOBS", "Job", "Trial", "prepared", "trial_of", "uncut"]

_STUDY = """kind = "study"
name = "small"
title = "Batches"
systems = ["m4-max"]
model = "qwen3-8b"
precision = "w8a16kv16"

[[axis]]
key = "context"
values = [64, 128, 256, 512]

[[axis]]
key = "batch"
values = [1, 2, 3, 4]

[[objective]]
metric = "tokens_per_s"
goal = "max"
"""
_TRACE = "arrival_s,prompt_tokens,output_tokens\n" + "".join(f"{n / 4},{50 + n},{3 + n % 5}\n" for n in range(60))
_STEP = ("--model", "qwen3-8b", "--precision", "w8a16kv16", "--batch", "1", "--context", "16")
ALLOWED_CODES = {0, 1, 2, 130, 143, -signal.SIGTERM, -signal.SIGKILL, -signal.SIGINT}


@dataclass(frozen=True)
class Job:
    """A command, what it writes, and how the content of that is told."""

    name: str
    command: tuple[str, ...]
    product: str
    content: Callable[[Path], object]


@dataclass(frozen=True)
class Trial:
    """One cut: the exit code, and what was wrong afterwards; empty where nothing was."""

    job: str
    act: str
    code: int
    wrong: str


def _bytes_of(path: Path) -> object:
    if path.is_dir():
        return {str(file.relative_to(path)): file.read_bytes() for file in sorted(path.rglob("*")) if file.is_file()}
    return path.read_bytes()


def _rows_of(path: Path) -> object:
    """Return the inputs and results of a store, without when and by whom."""
    out = path.with_suffix(".csv")
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        assert cli.main(["study", "export", str(path), str(out)]) == 0
    content = out.read_bytes()
    out.unlink()
    return content


JOBS = (
    Job("run", ("run", "m4-max", "--model", "qwen3-8b", "--precision", "w8a16kv16", "--trace", "trace.csv", "--out",
                "product"), "product", _bytes_of),
    Job("sweep", ("sweep", "study.toml", "--store", "product.db", "--workers", "1"), "product.db", _rows_of),
    Job("report", ("report", "given", "--out", "product.html"), "product.html", _bytes_of),
)  # fmt: skip


def prepared(folder: Path) -> None:
    """Write the inputs of every job into *folder*, and load what a first command loads."""
    (folder / "trace.csv").write_text(_TRACE, encoding="utf-8")
    (folder / "study.toml").write_text(_STUDY, encoding="utf-8")
    with contextlib.chdir(folder):
        code, said = _quiet(("run", "m4-max", *_STEP, "--out", "given"))
        assert code == 0, said


def _quiet(command: tuple[str, ...]) -> tuple[int, str]:
    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        return cli.main(command), said.getvalue()


def _forked(command: tuple[str, ...], before: Callable[[], None]) -> int:
    """Return the process that runs *command* in the current folder after *before*."""
    child = os.fork()
    if child:
        return child
    code = 99
    try:
        before()
        code, _ = _quiet(command)
    finally:
        os._exit(code)


def _signalled(number: signal.Signals) -> Callable[[int, float], None]:
    def act(child: int, moment: float) -> None:
        time.sleep(moment)
        with contextlib.suppress(ProcessLookupError):
            os.kill(child, number)

    return act


def _removed(_child: int, moment: float) -> None:
    time.sleep(moment)
    Path("trace.csv").unlink()
    Path("study.toml").unlink()
    shutil.rmtree("given")


def _nothing(_child: int, _moment: float) -> None:
    return


def _filled() -> None:
    """No file may grow beyond some size: the next write fails, as on a full disk."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    most = random.Random(os.getpid()).choice((0, 100, 4096, 20_000, 100_000))
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, resource.RLIM_INFINITY))


def _jumping() -> None:
    """Let the clock of the day go backwards and forwards by years."""
    jump = random.Random(os.getpid())
    real = time.time
    time.time = lambda: real() + jump.uniform(-1e8, 1e8)


ACTS: dict[str, tuple[Callable[[int, float], None], Callable[[], None]]] = {
    "SIGINT": (_signalled(signal.SIGINT), lambda: None),
    "SIGTERM": (_signalled(signal.SIGTERM), lambda: None),
    "SIGKILL": (_signalled(signal.SIGKILL), lambda: None),
    "full disk": (_nothing, _filled),
    "vanished input": (_removed, lambda: None),
    "clock jump": (_nothing, _jumping),
}
"""What happens to a process: (from outside at a moment, in it before the command)."""


def trial_of(job: Job, act: str, good: object, moment_s: float, folder: Path) -> Trial:
    """Cut *job* in *folder*, which `prepared` has filled, after *moment_s*; *good* is the content of an uncut run."""
    outside, inside = ACTS[act]
    earlier = {path: path.read_bytes() for path in folder.iterdir() if path.is_file()}
    with contextlib.chdir(folder):
        child = _forked(job.command, inside)
        outside(child, moment_s)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        if act == "vanished input":
            prepared(folder)
        wrong = _wrong(job, act, code, earlier, good)
    for path in folder.iterdir():
        if path.name.startswith((".", "product")):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    return Trial(job.name, act, code, wrong)


def _wrong(job: Job, act: str, code: int, earlier: dict[Path, bytes], good: object) -> str:
    """Return what is wrong in the current folder after a cut."""
    product = Path(job.product)
    if code not in ALLOWED_CODES:
        return f"exit code {code}"
    if any(path.read_bytes() != content for path, content in earlier.items()):
        return "an earlier file changed"
    if product.exists() and job.name != "sweep" and job.content(product) != good:
        return "a partial product under its final name"
    if code == 0 and not product.exists():
        return "no product though the exit code is 0"
    if act == "clock jump" and code != 0:
        return "a clock that jumps stops it"
    hidden = [path.name for path in Path().iterdir() if path.name.startswith(".")]
    if hidden and act != "SIGKILL":
        return f"left behind: {', '.join(sorted(hidden))}"
    if not product.exists() or job.name == "sweep":
        again, said = _quiet(job.command)
        if again != 0:
            return f"run again, exit code {again}: {said[-200:]}"
        if job.content(product) != good:
            return "run again, another product"
    return ""


def uncut(job: Job, folder: Path) -> tuple[object, float]:
    """Return the content of a run of *job* in *folder* that nothing happens to, and how long it takes, in seconds."""
    with contextlib.chdir(folder):
        began = time.perf_counter()
        code = os.waitstatus_to_exitcode(os.waitpid(_forked(job.command, lambda: None), 0)[1])
        took = time.perf_counter() - began
        assert code == 0, f"{job.name}: exit code {code}"
        content = job.content(Path(job.product))
        for path in Path().iterdir():
            if path.name.startswith((".", "product")):
                shutil.rmtree(path) if path.is_dir() else path.unlink()
    return content, took
