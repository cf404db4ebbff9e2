"""What a stretch of a run did, phase by phase: the knots' books, mixed by how often each occurred."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from archsim.metrics.mixing import Amounts, BookColumns, as_recomputed, mixed
from archsim.result import PhaseName
from archsim.serving.costs import FINE_BITS
from archsim.serving.record import PhaseUse, Window
from archsim.units import PS_PER_S

__all__ = ["PHASE_OF", "Did", "iterations", "phase_amounts", "seconds"]

PHASE_OF: dict[str, PhaseName] = {
    "decode": "decode",
    "prefill": "prefill",
    "prefill_recompute": "prefill",
    "mixed": "mixed",
    "moving": "moving",
}
"""What an iteration was -> the phase it is reported under."""


def seconds(time_fine: int) -> float:
    """Return time on the replay's clock in seconds."""
    return time_fine / (PS_PER_S << FINE_BITS)


def iterations(use: PhaseUse) -> dict[int, float]:
    """Return how often each knot occurred, in iterations."""
    return {knot: weight / (1 << FINE_BITS) for knot, weight in use.weights.items()}


def phase_amounts(columns: BookColumns, phases: Mapping[str, PhaseUse]) -> dict[PhaseName, tuple[Amounts, int]]:
    """Return what each reported phase booked, with its time on the replay's clock."""
    booked: dict[PhaseName, tuple[Amounts, int]] = {}
    for phase, use in phases.items():
        amounts = mixed(columns, iterations(use))
        if phase == "prefill_recompute":
            amounts = as_recomputed(amounts)
        name = PHASE_OF[phase]
        before, time_fine = booked.get(name, (0.0 * amounts, 0))
        booked[name] = (before + amounts, time_fine + use.time_fine)
    return booked


@dataclass(frozen=True)
class Did:
    """What replicas that did the same each did in a whole run."""

    columns: BookColumns
    total: Window

    @cached_property
    def phases(self) -> dict[PhaseName, tuple[Amounts, int]]:
        """What each reported phase booked, with its time on the replay's clock."""
        return phase_amounts(self.columns, self.total.phases)
