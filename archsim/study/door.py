"""Opens a STUDY.toml and finds every problem of it before anything runs.

The file is checked in itself first. Then every base system is loaded with every setting of every axis alone, so that an
unknown key, a value out of bounds or a system that does not exist is said at once; settings that are possible only
together are linked in one axis.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from archsim.economics.spec import DEFAULT, load_economics
from archsim.errors import InputError, Problem
from archsim.files import bundled_names, digest_of, find, read_toml
from archsim.hardware.door import Tables, validated
from archsim.hardware.library import load_system, resolved_toml
from archsim.simulate import load_model, load_trace
from archsim.study.axes import Axis
from archsim.study.spec import StudySpec
from archsim.study.study import OF_STEP, OF_TRACE, PLAIN, Study, assignment, space_of
from archsim.units import parse_quantity
from archsim.workload.precision import Precision

__all__ = ["bundled_studies", "find_study", "load_study"]

_MOST_POINTS = 100_000_000
_MOST_CHECKED = 400
"""Settings that are tried on the base systems; of longer axes the first and last ones."""
_BARRED = ("system", "workload")


def find_study(name_or_path: str) -> Path:
    """Return the file that a bundled name or a path means."""
    return find(name_or_path, kind="workloads", folder="studies", suffixes=(".toml",))


def bundled_studies() -> list[tuple[str, str, int]]:
    """Return (name, what it asks, number of points) of every bundled study."""
    studies = [_read(find_study(name))[0] for name in bundled_names("workloads", "studies", (".toml",))]
    return [(spec.name, spec.title, space_of(spec).points) for spec in studies]


def load_study(name_or_path: str) -> Study:
    """Return the study that *name_or_path* means; raises `InputError` with every problem of its file."""
    path = find_study(name_or_path)
    spec, problems = _read(path)
    study = Study(spec, path.parent, space_of(spec), ())
    found = _Found(study, str(path))
    found.problems += problems
    found.systems()
    found.models()
    found.workloads()
    found.prices()
    if found.problems:
        raise InputError(*found.problems)
    return Study(spec, path.parent, study.space, tuple(found.content))


def _read(path: Path) -> tuple[StudySpec, list[Problem]]:
    """Return the study in *path* and what does not go together in it; raises `InputError` for what cannot be read."""
    spec = validated(StudySpec, Tables(read_toml(path), {(): str(path)}))
    return spec, [Problem(str(path), key, value, expected) for key, value, expected in _wrong(spec)]


def _wrong(spec: StudySpec) -> Iterator[tuple[str, str, str]]:
    """Yield (key, value, expected) of what does not go together inside the file."""
    keys = [key for axis in spec.axis for key in (axis.keys or (axis.key or "",))]
    for place, axis in enumerate(spec.axis):
        for key in axis.keys or (axis.key or "",):
            if key in _BARRED:
                yield f"axis.{place}.key", key, f"another key: [[{key}]] tables or systems = [...] are an axis already"
        if spec.sample.method == "grid" and axis.values is None and axis.steps is None:
            yield f"axis.{place}.steps", "", "the number of values: a grid has no continuous axes"
    if spec.model is None and "model" not in keys:
        yield "model", "", "this key, which is missing, or an axis model"
    yield from _wrong_works(spec, keys)
    points = space_of(spec).points if not [1 for a in spec.axis if a.values is None and a.steps is None] else 1
    if points > _MOST_POINTS:
        yield "axis", f"{points:,} points", f"at most {_MOST_POINTS:,}"


def _wrong_works(spec: StudySpec, keys: list[str]) -> Iterator[tuple[str, str, str]]:
    if not spec.workload:
        for key in sorted({*OF_STEP} - {*keys}):
            yield "workload", "", f"a [[workload]], or axes batch and context ({key} is missing)"
    for place, work in enumerate(spec.workload):
        missing = [key for key in OF_STEP if getattr(work, key) is None and key not in keys]
        for key in missing if work.trace is None else ():
            yield f"workload.{place}.{key}", "", f"this key, or an axis {key}"
        for key in OF_TRACE if work.trace is None else OF_STEP:
            if key in keys:
                yield f"workload.{place}", work.name, f"a workload on which an axis {key} acts"
        if work.slo is not None:
            try:
                parse_quantity(work.slo, "s")
            except ValueError as error:
                yield f"workload.{place}.slo", work.slo, str(error)


class _Found:
    """What the names of a study mean, and every problem met on the way."""

    def __init__(self, study: Study, file: str) -> None:
        self._study, self._file = study, file
        self.problems: list[Problem] = []
        self.content: list[str] = []

    def _note(self, key: str, error: InputError) -> None:
        for problem in error.problems:
            at = ": ".join(part for part in (problem.file, problem.key) if part and part != "--set")
            expected = f"{problem.expected} ({at})" if at else problem.expected
            noted = Problem(self._file, key, problem.value, expected)
            if noted not in self.problems:
                self.problems.append(noted)

    def prices(self) -> None:
        """Load the prices that costs of every point follow from."""
        try:
            name, region, basis = self._study.prices or (DEFAULT, None, None)
            self.content.append(load_economics(name, region=region, basis=basis).digest)
        except InputError as error:
            self._note("economics", error)

    def systems(self) -> None:
        """Load the base systems, and try every setting of a hardware axis on each."""
        good = []
        for place, name in enumerate(self._study.spec.systems):
            try:
                spec = load_system(self._study.path(name))
            except InputError as error:
                self._note(f"systems.{place}", error)
                continue
            good.append(name)
            self.content.append(digest_of(resolved_toml(spec).encode()))
        for place, axis in enumerate(self._study.spec.axis):
            made = axis.made()
            if not {*made.keys} & {*PLAIN, *OF_STEP, *OF_TRACE}:
                self._settings(f"axis.{place}", made, good)

    def _settings(self, key: str, axis: Axis, systems: list[str]) -> None:
        samples = axis.samples
        most = max(2, _MOST_CHECKED // max(1, len(systems)))
        if len(samples) > most:
            samples = samples[: most // 2] + samples[-(most - most // 2) :]
        for name in systems:
            before = len(self.problems)
            for values in samples:
                overrides = [assignment(*pair) for pair in zip(axis.keys, values, strict=True)]
                try:
                    load_system(self._study.path(name), overrides)
                except InputError as error:
                    self._note(f"{key}: {name}" if len(systems) > 1 else key, error)
            if len(self.problems) > before:
                return

    def models(self) -> None:
        """Load every model, and read every precision."""
        for key, name in self._chosen("model"):
            try:
                self.content.append(digest_of(repr(load_model(self._study.path(name))).encode()))
            except InputError as error:
                self._note(key, error)
        for key, name in self._chosen("precision"):
            try:
                Precision.parse(name)
            except InputError as error:
                self._note(key, error)
        for axis in self._study.axes:
            for name in OF_STEP:
                if name in axis.keys:
                    self._counts(axis, name)

    def _counts(self, axis: Axis, name: str) -> None:
        place = axis.keys.index(name)
        for values in axis.samples:
            value = values[place]
            if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                self.problems.append(Problem(self._file, f"axis {name}", str(value), "whole numbers from 1"))

    def workloads(self) -> None:
        """Open every trace."""
        for place, work in enumerate(self._study.spec.workload):
            if work.trace is None:
                continue
            try:
                name = self._study.path(work.trace)
                trace = load_trace(name, limit=work.limit, rate_scale=work.rate_scale, seed=self._study.spec.seed)
            except InputError as error:
                self._note(f"workload.{place}.trace", error)
            else:
                self.content.append(trace.digest)

    def _chosen(self, column: str) -> Iterator[tuple[str, str]]:
        """Yield (key in the file, name) of every value of *column*."""
        fixed = getattr(self._study.spec, column)
        if fixed is not None:
            yield column, fixed
        for axis in self._study.axes:
            if column in axis.keys:
                place = axis.keys.index(column)
                for values in axis.samples:
                    yield f"axis {column}", str(values[place])
