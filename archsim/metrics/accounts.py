"""The accounts of the bandwidth ledger, by name, in the order they are printed.

Every byte/s (FLOP/s) of a scope's peak is booked to exactly one of them. docs/ledger.md says what each means.
"""

from __future__ import annotations

__all__ = ["ACCOUNTS", "GROUPS", "USEFUL", "group_of"]

USEFUL = ("useful_weights", "useful_kv_read", "useful_kv_write", "useful_activations", "useful")
"""What the model needs, by tensor class; plain `useful` where there is no tensor class (FLOPs, bytes on a link)."""

GROUPS: dict[str, tuple[str, ...]] = {
    "useful": USEFUL,
    "moved": ("overfetch", "moved"),
    "device": ("refresh", "row", "activate", "bank_group", "turnaround", "command_bus"),
    "supply": ("queue", "latency", "imbalance"),
    "waiting": ("memory", "compute", "network", "bubble", "host", "power"),
    "idle": ("idle", "rounding"),
}
"""Group -> its accounts: served for the model, moved for other ends, lost in the device, lost for want of requests
in flight, waiting for another part, nothing to do."""

ACCOUNTS: tuple[str, ...] = tuple(account for accounts in GROUPS.values() for account in accounts)
"""Every account name, in the order of the ledger."""


def group_of(account: str) -> str:
    """Return the group that *account* belongs to. Raises `KeyError` for a name that is no account."""
    for group, accounts in GROUPS.items():
        if account in accounts:
            return group
    raise KeyError(account)
