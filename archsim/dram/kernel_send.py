"""What a controller sends, and what each command does to the waiting requests.

A request waits in its bank's list; an ACT makes it the bank's active request, which keeps the row from being closed.
Maintenance (refreshes, closes at the cap) goes through the head of a priority queue. In half clocks (`bus` 2) a falling
edge, an even tick, carries a PRE alone, and not one that clashes with the row command of the rising edge before it.
"""

# mypy: disable-error-code="no-any-return"
# ruff: noqa: FBT001, FBT003  # compiled code takes positions

from __future__ import annotations

from typing import Any

from archsim.dram.jit import called, kernel
from archsim.dram.kernel_account import book_column, note_activate
from archsim.dram.kernel_device import earliest, issue, issue_scope
from archsim.dram.kernel_idle import idle_bank, note_closed, note_conflict, note_opened, note_used
from archsim.dram.kernel_lists import recompute, take_miss, wake_bank
from archsim.dram.kernel_refresh import choose_owed, owed_command, owed_time, priority_command, priority_time

__all__ = [
    "activate",
    "forget",
    "log",
    "pick_active",
    "send_column",
    "send_row",
    "take_active",
    "take_for_activate",
    "try_idle",
    "try_owed",
    "try_priority",
]

ACT, PRE, PREA, RD, WR, REFA = 0, 1, 2, 3, 4, 7
HALF = 2
NEVER = 1 << 60


@kernel
def log(s: Any, command: int, bank: int) -> None:
    """Count a command; where commands are traced, leave it for `run` to write down."""
    s.commands[command] += 1
    if s.tracing:
        s.log_command[s.logged] = command
        s.log_bank[s.logged] = bank
        s.logged += 1


@kernel
def forget(s: Any, slot: int) -> None:
    """*slot* leaves the queue: a later request for the address of its write finds nothing to merge with."""
    if s.merging and s.slot_write[slot]:
        s.left[s.left_count] = s.slot_ident[slot]
        s.left_count += 1


@kernel
def close(s: Any, bank: int) -> None:
    if s.open_row[bank] >= 0:
        s.open_count[s.scope[bank]] -= 1
    s.open_row[bank] = -1
    s.columns[bank] = 0
    s.injected[bank] = 0
    recompute(s, bank)


@called
def send_column(s: Any, slot: int) -> None:
    """Issue the read or write of *slot*, which has left its list; `run` completes it.

    At the cap it closes the row, unless another request has had the row opened and still waits for its column: closed
    under it, the row may never be opened again.
    """
    bank = s.slot_bank[slot]
    write = s.slot_write[slot]
    command = WR if write else RD
    book_column(s, slot, command)
    full = s.cap > 0 and s.columns[bank] >= s.cap and s.active[bank] < 0
    closing = full and earliest(s, command + 2, bank) <= s.now
    if closing:
        command += 2
    issue(s, command, bank, s.now)
    log(s, command, bank)
    s.columns[bank] += 1
    note_used(s, bank)
    s.lane_pending[s.lane[bank]] -= 1
    if not write:
        s.read_latency += s.now + s.read_ticks - s.slot_arrival[slot]
        s.reads += 1
    s.finished = s.slot_request[slot]
    s.finished_at = s.now + (s.write_ticks if write else s.read_ticks)
    s.progress_at = s.now
    s.free[s.free_count] = slot
    s.free_count += 1
    if closing:
        close(s, bank)


@kernel
def _pair(s: Any, command: int, bank: int, whole: bool) -> None:
    """Remember a row command of a rising edge: it restricts the PRE of the falling edge that follows it."""
    if s.bus == HALF and s.now & 1:
        s.pair_edge = s.now + (3 if command == ACT else 1)
        s.pair_lane = s.lane[bank]
        s.pair_bank = -1 if whole else bank


@kernel
def activate(s: Any, bank: int, slot: int) -> None:
    """The row of *slot* is open: make it an active request of *bank*."""
    s.open_row[bank] = s.slot_row[slot]
    s.active[bank] = slot
    s.slot_key[slot] = s.slot_arrival[slot] * 65536 + (s.promotions & 65535)
    s.promotions += 1
    time = earliest(s, WR if s.slot_write[slot] else RD, bank)
    s.active_place[bank] = s.active_banks
    s.active_bank[s.active_banks] = bank
    s.active_from[s.active_banks] = time
    s.active_banks += 1
    s.active_wake = min(s.active_wake, time)
    note_opened(s, bank)
    recompute(s, bank)


@kernel
def take_for_activate(s: Any, direction: int, bank: int) -> int:
    """Issue ACT for the oldest miss of *bank* and return its slot, which has left its list."""
    slot = take_miss(s, direction, bank)
    forget(s, slot)
    note_activate(s, bank, s.slot_arrival[slot])
    issue(s, ACT, bank, s.now)
    s.open_count[s.scope[bank]] += 1
    s.active_count[s.scope[bank]] += 1
    log(s, ACT, bank)
    return slot


@called
def send_row(s: Any, command: int, bank: int, direction: int) -> None:
    """Issue ACT (the oldest miss becomes an active request) or PRE to *bank*."""
    if command == ACT:
        activate(s, bank, take_for_activate(s, direction, bank))
    else:
        note_conflict(s, bank)
        issue(s, PRE, bank, s.now)
        close(s, bank)
        log(s, PRE, bank)
    _pair(s, command, bank, False)


@kernel
def _unlink_active(s: Any, bank: int) -> None:
    s.active[bank] = -1
    s.active_count[s.scope[bank]] -= 1
    s.active_banks -= 1
    last = s.active_bank[s.active_banks]
    s.active_bank[s.active_place[bank]] = last
    s.active_from[s.active_place[bank]] = s.active_from[s.active_banks]
    s.active_place[last] = s.active_place[bank]
    s.active_place[bank] = -1


@kernel
def pick_active(s: Any) -> int:
    """Return the oldest request with a legal column command among those whose ACT has gone, one a bank, or -1."""
    if s.active_banks == 0 or s.active_wake > s.now:
        return -1
    chosen, wake = -1, NEVER
    for k in range(s.active_banks):
        if s.active_from[k] > s.now:
            wake = min(wake, s.active_from[k])
            continue
        bank = s.active_bank[k]
        slot = s.active[bank]
        time = earliest(s, WR if s.slot_write[slot] else RD, bank)
        wake = min(wake, max(time, s.now + 1))
        if time <= s.now and (chosen < 0 or s.slot_key[slot] < s.slot_key[chosen]):
            chosen = slot
    s.active_wake = wake
    return chosen


@kernel
def take_active(s: Any, slot: int) -> None:
    """Issue the column command of the active request *slot*."""
    bank = s.slot_bank[slot]
    _unlink_active(s, bank)
    send_column(s, slot)
    wake_bank(s, bank)


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


@called
def try_priority(s: Any) -> bool:
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
                close(s, other)
    else:
        issue(s, command, target, s.now)
        if command == PRE:
            close(s, target)
    log(s, command, bank)
    _pair(s, command, bank, whole)
    if command == final:
        s.priority_head += 1
        s.priority_count -= 1
        s.blocked_to = s.now + 1
    return True


@called
def try_owed(s: Any) -> bool:
    """Refresh one bank beside the traffic of the others, if one is owed and legal now."""
    for lane in range(s.lanes):
        bank = s.owed_bank[lane]
        if bank >= 0 and owed_time(s, lane) <= s.now:
            command = owed_command(s, bank)
            if not _clash(s, command, bank):
                issue(s, command, bank, s.now)
                log(s, command, bank)
                _pair(s, command, bank, False)
                if command == PRE:
                    close(s, bank)
                else:
                    choose_owed(s, lane)
                    wake_bank(s, bank)
                return True
    return False


@called
def try_idle(s: Any) -> bool:
    """Close a row that has been idle for its bank's limit, if no maintenance waits."""
    if s.priority_count > 0:
        return False
    bank = idle_bank(s)
    if bank < 0 or _clash(s, PRE, bank):
        return False
    note_closed(s, bank)
    issue(s, PRE, bank, s.now)
    close(s, bank)
    log(s, PRE, bank)
    _pair(s, PRE, bank, False)
    return True
