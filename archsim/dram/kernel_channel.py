"""One channel from first request to last: the source, the clock, and the controller of `kernel_queue`.

The source is in order and blocks at its head: before every tick it offers up to `inject` requests until one is refused
by a full queue. With a window it is a closed loop: a request may be offered once fewer than `window` are in flight,
and a request stays in flight `return_ticks` longer than its data takes. A read of an address whose write still waits
is answered by the queue; a second write to it is absorbed.

Most ticks pass with nothing to do, so after every tick the next one at which anything can happen is looked for, and
those between are skipped. `run` alone touches what belongs to requests (their places, their times, the trace): all
other kernels take the record and leave in it what has happened.
"""

# mypy: disable-error-code="no-any-return"
# compiled code takes positions

from __future__ import annotations

from typing import Any

from archsim.dram.jit import Bytes, Ints, Table, called, kernel
from archsim.dram.kernel_lists import append, group_time
from archsim.dram.kernel_queue import inject_closes, mode_turns, tick_dual, tick_single
from archsim.dram.kernel_refresh import falls_due, owed_time, priority_command, priority_time, refresh_next
from archsim.dram.kernel_source import finish, windowed
from archsim.dram.kernel_split import tick_split

__all__ = ["run"]

NEVER = 1 << 60
LONGEST_STALL = 1 << 26
QUEUE, LATENCY = 7, 8
SINGLE, HALF, SPLIT = 0, 2, 3
HIT, OPENING, CLOSING = 0, 1, 2


@kernel
def _accept(s: Any, bank: int, row: int, write: int, ident: int) -> None:
    s.free_count -= 1
    slot = s.free[s.free_count]
    lane = s.lane[bank]
    s.slot_request[slot] = s.offered
    s.slot_bank[slot] = bank
    s.slot_row[slot] = row
    s.slot_write[slot] = write
    s.slot_ident[slot] = ident
    s.slot_arrival[slot] = s.now
    s.slot_source[slot] = s.source if s.lane_pending[lane] == 0 else -1
    s.lane_pending[lane] += 1
    append(s, write, slot)


@kernel
def _take(s: Any, bank: int, row: int, write: int, ident: int) -> bool:
    """Accept a request where its queue has room, else note that the source is blocked."""
    if s.queued[write] >= s.depth[write]:
        s.source = QUEUE
        return False
    _accept(s, bank, row, write, ident)
    return True


@kernel
def _offer(s: Any, bank: Ints, row: Ints, write: Bytes, ident: Ints, buffered: Ints, times: Table) -> None:
    """Offer up to `inject` requests; `offering` says whether more could be offered in the next tick."""
    taken = 0
    while taken < s.inject and s.offered < bank.shape[0]:
        request = s.offered
        if windowed(s, times):
            s.source = LATENCY
            break
        known = ident[request] if s.merging else 0
        if s.merging and buffered[known]:
            s.progress_at = s.now
            finish(s, request, s.now if write[request] else s.now + 1, times)
        elif not _take(s, bank[request], row[request], write[request], known):
            break
        elif s.merging and write[request]:
            buffered[known] = 1
        s.offered += 1
        taken += 1
    s.offering = taken == s.inject
    if s.offering:
        s.source = LATENCY


@kernel
def _rising(s: Any, time: int) -> int:
    return time | 1 if s.bus == HALF else time


@kernel
def _candidates(s: Any) -> int:
    """Return the first tick at which a waiting request may get its next command, while no maintenance blocks them."""
    column, row = NEVER, NEVER
    for lane in range(s.lanes):
        column = min(column, group_time(s, HIT, s.writing, lane), group_time(s, OPENING, s.writing, lane))
        row = min(row, group_time(s, CLOSING, s.writing, lane))
        if s.refresh == 3 and s.owed_bank[lane] >= 0:
            row = min(row, owed_time(s, lane))
    return min(_rising(s, column), row)


@kernel
def _next_event(s: Any, times: Table, last: int) -> int:
    """Return a tick before which nothing can happen."""
    if s.offering or s.cap > 0 or s.activating >= 0 or s.started >= 0:
        return s.now + 1
    time = refresh_next(s)
    if s.active_banks > 0:
        time = min(time, _rising(s, s.active_wake))
    if s.priority_count > 0:
        time = min(time, priority_time(s, priority_command(s)))
    elif mode_turns(s):
        return s.now + 1
    else:
        time = min(time, _candidates(s))
        if s.idle_close > 0:
            time = min(time, s.idle_wake)
    waits = s.offered - s.window
    if s.window > 0 and s.offered < last and 0 <= waits < s.completed and times[1, waits] >= s.now:
        time = min(time, times[1, waits] + 1)
    return max(time, s.now + 1)


@kernel
def _tick(s: Any) -> None:
    falls_due(s)
    if s.cap > 0:
        inject_closes(s)
    if s.bus == SINGLE:
        tick_single(s)
    elif s.bus == SPLIT:
        tick_split(s)
    else:
        tick_dual(s)


@kernel
def _hand_out(s: Any, buffered: Ints, times: Table, trace: Table) -> None:
    """Write down what the tick left in the record: a completed request, writes that left the queue, commands."""
    if s.finished >= 0:
        finish(s, s.finished, s.finished_at, times)
        s.finished = -1
    for k in range(s.left_count):
        buffered[s.left[k]] = 0
    s.left_count = 0
    for k in range(s.logged):
        if s.traced < trace.shape[0]:
            trace[s.traced, 0], trace[s.traced, 1], trace[s.traced, 2] = s.now, s.log_command[k], s.log_bank[k]
            s.traced += 1
    s.logged = 0


@called
def run(s: Any, bank: Ints, row: Ints, write: Bytes, ident: Ints, buffered: Ints, times: Table, trace: Table) -> bool:
    """Serve all requests; return false if nothing could ever happen again or refreshes overflow their queue.

    Request k goes to *bank* k, *row* k; *times* is that of `kernel_source`. Where addresses meet, *ident* numbers them
    and *buffered* marks those of waiting writes.
    """
    last = bank.shape[0]
    s.merging, s.tracing = buffered.shape[0] > 0, trace.shape[0] > 0
    while s.completed < last and not s.stuck:
        _offer(s, bank, row, write, ident, buffered, times)
        following = _next_event(s, times, last)
        if following >= NEVER or s.now > s.progress_at + LONGEST_STALL:
            break
        if following > s.now + 1:
            s.now = following - 1
            if s.window > 0:
                _offer(s, bank, row, write, ident, buffered, times)
        s.now += 1
        _tick(s)
        _hand_out(s, buffered, times, trace)
    return s.completed >= last
