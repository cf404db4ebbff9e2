"""Pools that hand over, for users who wait for their answers before they ask again: requests follow completions.

The servers are those of `archsim.serving.pools`; who acts when is decided here, one server after the other in order of
instants and ranks. A server that runs an iteration, or a jump over several, acts at its end; one that is idle acts when
it knows that something is due, and whenever another has done something. Decoding jumps no further than to the next
instant at which any other server acts: before it nobody can send a cache.
"""

from __future__ import annotations

from collections.abc import Sequence
from heapq import heappop, heappush

from archsim.serving.costs import check_clock, fine_from_ps, ps_from_fine
from archsim.serving.fleet import Source
from archsim.serving.handover import Receiver, Sender, TransferLaw
from archsim.serving.pools import Completions, PoolRecords, Wiring, records_of
from archsim.serving.requests import Sequence as Served
from archsim.serving.router import ROUTERS, Dispatcher, ReplicaQueue
from archsim.serving.server import Server
from archsim.serving.servers import Progress, ServerGroup

__all__ = ["replay_handover_loop"]


class _Turns:
    """The clock, and who acts when."""

    def __init__(self) -> None:
        self.now_ps = 0
        self.events = 0
        self.servers: Sequence[Server] = ()
        self._due_ps: list[int | None] = []
        """When each server acts next; None: not before another has done something."""
        self._busy: dict[int, list[Served]] = {}
        """Servers in an iteration -> who joins at its end."""
        self._heap: list[tuple[int, int]] = []

    def run(self, wiring: Wiring) -> None:
        """Let the servers of *wiring* serve until nothing is due."""
        self.servers = wiring.servers
        self._due_ps = [None] * len(self.servers)
        for place in range(len(self.servers)):
            self._wake(place, 0)
        while self._heap:
            now_ps, place = heappop(self._heap)
            if self._due_ps[place] != now_ps:
                continue
            check_clock(now_ps)
            self.now_ps, self.events = now_ps, self.events + 1
            self._act(place, wiring)

    def others_ps(self, receiver: Receiver) -> int | None:
        """Return when a server other than that of *receiver* acts next."""
        mine = receiver.rank - 1
        return min((at for place, at in enumerate(self._due_ps) if place != mine and at is not None), default=None)

    def _act(self, place: int, wiring: Wiring) -> None:
        server, now_ps, sent = self.servers[place], self.now_ps, wiring.sums.count
        ended = place in self._busy
        if ended:
            server.finish(self._busy.pop(place), now_ps)
        elif ps_from_fine(server.now_fine) < now_ps:
            server.idle_until(fine_from_ps(now_ps))
        start_fine = server.now_fine
        joining = server.begin(now_ps)
        if joining is None:
            self._rest(place, wiring.connectors[place])
        else:
            self._busy[place] = joining
            server.watch(start_fine, len(joining))
            self._wake(place, ps_from_fine(server.now_fine))
        if ended or wiring.sums.count > sent:
            for other, due_ps in enumerate(self._due_ps):
                if other != place and other not in self._busy and due_ps != now_ps:
                    self._wake(other, now_ps)

    def _rest(self, place: int, connector: Sender | Receiver) -> None:
        """Let an idle server act when it knows of something."""
        known = (connector.timer_ps, self.servers[place].due_ps)
        self._due_ps[place] = None
        if (at_ps := min((at for at in known if at is not None), default=None)) is not None:
            self._wake(place, max(at_ps, self.now_ps + 1))

    def _wake(self, place: int, at_ps: int) -> None:
        self._due_ps[place] = at_ps
        heappush(self._heap, (at_ps, place))


class _LoopReceiver(Receiver):
    """A receiver that hears of requests when others act."""

    turns: _Turns

    def next_ps(self, now_ps: int, *, waiting: bool) -> int | None:  # noqa: ARG002 - as a sender's
        """Return when a cache lands, or when another server acts."""
        known = [at for at in (self.timer_ps, self.turns.others_ps(self)) if at is not None]
        return max(min(known), now_ps + 1) if known else None


def replay_handover_loop(
    source: Source, *, prefill: ServerGroup, decode: ServerGroup, law: TransferLaw, progress: Progress | None = None
) -> PoolRecords:
    """Serve *source* until nobody asks: prompts by *prefill*, further tokens by *decode*."""
    turns, completions = _Turns(), Completions(progress, told=source.done)
    dispatcher = Dispatcher((), ROUTERS[prefill.router], replicas=prefill.count, sessions=())
    dispatcher.stream = source
    queues = [ReplicaQueue(dispatcher, place, turns) for place in range(prefill.count)]
    wiring = Wiring(prefill, decode, law, dispatcher=dispatcher, queues=queues, completions=completions,
                    receiver=_LoopReceiver)  # fmt: skip
    for receiver in wiring.receivers:
        if isinstance(receiver, _LoopReceiver):
            receiver.turns = turns
    turns.run(wiring)
    return records_of(wiring, completions, turns.events)
