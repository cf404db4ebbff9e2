"""What a stack of dies is told: vias that carry its bits, and heat that leaves it.

H1: a memory above the logic moves at most area / pitch^2 x data share bits at a time, at its pin rate, whatever its own
pins could. H2: a chip whose power over its area would exceed the limit lowers its clock: what it draws beyond idle
falls in proportion, and its arithmetic with it; memories keep their rate.
"""

from __future__ import annotations

from fractions import Fraction

from pydantic import Field

from archsim.hardware.quantities import Area, Micrometres, PowerDensity, Share, Watts
from archsim.hardware.spec_model import Spec

__all__ = ["ThermalSpec", "ViaSpec", "cooled_share"]

_MM2_PER_M2 = 10**6


class ViaSpec(Spec):
    """Vias between a memory and the logic below it, table `[memory.NAME.vias]`."""

    area_mm2: Area = Field(alias="area")
    """Area that they stand on."""
    pitch_um: Micrometres = Field(alias="pitch")
    """Distance of one via to the next."""
    data_share: Share
    """Share of them that carries data; the rest is power, ground, clocks, commands and spares."""

    @property
    def bits(self) -> int:
        """Data bits that cross at a time."""
        return int(self.area_mm2 * _MM2_PER_M2 / self.pitch_um**2 * self.data_share)


class ThermalSpec(Spec):
    """Heat that a chip gives off, table `[thermal]`; with `tdp`, `die_area` and `energy.idle` of the chip."""

    watts_per_m2: PowerDensity = Field(alias="limit")
    """Power over the area of the compute dies beyond which the clock falls."""


def cooled_share(thermal: ThermalSpec, *, design_watts: Watts, idle_watts: Watts, die_mm2: Area) -> Fraction:
    """Return the share of the clock that the heat limit leaves, at most 1; 0 or less where idling alone exceeds it."""
    most = thermal.watts_per_m2 * die_mm2 / _MM2_PER_M2
    return min(Fraction(1), (most - idle_watts) / (design_watts - idle_watts))
