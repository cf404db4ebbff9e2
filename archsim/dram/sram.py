"""On-chip SRAM: banks that serve one word a clock each, behind ports.

In a clock every port asks for one word. Words of one run lie in consecutive banks and never conflict; runs begin at
banks drawn uniformly and independently. A run of w words covers a given bank with probability w / banks, so the banks
busy in a clock are expected to be `banks x (1 - prod(1 - w_i / banks))` over the runs of that clock: with single words,
`banks x (1 - (1 - 1/banks)^ports)`. Ports that meet a busy bank ask again in the next clock as if newly drawn
(Strecker's model of interleaved memories, 1970), which is kind: for many ports and as many banks it serves
1 - 1/e = .632 of the ports, where ports that insist on their bank get 2 - sqrt(2) = .586 (Karol, Hluchyj and Morgan
1987, for the same queue in a switch).

Not here: caches (residency and tags stand in the hardware room), refresh (SRAM has none), a network between the ports.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from math import lcm

from archsim.dram.facts import CAUSES, Access, ChannelFacts, Phase
from archsim.errors import InputError, Problem
from archsim.units import PS_PER_S

__all__ = ["Sram", "SramFacts", "expected_busy_banks", "sustain_sram"]


@dataclass(frozen=True, slots=True)
class Sram:
    """One SRAM. Raises `InputError` with every number that is not positive."""

    name: str
    banks: int
    """Single-ported arrays."""
    ports: int
    """Words that can be asked for in one clock."""
    word_bytes: int
    clock_hz: int
    access_ps: int
    """From a request to its word, without conflict."""

    def __post_init__(self) -> None:
        keys = ("banks", "ports", "word_bytes", "clock_hz", "access_ps")
        problems = [
            Problem(self.name, key, str(getattr(self, key)), "a positive whole number")
            for key in keys
            if getattr(self, key) <= 0
        ]
        if problems:
            raise InputError(*problems)

    @property
    def words_per_clock(self) -> int:
        """Words of a clock without conflicts: one per port, and one per bank."""
        return min(self.ports, self.banks)

    @property
    def peak_bytes_per_s(self) -> int:
        """Streaming rate."""
        return self.words_per_clock * self.word_bytes * self.clock_hz


@dataclass(frozen=True, slots=True)
class SramFacts:
    """What an SRAM sustains in a phase."""

    channel: ChannelFacts
    """`row` waits for busy banks, `latency` for the window; `transfer` counts whole words."""
    moved_per_useful: Fraction
    """Bytes of the words read or written per byte asked for: at least 1."""


def expected_busy_banks(banks: int, *, requests: int, run_words: int) -> Fraction:
    """Return the expected number of distinct banks that *requests* words touch, in runs of *run_words* words.

    The last run is shorter where *run_words* does not divide *requests*. Raises `ValueError` unless all are positive.
    """
    if min(banks, requests, run_words) <= 0:
        raise ValueError(f"banks, requests and run_words must be positive: {banks}, {requests}, {run_words}")
    whole, rest = divmod(requests, run_words)
    missed = (1 - Fraction(min(run_words, banks), banks)) ** whole * (1 - Fraction(min(rest, banks), banks))
    return banks * (1 - missed)


def sustain_sram(sram: Sram, phase: Phase) -> SramFacts:
    """Return what *sram* sustains when *phase* runs on it.

    The accesses take turns in proportion to their bytes; the banks' conflicts stretch each, and the phase as a whole is
    bounded by its window over its latency (Little's law) where that is slower. Raises `ValueError` for a phase without
    bytes or window.
    """
    if not phase.accesses or min(phase.window_bytes, *(access.bytes for access in phase.accesses)) <= 0:
        raise ValueError(f"a phase needs accesses, bytes and a window: {phase}")
    words = [_words(sram, access) for access in phase.accesses]
    transfer = sum(words, Fraction(0)) / sram.words_per_clock
    busy = sum((count / _rate(sram, access) for count, access in zip(words, phase.accesses, strict=True)), Fraction(0))
    useful = sum(access.bytes for access in phase.accesses)
    latency_clocks = Fraction((sram.access_ps + phase.latency_ps) * sram.clock_hz, PS_PER_S)
    by_window = useful * latency_clocks / phase.window_bytes
    parts = {"row": busy - transfer, "latency": max(by_window - busy, Fraction(0))}
    unit = lcm(transfer.denominator, *(part.denominator for part in parts.values()))
    facts = ChannelFacts(
        transfer=int(transfer * unit),
        causes=tuple(int(parts.get(cause, Fraction(0)) * unit) for cause in CAUSES),
        first_access_ps=sram.access_ps + phase.latency_ps,
    )
    return SramFacts(facts, sum(words, Fraction(0)) * sram.word_bytes / useful)


def _run_words(sram: Sram, access: Access) -> int:
    return -(-access.run_bytes // sram.word_bytes)


def _words(sram: Sram, access: Access) -> Fraction:
    """Return the words that *access* moves: its runs begin at words."""
    return Fraction(access.bytes * _run_words(sram, access), access.run_bytes)


def _rate(sram: Sram, access: Access) -> Fraction:
    """Return the words of a clock while only *access* is served."""
    run_words = _run_words(sram, access)
    return expected_busy_banks(sram.banks, requests=sram.ports, run_words=run_words)
