"""What a channel sustains for any mixture of accesses, from the few mixtures that are simulated.

A phase reads and writes runs of several lengths. Simulated are one kind of read with one kind of write, with writes a
whole number of eighths of the bytes. Between two eighths the clocks that a byte costs, cause by cause, are interpolated
linearly; several kinds of reads or writes cost their shares. So the facts are a continuous function of the bytes, which
a table of rounded mixtures would not be. A32: kinds of one direction do not disturb each other.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from archsim.dram.facts import CAUSES, Access, ChannelFacts, Phase
from archsim.dram.profile import Profile
from archsim.dram.sustain import MemoryChannel, sustain

__all__ = ["EIGHTHS", "blended", "sustain_mixture"]

EIGHTHS = 8
_UNIT = 10**9
"""Resolution of blended parts: transfer is this many."""

Answer = Callable[[tuple[Access, ...]], ChannelFacts]
"""What a canonical phase sustains."""


def sustain_mixture(channel: MemoryChannel, profile: Profile, phase: Phase) -> ChannelFacts:
    """Return what *channel* sustains while *phase* lasts. Raises `InputError` for a phase without bytes."""
    return blended(phase.accesses, lambda mixture: sustain(channel, profile, replace(phase, accesses=mixture)))


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
