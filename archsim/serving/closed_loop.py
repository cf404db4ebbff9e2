"""A closed loop: a fixed number of users, each of whom sends its next request when the one before is done.

What a benchmark at a stated concurrency does. A loop offers the server the same two things as a trace, `next_ps` and
`take`, and is told of completions. Users who start together with equal requests stay in step: every wave's prompts are
processed one after the other, then all decode. Users who start apart stay apart: the first request of user i of n asks
for (i + 1) / n of the output. Those first requests are the warm-up; `steady` leaves them out, and the last ones, which
run beside fewer and fewer others.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from archsim.errors import InputError, Problem
from archsim.kernel import Kernel
from archsim.serving.costs import Costs
from archsim.serving.policies import POLICIES
from archsim.serving.record import Record
from archsim.serving.replay import Server
from archsim.serving.requests import Arrival, Limits, Sequence

__all__ = ["ClosedLoop", "replay_closed_loop", "steady"]


@dataclass(frozen=True, slots=True)
class ClosedLoop:
    """Users and what each asks for."""

    users: int
    prompt_tokens: int
    output_tokens: int
    rounds: int
    """Requests of each user after its first."""
    together: bool = False
    """All users start with whole requests, in step."""

    def __post_init__(self) -> None:
        wrong = {
            "users": self.users, "prompt_tokens": self.prompt_tokens, "output_tokens": self.output_tokens,
            "rounds": self.rounds,
        }  # fmt: skip
        problems = [Problem("closed loop", key, str(value), "at least 1") for key, value in wrong.items() if value < 1]
        if problems:
            raise InputError(*problems)

    def first_output(self, user: int) -> int:
        """Return the output tokens of the first request of *user*."""
        return self.output_tokens if self.together else max(-(-self.output_tokens * (user + 1) // self.users), 1)


class _Users:
    """Arrivals of a loop: the next requests of those whose last one is done."""

    def __init__(self, loop: ClosedLoop) -> None:
        self._loop = loop
        self._ready = deque(Arrival(0, loop.prompt_tokens, loop.first_output(user)) for user in range(loop.users))
        self._left = loop.users * loop.rounds
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


def replay_closed_loop(loop: ClosedLoop, costs: Costs, *, limits: Limits, policy: str = "prefill_first") -> Record:
    """Serve *loop* until every user has sent all its requests. Raises `InputError` where none can ever be served."""
    if limits.context_tokens < loop.prompt_tokens + loop.output_tokens:
        expected = f"prompt and output of at most {limits.context_tokens} tokens"
        raise InputError(Problem("closed loop", "tokens", str(loop.prompt_tokens + loop.output_tokens), expected))
    kernel, users = Kernel(), _Users(loop)
    server = Server(users, costs, limits=limits, policy=POLICIES[policy], done=users.done)
    kernel.run_until(kernel.process(server.serve(kernel)), waiting_for="the last completion")
    return server.record(kernel.event_count)


def steady(record: Record, loop: ClosedLoop) -> npt.NDArray[np.bool_]:
    """Return which requests of *record* ran while all users were busy: not the first, not the last of any user.

    Where users start together every wave is like the others, and all count.
    """
    index = np.arange(len(record.requests.arrival_ps))
    if loop.together:
        return np.ones(len(index), dtype=bool)
    last = len(index) - loop.users if loop.rounds > 1 else len(index)
    return (index >= loop.users) & (index < max(last, loop.users + 1))
