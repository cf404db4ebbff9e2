"""A point spelled out: what is asked of which design, as a call of `archsim.run` needs it.

A case travels to workers, so it is plain data; what it names is loaded where it is evaluated.
"""

from __future__ import annotations

from dataclasses import dataclass

from archsim.study.axes import Value

__all__ = ["Case", "Limit", "Outcome", "Work"]


@dataclass(frozen=True, slots=True)
class Work:
    """One workload with what axes make of it."""

    batch: int | None = None
    context: int | None = None
    trace: str | None = None
    limit: int | None = None
    rate_scale: str | None = None
    slo_s: float | None = None


@dataclass(frozen=True, slots=True)
class Limit:
    """A constraint on a metric, in its SI unit."""

    metric: str
    low: float
    high: float
    text: str
    """As the study states it."""

    def broken_by(self, value: float | None) -> bool:
        """Return whether *value* breaks it; a metric that is absent does not keep it."""
        return value is None or not self.low <= value <= self.high


@dataclass(frozen=True, slots=True)
class Case:
    """One point."""

    point: int
    """Its number."""
    inputs: dict[str, Value | None]
    """Column -> value, as it is kept and exported."""
    system: str
    overrides: tuple[str, ...]
    model: str
    precision: str | None
    parallel: str | None
    work: Work
    limits: tuple[Limit, ...] = ()
    """Constraints that the system alone can break."""
    seed: int = 0
    prices: tuple[str, str | None, str | None] | None = None
    """Economics, region and basis, where they are not those that every result has."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a case."""

    point: int
    inputs: dict[str, Value | None]
    status: str
    """`"done"`; `"infeasible"`, not run since the system breaks a constraint; `"failed"`."""
    metrics: dict[str, float | int | None]
    """Empty where it failed."""
    error: str
    """Why it was not run or failed; empty where it is done."""
    provenance: dict[str, object]
    """Of the result: command, digests, events; empty where there is none."""
    wall_s: float
    """Time that it took where it ran; kept, and not exported."""
