"""Channel groups of a memory as tracks of a timeline: the channels of a stack, or an even part of a memory's channels.

A transfer holds all channels of its memory for as long as the busiest one needs (A7), so the groups of a memory are
busy and stand still together; what differs is how many bytes each gets, and how long it waits for the busiest
(`imbalance`). The groups of a slice add up to the slice of the memory.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from archsim.hardware.system import System
from archsim.mapping.plan import Task
from archsim.metrics.timeline import Slice
from archsim.step.books import Accounts, beside_books
from archsim.step.channels import channel_books
from archsim.step.work import Service, Work

__all__ = ["CHANNELS", "Groups", "group_slices", "groups_of"]

CHANNELS = "channels"
"""Fact that only slices of channel groups have: how many channels one such group is."""
_Row = tuple[Slice, tuple[Task, ...], float]
_MOST_PIECES = 8
"""Groups of a memory that is not in stacks."""


@dataclass(frozen=True, slots=True)
class Groups:
    """Channels of one memory in groups of the same size, one after the other."""

    count: int
    size: int

    def name(self, group: int) -> str:
        """Return the channels of *group* as the ledger calls them: `ch0-15`, or `ch3` for one."""
        first, last = group * self.size, (group + 1) * self.size - 1
        return f"ch{first}-{last}" if last > first else f"ch{first}"


def groups_of(system: System, part: str) -> Groups | None:
    """Return the channel groups of *part* of a chip; None where it is no memory, or has one channel."""
    pipe = system.pipes.get(part)
    if pipe is None or pipe.kind != "memory":
        return None
    channels, memory = system.levels[pipe.level].channels, system.spec.chip.memory.get(part.partition(".")[0])
    stacks = memory.stacks if memory is not None else 1
    pieces = stacks if stacks > 1 and channels % stacks == 0 else _pieces(channels)
    return Groups(pieces, channels // pieces) if pieces > 1 else None


def _pieces(channels: int) -> int:
    return next(pieces for pieces in range(min(channels, _MOST_PIECES), 0, -1) if channels % pieces == 0)


def group_slices(
    rows: Iterable[_Row],
    part: str,
    groups: Groups,
    *,
    works: dict[Task, Work],
    system: System,
) -> Iterator[Slice]:
    """Yield the slices of each group of *part* for *rows*: (slice of the memory, tasks of its lap, share of the lap).

    A slice in which the memory stands still has no tasks, and is one of every group. Accesses of one lap that touch are
    one slice.
    """
    rows = list(_joined(rows))
    known = {tasks: _amounts(tasks, part, groups, works=works, system=system) for _, tasks, _ in rows if tasks}
    for group in range(groups.count):
        for each, tasks, share in rows:
            amounts = {account: share * amount for account, amount in known[tasks][group].items()} if tasks else {}
            facts = {**each.facts, CHANNELS: groups.size}
            yield replace(each, track=f"{each.track}.{groups.name(group)}", accounts=amounts, facts=facts)


def _joined(rows: Iterable[_Row]) -> Iterator[_Row]:
    last: _Row | None = None
    for row in rows:
        if last is not None and last[1] == row[1] and last[0].name == row[0].name and last[0].end_ps == row[0].start_ps:
            last = (replace(last[0], end_ps=row[0].end_ps), row[1], last[2] + row[2])
            continue
        if last is not None:
            yield last
        last = row
    if last is not None:
        yield last


def _amounts(
    tasks: Sequence[Task], part: str, groups: Groups, *, works: dict[Task, Work], system: System
) -> list[Accounts]:
    """Return what one execution of *tasks* books on each group."""
    total: list[Accounts] = [{} for _ in range(groups.count)]
    for task in tasks:
        for service in works[task].services if task in works else ():
            for account, amounts in _books(service, part, groups, system).items():
                for into, amount in zip(total, amounts, strict=True):
                    if amount:
                        into[account] = into.get(account, 0.0) + amount
    return total


def _books(service: Service, part: str, groups: Groups, system: System) -> dict[str, list[float]]:
    """Return account -> amount of each group; what holds the part beside another one is even over its channels."""
    own, level = system.levels[system.pipes[part].level], system.levels[service.level]
    for place, (held, held_ps) in enumerate(service.held):
        if held == part and place == 0:
            columns = channel_books(service, level)
            shape = (groups.count, groups.size)
            return {account: column.reshape(shape).sum(axis=1).tolist() for account, column in columns.items()}
        if held == part:
            books = beside_books(service, level, own, held_ps)
            return {account: [amount / groups.count] * groups.count for account, amount in books.items()}
    return {}
