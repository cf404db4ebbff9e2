"""A calibration in words and as a file: the whole system, each fitted number with what it was fitted on."""

from __future__ import annotations

from pathlib import Path

from archsim.files import digest_of, read_bytes
from archsim.hardware.library import load_system, resolved_toml
from archsim.validation.calibrate import Calibration

__all__ = ["annotated", "calibrated_toml", "report_lines"]

_LOOSE = 0.3
"""Relative standard error beyond which the rows hardly say what a parameter is."""


def report_lines(found: Calibration, *, suite: str, reference: Path | None) -> list[str]:
    """Return what a terminal shows: errors before and after, and each parameter with its standard error."""
    table = reference.name if reference else "figures of its own"
    lines = [f"{suite}, {table}: {found.before['n']} rows; {found.system}, runtime {found.runtime}"]
    for name, errors in (("before", found.before), ("after", found.after)):
        lines.append(
            f"  {name:<6}  mean |e| {_percent(errors['mean_abs_error'])}, p90 {_percent(errors['p90_abs_error'])}, "
            f"mean {_percent(errors['mean_signed_error'])}"
        )
    for parameter, value, error in zip(found.parameters, found.values, found.errors, strict=True):
        said = f"+-{100 * error:.0f} %" if error <= _LOOSE else "the rows hardly say"
        lines.append(f"  {parameter.path} = {parameter.text(value)} ({said}), from {parameter.text(parameter.start)}")
    return lines


def calibrated_toml(found: Calibration, *, suite: str, reference: Path | None, rows: str) -> str:
    """Return the calibrated system as TOML, sources behind the fitted numbers."""
    table = f"{reference.name} ({digest_of(read_bytes(reference))[:19]})" if reference else "published figures"
    where = rows or "all rows"
    spec = load_system(found.system, [f"runtime={found.runtime}", *found.settings])
    sources = {}
    for parameter, error in zip(found.parameters, found.errors, strict=True):
        spread = f"standard error {100 * error:.0f} %" if error <= _LOOSE else "hardly determined by them"
        sources[parameter.path] = (
            f"  # source: least squares of ln(predicted / measured), suite {suite}, {table}, {where}, "
            f"{found.before['n']} rows, from {parameter.text(parameter.start)}; {spread}"
        )
    before, after = (_percent(errors["mean_abs_error"]) for errors in (found.before, found.after))
    head = [
        f"# {found.system} with runtime {found.runtime}, calibrated by `archsim calibrate --on {suite}`.",
        f"# Mean |error| on {found.before['n']} rows of {table}: {before} before, {after} after.",
        "# Other numbers: as in the bundled files.",
    ]
    return "\n".join([*head, *annotated(resolved_toml(spec), sources), ""])


def annotated(text: str, sources: dict[str, str]) -> list[str]:
    """Return the lines of *text* with the sources of their dotted keys behind them."""
    lines, table = [], ""
    for line in text.rstrip("\n").split("\n"):
        if line.startswith("["):
            table = f"{line.strip('[]')}."
        key = table + line.partition(" = ")[0]
        lines.append(line + sources.get(key, ""))
    return lines


def _percent(value: float) -> str:
    return f"{100 * value:.1f} %"
