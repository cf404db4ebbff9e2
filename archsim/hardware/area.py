"""The silicon and package area of a system, row by row: dies, stacks, package. A figure that nobody states is None."""

from __future__ import annotations

from typing import NamedTuple

from archsim.hardware.spec import SystemSpec

__all__ = ["Area", "areas_of"]


class Area(NamedTuple):
    """Equal pieces of a system."""

    piece: str
    """`compute dies`, `hbm stacks`, `package`."""
    number: int
    """In the whole system; dies of one package count as one piece."""
    each_mm2: float | None
    total_mm2: float | None


def areas_of(spec: SystemSpec) -> list[Area]:
    """Return compute dies, stacks of every memory and packages of *spec*."""
    chip = spec.chip
    rows = [_row("compute dies", spec.chips, chip.die_mm2)]
    for name, memory in chip.memory.items():
        if memory.device.sram is None:
            rows.append(_row(f"{name} stacks", spec.chips * memory.stacks, memory.device.footprint_mm2))
    return [*rows, _row("package", spec.chips, chip.package_mm2)]


def _row(piece: str, number: int, each: object) -> Area:
    if each is None:
        return Area(piece, number, None, None)
    mm2 = float(each)  # type: ignore[arg-type]
    return Area(piece, number, mm2, number * mm2)
