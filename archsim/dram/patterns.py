"""Access patterns as a user writes them: `seq`, `rand`, `chunk:4KiB`, `streams:8`, `mix:2:1`, `kv:16KiB`.

A pattern names requests over the whole memory, in transactions; where it is one channel alone, that channel is the
memory. Sizes carry units. What the patterns of `streams` define is taken from there, draw by draw.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from archsim.dram.streams import Domain, Stream, draws, make_stream
from archsim.errors import InputError, Problem, did_you_mean
from archsim.units import parse_quantity

__all__ = ["PATTERNS", "Pattern", "parse_pattern"]

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
    "kv:PAGE": "paged KV cache: pages read at random, one transaction appended after every 63",
    "conflict": "reads that all open another row of one bank",
}
"""What a pattern may be, with its arguments."""

_KV_APPEND_PERIOD = 64


@dataclass(frozen=True, slots=True)
class Pattern:
    """A pattern with its arguments, ready to make a stream."""

    text: str
    make: Callable[[int, Domain], Stream]


def parse_pattern(text: str, *, place: str = "--pattern") -> Pattern:
    """Return the pattern written as *text*. Raises `InputError` naming *place* for an unknown one or a bad argument."""
    name, *arguments = text.split(":")
    known = {pattern.split(":")[0]: pattern for pattern in PATTERNS}
    if name not in known:
        listed = ", ".join(PATTERNS)
        raise InputError(Problem(place, "pattern", text, f"one of {listed}{did_you_mean(name, known)}"))
    if len(arguments) != known[name].count(":"):
        raise InputError(Problem(place, "pattern", text, known[name]))
    return Pattern(text, _maker(name, arguments, place, text))


def _maker(name: str, arguments: list[str], place: str, text: str) -> Callable[[int, Domain], Stream]:
    if name in ("mix", "randmix"):
        reads, writes = (_count(argument, place, text) for argument in arguments)
        return lambda count, domain: _mix(count, domain, reads, writes, at_random=name == "randmix")
    if name == "kv":
        page = _bytes(arguments[0], place, text)
        return lambda count, domain: _kv(count, domain, page, place)
    plain = {"seq": "seq", "write": "seqw", "rand": "rand", "conflict": "conflict"}
    if name in plain:
        return lambda count, domain: make_stream(plain[name], 0, requests=count, domain=domain, place=place)
    if name == "streams":
        streams = _count(arguments[0], place, text)
        return lambda count, domain: make_stream("streamsr", streams, requests=count, domain=domain, place=place)
    size = _bytes(arguments[0], place, text)
    sized = {"chunk": "chunk", "stride": "stride", "copy": "copyblk"}[name]
    return lambda count, domain: make_stream(sized, size, requests=count, domain=domain, place=place)


def _count(text: str, place: str, pattern: str) -> int:
    if not text.isdecimal() or not 1 <= int(text[:9]) <= 10**6 or len(text) > 7:
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


def _mix(count: int, domain: Domain, reads: int, writes: int, *, at_random: bool) -> Stream:
    """Return *reads* reads and *writes* writes in turn; the writes stand last in a period, as `seqrw` has them."""
    order = np.arange(count)
    index = draws(count) if at_random else order
    write = (order % (reads + writes) >= reads).astype(np.uint8)
    return Stream(index % domain.transactions, write)


def _kv(count: int, domain: Domain, page_bytes: int, place: str) -> Stream:
    """Return page reads at random, and appends in order to the last page of a sequence in the memory's upper half."""
    pages = make_stream("chunk", page_bytes, requests=count, domain=domain, place=place)
    order = np.arange(count)
    append = order % _KV_APPEND_PERIOD == _KV_APPEND_PERIOD - 1
    half = domain.transactions // 2
    index = np.where(append, half + order // _KV_APPEND_PERIOD, pages.index)
    return Stream(index % domain.transactions, append.astype(np.uint8))
