"""Equal servers that run in one simulation: the replicas of a system, or the servers of a pool."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from archsim.errors import InputError, Problem, did_you_mean
from archsim.kernel import Kernel
from archsim.serving.connector import Connector
from archsim.serving.costs import Costs
from archsim.serving.policies import POLICIES, Policy
from archsim.serving.requests import Arrivals, Limits, Sequence
from archsim.serving.router import DEALT, ROUTERS, Dispatcher
from archsim.serving.server import Server
from archsim.serving.windows import WindowLog

__all__ = ["Counter", "Progress", "ServerGroup", "run_servers"]

Progress = Callable[[int, int], None]
"""Called now and then with the requests done and the simulated picoseconds."""

_PROGRESS_EVERY = 256


@dataclass(frozen=True, slots=True)
class ServerGroup:
    """Equal servers, and how requests are dealt to them. Raises `InputError` for an unknown router or policy."""

    costs: Costs
    limits: Limits
    count: int = 1
    policy: str = "prefill_first"
    """A key of `POLICIES`."""
    router: str = DEALT
    """A key of `ROUTERS`."""

    def __post_init__(self) -> None:
        for kind, name, known in (("router", self.router, list(ROUTERS)), ("policy", self.policy, list(POLICIES))):
            if name not in known:
                raise InputError(Problem(kind, "", name, f"one of {', '.join(known)}{did_you_mean(name, known)}"))

    @property
    def rule(self) -> Policy:
        """The policy itself."""
        return POLICIES[self.policy]

    def server(
        self,
        arrivals: Arrivals,
        done: Callable[[Sequence, int], None],
        *,
        log: WindowLog | None = None,
        connector: Connector | None = None,
    ) -> Server:
        """Return a server of the group that takes *arrivals* and tells *done* who is completed or rejected."""
        return Server(
            arrivals, self.costs, limits=self.limits, policy=self.rule, done=done, log=log, connector=connector
        )


class Counter:
    """Counts the requests that are done, and reports now and then."""

    def __init__(self, progress: Progress | None, *, every: int = _PROGRESS_EVERY) -> None:
        self._progress, self._every = progress, every
        self.done = 0

    def count(self, _sequence: Sequence, now_ps: int) -> None:
        """Count a request that is done at *now_ps*."""
        self.done += 1
        if self._progress is not None and self.done % self._every == 0:
            self._progress(self.done, now_ps)


def run_servers(kernel: Kernel, servers: Iterable[Server], dispatchers: Iterable[Dispatcher] = ()) -> None:
    """Let *servers* serve, and *dispatchers* route, until nothing waits, runs or arrives."""
    for dispatcher in dispatchers:
        kernel.process(dispatcher.serve(kernel))
    processes = [kernel.process(server.serve(kernel)) for server in servers]
    kernel.run_until(kernel.all_of(processes), waiting_for="the last completion")
