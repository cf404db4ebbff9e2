"""Figures of run directories for papers: which there are, at the width of one or of two columns."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from archsim.errors import InputError, Problem
from archsim.files import write_atomically
from archsim.report import figures, style
from archsim.report.economics_figures import cost_stack
from archsim.report.html_input import ReportRun, read_run
from archsim.report.roofline_figure import roofline_figure
from archsim.report.run_tables import ledger_columns_of, request_columns_of
from archsim.result import Result, Tables

__all__ = ["KINDS", "WIDTHS_IN", "write_run_figure"]

WIDTHS_IN = {1: style.ONE_COLUMN_IN, 2: style.TWO_COLUMNS_IN}
"""Columns -> inches."""
KINDS: dict[str, Callable[..., Any]] = {
    "ledger": figures.ledger_bars,
    "bandwidth": figures.bandwidth_over_time,
    "latency": figures.latency_distributions,
    "cost": cost_stack,
    "roofline": roofline_figure,
}
"""Name -> what draws it."""


def write_run_figure(runs: Sequence[Path], kind: str, out: Path, *, columns: int) -> int:
    """Draw *kind*, a key of `KINDS`, of *runs* into *out*, as wide as so many *columns*, and return its bytes.

    Raises `InputError` where a run is none or lacks what the figure shows, *out* exists, or its ending is no format.
    """
    if out.exists() or out.is_symlink():
        raise InputError(Problem(str(out), "OUT", "", "a file that does not exist yet"))
    read = [read_run(run) for run in runs]
    drawn = _drawn(runs, read, kind, WIDTHS_IN[columns])
    content = style.figure_bytes(drawn, out.suffix, key="OUT")
    write_atomically(out, content)
    return len(content)


def _drawn(runs: Sequence[Path], read: Sequence[ReportRun], kind: str, width_in: float) -> Any:
    results = [run.result for run in read]
    if kind == "roofline":
        if len(read) > 1:
            raise InputError(
                Problem("", "roofline", f"{len(read)} runs", "one run: marks of several would lie on each other")
            )
        return roofline_figure(results[0], read[0].operators, width_in=width_in)
    if kind == "cost" and not any(result.cost for result in results):
        raise InputError(Problem("", "cost", "", "a run of a system whose silicon somebody has priced"))
    if kind in {"bandwidth", "latency"}:
        results = [_with_tables(run, one, kind) for run, one in zip(runs, read, strict=True)]
    return KINDS[kind](results, width_in=width_in)


def _with_tables(run: Path, read: ReportRun, kind: str) -> Result:
    """Return the result of *run* with the tables that *kind* is drawn from."""
    folder = run if run.is_dir() else run.parent
    if kind == "latency" and read.times is None:
        raise InputError(
            Problem(str(run), kind, "", "a replay with its requests.csv.gz: a single step has no latencies")
        )
    if kind == "bandwidth" and not read.windows:
        raise InputError(Problem(str(run), kind, "", "a run directory: result.json alone has no ledger over time"))
    requests = request_columns_of(folder / "requests.csv.gz") if kind == "latency" else None
    ledger = ledger_columns_of(folder / "ledger.csv.gz")
    return read.result.model_copy(update={"tables": Tables(lambda: ledger, "", requests)})
