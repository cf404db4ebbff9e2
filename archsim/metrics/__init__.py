"""Pure functions over columns of facts, and the rows of a result; nothing here touches a simulation.

Read in this order:

    the ledger      accounts (their names), ledger (whose fault a gap is), mixing (books of a run from those of knots)
    columns         columns (requests, ledger), latency, binned (of any number of requests), service, energy, operators,
                    timeline
    rows            row (what they have in common), machine, techniques, prices, cascading, uncertainty
"""

from __future__ import annotations

__all__: list[str] = []
