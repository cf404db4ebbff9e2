"""Replicas that start and stop with the load.

P14: the router decides by what it knows: the requests that are not done, over the replicas that run or start. When one
arrives and there are more than `high` for each, a replica that drains is taken back, or one that is off starts: it
takes requests `start_up` later. When there are fewer than `low` for each, and `cool_down` has passed since the last
change, the last replica drains: it gets no further requests, and is off once it has done those it has. The router looks
at arrivals, completions, and when a `cool_down` ends; each time it changes at most one. The first `least` replicas run
from the start, with their weights loaded; what was off has its prefixes as it left them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from archsim.kernel import Kernel, Process
from archsim.serving.techniques import ScaleRule

__all__ = ["ScaleLog", "Scaler"]


@dataclass(frozen=True, slots=True)
class ScaleLog:
    """What became of the replicas."""

    changes: tuple[tuple[int, int], ...]
    """(when, replicas that run, start or drain from then on), from 0 on."""
    on_ps: tuple[int, ...]
    """Of each replica: time in which it was not off."""
    starts: int
    stops: int


class Scaler:
    """Which replicas get requests."""

    def __init__(self, rule: ScaleRule, replicas: int, kernel: Kernel) -> None:
        self._rule, self._kernel = rule, kernel
        self._since: list[int | None] = [0 if replica < rule.least else None for replica in range(replicas)]
        """When each began to run or start; None: it is off."""
        self._ready: dict[int, int] = dict.fromkeys(range(rule.least), 0)
        """When each that runs or starts takes requests; those that drain are not there."""
        self._unfinished = [0] * replicas
        self._on_ps = [0] * replicas
        self._changes = [(0, rule.least)]
        self._changed_ps = 0
        self._starts = self._stops = 0

    def arrive(self, now_ps: int) -> list[int]:
        """Return the replicas that may get the request that arrives now."""
        self._look(now_ps, arriving=1)
        return [replica for replica, ready_ps in sorted(self._ready.items()) if ready_ps <= now_ps]

    def sent(self, replica: int) -> None:
        """Take note that the request goes to *replica*."""
        self._unfinished[replica] += 1

    def done(self, replica: int) -> None:
        """Take note that one of *replica*'s requests is completed or rejected, now."""
        now_ps = self._kernel.now_ps
        self._unfinished[replica] -= 1
        if replica not in self._ready and not self._unfinished[replica]:
            self._off(replica, now_ps)
        self._look(now_ps)

    def log(self, end_ps: int) -> ScaleLog:
        """Return what became of the replicas until *end_ps*."""
        last = [0 if since is None else max(end_ps - since, 0) for since in self._since]
        return ScaleLog(
            tuple(self._changes),
            tuple(before + more for before, more in zip(self._on_ps, last, strict=True)),
            self._starts,
            self._stops,
        )

    def _look(self, now_ps: int, arriving: int = 0) -> None:
        rule, count = self._rule, len(self._ready)
        load = (sum(self._unfinished) + arriving) * rule.scale
        if arriving and load > rule.high * count and count < rule.most:
            self._start(now_ps)
        elif load < rule.low * count and count > rule.least and now_ps - self._changed_ps >= rule.cool_down_ps:
            replica = max(self._ready)
            del self._ready[replica]
            self._stops += 1
            if not self._unfinished[replica]:
                self._off(replica, now_ps)
            self._note(now_ps)

    def _start(self, now_ps: int) -> None:
        draining = [at for at, since in enumerate(self._since) if since is not None and at not in self._ready]
        if draining:
            self._ready[draining[0]] = now_ps
        else:
            replica = self._since.index(None)
            self._since[replica] = now_ps
            self._ready[replica] = now_ps + self._rule.start_up_ps
        self._starts += 1
        self._note(now_ps)

    def _off(self, replica: int, now_ps: int) -> None:
        since = self._since[replica]
        self._on_ps[replica] += now_ps - (now_ps if since is None else since)
        self._since[replica] = None
        self._count(now_ps)

    def _note(self, now_ps: int) -> None:
        self._changed_ps = now_ps
        self._count(now_ps)
        self._kernel.process(_later(self._kernel, self._rule.cool_down_ps, self._look))

    def _count(self, now_ps: int) -> None:
        self._changes.append((now_ps, sum(since is not None for since in self._since)))


def _later(kernel: Kernel, wait_ps: int, look: Callable[[int], None]) -> Process:
    yield kernel.wait_ps(wait_ps)
    look(kernel.now_ps)
