"""Tests against one mutant, in a forked process: the mutant lives in an import hook, no file is changed.

The parent has loaded the libraries and nothing of archsim, so that a fork starts where a test run would be after a
second. Numba's compiler is off: what is tested is the plain Python form of every kernel, the source that is mutated.
"""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import importlib.util
import os
import resource
import signal
import sys
import tempfile
import traceback
import types
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

import hypothesis
import pytest

__all__ = [
    "ARGUMENTS",
    "Trial",
    "finished",
    "forked",
    "interpret_kernels",
    "limit_cpu",
    "look_for_no_smallest_example",
    "run_pytest",
    "started",
]

ARGUMENTS = ("--assert=plain", "-p", "no:cacheprovider")
"""Of pytest, in every process: quicker, and nothing kept."""
_MEMORY_BYTES = 6 << 30


@dataclass(frozen=True, slots=True)
class Trial:
    """A running test of a mutant."""

    process: int
    folder: tempfile.TemporaryDirectory[str]


class _Loader(importlib.machinery.SourceFileLoader):
    def __init__(self, name: str, path: str, source: str) -> None:
        super().__init__(name, path)
        self._mutated = source

    def get_code(self, fullname: str) -> CodeType:
        return compile(self._mutated, self.get_filename(fullname), "exec", dont_inherit=True)


class _Finder(importlib.abc.MetaPathFinder):
    """Finds one module, with another source than its file's."""

    def __init__(self, name: str, path: Path, source: str) -> None:
        self._name, self._loader = name, _Loader(name, str(path), source)

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        del path, target
        return importlib.util.spec_from_loader(fullname, self._loader) if fullname == self._name else None


def forked(run: Callable[[], int], *, cpu_s: float, folder: str, own_cache: bool) -> int:
    """Start *run* in a forked process with limits; return the process. What it prints goes to *folder*/said.txt.

    With *own_cache* it finds no answers of the memory floor: else a mutant of that floor would be answered for.
    """
    process = os.fork()
    if process:
        return process
    status = 70
    try:
        said = os.open(Path(folder) / "said.txt", os.O_RDWR | os.O_CREAT)
        for stream in (1, 2):
            os.dup2(said, stream)
        if own_cache:
            os.environ["XDG_CACHE_HOME"] = folder
        limit_cpu(cpu_s)
        resource.setrlimit(resource.RLIMIT_AS, (_MEMORY_BYTES, _MEMORY_BYTES))
        signal.alarm(int(cpu_s) * 20 + 60)
        status = run()
    except Exception:  # noqa: BLE001 - a forked process must not go on in its parent's place
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(status)


def limit_cpu(cpu_s: float) -> None:
    """Let the system end this process once it has taken *cpu_s* CPU seconds, rounded up."""
    resource.setrlimit(resource.RLIMIT_CPU, (int(cpu_s) + 1, resource.RLIM_INFINITY))


def look_for_no_smallest_example() -> None:
    """Let hypothesis stop at a failure: that one is enough."""
    phases = (hypothesis.Phase.explicit, hypothesis.Phase.generate)
    hypothesis.settings.register_profile("mutants", phases=phases)
    hypothesis.settings.load_profile("mutants")


def interpret_kernels() -> None:
    """Let the memory floor's kernels run without a compiler, on a copy of their record with plain attributes.

    The compiler reads `record.field`; of a NumPy record only `record["field"]` works, so what `simulate` calls is
    wrapped. Integers are Python's or 64-bit ones, as in compiled code.
    """
    channel = importlib.import_module("archsim.dram.channel")
    kernel_of = channel._kernel  # noqa: SLF001 - the one place where all kernels begin

    def interpreted(profile: object) -> Callable[..., bool]:
        run = kernel_of(profile)

        def on_copy(record: Any, *columns: Any) -> bool:
            fields = {name: record[name] for name in record.dtype.names}
            state = types.SimpleNamespace(
                **{name: int(value) if value.ndim == 0 else value.astype("int64") for name, value in fields.items()}
            )
            done: bool = run(state, *columns)
            for name in fields:
                record[name] = getattr(state, name)
            return done

        return on_copy

    channel._kernel = interpreted  # noqa: SLF001


def run_pytest(tests: Sequence[str], *plugins: object) -> int:
    """Run *tests* in their order up to the first failure, in this process, and return pytest's exit code."""
    if os.environ.get("NUMBA_DISABLE_JIT") == "1":
        interpret_kernels()
    return int(pytest.main(["-x", "-q", *ARGUMENTS, *tests], plugins=list(plugins)))


def started(module: Path, source: str, tests: Sequence[str], *, cpu_s: float) -> Trial:
    """Start *tests*, in their order and for *cpu_s* at most, with *source* in the place of *module*'s."""
    name = ".".join(module.relative_to(Path.cwd()).with_suffix("").parts)
    folder = tempfile.TemporaryDirectory()

    def run() -> int:
        sys.meta_path.insert(0, _Finder(name, module, source))
        return run_pytest(tests)

    return Trial(forked(run, cpu_s=cpu_s, folder=folder.name, own_cache="dram" in module.parts), folder)


def finished(trial: Trial, status: int) -> str:
    """Return what became of the mutant whose process ended with *status*, and clear away after it."""
    trial.folder.cleanup()
    if os.WIFSIGNALED(status):
        return "timeout"
    return "survived" if os.WEXITSTATUS(status) == 0 else "killed"
