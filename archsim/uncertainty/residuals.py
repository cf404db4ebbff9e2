"""Residuals: how far off the predictions of the suites were, one row a measurement, shipped beside this module.

    residual = ln(measured time / predicted time), also where the row is a rate

A row says nothing of the measurement but its error: what was predicted (kernel, collective, time per output token), on
which silicon, chip and runtime, and of which mechanisms the predicted time is made. Silicon is a design that several
chips share (an A100 at two power limits, the sizes of one Apple generation): chips of one silicon are no independent
evidence, so they are left out together.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from archsim.errors import InputError, Problem
from archsim.files import open_text_lines, write_atomically
from archsim.uncertainty.shares import MECHANISMS

__all__ = ["COLUMNS", "SHIPPED", "Residual", "memory_kind", "read_residuals", "shipped_residuals", "silicon_of",
           "types_of", "write_residuals"]  # fmt: skip

COLUMNS = ("table", "measure", "chip", "memory", "precision", "runtime", "residual", *MECHANISMS)
SHIPPED = Path(__file__).parent / "residuals.csv"
_NAMES = 6
"""Columns of text, before those of numbers."""
_NONE = "-"


@dataclass(frozen=True, slots=True)
class Residual:
    """The error of one prediction."""

    table: str
    """File that the measurement is from, without its ending."""
    measure: str
    """`kernel`, `collective`, `tpot` or `e2e`: the last are evidence of a silicon and its runtime alone."""
    chip: str
    memory: str
    """Standard of the main memory."""
    precision: str
    runtime: str
    residual: float
    """ln(measured time / predicted time)."""
    shares: tuple[float, ...]
    """Shares of the predicted time, in the order of `MECHANISMS`."""

    @property
    def types(self) -> tuple[str, ...]:
        """Element types that the row is evidence of, as `types_of` names them."""
        if self.measure != "kernel":
            return types_of(self.precision)
        of_kv = self.shares[MECHANISMS.index("attention")] >= max(self.shares)
        return (_KV_TYPES if of_kv else _PRODUCT_TYPES).get(self.precision, ())

    @property
    def silicon(self) -> str:
        """The design that the chip is a variant of."""
        return silicon_of(self.chip)


_PRODUCT_TYPES = {
    "bfloat16": ("w16", "a16"),
    "fp8": ("w8", "a8"),
    "fp8_block": ("w8", "a8"),
    "sq": ("w8", "a8"),
    "int8_wo": ("w8", "a16"),
    "int4_wo": ("w4", "a16"),
    "w4a16_mxfp4": ("wmxfp4", "a16"),
    "nvfp4": ("wnvfp4", "a4"),
}
_KV_TYPES = {"bfloat16": ("kv16",), "fp8": ("kv8",)}
"""Type of a lone kernel's rows -> element types."""


def memory_kind(standard: str) -> str:
    """Return the kind of memory of which *standard* is a generation: `HBM` of `HBM3E`."""
    match = re.match(r"[A-Za-z]+", standard)
    return match[0] if match else standard


def types_of(precision: str) -> tuple[str, ...]:
    """Return the element types of *precision*, its groups left out: `w4`, `a16`, `kv16` of `w4g32s32a16kv16`."""
    kind = r"(?:mxfp|nvfp)?\d+"
    match = re.match(rf"(w{kind}).*?(a\d+)(kv{kind})", precision)
    return match.groups() if match else ()


def silicon_of(chip: str) -> str:
    """Return the silicon of *chip*: `a100` of `a100-sxm-330w`, `apple-m2` of `apple-m2-max-30`."""
    match = re.match(r"apple-m\d+|tpu-v\d+|rtx-(?:pro-)?\d+|[^-]+", chip)
    return match[0] if match else chip


def write_residuals(path: Path, residuals: Iterable[Residual]) -> None:
    """Write *residuals* as CSV, sorted: errors to three decimal places, shares to two; an empty cell is as above."""
    rows = sorted(
        (
            (r.table, r.measure, r.chip, r.memory or _NONE, r.precision or _NONE, r.runtime or _NONE),
            (f"{r.residual:.3f}", *(f"{round(share, 2):g}" for share in r.shares)),
        )
        for r in residuals
    )
    lines, above = [",".join(COLUMNS)], ("",) * _NAMES
    for names, numbers in rows:
        cells = ("" if name == before else name for name, before in zip(names, above, strict=True))
        lines.append(",".join((*cells, *numbers)))
        above = names
    write_atomically(path, ("\n".join(lines) + "\n").encode())


def read_residuals(path: Path) -> list[Residual]:
    """Return the residuals in *path*. Raises `InputError` for a line that is not one."""
    found: list[Residual] = []
    above: tuple[str, ...] = ("",) * _NAMES
    for at, line in open_text_lines(path):
        cells = line.rstrip("\n").split(",")
        if at == 1 and tuple(cells) == COLUMNS:
            continue
        numbers = _numbers(cells[_NAMES:])
        if numbers is None:
            expected = f"the columns {', '.join(COLUMNS)}"
            raise InputError(Problem(str(path), f"line {at}", line.rstrip("\n")[:60], expected))
        above = tuple(cell or before for cell, before in zip(cells[:_NAMES], above, strict=True))
        table, measure, chip, memory, precision, runtime = ("" if name == _NONE else name for name in above)
        found.append(
            Residual(table, measure, chip, memory, precision, runtime, residual=numbers[0], shares=tuple(numbers[1:]))
        )
    return found


def _numbers(cells: Sequence[str]) -> list[float] | None:
    """Return the residual and the shares, or None where a cell is missing or no number."""
    try:
        numbers = [float(cell) for cell in cells]
    except ValueError:
        return None
    return numbers if len(numbers) == 1 + len(MECHANISMS) else None


@cache
def shipped_residuals() -> Sequence[Residual]:
    """Return the residuals that came with archsim."""
    return tuple(read_residuals(SHIPPED))
