"""Which test reaches which line of archsim, and in what time: measured once a test file, in a forked process."""

from __future__ import annotations

import hashlib
import importlib
import json
import os
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import coverage
import pytest
from trial import forked, run_pytest

__all__ = ["Reach"]

_FIXTURE = "fixture "


@dataclass(frozen=True, slots=True)
class _Measured:
    """One test file, on the sources as they are."""

    digests: dict[str, str]
    """Of the file itself and of every module that it reaches: where one has changed, the rest is out of date."""
    seconds: dict[str, float]
    """Test -> CPU time."""
    lines: dict[str, dict[str, list[int]]]
    """Module -> test -> lines that it runs, apart from those of imports."""


class Reach:
    """Asks each test file once, and keeps the answers in a folder where one is given."""

    def __init__(self, folder: Path | None, modules: Sequence[str]) -> None:
        """Keep answers in *folder*; *modules* are imported before a test is, so that none counts as a test's lines."""
        self._folder = folder
        self.modules = modules
        self._known: dict[str, _Measured] = {}

    def tests_of(
        self, module: Path, lines: tuple[int, int], sources: Sequence[str], *, budget_s: float
    ) -> dict[str, float]:
        """Return the tests of *sources* that run one of *lines* of *module*, the quickest first, and their CPU limits.

        They end with the one that exceeds *budget_s*. Lines that no test runs but every import does meet all tests,
        those first that run other lines of the module. A test may take twice its CPU time and three seconds, and as
        much as the longest of its file on top, in case it is the one that sets up what they share.
        """
        wanted = set(range(lines[0], lines[1] + 1))
        found: list[tuple[bool, float, str, float]] = []
        for source in sources:
            measured = self._measured(source, module)
            of_module = measured.lines.get(_name(module), {})
            imported = not wanted.isdisjoint(of_module.get("", []))
            tests = measured.seconds if imported else of_module
            longest = max(measured.seconds.values(), default=0.0)
            found += [
                (test not in of_module, measured.seconds[test], test, 2 * (measured.seconds[test] + longest) + 3)
                for test in tests
                if test and (imported or not wanted.isdisjoint(of_module[test]))
            ]
        chosen, spent = {}, 0.0
        for _, seconds, test, limit_s in sorted(found):
            if spent > budget_s:
                break
            chosen[test] = limit_s
            spent += seconds
        return chosen

    def runs_at_import(self, module: Path, lines: tuple[int, int], sources: Sequence[str]) -> bool:
        """Return whether one of *lines* of *module* runs before any test of *sources* does."""
        wanted = set(range(lines[0], lines[1] + 1))
        return any(
            not wanted.isdisjoint(self._measured(source, module).lines.get(_name(module), {}).get("", []))
            for source in sources
        )

    def _measured(self, source: str, module: Path) -> _Measured:
        place = None if self._folder is None else self._folder / f"{Path(source).name}.json"
        known = self._known.get(source)
        if known is None and place is not None and place.is_file():
            known = _Measured(**json.loads(place.read_text()))
        if known is None or not all(
            known.digests.get(name) == _digest(Path(name)) for name in (_file(source), _name(module))
        ):
            known = _measure(source, module, self.modules)
            if place is not None:
                place.parent.mkdir(parents=True, exist_ok=True)
                place.write_text(json.dumps(_plain(known)))
        self._known[source] = known
        return known


class _Clock:
    """A pytest plugin: notes each test's CPU time and, by coverage's contexts, its lines.

    What a fixture runs that several tests share is run by all of them, not by the first alone.
    """

    def __init__(self, measured: coverage.Coverage) -> None:
        self._measured = measured
        self.seconds: dict[str, float] = {}
        self.sharing: dict[str, list[str]] = {}
        """Fixture -> the tests that ask for it."""

    @pytest.hookimpl(wrapper=True)
    def pytest_fixture_setup(self, fixturedef: pytest.FixtureDef[object], request: pytest.FixtureRequest) -> object:
        if fixturedef.scope == "function":
            return (yield)
        self._measured.switch_context(_FIXTURE + fixturedef.argname)
        try:
            return (yield)
        finally:
            self._measured.switch_context(request._pyfuncitem.nodeid)  # noqa: SLF001 - a wider request knows no item

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item, nextitem: pytest.Item | None) -> object:
        del nextitem
        for name in getattr(item, "fixturenames", ()):
            self.sharing.setdefault(_FIXTURE + name, []).append(item.nodeid)
        self._measured.switch_context(item.nodeid)
        began = time.process_time()
        try:
            return (yield)
        finally:
            self.seconds[item.nodeid] = time.process_time() - began
            self._measured.switch_context("")


def _plain(measured: _Measured) -> dict[str, Any]:
    return {"digests": measured.digests, "seconds": measured.seconds, "lines": measured.lines}


def _name(module: Path) -> str:
    return str(module.relative_to(Path.cwd()))


def _file(tests: str) -> str:
    """Return the file of *tests*, which may name one test in it."""
    return tests.partition("::")[0]


@lru_cache
def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _measure(source: str, module: Path, modules: Sequence[str]) -> _Measured:
    """Run the tests of *source*, a file or one test of it, on the modules as they are, for mutants of *module*.

    Raises `RuntimeError` where it fails: no mutant could be judged.
    """
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / "reach.json"

        def run() -> int:
            measured = coverage.Coverage(data_file=None, include=[str(Path.cwd() / "archsim/*")], config_file=False)
            clock = _Clock(measured)
            measured.start()
            for name in modules:
                importlib.import_module(name)
            status = run_pytest([source], clock)
            measured.stop()
            lines = dict(_lines(measured, clock.sharing))
            place.write_text(json.dumps({"seconds": clock.seconds, "lines": lines}))
            return status

        _, status = os.waitpid(forked(run, cpu_s=900, folder=folder, own_cache="dram" in module.parts), 0)
        if status:
            said = (Path(folder) / "said.txt").read_text(errors="replace")
            raise RuntimeError(f"{source} fails without a mutant:\n{said[-4000:]}")
        found = json.loads(place.read_text())
    digests = {name: _digest(Path(name)) for name in (_file(source), *_sources())}
    return _Measured(digests, found["seconds"], found["lines"])


def _sources() -> list[str]:
    return [str(path) for path in sorted(Path("archsim").rglob("*.py"))]


def _lines(
    measured: coverage.Coverage, sharing: Mapping[str, Sequence[str]]
) -> Iterator[tuple[str, dict[str, list[int]]]]:
    data = measured.get_data()
    for path in sorted(data.measured_files()):
        of_test: dict[str, list[int]] = {}
        for line, tests in sorted(data.contexts_by_lineno(path).items()):
            for test in {each for context in tests for each in sharing.get(context, [context])}:
                of_test.setdefault(test, []).append(line)
        yield _name(Path(path)), of_test
