"""One answer of a memory, whatever its kind: what `archsim memory` prints, draws and writes as JSON.

`probe` makes it for DRAM, `probe_flash` for flash and `probe_sram` for SRAM. Shares are of the data buses' time and sum
to 1; `transfer` is what was asked for, so that bandwidth = transfer x peak.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from archsim.dram.energy import BitEnergy

__all__ = ["Glance"]


@dataclass(frozen=True, slots=True)
class Glance:
    """What a memory sustains for a pattern, and where the rest went."""

    device: str
    made_of: str
    """Channels and what works at once within them."""
    pattern: str
    peak_bytes_per_s: Fraction
    bytes_per_s: Fraction
    """Of what was asked for."""
    shares: dict[str, Fraction]
    read_latency_ps: Fraction | None
    """`None` where nothing was read."""
    facts: tuple[tuple[str, str], ...]
    """Name and text of what bears on the answer: controller, map, buffer, wear."""
    channel_shares: tuple[Fraction, ...]
    """Share of the run that each channel's data buses moved data; empty where channels are not told apart."""
    energy: BitEnergy
    content: dict[str, Any]
    """The answer in SI units, for JSON."""

    @property
    def losses(self) -> list[tuple[str, Fraction]]:
        """What is not transfer, largest first, equal ones by name; nothing is left out."""
        lost = [(name, share) for name, share in self.shares.items() if name != "transfer"]
        return sorted(lost, key=lambda loss: (-loss[1], loss[0]))
