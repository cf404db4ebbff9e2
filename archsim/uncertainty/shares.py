"""Which mechanism a time is made of, read off the ledger of the main memory.

A ledger's accounts are shares of peak x time, and so of time. Each account belongs to one mechanism; what the device
loses (refresh, rows, turnarounds, an empty queue) is split between weights and KV as their bytes are. Idle time is no
mechanism: it is waiting for requests.

A41: host time that the ledger books to `host` is the runtime's serial step up to what that step takes, and beyond it
the gaps between kernels; where the host issues every operator itself (`host_launch`), all of it is the host's.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Literal

__all__ = ["MECHANISMS", "Mechanism", "Shares", "mechanism_shares"]

Mechanism = Literal["streaming", "attention", "launch", "arithmetic", "collectives", "host"]
Shares = dict[Mechanism, float]
"""Mechanism -> share of the time; they sum to 1."""

MECHANISMS: tuple[Mechanism, ...] = ("streaming", "attention", "launch", "arithmetic", "collectives", "host")
"""Streaming weights, reading and writing KV, gaps and ramps of kernels, arithmetic, collectives, the host's step."""

_WEIGHTS = ("useful_weights", "useful_activations", "useful", "overfetch", "moved", "memory")
_KV = ("useful_kv_read", "useful_kv_write")
_DEVICE = ("refresh", "row", "activate", "bank_group", "turnaround", "command_bus", "queue", "imbalance")


def mechanism_shares(accounts: Mapping[str, float], *, host: float | None) -> Shares:
    """Return the shares of time of a main memory's *accounts* (fractions of peak x time), idle time left out.

    *host* is the fraction of the time that the runtime's serial step takes; None where the host issues every operator.
    Empty where nothing but idle time is booked.
    """

    def booked(names: tuple[str, ...]) -> float:
        return math.fsum(accounts.get(name, 0.0) for name in names)

    weights, kv = booked(_WEIGHTS), booked(_KV)
    device, waited = booked(_DEVICE), accounts.get("host", 0.0)
    of_kv = kv / (weights + kv) if weights + kv else 0.0
    serial = waited if host is None else min(waited, host)
    found: Shares = {
        "streaming": weights + device * (1 - of_kv),
        "attention": kv + device * of_kv,
        "launch": accounts.get("latency", 0.0) + waited - serial,
        "arithmetic": booked(("compute", "power")),
        "collectives": booked(("network", "bubble")),
        "host": serial,
    }
    total = math.fsum(found.values())
    return {mechanism: share / total for mechanism, share in found.items()} if total > 0 else {}
