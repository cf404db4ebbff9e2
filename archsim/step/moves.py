"""Time in which KV caches move and no iteration runs, as records of one picosecond: so many of them are a move.

While bytes pass, the memories at both ends that are the chip's own move as many as the transfer passes (`moved`) and
wait for it with the rest of their peak; everything else on the chips waits (`network`). Before the first byte comes,
all wait. Chips that stand by are idle. A record of one picosecond can be weighted with any time on the fine clock, so
books of moves add up as those of iterations do.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from fractions import Fraction

from archsim.step.record import Scope, StepRecord
from archsim.units import PS_PER_S

__all__ = ["Moves"]


@dataclass(frozen=True, slots=True)
class Moves:
    """What parts of the chips do meanwhile."""

    memories: Collection[str]
    """Those of each chip that the bytes leave or reach."""
    out_bytes_per_s: Fraction
    """Rate of a chip to the tier."""
    in_bytes_per_s: Fraction
    """Rate back."""
    idle: Collection[str] = ()
    """Chips that stand by, as scopes name them."""

    def records(self, scopes: Sequence[Scope]) -> tuple[StepRecord, StepRecord, StepRecord]:
        """Return a picosecond of waiting for the first byte, one in which bytes leave, and one in which they come."""
        wait, out, back = (self._record(scopes, rate) for rate in (0, self.out_bytes_per_s, self.in_bytes_per_s))
        return wait, out, back

    def _record(self, scopes: Sequence[Scope], rate: Fraction | int) -> StepRecord:
        return StepRecord(
            phase="moving",
            time_ps=1,
            scopes=tuple(scopes),
            books={scope.name: self._book(scope, float(rate * scope.chips / PS_PER_S)) for scope in scopes},
            uses=(),
            collectives=(),
            jobs=0,
            event_count=0,
        )

    def _book(self, scope: Scope, moved: float) -> dict[str, float]:
        """Return the picosecond of *scope*, whose chips together move *moved* bytes in it."""
        peak = scope.peak_per_s / PS_PER_S
        chips, _, part = scope.name.partition(".")
        if chips in self.idle:
            return {"idle": peak}
        if scope.kind != "memory" or part.partition(".")[0] not in self.memories or not moved:
            return {"network": peak}
        return {"moved": moved, "network": peak - moved}
