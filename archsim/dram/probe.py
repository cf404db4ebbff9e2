"""One question to a memory, answered whole: this pattern, on this memory, under this controller.

The memory is one channel or several. Addresses walk over channels in granules; every channel serves its share on its
own, from a source of its own, so a probe of several channels shows how unevenly a pattern spreads (`imbalance`) but not
what a shared in-order source would add.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np

from archsim.dram.channel import ChannelRun, simulate
from archsim.dram.device import CLASSES, COMMANDS
from archsim.dram.patterns import Pattern
from archsim.dram.profile import Profile
from archsim.dram.streams import Domain, Stream
from archsim.dram.sustain import MemoryChannel
from archsim.errors import InputError, Problem
from archsim.units import PS_PER_S

__all__ = ["Load", "Probe", "probe"]


@dataclass(frozen=True, slots=True)
class Load:
    """What is asked of the memory."""

    pattern: Pattern
    requests: int
    """Requests per channel, on average."""
    window_bytes: int
    """Bytes in flight per channel; 0: as many as the controller's queues take."""
    latency_ps: int
    """On-chip round trip beside the device's own time."""


@dataclass(frozen=True, slots=True)
class Probe:
    """The answer."""

    channel: MemoryChannel
    profile: Profile
    load: Load
    runs: tuple[ChannelRun, ...]
    """One a channel that had anything to do."""

    @property
    def peak_bytes_per_s(self) -> Fraction:
        """All channels."""
        return self.channel.channels * self.channel.device.peak_bytes_per_s

    @property
    def bytes_per_s(self) -> Fraction:
        """Sustained over all channels, in steady state; a channel that ends early waits for the last one."""
        if len(self.runs) == 1 and self.channel.channels == 1:
            return self.runs[0].utilisation * self.channel.device.peak_bytes_per_s
        moved = sum(run.requests for run in self.runs) * self.channel.device.transaction_bytes
        return Fraction(moved * PS_PER_S) / (max(run.ticks for run in self.runs) * self.channel.device.tick_ps)

    @property
    def shares(self) -> dict[str, Fraction]:
        """Share of the data buses' time by class, over all channels and the whole run, with `imbalance`."""
        last = max(run.ticks for run in self.runs)
        lanes = self.channel.device.lanes
        whole = last * lanes * self.channel.channels
        found = {name: Fraction(sum(run.causes[k] for run in self.runs), whole) for k, name in enumerate(CLASSES)}
        return found | {"imbalance": 1 - sum(found.values(), Fraction(0))}

    @property
    def read_latency_ps(self) -> Fraction | None:
        """Mean time of a read from the controller's door to its last data, plus the on-chip round trip."""
        means = [run.read_latency_ticks for run in self.runs if run.read_latency_ticks is not None]
        if not means:
            return None
        return sum(means, Fraction(0)) / len(means) * self.channel.device.tick_ps + self.load.latency_ps

    def as_json(self) -> dict[str, Any]:
        """Return the answer in SI units."""
        latency = self.read_latency_ps
        commands = {name: sum(run.commands[k] for run in self.runs) for k, name in enumerate(COMMANDS)}
        return {
            "standard": self.channel.device.name,
            "pattern": self.load.pattern.text,
            "profile": self.profile.name,
            "map": str(self.channel.address_map),
            "channels": self.channel.channels,
            "interleave_bytes": self.channel.interleave_bytes,
            "queue": self.profile.read_queue,
            "refresh": self.profile.refresh,
            "window_bytes": self.load.window_bytes,
            "peak_bytes_per_s": float(self.peak_bytes_per_s),
            "bytes_per_s": float(self.bytes_per_s),
            "share_of_peak": float(self.bytes_per_s / self.peak_bytes_per_s),
            "read_latency_s": None if latency is None else float(latency / PS_PER_S),
            "causes": {name: float(part) for name, part in self.shares.items()},
            "commands": {name: count for name, count in commands.items() if count},
        }


def probe(channel: MemoryChannel, profile: Profile, load: Load) -> Probe:
    """Serve *load* on every channel of the memory.

    Raises `InputError` for a pattern larger than the memory or an interleave that is no whole number of transactions.
    """
    device, unit = channel.device, channel.device.transaction_bytes
    if channel.interleave_bytes % unit:
        expected = f"a multiple of {unit} B, one transaction"
        raise InputError(Problem("--interleave", "interleave", f"{channel.interleave_bytes} B", expected))
    local = 1 << channel.address_map.bits
    domain = Domain(
        local * channel.channels, unit, channel.address_map.lowest_row_bit() + (channel.channels - 1).bit_length()
    )
    stream = load.pattern.make(load.requests * channel.channels, domain)
    back = -int(-load.latency_ps // device.tick_ps)
    runs = [
        simulate(device, channel.address_map, profile, part, window=load.window_bytes // unit, return_ticks=back)
        for part in _spread(stream, channel)
    ]
    return Probe(channel, profile, load, tuple(runs))


def _spread(stream: Stream, channel: MemoryChannel) -> list[Stream]:
    """Return each channel's requests, in order, as addresses of its own; a channel without any is left out."""
    granule = channel.interleave_bytes // channel.device.transaction_bytes
    if channel.channels == 1:
        return [stream]
    block, within = np.divmod(stream.index, granule)
    row, owner = np.divmod(block, channel.channels)
    local = row * granule + within
    mine = (owner == number for number in range(channel.channels))
    return [Stream(local[part], stream.write[part]) for part in mine if bool(part.any())]
