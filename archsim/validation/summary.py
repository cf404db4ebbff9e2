"""Suites by name, and one summary of each: what `archsim validate` prints.

A suite is a module with `suite(reference, ...) -> rows`; a row is a mapping with `id, group, expected, predicted,
error, skipped`, its error relative and signed. Summaries are computed here, over the rows that were compared.
"""

from __future__ import annotations

import importlib
import math
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from archsim.errors import InputError, Problem, did_you_mean

__all__ = ["SUITES", "run_suite", "summary", "tables_of"]

SUITES: dict[str, str] = {
    "dram": "archsim.validation.dram",
    "network": "archsim.validation.network",
    "collectives": "archsim.validation.collectives",
    "kernels": "archsim.validation.kernels",
    "decode": "archsim.validation.decode",
    "serving": "archsim.validation.serving",
}
"""Suite -> the module that holds it; a module is imported when its suite runs."""

Row = Mapping[str, Any]


def run_suite(name: str, *, reference: Path | None, params: Path | None) -> dict[str, Any]:
    """Run suite *name* against the rows of *reference* (its closed forms where there is none) and summarise it.

    Raises `InputError` for an unknown suite, and for *params* where the suite takes none.
    """
    if name not in SUITES:
        raise InputError(Problem("", "suite", name, f"one of {', '.join(SUITES)}{did_you_mean(name, SUITES)}"))
    module = importlib.import_module(SUITES[name])
    if name == "dram":
        rows = module.suite(reference, params)
    elif params is not None:
        raise InputError(Problem("--params", name, str(params), "no parameter file: only dram takes one"))
    else:
        rows = module.suite(reference)
    return {"suite": name, "reference": str(reference) if reference else "closed forms", **summary(rows), "rows": rows}


def summary(rows: Iterable[Row]) -> dict[str, float | int | None]:
    """Return n and the mean, median and 95th percentile of |error|, and the mean of the signed errors."""
    errors = [row["error"] for row in rows if row["error"] is not None]
    if not errors:
        return dict.fromkeys(("mean_abs_error", "median_abs_error", "p95_abs_error", "mean_signed_error")) | {"n": 0}
    sizes = sorted(abs(error) for error in errors)
    return {
        "n": len(errors),
        "mean_abs_error": math.fsum(sizes) / len(sizes),
        "median_abs_error": _percentile(sizes, 50),
        "p95_abs_error": _percentile(sizes, 95),
        "mean_signed_error": math.fsum(errors) / len(errors),
    }


def _percentile(ascending: list[float], percent: int) -> float:
    """Return the percentile by linear interpolation between order statistics."""
    position = (len(ascending) - 1) * percent / 100
    low = int(position)
    high = min(low + 1, len(ascending) - 1)
    return ascending[low] + (ascending[high] - ascending[low]) * (position - low)


def tables_of(result: Mapping[str, Any]) -> list[list[tuple[str, ...]]]:
    """Return the errors of a suite by group; those of the memory floor also by class of pattern and configuration."""
    tables = [_table(result["rows"], "group", lambda row: str(row["group"]))]
    if result["suite"] == "dram":
        module = importlib.import_module(SUITES["dram"])
        tables.append(_table(result["rows"], "class", module.class_of_row))
        tables.append(_table(result["rows"], "configuration", lambda row: str(row["id"]).split()[0]))
    return tables


def _table(rows: Iterable[Row], title: str, key: Callable[[Row], str]) -> list[tuple[str, ...]]:
    """Return the errors of *rows* by *key*, worst first, as cells of text with a header."""
    groups: dict[str, list[Row]] = {}
    every = list(rows)
    for row in every:
        groups.setdefault(key(row), []).append(row)
    lines: list[tuple[str, ...]] = [(title, "n", "skipped", "mean", "median |e|", "p95 |e|")]
    ordered = sorted(groups.items(), key=lambda item: -(summary(item[1])["p95_abs_error"] or 0))
    for group, members in [*ordered, ("all", every)]:
        found = summary(members)
        errors = [found[key] for key in ("mean_signed_error", "median_abs_error", "p95_abs_error")]
        cells = ["-" if value is None else f"{100 * value:+.2f} %" for value in errors]
        lines.append((group, str(found["n"]), str(len(members) - int(found["n"] or 0)), *cells))
    return lines
