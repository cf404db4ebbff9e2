"""SimPy's environment in integer picoseconds, and the log of facts that a simulation leaves.

Simulated time is a Python integer of picoseconds, so that repetition is exact and no clock drifts. Events at one
instant fire in the order they were scheduled. `Kernel` adds what SimPy leaves to its user: the check that a delay is
a whole number of picoseconds, a count of events for provenance, and a plain error when work is left but no event is.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import simpy
from simpy.events import NORMAL, EventPriority

from archsim.errors import SimulationError

ROOT = 0
"""Index of the job that every walk back ends at: nothing, at time zero."""

__all__ = ["ROOT", "JobLog", "Kernel", "Process"]

Process = Generator[simpy.Event, Any, Any]
"""What a SimPy process function returns."""


class _InTurn(simpy.Event):
    """An event that has happened once its time has come, in its turn."""

    def __init__(self, env: simpy.Environment, picoseconds: int, rank: int) -> None:
        super().__init__(env)
        self._ok, self._value = True, None
        env.schedule(self, EventPriority(NORMAL + rank), picoseconds)


class Kernel(simpy.Environment):
    """A SimPy environment whose clock counts whole picoseconds from zero."""

    event_count: int
    """Events processed so far: part of a result's provenance, and the measure of a simulation's cost."""

    def __init__(self) -> None:
        super().__init__(initial_time=0)
        self.event_count = 0

    @property
    def now_ps(self) -> int:
        """The clock, in whole picoseconds."""
        now: int = self._now  # type: ignore[assignment]  # delays are whole, so the clock is
        return now

    def step(self) -> None:
        """Process the next event and count it."""
        self.event_count += 1
        simpy.Environment.step(self)

    def wait_ps(self, picoseconds: int) -> simpy.Timeout:
        """Return an event *picoseconds* from now. A fraction of a picosecond is a programming error."""
        if not isinstance(picoseconds, int) or picoseconds < 0:
            raise TypeError(f"a delay is a non-negative integer of picoseconds, not {picoseconds!r}")
        return self.timeout(picoseconds)

    def wait_in_turn_ps(self, picoseconds: int, rank: int) -> simpy.Event:
        """Return an event *picoseconds* from now that fires after those of the same instant with a lower *rank*.

        Those of `wait_ps` have rank 0.
        """
        return _InTurn(self, picoseconds, rank)

    def pass_ps(self, picoseconds: int) -> simpy.Timeout | None:
        """Let time pass, and return the event to wait for; None where it has passed: nothing else was to happen.

        It counts as an event either way. Only for simulations in which no event has two processes that wait for it:
        the second would find the clock moved by the first.
        """
        if self._queue:
            return self.wait_ps(picoseconds)
        self._now += picoseconds
        self.event_count += 1
        return None

    def run_until(self, event: simpy.Event, *, waiting_for: str) -> Any:
        """Run until *event* and return its value; *waiting_for* names it if the simulation runs dry before."""
        try:
            return self.run(until=event)
        except RuntimeError as error:
            if event.triggered or "No scheduled events left" not in str(error):
                raise
            raise SimulationError(f"deadlock: no event is left and {waiting_for} has not happened") from None


class JobLog:
    """Columns of jobs: everything that takes time, with the job that made it startable last.

    Row *i* ran from `start[i]` to `end[i]` (ps) as a job of class `kind[i]` on rank `rank[i]` (-1: all ranks
    together) for lap `lap[i]` of the plan. `predecessor[i]` is its binding predecessor: the job whose end made it
    startable last, so `end[predecessor[i]] == start[i]` always; that makes a walk back along predecessors a partition
    of the past.
    """

    def __init__(self) -> None:
        self.start: list[int] = [0]
        self.end: list[int] = [0]
        self.kind: list[str] = ["root"]
        self.rank: list[int] = [-1]
        self.lap: list[int] = [0]
        self.predecessor: list[int] = [ROOT]
        self.arrivals: dict[int, tuple[int, ...]] = {}
        """Collective job -> for each rank the job that ended when it arrived there."""

    def add(self, kind: str, *, rank: int, lap: int, start: int, end: int, predecessor: int) -> int:
        """Append a job and return its index. Raises `SimulationError` if *predecessor* did not end at *start*."""
        if self.end[predecessor] != start or end < start:
            raise SimulationError(
                f"{kind} job from {start} to {end} ps cannot follow a job that ended at {self.end[predecessor]} ps"
            )
        job = len(self.end)
        self.start.append(start)
        self.end.append(end)
        self.kind.append(kind)
        self.rank.append(rank)
        self.lap.append(lap)
        self.predecessor.append(predecessor)
        return job

    def latest(self, first: int, second: int) -> int:
        """Return the one of two jobs that ended later; at one instant, the one logged later."""
        first_end, second_end = self.end[first], self.end[second]
        if first_end == second_end:
            return max(first, second)
        return first if first_end > second_end else second
