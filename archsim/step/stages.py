"""When the stages of a pipeline run: micro-batches through stages and links, iteration after iteration.

Stage s starts micro-batch i when it has finished i - 1 and the activations of i have arrived; they are sent when stage
s - 1 has finished i and its link has sent i - 1. With m equal micro-batches, S equal stages of time t and transfers of
time x <= t:

  drained     an iteration ends on all stages before the next begins: (m + S - 1) t + (S - 1) x
  continuous  a micro-batch begins its next iteration as soon as its tokens are back at the first stage, whatever the
              others do: in the long run the larger of m t and S (t + x), where the way back counts as a transfer

Every job has its binding predecessor, so that what a stage waits for can be walked back: another stage's run is a
`bubble`, a transfer is `network`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from archsim.errors import SimulationError
from archsim.kernel import ROOT, JobLog
from archsim.metrics.ledger import CLASS_ACCOUNT, Stretch, walk

__all__ = ["DRAINED", "PIPELINES", "Drain", "Schedule", "drained_runs"]

DRAINED = "drained"
"""P2: the schedule unless another is asked for."""
Times = Sequence[Sequence[int]]
"""Stage -> micro-batch -> picoseconds."""

_MOST_ITERATIONS = 2048
_LONGEST_CYCLE = 12


@dataclass(frozen=True, slots=True)
class Schedule:
    """One iteration of a pipeline."""

    time_ps: int
    gaps: tuple[Counter[str], ...]
    """For each stage account -> picoseconds in which it did not run."""


class _Line:
    """Stages and links with what they did last."""

    def __init__(self, runs: Times, sends: Times) -> None:
        self.log = JobLog()
        self.stages: list[list[int]] = [[] for _ in runs]
        """For each stage its jobs in order."""
        self._runs, self._sends = runs, sends
        self.links: list[list[int]] = [[] for _ in sends]
        """For each link behind a stage its transfers in order."""
        self._back = [ROOT] * len(runs[0])
        """For each micro-batch the job that brought its tokens back to the first stage."""

    def iterate(self) -> None:
        """Let every micro-batch pass through all stages once more."""
        log, last = self.log, len(self._runs) - 1
        for number in range(len(self._runs[0])):
            arrived = self._back[number]
            for stage, times in enumerate(self._runs):
                before = self.stages[stage][-1] if self.stages[stage] else ROOT
                job = self._job("stage", log.latest(before, arrived), times[number])
                self.stages[stage].append(job)
                if stage < last or len(self._sends) > last:
                    sent = self.links[stage]
                    arrived = self._job("flow", log.latest(sent[-1] if sent else ROOT, job), self._sends[stage][number])
                    sent.append(arrived)
            self._back[number] = arrived

    def _job(self, kind: str, cause: int, duration_ps: int) -> int:
        start = self.log.end[cause]
        return self.log.add(kind, rank=-1, lap=0, start=start, end=start + duration_ps, predecessor=cause)

    def waits(self, stage: int, first: int) -> Iterator[Stretch]:
        """Yield whose fault the gaps before the jobs of *stage* from number *first* on are."""
        jobs = self.stages[stage]
        for number in range(first, len(jobs)):
            free = self.log.end[jobs[number - 1]] if number else 0
            yield from walk(self.log, jobs[number], until=free, rank=-1)


def drained(runs: Times, sends: Times) -> Schedule:
    """Fill the pipeline and let it run dry: the next iteration waits for the last stage's last micro-batch."""
    drain = drained_runs(runs, sends)
    return Schedule(drain.time_ps, tuple(map(_counted, drain.waits)))


@dataclass(frozen=True, slots=True)
class Drain:
    """When everything happens in a pipeline that fills and drains, in picoseconds."""

    time_ps: int
    starts: list[list[int]]
    """Stage -> micro-batch -> start of its run."""
    sent: list[list[int]]
    """Link behind a stage -> micro-batch -> start of its transfer."""
    waits: list[list[Stretch]]
    """Stage -> what it waited for while it did not run."""


def drained_runs(runs: Times, sends: Times) -> Drain:
    """Return when runs and transfers of a pipeline begin that fills and runs dry, and what stages wait for."""
    line = _Line(runs, sends[: len(runs) - 1])
    line.iterate()
    log, last = line.log, ROOT
    for jobs in line.stages:
        last = log.latest(last, jobs[-1])
    waits = []
    for stage, jobs in enumerate(line.stages):
        found = [*line.waits(stage, 0)]
        free = log.end[jobs[-1]]
        if free < log.end[last]:
            began = max(log.start[last], free)
            found += [(CLASS_ACCOUNT["stage"], began, log.end[last]), *walk(log, last, until=free, rank=-1)]
        waits.append(found)
    starts, sent = ([[log.start[job] for job in jobs] for jobs in rows] for rows in (line.stages, line.links))
    return Drain(log.end[last], starts, sent, waits)


def continuous(runs: Times, sends: Times) -> Schedule:
    """Keep the pipeline full: the mean of the iterations that repeat when micro-batches follow each other.

    Starts recur after one iteration or a few (a max-plus system has a cycle); over such a cycle time and gaps are those
    of one iteration on average, rounded up to a picosecond, which is lost to `bubble`. Raises `SimulationError` where
    nothing recurs within `_MOST_ITERATIONS`.
    """
    line, count = _Line(runs, sends), len(runs[0])
    line.iterate()
    for done in range(1, _MOST_ITERATIONS):
        line.iterate()
        for cycle in range(1, min(done, _LONGEST_CYCLE) + 1):
            shift = _recurrence(line, count, cycle)
            if shift is not None:
                period = -(-shift // cycle)
                gaps = [
                    _averaged(_counted(line.waits(stage, len(jobs) - cycle * count)), cycle, period - sum(runs[stage]))
                    for stage, jobs in enumerate(line.stages)
                ]
                return Schedule(period, tuple(gaps))
    raise SimulationError(f"a pipeline of {len(runs)} stages has no period within {_MOST_ITERATIONS} iterations")


def _recurrence(line: _Line, count: int, cycle: int) -> int | None:
    """Return by how much the last iteration is later than the one *cycle* before it, if all of it is by as much.

    Stages and links are all that carries over from an iteration to the next, so what recurs once recurs for ever.
    """
    start, shift = line.log.start, None
    for jobs in (*line.stages, *line.links):
        before = jobs[len(jobs) - (cycle + 1) * count : len(jobs) - cycle * count]
        for earlier, later in zip(before, jobs[-count:], strict=True):
            moved = start[later] - start[earlier]
            if shift is not None and moved != shift:
                return None
            shift = moved
    return shift


def _averaged(gaps: Counter[str], cycle: int, total: int) -> Counter[str]:
    """Return the gaps of one of *cycle* iterations; they add up to *total*."""
    mean = Counter({account: picoseconds // cycle for account, picoseconds in gaps.items()})
    mean["bubble"] += total - sum(mean.values())
    return +mean


def _counted(stretches: Sequence[Stretch] | Iterator[Stretch]) -> Counter[str]:
    found: Counter[str] = Counter()
    for account, start, end in stretches:
        found[account] += end - start
    return found


PIPELINES: dict[str, Callable[[Times, Times], Schedule]] = {DRAINED: drained, "continuous": continuous}
"""Schedules by the name that a run gives: (runs, sends) -> one iteration. The last row of sends is the way back."""
