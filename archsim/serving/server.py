"""A server that batches requests iteration by iteration, simulated without visiting every iteration.

At every boundary between iterations a policy (`policies.POLICIES`) either starts a prefill or lets the running
sequences decode. Decode iterations of an unchanged batch are one jump, which ends at the first boundary at which
anything can change: a completion, the arrival of a request that might be let in, exhausted KV blocks, or the border of
a window of the record. The cost model sums the iterations of a jump exactly, so the jump equals the iterations one by
one (tests/replay_twin.py) and the cost of a replay grows with requests and situations, not with tokens.

A24: iterations do not overlap, and scheduling takes no time of its own. A28: outputs are as long as the trace says.

A27: when a decode iteration needs more KV blocks than are free, the youngest running sequence is preempted: it gives up
its blocks, returns to the head of the queue, and later recomputes prompt and generated tokens in one prefill that
also yields its next token (the recompute policy of vLLM; Kwon et al., SOSP 2023).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from functools import partial
from itertools import islice
from typing import ClassVar

from archsim.kernel import Kernel, Process
from archsim.serving.admission import make_room, within_tpot
from archsim.serving.batch import Batch
from archsim.serving.books import RequestBooks
from archsim.serving.chunks import cut
from archsim.serving.costs import FINE_BITS, Costs, check_clock, fine_from_ps, ps_from_fine, whole_prompts
from archsim.serving.mate import Mate
from archsim.serving.observe import Observer
from archsim.serving.policies import Policy
from archsim.serving.prefix_tier import second_level
from archsim.serving.queue import LATE, Queue
from archsim.serving.record import Record, Window
from archsim.serving.requests import Arrivals, Limits, Sequence, refusal
from archsim.serving.speculation import Pace, Span, leap, pattern_of
from archsim.serving.tally import Tally
from archsim.serving.techniques import PLAIN
from archsim.serving.tier import Tier
from archsim.serving.windows import WindowLog

__all__ = ["Server"]


class Server:
    """One replica: a queue, a batch and a KV cache. *done* is told of each sequence that is completed or rejected."""

    KEPT: ClassVar = (
        "_waiting", "_under_way", "_batch", "_now_fine", "_log", "_books", "_pace", "_preemptions", "_tier",
        "_observer",
    )  # fmt: skip

    def __init__(
        self,
        arrivals: Arrivals,
        costs: Costs,
        *,
        limits: Limits,
        policy: Policy,
        done: Callable[[Sequence, int], None],
        log: WindowLog | None = None,
        mate: Mate | None = None,
    ) -> None:
        self._mate = mate
        self._arrivals = arrivals
        self._costs = costs
        self._limits = limits
        self._policy = policy
        self._waiting = Queue(limits.techniques)
        self._under_way: deque[Sequence] = deque()
        self._batch = Batch(limits)
        self._now_fine = 0
        self._log = log or (limits.log() if limits.log else WindowLog())
        self._books = RequestBooks(done, Tally() if limits.tallied else None)
        self._pace = Pace(pattern_of(limits.techniques))
        self._preemptions = 0
        self._tier = Tier(limits.techniques.tier, limits) if limits.techniques.tier else None
        self._levels = second_level(self._batch, self._tier, costs, limits)
        self._observer = Observer() if limits.techniques.watched else None
        self._between: Callable[[], None] | None = None

    def call_between(self, act: Callable[[], None]) -> None:
        """Call *act* between any two iterations from now on."""
        self._between = act

    def serve(self, kernel: Kernel) -> Process:
        """Serve until nothing waits, runs or arrives. The kernel's clock is the fine clock, rounded up."""
        now_ps, batch = ps_from_fine(self._now_fine), self._batch
        while True:
            if self._between is not None:
                self._between()
            start_fine = self._now_fine
            joining = self.begin(now_ps)
            if rests := joining is None:
                joining = []
                if not self._idle(now_ps):
                    return
            if self._observer is not None:
                self.watch(start_fine, len(joining))
            before_ps, now_ps = now_ps, ps_from_fine(self._now_fine)
            check_clock(now_ps)
            if self._mate is not None:
                self._mate.wakes_ps, rank = now_ps, self._mate.rank
                self._mate.rests, self._mate.own_ps = rests, self.due_ps if rests else now_ps
                yield kernel.wait_in_turn_ps(now_ps - before_ps, rank) if rank else kernel.wait_ps(now_ps - before_ps)
            elif (wait := kernel.pass_ps(now_ps - before_ps)) is not None:
                yield wait
            if joining or batch.some_done:
                self.finish(joining, now_ps)

    def begin(self, now_ps: int) -> list[Sequence] | None:
        """Do what is due and start what comes next; return who joins with it, None where nothing is to do."""
        if (next_ps := self._arrivals.next_ps) is not None and next_ps <= self._now_fine >> FINE_BITS:
            self._receive()
        for sequence in self._waiting.late(self._now_fine):
            self._books.reject(sequence, LATE)
        if self._mate is not None:
            landed = self._mate.update(self._batch, now_ps, admitting=not (self._waiting or self._under_way))
            if self._observer is not None:
                self._observer.landed(landed)
        if self._levels is not None and self._levels.unwritten:
            self._now_fine = self._levels.write(self._log, self._now_fine)
            return []
        joining = self._start_chunks() if self._policy.chunked else self._start_prefill() if self._waiting else None
        return ([] if self._decode() else None) if joining is None else joining

    def watch(self, start_fine: int, joining: int) -> None:
        """Note what waits, runs and is held since *start_fine*, where anybody asked."""
        if self._observer is not None:
            running = len(self._batch) + len(self._under_way) + joining
            levels = (len(self._waiting), running, self._batch.used_blocks)
            self._observer.series.add(start_fine, self._now_fine, levels)

    def resume(self, now_fine: int) -> None:
        """Go on at *now_fine*: until then others had the chips."""
        start_fine, self._now_fine = self._now_fine, now_fine
        self.watch(start_fine, 0)

    @property
    def has_work(self) -> bool:
        """Whether a request waits or runs here."""
        return bool(self._waiting or self._under_way or len(self._batch))

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
        return self._now_fine

    def idle_until(self, end_fine: int) -> None:
        """Book the time from the end of its work to *end_fine* as idle."""
        if end_fine > self._now_fine:
            self._log.idle(self._now_fine, end_fine)
            self._now_fine = end_fine

    def record(self, event_count: int) -> Record:
        """Return what the finished replay leaves."""
        windows = self._log.windows()
        return Record(
            requests=self._books.columns(),
            tally=self._books.tally,
            windows=windows,
            total=Window.of(windows),
            completed=self._books.completed,
            rejected=self._books.rejected,
            preemptions=self._preemptions,
            decode_tokens=self._pace.decode_tokens,
            peak_kv_blocks=self._batch.peak_blocks,
            event_count=event_count,
            answered=self._books.answered,
            observer=self._observer,
            draft_tokens=None if self._pace.even else self._pace.drafted,
            prefixes=self._batch.prefixes.use if self._batch.prefixes else None,
            tier=self._tier.use if self._tier else None,
        )

    def _receive(self) -> None:
        arrivals, waiting, now_ps = self._arrivals, self._waiting, self._now_fine >> FINE_BITS
        while (next_ps := arrivals.next_ps) is not None and next_ps <= now_ps:
            sequence = arrivals.take()
            if (at_ps := waiting.answered_ps(sequence)) is not None:
                self._books.answer(sequence, at_ps)
                continue
            reason = self._mate.refusal(sequence) if self._mate else refusal(sequence, self._limits)
            if reason:
                self._books.reject(sequence, reason)
            else:
                waiting.append(sequence)

    def _admitted(self, places_taken: int, *, ahead: bool) -> int:
        """Return how many of those who wait begin now, beside prompts that are under way.

        Where *ahead* is true, running sequences keep the blocks that their next iteration takes.
        """
        batch, waiting, rules = self._batch, self._waiting, self._limits.techniques

        def admits(most: int | None = None) -> int:
            offered = batch.offered(waiting.alike if self._tier else waiting)
            blocks = batch.free_blocks - (batch.demand(self._pace.tokens_next) if ahead else 0)
            offered = offered if most is None else islice(offered, most)
            return self._policy.admit(offered, batch.free_places - places_taken, blocks, self._limits)

        if rules.class_preempts:
            make_room(waiting, batch, partial(admits, 1), self._preempt)
        count = admits()
        if rules.tpot_ps is None:
            return count
        return within_tpot(self._costs, batch, (self._under_way, waiting), count, limits=self._limits)

    def _start_prefill(self) -> list[Sequence] | None:
        """Run one iteration on whole prompts and return who joins; None where nobody is let in."""
        waiting, batch = self._waiting, self._batch
        if self._tier is not None and waiting[0].stored_bytes:
            return self._take_back()
        count = self._admitted(0, ahead=False)
        if not count:
            return None
        joining = [waiting.popleft() for _ in range(count)]
        for sequence in joining:
            batch.reserve(sequence)
        if self._levels is not None:
            self._now_fine = self._levels.fetch(self._log, self._now_fine)
        run = whole_prompts(self._costs, joining, self._limits.reach)
        self._log.open(self._now_fine)
        self._log.book("prefill_recompute" if joining[0].generated else "prefill", 1, run, count)
        self._now_fine += run.time_fine
        return joining

    def _take_back(self) -> list[Sequence] | None:
        """Bring the cache of who waits first back from the tier; None where there is no room for it."""
        if self._tier is None or not self._admitted(len(self._under_way), ahead=True):
            return None
        sequence = self._waiting.popleft()
        self._now_fine = self._log.moved(self._now_fine, self._tier.take(sequence, self._costs))
        self._batch.take_back(sequence)
        if self._observer is not None and sequence.emitted_fine is not None:
            self._observer.returned(sequence.id, sequence.emitted_fine)
        return []

    def _start_chunks(self) -> list[Sequence] | None:
        """Run one iteration on chunks beside those who decode and return whose prompt is done; None without a chunk."""
        batch, under_way = self._batch, self._under_way
        budget = self._limits.max_prefill_tokens - len(batch) * (1 + self._limits.ahead)
        if budget <= 0 or not (under_way or self._waiting):
            return None
        self._preempt_for(self._pace.tokens_next)
        if self._waiting and self._waiting[0].stored_bytes and self._take_back() is not None:
            return []
        self._admit_chunks(budget)
        recomputing = bool(under_way) and under_way[0].generated > 0
        chunks = cut(under_way, budget, reach=self._limits.reach)
        if not chunks.tokens:
            return None
        for _ in chunks.done:
            under_way.popleft()
        decoding = len(batch)
        run = self._costs.mixed(decoding, batch.kv_tokens, chunks)
        self._log.open(self._now_fine)
        if decoding and self._pace.even:
            self._log.decoding(batch, 1, chunks)
        phase = "mixed" if decoding else "prefill_recompute" if recomputing else "prefill"
        yielded = self._pace.advance(self._batch, 1, self._pace.tokens_next) if decoding else 0
        self._log.book(phase, 1, run, yielded + len(chunks.done))
        self._now_fine += run.time_fine
        if self._observer is not None:
            self._observer.decoded(
                self._now_fine, 1, lambda _: run.time_fine, since_fine=self._now_fine - run.time_fine
            )
        return chunks.done

    def _admit_chunks(self, budget: int) -> None:
        """Let prompts begin for which the iteration has tokens left, with all the blocks that they will need."""
        batch, waiting, under_way = self._batch, self._waiting, self._under_way
        left = budget - sum(sequence.length - sequence.prefilled for sequence in under_way)
        kind = bool(under_way[0].generated) if under_way else None
        count = self._admitted(len(under_way), ahead=True)
        while count and left > 0 and (kind is None or bool(waiting[0].generated) == kind):
            sequence = waiting.popleft()
            batch.reserve(sequence)
            sequence.prefilled = sequence.cached
            under_way.append(sequence)
            left -= sequence.new_tokens
            count -= 1
        if self._levels is not None:
            self._now_fine = self._levels.fetch(self._log, self._now_fine)

    def _preempt_for(self, steps: int) -> None:
        batch = self._batch
        while not batch.holds_more(steps):
            self._preempt()

    def _preempt(self) -> None:
        sequence = self._batch.preempt()
        self._waiting.appendleft(sequence)
        self._preemptions += 1
        if self._observer is not None:
            sequence.emitted_fine = self._observer.left(sequence.id)
        if self._tier is not None and (run := self._tier.put(sequence, self._costs)) is not None:
            self._now_fine = self._log.moved(self._now_fine, run)

    def _decode(self) -> bool:
        """Run iterations of the batch up to the next boundary that matters; return whether anybody decodes."""
        batch, before, pace = self._batch, self._preemptions, self._pace
        if not batch.holds_more(pace.tokens_next):
            self._preempt_for(pace.tokens_next)
        size, start = len(batch), pace.iterations
        if not size:
            return False
        self._log.open(self._now_fine)
        # At least one iteration: somebody may have arrived while caches moved.
        left_fine = max(self._border_fine(preempted=self._preemptions > before) - self._now_fine, 1)
        kv_tokens, growth = batch.kv_tokens, batch.growth
        if pace.pattern is None:
            most = batch.steps_within_blocks(batch.steps_to_change())
            steps, run = self._costs.decode_until(size, kv_tokens, left_fine, most, growth=growth)
            self._log.decoding(batch, steps)
            tokens = steps
        else:
            span = Span(size, kv_tokens, growth)
            steps, tokens, run = leap(batch, self._costs, span, pace.pattern, start=start, left_fine=left_fine)
        self._log.book("decode", steps, run, pace.advance(batch, steps, tokens))
        self._now_fine += run.time_fine
        if self._observer is not None:
            gap_of = partial(pace.gap, self._costs, Span(size, kv_tokens, growth), start)
            self._observer.decoded(self._now_fine, steps, gap_of, since_fine=self._now_fine - run.time_fine)
        return True

    def _border_fine(self, *, preempted: bool) -> int:
        """Return up to when nothing happens to the running sequences from outside."""
        waiting, limit_fine, rules = self._waiting, self._log.border_fine, self._limits.techniques
        if preempted and (self._policy.chunked or rules != PLAIN):
            # Tokens of the budget, or blocks and time that others would have taken, may let someone in at once.
            limit_fine = self._now_fine + 1
        if waiting and rules.class_preempts and rules.tpot_ps is not None:
            # Who is urgent and held back by that bound takes others' places as soon as blocks are short.
            limit_fine = self._now_fine + 1
        # Nobody can be let in while others wait or the batch is full, whoever arrives.
        open_door = (not waiting and self._batch.free_places) or rules.classes
        if open_door and (next_ps := self._arrivals.next_ps) is not None:
            arrival_fine = next_ps << FINE_BITS
            limit_fine = min(limit_fine, arrival_fine)
        if waiting and (late_ps := waiting.next_late_ps) is not None:
            # The first boundary past the bound, within its picosecond as well.
            limit_fine = min(limit_fine, fine_from_ps(late_ps - 1) + 1)
        if self._mate is not None:
            mate_ps = self._mate.next_ps(ps_from_fine(self._now_fine), waiting=bool(waiting))
            # The first boundary whose whole picosecond is that one, not the first one at or after its end.
            limit_fine = limit_fine if mate_ps is None else min(limit_fine, fine_from_ps(mate_ps - 1) + 1)
        return limit_fine

    def _idle(self, now_ps: int) -> bool:
        mate_ps = self._mate.next_ps(now_ps, waiting=bool(self._waiting)) if self._mate is not None else None
        known = [at_ps for at_ps in (self.due_ps, mate_ps) if at_ps is not None]
        if not known:
            if self._mate is not None:
                self._mate.rests, self._mate.wakes_ps, self._mate.own_ps = True, None, None
            return False
        arrival_fine = fine_from_ps(min(known))
        self._log.idle(self._now_fine, arrival_fine)
        self._now_fine = arrival_fine
        return True

    def finish(self, joining: list[Sequence], now_ps: int) -> None:
        """End what `begin` started: those of *joining* have a token more, and some are done."""
        for sequence in joining:
            self._batch.keep(sequence)
            sequence.generated += 1
            if sequence.first_token_ps < 0:
                sequence.first_token_ps = now_ps
            if self._observer is not None:
                self._observer.joined(sequence.id, self._now_fine, sequence.emitted_fine)
            if sequence.generated < sequence.output_tokens:
                if self._mate is None or not self._mate.send(sequence, now_ps):
                    self._batch.join(sequence)
                elif self._observer is not None:
                    sequence.emitted_fine = self._observer.left(sequence.id)
            else:
                self._batch.release(sequence)
                self._complete(sequence, now_ps)
        for sequence in self._batch.pop_finished():
            self._complete(sequence, now_ps)

    def _complete(self, sequence: Sequence, now_ps: int) -> None:
        if self._observer is not None:
            self._observer.left(sequence.id)
        self._books.complete(sequence, now_ps)
