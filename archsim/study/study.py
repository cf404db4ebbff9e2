"""A study ready to be asked: its space of points, and the case that stands at each.

`Study.digest` covers everything that rows depend on: the definition, and the content of the systems, models and traces
that it names, so that a store never mixes designs that were changed in between.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from archsim.economics.spec import DEFAULT
from archsim.files import digest_of, inside
from archsim.study.axes import Axis, Value
from archsim.study.cases import Case, Limit, Work
from archsim.study.metrics import METRICS
from archsim.study.sampling import Space
from archsim.study.spec import ConstraintSpec, StudySpec, WorkloadSpec
from archsim.study.store import Identity
from archsim.units import parse_quantity

__all__ = ["OF_STEP", "OF_TRACE", "PLAIN", "Study", "assignment", "space_of"]

PLAIN = ("system", "model", "precision", "parallel", "workload")
"""Columns that every point has, in the order in which a grid runs through them; hardware keys come after `system`."""
OF_STEP = ("context", "batch")
OF_TRACE = ("rate_scale",)
_LAST = (*PLAIN[1:], *OF_TRACE, *OF_STEP)
"""Axes in the order of a grid after those of hardware: what costs least to change runs fastest."""


@dataclass(frozen=True)
class Study:
    """A study that was found valid."""

    spec: StudySpec
    folder: Path
    """Where paths inside the file start."""
    space: Space
    content: tuple[str, ...]
    """Digests of the files that it names."""

    @property
    def axes(self) -> tuple[Axis, ...]:
        """Axes in the order of the space, `system` and `workload` among them where there are several."""
        return self.space.axes

    @cached_property
    def limits(self) -> tuple[Limit, ...]:
        """All constraints."""
        return tuple(limit_of(constraint) for constraint in self.spec.constraint)

    @cached_property
    def system_limits(self) -> tuple[Limit, ...]:
        """Constraints that a system can break before anything runs."""
        return tuple(limit for limit in self.limits if METRICS[limit.metric].of_system is not None)

    @cached_property
    def columns(self) -> tuple[str, ...]:
        """Columns of inputs: the plain ones, then the keys of the axes."""
        return (*PLAIN, *(key for axis in self.axes for key in axis.keys if key not in PLAIN))

    @cached_property
    def identity(self) -> Identity:
        """Which study a store is of."""
        definition = json.dumps(self.spec.model_dump(mode="json", by_alias=True), sort_keys=True, ensure_ascii=False)
        digest = digest_of("\n".join((definition, *self.content)).encode())
        return Identity(self.spec.name, digest, self.space.points, definition)

    @property
    def prices(self) -> tuple[str, str | None, str | None] | None:
        """Economics, region and basis of the study; None where it names none."""
        spec = self.spec
        found = (self.path(spec.economics), spec.region, spec.basis)
        return None if found == (DEFAULT, None, None) else found

    def case(self, point: int) -> Case:
        """Return the case at number *point*."""
        return self.case_of(self.space.settings(point), point=point)

    def cases(self, points: Iterator[int]) -> Iterator[Case]:
        """Yield the case of each of *points*."""
        for point in points:
            yield self.case(point)

    def case_of(self, settings: dict[str, Value], *, point: int) -> Case:
        """Return the case that *settings*, key -> value of every axis, make of the study."""
        spec = self.spec
        work = self._workload(settings)
        inputs: dict[str, Value | None] = {
            "system": spec.systems[0], "model": spec.model, "precision": spec.precision, "parallel": spec.parallel,
            "workload": work.name if work is not None else None,
        }  # fmt: skip
        inputs |= {key: settings[key] for key in self.columns if key in settings}
        known = {*PLAIN, *OF_STEP, *OF_TRACE}
        return Case(
            point=point,
            inputs=inputs,
            system=self.path(str(inputs["system"])),
            overrides=tuple(assignment(key, value) for key, value in settings.items() if key not in known),
            model=self.path(str(inputs["model"])),
            precision=_text(inputs["precision"]),
            parallel=_text(inputs["parallel"]),
            work=self._work(work, settings),
            limits=self.system_limits,
            seed=spec.seed,
            prices=self.prices,
        )

    def _workload(self, settings: dict[str, Value]) -> WorkloadSpec | None:
        every = self.spec.workload
        named = settings.get("workload", every[0].name if every else None)
        return next((work for work in every if work.name == named), None)

    def _work(self, spec: WorkloadSpec | None, settings: dict[str, Value]) -> Work:
        def chosen(key: str) -> Value | None:
            found: Value | None = settings.get(key, getattr(spec, key, None))
            return found

        batch, context, rate = chosen("batch"), chosen("context"), chosen("rate_scale")
        return Work(
            batch=batch if isinstance(batch, int) else None,
            context=context if isinstance(context, int) else None,
            trace=None if spec is None or spec.trace is None else self.path(spec.trace),
            limit=None if spec is None else spec.limit,
            rate_scale=None if rate is None else str(rate),
            slo_s=None if spec is None or spec.slo is None else float(parse_quantity(spec.slo, "s")),
        )

    def path(self, name: str) -> str:
        """Return *name* as it is found from here: a path in the file starts at the file's folder and stays there."""
        looks = "/" in name or name.endswith((".toml", ".json", ".gz", ".csv", ".jsonl"))
        return str(inside(self.folder, name)) if looks else name


def space_of(spec: StudySpec) -> Space:
    """Return the space of *spec*: its axes and those of systems and workloads, in the order of a grid."""
    axes = [axis.made() for axis in spec.axis]
    axes.sort(key=lambda axis: max((_LAST.index(key) + 1 if key in _LAST else 0) for key in axis.keys))
    if len(spec.workload) > 1:
        place = next((n for n, axis in enumerate(axes) if {*axis.keys} & {*OF_STEP, *OF_TRACE}), len(axes))
        axes.insert(place, Axis(("workload",), tuple((work.name,) for work in spec.workload)))
    if len(spec.systems) > 1:
        axes.insert(0, Axis(("system",), tuple((name,) for name in spec.systems)))
    sample = spec.sample
    if sample.method == "grid":
        return Space.grid(axes)
    return Space(tuple(axes), sample.method, sample.points or 1, sample.seed)


def limit_of(constraint: ConstraintSpec) -> Limit:
    """Return *constraint* as a limit."""
    return Limit(constraint.metric, *constraint.bounds, str(constraint))


def assignment(key: str, value: Value) -> str:
    """Return what `--set` wants to give *key* that *value*."""
    if isinstance(value, str):
        return f'{key}="{value}"' if value.strip().lstrip("-").isdigit() else f"{key}={value}"
    return f"{key}={json.dumps(value)}"


def _text(value: Value | None) -> str | None:
    return None if value is None else str(value)
