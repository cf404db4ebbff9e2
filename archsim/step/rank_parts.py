"""The live parts of one chip in an iteration: its pipes and engines, its queues of reads, and where it has got to.

What happens to them and when is `iteration`'s.
"""

from __future__ import annotations

import simpy

from archsim.hardware.pipe import Gate, Pipe
from archsim.hardware.system import System
from archsim.kernel import ROOT, JobLog
from archsim.step.chunks import Held
from archsim.step.feeds import Feed, Place

__all__ = ["RankParts"]


class RankParts:
    """One chip; *kernel_laps* are the laps of its kernels in order, *feeds* their reads."""

    def __init__(self, index: int, log: JobLog, system: System, *, feeds: list[Feed], kernel_laps: list[int]) -> None:
        self.index = index
        self.kernel_laps = kernel_laps
        """Lap of each kernel in order."""
        gates = {pipe.gate: Gate() for pipe in system.pipes.values()}
        self.pipes = {name: Pipe(log, "memory", rank=index, gate=gates[p.gate]) for name, p in system.pipes.items()}
        self.matrix = Pipe(log, "compute", rank=index)
        self.vector = Pipe(log, "compute", rank=index)
        self.near = {units.name: Pipe(log, "compute", rank=index) for units in system.near.values()}
        self.feeds = feeds
        self.kernels_started = 0
        self.awaited: simpy.Event | None = None
        """What a kernel waits for whose next chunk has not landed yet."""
        self.parts = 0
        """Parts of the collective at hand that it has arrived at."""
        self.issued = ROOT
        """The host's job that issued the latest task."""
        self.last = ROOT
        """The job whose end lets this rank go on."""
        self._log = log

    @property
    def scopes(self) -> dict[str, Pipe]:
        """Every part of the chip that has a book."""
        return {**self.pipes, "matrix": self.matrix, "vector": self.vector, **self.near}

    def has_issued(self, place: Place) -> bool:
        """Return whether all reads of the chunk at *place* are under way."""
        return all([feed.has_issued(place) for feed in self.feeds])  # noqa: C419 - a list is faster here

    def hold(self, held: Held, now: int, *, lap: int, after: int | None = None) -> int:
        """Serve one access on every pipe that it holds and return the job that ends last.

        *after* is the job that let it begin, by default the rank's last.
        """
        cause = self.last if after is None else after
        first, duration = held[0]
        job = self.pipes[first].reserve(now, duration, enabled_by=cause, lap=lap)
        for name, more in held[1:]:
            if self.pipes[name].gate is self.pipes[first].gate:
                self.pipes[name].jobs.append(job)
            else:
                beside = self.pipes[name].reserve(now, more, enabled_by=cause, lap=lap)
                job = self._log.latest(job, beside)
        return job
