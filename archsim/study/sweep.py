"""Runs the points of a study that are missing from its store."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass

from archsim.study.claims import Claims, Part
from archsim.study.execute import Executor
from archsim.study.store import Store
from archsim.study.study import Study

__all__ = ["Tally", "sweep"]


@dataclass(frozen=True, slots=True)
class Tally:
    """How far a sweep has come."""

    points: int
    """Of the study, or of its shard."""
    before: int
    """Rows of them that were there when this process began."""
    done: int = 0
    """Rows that this process has written, whatever became of them."""
    failed: int = 0
    """Of them, those that failed."""
    infeasible: int = 0
    """Of them, those not run because the system breaks a constraint."""
    elsewhere: int = 0
    """Points that other processes are working on."""
    wall_s: float = 0.0
    interrupted: bool = False

    @property
    def left(self) -> int:
        """Points without a row that nobody works on."""
        return self.points - self.before - self.done - self.elsewhere


Progress = Callable[[Tally], None]


def sweep(
    study: Study,
    store: Store,
    *,
    executor: Executor,
    part: Part,
    limit: int | None = None,
    progress: Progress | None = None,
) -> Tally:
    """Run at most *limit* points of *part* that *store* lacks, and write each as it finishes.

    An interrupt (Ctrl-C) ends it between two rows: what is finished is kept, points in flight are given back, and the
    tally says so. Raises `InputError` where the store cannot be written.
    """
    start = time.perf_counter()
    before = sum(len(store.known(block.start, block.stop).intersection(block)) for block in part.blocks())
    counts = {"done": 0, "failed": 0, "infeasible": 0}

    def tally(*, interrupted: bool = False, elsewhere: int = 0) -> Tally:
        return Tally(
            points=len(part),
            before=before,
            done=sum(counts.values()),
            failed=counts["failed"],
            infeasible=counts["infeasible"],
            elsewhere=elsewhere,
            wall_s=time.perf_counter() - start,
            interrupted=interrupted,
        )

    with Claims(store) as claims:
        try:
            with closing(executor(study.cases(claims.points(part, most=limit)))) as outcomes:
                for outcome in outcomes:
                    store.write(outcome)
                    counts[outcome.status] += 1
                    if progress is not None:
                        progress(tally())
        except KeyboardInterrupt:
            return tally(interrupted=True)
        return tally(elsewhere=claims.others(part))
