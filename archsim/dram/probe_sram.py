"""One question to SRAM: this pattern, on its banks and ports.

The answer is of all channels, which serve equal shares.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from archsim.dram.energy import BitEnergy, average_energy_of
from archsim.dram.facts import CAUSES, Phase
from archsim.dram.glance import Glance
from archsim.dram.patterns import Pattern, on_one_channel, plain_accesses
from archsim.dram.sram import Sram, SramFacts, sustain_sram
from archsim.units import PS_PER_S, exact_quantity, format_quantity

__all__ = ["SramLoad", "SramProbe", "probe_sram"]

_ENDLESS = 1 << 50
"""A window that never binds."""


@dataclass(frozen=True, slots=True)
class SramLoad:
    """What is asked of SRAM."""

    pattern: Pattern
    channels: int
    interleave_bytes: int
    """Consecutive bytes on one channel before the next channel's turn."""
    capacity_bytes: int
    """Of all channels."""
    window_bytes: int
    """Bytes in flight per channel; 0: as many as the ports take."""
    latency_ps: int
    """On-chip round trip."""


@dataclass(frozen=True, slots=True)
class SramProbe:
    """The answer."""

    sram: Sram
    load: SramLoad
    facts: SramFacts

    @property
    def peak_bytes_per_s(self) -> Fraction:
        """All channels."""
        return Fraction(self.load.channels * self.sram.peak_bytes_per_s)

    @property
    def useful(self) -> Fraction:
        """Share of peak that carries bytes asked for."""
        return self.facts.channel.sustained / self.facts.moved_per_useful

    @property
    def bytes_per_s(self) -> Fraction:
        """Of what was asked for, over all channels."""
        return self.useful * self.peak_bytes_per_s

    @property
    def shares(self) -> dict[str, Fraction]:
        """Share of the ports' time: words asked for, `overfetch` of the rest of words, `row` for busy banks."""
        channel = self.facts.channel
        lost = {cause: Fraction(part, channel.total) for cause, part in zip(CAUSES, channel.causes, strict=True)}
        return {"transfer": self.useful, "overfetch": channel.sustained - self.useful, **lost}

    @property
    def energy(self) -> BitEnergy:
        """No source was found."""
        return average_energy_of("SRAM")

    def glance(self) -> Glance:
        """Return the answer in the form that all kinds of memory share."""
        sram, channels = self.sram, self.load.channels
        window = (
            f"{_size(self.load.window_bytes)} a channel" if self.load.window_bytes else "as many words as ports take"
        )
        return Glance(
            device=f"{sram.name}, SRAM at {format_quantity(sram.clock_hz, 'Hz')}",
            made_of=f"{channels} channel{'' if channels == 1 else 's'}, each of {sram.banks} banks behind {sram.ports} "
            f"ports, words of {_size(sram.word_bytes)}",
            pattern=self.load.pattern.text,
            peak_bytes_per_s=self.peak_bytes_per_s,
            bytes_per_s=self.bytes_per_s,
            shares=self.shares,
            read_latency_ps=Fraction(self.facts.channel.first_access_ps),
            facts=(("in flight", window),),
            channel_shares=(),
            energy=self.energy,
            content=self.as_json(),
        )

    def as_json(self) -> dict[str, Any]:
        """Return the answer in SI units."""
        return {
            "kind": "sram",
            "standard": "SRAM",
            "device": self.sram.name,
            "pattern": self.load.pattern.text,
            "channels": self.load.channels,
            "interleave_bytes": self.load.interleave_bytes,
            "banks": self.sram.banks,
            "ports": self.sram.ports,
            "word_bytes": self.sram.word_bytes,
            "clock_hz": self.sram.clock_hz,
            "window_bytes": self.load.window_bytes,
            "peak_bytes_per_s": float(self.peak_bytes_per_s),
            "bytes_per_s": float(self.bytes_per_s),
            "share_of_peak": float(self.bytes_per_s / self.peak_bytes_per_s),
            "read_latency_s": self.facts.channel.first_access_ps / PS_PER_S,
            "causes": {name: float(part) for name, part in self.shares.items()},
            "energy": self.energy.as_json(),
        }


def probe_sram(sram: Sram, load: SramLoad) -> SramProbe:
    """Ask *load* of *sram*. Raises `InputError` for a pattern that needs rows, or a run larger than the memory."""
    accesses = plain_accesses(load.pattern, sram.word_bytes, load.capacity_bytes)
    accesses = on_one_channel(
        accesses, unit_bytes=sram.word_bytes, channels=load.channels, granule_bytes=load.interleave_bytes
    )
    phase = Phase(accesses, load.window_bytes or _ENDLESS, load.latency_ps)
    return SramProbe(sram, load, sustain_sram(sram, phase))


def _size(size: int) -> str:
    return exact_quantity(size, "bytes")
