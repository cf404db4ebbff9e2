"""The channel controller written plainly: every tick, every request, every constraint against every command before.

The slow twin of `archsim.dram.kernel_channel`: same device and profile, no list, no bound, no skipped tick. A command
is legal when no constraint objects, looked up in the whole history of the commands sent. It covers one or two command
slots, half clocks, split activation, row-hit protection, a cap of columns to a row, idle rows, every order of refresh
(that of stacks from `dram_twin_refresh`), and closed-loop windows. `dram_twin_books` says what the data buses waited
for; `dram_twin_banks` is the twin of `kernel_banks`.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field

import numpy as np
from dram_twin_books import Books
from dram_twin_refresh import StackOrder

from archsim.dram.address import AddressMap
from archsim.dram.device import Constraint, Device
from archsim.dram.profile import Profile
from archsim.dram.streams import Stream

__all__ = ["Twin"]

Node = tuple[int, ...]
ROW = ("ACT", "PRE", "PREA", "REFA", "REFB")


@dataclass(eq=False)
class Request:
    """One request in a queue."""

    number: int
    bank: int
    row: int
    write: bool
    address: int
    arrival: int


@dataclass
class Twin:
    """A channel; `run` serves a stream and leaves `log` and `done`."""

    device: Device
    profile: Profile
    window: int = 0
    return_ticks: int = 0
    now: int = 0
    log: list[tuple[int, str, int]] = field(default_factory=list)
    done: dict[int, int] = field(default_factory=dict)
    back: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Lay out the tree, the history and empty queues."""
        self.sent: dict[tuple[str, Node], list[int]] = defaultdict(list)
        self.order: dict[tuple[str, Node], int] = {}
        self.books = Books(self)
        self.rows: dict[int, int | None] = dict.fromkeys(range(self.device.banks))
        self.queues: tuple[list[Request], list[Request]] = ([], [])
        self.active: list[Request] = []
        self.maintenance: list[tuple[str, Node]] = []
        self.writing = False
        self.owed = [0] * self.device.lanes
        self.owed_bank: list[int | None] = [None] * self.device.lanes
        self.refreshed: set[int] = set()
        self.pair: tuple[int, int, int] = (-1, -1, -1)
        by_bank = self.profile.refresh not in ("none", "all_bank")
        self.interval = self.device.refresh_bank_interval_ticks if by_bank else self.device.refresh_ticks
        self.due = self.interval
        self.stack_order = StackOrder(self.device, self.interval)
        self.next_bank = 0
        self.columns = dict.fromkeys(range(self.device.banks), 0)
        self.injected: set[int] = set()
        self.opening: Request | None = None
        self.opening_by = 0
        self.started: tuple[Request, list[Request]] | None = None
        self.clock_until = 0
        self.used = dict.fromkeys(range(self.device.banks), 0)
        self.limit = dict.fromkeys(range(self.device.banks), self.profile.idle_close * self.device.ticks_per_clock)
        self.closed_when_idle: dict[int, int | None] = dict.fromkeys(range(self.device.banks))

    def path(self, bank: int) -> Node:
        """Return the child indices from the channel to *bank*."""
        indices = []
        for size in reversed(self.device.sizes):
            indices.append(bank % size)
            bank //= size
        return tuple(reversed(indices))

    def lane(self, bank: int) -> int:
        """Return the data lane of *bank*."""
        return bank * self.device.lanes // self.device.banks

    def _allowed(self, constraint: Constraint, path: Node) -> bool:
        level = constraint.level
        if constraint.sibling:
            own, parent = path[: level + 1], path[:level]
            nodes = [n for n in self._children(parent, level) if n != own]
        else:
            nodes = [path[: level + 1]]
        for node in nodes:
            ticks = self.sent[constraint.preceding, node]
            if len(ticks) >= constraint.window and self.now < ticks[-constraint.window] + constraint.ticks:
                return False
        return True

    def _children(self, parent: Node, level: int) -> list[Node]:
        return [(*parent, child) for child in range(self.device.sizes[level])]

    def legal(self, command: str, path: Node) -> bool:
        """Return whether no constraint forbids *command* to the bank at *path* now."""
        return all(self._allowed(c, path) for c in self.device.constraints if c.following == command)

    def _banks(self, scope: Node) -> list[int]:
        return [bank for bank in range(self.device.banks) if self.path(bank)[: len(scope)] == scope]

    def send(self, command: str, scope: Node) -> None:
        """Enter *command* into the history of every node it reaches."""
        nodes = {scope[: level + 1] for level in range(len(scope))}
        for bank in self._banks(scope):
            nodes |= {self.path(bank)[: level + 1] for level in range(len(scope), len(self.device.sizes))}
        for node in nodes:
            self.sent[command, node].append(self.now)
            self.order[command, node] = len(self.log)
        bank = self._banks(scope)[0]
        self.log.append((self.now, command, bank))
        if command in ("PRE", "PREA", "RDA", "WRA"):
            for closed in self._banks(scope):
                self.rows[closed] = None
                self.columns[closed] = 0
                self.injected.discard(closed)
        if self.device.bus == 2 and self.now % 2 and command in ROW:
            edge = self.now + (3 if command == "ACT" else 1)
            self.pair = (edge, self.lane(bank), -1 if command in ("PREA", "REFA") else bank)

    def edge_refuses(self, command: str, bank: int) -> bool:
        """Return whether an even half clock, or the command of the odd one before, refuses *command*."""
        if self.device.bus != 2 or self.now % 2:
            return False
        if command not in ("PRE", "PREA"):
            return True
        edge, lane, other = self.pair
        return self.now == edge and lane == self.lane(bank) and (other < 0 or command == "PREA" or other == bank)

    def needs(self, request: Request) -> str:
        """Return the next command of *request*."""
        row = self.rows[request.bank]
        if row is None:
            return "ACT"
        return "PRE" if row != request.row else "WR" if request.write else "RD"

    def refuses(self, request: Request, command: str, queue: list[Request]) -> bool:
        """Return whether a rule of the policy, not a time, refuses *command* for *request*."""
        bank = request.bank
        if command == "ACT":
            return self.owed_bank[self.lane(bank)] == bank
        if command != "PRE":
            return False
        if any(other.bank == bank for other in self.active):
            return True
        hits = [r for r in queue if r.bank == bank and r.row == self.rows[bank]]
        if self.profile.protect == "any_hit":
            return bool(hits)
        return self.profile.protect == "older_hit" and any(hit.arrival <= request.arrival for hit in hits)

    def column_slot(self) -> bool:
        """Issue the oldest legal column command: of an active request first, else of a waiting one."""
        opened = self.ready_active()
        if opened is not None:
            self.finish(opened, self.active)
            return True
        if self.maintenance:
            return False
        queue = self.mode_queue()
        ready = [r for r in queue if self.needs(r) in ("RD", "WR") and self.legal(self.needs(r), self.path(r.bank))]
        if ready:
            self.finish(min(ready, key=lambda r: r.number), queue)
        return bool(ready)

    def ready_active(self) -> Request | None:
        """Return the oldest request whose ACT has gone, whose row still stands open and whose column is legal."""
        ready = [
            r for r in self.active if self.needs(r) in ("RD", "WR") and self.legal(self.needs(r), self.path(r.bank))
        ]
        return min(ready, key=lambda r: (r.arrival, self.active.index(r)), default=None)

    def finish(self, request: Request, queue: list[Request]) -> None:
        """Issue the column command of *request* and complete it; at the cap close the row, unless another opened it."""
        bank, command = request.bank, self.needs(request)
        needed = any(r.bank == bank and r is not request for r in self.active)
        full = 0 < self.profile.cap <= self.columns[bank] and not needed
        self.books.transfer(request, command)
        self.columns[bank] += 1
        self.send(command + "A" if full and self.legal(command + "A", self.path(bank)) else command, self.path(bank))
        self.used[bank] = self.now
        queue.remove(request)
        latency = self.device.read_ticks
        if request.write:
            latency = 0 if self.profile.posted_writes else self.device.write_ticks
        self.complete(request.number, self.now + latency)

    def complete(self, number: int, at: int) -> None:
        """Note a completion and when the request is back at its source."""
        self.done[number] = at
        self.back.append(at + self.return_ticks)

    def mode_queue(self) -> list[Request]:
        """Switch between reads and writes by the watermarks and return the queue to serve."""
        reads, writes = self.queues
        capacity = np.float32(self.profile.write_queue)
        before = self.writing
        if not self.writing:
            self.writing = len(writes) > np.float32(self.profile.write_high) * capacity or not reads
        elif len(writes) < np.float32(self.profile.write_low) * capacity and reads:
            self.writing = False
        if self.writing != before:
            self.books.turned = self.now
        return writes if self.writing else reads

    def row_slot(self) -> bool:
        """Issue a row command: maintenance first, then what the oldest waiting request can get."""
        if self.maintenance:
            return self.maintain()
        if self.profile.refresh == "overlapped_bank" and self.pay():
            return True
        return self.oldest(("ACT", "PRE")) or self.close_idle()

    def oldest(self, kinds: tuple[str, ...]) -> bool:
        """Issue the next command, one of *kinds*, of the oldest waiting request for which it is legal."""
        queue = self.mode_queue()
        for request in sorted(queue, key=lambda r: r.number):
            command = self.needs(request)
            if command not in kinds or self.refuses(request, command, queue):
                continue
            if self.edge_refuses(command, request.bank) or not self.legal(command, self.path(request.bank)):
                continue
            if command in ("RD", "WR"):
                self.finish(request, queue)
                return True
            if command == "PRE":
                self.conflict(request.bank)
            if command == "ACT":
                self.books.open(request)
            self.send(command, self.path(request.bank))
            if command == "ACT":
                queue.remove(request)
                self.activate(request)
            return True
        return False

    def activate(self, request: Request) -> None:
        """Open the row of *request*, at once or with the ACT2 to come."""
        if self.device.split_activate is not None:
            self.opening, self.opening_by = request, self.now + self.device.split_activate[0]
            self.owed_bank[self.lane(request.bank)] = request.bank
            return
        self.rows[request.bank] = request.row
        self.opened(request.bank)
        self.active.append(request)

    def opened(self, bank: int) -> None:
        """Start the timer of a row that opens; a row that the timer closed and is wanted again doubles its limit."""
        self.used[bank] = self.now
        if self.profile.idle_adapts and self.closed_when_idle[bank] == self.rows[bank]:
            self.limit[bank] = min(2 * self.limit[bank], 8 * self.profile.idle_close * self.device.ticks_per_clock)
        self.closed_when_idle[bank] = None

    def conflict(self, bank: int) -> None:
        """Halve the limit of a bank whose row is closed for another one."""
        if self.profile.idle_adapts:
            least = max(self.profile.idle_close * self.device.ticks_per_clock // 8, 1)
            self.limit[bank] = max(self.limit[bank] // 2, least)

    def close_idle(self) -> bool:
        """Close the first row that nobody waits for and that its bank has not used for the bank's limit."""
        if self.profile.idle_close == 0 or self.maintenance:
            return False
        wanted = {r.bank for r in (*self.active, *self.queues[0], *self.queues[1])}
        for bank, row in self.rows.items():
            if row is None or bank in wanted or self.now < self.used[bank] + self.limit[bank]:
                continue
            if not self.legal("PRE", self.path(bank)):
                continue
            if self.edge_refuses("PRE", bank):
                return False
            self.closed_when_idle[bank] = row
            self.send("PRE", self.path(bank))
            return True
        return False

    def maintain(self) -> bool:
        """Send the refresh at the head of the priority queue, or the PRE of all banks before it."""
        final, scope = self.maintenance[0]
        banks = self._banks(scope)
        command = final
        if any(self.rows[bank] is not None for bank in banks):
            command = "PREA" if final == "REFA" else "PRE"
        busy = command in ("PRE", "PREA") and any(r.bank in banks for r in self.active)
        busy |= self.opening is not None and self.opening.bank in banks
        if busy or self.edge_refuses(command, banks[0]) or not all(self.legal(command, self.path(b)) for b in banks):
            return False
        self.send(command, scope)
        if command == final:
            self.maintenance.pop(0)
        return True

    def pay(self) -> bool:
        """Refresh an owed bank beside the traffic of the others."""
        for lane, bank in enumerate(self.owed_bank):
            if bank is None:
                continue
            command = "REFB" if self.rows[bank] is None else "PRE"
            if command == "PRE" and self.spared(lane, bank):
                continue
            if self.edge_refuses(command, bank) or not self.legal(command, self.path(bank)):
                continue
            self.send(command, self.path(bank))
            if command == "REFB":
                self.refreshed.add(bank)
                self.owed[lane] -= 1
                self.owed_bank[lane] = self.next_owed(lane) if self.owed[lane] else None
            return True
        return False

    def spared(self, lane: int, bank: int) -> bool:
        """Return whether an owed bank's open row stays: a request is on its way, or hits wait and little is owed."""
        if any(r.bank == bank for r in self.active):
            return True
        hits = any(r.bank == bank and r.row == self.rows[bank] for queue in self.queues for r in queue)
        return hits and self.owed[lane] < self.profile.owed_refreshes

    def next_owed(self, lane: int) -> int:
        """Return the bank of *lane* whose turn it is; an idle one first unless the order is fixed."""
        banks = [bank for bank in range(self.device.banks) if self.lane(bank) == lane]
        if self.refreshed.issuperset(banks):
            self.refreshed.difference_update(banks)
        left = [bank for bank in banks if bank not in self.refreshed]
        waited = {r.bank for r in (*self.active, *self.queues[0], *self.queues[1])}
        idle = [bank for bank in left if bank not in waited]
        return left[0] if self.profile.rotate or not idle else idle[0]

    def refresh_due(self) -> None:
        """Queue, or owe, what the refresh timer asks for."""
        if self.profile.refresh == "stack_bank":
            bank = self.stack_order.due(self.now)
            self.maintenance += [] if bank is None else [("REFB", self.path(bank))]
            return
        if self.profile.refresh == "none" or self.now < self.due:
            return
        self.due += self.interval
        if self.profile.refresh == "all_bank":
            level = self.device.scope_level
            scopes = sorted({self.path(bank)[: level + 1] for bank in range(self.device.banks)})
            self.maintenance += [("REFA", scope) for scope in scopes]
            return
        if self.profile.refresh == "round_robin_bank":
            self.maintenance.append(("REFB", self.path(self.next_bank)))
            self.next_bank = (self.next_bank + 1) % self.device.banks
            return
        for lane in range(self.device.lanes):
            self.owed[lane] += 1
            if self.owed_bank[lane] is None:
                self.owed_bank[lane] = self.next_owed(lane)

    def close_full(self) -> None:
        """Ask for a PRE, once, of every bank whose row has had its cap of columns, as soon as it is legal."""
        for bank, columns in self.columns.items():
            if columns >= self.profile.cap and bank not in self.injected and self.legal("PRE", self.path(bank)):
                self.maintenance.append(("PRE", self.path(bank)))
                self.injected.add(bank)

    def offer(self, pending: list[Request]) -> None:
        """Take up to four requests from the source, in order, until one is refused."""
        for _ in range(self.profile.inject):
            if not pending:
                return
            if not self.in_window(pending[0].number):
                self.books.source = "latency"
                return
            request = pending[0]
            if any(w.address == request.address for w in self.queues[1]):
                self.complete(request.number, self.now if request.write else self.now + 1)
                pending.pop(0)
                continue
            queue = self.queues[request.write]
            if len(queue) >= (self.profile.write_queue if request.write else self.profile.read_queue):
                self.books.source = "queue"
                return
            request.arrival = self.now
            self.books.accept(request)
            queue.append(pending.pop(0))
        self.books.source = "latency"

    def served(self) -> list[Request]:
        """Return the requests that the controller may send commands for."""
        return [*self.queues[0], *self.queues[1], *self.active, *([self.opening] if self.opening else [])]

    def in_window(self, number: int) -> bool:
        """Return whether fewer than the window's requests are in flight before request *number*."""
        waits = number - self.window
        return self.window == 0 or waits < 0 or (waits < len(self.back) and self.back[waits] <= self.now)

    def run(self, stream: Stream, address_map: AddressMap) -> None:
        """Serve *stream*."""
        banks, rows = address_map.decode(stream.index, self.device)
        pending = [
            Request(i, int(banks[i]), int(rows[i]), bool(stream.write[i]), int(stream.index[i]), 0)
            for i in range(stream.index.size)
        ]
        while len(self.done) < stream.index.size:
            self.offer(pending)
            self.now += 1
            waited = bool(self.maintenance)
            self.refresh_due()
            if self.profile.cap:
                self.close_full()
            self.books.tick(waited=waited)
            if self.device.bus in (0, 3):
                self.single_slot() if self.device.bus == 0 else self.split_slot()
                continue
            if self.device.bus == 1 or self.now % 2:
                self.column_slot()
            self.row_slot()

    def single_slot(self) -> None:
        """Issue one command: an active request's column, maintenance, else the oldest legal one."""
        opened = self.ready_active()
        if opened is not None:
            self.finish(opened, self.active)
        elif self.maintenance:
            self.maintain()
        elif not (self.profile.refresh == "overlapped_bank" and self.pay()):
            self.oldest(("RD", "WR", "ACT", "PRE")) or self.close_idle()

    def split_slot(self) -> None:
        """Issue one command where ACT takes two and a CAS starts the data clock."""
        if self.started is not None:
            request, queue = self.started
            if self.legal(self.needs(request), self.path(request.bank)):
                self.started = None
                self.transfer(request, queue)
            return
        if self.opening is not None and self.now >= self.opening_by and self.open_row():
            return
        opened = self.ready_active()
        if opened is not None:
            self.access(opened, self.active)
        elif self.maintenance:
            self.maintain() or self.open_row()
        else:
            self.oldest_split() or self.open_row() or self.close_idle()

    def oldest_split(self) -> bool:
        """Give the slot to the oldest waiting request with a legal command; rows open one at a time."""
        queue = self.mode_queue()
        for request in sorted(queue, key=lambda r: r.number):
            command = self.needs(request)
            if command == "ACT" and self.opening is not None:
                continue
            if not self.refuses(request, command, queue) and self.legal(command, self.path(request.bank)):
                if command in ("RD", "WR"):
                    self.access(request, queue)
                    return True
                return self.oldest((command,))
        return False

    def open_row(self) -> bool:
        """Send the ACT2 of the row that is opening, if it is legal."""
        if self.opening is None or not self.legal("ACT2", self.path(self.opening.bank)):
            return False
        request, self.opening = self.opening, None
        self.send("ACT2", self.path(request.bank))
        self.owed_bank[self.lane(request.bank)] = None
        self.rows[request.bank] = request.row
        self.opened(request.bank)
        self.active.append(request)
        return True

    def access(self, request: Request, queue: list[Request]) -> None:
        """Send a column command while the data clock runs, else start it, unless an ACT2 could not wait for both."""
        assert self.device.split_activate is not None
        if self.now < self.clock_until:
            self.transfer(request, queue)
        elif self.opening is not None and self.opening_by <= self.now + self.device.split_activate[1]:
            self.open_row()
        elif self.legal(start := "CASW" if request.write else "CASR", self.path(request.bank)):
            self.send(start, self.path(request.bank))
            self.started = request, queue

    def transfer(self, request: Request, queue: list[Request]) -> None:
        """Send the column command and keep the data clock running behind its burst."""
        assert self.device.split_activate is not None
        to_data = (self.device.write_ticks if request.write else self.device.read_ticks) - self.device.burst_ticks
        self.clock_until = max(self.clock_until, self.now + to_data + self.device.split_activate[2])
        self.finish(request, queue)
