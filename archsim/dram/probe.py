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
from archsim.dram.device import CLASSES, COMMANDS, Device
from archsim.dram.energy import BitEnergy, energy_of
from archsim.dram.glance import Glance
from archsim.dram.patterns import Pattern
from archsim.dram.profile import Profile
from archsim.dram.standards import STANDARDS
from archsim.dram.streams import Domain, Stream
from archsim.dram.sustain import MemoryChannel
from archsim.errors import InputError, Problem
from archsim.units import PS_PER_S, exact_quantity, format_quantity

__all__ = ["Load", "Probe", "probe"]

_FEWEST = 1000
"""Requests of one channel between whose first and last tenth a steady state can be seen."""


@dataclass(frozen=True, slots=True)
class Load:
    """What is asked of the memory."""

    pattern: Pattern
    requests: int
    """Over all channels together."""
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
    loads: tuple[int, ...]
    """Requests of each channel."""

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
        """Share of the data buses' time by class; sums to 1, and `transfer` is the share of peak.

        One channel: in steady state, as `bytes_per_s`. Several: over the whole run, with `imbalance`.
        """
        lanes = self.channel.device.lanes
        if len(self.runs) == 1 and self.channel.channels == 1:
            return _steady_shares(self.runs[0])
        whole = max(run.ticks for run in self.runs) * lanes * self.channel.channels
        found = {name: Fraction(sum(run.causes[k] for run in self.runs), whole) for k, name in enumerate(CLASSES)}
        return found | {"imbalance": 1 - sum(found.values(), Fraction(0))}

    @property
    def channel_shares(self) -> tuple[Fraction, ...]:
        """Share of the run that each channel's data buses moved data; empty for one channel."""
        if self.channel.channels == 1:
            return ()
        device = self.channel.device
        whole = max(run.ticks for run in self.runs) * device.lanes
        return tuple(Fraction(load * device.burst_ticks, whole) for load in self.loads)

    @property
    def read_latency_ps(self) -> Fraction | None:
        """Mean time of a read from the controller's door to its last data, plus the on-chip round trip."""
        reads = [(run.read_latency_ticks, _reads(run)) for run in self.runs if run.read_latency_ticks is not None]
        if not reads:
            return None
        ticks = sum((mean * count for mean, count in reads), Fraction(0)) / sum(count for _, count in reads)
        return ticks * self.channel.device.tick_ps + self.load.latency_ps

    @property
    def window_share(self) -> Fraction | None:
        """Share of the window that is out on average: rate x latency / window (Little's law); `None` without a window.

        Where it nears 1, more bytes in flight would give more bytes/s, whatever the causes say of single gaps.
        """
        latency = self.read_latency_ps
        if not self.load.window_bytes or latency is None:
            return None
        return self.bytes_per_s / self.channel.channels * latency / PS_PER_S / self.load.window_bytes

    @property
    def commands(self) -> tuple[int, ...]:
        """Commands of all channels, aligned with `COMMANDS`."""
        return tuple(sum(run.commands[k] for run in self.runs) for k in range(len(COMMANDS)))

    @property
    def energy(self) -> BitEnergy:
        """Energy of a bit moved, from the commands that were sent."""
        return energy_of(self.channel.device, self.commands)

    def glance(self) -> Glance:
        """Return the answer in the form that all kinds of memory share."""
        device, channels = self.channel.device, self.channel.channels
        lanes = _plural(device.lanes, "lane")
        turn = f", {_size(self.channel.interleave_bytes)} of each in turn" if channels > 1 else ""
        moved = self.load.requests * device.transaction_bytes
        asked = f"{format_quantity(moved, 'bytes')} over {_plural(channels, 'channel')}{turn}"
        window = f", window {_size(self.load.window_bytes)}" if self.load.window_bytes else ""
        if self.window_share is not None:
            window += f" ({float(self.window_share):.0%} of it in flight)"
        controller = f"{self.profile.text}, queue {self.profile.read_queue}{window}, refresh {self.profile.refresh}"
        return Glance(
            device=f"{device.name}{_pin_rate(device)}",
            made_of=f"{_plural(channels, 'channel')} of {lanes} and {device.banks} banks",
            pattern=self.load.pattern.text,
            peak_bytes_per_s=self.peak_bytes_per_s,
            bytes_per_s=self.bytes_per_s,
            shares=self.shares,
            read_latency_ps=self.read_latency_ps,
            facts=(("asked for", asked), ("controller", controller), ("map", str(self.channel.address_map))),
            channel_shares=self.channel_shares,
            energy=self.energy,
            content=self.as_json(),
        )

    def as_json(self) -> dict[str, Any]:
        """Return the answer in SI units."""
        latency = self.read_latency_ps
        return {
            "kind": "dram",
            "standard": self.channel.device.name,
            "pattern": self.load.pattern.text,
            "profile": self.profile.text,
            "map": str(self.channel.address_map),
            "channels": self.channel.channels,
            "interleave_bytes": self.channel.interleave_bytes,
            "queue": self.profile.read_queue,
            "refresh": self.profile.refresh,
            "window_bytes": self.load.window_bytes,
            "window_share": None if self.window_share is None else float(self.window_share),
            "peak_bytes_per_s": float(self.peak_bytes_per_s),
            "bytes_per_s": float(self.bytes_per_s),
            "share_of_peak": float(self.bytes_per_s / self.peak_bytes_per_s),
            "read_latency_s": None if latency is None else float(latency / PS_PER_S),
            "causes": {name: float(part) for name, part in self.shares.items()},
            "channel_shares": [float(share) for share in self.channel_shares],
            "commands": {name: count for name, count in zip(COMMANDS, self.commands, strict=True) if count},
            "energy": self.energy.as_json(),
        }


def _size(size: int) -> str:
    return exact_quantity(size, "bytes")


def _plural(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"


def _pin_rate(device: Device) -> str:
    standard = STANDARDS.get(device.name)
    if standard is None:
        return ""
    return f" at {format_quantity(standard.bits_per_clock * PS_PER_S / device.clock_ps, 'bits/s')} a pin"


def _reads(run: ChannelRun) -> int:
    return run.commands[COMMANDS.index("RD")] + run.commands[COMMANDS.index("RDA")]


def _steady_shares(run: ChannelRun) -> dict[str, Fraction]:
    """Return the steady state's shares: a lane that was done before counts as `queue`, as over the whole run."""
    parts = dict(zip(CLASSES, run.steady_causes, strict=True))
    moved = max(parts["transfer"], 1)
    whole = max(Fraction(moved) / run.utilisation, Fraction(sum(parts.values())))
    shares = {name: part / whole for name, part in parts.items()}
    return shares | {"queue": shares["queue"] + 1 - sum(shares.values(), Fraction(0))}


def probe(channel: MemoryChannel, profile: Profile, load: Load) -> Probe:
    """Serve *load* on every channel of the memory.

    Raises `InputError` for a pattern larger than the memory or an interleave that is no whole number of transactions.
    """
    device, unit = channel.device, channel.device.transaction_bytes
    if channel.interleave_bytes % unit:
        expected = f"a multiple of {unit} B, one transaction"
        raise InputError(Problem("--interleave", "interleave", f"{channel.interleave_bytes} B", expected))
    if channel.channels > 1 and channel.interleave_bytes > device.capacity_bytes:
        expected = f"at most {device.capacity_bytes} B: the channel ends there"
        raise InputError(Problem("--interleave", "interleave", f"{channel.interleave_bytes} B", expected))
    if load.requests < (_FEWEST if channel.channels == 1 else channel.channels):
        fewest = (_FEWEST if channel.channels == 1 else channel.channels) * unit
        raise InputError(Problem("--bytes", "bytes", f"{load.requests * unit} B", f"at least {fewest} B to judge by"))
    local = 1 << channel.address_map.bits
    domain = Domain(
        local * channel.channels, unit, channel.address_map.lowest_row_bit() + (channel.channels - 1).bit_length()
    )
    stream = load.pattern.make(load.requests, domain)
    parts = _spread(stream, channel)
    window = max(load.window_bytes // unit, min(load.window_bytes, 1))
    runs = [
        simulate(
            device, channel.address_map, profile, part, window=window, return_ticks=device.ticks_for(load.latency_ps)
        )
        for part in parts
        if part.index.size
    ]
    return Probe(channel, profile, load, tuple(runs), tuple(part.index.size for part in parts))


def _spread(stream: Stream, channel: MemoryChannel) -> list[Stream]:
    """Return each channel's requests, in order, as addresses of its own."""
    granule = channel.interleave_bytes // channel.device.transaction_bytes
    if channel.channels == 1:
        return [stream]
    block, within = np.divmod(stream.index, granule)
    row, owner = np.divmod(block, channel.channels)
    local = row * granule + within
    mine = (owner == number for number in range(channel.channels))
    return [Stream(local[part], stream.write[part]) for part in mine]
