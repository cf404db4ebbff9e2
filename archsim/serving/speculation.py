"""Speculative decoding in the replay: how many tokens an iteration yields, and jumps over many such iterations.

S5: every iteration of a batch yields one token a sequence and as many more as guesses were accepted, the same number
for all its sequences. That number follows the shares by position through a fixed sequence of `PERIOD` quantiles, the
bit-reversed fractions (van der Corput): over a period each position is accepted in exactly its share of the iterations,
rounded to 1/64, and long and short steps are spread as evenly as can be. A replay of many requests thereby has the mean
of the table at every batch, no seed, and jumps that are exact; what it lacks is the luck of single sequences.

A sequence holds blocks for a whole draft beyond the tokens that it has. Tokens beyond its last are thrown away.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from fractions import Fraction
from typing import ClassVar, NamedTuple

from archsim.serving.batch import Batch
from archsim.serving.costs import Costs, Run
from archsim.serving.techniques import Techniques

__all__ = ["PERIOD", "Jump", "Leap", "Pace", "Pattern", "Span", "leap", "pattern_of"]

PERIOD = 64
"""Iterations after which the accepted numbers repeat."""
_BITS = PERIOD.bit_length() - 1


class Span(NamedTuple):
    """What decodes in a jump."""

    batch: int
    kv_tokens: int
    growth: int
    """Tokens that an iteration reads more after each token of every sequence."""


class Jump(NamedTuple):
    """Consecutive iterations as a mixture of knots."""

    time_fine: int
    knots: tuple[tuple[int, int], ...]


class Leap(NamedTuple):
    """Iterations in which nothing changes."""

    steps: int
    tokens: int
    """Of every running sequence."""
    run: Run


class Pattern:
    """Tokens a sequence of every iteration, from the first of a server on."""

    def __init__(self, shares: tuple[Fraction, ...]) -> None:
        quantiles = [Fraction(2 * int(f"{place:0{_BITS}b}"[::-1], 2) + 1, 2 * PERIOD) for place in range(PERIOD)]
        self._tokens = [1 + sum(share > quantile for share in shares) for quantile in quantiles]
        self._before = [0, *itertools.accumulate(self._tokens)]

    @property
    def period_tokens(self) -> int:
        """Tokens of a sequence in a period."""
        return self._before[PERIOD]

    def tokens(self, start: int, steps: int) -> int:
        """Return the tokens of a sequence in *steps* iterations from number *start* on."""
        return self._upto(start + steps) - self._upto(start)

    def most_steps(self, start: int, fits: Callable[[int], bool]) -> int:
        """Return the most iterations from *start* on whose tokens *fits*, which holds for none and then never again."""
        high = 1
        while fits(self.tokens(start, high)):
            high *= 2
        low = high // 2
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if fits(self.tokens(start, middle)) else (low, middle)
        return low

    def steps_for(self, start: int, tokens: int) -> int:
        """Return the fewest iterations from *start* on that yield *tokens* of a sequence, at least one."""
        return 1 + self.most_steps(start, lambda some: some < tokens)

    def _upto(self, steps: int) -> int:
        rounds, rest = divmod(steps, PERIOD)
        return rounds * self._before[PERIOD] + self._before[rest]

    def steps_until(self, costs: Costs, span: Span, *, start: int, limit_fine: int, most: int) -> tuple[int, Jump]:
        """Return the fewest iterations, at least one and at most *most*, that take *limit_fine*, and their costs."""
        done, left = 0, limit_fine
        weights: dict[int, int] = {}
        time_fine = 0
        while most - done > PERIOD:
            rounds = self._rounds_within(costs, span, start=start, done=done, limit_fine=left, most=most - done - 1)
            if not rounds:
                break
            spent = _add(weights, self._rounds(costs, span, start=start, done=done, rounds=rounds))
            done, left, time_fine = done + rounds * PERIOD, left - spent, time_fine + spent
        while done < most:
            kv_tokens = span.kv_tokens + span.growth * self.tokens(start, done)
            spent = _add(weights, [costs.decode(span.batch, kv_tokens, 1)])
            done, left, time_fine = done + 1, left - spent, time_fine + spent
            if left <= 0:
                break
        return done, Jump(time_fine, tuple(weights.items()))

    def _rounds_within(self, costs: Costs, span: Span, *, start: int, done: int, limit_fine: int, most: int) -> int:
        """Return how many whole periods end before *limit_fine*, as a power of two, or none."""
        rounds = 1 << (most // PERIOD).bit_length() >> 1
        while rounds:
            runs = self._rounds(costs, span, start=start, done=done, rounds=rounds)
            if sum(run.time_fine for run in runs) < limit_fine:
                return rounds
            rounds //= 2
        return 0

    def _rounds(self, costs: Costs, span: Span, *, start: int, done: int, rounds: int) -> list[Run]:
        """Return the costs of whole periods: each place of the period is a run whose context grows evenly."""
        rise = span.growth * self.period_tokens
        runs = []
        for place in range(done, done + PERIOD):
            kv_tokens = span.kv_tokens + span.growth * self.tokens(start, place)
            run = costs.decode(span.batch, kv_tokens, rounds, growth=rise)
            runs.append(run)
        return runs


class Pace:
    """How many tokens the iterations of a server have yielded, and yield next."""

    KEPT: ClassVar = ("iterations", "decode_tokens", "drafted")

    def __init__(self, pattern: Pattern | None) -> None:
        self.pattern = pattern
        """None: every iteration yields one token of a sequence."""
        self.iterations = 0
        """Those that decoded."""
        self.decode_tokens = 0
        """Batch times iterations, summed."""
        self.drafted = 0
        """Tokens that they yielded with guesses, those beyond a last one too."""

    @property
    def even(self) -> bool:
        """Whether every iteration yields one token."""
        return self.pattern is None

    @property
    def tokens_next(self) -> int:
        """Tokens of every running sequence that the next iteration yields."""
        return 1 if self.pattern is None else self.pattern.tokens(self.iterations, 1)

    def advance(self, batch: Batch, steps: int, tokens: int) -> int:
        """Let every sequence of *batch* decode *tokens* in *steps* iterations; return how many tokens that yields."""
        size = len(batch)
        batch.advance(tokens)
        self.iterations += steps
        self.decode_tokens += size * steps
        if self.pattern is None:
            return size * tokens
        self.drafted += size * tokens
        return size * tokens - batch.surplus

    def gap(self, costs: Costs, span: Span, start: int, step: int) -> int:
        """Return the time of iteration *step* of a jump of *span*, whose first one is the server's number *start*."""
        before = step if self.pattern is None else self.pattern.tokens(start, step)
        return costs.decode(span.batch, span.kv_tokens + before * span.growth, 1).time_fine


def leap(batch: Batch, costs: Costs, span: Span, pattern: Pattern, *, start: int, left_fine: int) -> Leap:
    """Return the iterations of *batch*, which is *span*, in which nothing changes, up to *left_fine*.

    *start* is the number of the first of them.
    """
    most = pattern.steps_for(start, batch.steps_to_change())
    if batch.demand(pattern.tokens(start, most)) > batch.free_blocks:
        most = pattern.most_steps(start, lambda tokens: batch.demand(tokens) <= batch.free_blocks)
    steps, run = pattern.steps_until(costs, span, start=start, limit_fine=left_fine, most=most)
    return Leap(steps, pattern.tokens(start, steps), run)


def pattern_of(techniques: Techniques) -> Pattern | None:
    """Return the pattern of the drafts of *techniques*; None where nothing is drafted."""
    return Pattern(techniques.drafts.shares) if techniques.drafts else None


def _add(weights: dict[int, int], runs: list[Run]) -> int:
    """Add the knots of *runs* to *weights* and return their time."""
    for run in runs:
        for knot, weight in run.knots:
            weights[knot] = weights.get(knot, 0) + weight
    return sum(run.time_fine for run in runs)
