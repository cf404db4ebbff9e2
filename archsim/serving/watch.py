"""Look on while a server serves: every iteration, or run of equal ones, with what it worked on.

A `Watch` takes the place of the server's log and stands before its cost model. It changes neither: what is asked for is
handed on, what is booked is booked. Once the time that it is there for has passed it ends the replay.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from archsim.errors import InputError, Problem
from archsim.serving.chunks import Chunks
from archsim.serving.costs import Costs, Run
from archsim.serving.windows import WindowLog
from archsim.step.knots import chunk_batch, decode_batch, part_batch, prefill_batch
from archsim.workload.batch import Batch
from archsim.workload.layers import Reach

__all__ = ["MOST_SEEN", "Seen", "Watch", "WatchedCosts", "WindowPassed", "iterations_between"]

MOST_SEEN = 200_000
"""Runs of iterations that a watch keeps."""


class WindowPassed(Exception):  # noqa: N818 - not an error: the watch has seen enough
    """What is wanted of the replay has been seen."""


@dataclass(frozen=True, slots=True)
class Seen:
    """Iterations in a row that decode the same sequences, or one of another kind."""

    phase: str = ""
    start_fine: int = 0
    time_fine: int = 0
    iterations: int = 1
    decode: int = 0
    """Sequences that decode."""
    kv_tokens: int = 0
    """Tokens of context that the first iteration reads for them, as `Reach.attended` counts."""
    growth: int = 0
    """Further tokens in each iteration after it."""
    prefill_tokens: int = 0
    prefill_pairs: int = 0
    prefills: int = 0
    """Whole prompts."""
    prefill_kv_tokens: int = 0
    """Context that they read, with what is cached of them."""

    def batch(self, reach: Reach) -> Batch:
        """Return what one iteration of it works on; chunks of prompts as the cost model has them (A36)."""
        decode = decode_batch(reach, self.decode, self.kv_tokens) if self.decode else None
        if not self.prefill_tokens:
            return decode or Batch()
        if self.prefill_kv_tokens > self.prefill_tokens:
            sums = (self.prefill_tokens, self.prefill_pairs, self.prefill_kv_tokens)
            return chunk_batch(reach, self.prefills, *sums)
        prompts = (part_batch if decode else prefill_batch)(reach, self.prefill_tokens, self.prefill_pairs)
        return prompts + decode if decode else prompts


class Watch(WindowLog):
    """A log that also keeps the iterations which end after *first_fine* and begin before *until_fine*."""

    def __init__(self, first_fine: int = 0, until_fine: int | None = None) -> None:
        super().__init__()
        self.rows: list[Seen] = []
        self._first, self._until = first_fine, until_fine
        self._asked = Seen()

    def ask(self, what: Seen) -> None:
        """Take note of what the server is about to book."""
        self._asked = what

    def book(self, phase: str, iterations: int, run: Run, output_tokens: int) -> None:
        """Book as any log does, and keep what was asked for."""
        start = self._open.end_fine
        if self._until is not None and start >= self._until:
            raise WindowPassed
        super().book(phase, iterations, run, output_tokens)
        if start + run.time_fine > self._first:
            self.rows.append(
                replace(self._asked, phase=phase, start_fine=start, time_fine=run.time_fine, iterations=iterations)
            )
        if len(self.rows) > MOST_SEEN:
            expected = f"a window with at most {MOST_SEEN:,} changes of the batch"
            raise InputError(Problem("", "--timeline-window", "", expected))


class WatchedCosts:
    """The cost model that a watched server asks; answers are those of *costs*."""

    def __init__(self, costs: Costs, watch: Watch) -> None:
        self._costs = costs
        self._watch = watch

    def decode(self, batch: int, kv_tokens: int, steps: int, *, growth: int | None = None) -> Run:
        """Return the cost of decode iterations."""
        rise = batch if growth is None else growth
        self._watch.ask(Seen(decode=batch, kv_tokens=kv_tokens, growth=rise))
        return self._costs.decode(batch, kv_tokens, steps, growth=growth)

    def decode_steps_until(
        self, batch: int, kv_tokens: int, limit_fine: int, most: int, *, growth: int | None = None
    ) -> int:
        """Return how many of them fit."""
        return self._costs.decode_steps_until(batch, kv_tokens, limit_fine, most, growth=growth)

    def decode_until(
        self, batch: int, kv_tokens: int, limit_fine: int, most: int, *, growth: int | None = None
    ) -> tuple[int, Run]:
        """Return them and their cost."""
        steps = self.decode_steps_until(batch, kv_tokens, limit_fine, most, growth=growth)
        return steps, self.decode(batch, kv_tokens, steps, growth=growth)

    def prefill(self, sequences: int, tokens: int, pairs: int, kv_tokens: int) -> Run:
        """Return the cost of an iteration on whole prompts."""
        self._watch.ask(
            Seen(prefill_tokens=tokens, prefill_pairs=pairs, prefills=sequences, prefill_kv_tokens=kv_tokens)
        )
        return self._costs.prefill(sequences, tokens, pairs, kv_tokens)

    def mixed(self, decode: int, kv_tokens: int, chunks: Chunks) -> Run:
        """Return the cost of an iteration on chunks of prompts beside sequences that decode."""
        tokens, pairs = chunks.tokens, chunks.pairs
        self._watch.ask(Seen(decode=decode, kv_tokens=kv_tokens, prefill_tokens=tokens, prefill_pairs=pairs))
        return self._costs.mixed(decode, kv_tokens, chunks)

    def moved(self, wait_fine: int, out_fine: int, in_fine: int) -> Run:
        """Return the cost of a move of KV caches."""
        self._watch.ask(Seen())
        return self._costs.moved(wait_fine, out_fine, in_fine)


def iterations_between(seen: Seen, costs: Costs, first_fine: int, until_fine: int) -> Iterator[Seen]:
    """Yield those of *seen*'s iterations by themselves that overlap the time from *first_fine* to *until_fine*."""
    if seen.iterations == 1:
        if seen.start_fine < until_fine and seen.start_fine + seen.time_fine > first_fine:
            yield seen
        return
    most, size, kv_tokens, growth = seen.iterations, seen.decode, seen.kv_tokens, seen.growth
    ahead = first_fine - seen.start_fine
    number = costs.decode_steps_until(size, kv_tokens, ahead, most, growth=growth) - 1 if ahead > 0 else 0
    while number < most:
        before = costs.decode(size, kv_tokens, number, growth=growth).time_fine if number else 0
        now = kv_tokens + number * growth
        start, time = seen.start_fine + before, costs.decode(size, now, 1, growth=growth).time_fine
        if start >= until_fine:
            return
        if start + time > first_fine:
            yield replace(seen, start_fine=start, time_fine=time, iterations=1, kv_tokens=now)
        number += 1
