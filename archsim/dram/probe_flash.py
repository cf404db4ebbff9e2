"""One question to flash: this pattern, on whole stacks, with this much in flight; and how soon its writes wear it out.

Reads are announced ahead, so the stack's buffer is what is in flight, unless a window says that cores ask by
themselves. The answer is of all channels of all stacks, which serve equal shares.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

from archsim.dram.endurance import Wear, wear_of, write_rate_for_years
from archsim.dram.energy import BitEnergy, average_energy_of
from archsim.dram.facts import CAUSES, Phase
from archsim.dram.flash import Flash, FlashFacts, bytes_in_flight, sustain_flash
from archsim.dram.glance import Glance
from archsim.dram.patterns import Pattern, on_one_channel, plain_accesses
from archsim.units import PS_PER_S, exact_quantity, format_quantity

__all__ = ["FlashLoad", "FlashProbe", "probe_flash"]

_SERVICE_YEARS = 5
"""Years for which the bearable write rate is stated: what accelerators are written off over."""
_DAYS_OF_A_YEAR = 365.25
_BUFFERED = 1 << 50
"""A window that never binds: the cores drain the buffer at once."""


@dataclass(frozen=True, slots=True)
class FlashLoad:
    """What is asked of flash."""

    pattern: Pattern
    stacks: int
    interleave_bytes: int
    """Consecutive bytes on one channel before the next channel's turn, over all stacks."""
    window_bytes: int
    """Bytes that the cores have in flight per channel; 0: reads are announced ahead and fill the buffer."""
    latency_ps: int
    """On-chip round trip."""
    write_bytes_per_s: int | None
    """Mean rate of writes over the years, to all stacks; `None`: the rate at which the pattern writes."""
    forced: bool
    """Whether writes are allowed."""


@dataclass(frozen=True, slots=True)
class FlashProbe:
    """The answer."""

    flash: Flash
    load: FlashLoad
    facts: FlashFacts
    writing: Fraction
    """Share of the useful bytes that are written."""

    @property
    def peak_bytes_per_s(self) -> Fraction:
        """All stacks."""
        return Fraction(self.load.stacks * self.flash.peak_bytes_per_s)

    @property
    def bytes_per_s(self) -> Fraction:
        """Of what was asked for, over all stacks."""
        return self.facts.useful * self.peak_bytes_per_s

    @property
    def shares(self) -> dict[str, Fraction]:
        """Share of the buses' time: transfer of what was asked for, `overfetch` of the rest of its pages, causes."""
        channel = self.facts.channel
        lost = {cause: Fraction(part, channel.total) for cause, part in zip(CAUSES, channel.causes, strict=True)}
        useful = self.facts.useful
        return {"transfer": useful, "overfetch": channel.sustained - useful, **lost}

    @property
    def wear(self) -> Wear:
        """What writing does, at the stated mean rate or at the pattern's own."""
        stated = self.load.write_bytes_per_s
        rate = self.bytes_per_s * self.writing if stated is None else Fraction(stated)
        return wear_of(self.flash, stacks=self.load.stacks, write_bytes_per_s=rate)

    @property
    def energy(self) -> BitEnergy:
        """An average of reads is all that is public."""
        return average_energy_of("HBF")

    @property
    def read_latency_ps(self) -> Fraction | None:
        """Of a page on an idle stack; in a closed loop also what Little's law makes of the pages in flight."""
        return None if self.writing == 1 else Fraction(self.facts.channel.first_access_ps)

    def glance(self) -> Glance:
        """Return the answer in the form that all kinds of memory share."""
        flash, stacks = self.flash, self.load.stacks
        made_of = f"{stacks} stack{'' if stacks == 1 else 's'} of {flash.channels} channels, {flash.dies} dies x "
        return Glance(
            device=f"{flash.name}, High Bandwidth Flash",
            made_of=f"{made_of}{flash.planes} planes, pages of {_size(flash.page_bytes)}, "
            f"{_size(self.load.interleave_bytes)} of each channel in turn",
            pattern=self.load.pattern.text,
            peak_bytes_per_s=self.peak_bytes_per_s,
            bytes_per_s=self.bytes_per_s,
            shares=self.shares,
            read_latency_ps=self.read_latency_ps,
            facts=(("buffer", self._buffer_text()), ("planes", self._planes_text()), ("wear", self._wear_text())),
            channel_shares=(),
            energy=self.energy,
            content=self.as_json(),
        )

    def _buffer_text(self) -> str:
        window, needed = self.load.window_bytes, bytes_in_flight(self.flash.peak_bytes_per_s, self.flash.read_ps)
        held = f"but cores keep {_size(window)} a channel in flight" if window else "filled ahead"
        wait = format_quantity(Fraction(self.flash.read_ps, PS_PER_S), "s")
        return (
            f"{_size(self.flash.buffer_bytes)} a stack, {held}; {wait} at full rate takes {_decimal(needed)} in flight"
        )

    def _planes_text(self) -> str:
        array, bus = self.flash.array_bytes_per_s, self.flash.peak_bytes_per_s
        read, moved = format_quantity(array, "bytes/s"), format_quantity(bus, "bytes/s")
        return f"all planes of a stack read {read}, its buses move {moved}"

    def _wear_text(self) -> str:
        wear = self.wear
        bearable = write_rate_for_years(self.flash, stacks=self.load.stacks, years=_SERVICE_YEARS)
        limit = f"{_SERVICE_YEARS} years bear a mean of {format_quantity(bearable, 'bytes/s')} of writes"
        if wear.years is None:
            return f"nothing is written; {limit}"
        life = f"{wear.years:.3g} years" if wear.years >= 1 else f"{wear.years * _DAYS_OF_A_YEAR:.3g} days"
        return f"worn out in {life} at {format_quantity(wear.write_bytes_per_s, 'bytes/s')} of writes; {limit}"

    def as_json(self) -> dict[str, Any]:
        """Return the answer in SI units."""
        wear, latency = self.wear, self.read_latency_ps
        return {
            "kind": "flash",
            "standard": "HBF",
            "device": self.flash.name,
            "pattern": self.load.pattern.text,
            "stacks": self.load.stacks,
            "channels": self.load.stacks * self.flash.channels,
            "interleave_bytes": self.load.interleave_bytes,
            "page_bytes": self.flash.page_bytes,
            "buffer_bytes": self.flash.buffer_bytes,
            "window_bytes": self.load.window_bytes,
            "pages_in_flight": self.facts.pages_in_flight,
            "peak_bytes_per_s": float(self.peak_bytes_per_s),
            "bytes_per_s": float(self.bytes_per_s),
            "share_of_peak": float(self.bytes_per_s / self.peak_bytes_per_s),
            "read_latency_s": None if latency is None else float(latency / PS_PER_S),
            "causes": {name: float(part) for name, part in self.shares.items()},
            "endurance": {
                "writable_bytes": wear.writable_bytes,
                "write_bytes_per_s": float(wear.write_bytes_per_s),
                "years_to_wear_out": wear.years,
            },
            "energy": self.energy.as_json(),
        }


def probe_flash(flash: Flash, load: FlashLoad, *, place: str) -> FlashProbe:
    """Ask *load* of *flash*.

    Raises `InputError` naming *place* for a pattern that needs rows, a run larger than the stacks, and writes that are
    not forced.
    """
    accesses = plain_accesses(load.pattern, flash.page_bytes, load.stacks * flash.capacity_bytes)
    total = sum(access.bytes for access in accesses)
    writing = Fraction(sum(access.bytes for access in accesses if access.write), total)
    accesses = on_one_channel(
        accesses,
        unit_bytes=flash.page_bytes,
        channels=load.stacks * flash.channels,
        granule_bytes=load.interleave_bytes,
    )
    scaled = tuple(replace(access, bytes=access.bytes * flash.page_bytes) for access in accesses)
    phase = Phase(scaled, load.window_bytes or _BUFFERED, load.latency_ps)
    facts = sustain_flash(flash, phase, ahead=not load.window_bytes, force_writes=load.forced, place=place)
    return FlashProbe(flash, load, facts, writing)


def _size(size: int) -> str:
    return exact_quantity(size, "bytes")


def _decimal(size: int) -> str:
    return format_quantity(size, "bytes")
