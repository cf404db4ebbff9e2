"""The controller with command queues behind its transaction queues, as DRAMsim3 has it (profile `dramsim3`).

Every clock one transaction moves from the read or the write queue into the command queue of its bank (or rank), if
there is room; the write queue drains once it is full, or nearly while nothing else waits, and drains what it held at
that moment. Command queues are asked in turn, and each gives its first legal command; a row is closed only by the first
command for its bank, and only without waiting hits or after four. HBM may send a column and a row command in one
clock. A pending refresh closes the banks of its rank one by one and stops the rank's queues until it is issued.

Clocks count from 0; the source offers requests before a clock. Idle clocks are skipped.
"""

# mypy: disable-error-code="no-any-return"
# compiled code takes positions

from __future__ import annotations

from typing import Any

from archsim.dram.jit import kernel
from archsim.dram.kernel_account import book_column, note_activate
from archsim.dram.kernel_device import earliest, issue, issue_scope
from archsim.dram.kernel_refresh import push

__all__ = ["run"]

ACT, PRE, RD, WR, REFA, REFB = 0, 1, 3, 4, 7, 8
NEVER = 1 << 60
QUEUE, LATENCY = 7, 8
HITS_BEFORE_CLOSING = 4


@kernel
def _push_back(s: Any, heads: Any, tails: Any, at: int, slot: int) -> None:
    s.slot_next[slot] = -1
    s.slot_before[slot] = tails[at]
    if tails[at] >= 0:
        s.slot_next[tails[at]] = slot
    else:
        heads[at] = slot
    tails[at] = slot


@kernel
def _take_out(s: Any, heads: Any, tails: Any, at: int, slot: int) -> None:
    before, after = s.slot_before[slot], s.slot_next[slot]
    if before >= 0:
        s.slot_next[before] = after
    else:
        heads[at] = after
    if after >= 0:
        s.slot_before[after] = before
    else:
        tails[at] = before


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
    other = s.queue_head[queue]
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
    slot = s.queue_head[queue]
    while slot >= 0:
        command = _required(s, slot)
        time = earliest(s, command, s.slot_bank[slot])
        if time > s.now:
            s.wake[0] = min(s.wake[0], time)
        elif command != PRE or _may_close(s, queue, slot):
            return slot
        slot = s.slot_next[slot]
    return -1


@kernel
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
def _log(s: Any, trace: Any, command: int, bank: int) -> None:
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
def _finish(s: Any, slot: int, merged: Any, done: Any, back: Any) -> None:
    """A column command has gone: complete the reads of its address, or forget the write."""
    request = s.slot_request[slot]
    known = s.slot_ident[slot]
    half = merged.shape[0] // 2
    s.lane_pending[0] -= 1
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
        done[request] = at
        back[s.completed] = at + s.return_ticks
        s.completed += 1
        return
    waiting = merged[half + known] - 1
    merged[half + known] = 0
    while waiting >= 0:
        following = done[waiting] - 1
        done[waiting] = at
        back[s.completed] = at + s.return_ticks
        s.completed += 1
        waiting = following


@kernel
def _send(s: Any, slot: int, merged: Any, done: Any, back: Any, trace: Any) -> bool:
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
        _take_out(s, s.queue_head, s.queue_tail, bank // s.queue_banks, slot)
        s.queue_count[bank // s.queue_banks] -= 1
        s.waiting_commands -= 1
        if s.closed_page:
            _close(s, bank)
    issue(s, command, bank, s.now)
    _log(s, trace, command, bank)
    if command in (ACT, PRE):
        return False
    _finish(s, slot, merged, done, back)
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


@kernel
def _try_refresh(s: Any, trace: Any) -> bool:
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


@kernel
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


@kernel
def _move(s: Any, merged: Any) -> bool:
    """Move one transaction into its command queue; return whether one moved."""
    if s.draining == 0 and (s.queued[1] >= s.depth[1] or (s.queued[1] > s.drain_above and s.waiting_commands == 0)):
        s.draining = s.queued[1]
        s.mode_since = s.now
    direction = 1 if s.draining > 0 else 0
    half = merged.shape[0] // 2
    slot = s.head[direction, 0]
    while slot >= 0:
        queue = s.slot_bank[slot] // s.queue_banks
        if s.queue_count[queue] < s.queue_limit:
            if direction == 1:
                if half > 0 and merged[half + s.slot_ident[slot]] > 0:
                    s.draining = 0
                    return True
                s.draining -= 1
            _take_out(s, s.head[direction], s.tail[direction], 0, slot)
            s.queued[direction] -= 1
            _push_back(s, s.queue_head, s.queue_tail, queue, slot)
            s.queue_count[queue] += 1
            s.waiting_commands += 1
            return True
        slot = s.slot_next[slot]
    return False


@kernel
def _take(s: Any, request: Any, merged: Any, done: Any, back: Any) -> None:
    """Accept a request: merge it with one that waits for the same address, or queue it."""
    half = merged.shape[0] // 2
    bank, row, write, known = request[0], request[1], request[2], request[3]
    queues = True
    if write:
        done[s.offered] = s.now + 1
        back[s.completed] = s.now + 1 + s.return_ticks
        s.completed += 1
        queues = half == 0 or merged[known] == 0
        if half > 0:
            merged[known] = 1
    elif half > 0 and merged[known]:
        done[s.offered] = s.now + 1
        back[s.completed] = s.now + 1 + s.return_ticks
        s.completed += 1
        queues = False
    elif half > 0:
        queues = merged[half + known] == 0
        done[s.offered] = merged[half + known]
        merged[half + known] = s.offered + 1
    if queues:
        s.free_count -= 1
        slot = s.free[s.free_count]
        s.slot_request[slot], s.slot_bank[slot], s.slot_row[slot] = s.offered, bank, row
        s.slot_write[slot], s.slot_ident[slot], s.slot_arrival[slot] = write, known, s.now
        s.slot_source[slot] = s.source if s.lane_pending[0] == 0 else -1
        s.lane_pending[0] += 1
        _push_back(s, s.head[write], s.tail[write], 0, slot)
        s.queued[write] += 1


@kernel
def _offer(s: Any, asked: Any, merged: Any, done: Any, back: Any) -> bool:
    taken = 0
    while taken < s.inject and s.offered < asked.shape[0]:
        request = s.offered
        waits = request - s.window
        if s.window > 0 and waits >= 0 and (waits >= s.completed or back[waits] > s.now):
            s.source = LATENCY
            return taken > 0
        if s.queued[asked[request, 2]] >= s.depth[asked[request, 2]]:
            s.source = QUEUE
            return taken > 0
        _take(s, asked[request], merged, done, back)
        s.offered += 1
        taken += 1
    s.source = LATENCY
    return taken > 0


@kernel
def run(s: Any, asked: Any, merged: Any, done: Any, back: Any, trace: Any) -> bool:
    """Serve all requests; return false if nothing could ever happen again."""
    last = asked.shape[0]
    while s.completed < last:
        changed = _offer(s, asked, merged, done, back)
        _refresh_due(s)
        s.wake[0] = NEVER if s.refresh == 0 else s.refresh_at
        first = _try_refresh(s, trace)
        column = False
        if not first:
            slot = _next_command(s)
            first = slot >= 0
            column = first and _send(s, slot, merged, done, back, trace)
        if first and s.bus:
            slot = _next_command(s)
            if slot >= 0 and (_required(s, slot) > PRE) != column:
                _send(s, slot, merged, done, back, trace)
        changed = _move(s, merged) or changed or first
        waits = s.offered - s.window
        if s.window > 0 and s.offered < last and 0 <= waits < s.completed:
            s.wake[0] = min(s.wake[0], back[waits])
        s.now = s.now + 1 if changed else max(s.now + 1, s.wake[0])
        if s.now >= NEVER:
            return False
    return s.completed >= last
