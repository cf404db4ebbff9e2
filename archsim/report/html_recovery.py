"""One sentence a loss: what would give that bandwidth back. Words for a reader of a report, not a promise.

docs/ledger.md says what each account books; these sentences turn the definition around.
"""

from __future__ import annotations

from archsim.metrics.accounts import USEFUL

__all__ = ["recovery"]

_RECOVERY = {
    "overfetch": "Avoid replicas, padding and repeated reads: a split that divides KV heads and vocabulary evenly, "
    "larger tiles read once.",
    "moved": "Let collectives land where they are used, or send fewer and smaller ones: this traffic is the system's.",
    "refresh": "Refresh fewer rows at once (per bank), or keep the memory cool enough for the slower rate.",
    "row": "Open rows less often: longer contiguous reads, or a placement that uses a row up before it is closed.",
    "activate": "Spread activations over more banks and time, or use pages that serve more bytes each.",
    "bank_group": "Alternate bank groups between bursts: an address map that changes the group first.",
    "turnaround": "Collect writes and issue them together, so that the bus changes direction less often.",
    "command_bus": "Move more bytes a command: longer bursts, or a device with a separate row-command bus.",
    "queue": "Give the channel more requests at once: it ran empty while its source was held up elsewhere.",
    "latency": "Keep more bytes in flight (deeper prefetch, more open requests), or start fewer, larger kernels.",
    "imbalance": "Spread the bytes evenly: the other channels waited for the busiest one.",
    "memory": "Look at the book of the memory that this part waited for; a larger batch reuses what is read.",
    "compute": "Faster or narrower arithmetic, or a better overlap of reads with it; here the engines are what binds.",
    "network": "Fewer chips a model copy, faster links, or an overlap of collectives with the next reads.",
    "bubble": "Even out the work of ranks, stages and experts, or fill the pipeline with more micro-batches.",
    "host": "Take the host out of the step: captured graphs, scheduling that overlaps, fewer and larger launches.",
    "power": "A higher power limit or less energy an operation: the clock was held down.",
    "idle": "More requests: nothing was there to do.",
    "rounding": "Nothing: parts of a picosecond.",
}


def recovery(account: str) -> str:
    """Return what would recover the bandwidth booked to *account*; empty for a useful account.

    Raises `KeyError` for a name that is no account.
    """
    return "" if account in USEFUL else _RECOVERY[account]
