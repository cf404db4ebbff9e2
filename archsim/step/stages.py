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

__all__ = ["DRAINED", "PIPELINES", "Schedule"]

DRAINED = "drained"
"""P2: the schedule unless another is asked for."""
Times = Sequence[Sequence[int]]
"""Stage -> micro-batch -> picoseconds."""

_MOST_ITERATIONS = 256


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
        self._links = [ROOT] * len(sends)
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
                    arrived = self._job("flow", log.latest(self._links[stage], job), self._sends[stage][number])
                    self._links[stage] = arrived
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
    line = _Line(runs, sends[: len(runs) - 1])
    line.iterate()
    log, last = line.log, ROOT
    for jobs in line.stages:
        last = log.latest(last, jobs[-1])
    gaps = []
    for stage, jobs in enumerate(line.stages):
        found = [*line.waits(stage, 0)]
        if jobs[-1] != last and log.end[jobs[-1]] < log.end[last]:
            free = log.end[jobs[-1]]
            began = max(log.start[last], free)
            found += [(CLASS_ACCOUNT["stage"], began, log.end[last]), *walk(log, last, until=free, rank=-1)]
        gaps.append(_counted(found))
    return Schedule(log.end[last], tuple(gaps))


def continuous(runs: Times, sends: Times) -> Schedule:
    """Keep the pipeline full: the period of iterations that follow each other micro-batch by micro-batch."""
    line, count = _Line(runs, sends), len(runs[0])
    line.iterate()
    for _ in range(_MOST_ITERATIONS):
        line.iterate()
        starts = [[line.log.start[job] for job in jobs[-2 * count :]] for jobs in line.stages]
        shifts = {
            after - before for of_stage in starts for before, after in zip(of_stage, of_stage[count:], strict=False)
        }
        if len(shifts) == 1:
            period = shifts.pop()
            return Schedule(
                period, tuple(_counted(line.waits(stage, len(jobs) - count)) for stage, jobs in enumerate(line.stages))
            )
    raise SimulationError(f"a pipeline of {len(runs)} stages has no period within {_MOST_ITERATIONS} iterations")


def _counted(stretches: Sequence[Stretch] | Iterator[Stretch]) -> Counter[str]:
    found: Counter[str] = Counter()
    for account, start, end in stretches:
        found[account] += end - start
    return found


PIPELINES: dict[str, Callable[[Times, Times], Schedule]] = {DRAINED: drained, "continuous": continuous}
"""Schedules by the name that a run gives: (runs, sends) -> one iteration. The last row of sends is the way back."""
