"""The ledger of a run: the knots' books, mixed by how often each occurred, with idle time from the replay's clock.

Idle is booked before the balance is checked, so that the check covers the clock as well as the service.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

from archsim.metrics.accounts import ACCOUNTS
from archsim.metrics.mixing import Amounts, balanced_shares, useful_share, with_idle
from archsim.result import PhaseName, PhaseResult, ScopeLedger
from archsim.step.record import Scope
from archsim.summary.parts import Part, Whole, summed_over
from archsim.summary.phases import Did, seconds

__all__ = [
    "ledger_of",
    "phase_results",
]


def phase_results(parts: Sequence[Part], wholes: Sequence[Whole], memory: str) -> dict[PhaseName, PhaseResult]:
    """Return every phase that occurred; *memory* names the scope that MBU is read off.

    Replicas each spend their own time in a phase; it is reported as their mean.
    """
    results: dict[PhaseName, PhaseResult] = {}
    for phase, entries in _by_phase(parts).items():
        shares, ledgers = _shares(entries, wholes)
        useful = phase != "none"
        results[phase] = PhaseResult(
            time_s=math.fsum(one.time_s for _, one in entries) / len(parts),
            mbu=useful_share(shares[memory]) if useful else 0.0,
            mfu=_mfu(shares) if useful else 0.0,
            ledger=ledgers,
        )
    return results


def ledger_of(parts: Sequence[Part], wholes: Sequence[Whole]) -> dict[str, ScopeLedger]:
    """Return the ledger of the run, idle time included. Raises `SimulationError` where it does not balance."""
    known: dict[int, _Booked] = {}
    for part in parts:
        if id(part.did) not in known:
            known[id(part.did)] = _all_of(part.did)
    return _shares([(part, known[id(part.did)]) for part in parts], wholes)[1]


class _Booked(NamedTuple):
    """What a replica booked in some of its time."""

    amounts: Amounts
    time_s: float
    shares: list[dict[str, float]]
    """Account -> share of peak x time, by row."""

    @classmethod
    def of(cls, did: Did, amounts: Amounts, time_s: float) -> _Booked:
        """Return *amounts* that were booked in *time_s*. Raises `SimulationError` where they do not balance."""
        return cls(amounts, time_s, balanced_shares(did.columns, amounts, time_s))


_Entry = tuple[Part, _Booked]


def _by_phase(parts: Sequence[Part]) -> dict[PhaseName, list[_Entry]]:
    """Return what each part booked in each phase; parts that did the same share it."""
    booked: dict[PhaseName, list[_Entry]] = {}
    for find in (_phases, _idle):
        known: dict[int, dict[PhaseName, _Booked]] = {}
        for part in parts:
            if id(part.did) not in known:
                known[id(part.did)] = find(part.did)
            for phase, one in known[id(part.did)].items():
                booked.setdefault(phase, []).append((part, one))
    return booked


def _phases(did: Did) -> dict[PhaseName, _Booked]:
    return {phase: _Booked.of(did, amounts, seconds(time_fine)) for phase, (amounts, time_fine) in did.phases.items()}


def _idle(did: Did) -> dict[PhaseName, _Booked]:
    if not did.total.idle_fine:
        return {}
    idle_s = seconds(did.total.idle_fine)
    return {"none": _Booked.of(did, with_idle(did.columns, 0.0 * did.columns.amounts[0], idle_s), idle_s)}


def _all_of(did: Did) -> _Booked:
    amounts = 0.0 * did.columns.amounts[0]
    for booked, _ in did.phases.values():
        amounts = amounts + booked
    amounts = with_idle(did.columns, amounts, seconds(did.total.idle_fine))
    return _Booked.of(did, amounts, seconds(did.total.end_fine - did.total.start_fine))


def _shares(
    entries: Sequence[_Entry], wholes: Sequence[Whole]
) -> tuple[dict[str, dict[str, float]], dict[str, ScopeLedger]]:
    """Return scope -> account -> share of peak x time, and the same as ledgers; wholes first.

    Scopes of one book and peak have one ledger: there may be a hundred thousand of them.
    """
    shares = {whole.scope.name: _whole_shares(entries, whole) for whole in wholes}
    ledgers = {whole.scope.name: _ledger(whole.scope, shares[whole.scope.name]) for whole in wholes}
    known: dict[tuple[int, float], ScopeLedger] = {}
    for part, booked in entries:
        for scope, row in zip(part.scopes, part.rows, strict=True):
            accounts = shares[scope.name] = booked.shares[row]
            key = id(accounts), scope.peak_per_s
            if key not in known:
                known[key] = _ledger(scope, accounts)
            ledgers[scope.name] = known[key]
    return shares, ledgers


def _ledger(scope: Scope, accounts: dict[str, float]) -> ScopeLedger:
    unit: Literal["B/s", "FLOP/s"] = "B/s" if scope.unit == "bytes" else "FLOP/s"
    return ScopeLedger(peak_per_s=scope.peak_per_s, unit=unit, accounts=accounts)


def _whole_shares(entries: Sequence[_Entry], whole: Whole) -> dict[str, float]:
    known = {id(booked): summed_over(whole, booked.amounts).tolist() for _, booked in entries}
    sums = [known[id(booked)] for _, booked in entries]
    booked = math.fsum(float(part.columns.peaks_per_s[row]) * one.time_s for part, one in entries for row in whole.rows)
    amounts = {account: math.fsum(column) for account, *column in zip(ACCOUNTS, *sums, strict=True)}
    return {account: amount / booked for account, amount in amounts.items() if amount}


def _mfu(shares: Mapping[str, dict[str, float]]) -> float | None:
    engine = next((accounts for scope, accounts in shares.items() if scope.endswith(".matrix")), None)
    return None if engine is None else useful_share(engine)
