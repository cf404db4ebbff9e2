"""What happened when, as rows: slices of tracks and points of counters, before anybody draws or writes them.

A track is a part of the machine (`chip0-7.hbm`, `link.chip0-switch0`), the server's iterations or a lane of requests.
Its slices do not overlap. A slice of a part with a peak says in `accounts` what the ledger books for it, in bytes or
FLOPs of one chip, so that the slices of a whole iteration add up to the ledger of that iteration. Pure functions over
rows; no simulation is touched, no file is written.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from archsim.units import PS_PER_S

__all__ = ["Count", "Slice", "Span", "Timeline", "clipped", "joined", "lanes", "rates"]


@dataclass(frozen=True, slots=True)
class Span:
    """Time from `start_ps` to `end_ps` of the simulation."""

    start_ps: int
    end_ps: int


@dataclass(frozen=True, slots=True)
class Slice:
    """Something that took from `start_ps` to `end_ps` on a track."""

    group: str
    """What the track belongs to: `chip0-7`, `network`, `server`, `requests`."""
    track: str
    """Scope name as in the ledger, or what the track shows."""
    name: str
    start_ps: int
    end_ps: int
    accounts: Mapping[str, float] = field(default_factory=dict)
    """Account of the ledger -> bytes or FLOPs booked in the slice, of one chip or link."""
    facts: Mapping[str, int | float | str] = field(default_factory=dict)
    """What else is known: batch, tokens, chips that it stands for."""
    waiting: bool = False
    """The part stood still; the name says what for."""


@dataclass(frozen=True, slots=True)
class Count:
    """The value of a counter from `at_ps` on."""

    name: str
    at_ps: int
    value: float
    unit: str


@dataclass(frozen=True, slots=True)
class Timeline:
    """Rows of a run or of one iteration."""

    slices: tuple[Slice, ...]
    counts: tuple[Count, ...]
    end_ps: int
    left_out: str = ""
    """What it would also show if that were not too much; empty: nothing."""


def joined(slices: Iterable[Slice]) -> Iterator[Slice]:
    """Yield *slices* of one track in order of time, those of one name that touch as one."""
    last: Slice | None = None
    for each in slices:
        if last is not None and last.end_ps == each.start_ps and last.name == each.name:
            amounts = {**last.accounts}
            for account, amount in each.accounts.items():
                amounts[account] = amounts.get(account, 0.0) + amount
            last = replace(last, end_ps=each.end_ps, accounts=amounts)
        else:
            if last is not None:
                yield last
            last = each
    if last is not None:
        yield last


def clipped(timeline: Timeline, window: Span) -> Timeline:
    """Return what of *timeline* lies in *window*; amounts of a slice across its border are cut in proportion of time.

    A counter keeps the last value that it had when the window began.
    """
    slices = []
    for each in timeline.slices:
        start, end = max(each.start_ps, window.start_ps), min(each.end_ps, window.end_ps)
        if start < end or (each.start_ps == each.end_ps and window.start_ps <= start <= window.end_ps):
            share = (end - start) / (each.end_ps - each.start_ps) if each.end_ps > each.start_ps else 1.0
            amounts = {account: share * amount for account, amount in each.accounts.items()}
            slices.append(replace(each, start_ps=start, end_ps=end, accounts=amounts))
    before: dict[str, Count] = {}
    inside: list[Count] = []
    for count in timeline.counts:
        if count.at_ps < window.start_ps:
            before[count.name] = replace(count, at_ps=window.start_ps)
        elif count.at_ps <= window.end_ps:
            inside.append(count)
    return Timeline((*slices,), (*before.values(), *inside), min(timeline.end_ps, window.end_ps))


def rates(slices: Iterable[Slice], span: Span, *, bins: int) -> list[float]:
    """Return for each of *bins* equal parts of *span* the useful bytes or FLOPs per second of *slices*."""
    width = max(1, -(-(span.end_ps - span.start_ps) // bins))
    amounts = [0.0] * bins
    for each in slices:
        useful = math.fsum(amount for account, amount in each.accounts.items() if account.startswith("useful"))
        if not useful or each.end_ps == each.start_ps:
            continue
        per_ps = useful / (each.end_ps - each.start_ps)
        first = max(each.start_ps - span.start_ps, 0) // width
        last = min((each.end_ps - 1 - span.start_ps) // width, bins - 1)
        for place in range(first, last + 1):
            begin = span.start_ps + place * width
            inside = min(each.end_ps, begin + width) - max(each.start_ps, begin)
            amounts[place] += per_ps * max(inside, 0)
    return [amount * PS_PER_S / width for amount in amounts]


def lanes(spans: Sequence[tuple[int, int]]) -> list[int]:
    """Return a lane for each of *spans*, ordered by start: the lowest that is free, so that none holds two at once."""
    free: list[int] = []
    placed: list[int] = []
    for start, end in spans:
        lane = next((number for number, until in enumerate(free) if until <= start), len(free))
        if lane == len(free):
            free.append(end)
        else:
            free[lane] = end
        placed.append(lane)
    return placed
