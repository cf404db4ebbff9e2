"""The slow twin of archsim.serving.pools: one iteration at a time, plain lists, a heap of instants, no jump.

Meant to be read beside the words of archsim.serving.handover and believed. Servers serve whole prompts first.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from heapq import heappop, heappush
from typing import Any

from replay_twin import FINE_BITS, Piece, Row, _attended, _blocks, _class


@dataclass
class Machine:
    """A server of either pool."""

    rank: int
    limits: Any
    costs: Any
    sends: bool
    clock: int = 0
    began_ps: int = 0
    pending: list[Row] = field(default_factory=list)
    waiting: list[Row] = field(default_factory=list)
    running: list[Row] = field(default_factory=list)
    busy: tuple[str, list[Row]] | None = None
    leaving: list[tuple[int, int]] = field(default_factory=list)
    outstanding: int = 0
    listed: list[tuple[Row, Any, int, int, bool]] = field(default_factory=list)
    coming: list[tuple[int, Row]] = field(default_factory=list)
    pieces: list[Piece] = field(default_factory=list)
    port_free_ps: int = 0
    port_bytes: int = 0

    def start(self, phase: str, rows: list[Row], run: Any) -> None:
        """Begin an iteration."""
        self.busy = (phase, rows)
        tokens = len(rows)
        self.pieces.append(Piece(phase, self.clock, self.clock + run.time_fine, tokens, run.knots))
        self.clock += run.time_fine


class Pools:
    """Two pools and the requests between them."""

    def __init__(
        self, arrivals: Any, prefill: Any, decode: Any, law: Any, again: tuple[int, int, int] | None = None
    ) -> None:
        self.law = law
        self.again = again
        """(prompt, output, how many more) of the requests that follow completions."""
        self.left = again[2] if again else 0
        self.rows = [Row(number, *arrival[:3]) for number, arrival in enumerate(arrivals)]
        self.senders = [Machine(1 + k, prefill.limits, prefill.costs, sends=True) for k in range(prefill.count)]
        first = 1 + prefill.count
        self.receivers = [Machine(first + k, decode.limits, decode.costs, sends=False) for k in range(decode.count)]
        for row in self.rows:
            self.senders[row.id % prefill.count].pending.append(row)
        self.heap: list[tuple[int, int]] = []
        self.due: set[tuple[int, int]] = set()
        self.gaps: list[int] = []
        self.run()

    def wake(self, machine: Machine, at_ps: int) -> None:
        """Let *machine* act at that instant."""
        if (at_ps, machine.rank) not in self.due:
            self.due.add((at_ps, machine.rank))
            heappush(self.heap, (at_ps, machine.rank))

    def run(self) -> None:
        """Let every server act whenever something is due, in order of instants and ranks."""
        machines = {machine.rank: machine for machine in [*self.senders, *self.receivers]}
        for machine in machines.values():
            self.wake(machine, 0)
        while self.heap:
            now_ps, rank = heappop(self.heap)
            self.due.remove((now_ps, rank))
            machine = machines[rank]
            due_ps = -(-machine.clock >> FINE_BITS)
            if machine.busy and due_ps > now_ps:
                continue
            self.end(machine, now_ps)
            if machine.clock < now_ps << FINE_BITS and due_ps < now_ps:
                machine.pieces.append(Piece("", machine.clock, now_ps << FINE_BITS))
                machine.clock = now_ps << FINE_BITS
            (self.send if machine.sends else self.receive)(machine, now_ps)
        end = max(machine.clock for machine in machines.values())
        for machine in machines.values():
            machine.pieces.append(Piece("", machine.clock, end))

    def end(self, machine: Machine, now_ps: int) -> None:
        """Finish the iteration under way."""
        if not machine.busy:
            return
        phase, rows = machine.busy
        machine.busy = None
        for row in rows:
            if row.emitted >= 0:
                self.gaps.append(machine.clock - row.emitted)
            row.emitted = machine.clock
            row.generated += 1
            if row.generated == 1:
                row.first_token_ps = now_ps
        done = [row for row in rows if row.generated == row.output]
        for row in sorted(done, key=lambda row: row.id):
            row.finish_ps = now_ps
            self.ask_again(now_ps)
        if phase != "decode" and not machine.sends:
            machine.running += rows
        machine.running = [row for row in machine.running if row.generated < row.output]
        if not machine.sends:
            return
        for row in rows:
            if row.generated == row.output:
                machine.outstanding -= _blocks(row.length, machine.limits)
            else:
                self.hand_over(machine, row, now_ps)

    def ask_again(self, now_ps: int) -> None:
        """Let a request follow one that is done."""
        if self.again is None or not self.left:
            return
        self.left -= 1
        row = Row(len(self.rows), now_ps, *self.again[:2])
        self.rows.append(row)
        sender = self.senders[row.id % len(self.senders)]
        sender.pending.append(row)
        if not sender.busy:
            self.wake(sender, now_ps)

    def hand_over(self, machine: Machine, row: Row, now_ps: int) -> None:
        """Put *row* on the list of who decodes it."""
        receiver = self.receivers[row.id % len(self.receivers)]
        ahead = all(ready == now_ps for _, _, _, ready, _ in receiver.listed)
        if receiver.limits.techniques.classes:
            row.rank = _class(row.id, receiver.limits)
        receiver.listed.append((row, machine, machine.began_ps, now_ps, ahead))
        receiver.listed.sort(key=lambda entry: entry[0].rank)
        if not receiver.busy:
            self.wake(receiver, now_ps)

    def send(self, machine: Machine, now_ps: int) -> None:
        """Act as a server of the prefill pool."""
        machine.began_ps = now_ps
        machine.outstanding -= sum(blocks for at_ps, blocks in machine.leaving if at_ps <= now_ps)
        machine.leaving = [(at_ps, blocks) for at_ps, blocks in machine.leaving if at_ps > now_ps]
        while (
            machine.pending
            and machine.pending[0].arrival_ps <= now_ps
            and (machine.pending[0].arrival_ps << FINE_BITS <= machine.clock)
        ):
            row = machine.pending.pop(0)
            total, limits, beyond = row.prompt + row.output, machine.limits, self.receivers[0].limits
            row.rejected = (
                _blocks(row.prompt + 1, limits) > limits.kv_blocks
                or total > beyond.context_tokens
                or _blocks(total, beyond) > beyond.kv_blocks
            )
            if not row.rejected:
                row.rank = _class(row.id, limits) if limits.techniques.classes else 0
                machine.waiting.append(row)
                machine.waiting.sort(key=lambda row: row.rank)
        ttft = machine.limits.techniques.ttft_ps
        for row in list(machine.waiting):
            if ttft is not None and machine.clock > row.arrival_ps + ttft << FINE_BITS:
                row.rejected = True
                machine.waiting.remove(row)
        fitting = self.fitting(machine)
        if fitting:
            machine.waiting = machine.waiting[len(fitting) :]
            machine.outstanding += sum(_blocks(row.length + 1, machine.limits) for row in fitting)
            self.prefill(machine, fitting)
            return
        if machine.pending:
            self.wake(machine, max(now_ps + 1, machine.pending[0].arrival_ps))
        for at_ps, _ in machine.leaving if machine.waiting else []:
            self.wake(machine, at_ps)
        for row in machine.waiting if ttft is not None else []:
            self.wake(machine, row.arrival_ps + ttft + 1)

    def fitting(self, machine: Machine) -> list[Row]:
        """Return who joins the next prefill: in order, as many as have places, blocks and tokens."""
        limits, chosen = machine.limits, list[Row]()
        places = limits.max_batch - len(machine.running) - len(machine.coming)
        free = limits.kv_blocks - self.held(machine)
        for row in machine.waiting:
            free -= _blocks(row.length + 1, limits)
            tokens = sum(one.length for one in [*chosen, row])
            mixed = bool(chosen) and (row.generated > 0) != (chosen[0].generated > 0)
            if len(chosen) == places or free < 0 or mixed or (chosen and tokens > limits.max_prefill_tokens):
                break
            chosen.append(row)
        return chosen

    @staticmethod
    def held(machine: Machine) -> int:
        """Return the blocks in use."""
        own = sum(_blocks(row.length, machine.limits) for row in [*machine.running, *(r for _, r in machine.coming)])
        return own + machine.outstanding

    def prefill(self, machine: Machine, rows: list[Row]) -> None:
        """Start a prefill of *rows*."""
        tokens = sum(row.length for row in rows)
        pairs = sum(_attended(at, machine.limits) for row in rows for at in range(1, row.length + 1))
        phase = "prefill_recompute" if rows[0].generated else "prefill"
        machine.start(phase, rows, machine.costs.prefill(len(rows), tokens, pairs, tokens))
        self.wake(machine, -(-machine.clock >> FINE_BITS))

    def receive(self, machine: Machine, now_ps: int) -> None:
        """Act as a server of the decode pool."""
        self.land(machine, now_ps)
        while not machine.waiting and machine.listed:
            row = machine.listed[0][0]
            full = len(machine.running) + len(machine.coming) == machine.limits.max_batch
            if full or self.held(machine) + _blocks(row.length, machine.limits) > machine.limits.kv_blocks:
                break
            if self.slows(machine, row):
                break
            self.fetch(machine, now_ps, *machine.listed.pop(0))
        machine.listed = [(*entry[:4], False) for entry in machine.listed]
        self.land(machine, now_ps)
        fitting = self.fitting(machine)
        if fitting:
            machine.waiting = machine.waiting[len(fitting) :]
            self.prefill(machine, fitting)
            # Their blocks are theirs while they recompute.
            return
        while machine.running and self.next_held(machine) > machine.limits.kv_blocks:
            worst = max(row.rank for row in machine.running)
            youngest = [row for row in machine.running if row.rank == worst][-1]
            machine.running.remove(youngest)
            youngest.preemptions += 1
            machine.waiting.insert(0, youngest)
            machine.waiting.sort(key=lambda row: row.rank)
        if machine.running:
            tokens = sum(_attended(row.length, machine.limits) for row in machine.running)
            machine.start("decode", list(machine.running), machine.costs.decode(len(machine.running), tokens, 1))
            self.wake(machine, -(-machine.clock >> FINE_BITS))
        elif machine.waiting:
            self.wake(machine, now_ps + 1 if not machine.coming else machine.coming[0][0])
        for at_ps, _ in machine.coming:
            self.wake(machine, at_ps)

    @staticmethod
    def slows(machine: Machine, row: Row) -> bool:
        """Return whether an iteration of all that decode, are on their way, and *row* exceeds the bound."""
        bound = machine.limits.techniques.tpot_ps
        rows = [*machine.running, *(one for _, one in machine.coming), row]
        if bound is None or len(rows) == 1:
            return False
        tokens = sum(_attended(one.length, machine.limits) for one in rows)
        return bool(machine.costs.decode(len(rows), tokens, 1).time_fine > bound << FINE_BITS)

    def next_held(self, machine: Machine) -> int:
        """Return the blocks in use after the next iteration."""
        own = sum(_blocks(row.length + 1, machine.limits) for row in machine.running)
        return own + sum(_blocks(row.length, machine.limits) for _, row in machine.coming)

    @staticmethod
    def land(machine: Machine, now_ps: int) -> None:
        """Let those decode whose cache is there."""
        machine.coming.sort(key=lambda entry: (entry[0], entry[1].id))
        while machine.coming and machine.coming[0][0] <= now_ps:
            machine.running.append(machine.coming.pop(0)[1])

    def fetch(
        self, machine: Machine, now_ps: int, row: Row, sender: Machine, began: int, ready: int, ahead: bool
    ) -> None:
        """Send the cache of *row*."""
        size = -(-_attended(row.prompt, machine.limits) * self.law.kv_bits // 8)
        whole = -(-size * 10**12 // self.law.bytes_per_s)
        layers = self.law.layers
        free = max(sender.port_free_ps, machine.port_free_ps)
        if ahead and layers > 1:
            piece = -(-size // layers)
            last = -(-piece * 10**12 // self.law.bytes_per_s)
            end = max(max(began + (ready - began) // layers, free) + whole, ready + last)
        else:
            end = max(now_ps, free) + whole
        for port in (sender, machine):
            port.port_free_ps, port.port_bytes = end, port.port_bytes + size
        machine.coming.append((end + self.law.latency_ps, row))
        sender.leaving.append((end, _blocks(row.length, sender.limits)))
        if not sender.busy and sender.waiting:
            self.wake(sender, max(end, now_ps + 1))
