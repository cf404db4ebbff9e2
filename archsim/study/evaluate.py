"""Evaluates cases, one after the other, keeping what neighbours share.

Systems, models, traces and placed designs are kept by what they were made from, the latest few of each: points in order
differ in the workload first, so most find everything made. A case that cannot be built or fails becomes an outcome with
its message; only an interrupt goes through.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from functools import lru_cache
from typing import TypeVar

from archsim.economics.assess import assessed
from archsim.economics.spec import load_economics
from archsim.errors import ArchsimError
from archsim.hardware.shelf import Shelf
from archsim.hardware.spec import SystemSpec
from archsim.result import Result
from archsim.simulate import evaluate_step, load_model, load_system, load_trace, run
from archsim.single import AUTO, Bench
from archsim.study.cases import Case, Outcome
from archsim.study.metrics import Number, metrics_of, system_metrics
from archsim.workload.model import Model
from archsim.workload.trace import Trace

__all__ = ["Evaluator", "evaluate_here"]

_KEPT = 8
"""Objects of one kind that are kept."""
_CASES_OF_SHELF = 2000
"""Cases after which placed designs are made anew: they remember what every size of message and access costs."""
Made = TypeVar("Made")


class _Latest:
    """The latest few objects by what they were made from."""

    def __init__(self) -> None:
        self._kept: OrderedDict[Hashable, object] = OrderedDict()

    def get(self, key: Hashable, make: Callable[[], Made]) -> Made:
        """Return the object of *key*, made if it is not there."""
        if key not in self._kept:
            self._kept[key] = make()
            if len(self._kept) > _KEPT:
                self._kept.popitem(last=False)
        self._kept.move_to_end(key)
        made: Made = self._kept[key]  # type: ignore[assignment]  # a key stands for one kind of object
        return made


class Evaluator:
    """Evaluates cases in this process."""

    def __init__(self) -> None:
        self._systems = _Latest()
        self._models = _Latest()
        self._traces = _Latest()
        self._prices = _Latest()
        self._clear()

    def _clear(self) -> None:
        self._cases = 0
        self._benches = _Latest()
        self._shelf = Shelf()

    def evaluate(self, case: Case) -> Outcome:
        """Return what becomes of *case*."""
        start = time.perf_counter()
        self._cases += 1
        if self._cases > _CASES_OF_SHELF:
            self._clear()
        status, metrics, error, provenance = "failed", dict[str, Number](), "", dict[str, object]()
        try:
            spec = self._system(case)
            known = system_metrics(spec)
            broken = [limit for limit in case.limits if limit.broken_by(known[limit.metric])]
            if broken:
                status, metrics = "infeasible", known
                error = "; ".join(f"{limit.text}: {_shown(known[limit.metric])}" for limit in broken)
            else:
                result = self._priced(case, spec, self._result(case, spec))
                status, metrics = "done", metrics_of(result, spec)
                provenance = result.provenance.model_dump()
        except ArchsimError as problem:
            error = str(problem)
        except Exception as problem:  # noqa: BLE001  # a point must not stop the others; its message says what it was
            error = f"internal error: {type(problem).__name__}: {problem}"
        return Outcome(case.point, case.inputs, status, metrics, error, provenance, time.perf_counter() - start)

    def _system(self, case: Case) -> SystemSpec:
        return self._systems.get((case.system, case.overrides), lambda: load_system(case.system, case.overrides))

    def _priced(self, case: Case, spec: SystemSpec, result: Result) -> Result:
        """Return *result* by the study's own prices, where it has some."""
        if case.prices is None:
            return result
        name, region, basis = case.prices
        prices = self._prices.get(case.prices, lambda: load_economics(name, region=region, basis=basis))
        return assessed(result, spec, prices)

    def _result(self, case: Case, spec: SystemSpec) -> Result:
        work = case.work
        model = self._models.get(case.model, lambda: load_model(case.model))
        if work.trace is not None:
            return run(spec, model, trace=self._trace(case, work.trace), precision=case.precision,
                       parallelism=case.parallel, seed=case.seed, slo_s=work.slo_s)  # fmt: skip
        batch, context = work.batch or 1, work.context or 1
        if case.parallel == AUTO:
            return evaluate_step(spec, model, batch=batch, context=context, precision=case.precision, parallelism=AUTO)
        return self._bench(case, spec, model).step(batch=batch, context=context, tables=False)

    def _trace(self, case: Case, name: str) -> Trace:
        work = case.work
        key = (name, work.limit, work.rate_scale, case.seed)
        return self._traces.get(
            key, lambda: load_trace(name, limit=work.limit, rate_scale=work.rate_scale, seed=case.seed)
        )

    def _bench(self, case: Case, spec: SystemSpec, model: Model) -> Bench:
        key = (case.system, case.overrides, case.model, case.precision, case.parallel)
        return self._benches.get(
            key,
            lambda: Bench(spec, model, precision=case.precision, parallelism=case.parallel, shelf=self._shelf),
        )


def _shown(value: Number) -> str:
    return "it is not stated" if value is None else f"it is {value:.6g}"


@lru_cache(maxsize=1)
def _evaluator() -> Evaluator:
    return Evaluator()


def evaluate_here(case: Case) -> Outcome:
    """Return what becomes of *case*, with the one evaluator of this process."""
    return _evaluator().evaluate(case)
