"""One flash channel, page by page: planes that read or program, one bus, and slots of a buffer.

A closed loop of slots. A read takes its plane for tR (first come, first served), then the bus; its slot is free again
when the cores have drained it. A write takes the bus first, then its plane, and its slot until it is programmed. Every
picosecond of the bus between two counts of pages goes to the transfer, to a plane that made the next page wait, or to
the window of slots. Integer picoseconds; ties by sequence number.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count
from typing import NamedTuple

__all__ = ["BusTimes", "Page", "PageChannel", "serve"]

_FEWEST_PAGES = 4096
_FEWEST_ROUNDS = 8


class Page(NamedTuple):
    """One page to move."""

    plane: int
    write: bool
    core_ps: int
    """Picoseconds that the cores take to drain the page from the buffer at the rate their own window allows."""


@dataclass(frozen=True, slots=True)
class PageChannel:
    """The times of one channel."""

    page_ps: int
    """Bus time of a page."""
    read_ps: int
    program_ps: int
    planes: int
    return_ps: int
    """On-chip latency from the buffer to the cores."""


@dataclass(slots=True)
class BusTimes:
    """Picoseconds of the bus, by what they went to."""

    transfer_ps: int = 0
    planes_ps: int = 0
    """The next page waited for its plane behind another page."""
    window_ps: int = 0
    """No page could be asked for early enough: every slot was taken."""


@dataclass(slots=True)
class _State:
    channel: PageChannel
    pages: Iterator[Page]
    plane_free: list[int]
    bus_free: int = 0
    cores_free: int = 0
    transfers: int = 0
    times: BusTimes = field(default_factory=BusTimes)
    events: list[tuple[int, int, Page | None, bool]] = field(default_factory=list)
    """Time, number, the page that is ready (`None`: a slot is free), and whether a plane made it wait."""
    numbers: Iterator[int] = field(default_factory=count)


def serve(channel: PageChannel, pages: Iterator[Page], window: int) -> BusTimes:
    """Serve *pages* (endless) with *window* slots; return the bus times of a whole number of rounds in steady state.

    A round is the pages that repeat when they stripe: one for every slot, or for every plane where slots are more.
    Counting starts after two fillings of the slots. Raises `ValueError` for a window or a channel without room.
    """
    if window < 1 or channel.planes < 1 or channel.page_ps < 1:
        raise ValueError(f"a channel needs slots, planes and a bus: {window}, {channel}")
    state = _State(channel, pages, [0] * channel.planes)
    for _ in range(window):
        _push(state, 0, None, waited=False)
    warm, round_of = 2 * window, min(window, channel.planes)
    last = warm + round_of * max(_FEWEST_ROUNDS, -(-_FEWEST_PAGES // round_of))
    _run_until(state, warm)
    state.times = BusTimes()
    _run_until(state, last)
    return state.times


def _run_until(state: _State, transfers: int) -> None:
    while state.transfers < transfers:
        now, _, page, waited = heapq.heappop(state.events)
        if page is None:
            _issue(state, now, waited=waited)
        else:
            _deliver(state, now, page, waited=waited)


def _push(state: _State, time: int, page: Page | None, *, waited: bool) -> None:
    heapq.heappush(state.events, (time, next(state.numbers), page, waited))


def _issue(state: _State, now: int, *, waited: bool) -> None:
    """Put the next page into a free slot; *waited* says whether the slot was freed late by a plane."""
    page = next(state.pages)
    if page.write:
        end = _transfer(state, now, waited=waited)
        start = max(end, state.plane_free[page.plane])
        state.plane_free[page.plane] = start + state.channel.program_ps
        _push(state, start + state.channel.program_ps, None, waited=start > end)
        return
    start = max(now, state.plane_free[page.plane])
    state.plane_free[page.plane] = start + state.channel.read_ps
    _push(state, start + state.channel.read_ps, page, waited=start > now)


def _deliver(state: _State, now: int, page: Page, *, waited: bool) -> None:
    """Move a page that its plane has read into the buffer, and on to the cores."""
    end = _transfer(state, now, waited=waited)
    state.cores_free = max(end, state.cores_free) + page.core_ps
    _push(state, max(end + state.channel.return_ps, state.cores_free), None, waited=False)


def _transfer(state: _State, now: int, *, waited: bool) -> int:
    """Give the bus to a page; book the time it stood still before."""
    start = max(now, state.bus_free)
    if waited:
        state.times.planes_ps += start - state.bus_free
    else:
        state.times.window_ps += start - state.bus_free
    state.times.transfer_ps += state.channel.page_ps
    state.bus_free = start + state.channel.page_ps
    state.transfers += 1
    return state.bus_free
