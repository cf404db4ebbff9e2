"""Selections from results that tables and figures share: which ledger is shown, which losses are largest, in words."""

from __future__ import annotations

from collections.abc import Iterable

from archsim.metrics.accounts import ACCOUNTS, USEFUL
from archsim.result import PhaseResult, Result

__all__ = [
    "account_label",
    "decode_phase",
    "largest_losses",
    "losses",
    "main_memory_accounts",
    "percent",
    "ranked",
    "trace_label",
]

_LABELS = {
    "useful_weights": "weights",
    "useful_kv_read": "KV read",
    "useful_kv_write": "KV write",
    "useful_activations": "activations",
}


def decode_phase(result: Result) -> PhaseResult | None:
    """Return the decode phase of *result*; None where no iteration was a pure decode."""
    return result.phases.get("decode")


def main_memory_accounts(result: Result) -> dict[str, float]:
    """Return the decode ledger of the main memory, in the order of the ledger; empty where nothing was decoded."""
    phase = decode_phase(result)
    if phase is None:
        return {}
    booked = phase.ledger[result.system.main_memory].accounts
    return {account: booked[account] for account in ACCOUNTS if account in booked}


def losses(accounts: dict[str, float]) -> dict[str, float]:
    """Return the accounts that are not useful."""
    return {account: fraction for account, fraction in accounts.items() if account not in USEFUL}


def largest_losses(accounts: dict[str, float], count: int) -> list[tuple[str, float]]:
    """Return the *count* largest losses above nothing, largest first; equal ones in the order of the ledger."""
    found = [(account, fraction) for account, fraction in losses(accounts).items() if fraction > 0]
    return sorted(found, key=lambda item: -item[1])[:count]


def ranked(results: Iterable[Result]) -> list[Result]:
    """Return *results* by output tokens/s at saturation, best first; those without one last, in their order."""

    def key(result: Result) -> tuple[bool, float]:
        rate = result.saturation.output_tokens_per_s if result.saturation else None
        return (rate is None, -(rate or 0.0))

    return sorted(results, key=key)


def account_label(account: str) -> str:
    """Return the words for an account: `KV read` for `useful_kv_read`, `bank group` for `bank_group`."""
    return _LABELS.get(account, account.replace("_", " "))


def trace_label(result: Result) -> str:
    """Return what was replayed, in words; a sampled trace says so."""
    name = result.provenance.trace_name
    if name is None:
        return "one decode step"
    if name.startswith("closed loop"):
        return name
    return f"trace {name} (sampled)" if result.provenance.sampled else f"trace {name}"


def percent(fraction: float | None, digits: int = 1) -> str:
    """Return a fraction as a percentage with *digits* decimals; a dash where there is none."""
    return "-" if fraction is None else f"{100 * fraction:.{digits}f} %"
