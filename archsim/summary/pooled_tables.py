"""The tables of a design of several systems: those of its pools, one after the other, under the pools' names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache, partial

import numpy as np

from archsim.result import LedgerColumns, RequestColumns, Tables

__all__ = ["scope_in", "tables_of_pools"]

_LINK = "link."


def scope_in(pool: str, scope: str) -> str:
    """Return the name of *scope* of *pool* beside scopes of others."""
    return f"{_LINK}{pool}/{scope.removeprefix(_LINK)}" if scope.startswith(_LINK) else f"{pool}/{scope}"


def tables_of_pools(
    pools: Mapping[str, tuple[Tables | None, int]], requests: RequestColumns, resolved_toml: str
) -> Tables | None:
    """Return the tables of all *pools*, each with the number of its copies, which its rows already sum."""
    found = [(name, tables, copies) for name, (tables, copies) in pools.items() if tables is not None]
    if len(found) < len(pools):
        return None
    return Tables(make_ledger=cache(partial(_joined, found)), resolved_toml=resolved_toml, requests=requests)


def _joined(pools: Sequence[tuple[str, Tables, int]]) -> LedgerColumns:
    ledgers = [(name, tables.ledger, copies) for name, tables, copies in pools]
    first = 0
    scope = []
    for _, ledger, _ in ledgers:
        scope.append(ledger.scope + first)
        first += len(ledger.scopes)
    joined = {
        name: np.concatenate([getattr(ledger, name) for _, ledger, _ in ledgers])
        for name in ("start_ps", "end_ps", "phase", "account", "amount")
    }
    return LedgerColumns(
        **joined,
        scope=np.concatenate(scope),
        phases=ledgers[0][1].phases,
        scopes=tuple(scope_in(name, own) for name, ledger, _ in ledgers for own in ledger.scopes),
        peaks_per_s=tuple(copies * peak for _, ledger, copies in ledgers for peak in ledger.peaks_per_s),
        units=tuple(unit for _, ledger, _ in ledgers for unit in ledger.units),
    )
