"""What a server runs next: prompts whole or in chunks, and decode iterations of the running sequences in jumps.

At every boundary between iterations a policy (`policies.POLICIES`) either starts a prefill or lets the running
sequences decode. Decode iterations of an unchanged batch are one jump, which ends at the first boundary at which
anything can change: a completion, the arrival of a request that might be let in, exhausted KV blocks, or the border of
a window of the record. The cost model sums the iterations of a jump exactly, so the jump equals the iterations one by
one (tests/replay_twin.py) and the cost of a replay grows with requests and situations, not with tokens.

A24: iterations do not overlap, and scheduling takes no time of its own.

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

from archsim.serving.admission import make_room, within_tpot
from archsim.serving.batch import Batch
from archsim.serving.chunks import cut
from archsim.serving.costs import Costs, fine_from_ps, whole_prompts
from archsim.serving.observe import Observer
from archsim.serving.policies import Policy
from archsim.serving.prefix_tier import second_level
from archsim.serving.queue import Queue
from archsim.serving.requests import Limits, Sequence
from archsim.serving.speculation import Pace, Span, leap, pattern_of
from archsim.serving.techniques import PLAIN
from archsim.serving.tier import Tier
from archsim.serving.windows import WindowLog

__all__ = ["Scheduler"]


class Scheduler:
    """The queue, the batch and the clock of one server; *outside* tells up to when nothing comes from elsewhere."""

    KEPT: ClassVar = (
        "waiting", "under_way", "batch", "now_fine", "log", "pace", "preemptions", "tier", "observer",
    )  # fmt: skip

    def __init__(
        self,
        costs: Costs,
        limits: Limits,
        policy: Policy,
        *,
        log: WindowLog,
        outside: Callable[[], int | None],
    ) -> None:
        self._costs = costs
        self._limits = limits
        self._policy = policy
        self._outside_fine = outside
        rules = limits.techniques
        self.waiting = Queue(rules)
        self.under_way: deque[Sequence] = deque()
        """Sequences whose prompts are processed in chunks, some of them done."""
        self.batch = Batch(limits)
        self.now_fine = 0
        """The end of all that has been started."""
        self.log = log
        self.pace = Pace(pattern_of(rules))
        self.preemptions = 0
        self.tier = Tier(rules.tier, limits) if rules.tier else None
        self._levels = second_level(self.batch, self.tier, costs, limits)
        self.observer = Observer() if rules.watched else None

    def begin(self) -> list[Sequence] | None:
        """Start what comes next; return who joins with it, None where nothing is to do."""
        if self._levels is not None and self._levels.unwritten:
            self.now_fine = self._levels.write(self.log, self.now_fine)
            return []
        joining = self._start_chunks() if self._policy.chunked else self._start_prefill() if self.waiting else None
        return ([] if self._decode() else None) if joining is None else joining

    def _admitted(self, places_taken: int, *, ahead: bool) -> int:
        """Return how many of those who wait begin now, beside prompts that are under way.

        Where *ahead* is true, running sequences keep the blocks that their next iteration takes.
        """
        batch, waiting, rules = self.batch, self.waiting, self._limits.techniques

        def admits(most: int | None = None) -> int:
            offered = batch.offered(waiting.alike if self.tier else waiting)
            blocks = batch.free_blocks - (batch.demand(self.pace.tokens_next) if ahead else 0)
            offered = offered if most is None else islice(offered, most)
            return self._policy.admit(offered, batch.free_places - places_taken, blocks, self._limits)

        if rules.class_preempts:
            make_room(waiting, batch, partial(admits, 1), self._preempt)
        count = admits()
        if rules.tpot_ps is None:
            return count
        return within_tpot(self._costs, batch, (self.under_way, waiting), count, limits=self._limits)

    def _start_prefill(self) -> list[Sequence] | None:
        """Run one iteration on whole prompts and return who joins; None where nobody is let in."""
        waiting, batch = self.waiting, self.batch
        if self.tier is not None and waiting[0].stored_bytes:
            return self._take_back()
        count = self._admitted(0, ahead=False)
        if not count:
            return None
        joining = [waiting.popleft() for _ in range(count)]
        for sequence in joining:
            batch.reserve(sequence)
        if self._levels is not None:
            self.now_fine = self._levels.fetch(self.log, self.now_fine)
        run = whole_prompts(self._costs, joining, self._limits.reach)
        self.log.open(self.now_fine)
        self.log.book("prefill_recompute" if joining[0].generated else "prefill", 1, run, count)
        self.now_fine += run.time_fine
        return joining

    def _take_back(self) -> list[Sequence] | None:
        """Bring the cache of who waits first back from the tier; None where there is no room for it."""
        if self.tier is None or not self._admitted(len(self.under_way), ahead=True):
            return None
        sequence = self.waiting.popleft()
        self.now_fine = self.log.moved(self.now_fine, self.tier.take(sequence, self._costs))
        self.batch.take_back(sequence)
        if self.observer is not None and sequence.emitted_fine is not None:
            self.observer.returned(sequence.id, sequence.emitted_fine)
        return []

    def _start_chunks(self) -> list[Sequence] | None:
        """Run one iteration on chunks beside those who decode and return whose prompt is done; None without a chunk."""
        batch, under_way = self.batch, self.under_way
        budget = self._limits.max_prefill_tokens - len(batch) * (1 + self._limits.ahead)
        if budget <= 0 or not (under_way or self.waiting):
            return None
        self._preempt_for(self.pace.tokens_next)
        if self.waiting and self.waiting[0].stored_bytes and self._take_back() is not None:
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
        self.log.open(self.now_fine)
        if decoding and self.pace.even:
            self.log.decoding(batch, 1, chunks)
        phase = "mixed" if decoding else "prefill_recompute" if recomputing else "prefill"
        yielded = self.pace.advance(self.batch, 1, self.pace.tokens_next) if decoding else 0
        self.log.book(phase, 1, run, yielded + len(chunks.done))
        self.now_fine += run.time_fine
        if self.observer is not None:
            self.observer.decoded(self.now_fine, 1, lambda _: run.time_fine, since_fine=self.now_fine - run.time_fine)
        return chunks.done

    def _admit_chunks(self, budget: int) -> None:
        """Let prompts begin for which the iteration has tokens left, with all the blocks that they will need."""
        batch, waiting, under_way = self.batch, self.waiting, self.under_way
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
            self.now_fine = self._levels.fetch(self.log, self.now_fine)

    def _preempt_for(self, steps: int) -> None:
        batch = self.batch
        while not batch.holds_more(steps):
            self._preempt()

    def _preempt(self) -> None:
        sequence = self.batch.preempt()
        self.waiting.appendleft(sequence)
        self.preemptions += 1
        if self.observer is not None:
            sequence.emitted_fine = self.observer.left(sequence.id)
        if self.tier is not None and (run := self.tier.put(sequence, self._costs)) is not None:
            self.now_fine = self.log.moved(self.now_fine, run)

    def _decode(self) -> bool:
        """Run iterations of the batch up to the next boundary that matters; return whether anybody decodes."""
        batch, before, pace = self.batch, self.preemptions, self.pace
        if not batch.holds_more(pace.tokens_next):
            self._preempt_for(pace.tokens_next)
        size, start = len(batch), pace.iterations
        if not size:
            return False
        self.log.open(self.now_fine)
        # At least one iteration: somebody may have arrived while caches moved.
        left_fine = max(self._limit_fine(preempted=self.preemptions > before) - self.now_fine, 1)
        kv_tokens, growth = batch.kv_tokens, batch.growth
        if pace.pattern is None:
            most = batch.steps_within_blocks(batch.steps_to_change())
            steps, run = self._costs.decode_until(size, kv_tokens, left_fine, most, growth=growth)
            self.log.decoding(batch, steps)
            tokens = steps
        else:
            span = Span(size, kv_tokens, growth)
            steps, tokens, run = leap(batch, self._costs, span, pace.pattern, start=start, left_fine=left_fine)
        self.log.book("decode", steps, run, pace.advance(batch, steps, tokens))
        self.now_fine += run.time_fine
        if self.observer is not None:
            gap_of = partial(pace.gap, self._costs, Span(size, kv_tokens, growth), start)
            self.observer.decoded(self.now_fine, steps, gap_of, since_fine=self.now_fine - run.time_fine)
        return True

    def _limit_fine(self, *, preempted: bool) -> int:
        """Return up to when nothing happens to the running sequences."""
        waiting, limit_fine, rules = self.waiting, self.log.border_fine, self._limits.techniques
        if preempted and (self._policy.chunked or rules != PLAIN):
            # Tokens of the budget, or blocks and time that others would have taken, may let someone in at once.
            limit_fine = self.now_fine + 1
        if rules.class_preempts and rules.tpot_ps is not None and waiting:
            # Who is urgent and held back by that bound takes others' places as soon as blocks are short.
            limit_fine = self.now_fine + 1
        if waiting and (late_ps := waiting.next_late_ps) is not None:
            # The first boundary past the bound, within its picosecond as well.
            limit_fine = min(limit_fine, fine_from_ps(late_ps - 1) + 1)
        outside_fine = self._outside_fine()
        return limit_fine if outside_fine is None else min(limit_fine, outside_fine)
