"""An iteration simulated with a lap for each kernel, so that a job's lap names the operator that it is for.

That laps repeat is a way to simulate less (`simulate`); how they are cut changes no job.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from archsim.hardware.system import System
from archsim.mapping.plan import Plan, Task
from archsim.step.exchange import Exchanges, exchanges_of
from archsim.step.iteration import Iteration, Lap
from archsim.step.work import Work, landings_of, works_of

__all__ = ["Simulated", "simulated"]


@dataclass(frozen=True, slots=True)
class Simulated:
    """An iteration that has run, and what its laps were."""

    iteration: Iteration
    laps: list[Lap]
    works: dict[Task, Work]
    exchanges: Exchanges
    system: System

    def tasks(self, lap: int, rank: int) -> tuple[Task, ...]:
        """Return what *rank* does in *lap*."""
        return self.laps[lap].tasks(max(rank, 0))

    def name(self, lap: int, rank: int) -> str:
        """Return the operators of *lap*."""
        return " + ".join(dict.fromkeys(task.name for task in self.tasks(lap, rank))) or "nothing"

    def ends(self, rank: int) -> dict[int, int]:
        """Return lap -> when the last of its jobs on *rank*, or of an exchange, has ended."""
        log = self.iteration.log
        ends: dict[int, int] = {}
        for job in range(1, len(log.end)):
            if log.rank[job] in {rank, -1} and log.kind[job] != "issue":
                ends[log.lap[job]] = max(ends.get(log.lap[job], 0), log.end[job])
        return ends


def simulated(plan: Plan, system: System) -> Simulated:
    """Simulate *plan*, in which nothing repeats, with a lap for each kernel."""
    exchanges = exchanges_of(plan, system)
    works = works_of(plan, system) | landings_of(plan, exchanges, system)
    laps = _laps(plan, exchanges)
    iteration = Iteration(laps, works, exchanges, system, ranks=len(plan.simulated), sequences=plan.sequences)
    iteration.run()
    return Simulated(iteration, laps, works, exchanges, system)


def _laps(plan: Plan, exchanges: Exchanges) -> list[Lap]:
    """Return a lap for each kernel of the plan, and one for each collective that does not overlap a kernel."""
    by_rank = [plan.of_rank(rank) for rank in (plan.simulated if plan.others else (0,))]
    laps: list[Lap] = []
    for place in range(len(plan.segments)):
        blocks = [_blocks(segments[place].tasks) for segments in by_rank]
        for block in itertools.zip_longest(*blocks, fillvalue=()):
            laps += _block_laps(place, block, exchanges)
    return laps


def _blocks(tasks: Iterable[Task]) -> list[tuple[Task, ...]]:
    """Return *tasks* cut behind every collective."""
    blocks: list[list[Task]] = [[]]
    for task in tasks:
        blocks[-1].append(task)
        if task.collective is not None:
            blocks.append([])
    return [tuple(block) for block in blocks if block]


def _block_laps(place: int, block: tuple[tuple[Task, ...], ...], exchanges: Exchanges) -> Iterator[Lap]:
    """Yield the laps of *block*: for each rank its kernels up to the next collective, which it has last, if any."""
    last = next((tasks[-1] for tasks in block if tasks), None)
    collective = last.collective if last is not None else None
    if collective is not None and exchanges[collective].parts:
        # Its parts go out while the kernel before it runs: those two stay in one lap.
        cut = [(*((task,) for task in tasks[:-2]), tasks[-2:]) for tasks in block]
    else:
        cut = [tuple((task,) for task in tasks) for tasks in block]
    if collective is None:
        yield from (Lap(place, tasks) for tasks in itertools.zip_longest(*cut, fillvalue=()))
        return
    kernels = itertools.zip_longest(*(tasks[:-1] for tasks in cut), fillvalue=())
    yield from (Lap(place, tasks) for tasks in kernels)
    yield Lap(place, tuple(tasks[-1] for tasks in cut))
