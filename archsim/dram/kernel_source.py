"""The source of requests, as every controller sees it: a window in flight, and when each request is done.

*times* holds in its first row when each request is done, in its second when the k-th to be done is back at its source:
`return_ticks` later. With a window a request may be offered once fewer than `window` are in flight.
"""

# mypy: disable-error-code="no-any-return"

from __future__ import annotations

from typing import Any

from archsim.dram.jit import Table, kernel

__all__ = ["finish", "windowed"]


@kernel
def finish(s: Any, request: int, at: int, times: Table) -> None:
    """Note that *request* is done at tick *at* and, in a closed loop, when it is back at its source."""
    times[0, request] = at
    if s.window > 0:
        times[1, s.completed] = at + s.return_ticks
    s.completed += 1


@kernel
def windowed(s: Any, times: Table) -> bool:
    """Return whether the window keeps the next request from being offered."""
    waits = s.offered - s.window
    return s.window > 0 and waits >= 0 and (waits >= s.completed or times[1, waits] > s.now)
