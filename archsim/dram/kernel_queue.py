"""The controller that shares one read and one write queue per channel: FR-FCFS over per-bank lists, event driven.

It serves the profiles `ramulator2` and `archsim`, which differ in data: queue depths, row-hit protection, refresh. A
request waits in its bank's list; an ACT moves it to the bank's active slot, which keeps the row from being closed. Idle
ticks are skipped: nothing that is issued makes another command legal earlier, and whatever does lowers the bounds that
`kernel_lists` keeps. Ticks count from 1; the source offers requests before a tick. The tests hold the same controller
written plainly, tick by tick.

Command slots of a tick (`bus`): 0 one command; 1 one column and one row command; 2 the same in half clocks, where
only a PRE may go on an even tick.
"""

from __future__ import annotations

from typing import Any

from archsim.dram.jit import kernel
from archsim.dram.kernel_account import book_column, note_activate
from archsim.dram.kernel_device import earliest, issue, issue_scope
from archsim.dram.kernel_lists import best, drop_hit, join, leave, recompute, row_command, take_miss, wake_bank
from archsim.dram.kernel_refresh import (
    choose_owed,
    owed_command,
    owed_time,
    priority_command,
    priority_time,
    push,
)

__all__ = ["complete", "inject_closes", "tick"]

ACT, PRE, PREA, RD, WR, REFA, REFB = 0, 1, 2, 3, 4, 7, 8
SINGLE, HALF = 0, 2
NEVER = 1 << 60
ACTIVE = 4


@kernel
def _log(s: Any, trace: Any, command: int, bank: int) -> None:
    s.commands[command] += 1
    if s.traced < trace.shape[0]:
        trace[s.traced, 0] = s.now
        trace[s.traced, 1] = command
        trace[s.traced, 2] = bank
        s.traced += 1


@kernel
def complete(s: Any, at: int, request: int, done: Any, back: Any) -> None:
    """Note that *request* is done at tick *at* and back at its source `return_ticks` later."""
    done[request] = at
    back[s.completed] = at + s.return_ticks
    s.completed += 1


@kernel
def _close(s: Any, bank: int) -> None:
    if s.open_row[bank] >= 0:
        s.open_count[s.scope[bank]] -= 1
    s.open_row[bank] = -1
    s.columns[bank] = 0
    s.injected[bank] = 0
    recompute(s, bank)


@kernel
def _send_column(s: Any, slot: int, done: Any, back: Any, trace: Any) -> None:
    """Issue the read or write of *slot*, which has left its list, and complete it; at the cap it closes the row."""
    bank = s.slot_bank[slot]
    write = s.slot_write[slot]
    command = WR if write else RD
    book_column(s, slot, command)
    closing = s.cap > 0 and s.columns[bank] >= s.cap and earliest(s, command + 2, bank) <= s.now
    if closing:
        command += 2
    issue(s, command, bank, s.now)
    _log(s, trace, command, bank)
    s.columns[bank] += 1
    s.lane_pending[s.lane[bank]] -= 1
    complete(s, s.now + (s.write_ticks if write else s.read_ticks), s.slot_request[slot], done, back)
    s.free[s.free_count] = slot
    s.free_count += 1
    if closing:
        _close(s, bank)


@kernel
def _pair(s: Any, command: int, bank: int, whole: bool) -> None:
    """Remember a row command of a rising edge: it restricts the PRE of the falling edge that follows it."""
    if s.bus == HALF and s.now & 1:
        s.pair_edge = s.now + (3 if command == ACT else 1)
        s.pair_lane = s.lane[bank]
        s.pair_bank = -1 if whole else bank


@kernel
def _send_row(s: Any, command: int, bank: int, direction: int, trace: Any, buffered: Any) -> None:
    """Issue ACT (the oldest miss becomes the bank's active request) or PRE to *bank*."""
    if command == ACT:
        slot = take_miss(s, direction, bank)
        if direction == 1 and buffered.shape[0] > 0:
            buffered[s.slot_ident[slot]] = 0
        note_activate(s, bank, s.slot_arrival[slot])
        issue(s, ACT, bank, s.now)
        s.open_row[bank] = s.slot_row[slot]
        s.open_count[s.scope[bank]] += 1
        s.slot_next[slot] = s.active[bank]
        s.active[bank] = slot
        s.active_count[s.scope[bank]] += 1
        s.slot_key[slot] = s.slot_arrival[slot] * 65536 + (s.promotions & 65535)
        s.promotions += 1
        join(s, ACTIVE, bank)
        s.wake[ACTIVE] = min(s.wake[ACTIVE], earliest(s, WR if direction else RD, bank))
        recompute(s, bank)
    else:
        issue(s, PRE, bank, s.now)
        _close(s, bank)
    _log(s, trace, command, bank)
    _pair(s, command, bank, False)


@kernel
def _unlink_active(s: Any, bank: int, slot: int) -> None:
    if s.active[bank] == slot:
        s.active[bank] = s.slot_next[slot]
    else:
        before = s.active[bank]
        while s.slot_next[before] != slot:
            before = s.slot_next[before]
        s.slot_next[before] = s.slot_next[slot]
    s.active_count[s.scope[bank]] -= 1
    if s.active[bank] < 0:
        leave(s, ACTIVE, bank)


@kernel
def _try_active(s: Any, done: Any, back: Any, trace: Any) -> bool:
    """Issue the oldest legal column command among the requests whose ACT has gone.

    A bank has one such request, unless a closing column command of another one closed the row under it: then it waits
    until its row happens to be opened again, and the bank may gain a second one.
    """
    if s.members_count[ACTIVE] == 0 or s.wake[ACTIVE] > s.now:
        return False
    chosen, wake = -1, NEVER
    for k in range(s.members_count[ACTIVE]):
        bank = s.members[ACTIVE, k]
        slot = s.active[bank]
        while slot >= 0:
            if s.slot_row[slot] == s.open_row[bank]:
                time = earliest(s, WR if s.slot_write[slot] else RD, bank)
                wake = min(wake, max(time, s.now + 1))
                if time <= s.now and (chosen < 0 or s.slot_key[slot] < s.slot_key[chosen]):
                    chosen = slot
            slot = s.slot_next[slot]
    s.wake[ACTIVE] = wake
    if chosen < 0:
        return False
    bank = s.slot_bank[chosen]
    _unlink_active(s, bank, chosen)
    _send_column(s, chosen, done, back, trace)
    wake_bank(s, bank)
    return True


@kernel
def _clash(s: Any, command: int, bank: int) -> bool:
    """Return whether the edge or the row command paired with it refuses *command*."""
    if s.bus != HALF or s.now & 1:
        return False
    if command not in (PRE, PREA):
        return True
    if s.now != s.pair_edge or s.pair_lane != s.lane[bank]:
        return False
    return s.pair_bank < 0 or command == PREA or s.pair_bank == bank


@kernel
def _try_priority(s: Any, trace: Any) -> bool:
    """Issue the next command of the request at the head of the priority queue, if it is legal now."""
    command = priority_command(s)
    if priority_time(s, command) > s.now:
        return False
    final = s.priority_command[s.priority_head & 2047]
    target = s.priority_target[s.priority_head & 2047]
    whole = command in (PREA, REFA)
    bank = target * s.banks // s.scopes if whole else target
    if _clash(s, command, bank):
        return False
    if whole:
        issue_scope(s, command, target, s.now)
        if command == PREA:
            for other in range(bank, bank + s.banks // s.scopes):
                _close(s, other)
    else:
        issue(s, command, target, s.now)
        if command == PRE:
            _close(s, target)
    _log(s, trace, command, bank)
    _pair(s, command, bank, whole)
    if command == final:
        s.priority_head += 1
        s.priority_count -= 1
        s.blocked_to = s.now + 1
    return True


@kernel
def _try_owed(s: Any, trace: Any) -> bool:
    """Refresh one bank beside the traffic of the others, if one is owed and legal now."""
    for lane in range(s.lanes):
        bank = s.owed_bank[lane]
        if bank >= 0 and owed_time(s, lane) <= s.now:
            command = owed_command(s, bank)
            if not _clash(s, command, bank):
                issue(s, command, bank, s.now)
                _log(s, trace, command, bank)
                _pair(s, command, bank, False)
                if command == PRE:
                    _close(s, bank)
                else:
                    choose_owed(s, lane)
                    wake_bank(s, bank)
                return True
    return False


@kernel
def _set_mode(s: Any) -> None:
    """Enter write mode above the high watermark or without reads, leave it below the low one when reads wait."""
    if s.writing == 0:
        if s.queued[1] >= s.enter_at or s.queued[0] == 0:
            s.writing = 1
            s.mode_since = s.now
    elif s.queued[1] <= s.leave_at and s.queued[0] != 0:
        s.writing = 0
        s.mode_since = s.now


@kernel
def _take_hit(s: Any, bank: int, done: Any, back: Any, trace: Any, buffered: Any) -> None:
    slot = drop_hit(s, s.writing, bank)
    if s.writing == 1 and buffered.shape[0] > 0:
        buffered[s.slot_ident[slot]] = 0
    _send_column(s, slot, done, back, trace)


@kernel
def _tick_single(s: Any, done: Any, back: Any, trace: Any, buffered: Any) -> bool:
    """One command a tick: an active request's column, else maintenance, else the oldest legal of all that waits."""
    if _try_active(s, done, back, trace):
        return True
    if s.priority_count > 0:
        return _try_priority(s, trace)
    if s.refresh == 3 and _try_owed(s, trace):
        return True
    _set_mode(s)
    direction = s.writing
    hit = best(s, direction, direction, False)
    miss = best(s, 2 + direction, direction, False)
    if hit < 0 and miss < 0:
        return False
    if miss < 0 or (hit >= 0 and s.slot_request[s.hit[direction, hit]] < s.slot_request[s.miss[direction, miss]]):
        _take_hit(s, hit, done, back, trace, buffered)
    else:
        _send_row(s, row_command(s, miss), miss, direction, trace, buffered)
    return True


@kernel
def _tick_dual(s: Any, done: Any, back: Any, trace: Any, buffered: Any) -> bool:
    """A column command, then a row command; in half clocks columns go on odd ticks alone."""
    issued = False
    falling = s.bus == HALF and not s.now & 1
    if not falling:
        issued = _try_active(s, done, back, trace)
        if not issued and s.priority_count == 0:
            _set_mode(s)
            bank = best(s, s.writing, s.writing, False)
            if bank >= 0:
                _take_hit(s, bank, done, back, trace, buffered)
                issued = True
    if s.priority_count > 0:
        return _try_priority(s, trace) or issued
    if s.refresh == 3 and _try_owed(s, trace):
        return True
    _set_mode(s)
    bank = best(s, 2 + s.writing, s.writing, falling)
    if bank >= 0:
        _send_row(s, row_command(s, bank), bank, s.writing, trace, buffered)
    return issued or bank >= 0


@kernel
def inject_closes(s: Any) -> None:
    """Queue a PRE for every bank that has reached the cap of column commands, once, as soon as it is legal."""
    for bank in range(s.banks):
        if s.columns[bank] >= s.cap and not s.injected[bank] and earliest(s, PRE, bank) <= s.now and push(s, PRE, bank):
            s.injected[bank] = 1


@kernel
def tick(s: Any, done: Any, back: Any, trace: Any, buffered: Any) -> bool:
    """Issue what this tick's command slots take; return whether anything was issued."""
    if s.bus == SINGLE:
        return _tick_single(s, done, back, trace, buffered)
    return _tick_dual(s, done, back, trace, buffered)
