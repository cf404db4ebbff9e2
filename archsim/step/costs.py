"""What iterations cost: simulated at knots, interpolated between them, and exactly additive.

A21: the time of a decode iteration is a function of its batch and of the total context it reads; that of a prefill
iteration, of its new tokens and its query-key pairs. A22: both are piecewise linear between knots whose spacing is a
power of two: batch and prompt tokens have 16 knots an octave up to 512 (up to 32 each is its own knot) and 8 beyond,
total context and pairs 1. The weights of the knots are then whole multiples of 2**-32, times are integers in units of
2**-32 ps, and a run of iterations costs exactly the sum of its iterations. The same weights mix the ledgers, so the
books of any mixture balance as the knots' do.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

from archsim.step.cells import FINE_BITS, NOWHERE, Cell, Mixture, Square
from archsim.step.knots import chunk_batch, decode_batch, part_batch, prefill_batch
from archsim.step.moves import Moves
from archsim.step.record import StepRecord
from archsim.workload.batch import Batch
from archsim.workload.layers import ALL, Reach

__all__ = ["FINE_BITS", "ChunkCounts", "Mixture", "StepCosts"]

ROW_BITS, CONTEXT_BITS, PAIR_BITS = 4, 0, 0
"""log2 of the knots in an octave of each axis; rows are the batch of a decode or the new tokens of a prefill."""
_FINE_ROWS = 512
"""Up to here a product may turn from reading weights to computing, and rows have twice the knots of larger ones."""
_BEND_BITS = 6
"""How often the spacing of contexts is halved around a bend."""
_MIXED_BITS, _MIXED_SHARE_BITS = 1, 8
"""Mixed iterations: log2 of the knots in an octave of the sequences that decode, and of the finest share."""
_WIDEST_BATCH, _WIDEST_OTHER = 8, 24
"""log2 of the widest spacing: together within `FINE_BITS`, so that a product of weights stays whole."""


class ChunkCounts(Protocol):
    """Chunks of prompts in one iteration, in sums."""

    @property
    def tokens(self) -> int:
        """New tokens."""

    @property
    def pairs(self) -> int:
        """Query-key pairs of them."""


class StepCosts:
    """Costs of iterations on one system, simulated on demand by *simulate* and kept.

    *bends* are total contexts at which the time of a decode turns (KV blocks begin to fill a slower memory): spacing
    around them is halved down to 1/64 of the octave's. *reach* says how contexts are counted, *moves* what chips do
    while KV caches move.
    """

    def __init__(
        self,
        simulate: Callable[[Batch], StepRecord],
        *,
        bends: Sequence[int] = (),
        reach: Reach = ALL,
        moves: Moves | None = None,
    ) -> None:
        self.records: list[StepRecord] = []
        """The simulated iterations, in the order they were first needed."""
        self._simulate = simulate
        self._bends = tuple(bends)
        self._reach = reach
        self._index: dict[Batch, int] = {}
        self._cells: dict[tuple[int, int], Cell] = {}
        self._last = NOWHERE
        self._prefills: dict[tuple[int, int], int] = {}
        self._squares: dict[tuple[int, int], Square] = {}
        self._mixtures: dict[tuple[int, int, int, int], int] = {}
        self._moves = moves
        self._moving: range | None = None

    @property
    def asked(self) -> tuple[Batch | None, ...]:
        """The batches of `records` in order; None for those of moves."""
        batches: list[Batch | None] = [*self._index]
        if self._moving is not None:
            batches.insert(self._moving.start, None)
        return tuple(batches)

    def ask_again(self, batches: Iterable[Batch | None]) -> None:
        """Simulate what another one was `asked`, in the same order."""
        for batch in batches:
            if batch is None:
                self.moved(0, 0, 0)
            else:
                self.knot(batch)

    def knot(self, batch: Batch) -> int:
        """Return the index of the record of exactly *batch*, simulating it if it is new."""
        index = self._index.get(batch)
        if index is None:
            self.records.append(self._simulate(batch))
            index = self._index[batch] = len(self.records) - 1
        return index

    def exact(self, batch: Batch) -> Mixture:
        """Return one iteration of *batch*, simulated and not interpolated."""
        index = self.knot(batch)
        return Mixture(self.records[index].time_ps << FINE_BITS, ((index, 1 << FINE_BITS),))

    def decode(self, batch: int, kv_tokens: int, steps: int, *, growth: int | None = None) -> Mixture:
        """Return *steps* iterations that decode the same *batch* sequences; iteration i reads kv_tokens + i * growth.

        Tokens are counted as `Reach.attended` does; *growth* is one a sequence unless windows hold it back.
        """
        rise = batch if growth is None else growth
        weights: dict[int, int] = {}
        time_fine = 0
        while steps:
            cell = self._cell(batch, kv_tokens)
            first = kv_tokens - cell.lower
            run = cell.steps_inside(first, rise, steps)
            beyond = run * first + rise * (run * (run - 1) // 2)
            time_fine += cell.time_fine(run, beyond)
            cell.add_weights(weights, run, beyond)
            kv_tokens += run * rise
            steps -= run
        return Mixture(time_fine, tuple(weights.items()))

    def decode_steps_until(
        self, batch: int, kv_tokens: int, limit_fine: int, most: int, *, growth: int | None = None
    ) -> int:
        """Return the smallest n >= 1 for which n such iterations take at least *limit_fine*, at most *most*."""
        rise = batch if growth is None else growth
        done, left = 0, limit_fine
        while done < most:
            cell = self._cell(batch, kv_tokens)
            first = kv_tokens - cell.lower
            run = cell.steps_inside(first, rise, most - done)
            taken = cell.time_fine(run, run * first + rise * (run * (run - 1) // 2))
            if taken >= left:
                return done + cell.fewest(rise, first, run, left)
            done, left, kv_tokens = done + run, left - taken, kv_tokens + run * rise
        return most

    def decode_until(
        self, batch: int, kv_tokens: int, limit_fine: int, most: int, *, growth: int | None = None
    ) -> tuple[int, Mixture]:
        """Return `decode_steps_until` and the costs of as many iterations."""
        rise = batch if growth is None else growth
        cell = self._cell(batch, kv_tokens)
        first = kv_tokens - cell.lower
        if first + rise * (most - 1) >= cell.upper - cell.lower:
            steps = self.decode_steps_until(batch, kv_tokens, limit_fine, most, growth=growth)
            return steps, self.decode(batch, kv_tokens, steps, growth=growth)
        beyond = most * first + rise * (most * (most - 1) // 2)
        time_fine = most * cell.base_fine + beyond * cell.slope_fine
        if time_fine > limit_fine:
            most = cell.fewest(rise, first, most, limit_fine)
            beyond = most * first + rise * (most * (most - 1) // 2)
            time_fine = most * cell.base_fine + beyond * cell.slope_fine
        weights: dict[int, int] = {}
        cell.add_weights(weights, most, beyond)
        return most, Mixture(time_fine, tuple(weights.items()))

    def prefill(self, sequences: int, tokens: int, pairs: int, kv_tokens: int) -> Mixture:
        """Return one iteration that prefills *tokens* of *sequences* with *pairs* query-key pairs.

        *kv_tokens* beyond *tokens* (context from an earlier chunk) is simulated exactly, not interpolated.
        """
        if kv_tokens > tokens:
            return self.exact(chunk_batch(self._reach, sequences, tokens, pairs, kv_tokens))
        token_bits, pair_bits = _prefill_bits(tokens, pairs)
        token_lower, pair_lower = tokens >> token_bits << token_bits, pairs >> pair_bits << pair_bits
        if tokens == token_lower or pairs == pair_lower:
            return self._prefill_on_edge(tokens, pairs)
        square = self._squares.get((token_lower, pair_lower))
        if square is None:
            square = self._squares[token_lower, pair_lower] = self._new_square(token_lower, pair_lower)
        return square.mixture(tokens - token_lower, pairs - pair_lower)

    def _prefill_on_edge(self, tokens: int, pairs: int) -> Mixture:
        weights: dict[int, int] = {}
        for token_knot, token_share, token_bits in _neighbours(tokens, _row_bits(tokens), _WIDEST_BATCH):
            for pair_knot, pair_share, pair_bits in _neighbours(pairs, PAIR_BITS, _WIDEST_OTHER):
                knot = self._prefill_knot(token_knot, pair_knot)
                weight = (token_share * pair_share) << (FINE_BITS - token_bits - pair_bits)
                weights[knot] = weights.get(knot, 0) + weight
        time_fine = sum(weight * self.records[knot].time_ps for knot, weight in weights.items())
        return Mixture(time_fine, tuple(weights.items()))

    def mixed(self, decode: int, kv_tokens: int, chunks: ChunkCounts) -> Mixture:
        """Return one iteration that decodes *decode* sequences of *kv_tokens* in all beside *chunks* of prompts.

        A36: linear between knots of all rows together, of the sequences that decode, of their context and of the
        chunks' pairs; which context a chunk reads follows from its tokens and pairs.
        """
        rows = _rounded(_neighbours(decode + chunks.tokens, _MIXED_BITS, _WIDEST_OTHER))
        sequences = _neighbours(decode, _MIXED_BITS, _WIDEST_BATCH) if decode else [(0, 1, 0)]
        contexts = _rounded(_neighbours(kv_tokens, CONTEXT_BITS, _WIDEST_OTHER)) if decode else [(0, 1, 0)]
        pairs = _rounded(_neighbours(chunks.pairs, PAIR_BITS, _WIDEST_OTHER))
        weights: dict[int, int] = {}
        for corner in itertools.product(rows, sequences, contexts, pairs):
            knot = self._mixed_knot(*(value for value, _, _ in corner))
            weight = math.prod(share for _, share, _ in corner) << (FINE_BITS - sum(bits for _, _, bits in corner))
            weights[knot] = weights.get(knot, 0) + weight
        time_fine = sum(weight * self.records[knot].time_ps for knot, weight in weights.items())
        return Mixture(time_fine, tuple(weights.items()))

    def moved(self, wait_fine: int, out_fine: int, in_fine: int) -> Mixture:
        """Return a move of KV caches: so long until its first byte comes, so long for bytes each way."""
        if self._moving is None:
            if self._moves is None:
                raise AssertionError("nothing is said of what chips do while caches move")
            known = len(self.records) or self.knot(decode_batch(self._reach, 1, 1)) + 1
            self.records += self._moves.records(self.records[0].scopes)
            self._moving = range(known, known + 3)
        knots = zip(self._moving, (wait_fine, out_fine, in_fine), strict=True)
        return Mixture(wait_fine + out_fine + in_fine, tuple(knot for knot in knots if knot[1]))

    def _mixed_knot(self, rows: int, decode: int, kv_tokens: int, pairs: int) -> int:
        key = (rows, decode, kv_tokens, pairs)
        knot = self._mixtures.get(key)
        if knot is None:
            chunk = part_batch(self._reach, max(rows - decode, 1), pairs)
            batch = chunk + decode_batch(self._reach, decode, kv_tokens) if decode else chunk
            knot = self._mixtures[key] = self.knot(batch)
        return knot

    def _new_square(self, tokens: int, pairs: int) -> Square:
        token_bits, pair_bits = _prefill_bits(tokens, pairs)
        corners = itertools.product((tokens, tokens + (1 << token_bits)), (pairs, pairs + (1 << pair_bits)))
        knots = tuple(self._prefill_knot(*corner) for corner in corners)
        times_ps = tuple(self.records[knot].time_ps for knot in knots)
        return Square(token_bits, pair_bits, knots, times_ps, len(set(knots)) == len(knots))

    def _prefill_knot(self, tokens: int, pairs: int) -> int:
        knot = self._prefills.get((tokens, pairs))
        if knot is None:
            knot = self._prefills[tokens, pairs] = self.knot(prefill_batch(self._reach, tokens, pairs))
        return knot

    def _cell(self, batch: int, kv_tokens: int) -> Cell:
        last = self._last
        if last.batch == batch and last.lower <= kv_tokens < last.upper:
            return last
        bits = self._context_bits(kv_tokens)
        key = (batch, kv_tokens >> bits << bits)
        cell = self._cells.get(key)
        if cell is None:
            cell = self._cells[key] = self._new_cell(*key, bits)
        self._last = cell
        return cell

    def _context_bits(self, kv_tokens: int) -> int:
        bits = _spacing_bits(kv_tokens, CONTEXT_BITS, _WIDEST_OTHER)
        if not self._bends:
            return bits
        finest = max(bits - _BEND_BITS, 0)
        while bits > finest and any(bend >> bits == kv_tokens >> bits and bend % (1 << bits) for bend in self._bends):
            bits -= 1
        return bits

    def _new_cell(self, batch: int, lower: int, bits: int) -> Cell:
        batches = _neighbours(batch, _row_bits(batch), _WIDEST_BATCH)
        corners = tuple(
            (self._decode_knot(knot, lower), self._decode_knot(knot, lower + (1 << bits)), share)
            for knot, share, _ in batches
        )
        batch_bits = batches[0][2]
        time = [record.time_ps for record in self.records]
        base = sum(time[low] * share for low, _, share in corners) << (FINE_BITS - batch_bits)
        rise = sum((time[up] - time[low]) * share for low, up, share in corners) << (FINE_BITS - batch_bits - bits)
        return Cell(batch, lower, lower + (1 << bits), bits, corners, batch_bits, base, rise)

    def _decode_knot(self, batch: int, kv_tokens: int) -> int:
        return self.knot(decode_batch(self._reach, batch, kv_tokens))


def _spacing_bits(value: int, bits: int, widest: int) -> int:
    """Return log2 of the spacing of knots around *value*: 2**bits knots an octave, at least one apart."""
    octave = value.bit_length() - 1 - bits
    return 0 if octave < 0 else widest if octave > widest else octave  # noqa: FURB136  # twice as fast as min and max


def _prefill_bits(tokens: int, pairs: int) -> tuple[int, int]:
    """Return log2 of the spacing of knots around a prefill, along both axes."""
    # Written out, as it is asked at every prefill.
    rows = tokens.bit_length() - 1 - (ROW_BITS if tokens < _FINE_ROWS else ROW_BITS - 1)
    octave = pairs.bit_length() - 1 - PAIR_BITS
    return (
        0 if rows < 0 else _WIDEST_BATCH if rows > _WIDEST_BATCH else rows,  # noqa: FURB136 - as above
        _WIDEST_OTHER if octave > _WIDEST_OTHER else octave,  # noqa: FURB136
    )


def _row_bits(rows: int) -> int:
    return ROW_BITS if rows < _FINE_ROWS else ROW_BITS - 1


def _neighbours(value: int, bits: int, widest: int) -> list[tuple[int, int, int]]:
    """Return the one or two knots around *value* as (knot, share, log2 of the unit of the share)."""
    spacing = _spacing_bits(value, bits, widest)
    lower = value >> spacing << spacing
    rest = value - lower
    knots = [(lower, (1 << spacing) - rest, spacing), (lower + (1 << spacing), rest, spacing)]
    return [knot for knot in knots if knot[1]]


def _rounded(knots: list[tuple[int, int, int]]) -> list[tuple[int, int, int]]:
    """Return *knots* with shares in units of 2**-8 at the finest, so that products of four shares stay whole."""
    bits = knots[0][2]
    if bits <= _MIXED_SHARE_BITS or len(knots) == 1:
        return [(value, 1, 0) for value, _, _ in knots] if len(knots) == 1 else knots
    upper = knots[1][1] >> (bits - _MIXED_SHARE_BITS)
    shares = ((1 << _MIXED_SHARE_BITS) - upper, upper)
    return [(knot[0], share, _MIXED_SHARE_BITS) for knot, share in zip(knots, shares, strict=True) if share]
