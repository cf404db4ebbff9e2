"""The highest rate of a trace at which a system still meets its service level, and what it delivers there.

A30: a slice of the trace is replayed with all arrival times divided by a scale. The search first lets all requests
arrive at once (no higher rate exists); if the service level holds even so, capacity is the limit. Else it brackets the
scale by doublings, from the one at which the slice takes as long to arrive as the system took to serve it at once, and
then halves the bracket geometrically until its ends differ by the relative width. The record is that of the highest
scale that met the level. The same trace and costs take the same steps on every machine.

Service level: the 99th percentile (nearest rank) of TPOT = (finish - first token) / (output tokens - 1), over
completed requests of two or more output tokens, is at most `slo_tpot_s`. With no such request it holds.

Throughput of a slice is biased by its ends: the batch fills up at the start, and drains after the last arrival. It is
therefore measured on the steady part, from the window in which the first fifth of all output tokens is complete to
the one before four fifths are: three fifths of the work, whole windows of the record.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from itertools import islice

import numpy as np

from archsim.errors import InputError, Problem
from archsim.metrics.latency import percentile, tpot_s
from archsim.serving.costs import Costs, decode_alike_fine, ps_from_fine
from archsim.serving.record import Record, Window
from archsim.serving.replay import replay
from archsim.serving.requests import Arrival, Limits, Sequence, refusal
from archsim.units import PS_PER_S, seconds_of

__all__ = ["SLICE_REQUESTS", "Saturation", "Trial", "saturate", "steady_part"]

Serve = Callable[[Iterator[Arrival]], Record]
"""Serves arrivals to the end."""

SLICE_REQUESTS = 2000
"""Requests of the trace, from its first, that the search replays."""
_LONGEST_PS = 2**62
"""The clock's columns hold 2**63 ps: no slice is stretched further than half of that."""


@dataclass(frozen=True, slots=True)
class Trial:
    """One replay of the slice."""

    scale: float
    """What the arrival times were divided by; infinite where all requests arrive at once."""
    tpot_p99_s: float | None
    """None where no request has a TPOT."""
    meets: bool
    output_tokens_per_s: float | None
    """Of the steady part."""
    end_ps: int
    """When the last request was done."""


@dataclass(frozen=True, slots=True)
class Saturation:
    """The end of the search."""

    limited_by: str
    """`"slo"`: a higher rate breaks the level. `"capacity"`: the level holds with all requests at once.
    `"unreachable"`: it holds at no rate that was tried, or not even for each request alone."""
    scale: float | None
    """Of the best trial; None where unreachable."""
    requests_per_s: float | None
    """Offered rate at that scale; None where unreachable or all requests arrive at once."""
    output_tokens_per_s: float | None
    """Of the steady part; None where unreachable or the slice yields no tokens."""
    tpot_p99_s: float | None
    """Of the best trial; where unreachable, the smallest that was seen."""
    floor_tpot_p99_s: float | None
    """The percentile with each request alone on the system: no rate has less."""
    record: Record | None
    """Of the best trial; None where unreachable."""
    steady: Window | None
    """The steady part of that record."""
    trials: tuple[Trial, ...]
    """All replays, in the order of the search."""


def saturate(
    arrivals: Iterable[Arrival],
    costs: Costs,
    *,
    limits: Limits,
    slo_tpot_s: float = 0.05,
    policy: str = "prefill_first",
    relative_width: float = 0.02,
    serve: Serve | None = None,
) -> Saturation:
    """Search the highest scale of the first `SLICE_REQUESTS` arrivals that meets *slo_tpot_s*.

    *serve* replays them on a fleet and returns the record of all its replicas; without it, one server does.
    Raises `InputError` for an empty slice, and for a service level or width that is not positive and finite.
    """
    for name, value in (("slo_tpot_s", slo_tpot_s), ("relative_width", relative_width)):
        if not (math.isfinite(value) and value > 0):
            raise InputError(Problem("saturation", name, repr(value), "a positive, finite number"))
    requests = list(islice(arrivals, SLICE_REQUESTS))
    if not requests:
        raise InputError(Problem("saturation", "arrivals", "", "at least one request"))
    alone = partial(replay, costs=costs, limits=limits, policy=policy)
    search = _Search(requests, costs, serve or alone, limits=limits, slo_tpot_s=slo_tpot_s)
    return search.run(relative_width)


def steady_part(record: Record) -> Window:
    """Return the windows of *record* within the second to fourth fifth of its output tokens, as one.

    A record too short to have such a window is steady as a whole.
    """
    tokens = record.total.output_tokens
    part: Window | None = None
    before = 0
    for window in record.windows:
        after = before + window.output_tokens
        if 5 * before >= tokens and 5 * after <= 4 * tokens:
            part = part or Window(window.start_fine, window.start_fine)
            part.add(window)
        before = after
    return part or record.total


class _Search:
    def __init__(
        self,
        requests: list[Arrival],
        costs: Costs,
        serve: Serve,
        *,
        limits: Limits,
        slo_tpot_s: float,
    ) -> None:
        self._requests = requests
        self._costs = costs
        self._limits = limits
        self._slo_tpot_s = slo_tpot_s
        self._serve = serve
        self._span_ps = requests[-1].arrival_ps - requests[0].arrival_ps
        self._trials: list[Trial] = []
        self._best: Record | None = None
        self._best_trial: Trial | None = None
        self._floor_s = self._alone_p99_s()

    def run(self, relative_width: float) -> Saturation:
        if self._floor_s is not None and self._floor_s > self._slo_tpot_s:
            return self._result("unreachable")
        at_once = self._try(math.inf)
        if at_once.meets:
            return self._result("capacity")
        if not self._span_ps:
            return self._result("unreachable")
        low, high = self._bracket(self._span_ps / at_once.end_ps)
        while low is not None and high > low * (1 + relative_width):
            middle = math.sqrt(low * high)
            low, high = (middle, high) if self._try(middle).meets else (low, middle)
        return self._result("unreachable" if low is None else "slo")

    def _bracket(self, scale: float) -> tuple[float | None, float]:
        """Return a scale that meets the level, None if there is none, and one twice as high that does not."""
        if self._try(scale).meets:
            while self._try(2 * scale).meets:
                scale *= 2
            return scale, 2 * scale
        while self._span_ps / scale <= _LONGEST_PS / 2:
            scale /= 2
            if self._try(scale).meets:
                return scale, 2 * scale
        return None, scale

    def _try(self, scale: float) -> Trial:
        record = self._serve(self._scaled(scale))
        table = record.requests
        tpots = np.sort(tpot_s(table.first_token_ps, table.finish_ps, table.output_tokens))
        tpot_p99_s = percentile(tpots, 99) if len(tpots) else None
        meets = tpot_p99_s is None or tpot_p99_s <= self._slo_tpot_s
        trial = Trial(scale, tpot_p99_s, meets, _tokens_per_s(steady_part(record)), record.end_ps)
        self._trials.append(trial)
        if meets and (self._best_trial is None or scale > self._best_trial.scale):
            self._best, self._best_trial = record, trial
        return trial

    def _scaled(self, scale: float) -> Iterator[Arrival]:
        first_ps = self._requests[0].arrival_ps
        numerator, denominator = (0, 1) if scale == math.inf else (1 / Fraction(scale)).as_integer_ratio()
        for request in self._requests:
            arrival_ps = (request.arrival_ps - first_ps) * numerator // denominator
            yield request._replace(arrival_ps=arrival_ps)

    def _alone_p99_s(self) -> float | None:
        tpots = []
        for request in self._requests:
            further = request.output_tokens - 1
            if further and not refusal(Sequence(0, request), self._limits):
                time_fine = decode_alike_fine(
                    self._costs, self._limits.reach, sequences=1, context=request.prompt_tokens + 1, steps=further
                )
                tpots.append(ps_from_fine(time_fine) / PS_PER_S / further)
        return percentile(np.sort(np.array(tpots)), 99) if tpots else None

    def _result(self, limited_by: str) -> Saturation:
        best = self._best_trial
        seen = [trial.tpot_p99_s for trial in self._trials if trial.tpot_p99_s is not None]
        paced = best is not None and best.scale != math.inf
        return Saturation(
            limited_by=limited_by,
            scale=best.scale if best else None,
            requests_per_s=self._offered_per_s(best.scale) if best and paced else None,
            output_tokens_per_s=best.output_tokens_per_s if best else None,
            tpot_p99_s=best.tpot_p99_s if best else min(seen, default=self._floor_s),
            floor_tpot_p99_s=self._floor_s,
            record=self._best,
            steady=steady_part(self._best) if self._best else None,
            trials=tuple(self._trials),
        )

    def _offered_per_s(self, scale: float) -> float:
        return (len(self._requests) - 1) / seconds_of(self._span_ps) * scale


def _tokens_per_s(window: Window) -> float | None:
    span_ps = ps_from_fine(window.end_fine - window.start_fine)
    return window.output_tokens / seconds_of(span_ps) if window.output_tokens and span_ps else None
