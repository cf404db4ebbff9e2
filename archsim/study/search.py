"""Searches a study's space for its Pareto front with Optuna: NSGA-II, NSGA-III, or TPE.

Trials come in rounds of a fixed size: a round is asked for, evaluated by whatever executor, and told in the order of
its numbers, so that the same seed gives the same trials on 1 or N workers. A trial's number is its point in the store;
a search that goes on is asked the same questions again and takes the answers that are there. A trial whose inputs an
earlier one had takes over its row.

Constraints are handed to the sampler as sums by which they are broken (Deb 2002: a point that keeps them beats any that
does not); what cannot be built or does not fit is a failed trial, which no parent comes from.
"""

from __future__ import annotations

import importlib
import json
import math
import warnings
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from typing import Any

from archsim.errors import InputError, Problem
from archsim.files import digest_of
from archsim.study.axes import Axis, Value
from archsim.study.cases import Case, Limit, Outcome
from archsim.study.claims import Claims, Part
from archsim.study.execute import Executor
from archsim.study.fronts import scores
from archsim.study.store import Identity, Store
from archsim.study.study import Study

__all__ = ["SAMPLERS", "Search", "search", "search_identity"]

SAMPLERS = {"nsga2": "NSGAIISampler", "nsga3": "NSGAIIISampler", "tpe": "TPESampler"}
"""Name -> class of `optuna.samplers`."""
_ALL_BROKEN = 1e9


@dataclass(frozen=True, slots=True)
class Search:
    """How to search."""

    sampler: str
    """A key of `SAMPLERS`."""
    trials: int
    seed: int = 0
    round_size: int = 32
    """Trials that are asked for together: the population of NSGA."""


def search_identity(study: Study, how: Search) -> Identity:
    """Return which store the trials of *how* go into: more trials of the same search go on in it."""
    words = f"{study.identity.digest} search {how.sampler} {how.seed} {how.round_size}"
    return replace(study.identity, digest=digest_of(words.encode()), points=0)


def search(
    study: Study,
    store: Store,
    how: Search,
    *,
    executor: Executor,
    progress: Callable[[int], None] | None = None,
) -> int:
    """Evaluate the trials that *store* lacks and return how many were evaluated.

    Raises `InputError` without the extra `search`, or where another process is at this store.
    """
    optuna = _optuna(how.sampler)
    with warnings.catch_warnings():
        # Samplers and constraints that Optuna calls experimental say so on every call.
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        judge = _judge(study, optuna, how)
        with Claims(store) as claims:
            rounds = _Rounds(study, store, how, judge=judge, claims=claims)
            with closing(executor(rounds.cases())) as outcomes:
                for outcome in outcomes:
                    rounds.take(outcome)
                    if progress is not None:
                        progress(rounds.trials)
    return rounds.evaluated


class _Rounds:
    """The rounds of one search as a source of cases, which waits for the outcomes of a round before the next."""

    def __init__(self, study: Study, store: Store, how: Search, *, judge: Any, claims: Claims) -> None:
        self._study, self._store, self._how, self._judge, self._claims = study, store, how, judge, claims
        self._known: dict[str, Outcome] = {}
        self._open: set[int] = set()
        self.evaluated = 0
        self.trials = 0
        """Trials that have been told."""

    def cases(self) -> Iterator[Case | None]:
        """Yield the cases that need evaluating; None while a round is not complete."""
        study, size = self._study, self._how.round_size
        distributions = {axis.name: _distribution(axis) for axis in study.axes}
        for first in range(0, self._how.trials, size):
            # The last round is asked in full, so that a longer search begins with the same trials.
            trials = [self._judge.ask(distributions) for _ in range(size)]
            cases = [_case(study, trial, point) for point, trial in enumerate(trials, start=first)]
            wanted = cases[: self._how.trials - first]
            fresh, twins = self._missing(wanted)
            self._open = {case.point for case in fresh}
            yield from fresh
            while self._open:
                yield None
            for case in twins:
                self._store.write(replace(self._known[_key(case.inputs)], point=case.point, wall_s=0.0))
            rows = {row.point: row for row in self._store.rows_between(first, first + len(wanted))}
            for trial, case in zip(trials, cases, strict=True):
                _tell(study, self._judge, trial, rows.get(case.point))
            for row in rows.values():
                self._known.setdefault(_key(row.inputs), row)
            self.trials = first + len(wanted)

    def _missing(self, cases: list[Case]) -> tuple[list[Case], list[Case]]:
        """Return the cases without a row: those to be evaluated, and those whose inputs are known or among them."""
        part = Part(cases[-1].point + 1, first=cases[0].point)
        taken = set(self._claims.points(part))
        if self._claims.others(part):
            expected = "a store at which no other search is at work"
            raise InputError(Problem(str(self._store.path), "--store", "", expected))
        fresh: dict[str, Case] = {}
        twins: list[Case] = []
        for case in cases:
            if case.point not in taken:
                continue
            key = _key(case.inputs)
            if key in self._known or key in fresh:
                twins.append(case)
            else:
                fresh[key] = case
        return list(fresh.values()), twins

    def take(self, outcome: Outcome) -> None:
        """Keep *outcome* of one of the cases."""
        self._store.write(outcome)
        self._known[_key(outcome.inputs)] = outcome
        self._open.discard(outcome.point)
        self.evaluated += 1


def _key(inputs: object) -> str:
    return json.dumps(inputs)


def _case(study: Study, trial: Any, point: int) -> Case:
    settings: dict[str, Value] = {}
    for axis in study.axes:
        place = trial.params[axis.name]
        values = axis.levels[place] if axis.levels else axis.at(place)
        settings |= dict(zip(axis.keys, values, strict=True))
    return study.case_of(settings, point=point)


def _distribution(axis: Axis) -> Any:
    """Return where a trial's place on *axis* is drawn from: a share, an index, or an index without order."""
    kinds = importlib.import_module("optuna.distributions")
    if not axis.levels:
        return kinds.FloatDistribution(0.0, 1.0)
    last = len(axis.levels) - 1
    if axis.span is not None or all(isinstance(level[0], int) for level in axis.levels):
        return kinds.IntDistribution(0, last)
    return kinds.CategoricalDistribution(range(last + 1))


def _judge(study: Study, optuna: Any, how: Search) -> Any:
    options: dict[str, Any] = {"seed": how.seed}
    if how.sampler != "tpe":
        options["population_size"] = how.round_size
    sampler = getattr(optuna.samplers, SAMPLERS[how.sampler])(**options)
    directions = ["maximize"] * len(study.spec.objective)
    return optuna.create_study(directions=directions, sampler=sampler)


def _tell(study: Study, judge: Any, trial: Any, outcome: Outcome | None) -> None:
    score = None if outcome is None or outcome.status != "done" else scores(outcome, study.spec.objective)
    if outcome is None or score is None:
        judge.tell(trial, state=importlib.import_module("optuna.trial").TrialState.FAIL)
        return
    for limit in study.limits:
        trial.set_constraint(limit.text, _excess(limit, outcome.metrics.get(limit.metric)))
    judge.tell(trial, list(score))


def _excess(limit: Limit, value: float | None) -> float:
    """Return by how much *value* breaks *limit*, relative to its bound; 0 or less where it is kept."""
    if value is None:
        return _ALL_BROKEN
    ends = ((limit.low - value, limit.low), (value - limit.high, limit.high))
    return max(excess / (abs(bound) or 1.0) for excess, bound in ends if math.isfinite(bound))


def _optuna(sampler: str) -> Any:
    try:
        optuna = importlib.import_module("optuna")
    except ImportError:
        expected = "the extra `search` (pip install 'archsim[search]')"
        raise InputError(Problem("", "--sampler", sampler, expected)) from None
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna
