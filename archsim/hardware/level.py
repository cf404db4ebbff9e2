"""A memory level: interleaved channels (HBM, LPDDR) or one port (a cache), as seen by a transfer.

A7: an address walks over the channels in granules of `interleave_bytes`, from channel 0 on, so a transfer is as slow as
its busiest channel and the others wait for it. A8: transfers move whole bursts and share none. How fast a channel moves
data is not decided here: the memory floor says it, with causes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from functools import cache

from archsim.dram.facts import CAUSES, Access, ChannelFacts, Phase
from archsim.hardware.answers import answer_of
from archsim.hardware.spec import CacheSpec, ChipSpec, MemorySpec
from archsim.units import PS_PER_S

__all__ = ["UNPACKING", "Level", "levels_of", "memory_level"]

UNPACKING = "decompression"
"""The level that weights pass where they are unpacked."""
_WHOLE = Fraction(1)
_NO_CAUSES = (0,) * len(CAUSES)


@dataclass(frozen=True, slots=True)
class Level:
    """One memory or cache of a chip."""

    name: str
    channels: int
    interleave_bytes: int
    """Bytes on one channel before the address moves to the next; a whole number of bursts."""
    burst_bytes: int
    channel_peak_bytes_per_s: Fraction
    sustain: Callable[[tuple[Access, ...]], ChannelFacts]
    """What one channel sustains when an operator issues these accesses together."""
    holds: tuple[tuple[str, Fraction], ...] = ()
    """The pipes that a transfer holds, each for a share of the transfer's time; empty: its own, of the level's name."""
    sustain_in_part: Callable[[tuple[Access, ...], Fraction], ChannelFacts] | None = None
    """The same where a share of the chip's cores asks for data; None: it does not matter who asks."""
    inside: bool = False
    """What is read stays in the memory: near-memory units take it, not the chip."""
    ahead_bytes: int = 0
    """Buffer through which it is read ahead of the kernels; 0: none."""

    @property
    def pipes(self) -> tuple[tuple[str, Fraction], ...]:
        """The pipes that a transfer holds, with the share of its time."""
        return self.holds or ((self.name, _WHOLE),)

    @property
    def peak_bytes_per_s(self) -> Fraction:
        """All channels."""
        return self.channels * self.channel_peak_bytes_per_s

    @property
    def row_bytes(self) -> int:
        """One granule on every channel."""
        return self.channels * self.interleave_bytes

    def moved_bytes(self, wanted_bytes: int, run_bytes: int) -> int:
        """Return the whole bursts, in bytes, that *wanted_bytes* take in runs of *run_bytes* that each begin at one."""
        runs, rest = divmod(wanted_bytes, run_bytes)
        bursts = runs * -(-run_bytes // self.burst_bytes) + -(-rest // self.burst_bytes)
        return bursts * self.burst_bytes

    def busiest_bytes(self, moved_bytes: int) -> int:
        """Return the bytes of the busiest channel when *moved_bytes* start on a granule's edge."""
        rows, rest = divmod(moved_bytes, self.row_bytes)
        return rows * self.interleave_bytes + min(rest, self.interleave_bytes)

    def duration_ps(self, busiest_bytes: int, facts: ChannelFacts) -> int:
        """Return the picoseconds that the busiest channel is held, rounded up."""
        peak = self.channel_peak_bytes_per_s
        clocks = busiest_bytes * PS_PER_S * facts.total * peak.denominator
        return -(-clocks // (facts.transfer * peak.numerator))


def levels_of(chip: ChipSpec) -> dict[str, Level]:
    """Return the memory levels of *chip* by name: its memories, then its caches."""
    memories = {name: memory_level(name, spec, chip) for name, spec in chip.memory.items()}
    caches = {name: _port_level(name, _clocked(spec, chip)) for name, spec in chip.cache.items()}
    if chip.decompression is not None:
        # H3: what is unpacked passes one engine at its rate, beside the memory that the packed bytes come from.
        caches[UNPACKING] = _port_level(UNPACKING, chip.decompression.bytes_per_s)
    return memories | caches


def memory_level(name: str, spec: MemorySpec, chip: ChipSpec) -> Level:
    """Return *spec* as the chip's cores see it."""
    # A9: what the chip has in flight is spread evenly over the channels.
    window_bytes = max((spec.outstanding_bytes or chip.bytes_in_flight) // spec.channels, spec.device.burst_bytes)
    answer = answer_of(spec, place=f"{chip.name}: memory.{name}")

    @cache
    def sustain(accesses: tuple[Access, ...]) -> ChannelFacts:
        return answer(Phase(accesses, window_bytes=window_bytes, latency_ps=spec.round_trip_ps))

    def sustain_in_part(accesses: tuple[Access, ...], cores: Fraction) -> ChannelFacts:
        window = max(int(window_bytes * cores), 1)
        return answer(Phase(accesses, window_bytes=window, latency_ps=spec.round_trip_ps))

    return Level(
        name=name,
        channels=spec.channels,
        interleave_bytes=spec.interleave_bytes,
        burst_bytes=spec.device.burst_bytes,
        channel_peak_bytes_per_s=spec.channel_peak_bytes_per_s,
        sustain=sustain,
        sustain_in_part=sustain_in_part,
        ahead_bytes=spec.ahead_bytes,
    )


def _clocked(cache: CacheSpec, chip: ChipSpec) -> int:
    return int(cache.served_bytes_per_s * (chip.clock or 1))


def _port_level(name: str, bytes_per_s: int) -> Level:
    # A1: a cache is one port at its peak rate; bank conflicts and partition hops inside it are not modelled.
    facts = ChannelFacts(transfer=1, causes=_NO_CAUSES, first_access_ps=0)
    return Level(name, 1, 1, 1, Fraction(bytes_per_s), lambda _accesses: facts)
