"""A cost model small enough to believe: exact, piecewise linear in the context tokens, arbitrary in the batch.

The knots of batch b lie at the multiples of 2**spacing_bits tokens; the time between two knots is linear. `decode`
sums its iterations one by one in `LoopCosts`, and segment by segment in closed form in `ToyCosts`.
"""

from __future__ import annotations

from collections.abc import Callable
from math import isqrt
from typing import Any, NamedTuple

FINE_BITS = 32
ONE = 1 << FINE_BITS


class ToyRun(NamedTuple):
    """Iterations as a mixture of knots."""

    time_fine: int
    knots: tuple[tuple[int, int], ...]


class LoopCosts:
    """Costs from *decode_ps(batch, kv_tokens)* at the knots and *prefill_ps(tokens, pairs)*, summed by counting."""

    def __init__(
        self,
        decode_ps: Callable[[int, int], int],
        prefill_ps: Callable[[int, int], int],
        *,
        spacing_bits: int,
    ) -> None:
        self.decode_ps = decode_ps
        self.prefill_ps = prefill_ps
        self.spacing_bits = spacing_bits

    def knot(self, batch: int, index: int) -> int:
        """Return the number of knot *index* of *batch*."""
        return 2 * ((batch << 32) + index)

    def knot_ps(self, knot: int) -> int:
        """Return the time of one iteration at *knot*."""
        if knot & 1:
            return self.prefill_ps(knot >> 64, (knot >> 1) & (2**63 - 1))
        return self.decode_ps(knot >> 33, ((knot >> 1) & (2**32 - 1)) << self.spacing_bits)

    def mixture(self, weights: dict[int, int]) -> ToyRun:
        """Return the run with *weights* of knots."""
        knots = tuple((knot, weight) for knot, weight in sorted(weights.items()) if weight)
        return ToyRun(sum(weight * self.knot_ps(knot) for knot, weight in knots), knots)

    def decode(self, batch: int, kv_tokens: int, steps: int, *, growth: int | None = None) -> ToyRun:
        """Return *steps* iterations, summed one by one."""
        rise = batch if growth is None else growth
        weights: dict[int, int] = {}
        for step in range(steps):
            index, rest = divmod(kv_tokens + step * rise, 1 << self.spacing_bits)
            share = rest << (FINE_BITS - self.spacing_bits)
            for knot, weight in ((self.knot(batch, index), ONE - share), (self.knot(batch, index + 1), share)):
                weights[knot] = weights.get(knot, 0) + weight
        return self.mixture(weights)

    def decode_steps_until(
        self, batch: int, kv_tokens: int, limit_fine: int, most: int, *, growth: int | None = None
    ) -> int:
        """Return the first of 1, 2, ... *most* iterations that take the limit together, else *most*."""
        elapsed, rise = 0, batch if growth is None else growth
        for step in range(most):
            elapsed += self.decode(batch, kv_tokens + step * rise, 1).time_fine
            if elapsed >= limit_fine:
                return step + 1
        return most

    def decode_until(
        self, batch: int, kv_tokens: int, limit_fine: int, most: int, *, growth: int | None = None
    ) -> tuple[int, ToyRun]:
        """Return both of what the names say."""
        steps = self.decode_steps_until(batch, kv_tokens, limit_fine, most, growth=growth)
        return steps, self.decode(batch, kv_tokens, steps, growth=growth)

    def prefill(self, sequences: int, tokens: int, pairs: int, kv_tokens: int) -> ToyRun:
        """Return one prefill iteration: a knot of its own."""
        if not sequences <= tokens <= pairs or kv_tokens != tokens:
            raise ValueError(f"{sequences} whole sequences of {tokens} tokens, {pairs} pairs, {kv_tokens} read")
        return self.mixture({(tokens << 64) + 2 * pairs + 1: ONE})

    def mixed(self, decode: int, kv_tokens: int, chunks: Any) -> ToyRun:
        """Return one iteration of decoding and prefilling sequences: the sum of both."""
        if not chunks.sequences <= chunks.tokens <= min(chunks.pairs, chunks.kv_tokens):
            raise ValueError(f"no chunks: {chunks}")
        weights = {(chunks.tokens << 64) + 2 * (chunks.pairs + chunks.kv_tokens) + 1: ONE}
        if decode:
            weights |= dict(self.decode(decode, kv_tokens, 1).knots)
        return self.mixture(weights)

    @staticmethod
    def moved(wait_fine: int, out_fine: int, in_fine: int) -> ToyRun:
        """Return a move: three further knots of a picosecond each."""
        return ToyRun(wait_fine + out_fine + in_fine, ((-3, wait_fine), (-2, out_fine), (-1, in_fine)))


class ToyCosts(LoopCosts):
    """The same costs in closed form: a run visits segments between knots, not iterations."""

    def decode(self, batch: int, kv_tokens: int, steps: int, *, growth: int | None = None) -> ToyRun:
        """Return *steps* iterations; within a segment their shares are an arithmetic series."""
        rise = batch if growth is None else growth
        bits = self.spacing_bits
        weights: dict[int, int] = {}
        time_fine = 0
        while steps:
            index = kv_tokens >> bits
            rest = kv_tokens - (index << bits)
            count = min(steps, -(-((1 << bits) - rest) // rise)) if rise else steps
            upper = (count * rest + rise * (count * (count - 1) // 2)) << (FINE_BITS - bits)
            low = self.knot(batch, index)
            high = self.knot(batch, index + 1)
            weights[low] = weights.get(low, 0) + (count << FINE_BITS) - upper
            weights[high] = weights.get(high, 0) + upper
            time_fine += ((count << FINE_BITS) - upper) * self.decode_ps(batch, index << bits)
            time_fine += upper * self.decode_ps(batch, (index + 1) << bits)
            kv_tokens += count * rise
            steps -= count
        return ToyRun(time_fine, tuple((knot, weight) for knot, weight in weights.items() if weight))

    def decode_steps_until(
        self, batch: int, kv_tokens: int, limit_fine: int, most: int, *, growth: int | None = None
    ) -> int:
        """Return the same number, segment by segment, solving a quadratic in the last one."""
        bits, rise = self.spacing_bits, batch if growth is None else growth
        done = 0
        while done < most:
            index = kv_tokens >> bits
            rest = kv_tokens - (index << bits)
            count = min(most - done, -(-((1 << bits) - rest) // rise)) if rise else most - done
            low = self.decode_ps(batch, index << bits)
            slope = self.decode_ps(batch, (index + 1) << bits) - low
            unit = 1 << (FINE_BITS - bits)
            first = (low << FINE_BITS) + rest * slope * unit
            faster = rise * slope * unit
            time_fine = count * first + faster * (count * (count - 1) // 2)
            if time_fine >= limit_fine:
                return done + _first_reaching(first, faster, limit_fine, count)
            limit_fine -= time_fine
            kv_tokens += count * rise
            done += count
        return most


def _first_reaching(first: int, growth: int, limit: int, count: int) -> int:
    """Return the smallest n >= 1 with n * first + growth * n * (n - 1) / 2 >= limit, known to be at most *count*."""

    def reaches(n: int) -> bool:
        return n * first + growth * (n * (n - 1) // 2) >= limit

    if growth:
        linear = 2 * first - growth
        guess = (isqrt(linear * linear + 8 * growth * limit) - linear) // (2 * growth)
    else:
        guess = limit // first
    n = min(count, max(1, guess))
    while n > 1 and reaches(n - 1):
        n -= 1
    while not reaches(n):
        n += 1
    return n
