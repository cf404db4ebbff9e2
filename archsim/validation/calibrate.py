"""Fitting named parameters of a system to measured rows: least squares of ln(predicted / measured).

    minimise  sum over rows of r_i^2,  r_i = ln(predicted_i / measured_i),  over x_k = ln(parameter_k)

Levenberg-Marquardt (Marquardt, SIAM J. 11, 1963) with forward differences of 2 %: a parameter is positive and moves by
factors. A step that the checks of a system refuse, or that loses a row, is not taken. The standard error of a parameter
is relative: sqrt of the diagonal of s^2 (J'J)^-1, s^2 = sum r^2 / (rows - parameters).

Which parameters to fit is the user's question; a parameter that the rows say nothing of keeps a large standard error.
"""

from __future__ import annotations

import importlib
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from archsim.errors import ArchsimError, InputError, Problem
from archsim.hardware.library import load_system, setting_paths
from archsim.units import UNITS, format_quantity, parse_quantity
from archsim.validation.selection import Selection
from archsim.validation.summary import summary

__all__ = ["FITTABLE", "Calibration", "Parameter", "calibrate", "least_squares"]

FITTABLE = ("kernels", "decode", "serving")
"""Suites whose rows can be fitted."""
_STEP = 0.02
_MOST_ROUNDS = 20
_ENOUGH = 1e-4
"""Share of the sum of squares by which a round must still improve it."""
_EXACT = 5e-4
"""Mean residual below which nothing is left to fit."""
_FARTHEST = 1.0
"""Most that a logarithm moves in a round."""
_WHOLE = {"s": ("ps", 10**12), "bytes": ("B", 1), "bytes/s": ("B/s", 1), "flop/s": ("FLOP/s", 1)}
"""Dimension -> the unit in which a value is whole, and its units in one of SI."""

Vector = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Parameter:
    """A setting with a unit."""

    path: str
    dimension: str
    start: float
    """In SI units."""

    @classmethod
    def of(cls, text: str, paths: Mapping[str, str]) -> Parameter:
        """Return the parameter written `PATH` or `PATH=VALUE`, which starts at its value in *paths* or the given one.

        Raises `InputError` for a path that there is not, and one without a positive value with a unit.
        """
        path, _, given = (part.strip() for part in text.partition("="))
        if path not in paths:
            raise InputError(Problem("", "--parameters", path, "a dotted path that `archsim show SYSTEM` prints"))
        value = given or paths[path]
        for dimension in _WHOLE:
            try:
                start = float(parse_quantity(value, dimension))
            except ValueError:
                continue
            if start > 0:
                return cls(path, dimension, start)
        units = ", ".join(next(iter(UNITS[dimension])) for dimension in _WHOLE)
        expected = f"a value above zero in one of the units {units} ..., or {path}=VALUE to start from"
        raise InputError(Problem("", "--parameters", f"{path} = {value or 'nothing'}", expected))

    def setting(self, value: float) -> str:
        """Return the assignment of *value*, rounded to whole units."""
        unit, scale = _WHOLE[self.dimension]
        return f"{self.path}={max(round(value * scale), 1)} {unit}"

    def text(self, value: float) -> str:
        """Return *value* for people."""
        return format_quantity(Fraction(value), self.dimension, digits=4)


@dataclass(frozen=True, slots=True)
class Calibration:
    """What a fit came to."""

    parameters: tuple[Parameter, ...]
    values: tuple[float, ...]
    errors: tuple[float, ...]
    """Relative standard error of each."""
    before: Mapping[str, Any]
    """As `summary` gives it."""
    after: Mapping[str, Any]
    system: str
    """Name of the first system among the rows."""
    runtime: str

    @property
    def settings(self) -> tuple[str, ...]:
        """The fitted values as settings."""
        return tuple(each.setting(value) for each, value in zip(self.parameters, self.values, strict=True))


def calibrate(
    suite: str, reference: Path | None, *, where: Sequence[tuple[str, str]], names: str, fixed: tuple[str, ...] = ()
) -> Calibration:
    """Fit the parameters *names* (`PATH[=START],...`) on the rows of *suite* in *reference* that meet *where*.

    Settings that are *fixed* hold throughout.
        Raises `InputError` for a suite that cannot be fitted, a parameter that is none, and rows that are too few.
    """
    if suite not in FITTABLE:
        raise InputError(Problem("", "--on", suite, f"one of {', '.join(FITTABLE)}"))
    module = importlib.import_module(f"archsim.validation.{suite}")

    def rows_with(settings: tuple[str, ...]) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = module.suite(reference, Selection(tuple(where), (*fixed, *settings)))
        return rows

    compared = [row for row in rows_with(()) if _has_logarithm(row)]
    texts = [text for text in (part.strip() for part in names.split(",")) if text]
    if len(compared) <= len(texts) or not texts:
        expected = f"more rows that can be compared than the {len(texts)} parameters, of which there is at least one"
        raise InputError(Problem("", "--rows", f"{len(compared)} rows", expected))
    origin = compared[0]["origin"]
    system = str(compared[0]["origin"]["system"])
    spec = load_system(system, [f"runtime={origin['runtime']}", *fixed])
    paths = setting_paths(spec)
    parameters = tuple(Parameter.of(text, paths) for text in texts)
    wanted = [row["id"] for row in compared]

    def residuals(logs: Vector) -> Vector | None:
        settings = tuple(p.setting(math.exp(log)) for p, log in zip(parameters, logs.tolist(), strict=True))
        try:
            found = [row for row in rows_with(settings) if _has_logarithm(row)]
        except ArchsimError:
            return None
        if [row["id"] for row in found] != wanted:
            return None
        return np.array([math.log(row["predicted"] / row["expected"]) for row in found])

    logs, errors = least_squares(residuals, np.log([parameter.start for parameter in parameters]))
    values = tuple(math.exp(log) for log in logs.tolist())
    settings = tuple(parameter.setting(value) for parameter, value in zip(parameters, values, strict=True))
    after = summary(rows_with(settings))
    return Calibration(
        parameters, values, tuple(errors.tolist()), summary(compared), after, system, str(origin["runtime"])
    )


def least_squares(residuals: Callable[[Vector], Vector | None], start: Vector) -> tuple[Vector, Vector]:
    """Return where the sum of squares of *residuals* is least, from *start*, and standard errors.

    *residuals* gives None where its argument is not allowed; *start* must be. Raises `InputError` where it is not.
    """
    at, found = start, residuals(start)
    if found is None:
        raise InputError(Problem("", "--parameters", "", "starting values that the system takes"))
    damping = 1e-2
    for _ in range(_MOST_ROUNDS):
        slope = _jacobian(residuals, at, found)
        normal, pull = slope.T @ slope, slope.T @ found
        better = None
        while better is None and damping < 1e6:
            step = np.linalg.lstsq(normal + damping * np.diag(np.diag(normal) + 1e-12), -pull, rcond=None)[0]
            moved = at + np.clip(step, -_FARTHEST, _FARTHEST)
            trial = residuals(moved)
            if trial is not None and trial @ trial < found @ found:
                better = (moved, trial)
            damping *= 10 if better is None else 0.1
        if better is None:
            break
        gained = 1 - (better[1] @ better[1]) / (found @ found)
        at, found = better
        if gained < _ENOUGH or found @ found < len(found) * _EXACT**2:
            break
    return at, _standard_errors(_jacobian(residuals, at, found), found)


def _jacobian(residuals: Callable[[Vector], Vector | None], at: Vector, found: Vector) -> Vector:
    columns = []
    for place in range(len(at)):
        column = np.zeros_like(found)
        for step in (_STEP, -_STEP):
            moved = at.copy()
            moved[place] += step
            trial = residuals(moved)
            if trial is not None:
                column = (trial - found) / step
                break
        columns.append(column)
    return np.stack(columns, axis=1)


def _standard_errors(slope: Vector, found: Vector) -> Vector:
    rows, count = slope.shape
    variance = float(found @ found) / max(rows - count, 1)
    inverse = np.linalg.pinv(slope.T @ slope)
    seen = np.diag(slope.T @ slope) > 0
    return np.where(seen, np.sqrt(np.maximum(variance * np.diag(inverse), 0.0)), np.inf)


def _has_logarithm(row: dict[str, Any]) -> bool:
    """Return whether *row* compares two positive numbers; a table may hold a negative time."""
    return row["error"] is not None and row["expected"] > 0 and row["predicted"] > 0
