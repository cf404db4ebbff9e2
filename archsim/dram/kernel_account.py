"""Why a data bus stood still: every tick of every bus goes to one class, and they sum to the run.

A bus (one per pseudochannel) is busy for a burst from the tick of its column command. The gap before a command is
walked back along what it waited for: its arrival (`queue` where the source was blocked by a full queue, `latency` where
its window was exhausted), its row's activation, tRCD (`row`), and what held the column command back last. Activations
run ahead of the data: time that an ACT lost to a constraint is lost to the data a tRCD later, so as much of a gap as
the ACT was held is booked to what held it. A wait while a refresh blocked the queue is `refresh` (of several in one
wait, the last); a wait for nothing but the bus or the other direction's turn is `command_bus` or `turnaround`.

After a bus's last command it waits for the other lanes' (`queue`), and all wait for the last data (`latency`).

Classes: 0 transfer, 1 refresh, 2 row, 3 activate, 4 bank_group, 5 turnaround, 6 command_bus, 7 queue, 8 latency, 9
idle.
"""

# mypy: disable-error-code="no-any-return"

from __future__ import annotations

from typing import Any

from archsim.dram.jit import kernel
from archsim.dram.kernel_device import earliest, reason

__all__ = ["book_column", "note_activate"]

ACT = 0
TRANSFER, REFRESH, ROW, TURNAROUND, COMMAND_BUS = 0, 1, 2, 5, 6


@kernel
def note_activate(s: Any, bank: int, arrived: int) -> None:
    """Remember, before the ACT to *bank* is issued, when it became legal and what held it back until then."""
    s.opened_at[bank] = s.now
    s.legal_from[bank] = max(earliest(s, ACT, bank), arrived)
    s.legal_why[bank] = reason(s, ACT, bank)
    s.held[bank] = s.legal_from[bank] - arrived
    s.late[bank] = s.now - s.legal_from[bank]


@kernel
def _book_wait(s: Any, start: int, stop: int) -> None:
    """Book a wait of a legal command: for a refresh that blocked the queue, else for the command bus."""
    if stop <= start:
        return
    blocked_to = stop if s.priority_count > 0 else s.blocked_to
    blocked = max(0, min(stop, blocked_to) - max(start, s.blocked_from))
    s.causes[REFRESH] += blocked
    s.causes[COMMAND_BUS] += stop - start - blocked


@kernel
def _book_gap(s: Any, slot: int, command: int, start: int) -> None:
    bank = s.slot_bank[slot]
    if s.slot_source[slot] >= 0 and s.slot_arrival[slot] > start:
        arrived = min(s.slot_arrival[slot], s.now)
        s.causes[s.slot_source[slot]] += arrived - start
        start = arrived
    opened, held = s.opened_at[bank], s.held[bank]
    if opened > start:
        legal = max(start, min(opened, s.legal_from[bank]))
        s.causes[s.legal_why[bank]] += legal - start
        held -= legal - start
        _book_wait(s, legal, opened)
        start = opened
    legal = max(start, min(s.now, earliest(s, command, bank)))
    why = reason(s, command, bank)
    if why == ROW and held > 0:
        late = min(s.late[bank], legal - start) if opened < start else 0
        s.causes[COMMAND_BUS] += late
        start += late
        held = min(held, legal - start)
        s.causes[s.legal_why[bank]] += held
        start += held
    s.causes[why] += legal - start
    turned = max(legal, min(s.now, s.mode_since))
    s.causes[TURNAROUND] += turned - legal
    _book_wait(s, turned, s.now)


@kernel
def book_column(s: Any, slot: int, command: int) -> None:
    """Book the gap before the column *command* of *slot*, which goes now, and its burst."""
    lane = s.lane[s.slot_bank[slot]]
    start = s.lane_end[lane]
    if s.now > start:
        _book_gap(s, slot, command, start)
        start = s.now
    if s.booked in (s.measure_from, s.measure_to):
        moment = 0 if s.booked == s.measure_from else 1
        for cause in range(s.causes.shape[0]):
            s.measured[moment, cause] = s.causes[cause]
    s.booked += 1
    s.lane_end[lane] = s.now + s.burst
    s.causes[TRANSFER] += s.now + s.burst - start
