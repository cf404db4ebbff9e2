"""One channel from first request to last: the source, the clock, and the controller of `kernel_queue`.

The source is in order and blocks at its head: before every tick it offers up to `inject` requests until one is refused
by a full queue. With a window it is a closed loop: a request may be offered once fewer than `window` are in flight,
and a request stays in flight `return_ticks` longer than its data takes. A read of an address whose write still waits
is answered by the queue; a second write to it is absorbed.
"""

# mypy: disable-error-code="no-any-return"
# compiled code takes positions

from __future__ import annotations

from typing import Any

from archsim.dram.jit import kernel
from archsim.dram.kernel_lists import append, group_time
from archsim.dram.kernel_queue import inject_closes, tick_dual, tick_single
from archsim.dram.kernel_refresh import falls_due, owed_time, priority_command, priority_time, refresh_next
from archsim.dram.kernel_send import complete
from archsim.dram.kernel_split import tick_split

__all__ = ["run"]

NEVER = 1 << 60
LONGEST_STALL = 1 << 26
QUEUE, LATENCY = 7, 8
SINGLE, HALF, SPLIT = 0, 2, 3


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
def _merged(s: Any, write: int, ident: int, buffered: Any, done: Any, back: Any) -> bool:
    """Answer a request whose address a waiting write holds; note the address of a new write."""
    if buffered[ident]:
        complete(s, s.now if write else s.now + 1, s.offered, done, back)
        return True
    return False


@kernel
def _offer(s: Any, asked: Any, buffered: Any, done: Any, back: Any) -> bool:
    """Offer up to `inject` requests; return whether one was taken."""
    taken = 0
    last = asked.shape[0]
    while taken < s.inject and s.offered < last:
        request = s.offered
        if (
            s.window > 0
            and request >= s.window
            and (request - s.window >= s.completed or back[request - s.window] > s.now)
        ):
            s.source = LATENCY
            break
        direction, known = asked[request, 2], asked[request, 3]
        if buffered.shape[0] > 0 and _merged(s, direction, known, buffered, done, back):
            s.offered += 1
            taken += 1
            continue
        if s.queued[direction] >= s.depth[direction]:
            s.source = QUEUE
            break
        if direction == 1 and buffered.shape[0] > 0:
            buffered[known] = 1
        _accept(s, asked[request, 0], asked[request, 1], direction, known)
        s.offered += 1
        taken += 1
    if taken == s.inject:
        s.source = LATENCY
    return taken > 0


@kernel
def _rising(s: Any, time: int) -> int:
    return time | 1 if s.bus == HALF else time


@kernel
def _next_event(s: Any, back: Any, last: int) -> int:
    """Return the next tick at which anything can happen, given that nothing did at this one."""
    if s.cap > 0 or s.activating >= 0 or s.started >= 0:
        return s.now + 1
    time = refresh_next(s)
    if s.members_count[0] > 0:
        time = min(time, _rising(s, s.wake[0]))
    if s.priority_count > 0:
        time = min(time, priority_time(s, priority_command(s)))
    else:
        for lane in range(s.lanes):
            time = min(time, _rising(s, group_time(s, 0, s.writing, lane)))
            time = min(time, _rising(s, group_time(s, 1, s.writing, lane)))
            time = min(time, group_time(s, 2, s.writing, lane))
        if s.refresh == 3:
            for lane in range(s.lanes):
                if s.owed_bank[lane] >= 0:
                    time = min(time, owed_time(s, lane))
    waits = s.offered - s.window
    if s.window > 0 and s.offered < last and waits >= 0 and waits < s.completed and back[waits] >= s.now:
        time = min(time, back[waits] + 1)
    return max(time, s.now + 1)


@kernel
def _tick(s: Any, done: Any, back: Any, trace: Any, buffered: Any) -> bool:
    if s.bus == SINGLE:
        return tick_single(s, done, back, trace, buffered)
    if s.bus == SPLIT:
        return tick_split(s, done, back, trace, buffered)
    return tick_dual(s, done, back, trace, buffered)


@kernel
def run(s: Any, asked: Any, buffered: Any, done: Any, back: Any, trace: Any) -> bool:
    """Serve all requests; return false if nothing could ever happen again or refreshes overflow their queue."""
    last = asked.shape[0]
    while s.completed < last and not s.stuck:
        changed = _offer(s, asked, buffered, done, back)
        s.now += 1
        falls_due(s)
        if s.cap > 0:
            inject_closes(s)
        if _tick(s, done, back, trace, buffered) or changed:
            continue
        following = _next_event(s, back, last)
        if following >= NEVER or s.now > s.progress_at + LONGEST_STALL:
            return False
        s.now = following - 1
    return s.completed >= last
