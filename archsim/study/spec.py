"""What a study is told, `STUDY.toml`: frozen data, checked at the door.

Whether the keys of its axes exist, and whether its designs can be built at all, `archsim.study.door` finds out.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, PlainValidator, model_validator

from archsim.economics.spec import DEFAULT
from archsim.errors import did_you_mean
from archsim.hardware.memory_spec import Spec, refusal
from archsim.hardware.quantities import Count, Text
from archsim.study.axes import AxisSpec, WordOrNumber
from archsim.study.metrics import METRICS, number_of

__all__ = ["ConstraintSpec", "ObjectiveSpec", "SampleSpec", "StudySpec", "WorkloadSpec"]


class WorkloadSpec(Spec):
    """What the designs are asked to do, a table of `[[workload]]`: a single decode step, or a trace."""

    name: Text
    """How points and figures call it."""
    batch: Count | None = None
    """Sequences of a single step."""
    context: Count | None = None
    """Tokens of context of each of them."""
    trace: Text | None = None
    """A trace to replay: a bundled name or a path."""
    limit: Count | None = None
    """Requests of the trace that are taken."""
    rate_scale: WordOrNumber | None = None
    """Factor on the rate of arrivals, a number in quotes or a whole one."""
    slo: Text | None = None
    """TPOT p99 that saturation must meet; without it saturation is not searched."""

    @model_validator(mode="after")
    def _check(self) -> WorkloadSpec:
        of_trace = {"limit": self.limit, "rate_scale": self.rate_scale, "slo": self.slo}
        if self.trace is None:
            for key, value in of_trace.items():
                if value is not None:
                    raise refusal(key, value, f"no {key} without a trace")
        elif self.batch is not None or self.context is not None:
            raise refusal("batch", self.batch or "", "a trace, or batch and context, not both")
        return self


class SampleSpec(Spec):
    """Which points of the space are taken, table `[sample]`."""

    method: Literal["grid", "random", "lhs"]
    """Every combination; independent draws; a Latin hypercube, which covers each axis evenly."""
    points: Count | None = None
    """Number of points that are drawn."""
    seed: int = Field(default=0, strict=True, ge=0, lt=2**63)
    """Of everything that is drawn."""

    @model_validator(mode="after")
    def _check(self) -> SampleSpec:
        if (self.method == "grid") != (self.points is None):
            raise refusal("points", self.points or "", "the number of points for random and lhs, and none for a grid")
        return self


def _bound(value: object) -> object:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise ValueError('a number, or text in quotes such as "50 ms"')  # noqa: TRY004  # pydantic's way
    return value


Bound = Annotated[str | int | float, PlainValidator(_bound)]
"""What a constraint compares with: a number, or a quoted value with its unit."""


class ConstraintSpec(Spec):
    """What a design has to keep, a table of `[[constraint]]`."""

    metric: Text
    """Name of a metric."""
    at_most: Bound | None = None
    """Largest value, a number or one with a unit."""
    at_least: Bound | None = None
    """Smallest value."""

    @model_validator(mode="after")
    def _check(self) -> ConstraintSpec:
        _check_metric(self.metric)
        if self.at_most is None and self.at_least is None:
            raise refusal("at_most", "", "at_most, at_least or both")
        for key, value in (("at_most", self.at_most), ("at_least", self.at_least)):
            if value is None:
                continue
            try:
                number_of(self.metric, value)
            except ValueError as error:
                raise refusal(key, value, str(error)) from None
        low, high = self.bounds
        if low > high:
            raise refusal("at_most", self.at_most, f"no less than at_least {self.at_least}: no value is between")
        return self

    @property
    def bounds(self) -> tuple[float, float]:
        """Least and greatest allowed value, in the metric's SI unit."""
        low = float("-inf") if self.at_least is None else number_of(self.metric, self.at_least)
        high = float("inf") if self.at_most is None else number_of(self.metric, self.at_most)
        return low, high

    def __str__(self) -> str:
        parts = (f">= {self.at_least}" if self.at_least is not None else "",
                 f"<= {self.at_most}" if self.at_most is not None else "")  # fmt: skip
        return f"{self.metric} {' and '.join(filter(None, parts))}"


class ObjectiveSpec(Spec):
    """What makes a design good, a table of `[[objective]]`."""

    metric: Text
    """Name of a metric."""
    goal: Literal["max", "min"]
    """Which way is better."""

    @model_validator(mode="after")
    def _check(self) -> ObjectiveSpec:
        _check_metric(self.metric)
        return self


def _check_metric(name: str) -> None:
    if name not in METRICS:
        raise refusal("metric", name, f"a metric{did_you_mean(name, METRICS)}: {', '.join(METRICS)}")


class StudySpec(Spec):
    """A whole study."""

    kind: Literal["study"]
    """Says what the file is."""
    name: Text
    """Bundled name."""
    title: Text
    """What is asked, for people."""
    systems: tuple[Text, ...] = Field(min_length=1)
    """Base systems: bundled names or paths."""
    model: Text | None = None
    """The model, unless it is an axis."""
    precision: Text | None = None
    """Bits of weights, activations and KV; by default as published."""
    parallel: Text | None = None
    """Ways to divide the model; by default tensor parallel over all chips; `auto` is searched at every point."""
    seed: int = Field(default=0, strict=True, ge=0, lt=2**63)
    """Of traces that are sampled."""
    economics: Text = DEFAULT
    """Prices and emissions: a bundled name or a path."""
    region: Text | None = None
    """Where the machines stand; by default as that file says."""
    basis: Text | None = None
    """`price` or `parts` of chips; by default as that file says."""
    sample: SampleSpec = SampleSpec(method="grid")
    """Which points are taken."""
    workload: tuple[WorkloadSpec, ...] = ()
    """What is asked; may be left out where batch and context are axes."""
    axis: tuple[AxisSpec, ...] = ()
    """What varies."""
    constraint: tuple[ConstraintSpec, ...] = ()
    """What a design has to keep."""
    objective: tuple[ObjectiveSpec, ...]
    """What makes a design good; the first one ranks."""

    @model_validator(mode="after")
    def _check_names(self) -> StudySpec:
        if not self.objective:
            raise refusal("objective", "", "at least one [[objective]]: what makes a design good")
        for key, names in (("systems", self.systems), ("workload", tuple(w.name for w in self.workload)),
                           ("axis", tuple(k for a in self.axis for k in (a.keys or (a.key or "",)))),
                           ("objective", tuple(o.metric for o in self.objective))):  # fmt: skip
            twice = next((name for name in names if names.count(name) > 1), None)
            if twice is not None:
                raise refusal(key, twice, "names that differ")
        return self
