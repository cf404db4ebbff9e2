"""Put a step's record together: service from the amounts, gaps from the timeline, and the check that they add up."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from archsim.errors import SimulationError
from archsim.hardware.system import System
from archsim.mapping.plan import Plan, Task
from archsim.metrics.ledger import Books, check_balance
from archsim.network.collectives import CollectiveFacts
from archsim.step.books import Accounts, engine_books, level_books, link_books
from archsim.step.record import ChannelUse, Scope, StepRecord
from archsim.step.work import Work
from archsim.units import PS_PER_S

__all__ = ["Gaps", "Timeline", "assemble", "fold_name"]

Gaps = dict[tuple[int, str], Counter[str]]
"""(rank or -1, part) -> account -> picoseconds that the part stood still."""


@dataclass(frozen=True, slots=True)
class Timeline:
    """Where the time of a whole plan went, repetitions included."""

    time_ps: int
    gaps: Gaps
    event_count: int


def fold_name(first: int, size: int) -> str:
    """Return the scope prefix of *size* equal chips from number *first*: `chip0-7`, or `chip3` for one."""
    return f"chip{first}-{first + size - 1}" if size > 1 else f"chip{first}"


def assemble(plan: Plan, works: dict[Task, Work], system: System, timeline: Timeline) -> StepRecord:
    """Return the record of *plan*. Raises `SimulationError` where a scope's books do not balance."""
    counts: Counter[Task] = Counter()
    for segment in plan.segments:
        for task in segment.tasks:
            counts[task] += segment.repeats
    folds = [(0, plan.ranks)] if plan.identical_ranks else [(rank, 1) for rank in range(plan.ranks)]
    served = [row for first, size in folds for row in _chip_rows(works, counts, system, first=first, size=size)]
    exchanged = [
        (task.collective, system.collective(task.collective.kind, task.collective.bytes, plan.ranks), count)
        for task, count in counts.items()
        if task.collective is not None
    ]
    served += _link_rows([(facts, count) for _, facts, count in exchanged], system, plan)
    pieces = sum(
        counts[task] * (sum(service.pieces for service in work.services) + 2 * len(work.chunks))
        for task, work in works.items()
    )
    books: Books = {}
    for scope, place, accounts in served:
        books[scope.name] = _balanced(scope, accounts, timeline.gaps.get(place, Counter()), timeline.time_ps)
        _check_rounding(scope, books[scope.name], jobs=plan.ranks * pieces)
    return StepRecord(
        phase=plan.phase,
        time_ps=timeline.time_ps,
        scopes=tuple(scope for scope, _, _ in served),
        books=books,
        uses=tuple(use for first, size in folds for use in _uses(works, counts, system, fold_name(first, size))),
        collectives=tuple(sorted({(task.kind, task.bytes, facts.algorithm) for task, facts, _ in exchanged})),
        jobs=plan.ranks * pieces,
        event_count=timeline.event_count,
    )


Row = tuple[Scope, tuple[int, str], Accounts]
"""A scope, the place in the timeline whose gaps are its own, and what it served."""


def _chip_rows(
    works: dict[Task, Work], counts: Counter[Task], system: System, *, first: int, size: int
) -> Iterator[Row]:
    prefix, memories = fold_name(first, size), system.spec.chip.memory
    peak = max((system.matrix_rate(work.matrix_dtype) for work in works.values() if work.matrix_ps), default=0)
    for name, level in system.levels.items():
        kind = "memory" if name in memories else "cache"
        accounts = _total(
            (level_books(service, level), size * counts[task])
            for task, work in works.items()
            for service in work.services
            if service.level == name
        )
        yield (
            Scope(f"{prefix}.{name}", kind, "bytes", size * float(level.peak_bytes_per_s), level.channels),
            (first, name),
            accounts,
        )
    engines = {"matrix": peak, "vector": system.vector_rate}
    for name, rate in engines.items():
        if rate:
            accounts = _total(
                (engine_books(work, system, matrix_peak=peak).get(name, {}), size * counts[task])
                for task, work in works.items()
            )
            yield Scope(f"{prefix}.{name}", "engine", "flop", size * float(rate)), (first, name), accounts


def _link_rows(exchanged: list[tuple[CollectiveFacts, int]], system: System, plan: Plan) -> list[Row]:
    links = system.network.links if plan.ranks > 1 else ()
    return [
        (
            Scope(link.name, "link", "bytes", float(link.bytes_per_s)),
            (-1, "network"),
            link_books(exchanged, index, link.bytes_per_s),
        )
        for index, link in enumerate(links)
    ]


def _total(parts: Iterator[tuple[Accounts, int]]) -> Accounts:
    total: Accounts = {}
    for accounts, count in parts:
        for account, amount in accounts.items():
            total[account] = total.get(account, 0.0) + amount * count
    return total


def _balanced(scope: Scope, served: Accounts, gaps: Counter[str], time_ps: int) -> Accounts:
    accounts = dict(served)
    for account, picoseconds in gaps.items():
        accounts[account] = accounts.get(account, 0.0) + scope.peak_per_s * picoseconds / PS_PER_S
    check_balance(scope.name, accounts, booked=scope.peak_per_s * time_ps / PS_PER_S)
    return accounts


def _check_rounding(scope: Scope, accounts: Accounts, *, jobs: int) -> None:
    lost, most = accounts.get("rounding", 0.0), scope.peak_per_s * jobs / PS_PER_S
    if lost > most * (1 + 1e-9):
        raise SimulationError(f"ledger of {scope.name}: {lost!r} lost to rounding in {jobs} jobs; at most {most!r}")


def _uses(works: dict[Task, Work], counts: Counter[Task], system: System, prefix: str) -> Iterator[ChannelUse]:
    for task, work in works.items():
        for service in work.services:
            if service.level in system.spec.chip.memory:
                yield ChannelUse(f"{prefix}.{service.level}", service, counts[task])
