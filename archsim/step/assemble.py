"""Put a step's record together: service from the amounts, gaps from the timeline, and the check that they add up."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from archsim.errors import SimulationError
from archsim.hardware.level import Level
from archsim.hardware.system import System
from archsim.mapping.plan import Plan, Segment, Task
from archsim.metrics.ledger import Books
from archsim.network.collectives import CollectiveFacts
from archsim.step.books import (
    Accounts,
    beside_books,
    closed_books,
    engine_books,
    level_books,
    link_books,
    near_books,
    total_books,
)
from archsim.step.exchange import Exchanges
from archsim.step.record import ChannelUse, Scope, StepRecord
from archsim.step.work import Service, Work
from archsim.units import PS_PER_S

__all__ = ["Fold", "Gaps", "Timeline", "assemble", "chip_rows", "fold_name", "folds_of", "link_scopes"]

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


def assemble(
    plan: Plan,
    works: dict[Task, Work],
    exchanges: Exchanges,
    system: System,
    *,
    timeline: Timeline,
    links: tuple[Scope, ...],
) -> StepRecord:
    """Return the record of *plan* with the scopes *links* of the network.

    Raises `SimulationError` where a scope's books do not balance.
    """
    folds = folds_of(plan, works)
    served = [row for fold in folds for row in chip_rows(works, fold, system)]
    exchanged = [
        (task.collective, exchanges[task.collective], count)
        for task, count in _counts(plan.segments).items()
        if task.collective is not None
    ]
    pieces = sum(
        fold.chips
        * fold.counts[task]
        * (sum(service.pieces for service in work.services) + (3 if work.near else 2) * len(work.chunks))
        for fold in folds
        for task, work in fold.works.items()
    )
    books: Books = {}
    for scope, place, accounts in served:
        books[scope.name] = closed_books(scope, accounts, timeline.gaps.get(place, Counter()), timeline.time_ps)
        _check_rounding(scope, books[scope.name], jobs=pieces)
    books |= _link_books(links, [(facts, count) for _, facts, count in exchanged], timeline)
    return StepRecord(
        phase=plan.phase,
        time_ps=timeline.time_ps,
        scopes=(*(scope for scope, _, _ in served), *links),
        books=books,
        uses=tuple(use for fold in folds for use in _uses(fold, system)),
        collectives=tuple(sorted({(task.kind, task.bytes, facts.algorithm) for task, facts, _ in exchanged})),
        jobs=pieces,
        event_count=timeline.event_count,
        matrix_flops=_matrix_flops(folds),
    )


@dataclass(frozen=True, slots=True)
class Fold:
    """Chips that are booked as one, and what each of them does."""

    name: str
    chips: int
    rank: int
    """The place among the simulated ranks of the one whose gaps are theirs."""
    counts: Counter[Task]
    works: dict[Task, Work]


def folds_of(plan: Plan, works: dict[Task, Work]) -> list[Fold]:
    """Return the chips of *plan* as they are booked, each with its own of *works*."""
    chips = plan.chips
    folded = plan.identical_ranks and not plan.each_rank and chips == tuple(range(chips[0], chips[0] + len(chips)))
    folds: list[Fold] = []
    for rank in range(1 if folded else plan.ranks):
        counts = folds[0].counts if folds and not plan.others else _counts(plan.of_rank(rank))
        size, simulated = plan.ranks if folded else 1, plan.simulated.index(plan.kind_of(rank))
        own = {task: work for task, work in works.items() if counts[task]}
        folds.append(Fold(fold_name(chips[rank], size), size, simulated, counts, own))
    return folds


def _matrix_flops(folds: Iterable[Fold]) -> tuple[tuple[str, int], ...]:
    flops: Counter[str] = Counter()
    for fold in folds:
        for task in fold.works:
            if task.matrix_flops:
                flops[task.matrix_dtype] += fold.chips * fold.counts[task] * task.matrix_flops
    return tuple(sorted(flops.items()))


def _counts(segments: Iterable[Segment]) -> Counter[Task]:
    counts: Counter[Task] = Counter()
    for segment in segments:
        for task in segment.tasks:
            counts[task] += segment.repeats
    return counts


Row = tuple[Scope, tuple[int, str], Accounts]
"""A scope, the place in the timeline whose gaps are its own, and what it served."""


def chip_rows(works: dict[Task, Work], fold: Fold, system: System) -> Iterator[Row]:
    """Yield what *fold* serves on each of its scopes, of a plan whose kernels do *works*."""
    for name, pipe in system.pipes.items():
        own = system.levels[pipe.level]
        accounts = total_books(
            (books, fold.chips * fold.counts[task])
            for task, work in fold.works.items()
            for service in work.services
            for books in _on_pipe(service, name, own, system)
        )
        rate = fold.chips * float(own.peak_bytes_per_s)
        scope = Scope(f"{fold.name}.{name}", pipe.kind, "bytes", rate, channels=own.channels, chips=fold.chips)
        yield scope, (fold.rank, name), accounts
    yield from _engine_rows(works, fold, system)


def _on_pipe(service: Service, pipe: str, own: Level, system: System) -> Iterator[Accounts]:
    """Yield what *service* books on *pipe*: its own bytes where it is the level's first, else what it holds beside."""
    level = system.levels[service.level]
    for place, (held, held_ps) in enumerate(service.held):
        if held == pipe:
            yield beside_books(service, level, own, held_ps) if place else level_books(service, level)


def _engine_rows(works: dict[Task, Work], fold: Fold, system: System) -> Iterator[Row]:
    # A scope's peak is the same on all ranks and in all iterations: those too whose products near units do.
    known = system.spec.chip.engine["matrix"].flop_per_s
    types = {work.matrix_dtype for work in works.values() if work.matrix_ps or (work.near and work.near.flops)}
    peak = max((system.matrix_rate(dtype) for dtype in types if dtype in known), default=0)
    engines = {"matrix": peak, "vector": system.vector_rate}
    for name, flop_per_s in engines.items():
        if flop_per_s:
            accounts = total_books(
                (engine_books(work, system, matrix_peak=peak).get(name, {}), fold.chips * fold.counts[task])
                for task, work in fold.works.items()
            )
            yield _engine(fold, name, flop_per_s), (fold.rank, name), accounts
    for units in system.near.values():
        near = ((near_books(work, units), fold.chips * fold.counts[task]) for task, work in fold.works.items())
        yield _engine(fold, units.name, units.peak_flop_per_s), (fold.rank, units.name), total_books(near)


def _engine(fold: Fold, name: str, flop_per_s: int) -> Scope:
    return Scope(f"{fold.name}.{name}", "engine", "flop", fold.chips * float(flop_per_s), chips=fold.chips)


def link_scopes(system: System) -> tuple[Scope, ...]:
    """Return the scopes of all links, in the order of the network's."""
    links = system.network.links if system.spec.chips > 1 else ()
    return tuple(Scope(link.name, "link", "bytes", float(link.bytes_per_s)) for link in links)


def _link_books(links: tuple[Scope, ...], exchanged: list[tuple[CollectiveFacts, int]], timeline: Timeline) -> Books:
    """Return the books of all links; those of one rate that carry the same bytes share one."""
    gaps = timeline.gaps.get((-1, "network"), Counter())
    known: dict[tuple[float, ...], Accounts] = {}
    books: Books = {}
    alike = zip((scope.peak_per_s for scope in links), *(facts.link_bytes for facts, _ in exchanged), strict=True)
    for index, (scope, key) in enumerate(zip(links, alike, strict=True)):
        if key not in known:
            accounts = link_books(exchanged, index, int(scope.peak_per_s))
            known[key] = closed_books(scope, accounts, gaps, timeline.time_ps)
        books[scope.name] = known[key]
    return books


def _check_rounding(scope: Scope, accounts: Accounts, *, jobs: int) -> None:
    lost, most = accounts.get("rounding", 0.0), scope.peak_per_s * jobs / PS_PER_S
    if lost > most * (1 + 1e-9):
        raise SimulationError(f"ledger of {scope.name}: {lost!r} lost to rounding in {jobs} jobs; at most {most!r}")


def _uses(fold: Fold, system: System) -> Iterator[ChannelUse]:
    for task, work in fold.works.items():
        for service in work.services:
            pipe = service.held[0][0]
            if system.pipes[pipe].kind == "memory":
                yield ChannelUse(f"{fold.name}.{pipe}", service, fold.counts[task])
