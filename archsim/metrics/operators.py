"""What each operator of an iteration took: rows that a roofline is read off.

    intensity at a level = arithmetic / bytes that the level moved        attained = arithmetic / time

The binding level of an operator is the one that its bytes would hold the longest at that level's peak.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

__all__ = ["OperatorUse", "binding_level"]


@dataclass(frozen=True, slots=True)
class OperatorUse:
    """One operator, all its executions in one iteration together."""

    batch: int
    """Sequences that are decoded."""
    context: int
    """Tokens of context of each of them."""
    operator: str
    """Name of its kernel; kernels that are not told apart in time are joined by a plus."""
    executions: int
    """On each chip that has it."""
    time_s: float
    """From the end of the operator before it to its own, summed over executions; mean over all chips."""
    flops: Mapping[str, float]
    """Engine -> useful FLOPs of all chips."""
    bytes: Mapping[str, float]
    """Memory level -> bytes moved, of all chips."""


def binding_level(use: OperatorUse, peaks_per_s: Mapping[str, float]) -> str | None:
    """Return the level of *peaks_per_s* (all chips) that holds *use* the longest; None where it moves nothing there."""
    times = {level: use.bytes.get(level, 0.0) / peak for level, peak in peaks_per_s.items() if peak > 0}
    held = {level: time for level, time in times.items() if time > 0}
    return max(held, key=lambda level: (held[level], level)) if held else None
