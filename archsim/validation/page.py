"""The page of all comparisons: errors by table and group, the rows that are furthest off, and every fitted parameter.

Text from results, nothing chosen: a table's bad rows stand in it as they are. Fitted parameters are those numbers of
the bundled hwconfigs whose source says that they were fitted.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from archsim.files import bundled_path
from archsim.hardware.sources import SourceRow, sources_of_file
from archsim.uncertainty.widths import shipped_widths
from archsim.validation.dram import beyond
from archsim.validation.page_parts import coverage_lines, meaning_lines
from archsim.validation.summary import summary

__all__ = ["fitted_parameters", "page"]

_WORST = 5
_SMALL = 0.0005
"""Shares below it are written with more digits."""

_HEAD = """# Validation

What archsim predicts beside what silicon and other simulators gave, from `archsim validate`. Errors are relative and
signed: (predicted - expected) / expected. A row that cannot be compared is skipped with its reason and counted; none is
left out for its error. This page is written by `scripts/validation_page.py` and not by hand.

![Parity of all tables](images/parity.png)

"""

_FITTED = """## Every fitted parameter

Datasheet numbers are not fitted. The parameters below are: each a quantity with a unit and a meaning (its key in
`docs/hardware.md`), set once for a chip, a system or a runtime, never for a model, a batch or a row. Unless a line says
otherwise they were set by hand, not by least squares, and nothing was held back: the other rows of the same table were
in view. The tables' errors are therefore in sample, or close to it, wherever a file below names the table.

"""


def page(results: Sequence[Mapping[str, Any]], notes: str, intervals: Mapping[str, Any] | None = None) -> str:
    """Return the page as Markdown: *results* as `summary.run_suite` gives them, then *notes*, then the fits.

    *intervals* is the result of the suite of that name.
    """
    parts = [
        _HEAD,
        _overview(results),
        _bounds(results),
        *(["\n".join(coverage_lines(intervals, shipped_widths()))] if intervals else []),
        *(_section(result) for result in results),
        notes,
        _FITTED,
        "\n".join(meaning_lines(fitted_parameters())),
        _fits(),
    ]
    return "\n".join(part.rstrip("\n") + "\n" for part in parts)


def fitted_parameters() -> list[SourceRow]:
    """Return the numbers of the bundled hwconfigs whose source says `fitted`, by file and place in it."""
    return [
        row
        for path in sorted(bundled_path("hwconfigs").glob("*/*.toml"))
        for row in sources_of_file(path)
        if "fitted" in row.text
    ]


def _overview(results: Sequence[Mapping[str, Any]]) -> str:
    lines = [
        "| suite | table | compared | skipped | mean abs | median abs | 95 % | mean |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for result in results:
        skipped = len(result["rows"]) - int(result["n"])
        cells = [_percent(result[key]) for key in _ERRORS]
        lines.append(f"| {result['suite']} | {_table(result)} | {result['n']} | {skipped} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _bounds(results: Sequence[Mapping[str, Any]]) -> str:
    lines = ["## Bounds", "", "What the suites promise (`validation/bounds.py`), on these tables:", ""]
    lines += ["| suite | bound | table | rows | statistic | at most | found | |", "|---|---|---|---|---|---|---|---|"]
    for result in results:
        for bound in result.get("bounds", ()):
            held = "held" if bound["held"] else "**broken**"
            cells = (bound["name"], _table(result), bound["rows"], bound["statistic"], f"{100 * bound['limit']:.3g} %",
                     f"{100 * bound['found']:.3g} %", held)  # fmt: skip
            lines.append(f"| {result['suite']} | {' | '.join(map(str, cells))} |")
    return "\n".join(lines)


_ERRORS = ("mean_abs_error", "median_abs_error", "p95_abs_error", "mean_signed_error")


def _section(result: Mapping[str, Any]) -> str:
    lines = [f"## {result['suite']}: {_table(result)}", ""]
    lines += ["| group | compared | mean abs | median abs | 95 % | mean |", "|---|---|---|---|---|---|"]
    groups: dict[str, list[Mapping[str, Any]]] = {}
    for row in result["rows"]:
        groups.setdefault(str(row["group"]), []).append(row)
    for group, rows in groups.items():
        found = summary(rows)
        lines.append(f"| {group} | {found['n']} | {' | '.join(_percent(found[key]) for key in _ERRORS)} |")
    lines += [*_worst(result["rows"]), *_beyond(result), *_skipped(result["rows"])]
    return "\n".join(lines)


def _worst(rows: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    compared = [row for row in rows if row["error"] is not None]
    if not compared:
        return
    yield ""
    yield "Furthest off:"
    yield ""
    for row in sorted(compared, key=lambda row: -abs(row["error"]))[:_WORST]:
        values = f"{row['expected']:.4g} measured, {row['predicted']:.4g} predicted"
        yield f"* {row['id']}: {values}, {_percent(row['error'])}"


def _beyond(result: Mapping[str, Any]) -> Iterator[str]:
    """Yield every DRAM row beyond the bar of its class with its cause, or that there is none."""
    if result["suite"] != "dram":
        return
    yield ""
    yield "Beyond their bar (3 % where the device binds, 10 % where the controller's policy does):"
    yield ""
    found = beyond(result["rows"])
    for row, cause in found:
        yield f"* {row['id']}: {_percent(row['error'])}: {cause}"
    if not found:
        yield "* none"


def _skipped(rows: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    reasons = Counter(str(row["skipped"]) for row in rows if row["skipped"])
    if reasons:
        yield ""
        yield "Skipped:"
        yield ""
    for reason, count in reasons.most_common(_WORST):
        yield f"* {count}: {_brief(reason)}"
    rest = sum(count for _, count in reasons.most_common()[_WORST:])
    if rest:
        yield f"* {rest}: other reasons of these kinds"


def _brief(reason: str) -> str:
    """Return *reason* without the folder of a file, at most a line long."""
    text = " ".join(part.rpartition("/")[2] if part.startswith("/") else part for part in reason.split())
    return text if len(text) <= 160 else f"{text[:157]}..."


def _fits() -> str:
    lines = ["| file | key | value | source |", "|---|---|---|---|"]
    for row in fitted_parameters():
        folder, _, name = row.file.rpartition("/")
        lines.append(f"| {folder.rpartition('/')[2]}/{name} | `{row.path}` | {row.value} | {row.text} |")
    return "\n".join(lines)


def _table(result: Mapping[str, Any]) -> str:
    return str(result["reference"]).rpartition("/")[2]


def _percent(value: float | None) -> str:
    if value is None:
        return "-"
    digits = 1 if abs(value) >= _SMALL or value == 0 else 4
    return f"{100 * value:.{digits}f} %"
