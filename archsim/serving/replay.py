"""The replay of requests on one server: alone in its simulation, from the first arrival to the last completion."""

from __future__ import annotations

from collections.abc import Iterable

from archsim.kernel import Kernel
from archsim.serving.checkpoint import Keeper
from archsim.serving.costs import Costs
from archsim.serving.record import Record
from archsim.serving.requests import Arrival, ArrivalStream, Limits
from archsim.serving.servers import Counter, Progress, ServerGroup
from archsim.serving.windows import WindowLog

__all__ = ["replay"]


def replay(
    arrivals: Iterable[Arrival],
    costs: Costs,
    *,
    limits: Limits,
    policy: str = "prefill_first",
    progress: Progress | None = None,
    log: WindowLog | None = None,
    keeper: Keeper | None = None,
) -> Record:
    """Serve *arrivals*, drawn one at a time and ordered by time, until all are completed or rejected.

    *policy* is a key of `POLICIES`. With *keeper* the replay goes on from a checkpoint, or leaves some: *arrivals* are
    still those of the whole. Raises `InputError` for an unknown policy and at the first arrival that goes back in time
    or has no tokens; whatever *progress* or the server's *log* raises ends the replay.
    """
    group = ServerGroup(costs, limits, policy=policy)
    kernel, counter = Kernel(), Counter(progress)
    stream = ArrivalStream(arrivals, keeper.taken if keeper else 0)
    server = group.server(stream, counter.count, log=log)
    if keeper is not None:
        keeper.restore(server)
        counter.done = server.served
        # The event that starts the process has been counted before.
        kernel.event_count = max(keeper.events - 1, 0)
        server.call_between(lambda: keeper.look(server, stream, kernel.event_count))
    kernel.run_until(kernel.process(server.serve(kernel)), waiting_for="the last completion")
    return server.record(kernel.event_count)
