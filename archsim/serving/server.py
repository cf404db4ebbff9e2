"""A server that batches requests iteration by iteration, simulated without visiting every iteration.

A server takes what arrives, lets its scheduler (`scheduler`) run what comes next, and tells of what is done; it knows
the clock of the simulation and the servers that it is connected to.

A28: outputs are as long as the trace says.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

from archsim.kernel import Kernel, Process
from archsim.serving.books import RequestBooks
from archsim.serving.connector import Connector
from archsim.serving.costs import FINE_BITS, Costs, check_clock, fine_from_ps, ps_from_fine
from archsim.serving.policies import Policy
from archsim.serving.queue import LATE
from archsim.serving.record import Record, Window
from archsim.serving.requests import Arrivals, Limits, Sequence, refusal
from archsim.serving.scheduler import Scheduler
from archsim.serving.tally import Tally
from archsim.serving.windows import WindowLog

__all__ = ["Server"]


class Server:
    """One replica: a queue, a batch and a KV cache. *done* is told of each sequence that is completed or rejected."""

    KEPT: ClassVar = ("_scheduler", "_books")

    def __init__(
        self,
        arrivals: Arrivals,
        costs: Costs,
        *,
        limits: Limits,
        policy: Policy,
        done: Callable[[Sequence, int], None],
        log: WindowLog | None = None,
        connector: Connector | None = None,
    ) -> None:
        self._connector = connector
        self._arrivals = arrivals
        self._limits = limits
        log = log or (limits.log() if limits.log else WindowLog())
        self._scheduler = Scheduler(costs, limits, policy, log=log, outside=self._outside_fine)
        self._waiting, self._batch = self._scheduler.waiting, self._scheduler.batch
        self._observer = self._scheduler.observer
        self._books = RequestBooks(done, Tally() if limits.tallied else None)
        self._between: Callable[[], None] | None = None

    def call_between(self, act: Callable[[], None]) -> None:
        """Call *act* between any two iterations from now on."""
        self._between = act

    def serve(self, kernel: Kernel) -> Process:
        """Serve until nothing waits, runs or arrives. The kernel's clock is the fine clock, rounded up."""
        scheduler = self._scheduler
        now_ps, batch = ps_from_fine(scheduler.now_fine), scheduler.batch
        while True:
            if self._between is not None:
                self._between()
            start_fine = scheduler.now_fine
            joining = self.begin(now_ps)
            if rests := joining is None:
                joining = []
                if not self._idle(now_ps):
                    return
            if self._observer is not None:
                self.watch(start_fine, len(joining))
            before_ps, now_ps = now_ps, ps_from_fine(scheduler.now_fine)
            check_clock(now_ps)
            if self._connector is not None:
                self._connector.wakes_ps, rank = now_ps, self._connector.rank
                self._connector.rests, self._connector.own_ps = rests, self.due_ps if rests else now_ps
                yield kernel.wait_in_turn_ps(now_ps - before_ps, rank) if rank else kernel.wait_ps(now_ps - before_ps)
            elif (wait := kernel.pass_ps(now_ps - before_ps)) is not None:
                yield wait
            if joining or batch.some_done:
                self.finish(joining, now_ps)

    def begin(self, now_ps: int) -> list[Sequence] | None:
        """Do what is due and start what comes next; return who joins with it, None where nothing is to do."""
        scheduler = self._scheduler
        if (next_ps := self._arrivals.next_ps) is not None and next_ps <= scheduler.now_fine >> FINE_BITS:
            self._receive()
        for sequence in scheduler.waiting.late(scheduler.now_fine):
            self._books.reject(sequence, LATE)
        if self._connector is not None:
            admitting = not (scheduler.waiting or scheduler.under_way)
            landed = self._connector.update(scheduler.batch, now_ps, admitting=admitting)
            if self._observer is not None:
                self._observer.landed(landed)
        return scheduler.begin()

    def watch(self, start_fine: int, joining: int) -> None:
        """Note what waits, runs and is held since *start_fine*, where anybody asked."""
        if self._observer is not None:
            scheduler = self._scheduler
            running = len(scheduler.batch) + len(scheduler.under_way) + joining
            levels = (len(scheduler.waiting), running, scheduler.batch.used_blocks)
            self._observer.series.add(start_fine, scheduler.now_fine, levels)

    def resume(self, now_fine: int) -> None:
        """Go on at *now_fine*: until then others had the chips."""
        start_fine, self._scheduler.now_fine = self._scheduler.now_fine, now_fine
        self.watch(start_fine, 0)

    @property
    def has_work(self) -> bool:
        """Whether a request waits or runs here."""
        scheduler = self._scheduler
        return bool(scheduler.waiting or scheduler.under_way or len(scheduler.batch))

    @property
    def due_ps(self) -> int | None:
        """When a request arrives, or has waited too long and makes way."""
        known = (self._arrivals.next_ps, self._waiting.next_late_ps)
        return min((at_ps for at_ps in known if at_ps is not None), default=None)

    @property
    def served(self) -> int:
        """Requests that are completed or rejected."""
        return self._books.completed + self._books.rejected

    @property
    def now_fine(self) -> int:
        """The end of all that it has done."""
        return self._scheduler.now_fine

    def idle_until(self, end_fine: int) -> None:
        """Book the time from the end of its work to *end_fine* as idle."""
        scheduler = self._scheduler
        if end_fine > scheduler.now_fine:
            scheduler.log.idle(scheduler.now_fine, end_fine)
            scheduler.now_fine = end_fine

    def record(self, event_count: int) -> Record:
        """Return what the finished replay leaves."""
        scheduler, books = self._scheduler, self._books
        windows = scheduler.log.windows()
        return Record(
            requests=books.columns(),
            tally=books.tally,
            windows=windows,
            total=Window.of(windows),
            completed=books.completed,
            rejected=books.rejected,
            preemptions=scheduler.preemptions,
            decode_tokens=scheduler.pace.decode_tokens,
            peak_kv_blocks=scheduler.batch.peak_blocks,
            event_count=event_count,
            answered=books.answered,
            observer=self._observer,
            draft_tokens=None if scheduler.pace.even else scheduler.pace.drafted,
            prefixes=scheduler.batch.prefixes.use if scheduler.batch.prefixes else None,
            tier=scheduler.tier.use if scheduler.tier else None,
        )

    def _receive(self) -> None:
        arrivals, waiting, now_ps = self._arrivals, self._scheduler.waiting, self._scheduler.now_fine >> FINE_BITS
        while (next_ps := arrivals.next_ps) is not None and next_ps <= now_ps:
            sequence = arrivals.take()
            if (at_ps := waiting.answered_ps(sequence)) is not None:
                self._books.answer(sequence, at_ps)
                continue
            reason = self._connector.refusal(sequence) if self._connector else refusal(sequence, self._limits)
            if reason:
                self._books.reject(sequence, reason)
            else:
                waiting.append(sequence)

    def _outside_fine(self) -> int | None:
        """Return up to when nothing happens from outside to those who run; None: ever."""
        waiting, limit_fine = self._waiting, None
        # Nobody can be let in while others wait or the batch is full, whoever arrives.
        open_door = (not waiting and self._batch.free_places) or self._limits.techniques.classes
        if open_door and (next_ps := self._arrivals.next_ps) is not None:
            limit_fine = next_ps << FINE_BITS
        if self._connector is not None:
            connected_ps = self._connector.next_ps(ps_from_fine(self._scheduler.now_fine), waiting=bool(waiting))
            if connected_ps is not None:
                # The first boundary whose whole picosecond is that one, not the first one at or after its end.
                border_fine = fine_from_ps(connected_ps - 1) + 1
                limit_fine = border_fine if limit_fine is None else min(limit_fine, border_fine)
        return limit_fine

    def _idle(self, now_ps: int) -> bool:
        connector = self._connector
        connected_ps = None if connector is None else connector.next_ps(now_ps, waiting=bool(self._waiting))
        known = [at_ps for at_ps in (self.due_ps, connected_ps) if at_ps is not None]
        if not known:
            if connector is not None:
                connector.rests, connector.wakes_ps, connector.own_ps = True, None, None
            return False
        self.idle_until(fine_from_ps(min(known)))
        return True

    def finish(self, joining: list[Sequence], now_ps: int) -> None:
        """End what `begin` started: those of *joining* have a token more, and some are done."""
        batch = self._batch
        for sequence in joining:
            batch.keep(sequence)
            sequence.generated += 1
            if sequence.first_token_ps < 0:
                sequence.first_token_ps = now_ps
            if self._observer is not None:
                self._observer.joined(sequence.id, self._scheduler.now_fine, sequence.emitted_fine)
            if sequence.generated < sequence.output_tokens:
                if self._connector is None or not self._connector.send(sequence, now_ps):
                    batch.join(sequence)
                elif self._observer is not None:
                    sequence.emitted_fine = self._observer.left(sequence.id)
            else:
                batch.release(sequence)
                self._complete(sequence, now_ps)
        for sequence in batch.pop_finished():
            self._complete(sequence, now_ps)

    def _complete(self, sequence: Sequence, now_ps: int) -> None:
        if self._observer is not None:
            self._observer.left(sequence.id)
        self._books.complete(sequence, now_ps)
