"""Servers that take turns on the same chips: two models of a cascade, each with a share of the memory.

The chips run one iteration at a time. While both servers have work they alternate, an iteration each; while one has,
it runs on, jumping over iterations as everywhere, until a request for the other can be there. Weights of both lie in
memory: a turn costs nothing. All iterations are booked in one log, since they are of the same chips; what each
server did is kept beside.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from archsim.serving.batch import Batch
from archsim.serving.chunks import Chunks
from archsim.serving.costs import Run, fine_from_ps, ps_from_fine
from archsim.serving.record import PhaseUse, Window
from archsim.serving.requests import Arrivals, Limits, refusal
from archsim.serving.requests import Sequence as Served
from archsim.serving.server import Server
from archsim.serving.servers import ServerGroup
from archsim.serving.windows import WindowLog

__all__ = ["SharedChips"]


class _Own(WindowLog):
    """One server's log: it books in the common one, and sums up what is its own."""

    def __init__(self, common: WindowLog) -> None:
        super().__init__()
        self._common = common
        self.total = Window(0, 0)

    def open(self, start_fine: int) -> None:
        """Open the common window."""
        self._common.open(start_fine)
        self.border_fine = self._common.border_fine

    def decoding(self, batch: Batch, steps: int, chunks: Chunks | None = None) -> None:
        """Tell the common log."""
        self._common.decoding(batch, steps, chunks)

    def book(self, phase: str, iterations: int, run: Run, output_tokens: int) -> None:
        """Book in the common log, and here."""
        self._common.book(phase, iterations, run, output_tokens)
        weights: dict[int, int] = {}
        for knot, weight in run.knots:
            weights[knot] = weights.get(knot, 0) + weight
        self.total.output_tokens += output_tokens
        self.total.phases.setdefault(phase, PhaseUse()).add(PhaseUse(iterations, run.time_fine, weights))

    def windows(self) -> tuple[Window, ...]:
        """Return the common ones."""
        return self._common.windows()


class _Turn:
    """What a server is told of the other: until when it may run on."""

    rank = 0

    def __init__(self, limits: Limits) -> None:
        self.wakes_ps: int | None = 0
        self.own_ps: int | None = 0
        self.rests = False
        self.other: Server
        self.coming: Arrivals
        self._limits = limits

    def refusal(self, sequence: Served) -> str:
        """Return why *sequence* can never be served, or an empty string."""
        return refusal(sequence, self._limits)

    def update(self, batch: Batch, now_ps: int, *, admitting: bool) -> Sequence[Served]:  # noqa: ARG002 - as above
        """Return nobody: nobody comes from elsewhere."""
        return ()

    def send(self, sequence: Served, now_ps: int) -> bool:  # noqa: ARG002 - as of pools that hand over
        """Keep *sequence*."""
        return False

    def next_ps(self, now_ps: int, *, waiting: bool) -> int | None:  # noqa: ARG002 - as of pools that hand over
        """Return when the other server may want its turn."""
        if self.other.has_work:
            return now_ps + 1
        at_ps = self.coming.next_ps
        return None if at_ps is None else max(at_ps, now_ps + 1)


class SharedChips:
    """Chips that serve the requests of several sources, each by a server of its own."""

    def __init__(
        self, groups: Sequence[ServerGroup], sources: Sequence[Arrivals], done: Sequence[Callable[[Served, int], None]]
    ) -> None:
        self._log = WindowLog()
        self._sources = sources
        self._own = [_Own(self._log) for _ in groups]
        turns = [_Turn(group.limits) for group in groups]
        self.servers = [
            group.server(source, told, log=own, connector=turn)
            for group, source, told, own, turn in zip(groups, sources, done, self._own, turns, strict=True)
        ]
        for number, turn in enumerate(turns):
            turn.other = self.servers[1 - number]
            turn.coming = sources[1 - number]
        self.now_fine = 0
        self.iterations = 0
        """Turns, each a jump or a single iteration."""

    def run(self) -> None:
        """Serve until nothing waits, runs or comes."""
        first = 0
        while True:
            for number in (first, 1 - first):
                if self._take_turn(self.servers[number]):
                    first = 1 - number
                    break
            else:
                known = [source.next_ps for source in self._sources if source.next_ps is not None]
                if not known:
                    return
                self.idle_until(fine_from_ps(min(known)))

    def idle_until(self, end_fine: int) -> None:
        """Book the time to *end_fine* as idle."""
        if end_fine > self.now_fine:
            self._log.idle(self.now_fine, end_fine)
            self.now_fine = end_fine
        for server in self.servers:
            server.resume(self.now_fine)

    def total(self, number: int) -> Window:
        """Return what server *number* did by itself: its phases, without time between."""
        return self._own[number].total

    def _take_turn(self, server: Server) -> bool:
        server.resume(self.now_fine)
        joining = server.begin(ps_from_fine(self.now_fine))
        if joining is None:
            return False
        server.watch(self.now_fine, len(joining))
        self.now_fine = server.now_fine
        self.iterations += 1
        server.finish(joining, ps_from_fine(self.now_fine))
        return True
