"""What the replay asks of a cost model: the time of iterations, exactly.

The replay clock is a Python integer in units of 2**-32 ps, called *fine* time. A cost model interpolates between
simulated iterations (knots) with weights that are whole multiples of 2**-32, so that a run of a million interpolated
iterations costs precisely what the million cost one by one. Whole picoseconds appear only where a time is recorded,
rounded up: a request never finishes early.
"""

from __future__ import annotations

from typing import Protocol

from archsim.errors import SimulationError
from archsim.serving.chunks import Chunks
from archsim.serving.requests import Sequence
from archsim.step.costs import FINE_BITS
from archsim.units import PS_PER_S
from archsim.workload.layers import Reach

__all__ = [
    "FINE_BITS",
    "Costs",
    "Run",
    "check_clock",
    "decode_alike_fine",
    "fine_from_ps",
    "ps_from_fine",
    "whole_prompts",
]

_LATEST_PS = 2**63 - 1
"""What a column of times holds: 106 days."""


class Run(Protocol):
    """Consecutive iterations as a mixture of knots."""

    @property
    def time_fine(self) -> int:
        """Time of all iterations: the sum of weight times knot time in picoseconds."""

    @property
    def knots(self) -> tuple[tuple[int, int], ...]:
        """Pairs (knot, weight), weights in units of 2**-32 iteration; they sum to the iterations times 2**32."""


class Costs(Protocol):
    """The time of an iteration by its batch. Additive: n + m decode iterations cost the n, then the m that follow."""

    def decode(self, batch: int, kv_tokens: int, steps: int, *, growth: int | None = None) -> Run:
        """Return *steps* decode iterations of the same sequences.

        Iteration i, counted from 0, reads *kv_tokens* + i * *growth* tokens of context; as many more as there are
        sequences, unless windows hold it back.
        """

    def decode_steps_until(
        self, batch: int, kv_tokens: int, limit_fine: int, most: int, *, growth: int | None = None
    ) -> int:
        """Return the smallest n >= 1 such that n decode iterations take at least *limit_fine*; at most *most*."""

    def decode_until(
        self, batch: int, kv_tokens: int, limit_fine: int, most: int, *, growth: int | None = None
    ) -> tuple[int, Run]:
        """Return that n and the n iterations."""

    def prefill(self, sequences: int, tokens: int, pairs: int, kv_tokens: int) -> Run:
        """Return one iteration that prefills *tokens* of *sequences*.

        *pairs* counts the causal query-key pairs, summed over the sequences; *kv_tokens* the tokens of context read.
        """

    def mixed(self, decode: int, kv_tokens: int, chunks: Chunks) -> Run:
        """Return one iteration of *decode* sequences that read *kv_tokens* together, and of *chunks* of prompts."""

    def moved(self, wait_fine: int, out_fine: int, in_fine: int) -> Run:
        """Return a move of KV caches: so long until its first byte comes, so long for bytes to a tier and back."""


def decode_alike_fine(costs: Costs, reach: Reach, *, sequences: int, context: int, steps: int) -> int:
    """Return the time of *steps* decode iterations of *sequences* that first attend to *context* tokens each."""
    before = min(steps, max(reach.window - context, 0)) if reach.windowed else steps
    time_fine = 0
    for done, count, parts in ((0, before, reach.parts), (before, steps - before, reach.full)):
        if count:
            attended = sequences * reach.attended(context + done)
            time_fine += costs.decode(sequences, attended, count, growth=sequences * parts).time_fine
    return time_fine


def whole_prompts(costs: Costs, joining: list[Sequence], reach: Reach) -> Run:
    """Return one iteration on all that the prompts of *joining* lack."""
    if len(joining) == 1 and not joining[0].cached:
        length = joining[0].length
        return costs.prefill(1, length, reach.pairs(length), length)
    if any(sequence.cached for sequence in joining):
        return costs.mixed(0, 0, Chunks.of_rest(joining, reach))
    lengths = [sequence.length for sequence in joining]
    return costs.prefill(len(joining), sum(lengths), sum(map(reach.pairs, lengths)), sum(lengths))


def ps_from_fine(time_fine: int) -> int:
    """Return the whole picoseconds that hold *time_fine*: rounded up."""
    return -(-time_fine >> FINE_BITS)


def fine_from_ps(picoseconds: int) -> int:
    """Return *picoseconds* on the replay clock."""
    return picoseconds << FINE_BITS


def check_clock(now_ps: int) -> None:
    """Raise `SimulationError` where a run goes on for longer than a column of times holds."""
    if now_ps > _LATEST_PS:
        raise SimulationError(f"the run goes on beyond {_LATEST_PS // (86400 * PS_PER_S)} days of simulated time")
