"""What each operator of an iteration takes: time, arithmetic, and bytes at every level.

The iteration is simulated with a lap for each kernel (`written_out`), at most three of equal layers, the last of which
stands for the rest. Arithmetic and bytes are those of `books`, in every layer the same; an operator's time runs from
the end of the one before it to its own, so that times sum to the iteration, but for layers whose time still changes
after the third.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from archsim.hardware.system import System
from archsim.mapping.plan import Pipeline, Plan, Segment, Task, unrolled
from archsim.metrics.accounts import GROUPS, USEFUL
from archsim.step.assemble import Fold, chip_rows, folds_of
from archsim.step.offload import offloaded
from archsim.step.written_out import Simulated, simulated

__all__ = ["HOST", "Operator", "operators_of_pipeline", "operators_of_plan"]

HOST = "host"
"""Name of the row for the host's own work before the iteration (A16)."""
_LAYERS = 3
"""Layers alike that are simulated: after one or two the overlap of neighbours repeats."""
_MOVED = (*USEFUL, *GROUPS["moved"])


@dataclass(slots=True)
class Operator:
    """One operator, all its executions together."""

    executions: int = 0
    """On one chip of the kind that has most."""
    chip_ps: int = 0
    """Time, summed over chips."""
    flops: dict[str, float] = field(default_factory=dict)
    """Engine -> useful FLOPs of all chips."""
    bytes: dict[str, float] = field(default_factory=dict)
    """Level -> bytes moved, of all chips."""

    def add(self, other: Operator, times: int = 1) -> None:
        """Add *other*, *times* over."""
        self.executions += times * other.executions
        self.chip_ps += times * other.chip_ps
        for own, more in ((self.flops, other.flops), (self.bytes, other.bytes)):
            for part, amount in more.items():
                own[part] = own.get(part, 0.0) + times * amount


def operators_of_plan(whole: Plan, system: System) -> dict[str, Operator]:
    """Return name -> operator of one iteration of *whole* on *system*, in the order of their first executions."""
    plan = offloaded(whole, system)
    repeats = [times for segment in plan.segments for times in _times(segment)]
    few = unrolled(replace(plan, segments=_few(plan.segments), others=tuple(map(_few, plan.others))))
    done = simulated(few, system)
    folds = folds_of(few, done.works)
    alike = Counter(fold.rank for fold in folds)
    found: dict[str, Operator] = {}
    for fold in {fold.rank: fold for fold in reversed(folds)}.values():
        _add(found, done, replace(fold, chips=fold.chips * alike[fold.rank]), repeats)
    return found


def operators_of_pipeline(pipeline: Pipeline, system: System) -> dict[str, Operator]:
    """Return the operators of every stage and micro-batch together."""
    found: dict[str, Operator] = {}
    known: dict[Plan, dict[str, Operator]] = {}
    for plan in (plan for stage in pipeline.stages for plan in stage):
        if plan not in known:
            known[plan] = operators_of_plan(plan, system)
        for name, one in known[plan].items():
            found.setdefault(name, Operator()).add(one)
    return found


def _few(segments: tuple[Segment, ...]) -> tuple[Segment, ...]:
    return tuple(replace(segment, repeats=min(segment.repeats, _LAYERS)) for segment in segments)


def _times(segment: Segment) -> Iterator[int]:
    """Yield how many layers each simulated one of *segment* stands for."""
    few = min(segment.repeats, _LAYERS)
    yield from (1 for _ in range(few - 1))
    if few:
        yield segment.repeats - few + 1


def _add(found: dict[str, Operator], done: Simulated, fold: Fold, repeats: list[int]) -> None:
    ends = done.ends(fold.rank)
    log = done.iteration.log
    hosts = (log.end[job] for job in range(1, len(log.end)) if log.kind[job] == HOST and log.rank[job] == fold.rank)
    at = max(hosts, default=0)
    if at:
        found.setdefault(HOST, Operator(executions=1)).chip_ps += fold.chips * at
    counts: dict[str, int] = {}
    for lap in range(len(done.laps)):
        times, tasks, name = repeats[done.laps[lap].segment], done.tasks(lap, fold.rank), done.name(lap, fold.rank)
        if not tasks:
            continue
        one = found.setdefault(name, Operator())
        counts[name] = counts.get(name, 0) + times
        if ends.get(lap, 0) > at:
            one.chip_ps += fold.chips * times * (ends[lap] - at)
            at = ends[lap]
        for task in tasks:
            _serve(one, done, task, fold, times)
    for name, count in counts.items():
        found[name].executions = max(found[name].executions, count)


def _serve(one: Operator, done: Simulated, task: Task, fold: Fold, times: int) -> None:
    """Book *times* executions of *task* on all chips of *fold*."""
    work = done.works.get(task)
    if work is None:  # an exchange without a buffer in memory
        return
    alone = Fold(fold.name, fold.chips, fold.rank, Counter({task: times}), {task: work})
    for scope, (_, part), accounts in chip_rows(done.works, alone, done.system):
        if scope.unit == "bytes":
            if moved := sum(accounts.get(account, 0.0) for account in _MOVED):
                one.bytes[part] = one.bytes.get(part, 0.0) + moved
        elif useful := accounts.get("useful", 0.0):
            one.flops[part] = one.flops.get(part, 0.0) + useful
