"""The business case of a system: its rate at a service level, and what users cost at any number of them.

The rate is searched on a slice of a trace, as `compare` does. The slice is then replayed at that rate, which gives the
joules of a token there; `archsim.economics.growth` does the rest.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from archsim.economics.assess import Owned, Running, assessed
from archsim.economics.growth import Demand, Scale, cost_curve
from archsim.economics.spec import Economics
from archsim.errors import InputError, Problem
from archsim.hardware.spec import SystemSpec
from archsim.result import Result, Saturation
from archsim.simulate import load_trace, run
from archsim.units import PS_PER_S, format_quantity
from archsim.workload.model import Model
from archsim.workload.trace import Trace

__all__ = ["Case", "Traffic", "unit_economics"]

_AT_ONCE = 10**6
"""Arrivals so many times as fast stand for all at once."""


@dataclass(frozen=True, slots=True)
class Traffic:
    """What the rate is searched on."""

    trace: str | None
    limit: int
    seed: int
    slo_s: float

    def load(self, rate_scale: str = "1") -> Trace:
        """Return the slice, arriving *rate_scale* times as fast."""
        return load_trace(self.trace, limit=self.limit, rate_scale=rate_scale, seed=self.seed)


@dataclass(frozen=True, slots=True)
class Case:
    """One system at its service level, ready for any number of users."""

    result: Result
    """Of the replay at the saturated rate, with its cost there."""
    saturation: Saturation
    running: Running
    demand: Demand

    def curve(self, users: list[int]) -> list[Scale]:
        """Return what each number of *users* takes."""
        return cost_curve(self.running, self.demand, users)


def unit_economics(
    spec: SystemSpec,
    model: Model,
    economics: Economics,
    *,
    traffic: Traffic,
    precision: str | None = None,
    parallelism: str | None = None,
) -> Case:
    """Return the case of *spec* with *model* on *traffic*; an answer is as long as the trace's mean.

    Raises `InputError` where the system meets the service level at no rate.
    """
    trace = traffic.load()
    searched = run(spec, model, trace=trace, precision=precision, parallelism=parallelism, seed=traffic.seed,
                   slo_s=traffic.slo_s)  # fmt: skip
    found = searched.saturation
    if found is None or not found.output_tokens_per_s:
        least = "" if found is None or found.tpot_p99_s is None else format_quantity(found.tpot_p99_s, "s", digits=3)
        expected = f"a time that {spec.name} can keep: its shortest TPOT p99 on {trace.name} is {least or 'unknown'}"
        raise InputError(Problem("", "--slo", format_quantity(traffic.slo_s, "s"), expected))
    at_rate = run(spec, model, trace=traffic.load(_faster(trace, found.requests_per_s)), precision=precision,
                  parallelism=parallelism, seed=traffic.seed)  # fmt: skip
    running = Running(at_rate, Owned.of(spec, economics), tokens_per_s=found.output_tokens_per_s)
    demand = Demand(economics.user.queries_per_day, sum(trace.output_tokens) / trace.count)
    return Case(assessed(at_rate, spec, economics), found, running, demand)


def _faster(trace: Trace, requests_per_s: float | None) -> str:
    """Return how many times as fast *trace* arrives at a rate; None: all at once."""
    span_ps = trace.arrivals_ps[-1] - trace.arrivals_ps[0]
    if requests_per_s is None or not span_ps:
        return str(_AT_ONCE)
    return f"{float(Fraction(requests_per_s) * span_ps / PS_PER_S / (trace.count - 1)):.9f}"
