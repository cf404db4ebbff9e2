"""Timing tables of DRAM standards: data, one file each, every number in nanoseconds or clocks with its source.

`STANDARDS` maps a name to its table; `archsim.dram.build` turns a table, a pin rate and a density into a `Device`.
"""

from __future__ import annotations

from archsim.dram.standards.ddr5 import DDR5
from archsim.dram.standards.gddr6 import GDDR6
from archsim.dram.standards.gddr7 import GDDR7
from archsim.dram.standards.hbm2 import HBM2
from archsim.dram.standards.hbm2e import HBM2E
from archsim.dram.standards.hbm3 import HBM3
from archsim.dram.standards.hbm3e import HBM3E
from archsim.dram.standards.hbm4 import HBM4
from archsim.dram.standards.lpddr4x import LPDDR4X
from archsim.dram.standards.lpddr5 import LPDDR5
from archsim.dram.standards.lpddr5x import LPDDR5X
from archsim.dram.standards.table import Standard, Timing

__all__ = ["STANDARDS", "Standard", "Timing"]

STANDARDS: dict[str, Standard] = {
    table.name: table for table in (HBM2, HBM2E, HBM3, HBM3E, HBM4, LPDDR4X, LPDDR5, LPDDR5X, DDR5, GDDR6, GDDR7)
}
"""Every standard by name."""
