"""Amounts of one chip's scopes: what service is booked as, level by level and engine by engine.

A level that is held for `held_ps` books bytes to their tensor class, bytes nobody needed to `overfetch`, the device's
causes in the proportion the memory floor stated, channels that waited for the busiest one to `imbalance`, and the part
of a picosecond lost to rounding up to `rounding`. Each amount has its own formula; that they add up to
`peak * held_ps` is checked, not assumed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from archsim.dram.facts import CAUSES
from archsim.hardware.level import Level
from archsim.hardware.nearmem import NearUnits
from archsim.hardware.system import System
from archsim.metrics.ledger import check_balance
from archsim.network.collectives import CollectiveFacts
from archsim.step.record import Scope
from archsim.step.work import Service, Work
from archsim.units import PS_PER_S

__all__ = [
    "Accounts",
    "account_of",
    "beside_books",
    "closed_books",
    "engine_books",
    "level_books",
    "link_books",
    "near_books",
    "total_books",
]

Accounts = dict[str, float]


def account_of(tensor: str) -> str:
    """Return the account of bytes of *tensor*: what only passes through a memory is `moved`, all else is useful."""
    return tensor if tensor == "moved" else f"useful_{tensor}"


def level_books(service: Service, level: Level) -> Accounts:
    """Return bytes by account for one *service* of *level* on one chip."""
    facts, moved = service.facts, service.moved_bytes
    slots = level.channels * service.busiest_bytes
    stretch = facts.total / facts.transfer
    # As whole numbers: the quotient of fractions is the same float, and takes most of a book's time.
    peak = level.channel_peak_bytes_per_s
    served = level.channels * peak.numerator * service.held_ps / (peak.denominator * PS_PER_S)
    accounts = {
        account_of(service.tensor): float(service.useful_bytes),
        "overfetch": float(moved - service.useful_bytes),
        "imbalance": (slots - moved) * stretch,
        "rounding": served - slots * stretch,
    }
    for cause, parts in zip(CAUSES, facts.causes, strict=True):
        accounts[cause] = moved * parts / facts.transfer
    return {account: amount for account, amount in accounts.items() if amount}


def beside_books(service: Service, level: Level, beside: Level, held_ps: int) -> Accounts:
    """Return bytes by account for a *service* of *level* on a scope that it held beside, for *held_ps*.

    The arrays behind an interface are held by what passes it. What they could have delivered meanwhile beyond the
    interface's rate waits for it: `memory`.
    """
    share = dict(level.pipes)[beside.name]
    factor = beside.peak_bytes_per_s * share / level.peak_bytes_per_s
    more = float(factor)
    accounts = {
        account: amount if account.startswith(("useful", "overfetch")) else amount * more
        for account, amount in level_books(service, level).items()
    }
    stretch = service.facts.total / service.facts.transfer
    filled = level.channels * service.busiest_bytes * stretch * more
    accounts["memory"] = service.moved_bytes * float(factor - 1)
    accounts["rounding"] = float(beside.peak_bytes_per_s * held_ps / PS_PER_S) - filled
    return {account: amount for account, amount in accounts.items() if amount}


def near_books(work: Work, units: NearUnits) -> Accounts:
    """Return FLOPs by account for one execution of *work* on *units*; the peak is their fastest type's."""
    near = work.near
    if near is None or near.memory != units.memory or not near.flops:
        return {}
    slower = units.peak_flop_per_s / units.flop_per_s(work.matrix_dtype)
    return {
        "useful": float(near.useful_flops),
        "overfetch": float(near.flops - near.useful_flops),
        "compute": near.flops * (slower - 1),
        "rounding": units.peak_flop_per_s * work.near_ps / PS_PER_S - near.flops * slower,
    }


def engine_books(work: Work, system: System, *, matrix_peak: int) -> dict[str, Accounts]:
    """Return FLOPs by account for one execution of *work* on the matrix and the vector engine of one chip.

    *matrix_peak* is the FLOP/s that the matrix scope is booked against. Arithmetic in a slower dtype holds the engine
    longer than its peak would: the difference is booked to `compute`, what the power limit adds to `power`.
    """
    books: dict[str, Accounts] = {}
    if work.matrix_ps:
        slower = matrix_peak / system.matrix_rate(work.matrix_dtype)
        held = matrix_peak / system.sustained_matrix_rate(work.matrix_dtype)
        books["matrix"] = {
            "useful": float(work.useful_matrix_flops),
            "overfetch": float(work.padded_matrix_flops - work.useful_matrix_flops),
            "compute": work.padded_matrix_flops * (slower - 1),
            "power": work.padded_matrix_flops * (held - slower),
            "rounding": matrix_peak * work.matrix_ps / PS_PER_S - work.padded_matrix_flops * held,
        }
    if work.vector_ps:
        flops = float(work.vector_flops)
        books["vector"] = {"useful": flops, "rounding": system.vector_rate * work.vector_ps / PS_PER_S - flops}
    return books


def link_books(facts: Iterable[tuple[CollectiveFacts, int]], index: int, bytes_per_s: int) -> Accounts:
    """Return bytes by account for link number *index* over collectives, each given with its count.

    While a collective runs, the link carries its bytes (`useful`), waits for hops and software (`latency`), or for
    other links and other steps of the same collective (`network`): A20.
    """
    accounts = {"useful": 0.0, "latency": 0.0, "network": 0.0}
    for collective, count in facts:
        carried = collective.link_bytes[index]
        span = bytes_per_s * collective.duration_ps / PS_PER_S
        waited = min(bytes_per_s * collective.latency_ps / PS_PER_S, max(span - carried, 0.0))
        accounts["useful"] += carried * count
        accounts["latency"] += waited * count
        accounts["network"] += (span - carried - waited) * count
    return {account: amount for account, amount in accounts.items() if amount}


def total_books(parts: Iterable[tuple[Accounts, int]]) -> Accounts:
    """Return the sum of *parts*, each accounts and how often they count."""
    total: Accounts = {}
    for accounts, count in parts:
        for account, amount in accounts.items():
            total[account] = total.get(account, 0.0) + amount * count
    return total


def closed_books(scope: Scope, served: Accounts, gaps: Mapping[str, int], time_ps: int) -> Accounts:
    """Return what *scope* has *served* in *time_ps* with its *gaps*, account -> picoseconds, booked at its peak.

    Raises `SimulationError` where the accounts do not add up to peak x time.
    """
    accounts = dict(served)
    for account, picoseconds in gaps.items():
        accounts[account] = accounts.get(account, 0.0) + scope.peak_per_s * picoseconds / PS_PER_S
    check_balance(scope.name, accounts, booked=scope.peak_per_s * time_ps / PS_PER_S)
    return accounts
