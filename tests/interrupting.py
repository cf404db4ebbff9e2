"""Commands that are cut off at a random moment, and what they leave behind.

A `Job` is a command that writes; a trial forks a process that runs it, does something to it (a signal, a full disk, a
read-only folder, a vanished input, a clock that jumps) and looks at the folder: under its final name a result is whole
or absent, what was there before is untouched, and the command run again gives the bytes of a run that nothing happened
to. Nothing here depends on when it happens: a machine may be slow, and a command over before its signal comes.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import random
import resource
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import FrameType

from archsim import cli

__all__ = ["ACTS", "JOBS", "OTHER_JOBS", "Job", "Trial", "prepared", "trial_of", "trials", "uncut"]

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


@dataclass(frozen=True)
class Job:
    """A command, what it writes, and how the content of that is told."""

    name: str
    command: tuple[str, ...]
    product: str
    content: Callable[[Path], object]
    grows: bool = False
    """Whether a part of the product may lie under its name: a store takes row by row."""
    kept: str = ""
    """A checkpoint: where it lies after a cut, `resumed` goes on from it."""
    resumed: tuple[str, ...] = ()
    cold: bool = False
    """Whether nothing that archsim keeps between runs is there before."""


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
    Job("sweep", ("sweep", "study.toml", "--store", "product.db", "--workers", "1"), "product.db", _rows_of,
        grows=True),
    Job("report", ("report", "given", "--out", "product.html"), "product.html", _bytes_of),
)  # fmt: skip
_REPLAY = ("run", "m4-max", "--model", "qwen3-8b", "--precision", "w8a16kv16", "--trace", "trace.csv")
_KEPT = ("--checkpoint", "product.kept", "--checkpoint-every", "10", "--out", "product")
_SMALL = ("m4-max", *_STEP)
OTHER_JOBS = (
    Job("run with checkpoints", (*_REPLAY, *_KEPT), "product", _bytes_of, kept="product.kept",
        resumed=(*_REPLAY, "--resume", "product.kept", *_KEPT)),
    Job("run with a timeline", ("run", *_SMALL, "--timeline", "product.json.gz"), "product.json.gz", _bytes_of),
    Job("run with a decode trace", (*_REPLAY, "--decode-trace", "product.jsonl"), "product.jsonl", _bytes_of),
    Job("compare", ("compare", *_REPLAY[1:], "--no-saturation", "--out", "product"), "product", _bytes_of),
    Job("figure", ("figure", "ledger", "given", "product.pdf"), "product.pdf", _bytes_of),
    Job("whatif", ("whatif", "given", "--set", "chip.memory.lpddr5x.bandwidth=273 GB/s", "--figure", "product.svg"),
        "product.svg", _bytes_of),
    Job("sensitivity", ("sensitivity", *_SMALL, "--figure", "product.svg"), "product.svg", _bytes_of),
    Job("economics", ("economics", "m4-max", "--model", "qwen3-8b", "--precision", "w8a16kv16", "--trace", "trace.csv",
                      "--limit", "10", "--out", "product"), "product", _bytes_of),
    Job("near", ("near", "h100-sxm8-pnm", "--model", "llama-3.1-8b", "--most", "2", "--out", "product.svg"),
        "product.svg", _bytes_of),
    Job("network", ("network", "h100-sxm8", "--bytes", "4KiB:64KiB", "--out", "product.svg"), "product.svg", _bytes_of),
    Job("show", ("show", "m4-max", "--out", "product.svg"), "product.svg", _bytes_of),
    Job("memory with a cold cache", ("memory", "HBM3", "--queue", "24", "--bytes", "64KiB", "--out", "product.svg"),
        "product.svg", _bytes_of, cold=True),
    Job("new-system", ("new-system", "product"), "product.toml", _bytes_of),
    Job("import", ("import", "given.ini", "-o", "product.toml"), "product.toml", _bytes_of),
    Job("trace convert", ("trace", "convert", "trace.csv", "product.jsonl"), "product.jsonl", _bytes_of),
    Job("trace sample", ("trace", "sample", "trace.csv", "product.csv", "--share", "50 %"), "product.csv", _bytes_of),
    Job("trace merge", ("trace", "merge", "trace.csv", "trace.csv", "product.csv"), "product.csv", _bytes_of),
    Job("validate", ("validate", "network", "claims", "--out", "product"), "product", _bytes_of),
    Job("calibrate", ("calibrate", "--on", "kernels", "--reference", "kernels.csv", "--parameters", "runtime.ramp",
                      "--out", "product.toml"), "product.toml", _bytes_of),
    Job("study export", ("study", "export", "given.db", "product.csv"), "product.csv", _bytes_of),
    Job("study merge", ("study", "merge", "given.db", "--into", "product.db"), "product.db", _rows_of, grows=True),
    Job("report of a study", ("report", "given.db", "--out", "product.html"), "product.html", _bytes_of),
)  # fmt: skip
"""What else writes: with `JOBS` every command but `search`, which runs as a sweep does, `measure`, which needs a GPU,
and `trace download`, which needs a network."""
_KERNELS = (
    "system,op,dtype,m_or_batch,n,k,q_heads,kv_heads,head_dim,kv_len,kv_dtype,latency_us,bytes_weights_or_kv,"
    "achieved_GB_per_s,source\nH100-SXM5-80GB,gemm,bfloat16,1,4096,4096,,,,,,20,33554432,1600,x\n"
)


def prepared_others(folder: Path) -> None:
    """Write what `OTHER_JOBS` read beside what `prepared` has written into *folder*."""
    (folder / "kernels.csv").write_text(_KERNELS, encoding="utf-8")
    inputs = Path(__file__).parent / "cli/inputs"
    (folder / "given.ini").write_bytes(next(path for path in sorted(inputs.glob("*.ini"))).read_bytes())
    with contextlib.chdir(folder):
        code, said = _quiet(("sweep", "study.toml", "--store", "given.db", "--workers", "1"))
        assert code == 0, said


def prepared(folder: Path) -> None:
    """Write the inputs of every job of `JOBS` into *folder*, and load what a first command loads."""
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
    """Return the process that runs *command* in the current folder after *before*.

    Signals are held until it is ready for them: one that came earlier would leave it a second copy of this program.
    """
    held = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
    child = os.fork()
    if child:
        signal.pthread_sigmask(signal.SIG_SETMASK, held)
        return child
    inside = [True]

    def interrupted(_signal: int, _frame: FrameType | None) -> None:
        if inside[0]:
            raise KeyboardInterrupt
        os._exit(130)

    code = 130
    try:
        signal.signal(signal.SIGINT, interrupted)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        before()
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT, signal.SIGTERM})
        code, _ = _quiet(command)
        inside[0] = False
    except KeyboardInterrupt:  # outside of the command, where Python itself would end
        inside[0] = False
    except BaseException:  # noqa: BLE001  # an error of this program, or one that the command let out
        code = 99
    finally:
        os._exit(code)


def _signalled(number: signal.Signals) -> Callable[[int, random.Random, float], None]:
    def act(child: int, draw: random.Random, seconds: float) -> None:
        time.sleep(draw.uniform(0, 1.1 * seconds))
        os.kill(child, number)  # nobody has waited for it: it is there, if only as what is left of a process

    return act


def _removed(_child: int, draw: random.Random, seconds: float) -> None:
    time.sleep(draw.uniform(0, 1.1 * seconds))
    for path in Path().iterdir():
        if not path.name.startswith((".", "product", "cache")):
            shutil.rmtree(path) if path.is_dir() else path.unlink()


def _nothing(_child: int, _draw: random.Random, _seconds: float) -> None:
    return


def _as_it_is(_draw: random.Random) -> None:
    return


def _filled(draw: random.Random) -> None:
    """No file may grow beyond some size: the next write fails, as on a full disk."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    most = draw.choice((0, 100, 4096, 20_000, 100_000))
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, resource.RLIM_INFINITY))


def _read_only(_draw: random.Random) -> None:
    """Let nobody write into this folder; the superuser may anywhere, and becomes somebody else."""
    Path().chmod(0o555)
    if os.geteuid() == 0:
        try:
            os.setgid(_NOBODY)
            os.setuid(_NOBODY)
        except OSError:  # a container without anybody else: nothing can be tried there
            os._exit(2)


def _jumping(draw: random.Random) -> None:
    """Let the clock of the day go backwards and forwards by years."""
    real = time.time
    time.time = lambda: real() + draw.uniform(-1e8, 1e8)


ACTS: dict[str, tuple[Callable[[int, random.Random, float], None], Callable[[random.Random], None]]] = {
    "SIGINT": (_signalled(signal.SIGINT), _as_it_is),
    "SIGTERM": (_signalled(signal.SIGTERM), _as_it_is),
    "SIGKILL": (_signalled(signal.SIGKILL), _as_it_is),
    "full disk": (_nothing, _filled),
    "read-only folder": (_nothing, _read_only),
    "vanished input": (_removed, _as_it_is),
    "clock jump": (_nothing, _jumping),
}
"""What happens to a process: (from outside at a random moment, in it before the command)."""
_CODES = {
    "SIGINT": {0, 1, 130},
    "SIGTERM": {0, 1, 143, -signal.SIGTERM},
    "SIGKILL": {0, -signal.SIGKILL},
    "full disk": {0, 1, 2},
    "read-only folder": {1, 2},
    "vanished input": {0, 1, 2},
    "clock jump": {0},
}
"""Exit codes that an act may lead to, whenever it comes: before the command, in it, after it.

1 after a signal: an extension module that is being loaded makes an ImportError of it.
"""


def trial_of(job: Job, act: str, good: tuple[object, float], draw: random.Random, folder: Path) -> Trial:
    """Cut *job* in *folder*, which `prepared` has filled, once; *good* is what `uncut` has returned."""
    outside, inside = ACTS[act]
    earlier = _tree(folder)
    if job.cold:
        _emptied(folder / "cache/archsim/dram")
    with contextlib.chdir(folder):
        child = _forked(job.command, lambda: inside(draw))
        outside(child, draw, good[1])
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        folder.chmod(0o755)
        if act == "vanished input":
            for name, content in earlier.items():
                Path(name).parent.mkdir(exist_ok=True)
                Path(name).write_bytes(content)
        wrong = _wrong(job, act, code, earlier, good[0])
    _cleared(folder)
    return Trial(job.name, act, code, wrong)


def _emptied(folder: Path) -> None:
    """Remove what archsim keeps in *folder*."""
    shutil.rmtree(folder, ignore_errors=True)


def _tree(folder: Path) -> dict[str, bytes]:
    """Return the content of every file that a command finds in *folder*; what it keeps in its cache is its own."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    named = ((str(path.relative_to(folder)), path) for path in files)
    return {name: path.read_bytes() for name, path in named if not name.startswith((".", "product", "cache/"))}


def _cleared(folder: Path) -> None:
    for path in folder.iterdir():
        if path.name.startswith((".", "product")):
            shutil.rmtree(path) if path.is_dir() else path.unlink()


def _wrong(job: Job, act: str, code: int, earlier: dict[str, bytes], good: object) -> str:
    """Return what is wrong in the current folder after a cut: only what may be so at no moment whatever."""
    product = Path(job.product)
    if code not in _CODES[act]:
        return f"exit code {code}"
    if _tree(Path()) != earlier:
        return "an earlier file changed"
    if product.exists() and not job.grows and job.content(product) != good:
        return "a partial product under its final name"
    if code == 0 and (not product.exists() or job.content(product) != good):
        return "exit code 0, and not the product"
    if act not in _ENDED and any(path.name.startswith(".") for path in Path().iterdir()):
        return f"left behind: {', '.join(sorted(path.name for path in Path().iterdir() if path.name.startswith('.')))}"
    if not product.exists() or job.grows:
        again, said = _quiet(job.resumed if job.kept and Path(job.kept).exists() else job.command)
        if again != 0:
            return f"run again, exit code {again}: {said[-200:]}"
        if job.content(product) != good:
            return "run again, another product"
    return ""


_ENDED = ("SIGINT", "SIGTERM", "SIGKILL")
"""A process that ends at any instruction may leave a hidden file: the last one was never called, or not to its end."""
_NOBODY = 65534


def uncut(job: Job, folder: Path) -> tuple[object, float]:
    """Return the content of a run of *job* in *folder* that nothing happens to, and how long it takes, in seconds."""
    with contextlib.chdir(folder):
        began = time.perf_counter()
        code = os.waitstatus_to_exitcode(os.waitpid(_forked(job.command, lambda: None), 0)[1])
        took = time.perf_counter() - began
        assert code == 0, f"{job.name}: exit code {code}"
        content = job.content(Path(job.product))
    _cleared(folder)
    return content, took


def trials(folder: Path, jobs: Sequence[Job] = JOBS, *, each: int, seed: int) -> Iterator[Trial]:
    """Yield *each* trials of every one of *jobs* and act. Call it in a program of one thread: it forks."""
    prepared(folder)
    if any(job in OTHER_JOBS for job in jobs):
        prepared_others(folder)
    for job in jobs:
        good = uncut(job, folder)
        for act in ACTS:
            draw = random.Random(f"{job.name} {act} {seed}")
            for _ in range(each):
                yield trial_of(job, act, good, draw, folder)


if __name__ == "__main__":  # tests: folder, trials of each job and act, seed, others or nothing
    wanted = OTHER_JOBS if sys.argv[4:] == ["others"] else JOBS
    for trial in trials(Path(sys.argv[1]), wanted, each=int(sys.argv[2]), seed=int(sys.argv[3])):
        sys.stdout.write(json.dumps(asdict(trial)) + "\n")
        sys.stdout.flush()
