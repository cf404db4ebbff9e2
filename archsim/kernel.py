"""SimPy's environment in integer picoseconds.

Simulated time is a Python integer of picoseconds, so that repetition is exact and no clock drifts. Events at one
instant fire in the order they were scheduled. `Kernel` adds what SimPy leaves to its user: the check that a delay is
a whole number of picoseconds, a count of events for provenance, and a plain error when work is left but no event is.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import simpy

from archsim.errors import SimulationError

__all__ = ["Kernel", "Process"]

Process = Generator[simpy.Event, Any, Any]
"""What a SimPy process function returns."""


class Kernel(simpy.Environment):
    """A SimPy environment whose clock counts whole picoseconds from zero."""

    event_count: int
    """Events processed so far: part of a result's provenance, and the measure of a simulation's cost."""

    def __init__(self) -> None:
        super().__init__(initial_time=0)
        self.event_count = 0

    def step(self) -> None:
        """Process the next event and count it."""
        self.event_count += 1
        super().step()

    def wait_ps(self, picoseconds: int) -> simpy.Timeout:
        """Return an event *picoseconds* from now. A fraction of a picosecond is a programming error."""
        if not isinstance(picoseconds, int) or picoseconds < 0:
            raise TypeError(f"a delay is a non-negative integer of picoseconds, not {picoseconds!r}")
        return self.timeout(picoseconds)

    def run_until(self, event: simpy.Event, *, waiting_for: str) -> Any:
        """Run until *event* and return its value; *waiting_for* names it if the simulation runs dry before."""
        try:
            return self.run(until=event)
        except RuntimeError as error:
            if event.triggered or "No scheduled events left" not in str(error):
                raise
            raise SimulationError(f"deadlock: no event is left and {waiting_for} has not happened") from None
