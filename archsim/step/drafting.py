"""An iteration with guesses: passes of what drafts, one after the other, then one of the model over all of them.

S4: guesses are made and verified in turn, nothing overlaps. Each of `depth` passes guesses `branch` tokens a sequence
(a chain: 1) at the sequence's context; the model then verifies `tokens` positions beside the next one. What drafts also
takes in every prompt. On chips of its own it holds none of the system's memory; the system waits (`bubble`) for its
passes and for the hop each way, and what that other system draws and costs is not counted.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from fractions import Fraction

from archsim.hardware.system import System
from archsim.mapping.plan import Plan
from archsim.mapping.sharding import Cut
from archsim.mapping.waste import without
from archsim.step.in_turn import in_turn, waited
from archsim.step.record import StepRecord
from archsim.step.simulate import simulate_step
from archsim.workload.batch import Batch

__all__ = ["Drafter", "Drafting"]


@dataclass(frozen=True, slots=True)
class Drafter:
    """What guesses, where it runs."""

    cut: Cut
    system: System
    hop_ps: int | None
    """Time to its chips and back again, once a step each; None: it runs on the model's own."""
    head: bool = False
    """It uses the model's embedding and output head."""


@dataclass(frozen=True, slots=True)
class Drafting:
    """How guesses are made and how many are right."""

    shares: tuple[Fraction, ...]
    """Of drafts whose guesses up to each position are right; as many as passes."""
    branch: int
    """Guesses of one pass."""
    tokens: int
    """Positions that the model verifies beyond the next one."""
    drafter: Drafter | None
    """None where guessing costs nothing."""

    def verified(self, batch: Batch) -> Batch:
        """Return *batch* with the positions that are verified, and how many of them come to nothing."""
        if not batch.decode:
            return batch
        wrong = batch.decode * (self.tokens - sum(self.shares))
        return replace(batch, drafted=self.tokens, rejected=int(wrong))

    def step(self, batch: Batch, simulate: Callable[[Batch], StepRecord]) -> StepRecord:
        """Return the iteration of *batch* that *simulate* runs on the model, with its guesses."""
        record = simulate(self.verified(batch))
        drafter = self.drafter
        if drafter is None:
            return record
        passes = [(simulate_step(plan, drafter.system), times) for plan, times in self.plans(batch)]
        if drafter.hop_ps is None:
            return in_turn(record, passes)
        time_ps = 2 * drafter.hop_ps + sum(times * part.time_ps for part, times in passes)
        return waited(record, time_ps, "bubble")

    def plans(self, batch: Batch) -> list[tuple[Plan, int]]:
        """Return (plan of what drafts, how often it runs) for *batch*; nothing where guessing costs nothing."""
        drafter = self.drafter
        if drafter is None:
            return []
        passes = []
        if batch.decode:
            guess = replace(
                Batch(decode=batch.decode, kv_tokens=batch.kv_tokens, window_tokens=batch.window_tokens),
                drafted=self.branch - 1,
            )
            wrong = 1 - sum(self.shares, Fraction(0)) / (len(self.shares) * self.branch)
            passes.append((without(drafter.cut.plan(guess), wrong), len(self.shares)))
        if batch.prefill_tokens:
            prompt = replace(batch, decode=0, kv_tokens=0, window_tokens=0)
            passes.append((drafter.cut.plan(prompt), 1))
        return passes
