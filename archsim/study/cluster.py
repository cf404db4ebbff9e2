"""The executor for many machines: the workers of a dask scheduler, whoever started them.

Cases are submitted as they are wanted, twice as many as the cluster has threads, and outcomes are taken as they come. A
worker that dies takes nothing with it: the scheduler gives its cases to others, and only this process writes rows, one
a point. Every worker needs archsim and the files that the study names at the same paths.

A case that kills its workers is given up by the scheduler (`allowed-failures`, 3 by default) and has failed.
"""

from __future__ import annotations

import importlib
from collections.abc import Generator, Iterator
from itertools import count
from typing import Any

from archsim.errors import InputError, Problem
from archsim.study.cases import Case, Outcome
from archsim.study.evaluate import evaluate_here
from archsim.study.execute import lost

__all__ = ["on_cluster"]

_AHEAD = 2
"""Cases in flight for each thread of the cluster."""
_COUNTED = 50
"""Outcomes after which the cluster's threads are counted again: workers come and go."""
_TIMEOUT_S = 10


def on_cluster(cases: Iterator[Case | None], *, address: str) -> Generator[Outcome, None, None]:
    """Evaluate *cases* on the workers of the scheduler at *address* (`tcp://host:8786`).

    Raises `InputError` where there is none, and without the extra `cluster`.
    """
    distributed = _distributed(address)
    try:
        client = distributed.Client(address, timeout=_TIMEOUT_S, set_as_default=False)
    except (OSError, ValueError, TimeoutError) as error:
        expected = f"the address of a dask scheduler that answers ({str(error)[:120]})"
        raise InputError(Problem("", "--cluster", address, expected)) from None
    with client:
        yield from _outcomes(cases, client, distributed)


def _outcomes(cases: Iterator[Case | None], client: Any, distributed: Any) -> Generator[Outcome, None, None]:
    running: dict[Any, Case] = {}
    finished = distributed.as_completed(loop=client.loop)

    def submit(case: Case) -> None:
        # Not pure: a point of the same inputs in another sweep is another task.
        future = client.submit(evaluate_here, case, pure=False)
        running[future] = case
        finished.add(future)

    for turn in count():
        if turn % _COUNTED == 0:
            most = max(_AHEAD, _AHEAD * sum(client.nthreads().values()))
        while len(running) < most and (wanted := next(cases, None)) is not None:
            submit(wanted)
        if not running:
            # Nothing is at work, so a source that has more has it now.
            if (wanted := next(cases, None)) is None:
                return
            submit(wanted)
        future = next(finished)
        case = running.pop(future)
        error = future.exception()
        yield future.result() if error is None else lost(case, f"the cluster gave it up: {error}")
        future.release()


def _distributed(address: str) -> Any:
    try:
        return importlib.import_module("distributed")
    except ImportError:
        expected = "the extra `cluster` (pip install 'archsim[cluster]'), which talks to dask"
        raise InputError(Problem("", "--cluster", address, expected)) from None
