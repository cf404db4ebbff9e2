"""Rows whose expected values are closed forms of one binding constraint, for every standard in the tables."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from archsim.dram.address import default_map
from archsim.dram.bounds import conflict_bound, refresh_bound
from archsim.dram.build import build_device
from archsim.dram.channel import simulate
from archsim.dram.profile import PROFILES
from archsim.dram.standards import STANDARDS
from archsim.dram.streams import Domain, make_stream

__all__ = ["closed_forms"]


def closed_forms() -> list[dict[str, Any]]:
    """Return, by standard, same-bank conflicts (one burst per tRC) and streaming under refresh (1 - tRFC / tREFI)."""
    rows = []
    for name in STANDARDS:
        device = build_device(name)
        address_map = replace(default_map(device), hashes=())
        domain = Domain(1 << address_map.bits, device.transaction_bytes, address_map.lowest_row_bit())
        quiet = replace(PROFILES["ramulator2"], refresh="none")
        deep = replace(PROFILES["ramulator2"], read_queue=256)
        for pattern, profile, expected in (
            ("conflict", quiet, conflict_bound(device)),
            ("seq", deep, refresh_bound(device)),
        ):
            requests = 6_000 if pattern == "conflict" else 60_000
            stream = make_stream(pattern, 0, requests=requests, domain=domain, place=name)
            predicted = float(simulate(device, address_map, profile, stream).utilisation)
            rows.append(
                {
                    "id": f"{name} {pattern} util_steady",
                    "group": pattern,
                    "expected": float(expected),
                    "predicted": predicted,
                    "error": predicted / float(expected) - 1,
                    "skipped": None,
                }
            )
    return rows
