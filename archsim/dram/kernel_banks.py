"""The controller with command queues behind its transaction queues, as DRAMsim3 has it (profile `dramsim3`).

Every clock one transaction moves from the read or the write queue into the command queue of its bank (or rank), if
there is room; the write queue drains once it is full, or nearly while nothing else waits, and drains what it held at
that moment. Command queues are asked in turn, and each gives its first legal command; a row is closed only by the first
command for its bank, and only without waiting hits or after four. HBM may send a column and a row command in one
clock. A pending refresh closes the banks of its rank one by one and stops the rank's queues until it is issued.

Lists 0 and 1 are the read and the write queue, those from `COMMANDS` on the command queues.

Clocks count from 0; the source offers requests before a clock. Idle clocks are skipped.
"""

# mypy: disable-error-code="no-any-return"
# compiled code takes positions

from __future__ import annotations

from typing import Any

from archsim.dram.jit import Bytes, Ints, Table, called, kernel
from archsim.dram.kernel_account import book_column, note_activate
from archsim.dram.kernel_device import earliest, issue, issue_scope
from archsim.dram.kernel_refresh import push
from archsim.dram.kernel_source import finish, windowed

__all__ = ["run"]

ACT, PRE, RD, WR, REFA, REFB = 0, 1, 3, 4, 7, 8
NEVER = 1 << 60
QUEUE, LATENCY = 7, 8
HITS_BEFORE_CLOSING = 4
COMMANDS = 2


@kernel
def _push_back(s: Any, queue: int, slot: int) -> None:
    s.slot_next[slot] = -1
    s.slot_before[slot] = s.queue_tail[queue]
    if s.queue_tail[queue] >= 0:
        s.slot_next[s.queue_tail[queue]] = slot
    else:
        s.queue_head[queue] = slot
    s.queue_tail[queue] = slot


@kernel
def _take_out(s: Any, queue: int, slot: int) -> None:
    before, after = s.slot_before[slot], s.slot_next[slot]
    if before >= 0:
        s.slot_next[before] = after
    else:
        s.queue_head[queue] = after
    if after >= 0:
        s.slot_before[after] = before
    else:
        s.queue_tail[queue] = before


@kernel
def _required(s: Any, slot: int) -> int:
    """Return what the request needs next: ACT, PRE, or its column command (closing the row in closed-page mode)."""
    bank = s.slot_bank[slot]
    if s.open_row[bank] < 0:
        return ACT
    if s.open_row[bank] != s.slot_row[slot]:
        return PRE
    return (WR if s.slot_write[slot] else RD) + 2 * s.closed_page


@kernel
def _may_close(s: Any, queue: int, slot: int) -> bool:
    """Return whether *slot*'s PRE is allowed: first for its bank, no hit behind it or enough hits served."""
    bank = s.slot_bank[slot]
    other = s.queue_head[queue + COMMANDS]
    while other != slot:
        if s.slot_bank[other] == bank:
            return False
        other = s.slot_next[other]
    if s.columns[bank] >= HITS_BEFORE_CLOSING:
        return True
    while other >= 0:
        if s.slot_bank[other] == bank and s.slot_row[other] == s.open_row[bank]:
            return False
        other = s.slot_next[other]
    return True


@kernel
def _first_legal(s: Any, queue: int) -> int:
    """Return the first request of *queue* whose next command is legal now, or -1; lower the next clock."""
    slot = s.queue_head[queue + COMMANDS]
    while slot >= 0:
        command = _required(s, slot)
        time = earliest(s, command, s.slot_bank[slot])
        if time > s.now:
            s.wake[0] = min(s.wake[0], time)
        elif command != PRE or _may_close(s, queue, slot):
            return slot
        slot = s.slot_next[slot]
    return -1


@called
def _next_command(s: Any) -> int:
    """Ask the queues in turn; return the request whose command is legal, or -1."""
    for _ in range(s.queues):
        s.turn += 1
        if s.turn == s.queues:
            s.turn = 0
        if s.in_refresh and s.queue_held[s.turn]:
            continue
        slot = _first_legal(s, s.turn)
        if slot >= 0:
            return slot
    return -1


@kernel
def _log(s: Any, trace: Table, command: int, bank: int) -> None:
    s.commands[command] += 1
    if s.traced < trace.shape[0]:
        trace[s.traced, 0] = s.now
        trace[s.traced, 1] = command
        trace[s.traced, 2] = bank
        s.traced += 1


@kernel
def _close(s: Any, bank: int) -> None:
    s.open_row[bank] = -1
    s.columns[bank] = 0


@kernel
def _finish(s: Any, slot: int, merged: Ints, times: Table) -> None:
    """A column command has gone: complete the reads of its address, or forget the write."""
    request = s.slot_request[slot]
    known = s.slot_ident[slot]
    half = merged.shape[0] // 2
    s.free[s.free_count] = slot
    s.free_count += 1
    if s.slot_write[slot]:
        if half > 0:
            merged[known] = 0
        return
    at = s.now + s.read_ticks
    s.read_latency += at - s.slot_arrival[slot]
    s.reads += 1
    if half == 0:
        finish(s, request, at, times)
        return
    waiting = merged[half + known] - 1
    merged[half + known] = 0
    while waiting >= 0:
        following = times[0, waiting] - 1
        finish(s, waiting, at, times)
        waiting = following


@called
def _send(s: Any, slot: int, merged: Ints, times: Table, trace: Table) -> bool:
    """Issue the next command of *slot*; return whether it was a column command."""
    command, bank = _required(s, slot), s.slot_bank[slot]
    if command == ACT:
        note_activate(s, bank, s.slot_arrival[slot])
        s.open_row[bank] = s.slot_row[slot]
    elif command == PRE:
        _close(s, bank)
    else:
        book_column(s, slot, command)
        s.columns[bank] += 1
        _take_out(s, bank // s.queue_banks + COMMANDS, slot)
        s.queue_count[bank // s.queue_banks] -= 1
        s.waiting_commands -= 1
        if s.closed_page:
            _close(s, bank)
    issue(s, command, bank, s.now)
    _log(s, trace, command, bank)
    if command in (ACT, PRE):
        return False
    _finish(s, slot, merged, times)
    return True


@kernel
def _refresh_command(s: Any) -> int:
    """Return the bank to close for the pending refresh, or `-2 - target` when the refresh itself is legal, or -1."""
    final = s.priority_command[s.priority_head & 2047]
    target = s.priority_target[s.priority_head & 2047]
    span = s.banks // s.scopes if final == REFA else 1
    legal = 0
    for bank in range(target * span, (target + 1) * span):
        closed = s.open_row[bank] < 0
        time = earliest(s, final if closed else PRE, bank)
        if time > s.now:
            s.wake[0] = min(s.wake[0], time)
        elif closed:
            legal += 1
        else:
            return bank
    return -2 - target if legal == span else -1


@kernel
def _hold(s: Any) -> None:
    """Stop the command queues that the pending refresh concerns."""
    final = s.priority_command[s.priority_head & 2047]
    target = s.priority_target[s.priority_head & 2047]
    span = s.banks // s.scopes if final == REFA else 1
    for queue in range(s.queues):
        s.queue_held[queue] = 0
    for bank in range(target * span, (target + 1) * span):
        s.queue_held[bank // s.queue_banks] = 1
    s.in_refresh = 1


@called
def _try_refresh(s: Any, trace: Table) -> bool:
    if s.priority_count == 0:
        return False
    if not s.in_refresh:
        _hold(s)
    bank = _refresh_command(s)
    if bank == -1:
        return False
    if bank >= 0:
        issue(s, PRE, bank, s.now)
        _close(s, bank)
        _log(s, trace, PRE, bank)
        return True
    final = s.priority_command[s.priority_head & 2047]
    target = -2 - bank
    if final == REFA:
        issue_scope(s, REFA, target, s.now)
    else:
        issue(s, REFB, target, s.now)
    _log(s, trace, final, target * (s.banks // s.scopes) if final == REFA else target)
    s.priority_head += 1
    s.priority_count -= 1
    s.blocked_to = s.now + 1
    s.in_refresh = 0
    return True


@called
def _refresh_due(s: Any) -> None:
    """Queue a refresh of the next rank, or of the next bank: bank groups first, then banks, then ranks.

    The order is fixed, so those that find the queue full lose nothing by falling due later.
    """
    if s.refresh == 0 or s.now < s.refresh_at:
        return
    turn = s.next_flat
    target = turn
    if s.refresh > 1:
        groups, within = s.fanout[s.levels - 2], s.fanout[s.levels - 1]
        rank, rest = turn // (groups * within), turn % (groups * within)
        target = (rank * groups + rest % groups) * within + rest // groups
    if push(s, REFA if s.refresh == 1 else REFB, target):
        s.refresh_at += s.refresh_ticks
        s.next_flat = (turn + 1) % (s.scopes if s.refresh == 1 else s.banks)


@called
def _move(s: Any, merged: Ints) -> bool:
    """Move one transaction into its command queue; return whether one moved, or another may move in the next clock.

    A write that must wait for a read of its address ends the drain. Were it to begin again in the next clock, a read
    that waits behind full write queues would never be moved: so the next clock is the reads'.
    """
    full = s.queued[1] >= s.depth[1] or (s.queued[1] > s.drain_above and s.waiting_commands == 0)
    gave_way = s.gave_way
    s.gave_way = 0
    if s.draining == 0 and full and not gave_way:
        s.draining = s.queued[1]
        s.mode_since = s.now
    direction = 1 if s.draining > 0 else 0
    half = merged.shape[0] // 2
    slot = s.queue_head[direction]
    while slot >= 0:
        queue = s.slot_bank[slot] // s.queue_banks
        if s.queue_count[queue] < s.queue_limit:
            if direction == 1:
                if half > 0 and merged[half + s.slot_ident[slot]] > 0:
                    s.draining = 0
                    s.gave_way = 1
                    return True
                s.draining -= 1
            _take_out(s, direction, slot)
            s.queued[direction] -= 1
            _push_back(s, queue + COMMANDS, slot)
            s.queue_count[queue] += 1
            s.waiting_commands += 1
            return True
        slot = s.slot_next[slot]
    return bool(gave_way)


@kernel
def _nothing_to_serve(s: Any) -> bool:
    """Return whether the device waits for the source: writes that are not being drained are not served."""
    return s.queued[0] + s.waiting_commands + s.draining == 0


@called
def _take(s: Any, bank: int, row: int, write: int, known: int, merged: Ints, times: Table) -> None:
    """Accept a request: merge it with one that waits for the same address, or queue it."""
    half = merged.shape[0] // 2
    queues = True
    if write:
        finish(s, s.offered, s.now + 1, times)
        queues = half == 0 or merged[known] == 0
        if half > 0:
            merged[known] = 1
    elif half > 0 and merged[known]:
        finish(s, s.offered, s.now + 1, times)
        queues = False
    elif half > 0:
        queues = merged[half + known] == 0
        times[0, s.offered] = merged[half + known]
        merged[half + known] = s.offered + 1
    if queues:
        s.free_count -= 1
        slot = s.free[s.free_count]
        s.slot_request[slot], s.slot_bank[slot], s.slot_row[slot] = s.offered, bank, row
        s.slot_write[slot], s.slot_ident[slot], s.slot_arrival[slot] = write, known, s.now
        s.slot_source[slot] = s.source if _nothing_to_serve(s) else -1
        _push_back(s, write, slot)
        s.queued[write] += 1


@kernel
def _offer(s: Any, bank: Ints, row: Ints, write: Bytes, ident: Ints, merged: Ints, times: Table) -> bool:
    taken = 0
    while taken < s.inject and s.offered < bank.shape[0]:
        request = s.offered
        if windowed(s, times):
            s.source = LATENCY
            return taken > 0
        direction = write[request]
        if s.queued[direction] >= s.depth[direction]:
            s.source = QUEUE
            return taken > 0
        known = ident[request] if merged.shape[0] > 0 else 0
        _take(s, bank[request], row[request], direction, known, merged, times)
        s.offered += 1
        taken += 1
    s.source = LATENCY
    return taken > 0


@called
def run(s: Any, bank: Ints, row: Ints, write: Bytes, ident: Ints, merged: Ints, times: Table, trace: Table) -> bool:
    """Serve all requests; return false if nothing could ever happen again. Arguments as `kernel_channel.run` has them.

    *merged* marks the addresses of waiting writes in its first half, and in its second the first read that waits.
    """
    last = bank.shape[0]
    while s.completed < last:
        changed = _offer(s, bank, row, write, ident, merged, times)
        _refresh_due(s)
        s.wake[0] = NEVER if s.refresh == 0 else s.refresh_at
        first = _try_refresh(s, trace)
        column = False
        if not first:
            slot = _next_command(s)
            first = slot >= 0
            column = first and _send(s, slot, merged, times, trace)
        if first and s.bus:
            slot = _next_command(s)
            if slot >= 0 and (_required(s, slot) > PRE) != column:
                _send(s, slot, merged, times, trace)
        changed = _move(s, merged) or changed or first
        waits = s.offered - s.window
        if s.window > 0 and s.offered < last and 0 <= waits < s.completed:
            s.wake[0] = min(s.wake[0], times[1, waits])
        s.now = s.now + 1 if changed else max(s.now + 1, s.wake[0])
        if s.now >= NEVER:
            return False
    return s.completed >= last
