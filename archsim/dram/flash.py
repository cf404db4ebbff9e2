"""High Bandwidth Flash: a stack that reads pages, slowly and many at once, and wears out when written.

A page read keeps one plane busy for tR and then crosses its channel's bus into the buffer of the base die. Planes times
dies give the parallelism; only pages in flight hide tR, and the buffer bounds them: bytes in flight = rate x latency
(Little's law; 1.6 TB/s x 20 us = 32 MB). A read shorter than a page still moves the page. `pages` simulates one channel
page by page; nothing here is an efficiency factor. `endurance` says how long it lives.

Not here: error correction, read disturb, wear levelling. What Gen1 parts do inside is not public: page bytes, planes,
channels, program time and write amplification are assumptions, marked so where the stacks stand (`hwconfigs/memories`).

Sources: press on the SanDisk and SK hynix announcement (OCP, February 2026); H3 (IEEE CAL 2026, HyperAccel blog) for
20 us and the 40 MB buffer; secondary notes on Ma & Patterson (IEEE Computer 2026), table 3, for pages and cycles.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction

from archsim.dram.facts import CAUSES, Access, ChannelFacts, Phase
from archsim.dram.pages import Page, PageChannel, serve
from archsim.dram.streams import draws
from archsim.errors import InputError, Problem
from archsim.units import PS_PER_S, picoseconds_for

__all__ = [
    "SECONDS_PER_YEAR",
    "Flash",
    "FlashFacts",
    "bytes_in_flight",
    "refuse_writes",
    "sustain_flash",
    "writable_bytes",
    "years_to_wear_out",
]

SECONDS_PER_YEAR = 31_557_600
"""Of 365.25 days."""
_COUNTS = ("capacity_bytes", "channels", "channel_bytes_per_s", "dies", "planes", "page_bytes", "read_ps", "program_ps",
           "buffer_bytes", "endurance_cycles")  # fmt: skip
_MOST_PLANES = 1 << 20
_MOST_PAGES = 1 << 20
"""Planes behind a channel, and pages in flight of one, beyond which a stack is taken for a mistake."""


@dataclass(frozen=True, slots=True)
class Flash:
    """One stack. Raises `InputError` with every number that cannot be."""

    name: str
    capacity_bytes: int
    channels: int
    """Independent channels of the stack; each drives `dies / channels` dies."""
    channel_bytes_per_s: int
    """Bus rate of one channel."""
    dies: int
    planes: int
    """Arrays of one die that read at the same time."""
    page_bytes: int
    """The smallest read."""
    read_ps: int
    """tR: array to page register."""
    program_ps: int
    """Page register to array."""
    buffer_bytes: int
    """Buffer of the stack that holds the pages in flight."""
    endurance_cycles: int
    """Program and erase cycles of a block."""
    write_amplification: Fraction
    """Bytes programmed per byte written."""

    def __post_init__(self) -> None:
        problems = [
            Problem(self.name, key, str(getattr(self, key)), "a positive whole number")
            for key in _COUNTS
            if getattr(self, key) <= 0
        ]
        if self.write_amplification < 1:
            problems.append(Problem(self.name, "write_amplification", str(self.write_amplification), "at least 1"))
        if not problems and self.dies % self.channels:
            expected = f"a multiple of the {self.channels} channels"
            problems.append(Problem(self.name, "dies", str(self.dies), expected))
        if not problems and self.dies // self.channels * self.planes > _MOST_PLANES:
            expected = f"at most {_MOST_PLANES:,} planes behind a channel"
            problems.append(Problem(self.name, "planes", str(self.planes), expected))
        if not problems and not 1 <= self.pages_in_flight <= _MOST_PAGES:
            expected = f"1 to {_MOST_PAGES} pages of {self.page_bytes} B for each of {self.channels} channels"
            problems.append(Problem(self.name, "buffer_bytes", str(self.buffer_bytes), expected))
        if problems:
            raise InputError(*problems)

    @property
    def peak_bytes_per_s(self) -> int:
        """Rate of all channel buses."""
        return self.channels * self.channel_bytes_per_s

    @property
    def array_bytes_per_s(self) -> Fraction:
        """Rate at which all planes of the stack read pages."""
        return Fraction(self.dies * self.planes * self.page_bytes * PS_PER_S, self.read_ps)

    @property
    def pages_in_flight(self) -> int:
        """Whole pages that the buffer holds for one channel."""
        return self.buffer_bytes // self.channels // self.page_bytes


@dataclass(frozen=True, slots=True)
class FlashFacts:
    """What one channel of a stack sustains in a phase."""

    channel: ChannelFacts
    """`transfer` counts every byte on the bus, overfetch included; `row` waits for planes, `latency` for the buffer."""
    moved_per_useful: Fraction
    """Bytes on the bus per byte asked for: at least 1."""
    pages_in_flight: int

    @property
    def useful(self) -> Fraction:
        """Share of peak that carries bytes asked for."""
        return self.channel.sustained / self.moved_per_useful


def bytes_in_flight(bytes_per_s: int | Fraction, latency_ps: int) -> int:
    """Return the bytes that must be in flight to sustain *bytes_per_s* over *latency_ps* (Little's law), rounded up."""
    return math.ceil(Fraction(bytes_per_s) * latency_ps / PS_PER_S)


def writable_bytes(flash: Flash) -> int:
    """Return the bytes that can be written to *flash* before its blocks are worn out, rounded down."""
    return int(flash.capacity_bytes * flash.endurance_cycles / flash.write_amplification)


def years_to_wear_out(flash: Flash, *, write_bytes_per_s: int | Fraction) -> float | None:
    """Return the years of writing at a mean of *write_bytes_per_s* that wear *flash* out; `None` if it never writes.

    `capacity x cycles / (rate x write amplification)`: wear levelling is taken to be perfect. Raises `ValueError` for
    a negative rate.
    """
    if write_bytes_per_s < 0:
        raise ValueError(f"a write rate cannot be negative: {write_bytes_per_s}")
    if write_bytes_per_s == 0:
        return None
    programmed = write_bytes_per_s * flash.write_amplification
    return float(Fraction(flash.capacity_bytes * flash.endurance_cycles) / programmed / SECONDS_PER_YEAR)


def refuse_writes(flash: Flash, *, what: str, forced: bool, place: str) -> None:
    """Raise `InputError` naming *place*, unless *forced*: *what* is written too often to live in flash."""
    if not forced:
        expected = f"data that is read and seldom written; {flash.name} wears out after {flash.endurance_cycles} cycles"
        raise InputError(Problem(place, flash.name, what, f'{expected} (unless forced: flash.writes = "forced")'))


def sustain_flash(flash: Flash, phase: Phase, *, ahead: bool, force_writes: bool, place: str) -> FlashFacts:
    """Return what one channel of *flash* sustains when *phase* runs on it, its bytes and window being the channel's.

    Reads announced *ahead* (weights, whole context blocks: the addresses are known early) fill the buffer, and the
    cores read from there with the phase's own window and latency; otherwise the phase's window is all that is in
    flight. A run is laid out from a page boundary, or within one page, and its pages stripe over the planes; each run
    begins at a plane of its own, drawn from a fixed generator. Raises `InputError` naming *place* for writes that are
    not forced, and `ValueError` for a phase without bytes or window.
    """
    if not phase.accesses or min(phase.window_bytes, *(access.bytes for access in phase.accesses)) <= 0:
        raise ValueError(f"a phase needs accesses, bytes and a window: {phase}")
    if any(access.write for access in phase.accesses):
        refuse_writes(flash, what="a stream of writes", forced=force_writes, place=place)
    weights = [access.bytes / _useful_of_page(flash, access) for access in phase.accesses]
    useful, pages = sum(access.bytes for access in phase.accesses), sum(weights, Fraction(0))
    window = flash.pages_in_flight
    if not ahead:
        window = min(window, max(1, int(phase.window_bytes * pages / useful)))
    channel = PageChannel(
        page_ps=picoseconds_for(flash.page_bytes, flash.channel_bytes_per_s),
        read_ps=flash.read_ps,
        program_ps=math.ceil(flash.program_ps * flash.write_amplification),
        planes=flash.dies // flash.channels * flash.planes,
        return_ps=phase.latency_ps,
    )
    times = serve(channel, _pages(flash, phase, weights, channel.planes), window)
    parts = {"row": times.planes_ps, "latency": times.window_ps}
    facts = ChannelFacts(
        transfer=times.transfer_ps,
        causes=tuple(parts.get(cause, 0) for cause in CAUSES),
        first_access_ps=flash.read_ps + channel.page_ps + phase.latency_ps,
    )
    return FlashFacts(facts, pages * flash.page_bytes / useful, window)


def _useful_of_page(flash: Flash, access: Access) -> Fraction:
    """Return the bytes asked for per page moved."""
    return Fraction(access.run_bytes, -(-access.run_bytes // flash.page_bytes))


def _pages(flash: Flash, phase: Phase, weights: list[Fraction], planes: int) -> Iterator[Page]:
    """Yield the pages of *phase* without end, its accesses interleaved in proportion to their pages."""
    starts = [int(start) for start in draws(4096) % planes]
    share, drawn = [weight / sum(weights, Fraction(0)) for weight in weights], 0
    credit, left, plane = [Fraction(0)] * len(weights), [0] * len(weights), [0] * len(weights)
    runs = [-(-access.run_bytes // flash.page_bytes) for access in phase.accesses]
    core_ps = [math.ceil(_useful_of_page(flash, a) * phase.latency_ps / phase.window_bytes) for a in phase.accesses]
    while True:
        for i, part in enumerate(share):
            credit[i] += part
        chosen = max(range(len(share)), key=credit.__getitem__)
        credit[chosen] -= 1
        if left[chosen] == 0:
            left[chosen], plane[chosen] = runs[chosen], starts[drawn % len(starts)]
            drawn += 1
        yield Page(plane[chosen], phase.accesses[chosen].write, core_ps[chosen])
        plane[chosen] = (plane[chosen] + 1) % planes
        left[chosen] -= 1
