"""Run directories: result.json, its tables, the resolved configuration and the figures, all or nothing.

Times in tables are seconds printed exactly to the picosecond. requests.csv.gz has the columns of a plain trace
(`arrival_s, prompt_tokens, output_tokens`) and can be replayed. A text cell that a spreadsheet would run as a formula
is quoted with an apostrophe.
"""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from archsim.errors import InputError, Problem
from archsim.files import write_atomically, write_gzip_atomically, written_directory
from archsim.metrics.accounts import ACCOUNTS
from archsim.metrics.operators import OperatorUse
from archsim.report import figures, style
from archsim.report.economics_figures import cost_stack
from archsim.report.interval_figure import throughput_bars
from archsim.report.roofline_figure import roofline_figure
from archsim.report.views import ranked
from archsim.result import LedgerColumns, RequestColumns, Result
from archsim.units import PS_PER_S

__all__ = ["check_folder_names", "comparison_json", "free_place", "write_comparison", "write_run"]

_REQUEST_HEADER = (
    "request,arrival_s,prompt_tokens,output_tokens,first_token_s,finish_s,preemptions,status,reason,origin"
)
_LEDGER_HEADER = "start_s,end_s,phase,scope,account,amount,unit,peak_per_s"
_OPERATORS_HEADER = "batch,context,operator,executions,time_s,part,unit,amount"
_SPENT_HEADER = ",joules,usd"
_SERIES_HEADER = "start_s,end_s,waiting,running,kv_blocks"
_FOLDER_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")


def free_place(stem: str, suffix: str = "") -> Path:
    """Return `STEM-N`, with *suffix*, in the working directory with the smallest N from 1 that nothing has."""
    number = 1
    while (path := Path(f"{stem}-{number}{suffix}")).exists() or path.is_symlink():
        number += 1
    return path


def write_run(result: Result, path: Path) -> None:
    """Write the run directory of *result* to *path*, which must not exist. The result must hold its tables."""
    with written_directory(path) as folder:
        _write_tables(result, folder)
        _write_figures([result], folder)


def write_comparison(results: Sequence[Result], path: Path) -> None:
    """Write comparison.json, the figures of all designs side by side and one run directory a system to *path*."""
    check_folder_names([result.system.name for result in results])
    with written_directory(path) as folder:
        write_atomically(folder / "comparison.json", comparison_json(results).encode())
        _write_figures(results, folder)
        for result in results:
            (folder / result.system.name).mkdir()
            _write_tables(result, folder / result.system.name)


def comparison_json(results: Sequence[Result]) -> str:
    """Return the JSON array of the results, best at saturation first."""
    return json.dumps([json.loads(result.to_json()) for result in ranked(results)], sort_keys=True, indent=2,
                      allow_nan=False, ensure_ascii=False) + "\n"  # fmt: skip


def check_folder_names(names: Sequence[str]) -> None:
    """Raise `InputError` unless the systems' *names* differ and each can be the name of a folder."""
    for name in names:
        if names.count(name) > 1 or not _FOLDER_NAME.fullmatch(name):
            raise InputError(Problem("", "system", name, "systems of different names that can be names of folders"))


def _write_tables(result: Result, folder: Path) -> None:
    if result.tables is None:
        raise ValueError(f"the result of {result.system.name} holds no tables")
    write_atomically(folder / "result.json", result.to_json().encode())
    write_atomically(folder / "config.resolved.toml", result.tables.resolved_toml.encode())
    write_gzip_atomically(folder / "ledger.csv.gz", _table(_LEDGER_HEADER, _ledger_rows(result.tables.ledger)))
    # Without rows where nobody asked for them: a directory that lacks a file is not whole.
    operators = _table(_OPERATORS_HEADER, _operator_rows(result.tables.operators))
    write_gzip_atomically(folder / "operators.csv.gz", operators)
    if result.tables.requests is not None:
        origin = "sampled" if result.provenance.sampled else "recorded"
        header, rows = _REQUEST_HEADER, _request_rows(result.tables.requests, origin)
        if result.tables.time_shares:
            header, rows = header + _SPENT_HEADER, _with_spent(rows, result)
        write_gzip_atomically(folder / "requests.csv.gz", _table(header, rows))
    if result.tables.series:
        write_gzip_atomically(folder / "series.csv.gz", _table(_SERIES_HEADER, _series_rows(result.tables.series)))


def _write_figures(results: Sequence[Result], folder: Path) -> None:
    drawn = {"ledger.svg": figures.ledger_bars(results), "bandwidth.svg": figures.bandwidth_over_time(results)}
    if all(result.tables is not None and result.tables.requests is not None for result in results):
        drawn["latency.svg"] = figures.latency_distributions(results)
    first = results[0].tables
    if len(results) == 1 and first is not None and any(use.flops and use.bytes for use in first.operators):
        drawn["roofline.svg"] = roofline_figure(results[0], first.operators)
    if any(result.cost is not None for result in results):
        drawn["cost.svg"] = cost_stack(results)
    if len(results) > 1 and any(result.uncertainty is not None for result in results):
        drawn["throughput.svg"] = throughput_bars(ranked(results))
    for name, figure in drawn.items():
        write_atomically(folder / name, style.svg_bytes(figure))


def _table(header: str, rows: Iterable[str]) -> bytes:
    return "\n".join([header, *rows, ""]).encode()


def _request_rows(columns: RequestColumns, origin: str) -> Iterable[str]:
    reasons = [_text_cell(reason) for reason in columns.rejections]
    table = zip(
        columns.arrival_ps.tolist(),
        columns.prompt_tokens.tolist(),
        columns.output_tokens.tolist(),
        columns.first_token_ps.tolist(),
        columns.finish_ps.tolist(),
        columns.preemptions.tolist(),
        columns.rejection.tolist(),
        strict=True,
    )
    for number, (arrival, prompt, output, first, finish, preempted, rejection) in enumerate(table):
        status = "rejected" if rejection else "completed"
        yield (
            f"{number},{_seconds(arrival)},{prompt},{output},{_seconds(first)},{_seconds(finish)},{preempted},"
            f"{status},{reasons[rejection]},{origin}"
        )


def _with_spent(rows: Iterable[str], result: Result) -> Iterator[str]:
    """Yield *rows* with the energy and the cost of each request, empty where nobody knows them."""
    tables, cost, tokens = result.tables, result.cost, result.tokens.output
    if tables is None:
        return
    usd = None if cost is None else cost.usd_per_million_output_tokens * tokens / 1e6
    for row, joules, share in zip(rows, tables.joules or itertools.repeat(None), tables.time_shares, strict=False):
        yield f"{row},{'' if joules is None else repr(joules)},{'' if usd is None else repr(usd * share)}"


def _series_rows(series: Iterable[tuple[int, int, float, float, float]]) -> Iterator[str]:
    for start_ps, length_ps, *levels in series:
        yield ",".join((_seconds(start_ps), _seconds(start_ps + length_ps), *map(repr, levels)))


def _ledger_rows(columns: LedgerColumns) -> Iterable[str]:
    scopes = [_text_cell(scope) for scope in columns.scopes]
    ends = [
        f"{unit.removesuffix('/s')},{peak!r}" for unit, peak in zip(columns.units, columns.peaks_per_s, strict=True)
    ]
    table = zip(
        columns.start_ps.tolist(),
        columns.end_ps.tolist(),
        columns.phase.tolist(),
        columns.scope.tolist(),
        columns.account.tolist(),
        columns.amount.tolist(),
        strict=True,
    )
    for start, end, phase, scope, account, amount in table:
        yield (
            f"{_seconds(start)},{_seconds(end)},{columns.phases[phase]},{scopes[scope]},{ACCOUNTS[account]},"
            f"{amount!r},{ends[scope]}"
        )


def _operator_rows(uses: Iterable[OperatorUse]) -> Iterator[str]:
    """Yield a line for each engine and level of each operator, and one for an operator that holds none."""
    for use in uses:
        head = f"{use.batch},{use.context},{_text_cell(use.operator)},{use.executions},{use.time_s!r}"
        parts = [f"{part},FLOP,{amount!r}" for part, amount in use.flops.items()]
        parts += [f"{part},B,{amount!r}" for part, amount in use.bytes.items()]
        for part in parts or [",,"]:
            yield f"{head},{part}"


def _seconds(picoseconds: int) -> str:
    """Return exact decimal seconds without trailing zeros; empty for -1, which stands for never."""
    if picoseconds < 0:
        return ""
    whole, rest = divmod(picoseconds, PS_PER_S)
    return f"{whole}.{rest:012d}".rstrip("0").rstrip(".")


def _text_cell(text: str) -> str:
    guarded = f"'{text}" if text.startswith(("=", "+", "-", "@", "\t", "\r")) else text
    quoted = guarded.replace('"', '""')
    return f'"{quoted}"' if any(mark in quoted for mark in ',"\n\r') else quoted
