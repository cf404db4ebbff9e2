"""Requests waiting at a channel, as lists per bank, and which bank's oldest request may go next.

Per bank and direction (0 read, 1 write) the waiting requests stand in order of arrival; `hit` is the oldest one for the
open row, `miss` the oldest other one (the oldest of all while the bank is closed). Banks with a hit form the set of
column candidates, banks with a miss the set of row candidates; each set keeps `wake`, a tick before which none of its
members can be legal. Sets: 0 and 1 hits, 2 and 3 misses, 4 banks whose ACT has gone and whose column command waits.
"""

# mypy: disable-error-code="no-any-return"

from __future__ import annotations

from typing import Any

from archsim.dram.jit import kernel
from archsim.dram.kernel_device import earliest

__all__ = [
    "append",
    "best",
    "drop_hit",
    "join",
    "leave",
    "recompute",
    "row_command",
    "row_time",
    "take_miss",
    "wake_bank",
]

ACT, PRE, RD, WR = 0, 1, 3, 4
NEVER = 1 << 60


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
def row_time(s: Any, direction: int, bank: int) -> int:
    """Return the first tick of the row command that the oldest miss of *bank* needs; `NEVER` while a rule refuses it."""
    if s.open_row[bank] < 0:
        return NEVER if s.owed_bank[s.lane[bank]] == bank else earliest(s, ACT, bank)
    if s.active[bank] >= 0:
        return NEVER
    hit = s.hit[direction, bank]
    if s.protect > 0 and hit >= 0 and (s.protect > 1 or s.slot_arrival[hit] <= s.slot_arrival[s.miss[direction, bank]]):
        return NEVER
    return earliest(s, PRE, bank)


@kernel
def wake_bank(s: Any, bank: int) -> None:
    """Join or leave the four sets as *bank*'s lists say, and lower the sets' bounds to what it may do next."""
    for direction in range(2):
        if s.hit[direction, bank] >= 0:
            join(s, direction, bank)
            s.wake[direction] = min(s.wake[direction], earliest(s, WR if direction else RD, bank))
        else:
            leave(s, direction, bank)
        if s.miss[direction, bank] >= 0:
            join(s, 2 + direction, bank)
            s.wake[2 + direction] = min(s.wake[2 + direction], row_time(s, direction, bank))
        else:
            leave(s, 2 + direction, bank)


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
            join(s, direction, bank)
            s.wake[direction] = min(s.wake[direction], earliest(s, WR if direction else RD, bank))
    elif s.miss[direction, bank] < 0:
        s.miss[direction, bank] = slot
        join(s, 2 + direction, bank)
        s.wake[2 + direction] = min(s.wake[2 + direction], row_time(s, direction, bank))


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
        leave(s, direction, bank)
        if s.protect > 0 and s.miss[direction, bank] >= 0:
            s.wake[2 + direction] = min(s.wake[2 + direction], row_time(s, direction, bank))
    elif s.protect == 1 and s.miss[direction, bank] >= 0:
        s.wake[2 + direction] = min(s.wake[2 + direction], row_time(s, direction, bank))
    return slot


@kernel
def take_miss(s: Any, direction: int, bank: int) -> int:
    """Take the oldest miss of *bank* out of its list and return its slot; the caller recomputes the bank."""
    slot = s.miss[direction, bank]
    _unlink(s, direction, slot)
    return slot


@kernel
def best(s: Any, group: int, direction: int, falling: bool) -> int:
    """Return the bank of the set *group* whose oldest request came first among those legal now, or -1.

    On a *falling* edge only a PRE is legal, and not one that clashes with the row command of the edge before.
    """
    if s.members_count[group] == 0 or s.wake[group] > s.now:
        return -1
    column = group < 2
    command = WR if direction else RD
    chosen, first, wake = -1, NEVER, NEVER
    for k in range(s.members_count[group]):
        bank = s.members[group, k]
        time = earliest(s, command, bank) if column else row_time(s, direction, bank)
        if time > s.now:
            wake = min(wake, time)
            continue
        wake = min(wake, s.now + 1)
        if falling and (
            s.open_row[bank] < 0
            or (s.now == s.pair_edge and s.pair_lane == s.lane[bank] and (s.pair_bank < 0 or s.pair_bank == bank))
        ):
            continue
        request = s.slot_request[s.hit[direction, bank] if column else s.miss[direction, bank]]
        if request < first:
            chosen, first = bank, request
    s.wake[group] = wake
    return chosen
