"""The controller that shares one read and one write queue per channel: FR-FCFS over per-bank lists.

It serves the profiles `ramulator2` and `archsim`, which differ in data: queue depths, row-hit protection, refresh.
Command slots of a tick (`bus`): 0 one command; 1 one column and one row command; 2 the same in half clocks, where
columns go on odd ticks alone and an even tick carries a PRE alone; 3 one command, activation split (`kernel_split`).
"""

# mypy: disable-error-code="no-any-return"
# ruff: noqa: FBT003  # compiled code takes positions

from __future__ import annotations

from typing import Any

from archsim.dram.jit import called, kernel
from archsim.dram.kernel_device import earliest
from archsim.dram.kernel_idle import idle_due
from archsim.dram.kernel_lists import best, best_miss, drop_hit, row_command
from archsim.dram.kernel_refresh import push
from archsim.dram.kernel_send import (
    forget,
    pick_active,
    send_column,
    send_row,
    take_active,
    try_idle,
    try_owed,
    try_priority,
)

__all__ = ["inject_closes", "mode_turns", "set_mode", "take_hit", "tick_dual", "tick_single"]

PRE = 1
HIT = 0
HALF = 2


@kernel
def mode_turns(s: Any) -> bool:
    """Return whether `set_mode` would change the direction now."""
    if s.writing == 0:
        return s.queued[1] >= s.enter_at or s.queued[0] == 0
    return s.queued[1] <= s.leave_at and s.queued[0] != 0


@kernel
def set_mode(s: Any) -> None:
    """Enter write mode above the high watermark or without reads, leave it below the low one when reads wait."""
    if mode_turns(s):
        s.writing = 1 - s.writing
        s.mode_since = s.now


@kernel
def take_hit(s: Any, bank: int) -> None:
    """Issue the column command of the oldest hit of *bank* in the current direction."""
    slot = drop_hit(s, s.writing, bank)
    forget(s, slot)
    send_column(s, slot)


@kernel
def _maintain(s: Any) -> bool:
    """Give the command slot to maintenance where it wants it; return whether waiting requests must leave it alone."""
    if s.priority_count > 0:
        try_priority(s)
        return True
    return s.refresh == 3 and try_owed(s)


@called
def tick_single(s: Any) -> None:
    """One command a tick: an active request's column, else maintenance, else the oldest legal of all that waits."""
    slot = pick_active(s)
    if slot >= 0:
        take_active(s, slot)
        return
    if _maintain(s):
        return
    set_mode(s)
    direction = s.writing
    hit = best(s, HIT, direction, False)
    miss = best_miss(s, direction, False)
    if hit >= 0 and (miss < 0 or s.slot_request[s.hit[direction, hit]] < s.slot_request[s.miss[direction, miss]]):
        take_hit(s, hit)
    elif miss >= 0:
        send_row(s, row_command(s, miss), miss, direction)
    elif idle_due(s):
        try_idle(s)


@kernel
def _column(s: Any) -> None:
    """Issue a column command: of an active request, else of the oldest waiting hit."""
    slot = pick_active(s)
    if slot >= 0:
        take_active(s, slot)
    elif s.priority_count == 0:
        set_mode(s)
        bank = best(s, HIT, s.writing, False)
        if bank >= 0:
            take_hit(s, bank)


@called
def tick_dual(s: Any) -> None:
    """A column command, then a row command; in half clocks columns go on odd ticks alone."""
    falling = s.bus == HALF and not s.now & 1
    if not falling:
        _column(s)
    if _maintain(s):
        return
    set_mode(s)
    bank = best_miss(s, s.writing, falling)
    if bank >= 0:
        send_row(s, row_command(s, bank), bank, s.writing)
    elif idle_due(s):
        try_idle(s)


@called
def inject_closes(s: Any) -> None:
    """Queue a PRE for every bank that has reached the cap of column commands, once, as soon as it is legal."""
    for bank in range(s.banks):
        if s.columns[bank] >= s.cap and not s.injected[bank] and earliest(s, PRE, bank) <= s.now and push(s, PRE, bank):
            s.injected[bank] = 1
