"""Chips that stand by: they do nothing in an iteration, and their books say so.

A spare's memories, caches and engines are booked as `idle` for the whole time, so that utilization, energy and what a
token costs are those of the machine that was bought.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from archsim.step.record import Scope, StepRecord
from archsim.units import PS_PER_S

__all__ = ["with_spares"]


def with_spares(record: StepRecord, spares: Sequence[int]) -> StepRecord:
    """Return *record* with the scopes of the chips *spares*, one of each kind that a working chip has."""
    if not spares:
        return record
    kinds: dict[str, Scope] = {}
    for scope in record.scopes:
        if scope.kind != "link":
            kinds.setdefault(scope.name.partition(".")[2], scope)
    own = tuple(
        replace(scope, name=f"chip{chip}.{part}", peak_per_s=scope.peak_per_s / scope.chips, chips=1)
        for chip in spares
        for part, scope in kinds.items()
    )
    idle = {scope.name: {"idle": scope.peak_per_s * record.time_ps / PS_PER_S} for scope in own}
    return replace(record, scopes=(*record.scopes, *own), books=record.books | idle)
