"""The controller with command queues behind its transaction queues, written plainly: the twin of `kernel_banks`.

Same rules as `dram_twin`: every clock, every request, every constraint against every command before.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

from archsim.dram.address import AddressMap
from archsim.dram.streams import Stream

sys.path.insert(0, str(Path(__file__).parent))
from dram_twin import Request, Twin

__all__ = ["BanksTwin"]


@dataclass
class BanksTwin(Twin):
    """A channel under such a controller; `run` serves a stream and leaves `log` and `done`."""

    def __post_init__(self) -> None:
        """Lay out empty queues beside the tree and the history."""
        super().__post_init__()
        ranks = self.device.sizes[self.device.levels.index("ra")] if "ra" in self.device.levels else 1
        self.queue_banks = 1 if self.profile.queue_per_bank else self.device.banks // ranks
        self.commands: list[list[Request]] = [[] for _ in range(self.device.banks // self.queue_banks)]
        self.waiting: dict[int, list[Request]] = {}
        self.turn = self.draining = self.next_refresh = 0
        self.gave_way = False
        self.held: set[int] = set()

    def required(self, request: Request) -> str:
        """Return what *request* needs next."""
        command = self.needs(request)
        return command + "A" if self.profile.closed_page and command in ("RD", "WR") else command

    def may_close(self, queue: list[Request], request: Request) -> bool:
        """Return whether *request* may close its row: first of its bank, and no hit behind it or four hits served."""
        same = [r for r in queue if r.bank == request.bank]
        if same[0] is not request:
            return False
        return self.columns[request.bank] >= 4 or all(r.row != self.rows[r.bank] for r in same)

    def next_command(self) -> Request | None:
        """Ask the command queues in turn for their first legal command."""
        for _ in self.commands:
            self.turn = (self.turn + 1) % len(self.commands)
            if self.turn in self.held:
                continue
            for request in self.commands[self.turn]:
                command = self.required(request)
                allowed = command != "PRE" or self.may_close(self.commands[self.turn], request)
                if allowed and self.legal(command, self.path(request.bank)):
                    return request
        return None

    def give(self, request: Request) -> bool:
        """Send the next command of *request*; return whether it was a column command."""
        command = self.required(request)
        if command not in ("ACT", "PRE"):
            self.columns[request.bank] += 1
            self.commands[request.bank // self.queue_banks].remove(request)
            self.books.transfer(request, command)
        elif command == "ACT":
            self.books.open(request)
        self.send(command, self.path(request.bank))
        if command == "ACT":
            self.rows[request.bank] = request.row
        if command in ("ACT", "PRE"):
            return False
        for read in [] if request.write else self.waiting.pop(request.address):
            self.complete(read.number, self.now + self.device.read_ticks)
        return True

    def refresh(self) -> bool:
        """Close the banks of the refresh that waits, one a clock, then send it."""
        if not self.maintenance:
            return False
        final, scope = self.maintenance[0]
        banks = self._banks(scope)
        self.held = {bank // self.queue_banks for bank in banks}
        for bank in banks:
            if self.rows[bank] is not None and self.legal("PRE", self.path(bank)):
                self.send("PRE", self.path(bank))
                return True
        if any(self.rows[bank] is not None or not self.legal(final, self.path(bank)) for bank in banks):
            return False
        self.send(final, scope)
        self.maintenance.pop(0)
        self.held = set()
        return True

    def refresh_due(self) -> None:
        """Ask for the refresh of the next rank, or of the next bank: bank groups first, then banks, then ranks."""
        if self.profile.refresh == "none" or self.now < self.due:
            return
        self.due += self.interval
        level, turn = self.device.scope_level, self.next_refresh
        if self.profile.refresh == "all_bank":
            scopes = sorted({self.path(bank)[: level + 1] for bank in range(self.device.banks)})
            self.maintenance.append(("REFA", scopes[turn]))
            self.next_refresh = (turn + 1) % len(scopes)
            return
        groups, within = self.device.sizes[-2:]
        rank, rest = divmod(turn, groups * within)
        self.maintenance.append(("REFB", self.path((rank * groups + rest % groups) * within + rest // groups)))
        self.next_refresh = (turn + 1) % self.device.banks

    def move(self) -> None:
        """Move one transaction into the command queue of its bank; start to drain writes where it is time."""
        reads, writes = self.queues
        many = len(writes) > self.profile.drain_above and not any(self.commands)
        if self.draining == 0 and not self.gave_way and (len(writes) >= self.profile.write_queue or many):
            self.draining = len(writes)
            self.books.turned = self.now
        self.gave_way = False
        queue = writes if self.draining else reads
        for request in queue:
            commands = self.commands[request.bank // self.queue_banks]
            if len(commands) >= self.profile.bank_queues:
                continue
            if request.write and request.address in self.waiting:
                self.draining, self.gave_way = 0, True
                return
            self.draining -= request.write
            queue.remove(request)
            commands.append(request)
            return

    def offer(self, pending: list[Request]) -> None:
        """Take requests until one is refused; writes are done at once, reads of an address wait together."""
        for _ in range(self.profile.inject):
            if not pending:
                return
            if not self.in_window(pending[0].number):
                self.books.source = "latency"
                return
            queue = self.queues[pending[0].write]
            if len(queue) >= (self.profile.write_queue if pending[0].write else self.profile.read_queue):
                self.books.source = "queue"
                return
            self.take(pending.pop(0), queue)
        self.books.source = "latency"

    def take(self, request: Request, queue: list[Request]) -> None:
        """Queue *request* unless it meets another one of its address."""
        everywhere = [*self.queues[1], *(r for commands in self.commands for r in commands)]
        written = any(r.write and r.address == request.address for r in everywhere)
        if request.write or written:
            self.complete(request.number, self.now + 1)
            if request.write and not written:
                self.queue(request, queue)
            return
        first = request.address not in self.waiting
        self.waiting.setdefault(request.address, []).append(request)
        if first:
            self.queue(request, queue)

    def served(self) -> list[Request]:
        """Return the requests that the controller may send commands for: no writes until it drains them."""
        reads, writes = self.queues
        return [*reads, *(writes if self.draining else []), *(r for commands in self.commands for r in commands)]

    def queue(self, request: Request, queue: list[Request]) -> None:
        """Put *request* into *queue*."""
        request.arrival = self.now
        self.books.accept(request)
        queue.append(request)

    def run(self, stream: Stream, address_map: AddressMap) -> None:
        """Serve *stream*."""
        banks, rows = address_map.decode(stream.index, self.device)
        pending = [
            Request(i, int(banks[i]), int(rows[i]), bool(stream.write[i]), int(stream.index[i]), 0)
            for i in range(stream.index.size)
        ]
        while len(self.done) < stream.index.size:
            self.offer(pending)
            waited = bool(self.maintenance)
            self.refresh_due()
            self.books.tick(waited=waited)
            self.slots()
            self.move()
            self.now += 1

    def slots(self) -> None:
        """Send a command and, where the bus has two slots, one of the other kind."""
        column, sent = False, self.refresh()
        if not sent and (request := self.next_command()) is not None:
            column, sent = self.give(request), True
        request = self.next_command() if sent and self.device.bus else None
        if request is not None and (self.required(request) not in ("ACT", "PRE")) != column:
            self.give(request)
