"""HBM2E: HBM2's channels at 3.2 to 3.6 Gb/s a pin. No public set exists: HBM2's nanoseconds, clocks computed anew."""

from __future__ import annotations

from dataclasses import replace

from archsim.dram.standards.hbm2 import HBM2, HBM2_GRADE
from archsim.dram.standards.table import clocks

__all__ = ["HBM2E"]

_SCALED = "assumption: HBM2's count (Ramulator 2.1 hbm2.py), clamped as its HBM2E pull request 158 does"

HBM2E = replace(
    HBM2,
    name="HBM2E",
    document="JEDEC JESD235C",
    grade_bits_per_s=3_200_000_000,
    sets={"hbm2-ns": {**HBM2_GRADE, "tCCDS": clocks(2, _SCALED), "tCCDL": clocks(4, _SCALED)}},
    default_channel_gbit=16,
)
