"""Closing rows that nobody asked for in a while: a timer per bank, fixed or adaptive (page policy of a profile).

A row without a waiting or opening request may be closed `idle_limit` ticks after the bank's last column command or ACT,
by a command slot that nothing else wants. Where limits adapt, each bank keeps its own, as Intel's and AMD's memory
controllers do ("adaptive page close", "dynamic idle cycle limit"): reopening the row that the timer closed doubles the
bank's limit, closing a row for a request of another row halves it, within an eighth and eight times the stated one.
"""

# mypy: disable-error-code="no-any-return"

from __future__ import annotations

from typing import Any

from archsim.dram.jit import called, kernel
from archsim.dram.kernel_device import earliest

__all__ = ["idle_bank", "idle_due", "note_closed", "note_conflict", "note_opened", "note_used"]

PRE = 1
NEVER = 1 << 60
REACH = 8


@kernel
def note_used(s: Any, bank: int) -> None:
    """The row of *bank* was used now: its timer starts again."""
    if s.idle_close > 0:
        s.used_at[bank] = s.now
        s.idle_wake = min(s.idle_wake, s.now + s.idle_limit[bank])


@called
def _adapt(s: Any, bank: int) -> None:
    """Double the limit of *bank* if the timer closed the row that now opens again."""
    if s.idle_adapts and s.closed_row[bank] == s.open_row[bank]:
        s.idle_limit[bank] = min(2 * s.idle_limit[bank], REACH * s.idle_close)
    s.closed_row[bank] = -1


@kernel
def note_opened(s: Any, bank: int) -> None:
    """A row of *bank* has opened."""
    if s.idle_close > 0:
        _adapt(s, bank)
        note_used(s, bank)


@kernel
def note_conflict(s: Any, bank: int) -> None:
    """The row of *bank* is closed for a request of another row: it stood open too long."""
    if s.idle_adapts:
        s.idle_limit[bank] = max(s.idle_limit[bank] // 2, s.idle_close // REACH, 1)


@kernel
def note_closed(s: Any, bank: int) -> None:
    """The timer is about to close the row of *bank*."""
    s.closed_row[bank] = s.open_row[bank]


@kernel
def _unwanted(s: Any, bank: int) -> bool:
    return s.open_row[bank] >= 0 and s.active[bank] < 0 and s.head[0, bank] < 0 and s.head[1, bank] < 0


@kernel
def idle_due(s: Any) -> bool:
    """Return whether an idle row may be due to be closed."""
    return s.idle_close > 0 and s.idle_wake <= s.now


@called
def idle_bank(s: Any) -> int:
    """Return the first bank whose idle row may be closed now, or -1; raise `idle_wake` to the next such tick."""
    s.idle_wake = NEVER
    for bank in range(s.banks):
        if _unwanted(s, bank):
            time = max(s.used_at[bank] + s.idle_limit[bank], earliest(s, PRE, bank))
            if time <= s.now:
                s.idle_wake = s.now + 1
                return bank
            s.idle_wake = min(s.idle_wake, time)
    return -1
