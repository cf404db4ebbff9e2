"""Simulate a plan exactly, without simulating the same thing twice.

Two repetitions are exploited, and both are proved against the long way in the tests, tick for tick. Identical ranks
fold: one chip of each kind is simulated and its books stand for all. A segment that repeats is simulated until
successive laps have the same jobs at the same offsets, reads for later laps included; then every further lap adds the
same period and the same gaps. Integer time makes that comparison exact. A host that issues tasks ahead of the chip runs
through laps of its own: either its lead repeats too, or nothing from the lap on to the end waits for it and it gains on
the chip with every lap.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable
from dataclasses import replace

from archsim.hardware.system import System
from archsim.mapping.plan import Plan, Task
from archsim.metrics.ledger import gaps_of
from archsim.step.assemble import Gaps, Timeline, assemble, link_scopes
from archsim.step.exchange import Exchanges, exchanges_of
from archsim.step.iteration import Iteration, Lap
from archsim.step.offload import offloaded
from archsim.step.record import StepRecord
from archsim.step.work import Work, landings_of, works_of

__all__ = ["simulate_step", "simulate_steps"]

FIRST_LAPS = 2
"""The fewest laps that can show a period."""


def simulate_step(plan: Plan, system: System) -> StepRecord:
    """Return time and ledger of one iteration of *plan* on *system*.

    Raises `SimulationError` if the books of any scope do not balance to 1e-9.
    """
    return simulate_steps((plan,), system)[plan]


def simulate_steps(plans: Iterable[Plan], system: System) -> dict[Plan, StepRecord]:
    """Return what `simulate_step` does for each of *plans*.

    Plans that differ in their chips alone, and whose collectives take equally long there, have one timeline.
    """
    records: dict[Plan, StepRecord] = {}
    timelines: dict[tuple[Plan, tuple[tuple[int, ...], ...]], Timeline] = {}
    links = link_scopes(system)
    for whole in dict.fromkeys(plans):
        plan = offloaded(whole, system)
        exchanges = exchanges_of(plan, system)
        works = works_of(plan, system) | landings_of(plan, exchanges, system)
        spans = tuple((facts.duration_ps, *(part.duration_ps for part in facts.parts)) for facts in exchanges.values())
        alike = (replace(plan, placed=()), spans)
        if alike not in timelines:
            timelines[alike] = _timeline(plan, works, exchanges, system)
        records[whole] = assemble(plan, works, exchanges, system, timeline=timelines[alike], links=links)
    return records


def _timeline(plan: Plan, works: dict[Task, Work], exchanges: Exchanges, system: System) -> Timeline:
    ranks = plan.simulated
    by_rank = [plan.of_rank(rank) for rank in (ranks if plan.others else (0,))]
    longest = max(segment.repeats for segment in plan.segments)
    limit = FIRST_LAPS
    while True:
        shown = [min(limit, segment.repeats) for segment in plan.segments]
        laps = [
            Lap(place, tuple(segments[place].tasks for segments in by_rank))
            for place, count in enumerate(shown)
            for _ in range(count)
        ]
        iteration = Iteration(laps, works, exchanges, system, ranks=len(ranks), sequences=plan.sequences)
        iteration.run()
        by_lap = _gaps_by_lap(iteration)
        extra = _extra_laps(plan, shown, iteration, by_lap)
        if extra is not None:
            return _extrapolated(iteration, by_lap, extra)
        if limit >= longest:
            raise AssertionError("a plan simulated in full has no laps to add")
        limit *= 2


def _gaps_by_lap(iteration: Iteration) -> list[Gaps]:
    """Return for each lap the gaps that lie in it; a gap across several laps is cut at their starts."""
    by_lap: list[Gaps] = [{} for _ in iteration.lap_start]
    pipes = [((-1, "network"), iteration.flows, iteration.end)]
    for rank in iteration.ranks:
        pipes += [((rank.index, name), pipe.jobs, rank.last) for name, pipe in rank.scopes.items()]
    close = iteration.log.end[iteration.end]
    # Before the first lap there is only the host's own work, which belongs to the first.
    borders = [0, *iteration.lap_start[1:], close]
    for place, busy, last in pipes:
        mine: list[Counter[str]] = [Counter() for _ in by_lap]
        lap = 0
        for account, start, end in gaps_of(iteration.log, busy, last=last, close=close, rank=place[0]):
            if not borders[lap] <= start < borders[lap + 1]:
                lap = bisect_right(borders, start) - 1
            if end <= borders[lap + 1]:
                mine[lap][account] += end - start
                continue
            at = start
            while at < end:
                stop = min(end, borders[lap + 1])
                mine[lap][account] += stop - at
                lap, at = lap + 1, stop
        for gaps, accounts in zip(by_lap, mine, strict=True):
            gaps[place] = accounts
    return by_lap


def _extra_laps(
    plan: Plan, shown: list[int], iteration: Iteration, by_lap: list[Gaps]
) -> dict[int, tuple[int, int]] | None:
    """Return lap -> (how often it is to be added, its period), or None if a segment shows no period yet."""
    repeated = [segment.repeats > count for segment, count in zip(plan.segments, shown, strict=True)]
    wanted = [more for more, count in zip(repeated, shown, strict=True) for _ in range(count)]
    shapes = _shapes(iteration, by_lap, wanted)
    extra: dict[int, tuple[int, int]] = {}
    first = 0
    for segment, count in zip(plan.segments, shown, strict=True):
        if segment.repeats > count:
            equal = iteration.read_ahead_laps + 2
            lap = _repeating(shapes, first, first + count, equal=equal)
            if lap is None or not _host_keeps_up(iteration, lap, equal=equal):
                return None
            extra[lap] = (segment.repeats - count, iteration.lap_start[lap + 1] - iteration.lap_start[lap])
        first += count
    return extra


def _host_keeps_up(iteration: Iteration, lap: int, *, equal: int) -> bool:
    """Return whether the host may be left out of further laps: its lead repeats, or will never matter again."""
    starts, issued = iteration.lap_start, iteration.issued_ps
    leads = [[[at - starts[other] for at in of_rank] for of_rank in issued[other]] for other in range(lap, lap + equal)]
    if all(lead == leads[0] for lead in leads):
        return True
    gains = all(last[0] <= before[0] for last, before in zip(leads[-1], leads[-2], strict=True))
    return gains and iteration.last_host_wait < lap


def _shapes(iteration: Iteration, by_lap: list[Gaps], wanted: list[bool]) -> list[tuple[object, ...]]:
    """Return for each *wanted* lap everything that happened on the chips in it, relative to its start.

    Ranks that are ready at one instant come in any order: the jobs of a lap are a set with counts.
    """
    log, starts = iteration.log, iteration.lap_start
    jobs: list[list[tuple[str, int, int, int]]] = [[] for _ in starts]
    columns = zip(log.lap, log.kind, log.rank, log.start, log.end, strict=True)
    next(columns)  # the root is no job
    for lap, kind, rank, start, end in columns:
        if wanted[lap] and kind != "issue":
            jobs[lap].append((kind, rank, start - starts[lap], end - starts[lap]))
    ends = [*starts[1:], log.end[iteration.end]]
    return [
        (end - start, tuple(sorted(done)), tuple((place, tuple(sorted(gap.items()))) for place, gap in gaps.items()))
        for start, end, done, gaps in zip(starts, ends, jobs, by_lap, strict=True)
    ]


def _repeating(shapes: list[tuple[object, ...]], first: int, stop: int, *, equal: int) -> int | None:
    """Return the first of *equal* successive laps of one shape in [first, stop), or None."""
    for lap in range(first, stop - equal + 1):
        if all(shapes[other] == shapes[lap] for other in range(lap + 1, lap + equal)):
            return lap
    return None


def _extrapolated(iteration: Iteration, by_lap: list[Gaps], extra: dict[int, tuple[int, int]]) -> Timeline:
    time_ps = iteration.log.end[iteration.end] + sum(count * period for count, period in extra.values())
    total: Gaps = {}
    for lap, gaps in enumerate(by_lap):
        times = 1 + extra.get(lap, (0, 0))[0]
        for place, accounts in gaps.items():
            into = total.setdefault(place, Counter())
            for account, picoseconds in accounts.items():
                into[account] += times * picoseconds
    return Timeline(time_ps, total, iteration.kernel.event_count)
