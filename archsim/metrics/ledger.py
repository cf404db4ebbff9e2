"""The bandwidth ledger: whose fault a gap is.

Pure functions over the columns of a job log; no simulation is touched. A gap on a pipe is walked back along binding
predecessors from the job that ended it, and every instant goes to the class of the job then running. That is a
partition by construction, because a job starts exactly when its binding predecessor ends. Service is booked from the
amounts served, gaps from the walk, idle from the replay's clock; no account is a remainder, so that the balance is a
check and not a definition.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Protocol

from archsim.errors import SimulationError

__all__ = ["Books", "JobColumns", "Stretch", "check_balance", "gaps_of", "walk"]

Books = dict[str, dict[str, float]]
"""Scope -> account -> amount (bytes or FLOPs) out of peak x time."""

Stretch = tuple[str, int, int]
"""(account, start, end) in picoseconds."""

TOLERANCE = 1e-9

CLASS_ACCOUNT = {
    "memory": "memory",
    "compute": "compute",
    "flow": "network",
    "launch": "host",
    "host": "host",
    "issue": "host",
    "stage": "bubble",
    "ramp": "latency",
    "switch": "latency",
    "latency": "latency",
}
"""Class of the job that ran -> account of a gap that waited for it."""


class JobColumns(Protocol):
    """The columns of `kernel.JobLog` that the walk reads."""

    start: list[int]
    end: list[int]
    kind: list[str]
    rank: list[int]
    predecessor: list[int]
    arrivals: dict[int, tuple[int, ...]]


def walk(jobs: JobColumns, first: int, *, until: int, rank: int) -> list[Stretch]:
    """Return whose fault the time between *until* and the start of job *first* is, latest stretch first.

    *rank* is that of the waiting pipe, -1 for a link. At a collective the walk leaves for the rank's own arrival there,
    and the time since then, in which it waited for a slower rank, is a `bubble`; a link's walk follows the rank that
    arrived last.
    """
    starts, ends, kinds, predecessors, arrivals = jobs.start, jobs.end, jobs.kind, jobs.predecessor, jobs.arrivals
    stretches: list[Stretch] = []
    at, job = starts[first], first
    while at > until:
        cause = arrivals[job][rank] if rank >= 0 and job in arrivals else predecessors[job]
        ended = ends[cause]
        if ended < at and job in arrivals:
            ended = max(ended, until)
            stretches.append(("bubble", ended, at))
        elif ended != at:
            raise SimulationError(f"job {job} started at {at} ps, but its cause ended at {ended} ps")
        began = max(starts[cause], until)
        if began < ended:
            stretches.append((CLASS_ACCOUNT[kinds[cause]], began, ended))
        at, job = began, cause
    return stretches


def gaps_of(jobs: JobColumns, busy: Sequence[int], *, last: int, close: int, rank: int) -> list[Stretch]:
    """Return whose fault every picosecond is in which a pipe stood still, as stretches that do not overlap.

    *busy* are the pipe's jobs in order of time. The books close at *close*; the gap after the last busy job is walked
    from *last*, the rank's last job of all, and what lies between that and the close is a `bubble`.
    """
    starts, ends, predecessors = jobs.start, jobs.end, jobs.predecessor
    stretches: list[Stretch] = []
    free = 0
    for job in busy:
        start = starts[job]
        if start > free:
            cause = predecessors[job]
            if starts[cause] <= free and job not in jobs.arrivals:
                # One job fills the gap: the whole walk, as in most of them.
                stretches.append((CLASS_ACCOUNT[jobs.kind[cause]], free, start))
            else:
                stretches += walk(jobs, job, until=free, rank=rank)
        free = ends[job]
    ended = jobs.end[last]
    if close > ended:
        stretches.append(("bubble", ended, close))
    if ended > free:
        stretches.append((CLASS_ACCOUNT[jobs.kind[last]], max(starts[last], free), ended))
        stretches += walk(jobs, last, until=free, rank=rank)
    return stretches


def check_balance(scope: str, accounts: Mapping[str, float], *, booked: float) -> None:
    """Raise `SimulationError` unless *accounts* add up to *booked* (peak x time) within 1e-9 and none is negative."""
    total = math.fsum(accounts.values())
    slack = TOLERANCE * max(booked, 1.0)
    if abs(total - booked) > slack:
        raise SimulationError(f"ledger of {scope} does not balance: {total!r} booked of {booked!r}")
    for account, amount in accounts.items():
        if amount < -slack:
            raise SimulationError(f"ledger of {scope}: account {account} is negative ({amount!r})")
