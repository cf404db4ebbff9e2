"""One iteration as slices of tracks: every job of every part, and whose fault each gap is.

The iteration is simulated once more, with every repetition written out and a lap for each kernel (`written_out`).
Service carries the amounts that `books` states for the kernel, in proportion to time; a gap is walked back as in the
ledger. The slices of a track therefore add up to its book.
"""

from __future__ import annotations

import itertools
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from archsim.hardware.system import System
from archsim.mapping.plan import Pipeline, Plan, Task, unrolled
from archsim.metrics.ledger import gaps_of
from archsim.metrics.timeline import Slice
from archsim.network.collectives import CollectiveFacts
from archsim.step.assemble import Fold, chip_rows, folds_of, link_scopes
from archsim.step.books import Accounts, link_books, total_books
from archsim.step.channel_tracks import group_slices, groups_of
from archsim.step.exchange import sends_of
from archsim.step.offload import offloaded
from archsim.step.stages import drained_runs
from archsim.step.written_out import Simulated, simulated

__all__ = ["in_turn_slices", "pipeline_slices", "step_slices"]

_HOST = ("host", "launch")
_NETWORK = "network"


def step_slices(whole: Plan, system: System) -> tuple[list[Slice], int]:
    """Return the slices of one iteration of *whole* on *system*, and its time in picoseconds.

    Chips that do the same share a group; amounts are of one chip, `chips` says of how many.
    """
    plan = unrolled(offloaded(whole, system))
    done = simulated(plan, system)
    iteration, works = done.iteration, done.works
    slices: list[Slice] = []
    alike = Counter(fold.rank for fold in folds_of(plan, works))
    shown = {fold.rank: fold for fold in reversed(folds_of(plan, works))}
    for rank in sorted(shown):
        slices += _chip_slices(done, shown[rank], chips=shown[rank].chips * alike[rank])
    slices += _link_slices(done)
    return slices, iteration.log.end[iteration.end]


def pipeline_slices(pipeline: Pipeline, system: System) -> tuple[list[Slice], int]:
    """Return the slices of one iteration of *pipeline*, filled and drained, and its time in picoseconds.

    A stage's runs have a track beside what happens inside of them, and so has what it hands on, which slows nothing
    else on its links (P4). Here weights are useful in every micro-batch, in the ledger once an iteration.
    """
    plans = {plan: step_slices(plan, system) for plan in dict.fromkeys(itertools.chain(*pipeline.stages))}
    runs = [[plans[plan][1] for plan in of_stage] for of_stage in pipeline.stages]
    sends = [[facts.duration_ps for facts in sends_of(pipeline, s, system)] for s in range(len(runs) - 1)]
    drain = drained_runs(runs, sends)
    slices: list[Slice] = []
    for stage, of_stage in enumerate(pipeline.stages):
        group = f"stage {stage}"
        parts = {each.track: each for plan in of_stage for each in plans[plan][0] if each.accounts}
        for number, plan in enumerate(of_stage):
            at = drain.starts[stage][number]
            slices.append(Slice(group, "micro-batches", f"micro-batch {number}", at, at + runs[stage][number]))
            slices += (_moved(each, at) for each in plans[plan][0] if each.group != _NETWORK)
            if stage < len(sends):
                begin = drain.sent[stage][number]
                name = f"micro-batch {number} to stage {stage + 1}"
                slices.append(Slice(group, "handover", name, begin, begin + sends[stage][number]))
        for track, each in parts.items():
            if each.group != _NETWORK:
                slices += _waits(drain.waits[stage], each.group, track, each.facts)
    return slices, drain.time_ps


def in_turn_slices(parts: Sequence[tuple[tuple[list[Slice], int], int]]) -> tuple[list[Slice], int]:
    """Return (slices, time) of *parts*, each (slices, time) and how often it runs, one after the other."""
    slices: list[Slice] = []
    at = 0
    for (rows, took_ps), times in parts:
        for _ in range(times):
            slices += (_moved(each, at) for each in rows)
            at += took_ps
    return slices, at


def _moved(each: Slice, by_ps: int) -> Slice:
    return replace(each, start_ps=each.start_ps + by_ps, end_ps=each.end_ps + by_ps)


def _chip_slices(done: Simulated, fold: Fold, *, chips: int) -> Iterator[Slice]:
    iteration, index = done.iteration, fold.rank
    log, rank = iteration.log, iteration.ranks[index]
    close = log.end[iteration.end]
    facts: dict[str, int | float | str] = {"chips": chips}
    yield from _operators(done, fold.name, index)
    booked = _booked(done, fold)
    for part, pipe in rank.scopes.items():
        if part not in {name for _, name in booked}:
            continue
        total: dict[int, int] = defaultdict(int)
        for job in pipe.jobs:
            total[log.lap[job]] += log.end[job] - log.start[job]
        rows: list[tuple[Slice, tuple[Task, ...], float]] = []
        for job in pipe.jobs:
            lap, start, end = log.lap[job], log.start[job], log.end[job]
            own = _lap_accounts(done, booked, part, lap=lap, rank=index)
            share = (end - start) / total[lap] if total[lap] else 0.0
            amounts = {account: share * amount for account, amount in own.items()}
            name = done.name(lap, index)
            served = Slice(fold.name, f"{fold.name}.{part}", name, start, end, amounts, facts)
            rows.append((served, done.tasks(lap, index), share))
        gaps = gaps_of(log, pipe.jobs, last=rank.last, close=close, rank=index)
        rows += ((wait, (), 0.0) for wait in _waits(gaps, fold.name, f"{fold.name}.{part}", facts))
        rows.sort(key=lambda row: (row[0].start_ps, row[0].end_ps))
        yield from (each for each, _, _ in rows)
        groups = groups_of(done.system, part)
        if groups is not None:
            yield from group_slices(rows, part, groups, works=done.works, system=done.system)


def _operators(done: Simulated, name: str, index: int) -> Iterator[Slice]:
    """Yield what the rank was at: its operators one after the other, and its host's tasks beside them."""
    log = done.iteration.log
    for job in range(1, len(log.end)):
        if log.rank[job] == index and log.kind[job] in _HOST and log.end[job] > log.start[job]:
            yield Slice(name, f"{name}.host", log.kind[job], log.start[job], log.end[job])
        if log.rank[job] == index and log.kind[job] == "issue":
            label = f"issue {done.name(log.lap[job], index)}"
            yield Slice(name, f"{name}.issue", label, log.start[job], log.end[job])
    at, ends = 0, done.ends(index)
    for lap in sorted(ends):
        if ends[lap] > at:
            yield Slice(name, f"{name}.operators", done.name(lap, index), at, ends[lap])
            at = ends[lap]


def _booked(done: Simulated, fold: Fold) -> dict[tuple[Task, str], Accounts]:
    """Return what one execution of each task books on each part of one chip."""
    return {
        (task, scope.name.removeprefix(f"{fold.name}.")): accounts
        for task, work in fold.works.items()
        for scope, _, accounts in chip_rows(
            done.works, Fold(fold.name, 1, fold.rank, Counter((task,)), {task: work}), done.system
        )
    }


def _lap_accounts(
    done: Simulated, booked: dict[tuple[Task, str], Accounts], part: str, *, lap: int, rank: int
) -> Accounts:
    return total_books((booked.get((task, part), {}), 1) for task in done.tasks(lap, rank))


def _waits(
    gaps: Iterable[tuple[str, int, int]], group: str, track: str, facts: Mapping[str, int | float | str]
) -> Iterator[Slice]:
    for account, start, end in gaps:
        if end > start:
            yield Slice(group, track, account, start, end, facts=facts, waiting=True)


def _link_slices(done: Simulated) -> Iterator[Slice]:
    """Yield the slices of links; those that carry the same at the same rate share a track."""
    iteration, log = done.iteration, done.iteration.log
    links = link_scopes(done.system)
    if not iteration.flows:
        return
    different: list[CollectiveFacts] = list(done.exchanges.values())
    alike: dict[tuple[float, ...], list[int]] = {}
    for index, scope in enumerate(links):
        key = (scope.peak_per_s, *(facts.link_bytes[index] for facts in different))
        alike.setdefault(key, []).append(index)
    total: dict[int, int] = defaultdict(int)
    for job in iteration.flows:
        total[log.lap[job]] += log.end[job] - log.start[job]
    close = log.end[iteration.end]
    gaps = gaps_of(log, iteration.flows, last=iteration.end, close=close, rank=-1)
    for (peak, *_), members in alike.items():
        first = links[members[0]].name
        track = f"{first} (+{len(members) - 1} alike)" if len(members) > 1 else first
        facts: dict[str, int | float | str] = {"links": len(members)}
        rows = []
        for job in iteration.flows:
            lap, start, end = log.lap[job], log.start[job], log.end[job]
            task = done.tasks(lap, 0)[-1]
            assert task.collective is not None  # noqa: S101 - a flow is a collective's, the last task of its lap
            own = link_books([(done.exchanges[task.collective], 1)], members[0], int(peak))
            share = (end - start) / total[lap] if total[lap] else 0.0
            amounts = {account: share * amount for account, amount in own.items()}
            rows.append(Slice(_NETWORK, track, task.name, start, end, amounts, facts))
        rows += _waits(gaps, _NETWORK, track, facts)
        yield from sorted(rows, key=lambda row: (row.start_ps, row.end_ps))
