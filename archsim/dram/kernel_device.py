"""The device as the kernels see it: a tree of nodes, and when each may receive each command.

A standard is a list of constraints (level, preceding command, following command, clocks). Issuing a command to a bank
raises, at every node on the bank's path, the earliest time of the commands that follow, and keeps beside it the class
of constraint that raised it last: the reason of a later stall. A command is legal when no node on the path objects.
Times are ticks of the controller's clock (half clocks where the standard has half-clock commands).

A path is the channel, the data lane and up to four nodes below it; a shorter one ends at a node that never objects.
Only the kernels call these functions.
"""

# mypy: disable-error-code="no-any-return"

from __future__ import annotations

from typing import Any

from archsim.dram.jit import called, kernel

__all__ = ["earliest", "earliest_below", "earliest_scope", "issue", "issue_scope", "reason"]


@kernel
def earliest_below(s: Any, command: int, bank: int) -> int:
    """Return the first tick at which *command* may go to *bank*, for all that the nodes below its data lane know."""
    above = max(s.ready[s.below[bank, 0], command], s.ready[s.below[bank, 1], command])
    return max(above, s.ready[s.below[bank, 2], command], s.ready[s.below[bank, 3], command])


@kernel
def earliest(s: Any, command: int, bank: int) -> int:
    """Return the first tick at which *command* may go to *bank*."""
    return max(s.ready[0, command], s.ready[s.upper[bank], command], earliest_below(s, command, bank))


@kernel
def reason(s: Any, command: int, bank: int) -> int:
    """Return the class of the constraint that holds *command* back from *bank* longest."""
    time, why = s.ready[0, command], s.why[0, command]
    if s.ready[s.upper[bank], command] > time:
        time, why = s.ready[s.upper[bank], command], s.why[s.upper[bank], command]
    for k in range(4):
        node = s.below[bank, k]
        if s.ready[node, command] > time:
            time, why = s.ready[node, command], s.why[node, command]
    return why


@kernel
def _raise(s: Any, node: int, entry: int, time: int) -> None:
    following = s.c_following[entry]
    if time > s.ready[node, following]:
        s.ready[node, following] = time
        s.why[node, following] = s.c_why[entry]


@kernel
def _raise_window(s: Any, node: int, entry: int) -> None:
    past = s.history[node, (s.history_at[node] - s.c_window[entry]) & 31]
    if past >= 0:
        _raise(s, node, entry, past + s.c_ticks[entry])


@kernel
def _raise_siblings(s: Any, command: int, bank: int, now: int) -> None:
    """Raise what *command* forbids at the other children of a node's parent."""
    for entry in range(s.x_start[command], s.x_stop[command]):
        level = s.c_level[entry]
        node = s.path[bank, level]
        first = s.first_sibling[bank, level]
        for sibling in range(first, first + s.fanout[level]):
            if sibling != node:
                _raise(s, sibling, entry, now + s.c_ticks[entry])


@kernel
def _remember(s: Any, bank: int, now: int) -> None:
    """Enter an ACT into the windows that count them."""
    for level in range(s.levels):
        if s.windowed[level]:
            node = s.path[bank, level]
            s.history[node, s.history_at[node] & 31] = now
            s.history_at[node] += 1


@kernel
def issue(s: Any, command: int, bank: int, now: int) -> None:
    """Send *command* to *bank* at tick *now*."""
    if command == 0:
        _remember(s, bank, now)
    for entry in range(s.c_start[command], s.c_stop[command]):
        node = s.path[bank, s.c_level[entry]]
        if s.c_window[entry] > 1:
            _raise_window(s, node, entry)
        else:
            _raise(s, node, entry, now + s.c_ticks[entry])
    if s.x_stop[command] > s.x_start[command]:
        _raise_siblings(s, command, bank, now)


@called
def earliest_scope(s: Any, command: int, scope: int) -> int:
    """Return the first tick at which *command* may go to every bank below the refresh node number *scope*."""
    time = 0
    top = s.scope_level
    bank = scope * s.banks // s.scopes
    for level in range(top + 1):
        time = max(time, s.ready[s.path[bank, level], command])
    for level in range(top + 1, s.levels):
        span = s.count[level] // s.scopes
        for node in range(s.first_node[level] + scope * span, s.first_node[level] + (scope + 1) * span):
            time = max(time, s.ready[node, command])
    return time


@called
def issue_scope(s: Any, command: int, scope: int, now: int) -> None:
    """Send *command* to every bank below the refresh node number *scope* at tick *now*."""
    bank = scope * s.banks // s.scopes
    for entry in range(s.c_start[command], s.c_stop[command]):
        level = s.c_level[entry]
        first = s.path[bank, level]
        span = s.count[level] // s.scopes if level > s.scope_level else 1
        for node in range(first, first + span):
            _raise(s, node, entry, now + s.c_ticks[entry])
    _raise_siblings(s, command, bank, now)
