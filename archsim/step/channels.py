"""The books of a memory's single channels.

A transfer starts on channel 0, so the granules that do not fill a row of all channels lie on the first ones: those
move more bytes, the others wait for them. A gap is a gap on every channel. The sum over channels is the scope's book.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from archsim.dram.facts import CAUSES
from archsim.hardware.level import Level
from archsim.metrics.accounts import ACCOUNTS
from archsim.step.books import Accounts, account_of, level_books
from archsim.step.record import ChannelUse
from archsim.step.work import Service
from archsim.units import PS_PER_S

__all__ = ["channel_amounts", "channel_books"]

_COLUMN = {account: column for column, account in enumerate(ACCOUNTS)}


def channel_amounts(book: Accounts, uses: Iterable[ChannelUse], level: Level, *, chips: int) -> npt.NDArray[np.float64]:
    """Return bytes by channel and account, shape (channels, accounts), over all *chips* of a fold.

    *book* is the scope's book and *uses* are the uses of that scope, each as often as it counts on one chip.
    """
    amounts = np.zeros((level.channels, len(ACCOUNTS)))
    gaps = dict(book)
    for use in uses:
        times = chips * use.count
        for account, amount in level_books(use.service, level).items():
            gaps[account] -= times * amount
        _add_use(amounts, use, level, times)
    for account, amount in gaps.items():
        amounts[:, _COLUMN[account]] += amount / level.channels
    return amounts


def _add_use(amounts: npt.NDArray[np.float64], use: ChannelUse, level: Level, times: int) -> None:
    for account, column in channel_books(use.service, level).items():
        amounts[:, _COLUMN[account]] += times * column


def channel_books(service: Service, level: Level) -> dict[str, npt.NDArray[np.float64]]:
    """Return account -> bytes of each channel for one *service* of *level* on one chip."""
    facts = service.facts
    granule = service.granule_bytes
    rows, rest = divmod(service.moved_bytes, level.channels * granule)
    first_bytes = np.arange(level.channels) * granule
    moved = rows * granule + np.clip(rest - first_bytes, 0, granule).astype(np.float64)
    useful = moved * (service.useful_bytes / service.moved_bytes)
    stretch = facts.total / facts.transfer
    held = float(level.channel_peak_bytes_per_s * service.held_ps / PS_PER_S)
    return {
        account_of(service.tensor): useful,
        "overfetch": moved - useful,
        "imbalance": (service.busiest_bytes - moved) * stretch,
        "rounding": np.full(level.channels, held - service.busiest_bytes * stretch),
    } | {cause: moved * (parts / facts.transfer) for cause, parts in zip(CAUSES, facts.causes, strict=True)}
