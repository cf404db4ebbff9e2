"""What a channel sustains for any mixture of accesses, from the few mixtures that are simulated.

Simulated are runs of a power of two up to `LONGEST_SHORT` and endless ones, one kind of read with one kind of write,
with writes a whole number of eighths of the bytes. Between two run lengths the clocks that a byte costs, cause by
cause, are interpolated linearly in runs per byte, since a run costs what it takes to begin; between two eighths, in
bytes; several kinds of reads or writes cost their shares. So the facts are a continuous function of the bytes, which a
table of rounded mixtures would not be. A32: kinds of one direction do not disturb each other.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from archsim.dram.facts import CAUSES, Access, ChannelFacts, Phase
from archsim.dram.profile import Profile
from archsim.dram.sustain import LONG_RUN_BYTES, MemoryChannel, local_run, sustain

__all__ = ["EIGHTHS", "LONGEST_SHORT", "blended", "sustain_mixture"]

EIGHTHS = 8
LONGEST_SHORT = 4096
"""Longest run that is simulated beside the endless one."""
_SHARE_BITS = 20
_UNIT = 10**9
"""Resolution of blended parts: transfer is this many."""

Answer = Callable[[tuple[Access, ...]], ChannelFacts]
"""What a canonical phase sustains."""


def sustain_mixture(channel: MemoryChannel, profile: Profile, phase: Phase) -> ChannelFacts:
    """Return what *channel* sustains while *phase* lasts. Raises `InputError` for a phase without bytes."""
    accesses = tuple(part for access in phase.accesses for part in _on_knots(channel, access))
    return blended(accesses, lambda mixture: sustain(channel, profile, replace(phase, accesses=mixture)))


def _on_knots(channel: MemoryChannel, access: Access) -> tuple[Access, ...]:
    """Return *access* as one or two of simulated run lengths that begin equally many runs in the same bytes."""
    run = local_run(channel, access.run_bytes)
    knots = [LONGEST_SHORT >> n for n in range(LONGEST_SHORT.bit_length())]
    lower = next((knot for knot in knots if knot <= run), knots[-1])
    upper = LONG_RUN_BYTES if lower == LONGEST_SHORT else 2 * lower
    scaled = access.bytes << _SHARE_BITS
    # 1 / run = share / lower + (1 - share) / upper
    short = scaled * lower * (upper - run) // (run * (upper - lower)) if run < upper else 0
    parts = ((short, lower), (scaled - short, upper))
    return tuple(Access(size, _spread(channel, knot), access.write) for size, knot in parts if size)


def _spread(channel: MemoryChannel, local_bytes: int) -> int:
    """Return the run over all channels of which *local_bytes* lie on one."""
    return local_bytes if local_bytes <= channel.interleave_bytes else local_bytes * channel.channels


def blended(accesses: tuple[Access, ...], answer: Answer) -> ChannelFacts:
    """Return the facts of *accesses* from those that *answer* gives for one read and one write in whole eighths."""
    reads, writes = _kinds(accesses, write=False), _kinds(accesses, write=True)
    total_reads, total_writes = sum(reads.values()), sum(writes.values())
    total = total_reads + total_writes
    lower, rest = divmod(total_writes * EIGHTHS, total)
    corners = [(lower, 1 - rest / total)] + ([(lower + 1, rest / total)] if rest else [])
    parts = dict.fromkeys(CAUSES, 0.0)
    first_access_ps = 0
    for eighths, weight in corners:
        for read, read_share in _shares(reads, total_reads):
            for write, write_share in _shares(writes, total_writes):
                facts = answer(_mixture(read, write, eighths))
                share = weight * read_share * write_share
                first_access_ps = max(first_access_ps, facts.first_access_ps)
                for cause, clocks in zip(CAUSES, facts.causes, strict=True):
                    parts[cause] += share * clocks / facts.transfer
    return ChannelFacts(_UNIT, tuple(round(parts[cause] * _UNIT) for cause in CAUSES), first_access_ps)


def _kinds(accesses: tuple[Access, ...], *, write: bool) -> dict[int, int]:
    kinds: dict[int, int] = {}
    for access in accesses:
        if access.write is write:
            kinds[access.run_bytes] = kinds.get(access.run_bytes, 0) + access.bytes
    return dict(sorted(kinds.items()))


def _shares(kinds: dict[int, int], total: int) -> list[tuple[int, float]]:
    return [(run, size / total) for run, size in kinds.items()] or [(0, 1.0)]


def _mixture(read_run: int, write_run: int, eighths: int) -> tuple[Access, ...]:
    both = (
        Access(EIGHTHS - eighths, read_run, write=False),
        Access(eighths, write_run, write=True),
    )
    return tuple(access for access in both if access.bytes and access.run_bytes)
