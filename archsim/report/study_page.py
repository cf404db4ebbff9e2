"""The report of a study as one HTML file: which points are good, what moves them, and what all of it rests on.

It shows plain rows and drawings that the caller has chosen, in the frame of the report of a run: no request, no script
but its own, every string escaped, equal bytes for equal stores.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from markupsafe import Markup

from archsim.hardware.sources import SourceRow
from archsim.report.html_charts import Drawing
from archsim.report.html_frame import filled
from archsim.report.html_svg import bar
from archsim.report.style import LINE_COLOURS, text_colour

__all__ = ["Best", "Cell", "Heat", "Shown", "StudyPage", "Table", "heat_of", "move_bar", "study_html"]

_PALE, _DEEP = (0xEA, 0xF1, 0xF8), (0x0B, 0x4A, 0x7F)


@dataclass(frozen=True, slots=True)
class Cell:
    """A cell of a table."""

    text: str
    value: float | int | None = None
    """What it is sorted by; None: its text."""


@dataclass(frozen=True, slots=True)
class Table:
    """A table that sorts."""

    heads: Sequence[tuple[str, bool]]
    """(name, whether numbers stand below it)."""
    rows: Sequence[Sequence[Cell]]


@dataclass(frozen=True, slots=True)
class Best:
    """The best points by one objective."""

    title: str
    table: Table
    commands: Sequence[tuple[int, str]]
    """(point, what runs it alone)."""


@dataclass(frozen=True, slots=True)
class Heat:
    """A coloured table of two axes."""

    title: str
    across: str
    down: str
    columns: Sequence[str]
    rows: Sequence[tuple[str, Sequence[tuple[str, str]]]]
    """(setting, cells of (text, style))."""


@dataclass(frozen=True, slots=True)
class Shown:
    """A figure with what it leaves out."""

    title: str
    drawing: Drawing
    note: str


@dataclass(frozen=True, slots=True)
class StudyPage:
    """What the page shows."""

    name: str
    title: str
    facts: Sequence[tuple[str, str]]
    best: Sequence[Best]
    fronts: Sequence[Shown]
    front_table: Table | None
    scaling: Shown | None
    heat: Heat | None
    moves: Sequence[tuple[str, int, str, Markup, str, str]]
    """Axis, settings, change around the best point in words, its bar, where best, share of the spread."""
    moves_of: str
    table: Table
    table_note: str
    axes: Sequence[tuple[str, str, str]]
    constants: Sequence[tuple[str, str]]
    failures: Sequence[tuple[str, int, int]]
    numbers: Sequence[SourceRow]
    numbers_note: str
    command: str
    definition: str
    """The study as TOML; empty where the command alone is enough."""
    digest: str
    left_out: Sequence[str] = field(default=())


def study_html(page: StudyPage) -> str:
    """Return *page* as HTML."""
    return filled("report.study.html.j2", title=f"{page.name}: archsim study", page=page)


def heat_of(
    title: str,
    across: tuple[str, Sequence[str]],
    down: tuple[str, Sequence[str]],
    values: Sequence[Sequence[tuple[float | None, str]]],
) -> Heat:
    """Return the coloured table of *values*, (number, text) by row and column; the largest is the deepest."""
    known = [number for row in values for number, _ in row if number is not None]
    low, high = (min(known), max(known)) if known else (0.0, 0.0)
    rows = [
        (name, [(text, _style(number, low, high)) for number, text in row])
        for name, row in zip(down[1], values, strict=True)
    ]
    return Heat(title, across[0], down[0], across[1], rows)


def _style(number: float | None, low: float, high: float) -> str:
    if number is None:
        return ""
    share = (number - low) / (high - low) if high > low else 0.5
    mixed = [round(pale + share * (deep - pale)) for pale, deep in zip(_PALE, _DEEP, strict=True)]
    back = "#" + "".join(f"{part:02x}" for part in mixed)
    return f"background:{back};color:{text_colour(back)}"


def move_bar(low: float, high: float, ends: tuple[float, float]) -> Markup:
    """Return the bar of a tornado from *low* to *high* in a row from one of *ends* to the other, relative changes."""
    span = ends[1] - ends[0] or 1.0
    return bar((low - ends[0]) / span, (high - low) / span, LINE_COLOURS[0])
