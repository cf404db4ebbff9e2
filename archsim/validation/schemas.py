"""Which suite reads a table: told from its columns, whatever their order.

Not here: what columns mean, which is the matter of the suites. Power is read by name alone: its rows have the columns
of decode.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterable
from pathlib import Path

from archsim.errors import InputError, Problem
from archsim.files import open_text_lines
from archsim.validation.table import columns_of

__all__ = ["suite_of"]

_SCHEMAS: tuple[tuple[str, str], ...] = (
    ("dram", "COLUMNS"),
    ("collectives", "COLUMNS"),
    ("attacc", "COLUMNS"),
    ("pim", "COLUMNS"),
    ("serving", "CLOSED"),
    ("serving", "LISTED"),
    ("decode", "FITTED"),
    ("decode", "COLUMNS"),
)
"""Suite -> name of the columns that it needs; the first that fits. Kernels have several, in `SCHEMAS`."""


def suite_of(reference: Path, among: Iterable[str] = ()) -> str:
    """Return the suite that reads *reference*, one of *among* where any are named.

    Raises `InputError` for a file that none reads.
    """
    allowed = set(among)
    if not allowed and _is_json(reference):
        return "network"
    columns = set(columns_of(reference))
    for name, attribute in _SCHEMAS:
        if allowed and name not in allowed:
            continue
        if set(getattr(importlib.import_module(f"archsim.validation.{name}"), attribute)) <= columns:
            return name
    if not allowed or "kernels" in allowed:
        kernels = importlib.import_module("archsim.validation.kernels").SCHEMAS
        if any(set(needed) <= columns for needed in kernels):
            return "kernels"
    known = sorted(allowed or {"kernels", *(name for name, _ in _SCHEMAS)})
    expected = f"the columns of the suite {' or '.join(known)}"
    raise InputError(Problem(str(reference), "header", ", ".join(sorted(columns)), expected))


def _is_json(path: Path) -> bool:
    for _, line in open_text_lines(path):
        if line.strip():
            return line.lstrip().startswith(("{", "["))
    return False
