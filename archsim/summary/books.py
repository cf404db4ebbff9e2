"""The ledger of a run: the knots' books, mixed by how often each occurred, with idle time from the replay's clock.

Idle is booked before the balance is checked, so that the check covers the clock as well as the service.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from archsim.metrics.accounts import ACCOUNTS
from archsim.metrics.mixing import Amounts, BookColumns, as_recomputed, balanced_shares, mixed, useful_share, with_idle
from archsim.result import PhaseName, PhaseResult, ScopeLedger
from archsim.serving.costs import FINE_BITS
from archsim.serving.record import PhaseUse
from archsim.summary.parts import Part, Whole, summed_over
from archsim.units import PS_PER_S

__all__ = [
    "PHASE_OF",
    "iterations",
    "ledger_of",
    "phase_amounts",
    "phase_results",
    "seconds",
]

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


def phase_results(parts: Sequence[Part], wholes: Sequence[Whole], memory: str) -> dict[PhaseName, PhaseResult]:
    """Return every phase that occurred; *memory* names the scope that MBU is read off.

    Replicas each spend their own time in a phase; it is reported as their mean.
    """
    booked: dict[PhaseName, list[_Booked]] = {}
    for part in parts:
        for phase, (amounts, time_fine) in phase_amounts(part.columns, part.total.phases).items():
            booked.setdefault(phase, []).append(_Booked(part, amounts, seconds(time_fine)))
    for part in parts:
        if part.total.idle_fine:
            idle_s = seconds(part.total.idle_fine)
            idle = with_idle(part.columns, 0.0 * part.columns.amounts[0], idle_s)
            booked.setdefault("none", []).append(_Booked(part, idle, idle_s))
    results: dict[PhaseName, PhaseResult] = {}
    for phase, entries in booked.items():
        shares, ledgers = _shares(entries, wholes)
        useful = phase != "none"
        results[phase] = PhaseResult(
            time_s=math.fsum(entry.time_s for entry in entries) / len(parts),
            mbu=useful_share(shares[memory]) if useful else 0.0,
            mfu=_mfu(shares) if useful else 0.0,
            ledger=ledgers,
        )
    return results


def ledger_of(parts: Sequence[Part], wholes: Sequence[Whole]) -> dict[str, ScopeLedger]:
    """Return the ledger of the run, idle time included. Raises `SimulationError` where it does not balance."""
    entries = []
    for part in parts:
        amounts = 0.0 * part.columns.amounts[0]
        for booked, _ in phase_amounts(part.columns, part.total.phases).values():
            amounts = amounts + booked
        amounts = with_idle(part.columns, amounts, seconds(part.total.idle_fine))
        entries.append(_Booked(part, amounts, seconds(part.total.end_fine - part.total.start_fine)))
    return _shares(entries, wholes)[1]


class _Booked(NamedTuple):
    """What one replica booked in some of its time."""

    part: Part
    amounts: Amounts
    time_s: float


def _shares(
    entries: Sequence[_Booked], wholes: Sequence[Whole]
) -> tuple[dict[str, dict[str, float]], dict[str, ScopeLedger]]:
    """Return scope -> account -> share of peak x time, and the same as ledgers; wholes first."""
    shares = {whole.scope.name: _whole_shares(entries, whole) for whole in wholes}
    scopes = [whole.scope for whole in wholes]
    for part, amounts, time_s in entries:
        shares |= balanced_shares(part.columns, amounts, time_s)
        scopes += part.scopes
    ledgers = {
        scope.name: ScopeLedger(
            peak_per_s=scope.peak_per_s,
            unit="B/s" if scope.unit == "bytes" else "FLOP/s",
            accounts=shares[scope.name],
        )
        for scope in scopes
    }
    return shares, ledgers


def _whole_shares(entries: Sequence[_Booked], whole: Whole) -> dict[str, float]:
    sums = [summed_over(whole, amounts).tolist() for _, amounts, _ in entries]
    booked = math.fsum(
        float(part.columns.peaks_per_s[row]) * time_s for part, _, time_s in entries for row in whole.rows
    )
    amounts = {account: math.fsum(column) for account, *column in zip(ACCOUNTS, *sums, strict=True)}
    return {account: amount / booked for account, amount in amounts.items() if amount}


def _mfu(shares: Mapping[str, dict[str, float]]) -> float | None:
    engine = next((accounts for scope, accounts in shares.items() if scope.endswith(".matrix")), None)
    return None if engine is None else useful_share(engine)
