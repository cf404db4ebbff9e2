"""What the commands about studies share: the summary of a store, on screen and as JSON, and its figures."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from archsim.report.study_text import Row, Value
    from archsim.study.cases import Outcome
    from archsim.study.fronts import Ranking
    from archsim.study.metrics import Number
    from archsim.study.store import Store
    from archsim.study.study import Study
    from archsim.study.sweep import Tally

__all__ = ["barred", "print_summary", "write_figures"]

_OUTSIDE = "; x: extrapolated beyond what was validated, by a stated prior"

_MOST = 10
_MOST_EACH = 12
_MESSAGES = 5
_MOST_MESSAGES = 500
"""Different messages of a status that are counted."""


def print_summary(study: Study, store: Store, *, tally: Tally, as_json: bool) -> None:
    """Print what became of the points of *store* and the best of them."""
    from archsim.study.fronts import ranked

    met = _Met()
    ranking = ranked(met.done(store), study.spec.objective, study.limits, most=_MOST, by=_split(study))
    if as_json:
        import json

        click.echo(json.dumps(_summary(study, store, tally, ranking, met), indent=2, allow_nan=False))
        return
    _print_table(study, store, tally, ranking, met)


class _Met:
    """What became of all points of a store, and the messages of those without figures; the store is read once."""

    def __init__(self) -> None:
        self._states: Counter[str] = Counter()
        self._messages: dict[str, Counter[str]] = {"failed": Counter(), "infeasible": Counter()}

    def done(self, store: Store) -> Iterator[Outcome]:
        """Yield the rows that are done, and count all."""
        for outcome in store.rows():
            self._states[outcome.status] += 1
            if outcome.status == "done":
                yield outcome
                continue
            found = self._messages[outcome.status]
            message = f"{outcome.status}: {outcome.error.splitlines()[0][:200]}"
            if message in found or len(found) < _MOST_MESSAGES:
                found[message] += 1

    @property
    def counts(self) -> dict[str, int]:
        """Status -> number of rows."""
        return dict(sorted(self._states.items()))

    @property
    def messages(self) -> dict[str, int]:
        """The most frequent messages."""
        return dict((self._messages["failed"] + self._messages["infeasible"]).most_common(_MESSAGES))


def _split(study: Study) -> str | None:
    """Return the input whose settings are told apart: the first axis, where it has a few."""
    first = next((axis for axis in study.axes if len(axis.levels) > 1), None)
    return first.keys[0] if first is not None and len(first.levels) <= _MOST_EACH else None


def _summary(study: Study, store: Store, tally: Tally, ranking: Ranking, met: _Met) -> dict[str, Any]:
    return {
        "study": study.spec.name,
        "store": str(store.path),
        "points": store.identity.points or tally.points,
        "rows": met.counts,
        "feasible": ranking.feasible,
        "run": {"done": tally.done, "failed": tally.failed, "infeasible": tally.infeasible, "left": tally.left},
        "best": [_point(outcome) for outcome in ranking.best],
        "best_of_each": [_point(outcome) for outcome in ranking.best_of_each],
        "front": [_point(outcome) for outcome in ranking.front],
    }


def _point(outcome: Outcome) -> dict[str, Any]:
    return {"point": outcome.point, "inputs": outcome.inputs, "metrics": outcome.metrics}


def _print_table(study: Study, store: Store, tally: Tally, ranking: Ranking, met: _Met) -> None:
    from archsim.report import table
    from archsim.report.study_text import Column, best_points
    from archsim.study.bars import bar_of, is_extrapolated
    from archsim.study.metrics import METRICS

    screen = table.console()
    counts = met.counts
    # The store of a search has no number of points of its own.
    total = store.identity.points or tally.points
    rate = f", {tally.done / tally.wall_s:,.1f} points/s" if tally.done and tally.wall_s else ""
    screen.print(f"{study.spec.title}")
    states = ", ".join(f"{count:,} {status}" for status, count in counts.items()) or "none"
    screen.print(f"{store.path}: {sum(counts.values()):,} of {total:,} points ({states}); "
                 f"{tally.done:,} now in {tally.wall_s:,.1f} s{rate}")  # fmt: skip
    if tally.elsewhere:
        screen.print(f"{tally.elsewhere:,} points are being run by another process")
    for message, count in met.messages.items():
        screen.print(f"{count:,} x {message}", markup=False)
    if not ranking.feasible:
        if counts.get("done"):
            screen.print(f"no point keeps the constraints: {'; '.join(limit.text for limit in study.limits)}")
        return
    names = dict.fromkeys(
        [objective.metric for objective in study.spec.objective]
        + [constraint.metric for constraint in study.spec.constraint]
    )
    columns = [Column(name, METRICS[name].unit) for name in names]
    on_front = {outcome.point for outcome in ranking.front}
    rows = _lines(ranking.best, names, on_front)
    goal = study.spec.objective[0]
    screen.print(f"{ranking.feasible:,} keep the constraints; best by {goal.metric} ({goal.goal}):" if study.limits
                 else f"best by {goal.metric} ({goal.goal}):", "", best_points(rows, columns), sep="\n")  # fmt: skip
    if len(ranking.best_of_each) > 1:
        each = _lines(ranking.best_of_each, names, on_front)
        screen.print("", f"the best at each {_split(study)}:", best_points(each, columns), sep="\n")
    if len(study.spec.objective) > 1:
        screen.print(f"* one of {len(ranking.front):,} points on the Pareto front")
    shown = (*ranking.best, *ranking.best_of_each)
    if any(bar_of(name, outcome.metrics) for outcome in shown for name in names):
        outside = any(is_extrapolated(outcome.metrics) for outcome in shown)
        screen.print(f"in brackets: 80 % interval{_OUTSIDE if outside else ''}")


def _lines(outcomes: Sequence[Outcome], names: Iterable[str], on_front: set[int]) -> list[Row]:
    from archsim.report.study_text import Row

    return [
        Row(o.point, o.point in on_front, o.inputs, {name: barred(name, o.metrics) for name in names}) for o in outcomes
    ]


def barred(metric: str, metrics: Mapping[str, Number]) -> Value:
    """Return *metric* of *metrics* as tables show it, with its 80 % interval where it has one."""
    from archsim.report.study_text import Value
    from archsim.study.bars import bar_of, is_extrapolated

    bar = bar_of(metric, metrics)
    return Value(metrics.get(metric), None if bar is None else (bar.low, bar.high), outside=is_extrapolated(metrics))


def write_figures(study: Study, store: Store, folder: Path) -> None:
    """Write the figures of *store* into *folder*, which must not exist."""
    from archsim.files import write_atomically, written_directory
    from archsim.report.style import svg_bytes
    from archsim.study.figures import figures_of

    with written_directory(folder) as made:
        for name, figure in figures_of(study, store).items():
            write_atomically(made / f"{name}.svg", svg_bytes(figure))
    click.echo(f"figures in {folder}", err=True)
