"""How long flash lives under writes: a budget of bytes, and the years that a write rate leaves.

Writable bytes = capacity x cycles / write amplification; years = writable bytes / (rate x seconds of a year). Wear
levelling is taken to be perfect, so this is the longest life, not the likely one. A KV cache is written once for each
token, and weights hardly ever: hence flash refuses writes unless they are forced (`flash.refuse_writes`), and then the
answer names the years (Ma & Patterson, IEEE Computer 2026, on endurance as the limit of High Bandwidth Flash).
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from archsim.dram.flash import SECONDS_PER_YEAR, Flash, writable_bytes, years_to_wear_out

__all__ = ["Wear", "wear_of", "write_rate_for_years"]


@dataclass(frozen=True, slots=True)
class Wear:
    """What writing at a mean rate does to flash."""

    write_bytes_per_s: Fraction
    """To all stacks together."""
    writable_bytes: int
    """What all stacks together take before their blocks are worn out."""
    years: float | None
    """To wear-out at that rate; `None` where nothing is written."""


def wear_of(flash: Flash, *, stacks: int, write_bytes_per_s: int | Fraction) -> Wear:
    """Return how soon writing at *write_bytes_per_s*, spread over *stacks* of *flash*, wears them out.

    Raises `ValueError` for a negative rate or no stack.
    """
    if stacks < 1:
        raise ValueError(f"wear needs at least one stack: {stacks}")
    years = years_to_wear_out(flash, write_bytes_per_s=Fraction(write_bytes_per_s) / stacks)
    return Wear(Fraction(write_bytes_per_s), stacks * writable_bytes(flash), years)


def write_rate_for_years(flash: Flash, *, stacks: int, years: int | Fraction) -> Fraction:
    """Return the mean bytes/s that *stacks* of *flash* can be written at to last *years*.

    Raises `ValueError` unless both are positive.
    """
    if stacks < 1 or years <= 0:
        raise ValueError(f"stacks and years must be positive: {stacks}, {years}")
    budget = stacks * Fraction(flash.capacity_bytes * flash.endurance_cycles) / flash.write_amplification
    return budget / (Fraction(years) * SECONDS_PER_YEAR)
