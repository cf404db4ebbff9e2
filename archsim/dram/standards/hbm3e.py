"""HBM3E: HBM3's channels at 8.0 to 9.8 Gb/s a pin: HBM3's nanoseconds, clocks computed anew, tCCD_L of 2.5 ns."""

from __future__ import annotations

from dataclasses import replace

from archsim.dram.standards.hbm3 import HBM3, HBM3_GEM5, HBM3_GRADE
from archsim.dram.standards.table import clocks, ns

__all__ = ["HBM3E"]

_SCALED = "assumption: HBM3's count (Ramulator 2.1 hbm3.py); no HBM3E set is public"
_COLUMNS = {
    "tCCDS": clocks(2, _SCALED),
    "tCCDL": ns("2.5", "gem5 HBM_9600_8H_1x64: tCCD_L", at_least=4),
    "tCCDR": clocks(3, _SCALED),
}

HBM3E = replace(
    HBM3,
    name="HBM3E",
    document="vendors' HBM3E (JESD238 with higher grades)",
    grade_bits_per_s=9_600_000_000,
    sets={"hbm3-ns": {**HBM3_GRADE, **_COLUMNS}, "gem5": {**HBM3_GEM5, **_COLUMNS}},
    default_channel_gbit=16,
)
