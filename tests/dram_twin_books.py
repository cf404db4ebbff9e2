"""The books of a twin's data buses: the slow twin of `archsim.dram.kernel_account`.

When a command became legal, and what held it back until then, is looked up in the whole history of the commands sent.
A gap before a burst is a list with the cause of every tick.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from archsim.dram.device import COMMANDS, Constraint, class_of

if TYPE_CHECKING:
    from dram_twin import Node, Request, Twin

__all__ = ["Books"]

COLUMNS = ("RD", "WR", "RDA", "WRA")


@dataclass(frozen=True)
class Opening:
    """The last ACT of a bank: when its request came, when it was legal, what held it back so long, when it went."""

    arrived: int
    legal: int
    why: str
    sent: int


class Books:
    """Ticks of all data buses of *twin* by cause."""

    def __init__(self, twin: Twin) -> None:
        """Begin with all buses free at tick 0 and a source that has sent nothing."""
        self.twin = twin
        self.causes: Counter[str] = Counter()
        self.moments: list[Counter[str]] = []
        """The books before each burst."""
        self.free_from = dict.fromkeys(range(twin.device.lanes), 0)
        self.openings: dict[int, Opening] = {}
        self.source = "latency"
        """What keeps the source from sending its next request."""
        self.source_of: dict[int, str] = {}
        self.turned = 0
        self.stopped: list[int] = []
        """The ticks at which maintenance waited, and the queues with it, since it last began to."""

    def accept(self, request: Request) -> None:
        """Note, before a queue takes *request*: if its bus has no other, the source kept the bus waiting."""
        if not any(self.twin.lane(r.bank) == self.twin.lane(request.bank) for r in self.twin.served()):
            self.source_of[request.number] = self.source

    def tick(self, *, waited: bool) -> None:
        """Note whether maintenance waits now, and whether some has *waited* since an earlier tick."""
        if self.twin.maintenance:
            self.stopped = [*(self.stopped if waited else []), self.twin.now]

    def open(self, request: Request) -> None:
        """Note the ACT that goes now for *request*."""
        time, why = self.legal("ACT", self.twin.path(request.bank))
        self.openings[request.bank] = Opening(request.arrival, max(time, request.arrival), why, self.twin.now)

    def transfer(self, request: Request, command: str) -> None:
        """Book the gap before the column *command* of *request*, which goes now, and its burst."""
        lane, now = self.twin.lane(request.bank), self.twin.now
        start = self.free_from[lane]
        gap = self._gap(request, command, start)
        assert len(gap) == max(0, now - start)
        self.causes.update(gap)
        self.moments.append(self.causes.copy())
        self.free_from[lane] = now + self.twin.device.burst_ticks
        self.causes["transfer"] += self.free_from[lane] - max(start, now)

    def close(self, last: int) -> Counter[str]:
        """Book what is left up to the last data, at *last*: a bus waits for the others, then all for the data."""
        ends = self.free_from.values()
        self.causes["queue"] += sum(max(ends) - end for end in ends)
        self.causes["latency"] += len(ends) * max(0, last - max(ends))
        return +self.causes

    def _gap(self, request: Request, command: str, start: int) -> list[str]:
        """Return the causes of the ticks from *start* on."""
        now, opening = self.twin.now, self.openings[request.bank]
        gap = [self.source_of.get(request.number, "")] * (min(request.arrival, now) - start)
        if request.number not in self.source_of:
            gap = []
        begun = start + len(gap)
        hidden = opening.sent < begun
        if opening.sent > begun:
            gap += [opening.why] * (opening.legal - begun)
            gap += self._wait(start + len(gap), opening.sent)
        # Ticks that the ACT lost while the bus was still busy are lost to the data a tRCD later.
        held = max(0, min(opening.legal, begun) - opening.arrived)
        time, why = self.legal(command, self.twin.path(request.bank))
        rest = min(time, now) - start - len(gap)
        delayed = ["command_bus"] * (opening.sent - opening.legal) * hidden + [opening.why] * held
        gap += (delayed * (why == "row" and held > 0) + [why] * rest)[: max(0, rest)]
        gap += ["turnaround"] * (min(self.turned, now) - start - len(gap))
        return gap + self._wait(start + len(gap), now)

    def _wait(self, start: int, stop: int) -> list[str]:
        """Return the causes of a wait of a legal command: maintenance, or another command on the bus."""
        return ["refresh" if tick in self.stopped else "command_bus" for tick in range(start, stop)]

    def legal(self, command: str, path: Node) -> tuple[int, str]:
        """Return from which tick *command* may go to *path*, and what held it back: the first of equals."""
        raised = [
            (at, -level, -order, -number, cause)
            for level in range(len(path))
            for number, constraint in enumerate(self._constraints(command, level))
            for at, order, cause in self._raised(constraint, path)
        ]
        time, *_, why = max(raised, default=(0, 0, 0, 0, ""))
        return time, why

    def _constraints(self, command: str, level: int) -> list[Constraint]:
        """Return what *command* waits for at *level*, as the kernel orders it; a slot of the bus itself is no wait."""
        slot = {1: 1, 2: 2}.get(self.twin.device.bus, 0)
        return sorted(
            (
                c
                for c in self.twin.device.constraints
                if (c.level, c.following) == (level, command)
                and not (level == 0 and c.preceding in COLUMNS and command in COLUMNS and c.ticks <= slot)
            ),
            key=lambda c: (c.sibling, COMMANDS.index(c.preceding)),
        )

    def _raised(self, constraint: Constraint, path: Node) -> list[tuple[int, int, str]]:
        """Return when *constraint* lets a command go to *path*, the number of the command it counts from, the cause."""
        level = constraint.level
        nodes = [path[: level + 1]]
        if constraint.sibling:
            siblings = [(*path[:level], child) for child in range(self.twin.device.sizes[level])]
            nodes = [node for node in siblings if node != path[: level + 1]]
        found = []
        for node in nodes:
            ticks = self.twin.sent[constraint.preceding, node]
            if len(ticks) >= constraint.window:
                order = self.twin.order[constraint.preceding, node]
                at = ticks[-constraint.window] + constraint.ticks
                found.append((at, order, class_of(constraint, self.twin.device.levels)))
        return found
