"""Suites by name, and one summary of each: what `archsim validate` prints.

A suite is a module with `suite(reference, ...) -> rows`; a row is a mapping with `id, group, expected, predicted,
error, skipped`, its error relative and signed. Summaries are computed here, over the rows that were compared.
"""

from __future__ import annotations

import importlib
import math
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from archsim.errors import InputError, Problem, did_you_mean
from archsim.validation.bounds import verdicts
from archsim.validation.dram import class_of_row
from archsim.validation.intervals import with_intervals

__all__ = ["SUITES", "left_out", "refused", "run_suite", "summary", "tables_of", "worst_rows"]

SUITES: dict[str, str] = {
    "dram": "archsim.validation.dram",
    "network": "archsim.validation.network",
    "collectives": "archsim.validation.collectives",
    "kernels": "archsim.validation.kernels",
    "decode": "archsim.validation.decode",
    "serving": "archsim.validation.serving",
    "power": "archsim.validation.power",
    "pim": "archsim.validation.pim",
    "attacc": "archsim.validation.attacc",
    "intervals": "archsim.validation.intervals",
}
"""Suite -> the module that holds it; a module is imported when its suite runs."""

ON_REQUEST: dict[str, str] = {"claims": "archsim.validation.claims"}
"""Suites that run only by name: claims are nobody's reference."""

Row = Mapping[str, Any]


def run_suite(name: str, *, reference: Path | None, params: Path | None) -> dict[str, Any]:
    """Run suite *name* against the rows of *reference* (its closed forms where there is none) and summarise it.

    Raises `InputError` for an unknown suite, and for *params* where the suite takes none.
    """
    known = SUITES | ON_REQUEST
    if name not in known:
        raise InputError(Problem("", "suite", name, f"one of {', '.join(known)}{did_you_mean(name, known)}"))
    module = importlib.import_module(known[name])
    if name == "dram":
        rows = module.suite(reference, params)
    elif params is not None:
        raise InputError(Problem("--params", name, str(params), "no parameter file: only dram takes one"))
    else:
        rows = with_intervals(module.suite(reference))
    return {
        "suite": name,
        "reference": str(reference) if reference else _ITSELF,
        **summary(rows),
        "bounds": [
            {"name": v.bound.name, "statistic": v.bound.statistic, "limit": v.bound.limit, "found": v.found,
             "rows": v.rows, "held": v.held}
            for v in verdicts(name, rows, _STATISTICS)
        ],
        "rows": rows,
    }  # fmt: skip


_ITSELF = "closed forms and published figures of its own"


def worst_rows(rows: Iterable[Row], count: int = 3) -> list[Row]:
    """Return the *count* compared rows that are furthest off, the worst first."""
    return sorted((row for row in rows if row["error"] is not None), key=lambda row: -abs(row["error"]))[:count]


def refused(rows: Iterable[Row]) -> dict[str, int]:
    """Return why rows were refused as reference -> how many; their numbers are left out."""
    words = [str(row["skipped"]) for row in rows if str(row["skipped"]).startswith("impossible")]
    return dict(Counter(re.sub(r"\d+\.\d+ TB/s", "so many TB/s", text) for text in words))


def left_out(rows: Iterable[Row], count: int = 12) -> list[str]:
    """Return why rows were skipped, by group, the *count* most frequent first; not those refused as reference."""
    reasons = [(str(row["group"]), str(row["skipped"])) for row in rows if row["skipped"]]
    kept = Counter(pair for pair in reasons if not pair[1].startswith("impossible"))
    lines = [f"{found} rows of {group}: {reason}" for (group, reason), found in kept.most_common(count)]
    rest = kept.total() - sum(found for _, found in kept.most_common(count))
    return [*lines, f"{rest} rows for other reasons: see --json"] if rest else lines


def summary(rows: Iterable[Row]) -> dict[str, float | int | None]:
    """Return n and the mean, median, 90th and 95th percentile of |error|, and the mean of the signed errors."""
    errors = [row["error"] for row in rows if row["error"] is not None]
    if not errors:
        return dict.fromkeys(f"{key}_error" for key in (*_ABSOLUTE, "mean_signed")) | {"n": 0}
    sizes = sorted(abs(error) for error in errors)
    return {
        "n": len(errors),
        **{f"{key}_error": _STATISTICS[key.removesuffix("_abs")](sizes) for key in _ABSOLUTE},
        "mean_signed_error": math.fsum(errors) / len(errors),
    }


def _percent(value: float, *, signed: bool) -> str:
    return f"{100 * value:+.2f} %" if signed else f"{100 * value:.2f} %"


def _percentile(ascending: list[float], percent: int) -> float:
    """Return the percentile by linear interpolation between order statistics."""
    position = (len(ascending) - 1) * percent / 100
    low = int(position)
    high = min(low + 1, len(ascending) - 1)
    return ascending[low] + (ascending[high] - ascending[low]) * (position - low)


_ABSOLUTE = ("mean_abs", "median_abs", "p90_abs", "p95_abs")
_STATISTICS: dict[str, Callable[[list[float]], float]] = {
    "mean": lambda sizes: math.fsum(sizes) / len(sizes),
    "median": lambda sizes: _percentile(sizes, 50),
    "p90": lambda sizes: _percentile(sizes, 90),
    "p95": lambda sizes: _percentile(sizes, 95),
    "max": lambda sizes: sizes[-1],
}
"""Statistics of ascending |errors|."""


def tables_of(result: Mapping[str, Any]) -> list[list[tuple[str, ...]]]:
    """Return the errors of a suite by group; those of the memory floor also by class of pattern and configuration."""
    tables = [_table(result["rows"], "group", lambda row: str(row["group"]))]
    if result["suite"] == "dram":
        tables.append(_table(result["rows"], "class", class_of_row))
        tables.append(_table(result["rows"], "configuration", lambda row: str(row["id"]).split()[0]))
    return tables


def _table(rows: Iterable[Row], title: str, key: Callable[[Row], str]) -> list[tuple[str, ...]]:
    """Return the errors of *rows* by *key*, worst first, as cells of text with a header."""
    groups: dict[str, list[Row]] = {}
    every = list(rows)
    for row in every:
        groups.setdefault(key(row), []).append(row)
    lines: list[tuple[str, ...]] = [(title, "n", "skipped", "mean", "mean |e|", "median |e|", "p90 |e|", "p95 |e|")]
    ordered = sorted(groups.items(), key=lambda item: -(summary(item[1])["p95_abs_error"] or 0))
    for group, members in [*ordered, ("all", every)]:
        found = summary(members)
        errors = [found[f"{key}_error"] for key in ("mean_signed", *_ABSOLUTE)]
        cells = ["-" if value is None else _percent(value, signed=not place) for place, value in enumerate(errors)]
        lines.append((group, str(found["n"]), str(len(members) - int(found["n"] or 0)), *cells))
    return lines
