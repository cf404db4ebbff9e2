"""What a report shows of a store: best points, fronts, how the first objective moves, and a bounded table of points.

Everything is read from the store; nothing is simulated. What a store of many points has beyond what a page can hold is
counted and said on the page.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from archsim.report.study_page import Best, Cell, StudyPage, Table
from archsim.study.bars import bar_of, is_extrapolated
from archsim.study.cases import Outcome
from archsim.study.definition import again_of, study_of, toml_of
from archsim.study.metrics import METRICS
from archsim.study.page_facts import axis_rows, constant_rows, fact_rows, source_rows
from archsim.study.page_figures import figures_of_page, told
from archsim.study.seen import Seen, SeenPoint, seen_of
from archsim.study.store import Store
from archsim.study.study import Study

__all__ = ["page_of"]

_MOST_BEST = 10
_MOST_FRONT = 200
_MOST_ROWS = 2_000
_MOST_CELLS = 24_000
"""Of the table of points."""
_MOST_MESSAGES = 40
_TEXT = 160
"""Characters of a cell."""
_BESIDES = ("tokens_per_s", "tpot_s_p50", "mbu", "usd_per_million_tokens", "energy_j_per_token")
"""Metrics of the table of points beside objectives and constraints."""


@dataclass(frozen=True, slots=True)
class _Chosen:
    """What rows are made of."""

    study: Study
    store: Store
    seen: Seen
    inputs: tuple[str, ...]
    """Inputs that vary among the points."""


def page_of(store: Store, *, most_rows: int = _MOST_ROWS) -> StudyPage:
    """Return the page of *store* with at most *most_rows* points in its table.

    Raises `InputError` where it cannot be read.
    """
    study = study_of(store)
    seen = seen_of(study, store)
    varied = tuple(
        key for place, key in enumerate(study.columns) if len({repr(p.inputs[place]) for p in seen.points}) > 1
    )
    chosen = _Chosen(study, store, seen, varied)
    drawn = figures_of_page(study, seen)
    again = again_of(store)
    numbers, note = source_rows(study, same_files=again.same_files)
    listed = _listed(chosen, most_rows)
    failures = sorted(seen.messages.items(), key=lambda item: (-item[1][0], item[1][1], item[0]))
    left = [*drawn.left_out]
    if len(failures) > _MOST_MESSAGES:
        left.append(f"{len(failures) - _MOST_MESSAGES:,} further messages of points that failed")
    if len(seen.front) > _MOST_FRONT:
        left.append(f"{len(seen.front) - _MOST_FRONT:,} points of the front in its table")
    if len(listed) < len(seen.points):
        left.append(f"{len(seen.points) - len(listed):,} points in the table of points")
    return StudyPage(
        name=study.spec.name,
        title=study.spec.title,
        facts=fact_rows(study, store, seen),
        best=[_best(chosen, place) for place in range(len(study.spec.objective))] if seen.points else (),
        fronts=drawn.fronts,
        front_table=_front_table(chosen) if len(study.spec.objective) > 1 and seen.front else None,
        scaling=drawn.scaling,
        heat=drawn.heat,
        moves=drawn.moves,
        moves_of=drawn.moves_of,
        table=_table(chosen, _outcomes(store, listed), [*_metrics(study), *_besides(study)]),
        table_note=_table_note(seen, listed),
        axes=axis_rows(study),
        constants=constant_rows(study, varied, seen),
        failures=[(message, count, first) for message, (count, first) in failures[:_MOST_MESSAGES]],
        numbers=numbers,
        numbers_note=note,
        command=again.command,
        definition=toml_of(study),
        digest=store.identity.digest,
        left_out=left,
    )


def _metrics(study: Study) -> list[str]:
    named = [objective.metric for objective in study.spec.objective]
    return list(dict.fromkeys([*named, *(constraint.metric for constraint in study.spec.constraint)]))


def _besides(study: Study) -> list[str]:
    return [name for name in _BESIDES if name not in _metrics(study)]


def _best(chosen: _Chosen, place: int) -> Best:
    """Return the best points by objective number *place*; of equals the first."""
    objective = chosen.study.spec.objective[place]
    kept = [point for point in chosen.seen.points if point.kept]
    best = sorted(kept, key=lambda point: (-point.score[place], [-s for s in point.score], point.point))[:_MOST_BEST]
    outcomes = [*_outcomes(chosen.store, best)]
    way = {"max": "the highest", "min": "the lowest"}[objective.goal]
    commands = [(o.point, str(o.provenance["command"])) for o in outcomes if o.provenance.get("command")]
    title = f"{METRICS[objective.metric].title}: {way}"
    return Best(title, _table(chosen, outcomes, _metrics(chosen.study)), commands)


def _front_table(chosen: _Chosen) -> Table:
    front = [point for point in chosen.seen.points if point.point in chosen.seen.front]
    front.sort(key=lambda point: (-point.score[0], point.point))
    return _table(chosen, _outcomes(chosen.store, front[:_MOST_FRONT]), _metrics(chosen.study))


def _outcomes(store: Store, points: Iterable[SeenPoint]) -> Iterable[Outcome]:
    for point in points:
        yield from store.rows_between(point.point, point.point + 1)


def _table(chosen: _Chosen, outcomes: Iterable[Outcome], metrics: Sequence[str]) -> Table:
    several = len(chosen.study.spec.objective) > 1
    limited = bool(chosen.study.limits)
    kept = {point.point for point in chosen.seen.points if point.kept} if limited else set()
    heads = [("point", True), *((name, True) for name in metrics)]
    heads += [("front", False)] if several else []
    heads += [("keeps", False)] if limited else []
    heads += [(key, False) for key in chosen.inputs]
    rows = []
    for outcome in outcomes:
        row = [Cell(str(outcome.point), outcome.point)]
        row += [_metric(name, outcome.metrics) for name in metrics]
        row += [Cell("front" if outcome.point in chosen.seen.front else "-")] if several else []
        row += [Cell("yes" if outcome.point in kept else "no")] if limited else []
        row += [_input(outcome.inputs.get(key)) for key in chosen.inputs]
        rows.append(row)
    return Table(heads, rows)


def _input(value: object) -> Cell:
    if isinstance(value, int) and not isinstance(value, bool):
        return Cell(f"{value}", value)
    return Cell("-" if value is None else str(value)[:_TEXT])


def _metric(name: str, metrics: Mapping[str, float | int | None]) -> Cell:
    value = metrics.get(name)
    bar = bar_of(name, metrics)
    text = told(
        value, None if bar is None else (bar.low, bar.high), METRICS[name].unit, outside=is_extrapolated(metrics)
    )
    return Cell(text, value)


def _listed(chosen: _Chosen, most_rows: int) -> list[SeenPoint]:
    """Return the points of the table: all, or the front, the best of each objective, and an even choice of the rest."""
    points = chosen.seen.points
    width = 3 + len(chosen.inputs) + len(_metrics(chosen.study)) + len(_BESIDES)
    most = max(50, min(most_rows, _MOST_CELLS // width))
    if len(points) <= most:
        return [*points]
    first = [point for point in points if point.point in chosen.seen.front][: most // 2]
    for place in range(len(chosen.study.spec.objective)):
        first += sorted((p for p in points if p.kept), key=lambda p: (-p.score[place], p.point))[:_MOST_BEST]
    wanted = {point.point for point in first}
    rest = [point for point in points if point.point not in wanted]
    room = most - len(wanted)
    wanted |= {rest[index * len(rest) // room].point for index in range(room)} if room > 0 else set()
    return [point for point in points if point.point in wanted]


def _table_note(seen: Seen, listed: Sequence[SeenPoint]) -> str:
    how = "Words keep the rows that hold them all; column=value, column>number and the like compare."
    if len(listed) == len(seen.points):
        return f"All {len(listed):,} points that have every objective. {how}"
    return (
        f"{len(listed):,} of {len(seen.points):,} points that have every objective: the Pareto front, the best of each "
        f"objective, and every so-and-so-many-th of the rest; archsim study export writes all. {how}"
    )
