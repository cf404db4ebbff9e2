"""What `archsim measure` leaves: the table of products, all figures, and the calibrated system."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from archsim.files import write_atomically, written_directory
from archsim.hardware.library import load_system, resolved_toml
from archsim.report.writers import free_place
from archsim.validation.calibrated_file import annotated
from archsim.validation.device import Device
from archsim.validation.measure import Measured, measure, predicted_lines, settings_of, write_measured

__all__ = ["measure_into", "measured_system"]


def measure_into(
    device: Device, system: str, *, out: Path | None, tell: Callable[[str], None] | None = None
) -> list[str]:
    """Measure *device* beside *system*, write the folder *out* (a free one by default), and return what to print."""
    path = out or free_place("archsim-measure")
    with written_directory(path) as folder:
        found = measure(device, system, progress=tell)
        table = write_measured(found, folder)
        settings, fit = settings_of(found, table)
        lines = predicted_lines(found, table, settings)
        write_atomically(folder / "measured.json", (json.dumps(found.as_json(), indent=1) + "\n").encode())
        write_atomically(folder / "system.toml", measured_system(found, settings).encode())
    for parameter, value, error in zip(fit.parameters, fit.values, fit.errors, strict=True):
        lines.append(f"  {parameter.path} = {parameter.text(value)}, relative standard error {error:.2g}")
    return [*lines, f"written to {path}"]


def measured_system(found: Measured, settings: tuple[str, ...]) -> str:
    """Return the system with *settings* as TOML, each with the device, driver and date behind it."""
    info = found.info
    source = f"  # source: archsim measure, {info.name}, driver {info.driver}, {info.software}, {info.date}"
    head = f"# {found.system} as measured on {info.name}, driver {info.driver}, {info.software}, on {info.date}."
    text = resolved_toml(load_system(found.system, settings))
    return "\n".join([head, *annotated(text, {setting.partition("=")[0]: source for setting in settings}), ""])
