"""Refresh: when it falls due, and how it gets past the waiting requests.

Modes: 0 none; 1 all banks of every refresh scope at once, through a priority queue that blocks all waiting requests
until it is empty (profile `ramulator2`); 2 and 4 one bank at a time through the same blocking queue, in the order of
HBM stacks or round robin; 3 one bank at a time beside the other banks' traffic (profile `archsim`): the controller
refreshes, within each round, a bank that nobody waits for, and blocks that bank alone.
"""

# mypy: disable-error-code="no-any-return"

from __future__ import annotations

from typing import Any

from archsim.dram.jit import called, kernel
from archsim.dram.kernel_device import earliest, earliest_scope

__all__ = [
    "choose_owed",
    "falls_due",
    "owed_command",
    "owed_time",
    "priority_command",
    "priority_time",
    "push",
    "refresh_next",
]

PRE, PREA, REFA, REFB = 1, 2, 7, 8
NEVER = 1 << 60
RING = 2048
LIMIT = 1568


@called
def push(s: Any, command: int, target: int) -> bool:
    """Put a maintenance command at the end of the priority queue; refused when it holds 1,568."""
    if s.priority_count >= LIMIT:
        return False
    at = (s.priority_head + s.priority_count) & (RING - 1)
    s.priority_command[at] = command
    s.priority_target[at] = target
    if s.priority_count == 0:
        s.blocked_from = s.now
    s.priority_count += 1
    return True


@kernel
def priority_command(s: Any) -> int:
    """Return what the head of the priority queue needs next: itself, or the PRE before it."""
    final = s.priority_command[s.priority_head & (RING - 1)]
    target = s.priority_target[s.priority_head & (RING - 1)]
    if final == REFA:
        return PREA if s.open_count[target] > 0 else REFA
    return PRE if final == REFB and s.open_row[target] >= 0 else final


@called
def priority_time(s: Any, command: int) -> int:
    """Return the first legal tick of *command* for the head of the priority queue."""
    target = s.priority_target[s.priority_head & (RING - 1)]
    if command in (PREA, REFA):
        if command == PREA and s.active_count[target] > 0:
            return NEVER
        return earliest_scope(s, command, target)
    if (command == PRE and s.active[target] >= 0) or (s.activating >= 0 and s.slot_bank[s.activating] == target):
        return NEVER
    return earliest(s, command, target)


@kernel
def _serve_stack_bank(s: Any) -> None:
    """Queue the bank that the next lane owes; a stack whose round is complete rests tRFCpb."""
    bank = (s.owed_lane * s.stacks + s.owed_stack) * s.stack_banks + s.owed_flat
    if push(s, REFB, bank):
        if s.owed_flat == s.stack_banks - 1:
            s.rest_until[s.owed_lane, s.owed_stack] = s.now + s.refresh_bank_ticks
        s.owed_lane += 1


@called
def _stack_order(s: Any) -> None:
    """One bank of every lane in turn, stack id by stack id."""
    if s.owed_lane < s.lanes:
        _serve_stack_bank(s)
        return
    if s.now < s.refresh_at:
        return
    for lane in range(s.lanes):
        if s.now < s.rest_until[lane, s.next_stack]:
            s.refresh_at = s.now + 1
            return
    s.owed_lane = 0
    s.owed_stack = s.next_stack
    s.owed_flat = s.next_flat
    s.next_flat += 1
    if s.next_flat == s.stack_banks:
        s.next_flat = 0
        s.next_stack = (s.next_stack + 1) % s.stacks
    s.refresh_at += s.refresh_ticks
    _serve_stack_bank(s)


@called
def _choose_idle(s: Any, lane: int) -> int:
    """Return the bank of *lane* to refresh next in this round: one that nobody waits for, else the first left."""
    width = s.banks // s.lanes
    left = -1
    for k in range(width):
        bank = lane * width + k
        if s.refreshed[bank]:
            continue
        if left < 0:
            left = bank
        if s.rotate:
            return bank
        if s.active[bank] < 0 and s.head[0, bank] < 0 and s.head[1, bank] < 0:
            return bank
    return left


@called
def _owe(s: Any) -> None:
    """Every lane owes one more bank refresh."""
    s.refresh_at += s.refresh_ticks
    for lane in range(s.lanes):
        s.owed[lane] += 1
        if s.owed_bank[lane] < 0:
            s.owed_bank[lane] = _choose_idle(s, lane)


@kernel
def falls_due(s: Any) -> None:
    """Do what the refresh timer asks for at this tick."""
    if s.refresh == 2:
        _stack_order(s)
    elif s.refresh > 0 and s.now >= s.refresh_at:
        if s.refresh == 3:
            _owe(s)
            return
        s.refresh_at += s.refresh_ticks
        if s.refresh == 1:
            for scope in range(s.scopes):
                s.stuck |= not push(s, REFA, scope)
        else:
            s.stuck |= not push(s, REFB, s.next_flat)
            s.next_flat = (s.next_flat + 1) % s.banks


@kernel
def refresh_next(s: Any) -> int:
    """Return the next tick at which `falls_due` must look."""
    if s.refresh == 0:
        return NEVER
    return s.now + 1 if s.refresh == 2 and s.owed_lane < s.lanes else s.refresh_at


@kernel
def owed_command(s: Any, bank: int) -> int:
    """Return what a bank that owes a refresh needs next."""
    return PRE if s.open_row[bank] >= 0 else REFB


@kernel
def owed_time(s: Any, lane: int) -> int:
    """Return the first legal tick of the refresh that *lane* owes: row hits go first while few refreshes are owed."""
    bank = s.owed_bank[lane]
    if s.open_row[bank] < 0:
        return earliest(s, REFB, bank)
    if s.active[bank] >= 0 or (s.owed[lane] < s.owed_limit and (s.hit[0, bank] >= 0 or s.hit[1, bank] >= 0)):
        return NEVER
    return earliest(s, PRE, bank)


@called
def choose_owed(s: Any, lane: int) -> None:
    """Note that the owed bank of *lane* is refreshed; begin a new round after the last one; pick the next if owed."""
    width = s.banks // s.lanes
    s.refreshed[s.owed_bank[lane]] = 1
    s.round_done[lane] += 1
    if s.round_done[lane] == width:
        s.round_done[lane] = 0
        for bank in range(lane * width, (lane + 1) * width):
            s.refreshed[bank] = 0
    s.owed[lane] -= 1
    s.owed_bank[lane] = -1
    if s.owed[lane] > 0:
        s.owed_bank[lane] = _choose_idle(s, lane)
