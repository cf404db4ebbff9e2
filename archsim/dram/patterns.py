"""Access patterns as a user writes them: `seq`, `rand`, `chunk:4KiB`, `streams:8`, `mix:2:1`, `kv:16KiB:8`.

A pattern names requests over the whole memory, in transactions; where it is one channel alone, that channel is the
memory. Sizes carry units and are whole transactions. What the patterns of `streams` define is taken from there, draw by
draw. Flash and SRAM, which have no rows, take the same words as shares of bytes in runs (`Pattern.accesses`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from archsim.dram.facts import Access, together_on_channel
from archsim.dram.streams import Domain, Stream, draws, make_stream
from archsim.errors import InputError, Problem, did_you_mean
from archsim.units import parse_quantity

__all__ = ["PATTERNS", "Pattern", "on_one_channel", "parse_pattern", "plain_accesses"]

PATTERNS = {
    "seq": "reads in order",
    "write": "writes in order",
    "rand": "reads at random",
    "chunk:BYTES": "reads of aligned chunks at random places",
    "stride:BYTES": "reads a stride apart",
    "streams:N": "N sequential streams in turn",
    "mix:R:W": "R reads then W writes, in order",
    "randmix:R:W": "the same at random places",
    "copy:BYTES": "blocks read from one half and written to the other",
    "kv:PAGE[:HEADS]": "paged KV cache: HEADS gathers in turn, each of own pages at random; 1 append after 63 reads",
    "gather:PAGE[:HEADS]": "the same without appends",
    "append:BYTES:SEQUENCES": "writes of BYTES to each of SEQUENCES pages in turn: a decode step's new keys and values",
    "conflict": "reads that all open another row of one bank",
}
"""What a pattern may be, with its arguments."""

_KV_APPEND_PERIOD = 64
_LONG_RUN = 1 << 30
_STREAM_BYTES = 4096
"""Distance at which streams begin."""
_KV_PAGE_BYTES = 16 * 1024
"""Distance of the sequences that `append` writes to, at least: each writes to a page of its own."""


@dataclass(frozen=True, slots=True)
class Pattern:
    """A pattern with its arguments, ready to make a stream."""

    text: str
    make: Callable[[int, Domain], Stream]
    accesses: Callable[[int], tuple[Access, ...]] | None
    """From the unit of access of a memory without rows to shares of bytes; `None` where only rows give it a meaning."""


def parse_pattern(text: str, *, place: str = "--pattern") -> Pattern:
    """Return the pattern written as *text*. Raises `InputError` naming *place* for an unknown one or a bad argument."""
    name, *arguments = text.split(":")
    known = {pattern.split(":")[0]: pattern for pattern in PATTERNS}
    if name not in known:
        listed = ", ".join(PATTERNS)
        raise InputError(Problem(place, "pattern", text, f"one of {listed}{did_you_mean(name, known)}"))
    most = known[name].count(":")
    if not most - known[name].count("[") <= len(arguments) <= most:
        raise InputError(Problem(place, "pattern", text, known[name]))
    return _MAKERS[name](text, arguments, place)


def _plain(text: str, _arguments: list[str], place: str) -> Pattern:
    stream = "seqw" if text == "write" else text
    runs = {"seq": (_LONG_RUN, False), "write": (_LONG_RUN, True), "rand": (0, False)}

    def accesses(unit: int) -> tuple[Access, ...]:
        run, write = runs[text]
        return (Access(1, run or unit, write),)

    return Pattern(
        text,
        lambda count, domain: make_stream(stream, 0, requests=count, domain=domain, place=place),
        accesses if text in runs else None,
    )


def _sized(text: str, arguments: list[str], place: str) -> Pattern:
    """`chunk`, `stride`, `copy`: one size."""
    name = text.partition(":")[0]
    size = _bytes(arguments[0], place, text)
    stream = {"chunk": "chunk", "stride": "stride", "copy": "copyblk"}[name]

    def make(count: int, domain: Domain) -> Stream:
        _require_whole(size, domain, place, text)
        return make_stream(stream, size, requests=count, domain=domain, place=place)

    shares = {
        "chunk": (Access(1, size, write=False),),
        "copy": (Access(1, size, write=False), Access(1, size, write=True)),
    }
    return Pattern(text, make, (lambda _unit: shares[name]) if name in shares else None)


def _streams(text: str, arguments: list[str], place: str) -> Pattern:
    streams = _count(arguments[0], place, text)

    def make(count: int, domain: Domain) -> Stream:
        _require_room(streams, _STREAM_BYTES, domain, place, text)
        return make_stream("streamsr", streams, requests=count, domain=domain, place=place)

    return Pattern(
        text,
        make,
        lambda _unit: (Access(1, _LONG_RUN, write=False),),
    )


def _mixed(text: str, arguments: list[str], place: str) -> Pattern:
    reads, writes = (_count(argument, place, text) for argument in arguments)
    at_random = text.startswith("rand")

    def accesses(unit: int) -> tuple[Access, ...]:
        run = unit if at_random else _LONG_RUN
        return Access(reads, run, write=False), Access(writes, run, write=True)

    return Pattern(text, lambda count, domain: _mix(count, domain, reads, writes, at_random=at_random), accesses)


def _paged(text: str, arguments: list[str], place: str) -> Pattern:
    page = _bytes(arguments[0], place, text)
    heads = _count(arguments[1], place, text) if len(arguments) > 1 else 1
    period = _KV_APPEND_PERIOD if text.startswith("kv") else 0

    def make(count: int, domain: Domain) -> Stream:
        _require_whole(page, domain, place, text)
        _require_room(heads, page, domain, place, text)
        gathered = _gather(count, domain, page, heads, place)
        return _with_appends(gathered, domain, period) if period else gathered

    def accesses(unit: int) -> tuple[Access, ...]:
        reads = Access(period - 1 if period else 1, page, write=False)
        return (reads, Access(1, unit, write=True)) if period else (reads,)

    return Pattern(text, make, accesses)


def _appending(text: str, arguments: list[str], place: str) -> Pattern:
    size, sequences = _bytes(arguments[0], place, text), _count(arguments[1], place, text)

    def make(count: int, domain: Domain) -> Stream:
        _require_whole(size, domain, place, text)
        return _append(count, domain, size, sequences, place, text)

    return Pattern(text, make, lambda _unit: (Access(1, size, write=True),))


_MAKERS: dict[str, Callable[[str, list[str], str], Pattern]] = {
    **dict.fromkeys(("seq", "write", "rand", "conflict"), _plain),
    **dict.fromkeys(("chunk", "stride", "copy"), _sized),
    "streams": _streams,
    **dict.fromkeys(("mix", "randmix"), _mixed),
    **dict.fromkeys(("kv", "gather"), _paged),
    "append": _appending,
}


def plain_accesses(pattern: Pattern, unit_bytes: int, capacity_bytes: int) -> tuple[Access, ...]:
    """Return *pattern* as runs for a memory without rows, whose smallest access is *unit_bytes*.

    Raises `InputError` for a pattern that only rows give a meaning, or one with a run larger than the memory.
    """
    if pattern.accesses is None:
        expected = "a pattern that needs no rows: any but stride and conflict"
        raise InputError(Problem("--pattern", "pattern", pattern.text, expected))
    accesses = pattern.accesses(unit_bytes)
    if any(access.run_bytes > capacity_bytes for access in accesses if access.run_bytes != _LONG_RUN):
        most = f"at most {capacity_bytes} B: the memory ends there"
        raise InputError(Problem("--pattern", "pattern", pattern.text, most))
    return accesses


def on_one_channel(
    accesses: tuple[Access, ...], *, unit_bytes: int, channels: int, granule_bytes: int
) -> tuple[Access, ...]:
    """Return *accesses* as one of *channels* sees them that take turns every *granule_bytes*, whole units.

    A run keeps its share of useful bytes in a unit, and loses what lies on other channels.
    """
    granule = max(granule_bytes // unit_bytes, 1)

    def local(run_bytes: int) -> int:
        units = -(-run_bytes // unit_bytes)
        here = together_on_channel(units, channels=channels, granule=granule)
        return max(run_bytes * here // units, 1)

    return tuple(Access(access.bytes, local(access.run_bytes), access.write) for access in accesses)


def _count(text: str, place: str, pattern: str) -> int:
    if not (text.isascii() and text.isdecimal()) or len(text) > 7 or not 1 <= int(text) <= 10**6:
        raise InputError(Problem(place, "pattern", pattern, f"a whole number from 1 to 1,000,000 for {text[:20]!r}"))
    return int(text)


def _bytes(text: str, place: str, pattern: str) -> int:
    try:
        size = parse_quantity(text, "bytes")
    except ValueError as error:
        raise InputError(Problem(place, "pattern", pattern, str(error))) from None
    if size != int(size) or not 0 < size <= 2**50:
        raise InputError(Problem(place, "pattern", pattern, "a whole number of bytes above 0"))
    return int(size)


def _require_whole(size: int, domain: Domain, place: str, pattern: str) -> None:
    unit = domain.transaction_bytes
    if size % unit:
        raise InputError(Problem(place, "pattern", pattern, f"a multiple of {unit} B, one transaction"))
    if size > domain.transactions * unit:
        most = f"at most {domain.transactions * unit} B: the device ends there"
        raise InputError(Problem(place, "pattern", pattern, most))


def _require_room(parties: int, each_bytes: int, domain: Domain, place: str, pattern: str) -> None:
    most = domain.transactions * domain.transaction_bytes // each_bytes
    if parties > most:
        raise InputError(
            Problem(place, "pattern", pattern, f"at most {most} of {each_bytes} B each: the device ends there")
        )


def _mix(count: int, domain: Domain, reads: int, writes: int, *, at_random: bool) -> Stream:
    """Return *reads* reads and *writes* writes in turn; the writes stand last in a period, as `seqrw` has them."""
    order = np.arange(count)
    index = draws(count) if at_random else order
    write = (order % (reads + writes) >= reads).astype(np.uint8)
    return Stream(index % domain.transactions, write)


def _gather(count: int, domain: Domain, page_bytes: int, heads: int, place: str) -> Stream:
    """Return *heads* gathers a transaction each in turn; each walks pages of its own at random places."""
    if heads == 1:
        return make_stream("chunk", page_bytes, requests=count, domain=domain, place=place)
    page = page_bytes // domain.transaction_bytes
    order = np.arange(count)
    head, step = order % heads, order // heads
    base = draws((-(-count // heads) // page + 1) * heads) % (domain.transactions // page) * page
    index = base[step // page * heads + head] + step % page
    return Stream(index % domain.transactions, np.zeros(count, np.uint8))


def _with_appends(gathered: Stream, domain: Domain, period: int) -> Stream:
    """Put a write in the place of every *period*-th read: in order, to the memory's upper half."""
    order = np.arange(gathered.index.size)
    append = order % period == period - 1
    index = np.where(append, domain.transactions // 2 + order // period, gathered.index)
    return Stream(index % domain.transactions, append.astype(np.uint8))


def _append(count: int, domain: Domain, size: int, sequences: int, place: str, pattern: str) -> Stream:
    """Return writes of *size* bytes to each sequence in turn, each to a page of its own that it fills in order."""
    unit = domain.transaction_bytes
    page, run = max(_KV_PAGE_BYTES, size) // unit, size // unit
    _require_room(sequences, page * unit, domain, place, pattern)
    turn, within = np.divmod(np.arange(count), run)
    sequence, token = turn % sequences, turn // sequences
    per_page = page // run
    rounds = int(token.max()) // per_page + 1
    base = draws(rounds * sequences) % (domain.transactions // page) * page
    index = base[token // per_page * sequences + sequence] + token % per_page * run + within
    return Stream(index % domain.transactions, np.ones(count, np.uint8))
