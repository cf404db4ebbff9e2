"""Executors: functions that turn cases into outcomes, in this process or in others of this machine.

An executor takes an iterator of cases, draws from it only what it can begin on, and yields outcomes as they finish, in
any order. Closing it ends what it started. `archsim.study.cluster` has one for many machines.

Local processes are spawned, so that they inherit no lock, and each has a pipe of its own: one that dies takes nothing
with it. Its cases are given to another; a case that has cost `_DEATHS` processes has failed. A worker ends with its
parent, whose end of the pipe closes, and leaves an interrupt to the parent.
"""

from __future__ import annotations

import gc
import os
import signal
from collections import Counter, deque
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, field
from multiprocessing import get_context, resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess

from archsim.study.cases import Case, Outcome
from archsim.study.evaluate import Evaluator

__all__ = ["Executor", "all_cores", "in_process", "lost", "on_processes"]

Executor = Callable[[Iterator[Case | None]], Generator[Outcome, None, None]]
"""A case that is None means: none at the moment, ask again when an outcome was taken."""

_AHEAD = 4
"""Cases that a worker holds: it finds the next one there when it has sent an outcome."""
_DEATHS = 2
_PATIENCE_S = 2.0


def all_cores() -> int:
    """Return the cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def in_process(cases: Iterator[Case | None]) -> Generator[Outcome, None, None]:
    """Evaluate *cases* here, one after the other."""
    evaluator = Evaluator()
    for case in filter(None, cases):
        yield evaluator.evaluate(case)


def lost(case: Case, why: str) -> Outcome:
    """Return the outcome of a case that could not be brought to an end."""
    return Outcome(case.point, case.inputs, "failed", {}, why, {}, 0.0)


@dataclass(slots=True)
class _Worker:
    """A process and the cases that it holds, in the order in which it works on them."""

    process: SpawnProcess
    pipe: Connection
    held: deque[Case] = field(default_factory=deque)


def on_processes(cases: Iterator[Case | None], *, workers: int) -> Generator[Outcome, None, None]:
    """Evaluate *cases* on *workers* processes of this machine."""
    pool = _Pool(workers)
    try:
        yield from pool.run(cases)
    finally:
        pool.close()


class _Pool:
    """The processes of one sweep."""

    def __init__(self, workers: int) -> None:
        self._workers = [_spawned() for _ in range(workers)]
        self._again: deque[Case] = deque()
        self._deaths: Counter[int] = Counter()

    def run(self, cases: Iterator[Case | None]) -> Generator[Outcome, None, None]:
        """Yield the outcome of each of *cases*."""
        more = True
        while True:
            more = self._fill(cases) and more
            busy = {worker.pipe: worker for worker in self._workers if worker.held}
            if not busy:
                if more or self._again:
                    continue
                return
            for pipe in wait(list(busy)):
                yield from self._heard(busy[pipe])  # type: ignore[index]  # only connections are waited for

    def _fill(self, cases: Iterator[Case | None]) -> bool:
        """Give every worker a case, then every one another; return whether there may be more."""
        for depth in range(1, _AHEAD + 1):
            for worker in list(self._workers):
                if len(worker.held) >= depth:
                    continue
                try:
                    case = self._again.popleft() if self._again else next(cases)
                except StopIteration:
                    return False
                if case is None:
                    return True
                worker.held.append(case)
                try:
                    worker.pipe.send(case)
                except OSError:
                    self._bury(worker, blamed=False)
        return True

    def _heard(self, worker: _Worker) -> Generator[Outcome, None, None]:
        try:
            outcome: Outcome = worker.pipe.recv()
        except (EOFError, OSError):
            failed = self._bury(worker, blamed=True)
            if failed is not None:
                why = f"the process that worked on it ended {_DEATHS} times (killed, or out of memory)"
                yield lost(failed, why)
            return
        worker.held.popleft()
        yield outcome

    def _bury(self, worker: _Worker, *, blamed: bool) -> Case | None:
        """Put a new process in the place of *worker*; return the case that has now cost too many."""
        _ended(worker)
        self._workers[self._workers.index(worker)] = _spawned()
        failed = None
        if blamed and worker.held:
            first = worker.held[0]
            self._deaths[first.point] += 1
            if self._deaths[first.point] >= _DEATHS:
                failed = worker.held.popleft()
        self._again.extend(worker.held)
        return failed

    def close(self) -> None:
        """End every process, whatever it is at."""
        for worker in self._workers:
            worker.process.terminate()
        for worker in self._workers:
            _ended(worker)


def _ended(worker: _Worker) -> None:
    worker.pipe.close()
    worker.process.terminate()
    worker.process.join(_PATIENCE_S)
    if worker.process.is_alive():
        worker.process.kill()
        worker.process.join()
    worker.process.close()


def _spawned() -> _Worker:
    ours, theirs = get_context("spawn").Pipe()
    process = get_context("spawn").Process(target=_serve, args=(theirs,), daemon=True)
    # The tracker that the first start would bring up lets interrupts through again once it is there.
    resource_tracker.ensure_running()
    # Blocked for good in the child, which inherits it; here it waits until the child is there.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        process.start()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    theirs.close()
    return _Worker(process, ours)


def _serve(pipe: Connection) -> None:
    """Answer cases until the pipe closes."""
    evaluator = Evaluator()
    # What was imported stays: no collection of garbage need look through it again.
    gc.freeze()
    while True:
        try:
            pipe.send(evaluator.evaluate(pipe.recv()))
        except (EOFError, OSError):
            return
