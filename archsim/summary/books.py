"""The ledger of a run: the knots' books, mixed by how often each occurred, with idle time from the replay's clock.

Idle is booked before the balance is checked, so that the check covers the clock as well as the service.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from archsim.metrics.mixing import Amounts, BookColumns, as_recomputed, balanced_shares, mixed, useful_share, with_idle
from archsim.result import PhaseName, PhaseResult, ScopeLedger
from archsim.serving.costs import FINE_BITS
from archsim.serving.record import PhaseUse, Window
from archsim.step.record import Scope, StepRecord
from archsim.units import PS_PER_S

__all__ = [
    "PHASE_OF",
    "columns_of",
    "iterations",
    "ledger_of",
    "main_scope",
    "phase_amounts",
    "phase_results",
    "seconds",
]

PHASE_OF: dict[str, PhaseName] = {
    "decode": "decode",
    "prefill": "prefill",
    "prefill_recompute": "prefill",
    "mixed": "mixed",
}
"""What an iteration was -> the phase it is reported under."""

UNITS = {"bytes": "B/s", "flop": "FLOP/s"}


def seconds(time_fine: int) -> float:
    """Return time on the replay's clock in seconds."""
    return time_fine / (PS_PER_S << FINE_BITS)


def columns_of(records: Sequence[StepRecord]) -> BookColumns:
    """Return the books of all simulated iterations as columns."""
    peaks = {scope.name: scope.peak_per_s for scope in records[0].scopes}
    return BookColumns.of([record.books for record in records], peaks)


def main_scope(scopes: Iterable[Scope], memory: str) -> str:
    """Return the ledger scope of the chips' memory *memory*."""
    return next(scope.name for scope in scopes if scope.kind == "memory" and scope.name.endswith(f".{memory}"))


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


def phase_results(
    columns: BookColumns, scopes: Sequence[Scope], total: Window, memory: str
) -> dict[PhaseName, PhaseResult]:
    """Return every phase that occurred; *memory* names the scope that MBU is read off."""
    results: dict[PhaseName, PhaseResult] = {}
    for phase, (amounts, time_fine) in phase_amounts(columns, total.phases).items():
        shares = balanced_shares(columns, amounts, seconds(time_fine))
        results[phase] = PhaseResult(
            time_s=seconds(time_fine),
            mbu=useful_share(shares[memory]),
            mfu=_mfu(shares),
            ledger=_scope_ledgers(shares, scopes),
        )
    if total.idle_fine:
        idle_s = seconds(total.idle_fine)
        shares = balanced_shares(columns, with_idle(columns, 0.0 * columns.amounts[0], idle_s), idle_s)
        results["none"] = PhaseResult(time_s=idle_s, mbu=0.0, mfu=0.0, ledger=_scope_ledgers(shares, scopes))
    return results


def ledger_of(columns: BookColumns, scopes: Sequence[Scope], window: Window) -> dict[str, ScopeLedger]:
    """Return the ledger of *window*, idle time included. Raises `SimulationError` where it does not balance."""
    amounts = 0.0 * columns.amounts[0]
    for booked, _ in phase_amounts(columns, window.phases).values():
        amounts = amounts + booked
    amounts = with_idle(columns, amounts, seconds(window.idle_fine))
    return _scope_ledgers(balanced_shares(columns, amounts, seconds(window.end_fine - window.start_fine)), scopes)


def _scope_ledgers(shares: Mapping[str, dict[str, float]], scopes: Sequence[Scope]) -> dict[str, ScopeLedger]:
    return {
        scope.name: ScopeLedger(
            peak_per_s=scope.peak_per_s,
            unit="B/s" if scope.unit == "bytes" else "FLOP/s",
            accounts=shares[scope.name],
        )
        for scope in scopes
    }


def _mfu(shares: Mapping[str, dict[str, float]]) -> float | None:
    engine = next((accounts for scope, accounts in shares.items() if scope.endswith(".matrix")), None)
    return None if engine is None else useful_share(engine)
