"""What a channel sustains for a phase of the workload: the question that the floors above ask.

A phase's accesses become one request stream of the channel: every access is read by a few cores at once, each walking a
run of contiguous bytes in granules of the channel interleave, and the accesses take turns in proportion to their bytes.
The stream runs closed loop, with the phase's window in flight and the on-chip round trip on top of the device's own.
The middle 80 % of the requests count.

Answers are kept (see `memo`), so phases are first reduced to canonical ones: shares of bytes in 32nds, runs in powers
of two up to `LONG_RUN_BYTES` of the channel. Assumption M1: eight concurrent runs of an operand per channel, after the
132 to 148 cores of a large GPU that share 64 to 96 channels with several outstanding tiles each.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from fractions import Fraction
from functools import lru_cache
from typing import Any

import numpy as np

from archsim.dram.address import AddressMap, default_map, parse_map
from archsim.dram.build import DeviceOptions, build_device, standard_named
from archsim.dram.channel import ChannelRun, simulate
from archsim.dram.device import CLASSES, Device
from archsim.dram.facts import CAUSES, Access, ChannelFacts, Phase, together_on_channel
from archsim.dram.memo import key_of, recall, remember, shipped
from archsim.dram.profile import Profile
from archsim.dram.standards import Standard
from archsim.dram.streams import Indices, Stream, draws
from archsim.errors import InputError, Problem

__all__ = [
    "CONCURRENT_RUNS",
    "LONG_RUN_BYTES",
    "MemoryChannel",
    "answer_of",
    "canonical_phase",
    "geometry_of",
    "local_run",
    "memory_channel",
    "question_of",
    "run_phase",
    "sustain",
]

CONCURRENT_RUNS = 8
LONG_RUN_BYTES = 64 * 1024
"""Bytes on one channel beyond which a run is as good as endless: dozens of rows."""
_SHARES = 32
_REQUESTS = 32768
"""Several refresh intervals of every standard."""


@dataclass(frozen=True, slots=True)
class MemoryChannel:
    """One channel of a memory, and how the memory's addresses come to it."""

    device: Device
    address_map: AddressMap
    channels: int
    """Channels of the memory: a run spreads over them."""
    interleave_bytes: int
    """Consecutive bytes on one channel before the next channel's turn."""


def memory_channel(
    standard: str,
    *,
    pin_bits_per_s: int,
    channel_bits: int,
    channels: int,
    interleave_bytes: int,
    channel_bytes: int,
    map_text: str = "",
) -> MemoryChannel:
    """Return the channel that a memory of *channels* times *channel_bits* pins simulates.

    A channel wider than the standard's (two pseudochannels, or one 16-bit channel) is several that work in lockstep.
    *map_text* is an address map, else the default one of the `archsim` profile. Raises `InputError` for a standard
    without a timing table or a width that is no whole number of its lanes.
    """
    table = standard_named(standard, place="standard")
    lanes, count, gbit = geometry_of(table, channel_bits=channel_bits, channels=channels, channel_bytes=channel_bytes)
    device = build_device(
        standard,
        DeviceOptions(pin_bits_per_s=pin_bits_per_s, lanes=lanes, channel_gbit=gbit),
        place="standard",
    )
    address_map = parse_map(map_text, device, place="map") if map_text else default_map(device)
    return MemoryChannel(device, address_map, count, interleave_bytes)


def geometry_of(table: Standard, *, channel_bits: int, channels: int, channel_bytes: int) -> tuple[int, int, int]:
    """Return the lanes of a simulated channel, how many such channels there are, and the gigabits of one.

    *channels* of *channel_bits* pins hold *channel_bytes* each. Raises `InputError` for a width that is no whole number
    of lanes of *table*.
    """
    if channel_bits % table.lane_bits:
        expected = f"a multiple of {table.lane_bits}, the data pins of one {table.name} lane"
        raise InputError(Problem("memory", "channel_bits", str(channel_bits), expected))
    width = channel_bits // table.lane_bits
    paired = table.half_clocks or table.lane_bits == 64
    lanes = 2 if paired and width % 2 == 0 else 1
    gbit = max(channel_bytes * 8 * lanes // width // 2**30, 1)
    return lanes, channels * (width // lanes), min(gbit, table.refresh[-1][0])


def sustain(channel: MemoryChannel, profile: Profile, phase: Phase) -> ChannelFacts:
    """Return what *channel* sustains while *phase* lasts, and what ate the rest.

    `phase.window_bytes` is what one of the memory's channels has in flight. Raises `InputError` for a phase without
    accesses or bytes.
    """
    canonical = canonical_phase(channel, phase)
    return _answer(channel, profile, canonical)


@lru_cache(maxsize=4096)
def _answer(channel: MemoryChannel, profile: Profile, phase: Phase) -> ChannelFacts:
    question = question_of(channel, profile, phase)
    key = key_of(question)
    stored = shipped(key) or recall(key, question)
    if stored is None:
        run = run_phase(channel, profile, phase)
        stored = answer_of(run, phase)
        remember(key, question, stored)
    parts = [int(part) for part in stored["parts"]]
    causes = tuple(parts[CLASSES.index(cause)] for cause in CAUSES)
    return ChannelFacts(max(parts[0], 1), causes, int(stored["first_access_ps"]))


def question_of(channel: MemoryChannel, profile: Profile, phase: Phase) -> dict[str, Any]:
    """Return everything that the answer depends on."""
    return {
        "device": _plain(asdict(channel.device)),
        "map": str(channel.address_map),
        "channels": channel.channels,
        "interleave_bytes": channel.interleave_bytes,
        "profile": profile.question(),
        "phase": asdict(phase),
        "requests": _REQUESTS,
        "runs": CONCURRENT_RUNS,
    }


def _plain(value: Any) -> Any:
    if isinstance(value, Fraction):
        return str(value)
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items()}
    return [_plain(inner) for inner in value] if isinstance(value, list | tuple) else value


def answer_of(run: ChannelRun, phase: Phase) -> dict[str, Any]:
    """Return what is kept of a run: the parts of the buses' time and the first access on an idle channel."""
    first_access_ps = int(int(run.done[0]) * run.device.tick_ps) + phase.latency_ps
    return {"parts": list(run.steady_causes), "first_access_ps": first_access_ps}


def canonical_phase(channel: MemoryChannel, phase: Phase) -> Phase:
    """Return the phase in shares of 32nds and runs per channel in powers of two, without what is too small.

    One at least is not: there are at most 34 such runs, to read and to write.
    """
    total = sum(access.bytes for access in phase.accesses)
    if total <= 0 or phase.window_bytes <= 0:
        raise InputError(Problem("phase", "accesses", str(total), "accesses of at least one byte and a window"))
    shares: dict[tuple[int, bool], Fraction] = {}
    for access in phase.accesses:
        kind = _local_power(channel, access.run_bytes), access.write
        shares[kind] = shares.get(kind, Fraction(0)) + Fraction(access.bytes, total)
    parts = {kind: round(share * _SHARES) for kind, share in shares.items()}
    accesses = tuple(Access(part, run, write) for (run, write), part in sorted(parts.items()) if part)
    return replace(phase, accesses=accesses)


def local_run(channel: MemoryChannel, run_bytes: int) -> int:
    """Return the bytes of a run that lie together on one channel: a transaction to `LONG_RUN_BYTES`."""
    local = together_on_channel(run_bytes, channels=channel.channels, granule=channel.interleave_bytes)
    return min(max(local, channel.device.transaction_bytes), LONG_RUN_BYTES)


def _local_power(channel: MemoryChannel, run_bytes: int) -> int:
    """Return `local_run` as a power of two of whole transactions."""
    unit = channel.device.transaction_bytes
    return unit << ((local_run(channel, run_bytes) // unit).bit_length() - 1)


def run_phase(channel: MemoryChannel, profile: Profile, phase: Phase, *, requests: int = _REQUESTS) -> ChannelRun:
    """Simulate *phase*, whose runs are those of one channel, closed loop with its window."""
    device = channel.device
    window = max(phase.window_bytes // device.transaction_bytes, 1)
    stream = phase_stream(channel, phase.accesses, requests)
    return simulate(
        device, channel.address_map, profile, stream, window=window, return_ticks=device.ticks_for(phase.latency_ps)
    )


def phase_stream(channel: MemoryChannel, accesses: tuple[Access, ...], requests: int) -> Stream:
    """Return the requests of all *accesses* together, granule by granule in proportion to their bytes."""
    unit = channel.device.transaction_bytes
    # A granule beyond the sample would leave streams without a turn.
    granule = min(max(channel.interleave_bytes // unit, 1), max(requests // _SHARES, 1))
    turns = _turns(tuple(access.bytes for access in accesses), -(-requests // granule))
    index = np.zeros((turns.size, granule), np.int64)
    write = np.zeros((turns.size, granule), np.uint8)
    for number, access in enumerate(accesses):
        mine = turns == number
        index[mine] = _runs(channel, access, int(mine.sum()) * granule, number).reshape(-1, granule)
        write[mine] = access.write
    return Stream(index.reshape(-1)[:requests], write.reshape(-1)[:requests])


def _turns(shares: tuple[int, ...], count: int) -> Indices:
    """Return whose turn it is, *count* times, so that every prefix is as near to the shares as can be."""
    position = np.arange(1, count + 1)
    total = sum(shares)
    due = np.concatenate(
        [((np.arange(1, count * share // total + 2) * 2 - 1) * total) / (2 * share) for share in shares]
    )
    owner = np.concatenate([np.full(count * share // total + 1, number) for number, share in enumerate(shares)])
    return np.asarray(owner[np.argsort(due, kind="stable")][: position.size], np.int64)


def _runs(channel: MemoryChannel, access: Access, count: int, salt: int) -> Indices:
    """Return *count* transactions of `CONCURRENT_RUNS` walkers, a granule each in turn; ended runs jump."""
    unit = channel.device.transaction_bytes
    domain = 1 << channel.address_map.bits
    length = min(max(access.run_bytes // unit, 1), domain)
    granule = min(max(channel.interleave_bytes // unit, 1), length)
    step = np.arange(count) // granule
    walker, progress = step % CONCURRENT_RUNS, step // CONCURRENT_RUNS * granule + np.arange(count) % granule
    number = progress // length * CONCURRENT_RUNS + walker
    base = draws(int(number.max()) + 1, seed=salt + 1) % (domain // length) * length
    return np.asarray(base[number] + progress % length, np.int64)
