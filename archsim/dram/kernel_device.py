"""The device as the kernels see it: a tree of nodes, and when each may receive each command.

A standard is a list of constraints (level, preceding command, following command, clocks). Issuing a command to a bank
raises, at every node on the bank's path, the earliest time of the commands that follow, and keeps beside it the class
of constraint that raised it last: the reason of a later stall. A command is legal when no node on the path objects.
Times are ticks of the controller's clock (half clocks where the standard has half-clock commands).

Only the kernels call these functions.
"""

# mypy: disable-error-code="no-any-return"

from __future__ import annotations

from typing import Any

from archsim.dram.jit import kernel

__all__ = ["earliest", "earliest_scope", "issue", "issue_scope", "reason"]


@kernel
def earliest(s: Any, command: int, bank: int) -> int:
    """Return the first tick at which *command* may go to *bank*."""
    time = 0
    for level in range(s.levels):
        time = max(time, s.ready[s.path[bank, level], command])
    return time


@kernel
def reason(s: Any, command: int, bank: int) -> int:
    """Return the class of the constraint that holds *command* back from *bank* longest."""
    time = 0
    why = 0
    for level in range(s.levels):
        node = s.path[bank, level]
        if s.ready[node, command] > time:
            time = s.ready[node, command]
            why = s.why[node, command]
    return why


@kernel
def _raise(s: Any, node: int, entry: int, time: int) -> None:
    following = s.c_following[entry]
    if time > s.ready[node, following]:
        s.ready[node, following] = time
        s.why[node, following] = s.c_why[entry]


@kernel
def _apply(s: Any, node: int, level: int, command: int, now: int) -> None:
    """Raise what *command* at *now* forbids at *node* itself."""
    for entry in range(s.c_start[level, command], s.c_stop[level, command]):
        window = s.c_window[entry]
        if window > 1:
            past = s.history[node, (s.history_at[node] - window) & 31]
            if past >= 0:
                _raise(s, node, entry, past + s.c_ticks[entry])
        else:
            _raise(s, node, entry, now + s.c_ticks[entry])


@kernel
def _apply_to_siblings(s: Any, node: int, level: int, command: int, now: int) -> None:
    """Raise what *command* to *node* forbids at the other children of its parent."""
    first = s.base[level] + (node - s.base[level]) // s.size[level] * s.size[level]
    for sibling in range(first, first + s.size[level]):
        if sibling != node:
            for entry in range(s.x_start[level, command], s.x_stop[level, command]):
                _raise(s, sibling, entry, now + s.c_ticks[entry])


@kernel
def issue(s: Any, command: int, bank: int, now: int) -> None:
    """Send *command* to *bank* at tick *now*; ACTs also enter the windows that count them."""
    for level in range(s.levels):
        node = s.path[bank, level]
        if command == 0 and s.windowed[level]:
            s.history[node, s.history_at[node] & 31] = now
            s.history_at[node] += 1
        if s.c_stop[level, command] > s.c_start[level, command]:
            _apply(s, node, level, command, now)
        if s.x_stop[level, command] > s.x_start[level, command]:
            _apply_to_siblings(s, node, level, command, now)


@kernel
def earliest_scope(s: Any, command: int, scope: int) -> int:
    """Return the first tick at which *command* may go to every bank below the refresh node number *scope*."""
    time = 0
    top = s.scope_level
    bank = scope * s.banks // s.scopes
    for level in range(top + 1):
        time = max(time, s.ready[s.path[bank, level], command])
    for level in range(top + 1, s.levels):
        span = s.count[level] // s.scopes
        for node in range(s.base[level] + scope * span, s.base[level] + (scope + 1) * span):
            time = max(time, s.ready[node, command])
    return time


@kernel
def issue_scope(s: Any, command: int, scope: int, now: int) -> None:
    """Send *command* to every bank below the refresh node number *scope* at tick *now*."""
    top = s.scope_level
    bank = scope * s.banks // s.scopes
    for level in range(top + 1):
        node = s.path[bank, level]
        _apply(s, node, level, command, now)
        _apply_to_siblings(s, node, level, command, now)
    for level in range(top + 1, s.levels):
        span = s.count[level] // s.scopes
        for node in range(s.base[level] + scope * span, s.base[level] + (scope + 1) * span):
            _apply(s, node, level, command, now)
