"""Mutants judged from one process that has collected the tests: each in a fork, with its functions changed in place.

Starting pytest and collecting tests takes longer than most of them: here that is done once. A fork gives every function
whose code the mutant changes its new code, so that names bound elsewhere (`from x import f`) mean it too. That reaches
what runs when it is called; what runs when a module is imported or tests are collected needs a process of its own
(`trial`).
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import os
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import CodeType, FunctionType

import pytest
from trial import ARGUMENTS, Trial, forked, interpret_kernels, limit_cpu

__all__ = ["Bench", "changes", "with_tests"]

Change = tuple[CodeType, CodeType]
"""The code of a function, and the mutant's."""


def changes(source: str, mutant: str) -> list[Change] | None:
    """Return the functions of a module whose code differs in *mutant*, or None where that cannot be told in pairs."""
    before, after = list(_codes(source)), list(_codes(mutant))
    if [(code.co_name, code.co_freevars) for code in before] != [(code.co_name, code.co_freevars) for code in after]:
        return None
    pairs = [(old, new) for old, new in zip(before, after, strict=True) if old != new]
    return pairs or None


def _codes(source: str) -> Iterator[CodeType]:
    """Yield the code of every function of *source*, those within functions too."""
    waiting = [compile(source, "module", "exec", dont_inherit=True)]
    while waiting:
        code = waiting.pop()
        waiting += [const for const in code.co_consts if isinstance(const, CodeType)]
        if code.co_flags & 1:  # CO_OPTIMIZED: neither a module nor the body of a class
            yield code


class Bench:
    """A pytest plugin that calls *begin* once the tests are collected, instead of running them."""

    def __init__(self, begin: Callable[[Bench], None]) -> None:
        self._begin = begin
        self._tests: dict[str, pytest.Item] = {}
        self._functions: dict[str, list[FunctionType]] = defaultdict(list)
        self._kills: dict[Path, Counter[str]] = defaultdict(Counter)

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        """Take the place of pytest's own loop."""
        self._tests = {item.nodeid: item for item in session.items}
        gc.collect()
        for found in gc.get_objects():
            if isinstance(found, FunctionType):
                self._functions[found.__code__.co_filename].append(found)
        gc.freeze()  # a collection in a fork would copy every page
        self._begin(self)
        return True

    def started(self, module: Path, changed: Sequence[Change], tests: Mapping[str, float]) -> Trial:
        """Start *tests*, each with its CPU limit, on a mutant of *module*: first those that noticed most others."""
        kills = self._kills[module]
        chosen = [(self._tests[test], tests[test]) for test in sorted(tests, key=lambda test: -kills[test])]
        folder = tempfile.TemporaryDirectory()

        def run() -> int:
            for old, new in changed:
                for function in self._functions[str(module)]:
                    if function.__code__ == old:
                        function.__code__ = new
            return _first_failure(chosen, Path(folder.name) / "killer.txt")

        return Trial(
            forked(run, cpu_s=sum(tests.values()), folder=folder.name, own_cache="dram" in module.parts), folder
        )

    def learn(self, module: Path, trial: Trial) -> None:
        """Remember which test noticed a mutant of *module*."""
        with contextlib.suppress(FileNotFoundError):
            self._kills[module][(Path(trial.folder.name) / "killer.txt").read_text(encoding="utf-8")] += 1


def _first_failure(tests: Sequence[tuple[pytest.Item, float]], place: Path) -> int:
    """Run *tests*, each with its CPU limit, up to the first that fails, and return whether one did.

    Its name is written to *place*, as is that of one whose limit ends the process.
    """
    os.environ["PYTEST_DEBUG_TEMPROOT"] = str(place.parent)
    failed = []

    class Watch:
        def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
            failed.append(report.failed)

    tests[0][0].config.pluginmanager.register(Watch())
    for (test, limit_s), following in zip(tests, [*(test for test, _ in tests[1:]), None], strict=True):
        place.write_text(test.nodeid, encoding="utf-8")
        limit_cpu(time.process_time() + limit_s)
        test.config.hook.pytest_runtest_protocol(item=test, nextitem=following)
        if any(failed):
            return 1
    place.unlink()
    return 0


def with_tests(sources: Iterable[str], modules: Iterable[str], begin: Callable[[Bench], None]) -> None:
    """Collect the tests of *sources*, with *modules* imported, and call *begin*.

    Raises `RuntimeError` where they cannot be collected.
    """
    if os.environ.get("NUMBA_DISABLE_JIT") == "1":
        interpret_kernels()
    for module in modules:
        importlib.import_module(module)
    # Without capturing: forks share what the parent has opened.
    status = pytest.main(["-qq", "-s", "--no-header", *ARGUMENTS, *dict.fromkeys(sources)], plugins=[Bench(begin)])
    if status not in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED):
        raise RuntimeError("the tests could not be collected")
