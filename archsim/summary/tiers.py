"""What the tiers of a chip hold, and how long flash among them lasts at the rate at which a run wrote to it."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction

from archsim.dram.flash import years_to_wear_out
from archsim.hardware.answers import flash_of, stack_of
from archsim.result import ScopeLedger, TierFacts
from archsim.summary.facts import Design

__all__ = ["tier_facts"]

_WRITTEN = "useful_kv_write"


def tier_facts(
    design: Design, ledger: Mapping[str, ScopeLedger], beside: Mapping[str, Fraction] | None = None
) -> dict[str, TierFacts] | None:
    """Return memory -> what it holds on a chip, or None where the chip has no placement; *ledger* is the whole run's.

    T5: what wears flash is KV, written at the mean rate of the run and spread evenly over chips and stacks; *beside*
    are bytes/s written to all chips' memories of a name for another reason than an iteration.
    """
    if design.spec.chip.placement is None:
        return None
    filled = design.placement.fullest.filled
    weights, rooms = dict(filled.weights), dict(filled.kv_rooms)
    for name, size in filled.experts:
        weights[name] = weights.get(name, 0) + size
    activations, context = dict(filled.activations), dict(filled.context)
    return {
        name: TierFacts(
            usable_bytes=usable,
            weight_bytes=weights.get(name, 0),
            kv_bytes=rooms.get(name, 0),
            activation_bytes=activations.get(name, 0),
            context_bytes=context.get(name, 0),
            years_to_wear_out=_years(design, name, ledger, (beside or {}).get(name, Fraction(0))),
        )
        for name, usable in design.placement.tiers.usable
    }


def _years(design: Design, name: str, ledger: Mapping[str, ScopeLedger], beside: Fraction) -> float | None:
    memory = design.spec.chip.memory[name]
    if memory.device.flash is None:
        return None
    scopes = [scope for scope_name, scope in ledger.items() if scope_name.endswith(f".{name}")]
    peak = sum((Fraction(scope.peak_per_s) for scope in scopes), Fraction(0))
    parts = (Fraction(scope.accounts.get(_WRITTEN, 0.0)) * Fraction(scope.peak_per_s) for scope in scopes)
    written = sum(parts, Fraction(0))
    # A share of the peak of all scopes is the same share of one stack's.
    return years_to_wear_out(
        flash_of(memory.device, memory.device.flash, stack_of(memory)),
        write_bytes_per_s=(written / peak * memory.peak_bytes_per_s + beside / len(design.spec.working_chips))
        / memory.stacks,
    )
