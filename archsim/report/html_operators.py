"""The roofline of operators in a report: every memory level as a ceiling, one mark an operator, before and after."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from archsim.metrics.operators import OperatorUse
from archsim.report.html_charts import Drawing, ceilings, decades, peaks, roofs
from archsim.report.html_svg import Axis, Chart, Line, Mark, chart, swatch
from archsim.report.operator_marks import OperatorMark, Pair, labels_of, pairs_of
from archsim.report.style import LINE_COLOURS
from archsim.report.views import percent
from archsim.result import Result
from archsim.units import format_quantity

__all__ = ["OperatorPage", "operator_page"]

_DASH = "-"
_NEAR = (0.04, 0.06)
"""Shares of the axes within which labels would lie on each other."""

Cell = tuple[str, float | None]


@dataclass(frozen=True, slots=True)
class OperatorPage:
    """The roofline of operators and its table."""

    drawing: Drawing
    words: str
    heads: Sequence[tuple[str, bool]]
    rows: Sequence[tuple[int, str, int, Sequence[Cell]]]
    """Number, operator, executions, cells."""


def operator_page(result: Result, uses: Sequence[OperatorUse]) -> OperatorPage | None:
    """Return the operators *uses* of *result*; None where none has a place in a roofline."""
    levels, engines = peaks(result.ledger, "B/s"), peaks(result.ledger, "FLOP/s")
    pairs, batch = pairs_of(uses, levels, engines)
    marked = [mark for pair in pairs for mark in (pair.before, pair.after) if mark is not None and mark.level]
    if not marked or not engines:
        return None
    context = uses[0].context
    before = any(pair.before is not None for pair in pairs)
    drawing = _drawing(result, pairs, marked)
    sides = [("one sequence", "before")] if before else []
    sides.append((f"batch {batch}" if batch > 1 or before else "one sequence", "after"))
    heads = [("#", True), ("operator", False), ("executions", True)]
    for title, _ in sides:
        heads += [(f"{title}: time", True), ("share", True), ("bound by", False), ("FLOP/byte", True),
                  ("attained", True), ("of its ceiling", True)]  # fmt: skip
    rows = []
    for pair in pairs:
        cells = [cell for _, side in sides for cell in _cells(getattr(pair, side))]
        executions = next(mark.use.executions for mark in (pair.after, pair.before) if mark is not None)
        rows.append((pair.number, pair.operator, executions, cells))
    words = f"One decode iteration of {batch:,} sequences of {context:,} tokens" + (
        ", filled marks, and of one sequence alone, rings" if before else ""
    )
    return OperatorPage(drawing, words, heads, rows)


def _drawing(result: Result, pairs: Sequence[Pair], marked: Sequence[OperatorMark]) -> Drawing:
    levels, engines = peaks(result.ledger, "B/s"), peaks(result.ledger, "FLOP/s")
    colours = {level: LINE_COLOURS[index % 6] for index, level in enumerate(levels)}
    roof = max(engines.values())
    ends = [*(mark.intensity for mark in marked), *(roof / peak for peak in levels.values())]
    low, high = 10.0 ** math.floor(math.log10(0.8 * min(*ends, 1.0))), 10.0 ** math.ceil(math.log10(max(ends) * 2))
    bottom = 10.0 ** math.floor(math.log10(min(mark.attained for mark in marked) / 2))
    x = Axis("useful FLOP per byte moved at the binding level", low, high, decades(low, high, ""), logarithmic=True)
    y = Axis("FLOP/s", bottom, roof * 2, decades(bottom, roof * 2, "flop/s"), logarithmic=True)
    lines = [*ceilings(levels, roof, x, y), *roofs(engines, x, y)]
    keys = [(swatch(line.colour, dash=line.dash), line.name) for line in lines]
    marks = []
    labelled = [(pair.number, pair.after or pair.before) for pair in pairs]
    places = [(n, x.place(m.intensity), y.place(m.attained)) for n, m in labelled if m is not None and m.level]
    labels = labels_of(places, near=_NEAR)
    for pair in pairs:
        for mark, shape in ((pair.before, "ring"), (pair.after, "circle")):
            if mark is not None and mark.level:
                label = labels.get(pair.number, "") if mark is pair.after or pair.after is None else ""
                at = (mark.intensity, mark.attained)
                marks.append(Mark(f"{pair.number} {_told(mark)}", colours[mark.level], at, shape, label))
        if pair.before is not None and pair.after is not None and pair.before.level and pair.after.level:
            ways = [(mark.intensity, mark.attained) for mark in (pair.before, pair.after)]
            words = f"{pair.operator}, from one sequence to the batch"
            lines.append(Line(words, colours[pair.after.level], ways, thin=True))
    if any(mark.shape == "ring" for mark in marks):
        keys.append((swatch("currentColor", shape="ring"), "one sequence"))
    keys.append((swatch("currentColor", shape="circle"), "the batch; colour: the level that binds, number: the table"))
    return Drawing(chart(Chart(f"Operators of {result.system.name}", x, y, lines=lines, marks=marks)), keys)


def _told(mark: OperatorMark) -> str:
    attained = format_quantity(mark.attained, "flop/s", digits=3)
    return (
        f"{mark.use.operator}, batch {mark.use.batch}: {attained} at {mark.intensity:.3g} FLOP per byte of "
        f"{mark.level}, {percent(mark.of_ceiling)} of its ceiling, {percent(mark.share)} of the time"
    )


def _cells(mark: OperatorMark | None) -> list[Cell]:
    if mark is None:
        return [(_DASH, None)] * 6
    timed: list[Cell] = [(format_quantity(mark.use.time_s, "s", digits=3), mark.use.time_s),
                         (percent(mark.share), mark.share)]  # fmt: skip
    if mark.level is None:
        return [*timed, *[(_DASH, None)] * 4]
    return [*timed, (mark.level, None), (f"{mark.intensity:.3g}", mark.intensity),
            (format_quantity(mark.attained, "flop/s", digits=3), mark.attained),
            (percent(mark.of_ceiling), mark.of_ceiling)]  # fmt: skip
