"""Pure functions over columns of facts: the ledger, latency, throughput. Nothing here touches a simulation."""

from __future__ import annotations

__all__: list[str] = []
