"""`--parallel auto`: ask for the search, show what it compared, and hand on what it chose."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from archsim.hardware.pools import Design
    from archsim.workload.closed_loop import ClosedLoop
    from archsim.workload.decode_trace import DecodeTrace
    from archsim.workload.model import Model
    from archsim.workload.stream import Stream
    from archsim.workload.trace import Trace

__all__ = ["AUTO", "chosen"]

AUTO = "auto"


def chosen(
    design: Design,
    model: Model,
    *,
    precision: str | None,
    of: Trace | Stream | ClosedLoop | DecodeTrace | tuple[int, int],
    stderr: bool,
) -> str:
    """Return the fastest parallelism for *of*, traffic or a batch and its context, and print what it was chosen from.

    The table goes to standard output, or to *stderr* where the output is JSON.
    """
    from archsim.cli.options import progress_bar
    from archsim.errors import InputError, Problem
    from archsim.hardware.spec import SystemSpec
    from archsim.report import table
    from archsim.report.ways import ways_table
    from archsim.single import SEARCH_BATCH, search_parallelism
    from archsim.workload.statistics import mean_context

    if not isinstance(design, SystemSpec):
        first = next(iter(design.pools))
        raise InputError(Problem(design.name, "--parallel", AUTO, f"each pool's own: --set {first}.parallel=tp=4"))
    batch, context = of if isinstance(of, tuple) else (SEARCH_BATCH, mean_context(of))
    with progress_bar(design.name) as progress:
        trials = search_parallelism(design, model, batch=batch, context=context, precision=precision, progress=progress)
    screen = table.console(stderr=stderr)
    screen.print(f"{design.name}: one decode step of {batch} sequences of {context:,} tokens", ways_table(trials), "",
                 sep="\n")  # fmt: skip
    return trials[0].parallelism
