"""Replay closed loops (`workload.closed_loop`): a server's next requests come from its own completions.

A loop offers the server the same two things as a trace, `next_ps` and `take`, and is told of completions. Where there
are several replicas, users are dealt to them in turn and stay: each replica serves a loop of its own. The first request
of every user is the warm-up; `steady` leaves it out, and the last ones, which run beside fewer and fewer others.
"""

from __future__ import annotations

from collections import deque

import numpy as np
import numpy.typing as npt

from archsim.errors import InputError, Problem
from archsim.result import RequestColumns
from archsim.serving.fleet import Fleet, replay_sources
from archsim.serving.requests import Arrival, Sequence
from archsim.serving.servers import Progress, ServerGroup
from archsim.serving.windows import WindowLog
from archsim.workload.closed_loop import ClosedLoop

__all__ = ["Users", "replay_closed_loop", "steady"]


class Users:
    """Arrivals of a loop, of every *step*-th user from *first*: the next requests of those whose last one is done."""

    def __init__(self, loop: ClosedLoop, *, first: int = 0, step: int = 1) -> None:
        self._loop = loop
        mine = range(first, loop.users, step)
        self._ready = deque(Arrival(0, loop.prompt_tokens, loop.first_output(user)) for user in mine)
        self._left = len(mine) * loop.rounds
        self._taken = 0

    @property
    def next_ps(self) -> int | None:
        """When the next request arrives; None while all users wait for the server, and after the last."""
        return self._ready[0].arrival_ps if self._ready else None

    def take(self) -> Sequence:
        """Return the next request."""
        sequence = Sequence(self._taken, self._ready.popleft())
        self._taken += 1
        return sequence

    def done(self, _sequence: Sequence, now_ps: int) -> None:
        """Let the user whose request is done send its next."""
        if self._left:
            self._left -= 1
            self._ready.append(Arrival(now_ps, self._loop.prompt_tokens, self._loop.output_tokens))


def replay_closed_loop(
    loop: ClosedLoop, group: ServerGroup, *, progress: Progress | None = None, log: WindowLog | None = None
) -> Fleet:
    """Serve *loop* on *group* until every user has sent all its requests; *log* is that of a server alone.

    Raises `InputError` where no request can ever be served, or a server would have no user.
    """
    limits, tokens = group.limits, loop.prompt_tokens + loop.output_tokens
    most = min(limits.context_tokens, limits.kv_blocks * limits.block_tokens)
    if tokens > most:
        raise InputError(Problem("closed loop", "tokens", str(tokens), f"prompt and output of at most {most} tokens"))
    if loop.users < group.count:
        expected = f"at least one for each of {group.count} replicas"
        raise InputError(Problem("closed loop", "users", str(loop.users), expected))
    sources = [Users(loop, first=replica, step=group.count) for replica in range(group.count)]
    return replay_sources(sources, group, progress=progress, log=log)


def steady(requests: RequestColumns, loop: ClosedLoop) -> npt.NDArray[np.bool_]:
    """Return which *requests* ran while all users were busy: not the first, not the last of any user.

    Where users start together every wave is like the others, and all count.
    """
    index = np.arange(len(requests.arrival_ps))
    if loop.together:
        return np.ones(len(index), dtype=bool)
    last = len(index) - loop.users if loop.rounds > 1 else len(index)
    return (index >= loop.users) & (index < last)
