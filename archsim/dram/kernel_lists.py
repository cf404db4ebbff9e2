"""Requests waiting at a channel, as lists per bank, and which bank's oldest request may go next.

Per bank and direction (0 read, 1 write) the waiting requests stand in order of arrival; `hit` is the oldest one for the
open row, `miss` the oldest other one (the oldest of all while the bank is closed). By what its oldest request needs a
bank is a candidate for a column command (kind 0), an ACT (1) or a PRE (2). Each kind, direction and data lane has its
group of candidates, oldest first, so that the first legal one is the one to take. `due` is a tick before which a
candidate cannot be legal, `wake` one before which none of its group can, so that most ticks look at no candidate.
"""

# mypy: disable-error-code="no-any-return"
# ruff: noqa: FBT001  # compiled code takes positions

from __future__ import annotations

from typing import Any

from archsim.dram.jit import called, kernel
from archsim.dram.kernel_device import earliest_below

__all__ = [
    "append",
    "best",
    "best_miss",
    "drop_hit",
    "group_time",
    "recompute",
    "row_command",
    "take_miss",
    "wake_bank",
]

ACT, PRE, RD, WR = 0, 1, 3, 4
HIT, OPENING, CLOSING = 0, 1, 2
MOST_LANES = 8
NEVER = 1 << 60


@kernel
def _group(kind: int, direction: int, lane: int) -> int:
    """Return the number of the group of candidates of a *kind*, *direction* and data *lane*."""
    return (kind * 2 + direction) * MOST_LANES + lane


@kernel
def _command_of(kind: int, direction: int) -> int:
    if kind == HIT:
        return WR if direction else RD
    return ACT if kind == OPENING else PRE


@kernel
def _insert(s: Any, group: int, bank: int, age: int) -> None:
    """Put *bank* into *group* by the number of its request: nearly always that is the newest."""
    at = s.members_count[group]
    while at > 0 and s.ages[group, at - 1] > age:
        s.ages[group, at] = s.ages[group, at - 1]
        s.due[group, at] = s.due[group, at - 1]
        s.members[group, at] = s.members[group, at - 1]
        at -= 1
    s.ages[group, at] = age
    s.due[group, at] = 0
    s.members[group, at] = bank
    s.members_count[group] += 1


@kernel
def _remove(s: Any, group: int, bank: int) -> None:
    """Take *bank* out of *group*, where it is."""
    at = 0
    while s.members[group, at] != bank:
        at += 1
    s.members_count[group] -= 1
    while at < s.members_count[group]:
        s.ages[group, at] = s.ages[group, at + 1]
        s.due[group, at] = s.due[group, at + 1]
        s.members[group, at] = s.members[group, at + 1]
        at += 1


@kernel
def row_command(s: Any, bank: int) -> int:
    """Return what the oldest miss of *bank* needs: ACT while the bank is closed, else PRE."""
    return ACT if s.open_row[bank] < 0 else PRE


@kernel
def _holds(s: Any, kind: int, direction: int, bank: int) -> bool:
    """Return whether a rule, not a time, keeps *bank*'s oldest request of a *kind* waiting."""
    if kind == HIT:
        return False
    if kind == OPENING:
        return s.owed_bank[s.lane[bank]] == bank
    if s.active[bank] >= 0:
        return True
    hit = s.hit[direction, bank]
    if s.protect == 0 or hit < 0:
        return False
    return s.protect > 1 or s.slot_arrival[hit] <= s.slot_arrival[s.miss[direction, bank]]


@kernel
def _wake(s: Any, kind: int, direction: int, bank: int) -> None:
    """Lower the bound of the group that *bank* stands in to what it may do next."""
    if not _holds(s, kind, direction, bank):
        group = _group(kind, direction, s.lane[bank])
        s.wake[group] = min(s.wake[group], earliest_below(s, _command_of(kind, direction), bank))


@kernel
def _stand(s: Any, kind: int, direction: int, bank: int, slot: int) -> None:
    """Let *slot* stand for *bank* among the candidates of a *kind*; with -1 the bank leaves them."""
    group = _group(kind, direction, s.lane[bank])
    if s.standing[group, bank] != slot:
        if s.standing[group, bank] >= 0:
            _remove(s, group, bank)
        s.standing[group, bank] = slot
        if slot >= 0:
            _insert(s, group, bank, s.slot_request[slot])
    if slot >= 0:
        _wake(s, kind, direction, bank)


@kernel
def wake_bank(s: Any, bank: int) -> None:
    """Lower the bounds of the groups *bank* stands in, after a rule that held it back no longer does."""
    kind = OPENING if s.open_row[bank] < 0 else CLOSING
    for direction in range(2):
        if s.miss[direction, bank] >= 0:
            _wake(s, kind, direction, bank)


@kernel
def _find(s: Any, direction: int, bank: int) -> None:
    """Find the oldest hit and the oldest miss of *bank* in its list."""
    row = s.open_row[bank]
    hit, miss = -1, -1
    slot = s.head[direction, bank]
    while slot >= 0 and (miss < 0 or (row >= 0 and hit < 0)):
        if s.slot_row[slot] == row:
            if hit < 0:
                hit = slot
        elif miss < 0:
            miss = slot
        slot = s.slot_next[slot]
    s.hit[direction, bank] = hit
    s.miss[direction, bank] = miss


@called
def recompute(s: Any, bank: int) -> None:
    """Make *bank* the candidates that its lists say, after its row opened or closed."""
    opening = s.open_row[bank] < 0
    for direction in range(2):
        if s.head[direction, bank] < 0 and s.hit[direction, bank] < 0 and s.miss[direction, bank] < 0:
            continue
        _find(s, direction, bank)
        miss = s.miss[direction, bank]
        _stand(s, HIT, direction, bank, s.hit[direction, bank])
        _stand(s, OPENING, direction, bank, miss if opening else -1)
        _stand(s, CLOSING, direction, bank, -1 if opening else miss)


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
            _stand(s, HIT, direction, bank, slot)
    elif s.miss[direction, bank] < 0:
        s.miss[direction, bank] = slot
        _stand(s, OPENING if s.open_row[bank] < 0 else CLOSING, direction, bank, slot)


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
    _stand(s, HIT, direction, bank, following)
    if s.protect > 0 and s.miss[direction, bank] >= 0:
        _wake(s, CLOSING, direction, bank)
    return slot


@kernel
def take_miss(s: Any, direction: int, bank: int) -> int:
    """Take the oldest miss of *bank* out of its list and return its slot; the caller recomputes the bank."""
    slot = s.miss[direction, bank]
    _unlink(s, direction, slot)
    return slot


@kernel
def group_time(s: Any, kind: int, direction: int, lane: int) -> int:
    """Return a tick before which no candidate of the group can be legal; `NEVER` where it is empty."""
    group = _group(kind, direction, lane)
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
def _first(s: Any, kind: int, direction: int, lane: int, falling: bool) -> int:
    """Return the place of the oldest legal candidate in its group, or -1; raise the group's bound."""
    group = _group(kind, direction, lane)
    command = _command_of(kind, direction)
    wake = NEVER
    for at in range(s.members_count[group]):
        if s.due[group, at] > s.now:
            wake = min(wake, s.due[group, at])
            continue
        bank = s.members[group, at]
        if _holds(s, kind, direction, bank):
            continue
        time = earliest_below(s, command, bank)
        if time > s.now:
            s.due[group, at] = time
            wake = min(wake, time)
            continue
        wake = s.now + 1
        if kind != CLOSING or not _refused(s, bank, falling):
            s.wake[group] = wake
            return at
    s.wake[group] = wake
    return -1


@kernel
def best(s: Any, kind: int, direction: int, falling: bool) -> int:
    """Return the bank whose oldest request of a *kind* came first among those legal now, or -1."""
    chosen, age = -1, NEVER
    for lane in range(s.lanes):
        if group_time(s, kind, direction, lane) > s.now:
            continue
        at = _first(s, kind, direction, lane, falling)
        group = _group(kind, direction, lane)
        if at >= 0 and s.ages[group, at] < age:
            chosen, age = s.members[group, at], s.ages[group, at]
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
