"""Replay traces with sessions in a closed loop: a request that waits is sent once the one before it is done.

A stream of sessions offers the server the same two things as any arrivals, `next_ps` and `take`, and is told of
completions. It draws the trace in order of earliest arrival and holds only requests whose session is busy.

A43: where there are several replicas, sessions are dealt to them in turn and stay, as do requests without a session:
each replica is a server of its own with the sessions that are its own.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Iterable, Iterator

from archsim.serving.configure import arrivals_of
from archsim.serving.fleet import Fleet, replay_sources
from archsim.serving.requests import Arrival, Sequence
from archsim.serving.servers import Progress, ServerGroup
from archsim.serving.windows import WindowLog
from archsim.workload.request import NONE
from archsim.workload.trace import Trace

__all__ = ["SessionStream", "replay_sessions", "stream_of"]

Sent = tuple[Arrival, int, int]
"""(request at its earliest arrival, session or -1, wait in ps or -1)."""


class SessionStream:
    """Arrivals of *requests*, which come in order of their earliest arrival."""

    def __init__(self, requests: Iterable[Sent]) -> None:
        self._requests = iter(requests)
        self._ahead = next(self._requests, None)
        self._ready: list[tuple[int, int, Arrival, int]] = []
        """Heap of (arrival, order in which it became known, request, session)."""
        self._known = 0
        self._held: dict[int, deque[tuple[Arrival, int]]] = {}
        """Requests that wait, by session."""
        self._busy: dict[int, int] = {}
        """Requests of a session that are sent and not done."""
        self._done_ps: dict[int, int] = {}
        """When the last request of a session was done, while none is sent."""
        self._session_of: dict[int, int] = {}
        self._taken = 0

    @property
    def next_ps(self) -> int | None:
        """When the next request arrives; None while all that is left waits for the server, and after the last."""
        while self._ahead is not None and (not self._ready or self._ahead[0].arrival_ps <= self._ready[0][0]):
            self._draw(*self._ahead)
            self._ahead = next(self._requests, None)
        return self._ready[0][0] if self._ready else None

    def take(self) -> Sequence:
        """Return the next request, numbered from 0 in order of arrival."""
        if self.next_ps is None:
            raise IndexError("no request is left")
        arrival_ps, _, request, session = heapq.heappop(self._ready)
        sequence = Sequence(self._taken, request._replace(arrival_ps=arrival_ps))
        if session != NONE:
            self._session_of[self._taken] = session
        self._taken += 1
        return sequence

    def done(self, sequence: Sequence, now_ps: int) -> None:
        """Let the next request of the session come, its wait after *now_ps*."""
        session = self._session_of.pop(sequence.id, NONE)
        if session == NONE:
            return
        self._busy[session] -= 1
        if self._busy[session]:
            return
        held = self._held.get(session)
        if not held:
            self._done_ps[session] = now_ps
            return
        request, wait_ps = held.popleft()
        self._send(request, session, max(now_ps + wait_ps, request.arrival_ps))

    def _draw(self, request: Arrival, session: int, wait_ps: int) -> None:
        if NONE not in (session, wait_ps):
            if self._busy.get(session):
                self._held.setdefault(session, deque()).append((request, wait_ps))
                return
            after_ps = self._done_ps.pop(session, None)
            at_ps = request.arrival_ps if after_ps is None else max(after_ps + wait_ps, request.arrival_ps)
        else:
            at_ps = request.arrival_ps
        self._send(request, session, at_ps)

    def _send(self, request: Arrival, session: int, at_ps: int) -> None:
        if session != NONE:
            self._busy[session] = self._busy.get(session, 0) + 1
        heapq.heappush(self._ready, (at_ps, self._known, request, session))
        self._known += 1


def replay_sessions(
    trace: Trace, group: ServerGroup, *, progress: Progress | None = None, log: WindowLog | None = None
) -> Fleet:
    """Serve *trace* on *group* until every session is over; *log* is that of a server alone."""
    sources = [SessionStream(_dealt(trace, replica, group.count)) for replica in range(group.count)]
    return replay_sources(sources, group, progress=progress, log=log)


def stream_of(trace: Trace) -> SessionStream:
    """Return the requests of *trace*, all sessions of it."""
    return SessionStream(_dealt(trace, 0, 1))


def _dealt(trace: Trace, replica: int, replicas: int) -> Iterator[Sent]:
    for request, arrival in zip(trace, arrivals_of(trace), strict=True):
        key = request.id if request.session == NONE else request.session
        if key % replicas == replica:
            yield arrival, request.session, request.wait_ps
