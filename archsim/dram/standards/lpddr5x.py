"""LPDDR5X: LPDDR5's channels at 8.5 to 10.7 Gb/s a pin: LPDDR5's nanoseconds, clocks computed anew."""

from __future__ import annotations

from dataclasses import replace

from archsim.dram.standards.lpddr5 import LPDDR5, LPDDR5_GRADE

__all__ = ["LPDDR5X"]

LPDDR5X = replace(
    LPDDR5,
    name="LPDDR5X",
    document="JEDEC JESD209-5C",
    grade_bits_per_s=8_533_000_000,
    sets={"lpddr5-ns": LPDDR5_GRADE},
)
