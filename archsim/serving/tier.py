"""A tier beside a server: KV caches that have no room wait there, instead of being computed again.

S11: a preempted sequence's cache moves to the tier as a whole, what it shared with others included, and comes back
when there is a place, and blocks for it and for one more token of everybody. Transfers pass the ports of all chips at
once and are waited for: no iteration runs meanwhile, since the blocks are wanted at once and the next iteration needs
what comes back (swapping as in vLLM; Kwon et al., SOSP 2023). A cache that the tier has no room for is thrown away and
computed again (A27).

    time of a move of n bytes  =  latency + n / rate        out  =  in + dropped + what is still there
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import ClassVar

from archsim.errors import InputError, Problem
from archsim.serving.costs import Costs, Run, fine_from_ps
from archsim.serving.requests import Limits, Sequence
from archsim.serving.techniques import TierRule
from archsim.units import PS_PER_S

__all__ = ["Tier", "TierUse"]


@dataclass(slots=True)
class TierUse:
    """What a tier was good for."""

    KEPT: ClassVar = (
        "swapped_out", "swapped_in", "turned_away", "out_bytes", "in_bytes", "peak_bytes", "out_fine", "in_fine",
        "out_wait_fine", "in_wait_fine", "stored_units", "fetched_units", "dropped_units", "hit_tokens",
    )  # fmt: skip

    swapped_out: int = 0
    """Preempted sequences whose cache moved there."""
    swapped_in: int = 0
    """Those that came back."""
    turned_away: int = 0
    """Preempted sequences for whose cache there was no room."""
    stored_units: int = 0
    """Units of prefixes that were copied there."""
    fetched_units: int = 0
    """Units of prefixes that came from there."""
    dropped_units: int = 0
    """Units of prefixes that it gave up."""
    hit_tokens: int = 0
    """Of the prompts that were let in, what came from there; not computed again after a preemption."""
    out_bytes: int = 0
    in_bytes: int = 0
    peak_bytes: int = 0
    out_fine: int = 0
    """Time in which bytes went there."""
    in_fine: int = 0
    """Time in which bytes came back."""
    out_wait_fine: int = 0
    """Time before the first bytes of moves there."""
    in_wait_fine: int = 0
    """Time before the first bytes of moves back."""

    def __add__(self, other: TierUse) -> TierUse:
        return TierUse(*(getattr(self, field.name) + getattr(other, field.name) for field in fields(self)))


class Tier:
    """What lies in one server's part of a tier."""

    KEPT: ClassVar = ("_held_bytes", "_unit_bytes", "use")

    def __init__(self, rule: TierRule, limits: Limits) -> None:
        self._rule = rule
        self._reach = limits.reach
        self._held_bytes = self._unit_bytes = 0
        """Of swapped sequences, and of units of prefixes."""
        self.use = TierUse()
        self.yields: Callable[[], bool] = lambda: False
        """Gives up a unit of prefixes for a preempted sequence; says whether there was one."""

    def put(self, sequence: Sequence, costs: Costs) -> Run | None:
        """Take the cache of *sequence*, which was preempted; return the move, None where it is thrown away.

        Raises `InputError` where it would not fit into an empty tier.
        """
        if not self._rule.swaps:
            return None
        # The last token has been sampled and not yet processed: it has no cache.
        size = self._rule.bytes_of(self._reach.attended(sequence.length - 1))
        if size > self._rule.capacity_bytes:
            expected = f"at least the {size:,} bytes that request {sequence.id} has when it is preempted"
            raise InputError(Problem("", "serving.tier.capacity", f"{self._rule.capacity_bytes:,} bytes", expected))
        while self._held_bytes + self._unit_bytes + size > self._rule.capacity_bytes and self.yields():
            continue
        if self._held_bytes + size > self._rule.capacity_bytes:
            self.use.turned_away += 1
            return None
        sequence.stored_bytes = size
        self._held_bytes += size
        self.use.swapped_out += 1
        self.hold_units(0)
        return self.move_out(size, costs)

    def take(self, sequence: Sequence, costs: Costs) -> Run:
        """Give back the cache of *sequence* and return the move."""
        size, sequence.stored_bytes = sequence.stored_bytes, 0
        self._held_bytes -= size
        self.use.swapped_in += 1
        return self.move_in(size, costs)

    @property
    def room_bytes(self) -> int:
        """What swapped sequences leave for prefixes."""
        return self._rule.capacity_bytes - self._held_bytes

    def bytes_of(self, attended: int) -> int:
        """Return the bytes of a cache of *attended* tokens, counted as `Reach.attended` does."""
        return self._rule.bytes_of(attended)

    def hold_units(self, more_bytes: int) -> None:
        """Hold *more_bytes* of prefixes."""
        self._unit_bytes += more_bytes
        self.use.peak_bytes = max(self.use.peak_bytes, self._held_bytes + self._unit_bytes)

    def in_fine(self, size: int) -> int:
        """Return the time in which *size* bytes would come from the tier."""
        return fine_from_ps(self._rule.latency_ps) + _passing(size, self._rule.in_bytes_per_s)

    def move_out(self, size: int, costs: Costs) -> Run:
        """Return the move of *size* bytes to the tier."""
        wait_fine, out_fine = fine_from_ps(self._rule.latency_ps), _passing(size, self._rule.out_bytes_per_s)
        use = self.use
        use.out_bytes, use.out_fine = use.out_bytes + size, use.out_fine + out_fine
        use.out_wait_fine += wait_fine
        return costs.moved(wait_fine, out_fine, 0)

    def move_in(self, size: int, costs: Costs) -> Run:
        """Return the move of *size* bytes from the tier."""
        wait_fine, in_fine = fine_from_ps(self._rule.latency_ps), _passing(size, self._rule.in_bytes_per_s)
        use = self.use
        use.in_bytes, use.in_fine = use.in_bytes + size, use.in_fine + in_fine
        use.in_wait_fine += wait_fine
        return costs.moved(wait_fine, 0, in_fine)


def _passing(size: int, bytes_per_s: int) -> int:
    """Return the fine time in which *size* bytes pass, rounded up."""
    return -(-fine_from_ps(size * PS_PER_S) // bytes_per_s)
