"""The slow twin of archsim.serving.cascade: one iteration at a time, plain lists, no jump, no heap.

Two models, each on a server of its own or in turns on one. Servers serve whole prompts first.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from replay_twin import FINE_BITS, Piece, Row, Twin, TwinCache, _decode, _fitting, _preempt, _prefill, _receive


@dataclass
class Side:
    """One model and what it has to do."""

    costs: Any
    limits: Any
    pending: list[Row] = field(default_factory=list)
    waiting: list[Row] = field(default_factory=list)
    running: list[Row] = field(default_factory=list)
    twin: Twin = field(init=False)
    rows: list[Row] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.twin = Twin([], TwinCache(self.limits))

    def come(self, row: Row) -> None:
        """Let *row* arrive."""
        self.rows.append(row)
        self.pending = sorted([*self.pending, row], key=lambda one: (one.arrival_ps, one.id))

    def step(self, clock: int) -> int | None:
        """Run one iteration from *clock* and return its end; None where nothing is to do."""
        _receive(self.pending, self.waiting, self.limits, clock)
        fitting = _fitting(self.twin, self.waiting, self.running, self.limits)
        if fitting:
            self.waiting = self.waiting[len(fitting) :]
            clock = _prefill(self.twin, fitting, self.running, self.costs, self.limits, clock)
            self.running += fitting
        elif self.running:
            _preempt(self.twin, self.running, [], self.waiting, self.limits)
            clock = _decode(self.twin, self.running, self.costs, self.limits, clock)
        else:
            return None
        self.running = [row for row in self.running if row.generated < row.output]
        return clock


def tried(arrivals: list[Any], goes_on: list[bool], limits: Any, cut: int | None) -> list[Row | None]:
    """Return the first model's rows, None for a request that it can never hold."""
    rows: list[Row | None] = []
    for number, (at, prompt, output, *_) in enumerate(arrivals):
        written = min(output, cut) if goes_on[number] and cut is not None else output
        total = prompt + written
        held = total <= limits.context_tokens and -(-total // limits.block_tokens) <= limits.kv_blocks
        rows.append(Row(number, at, prompt, written) if held else None)
    return rows


def in_turns(
    arrivals: list[Any], goes_on: list[bool], sides: list[Side], *, cut: int | None, check_ps: int, draft: bool
) -> list[Piece]:
    """Serve *arrivals* by two models on the same chips; return their iterations and the time between."""
    first, second = sides

    def onward(number: int, at_ps: int, written: int) -> None:
        _, prompt, output = arrivals[number][:3]
        second.come(Row(number, at_ps, prompt + (written if draft else 0), output))

    for number, row in enumerate(tried(arrivals, goes_on, first.limits, cut)):
        if row is None:
            onward(number, arrivals[number][0], 0)
        else:
            first.come(row)
    clock, turn, sent, pieces = 0, 0, set[int](), list[Piece]()
    while True:
        for place in (turn, 1 - turn):
            end = sides[place].step(clock)
            if end is not None:
                pieces.append(sides[place].twin.pieces[-1])
                clock, turn = end, 1 - place
                break
        else:
            ahead = [side.pending[0].arrival_ps << FINE_BITS for side in sides if side.pending]
            if not ahead:
                return pieces
            pieces.append(Piece("", clock, min(ahead)))
            clock = min(ahead)
        for row in first.rows:
            if goes_on[row.id] and row.finish_ps >= 0 and row.id not in sent:
                sent.add(row.id)
                onward(row.id, row.finish_ps + check_ps, row.output)


def apart(
    arrivals: list[Any], goes_on: list[bool], sides: list[Side], *, cut: int | None, check_ps: int, draft: bool
) -> None:
    """Serve *arrivals* by two models, each on chips of its own."""
    first, second = sides
    for number, row in enumerate(tried(arrivals, goes_on, first.limits, cut)):
        if row is not None:
            first.come(row)
        else:
            second.come(Row(number, *arrivals[number][:3]))
    run_alone(first)
    for row in first.rows:
        if goes_on[row.id] and row.finish_ps >= 0:
            _, prompt, output = arrivals[row.id][:3]
            second.come(Row(row.id, row.finish_ps + check_ps, prompt + (row.output if draft else 0), output))
    run_alone(second)


def run_alone(side: Side) -> None:
    """Let one model do all that it has to do."""
    clock = 0
    while side.pending or side.waiting or side.running:
        end = side.step(clock)
        if end is None and not side.pending:
            return
        clock = max(clock, side.pending[0].arrival_ps << FINE_BITS) if end is None else end
