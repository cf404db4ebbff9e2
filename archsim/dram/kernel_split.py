"""One command a tick where activation takes two commands and the data clock is started on demand: LPDDR5, LPDDR6.

ACT1 takes the oldest miss out of its list; its ACT2 follows when nothing else is legal, at the latest `act2_within`
ticks later, and until then no other row opens. A column command finds the data clock running for some ticks after the
last burst; otherwise a CAS starts it, and the column command follows in the next tick. This is the controller of
Ramulator 2.1 for these standards.
"""

# mypy: disable-error-code="no-any-return"
# ruff: noqa: FBT001, FBT003, PLR0911  # compiled code takes positions

from __future__ import annotations

from typing import Any

from archsim.dram.jit import called, kernel
from archsim.dram.kernel_device import earliest, issue
from archsim.dram.kernel_idle import idle_due
from archsim.dram.kernel_lists import best, best_miss, row_command
from archsim.dram.kernel_queue import set_mode, take_hit
from archsim.dram.kernel_send import (
    activate,
    log,
    pick_active,
    send_row,
    take_active,
    take_for_activate,
    try_idle,
    try_priority,
)

__all__ = ["tick_split"]

ACT, ACT2, CASR, CASW = 0, 9, 10, 11
HIT = 0


@kernel
def _may_open(s: Any) -> bool:
    return s.activating >= 0 and earliest(s, ACT2, s.slot_bank[s.activating]) <= s.now


@called
def _open(s: Any) -> bool:
    """Issue the ACT2 of the row that is opening."""
    bank = s.slot_bank[s.activating]
    issue(s, ACT2, bank, s.now)
    log(s, ACT2, bank)
    slot = s.activating
    s.activating = -1
    s.owed_bank[s.lane[bank]] = -1
    activate(s, bank, slot)
    return True


@kernel
def _transfer(s: Any, slot: int, waiting: bool) -> bool:
    """Issue the column command of *slot* and keep the data clock running."""
    latency = s.column_latency[s.slot_write[slot]]
    s.clock_until = max(s.clock_until, s.now + latency + s.clock_tail)
    if waiting:
        take_hit(s, s.slot_bank[slot])
    else:
        take_active(s, slot)
    return True


@called
def _access(s: Any, slot: int, waiting: bool) -> bool:
    """Issue a column command, or first the CAS that starts the data clock, or an ACT2 that could not wait for both."""
    if s.now < s.clock_until:
        return _transfer(s, slot, waiting)
    if s.activating >= 0 and s.act2_by <= s.now + s.act2_guard:
        return _may_open(s) and _open(s)
    bank = s.slot_bank[slot]
    command = CASW if s.slot_write[slot] else CASR
    if earliest(s, command, bank) > s.now:
        return False
    issue(s, command, bank, s.now)
    log(s, command, bank)
    s.started = slot
    s.started_waiting = waiting
    return True


@called
def _go_on(s: Any) -> bool:
    """Issue the column command that a CAS announced."""
    slot = s.started
    if earliest(s, 4 if s.slot_write[slot] else 3, s.slot_bank[slot]) > s.now:
        return False
    s.started = -1
    return _transfer(s, slot, s.started_waiting != 0)


@called
def _row(s: Any, bank: int, direction: int) -> bool:
    """Issue ACT1 or PRE to *bank*."""
    if row_command(s, bank) != ACT:
        send_row(s, 1, bank, direction)
        return True
    s.activating = take_for_activate(s, direction, bank)
    s.act2_by = s.now + s.act2_within
    s.owed_bank[s.lane[bank]] = bank
    return True


@called
def tick_split(s: Any) -> bool:
    """Issue one command: an announced column, an ACT2 that is due, else the oldest legal one, else an ACT2."""
    if s.started >= 0:
        return _go_on(s)
    if s.activating >= 0 and s.act2_by <= s.now and _may_open(s):
        return _open(s)
    slot = pick_active(s)
    if slot >= 0:
        return _access(s, slot, False)
    if s.priority_count > 0:
        return try_priority(s) or (_may_open(s) and _open(s))
    set_mode(s)
    direction = s.writing
    hit = best(s, HIT, direction, False)
    miss = best_miss(s, direction, s.activating >= 0)
    if hit >= 0 and (miss < 0 or s.slot_request[s.hit[direction, hit]] < s.slot_request[s.miss[direction, miss]]):
        return _access(s, s.hit[direction, hit], True)
    if miss >= 0:
        return _row(s, miss, direction)
    if _may_open(s):
        return _open(s)
    return idle_due(s) and try_idle(s)
