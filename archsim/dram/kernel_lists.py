"""Requests waiting at a channel, as lists per bank, and which bank's oldest request may go next.

Per bank and direction (0 read, 1 write) the waiting requests stand in order of arrival; `hit` is the oldest one for the
open row, `miss` the oldest other one (the oldest of all while the bank is closed). By what its oldest request needs a
bank is a candidate for a column command (kind 0), an ACT (1) or a PRE (2); each kind, direction and data lane has a
set of candidates, which keeps `wake`, a tick before which none of its members can be legal. Group 0 holds the banks
whose ACT has gone and whose column command waits.
"""

# mypy: disable-error-code="no-any-return"
# ruff: noqa: FBT001  # compiled code takes positions

from __future__ import annotations

from typing import Any

from archsim.dram.jit import kernel
from archsim.dram.kernel_device import earliest_below

__all__ = [
    "append",
    "best",
    "best_miss",
    "drop_hit",
    "group_of",
    "group_time",
    "join",
    "leave",
    "recompute",
    "row_command",
    "take_miss",
    "wake_bank",
]

ACT, PRE, RD, WR = 0, 1, 3, 4
HIT, OPENING, CLOSING = 0, 1, 2
NEVER = 1 << 60


@kernel
def group_of(s: Any, kind: int, direction: int, lane: int) -> int:
    """Return the number of the set of candidates of a *kind*, *direction* and data *lane*."""
    return 1 + (kind * 2 + direction) * s.lanes + lane


@kernel
def _command_of(kind: int, direction: int) -> int:
    if kind == HIT:
        return WR if direction else RD
    return ACT if kind == OPENING else PRE


@kernel
def join(s: Any, group: int, bank: int) -> None:
    """Put *bank* into the set *group* unless it is there."""
    if s.place[group, bank] < 0:
        s.place[group, bank] = s.members_count[group]
        s.members[group, s.members_count[group]] = bank
        s.members_count[group] += 1


@kernel
def leave(s: Any, group: int, bank: int) -> None:
    """Take *bank* out of the set *group* if it is there."""
    at = s.place[group, bank]
    if at >= 0:
        last = s.members[group, s.members_count[group] - 1]
        s.members[group, at] = last
        s.place[group, last] = at
        s.place[group, bank] = -1
        s.members_count[group] -= 1


@kernel
def row_command(s: Any, bank: int) -> int:
    """Return what the oldest miss of *bank* needs: ACT while the bank is closed, else PRE."""
    return ACT if s.open_row[bank] < 0 else PRE


@kernel
def _holds(s: Any, kind: int, direction: int, bank: int) -> bool:
    """Return whether a rule, not a time, keeps *bank*'s oldest request of a *kind* waiting."""
    if kind == OPENING:
        return bool(s.owed_bank[s.lane[bank]] == bank)
    if kind != CLOSING:
        return False
    if s.active[bank] >= 0:
        return True
    hit = s.hit[direction, bank]
    if s.protect == 0 or hit < 0:
        return False
    return s.protect > 1 or s.slot_arrival[hit] <= s.slot_arrival[s.miss[direction, bank]]


@kernel
def _enter(s: Any, kind: int, direction: int, bank: int) -> None:
    """Put *bank* among the candidates of a *kind* and lower the set's bound to what it may do next."""
    group = group_of(s, kind, direction, s.lane[bank])
    join(s, group, bank)
    if not _holds(s, kind, direction, bank):
        s.wake[group] = min(s.wake[group], earliest_below(s, _command_of(kind, direction), bank))


@kernel
def wake_bank(s: Any, bank: int) -> None:
    """Make *bank* the candidates that its lists and its row say, and lower the sets' bounds."""
    lane = s.lane[bank]
    for direction in range(2):
        if s.hit[direction, bank] >= 0:
            _enter(s, HIT, direction, bank)
        else:
            leave(s, group_of(s, HIT, direction, lane), bank)
        kind = OPENING if s.open_row[bank] < 0 else CLOSING
        leave(s, group_of(s, OPENING + CLOSING - kind, direction, lane), bank)
        if s.miss[direction, bank] >= 0:
            _enter(s, kind, direction, bank)
        else:
            leave(s, group_of(s, kind, direction, lane), bank)


@kernel
def recompute(s: Any, bank: int) -> None:
    """Find the oldest hit and miss of *bank* again after its row opened or closed."""
    row = s.open_row[bank]
    for direction in range(2):
        s.hit[direction, bank] = -1
        s.miss[direction, bank] = -1
        slot = s.head[direction, bank]
        while slot >= 0 and (s.miss[direction, bank] < 0 or (row >= 0 and s.hit[direction, bank] < 0)):
            if s.slot_row[slot] == row:
                if s.hit[direction, bank] < 0:
                    s.hit[direction, bank] = slot
            elif s.miss[direction, bank] < 0:
                s.miss[direction, bank] = slot
            slot = s.slot_next[slot]
    wake_bank(s, bank)


@kernel
def append(s: Any, direction: int, slot: int) -> None:
    """Put *slot* at the end of its bank's list."""
    bank = s.slot_bank[slot]
    tail = s.tail[direction, bank]
    s.slot_next[slot] = -1
    s.slot_before[slot] = tail
    if tail >= 0:
        s.slot_next[tail] = slot
    else:
        s.head[direction, bank] = slot
    s.tail[direction, bank] = slot
    s.queued[direction] += 1
    if s.slot_row[slot] == s.open_row[bank]:
        if s.hit[direction, bank] < 0:
            s.hit[direction, bank] = slot
            _enter(s, HIT, direction, bank)
    elif s.miss[direction, bank] < 0:
        s.miss[direction, bank] = slot
        _enter(s, OPENING if s.open_row[bank] < 0 else CLOSING, direction, bank)


@kernel
def _unlink(s: Any, direction: int, slot: int) -> None:
    bank = s.slot_bank[slot]
    before, after = s.slot_before[slot], s.slot_next[slot]
    if before >= 0:
        s.slot_next[before] = after
    else:
        s.head[direction, bank] = after
    if after >= 0:
        s.slot_before[after] = before
    else:
        s.tail[direction, bank] = before
    s.queued[direction] -= 1


@kernel
def drop_hit(s: Any, direction: int, bank: int) -> int:
    """Take the oldest hit of *bank* out of its list and return its slot; the next hit takes its place."""
    slot = s.hit[direction, bank]
    following = s.slot_next[slot]
    while following >= 0 and s.slot_row[following] != s.open_row[bank]:
        following = s.slot_next[following]
    _unlink(s, direction, slot)
    s.hit[direction, bank] = following
    if following < 0:
        leave(s, group_of(s, HIT, direction, s.lane[bank]), bank)
    if s.protect > 0 and s.miss[direction, bank] >= 0:
        _enter(s, CLOSING, direction, bank)
    return slot


@kernel
def take_miss(s: Any, direction: int, bank: int) -> int:
    """Take the oldest miss of *bank* out of its list and return its slot; the caller recomputes the bank."""
    slot = s.miss[direction, bank]
    _unlink(s, direction, slot)
    return slot


@kernel
def group_time(s: Any, kind: int, direction: int, lane: int) -> int:
    """Return a tick before which no candidate of the set can be legal; `NEVER` where it is empty."""
    group = group_of(s, kind, direction, lane)
    if s.members_count[group] == 0:
        return NEVER
    command = _command_of(kind, direction)
    return max(s.wake[group], s.ready[0, command], s.ready[s.lane_node[lane], command])


@kernel
def _refused(s: Any, bank: int, falling: bool) -> bool:
    """Return whether a PRE on a *falling* edge clashes with the row command of the edge before it."""
    if not falling or s.now != s.pair_edge or s.pair_lane != s.lane[bank]:
        return False
    return s.pair_bank < 0 or s.pair_bank == bank


@kernel
def best(s: Any, kind: int, direction: int, falling: bool) -> int:
    """Return the bank whose oldest request of a *kind* came first among those legal now, or -1."""
    chosen, first = -1, NEVER
    command = _command_of(kind, direction)
    for lane in range(s.lanes):
        if group_time(s, kind, direction, lane) > s.now:
            continue
        group = group_of(s, kind, direction, lane)
        wake = NEVER
        for k in range(s.members_count[group]):
            bank = s.members[group, k]
            time = NEVER if _holds(s, kind, direction, bank) else earliest_below(s, command, bank)
            if time > s.now:
                wake = min(wake, time)
                continue
            wake = s.now + 1
            if kind == CLOSING and _refused(s, bank, falling):
                continue
            request = s.slot_request[s.hit[direction, bank] if kind == HIT else s.miss[direction, bank]]
            if request < first:
                chosen, first = bank, request
        s.wake[group] = wake
    return chosen


@kernel
def best_miss(s: Any, direction: int, falling: bool) -> int:
    """Return the bank whose oldest miss came first among those whose ACT or PRE is legal now (PRE alone: *falling*)."""
    closing = best(s, CLOSING, direction, falling)
    opening = -1 if falling else best(s, OPENING, direction, falling)
    if closing < 0 or opening < 0:
        return max(closing, opening)
    earlier = s.slot_request[s.miss[direction, opening]] < s.slot_request[s.miss[direction, closing]]
    return opening if earlier else closing
