"""`archsim whatif`: one change to a finished run, ledger by ledger."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from archsim.cli.groups import EconomicsOptions, LayoutOptions, economics_options, layout_options
from archsim.cli.options import json_option, priced

if TYPE_CHECKING:
    from archsim.report.study_text import Change
    from archsim.result import Result
    from archsim.study.whatif import LedgerChange

__all__ = ["command"]

_SHOWN = 4


@click.command("whatif")
@click.argument("run", type=click.Path(path_type=Path))
@layout_options
@click.option("--model-file", metavar="FILE", help="Where the model lies, if it is not bundled.")
@click.option("--trace-file", metavar="FILE", help="Where the trace lies, if it is not bundled.")
@click.option("--all", "every", is_flag=True, help="Print the ledger of every memory, engine and link.")
@click.option("--figure", metavar="FILE", type=click.Path(path_type=Path), help="Draw both ledgers into this .svg.")
@economics_options
@json_option
def command(  # one parameter an option
    *,
    run: Path,
    layout: LayoutOptions,
    model_file: str | None,
    trace_file: str | None,
    every: bool,
    figure: Path | None,
    economics: EconomicsOptions,
    as_json: bool,
) -> None:
    """Ask a RUN (a directory or result.json of `archsim run`) again with something changed.

    Shows what changed in each ledger: the differences of its accounts add up to the difference in time. Costs of both
    are by the prices of the run, or by those that are given.

    Example: archsim whatif result.json --set chip.memory.hbm.round_trip="400 ns"
    """
    from archsim.files import refuse_existing, write_atomically
    from archsim.study.whatif import asked_of, changed, ledger_changes, load_run, prices_of, system_of

    precision, parallel, overrides = layout
    if not overrides and precision is None and parallel is None:
        raise click.UsageError("nothing is changed: give --set, --precision or --parallel")
    if figure is not None:
        refuse_existing(figure)
    before = load_run(run)
    asked = asked_of(before, run)
    prices, spec = economics.prices(), system_of(before, asked, run, overrides)
    if prices is None:
        prices = prices_of(before, run)
    else:
        before = priced(before, system_of(before, asked, run, ()), prices)
    after = changed(before, asked, spec, precision=precision, parallel=parallel, model_file=model_file,
                    trace_file=trace_file)  # fmt: skip
    after = priced(after, spec, prices)
    changes = ledger_changes(before, after)
    words = " ".join((*overrides, *(f"{n} {v}" for n, v in (("precision", precision), ("parallel", parallel)) if v)))
    if as_json:
        _print_json(before, after, changes)
    else:
        _print(before, after, changes if every else changes[:1], change=words)
    if figure is not None:
        from archsim.report.change_figures import ledger_before_after
        from archsim.report.style import svg_bytes

        scopes = [(c.scope, c.before_s, c.after_s) for c in changes if "-" not in c.scope][:_SHOWN]
        title = f"{before.system.name}, {before.model.name}: {words}"
        write_atomically(figure, svg_bytes(ledger_before_after(scopes, title=title, per=_per(before))))


def _per(result: Result) -> str:
    return "output token" if result.requests.offered else "iteration"


def _print(before: Result, after: Result, changes: Sequence[LedgerChange], *, change: str) -> None:
    from archsim.report import table
    from archsim.report.study_text import changed_metrics, ledger_table

    screen = table.console()
    screen.print(f"{before.system.name}, {before.model.name} {before.model.precision}: {change}", markup=False)
    rows = _changes(before, after)
    screen.print(changed_metrics(rows) if rows else "no metric changes")
    if any(row.before.bar or row.after.bar for row in rows):
        screen.print("in brackets: 80 % interval; both sides share the errors of one machine, so intervals that overlap"
                     " say little against the change")  # fmt: skip
    for name, side in (("before", before), ("after", after)):
        if side.uncertainty and side.uncertainty.extrapolated:
            screen.print(f"x: {name} is extrapolated, {', '.join(side.uncertainty.extrapolated)}", markup=False)
    for ledger in changes:
        accounts = [(name, ledger.before_s.get(name, 0.0), ledger.after_s.get(name, 0.0)) for name in ledger.accounts]
        screen.print("", f"{ledger.scope}: decode time per {_per(before)}, by account of its ledger",
                     ledger_table(accounts, ledger.total_s), sep="\n")  # fmt: skip


def _changes(before: Result, after: Result) -> list[Change]:
    """Return the metrics of the result that changed; those that say how certain others are stand beside these."""
    from archsim.cli.studies import barred
    from archsim.report.study_text import Change
    from archsim.study.bars import is_uncertainty
    from archsim.study.metrics import METRICS

    shown = {name: metric for name, metric in METRICS.items() if metric.of_result is not None}
    old, new = ({name: m.of_result(side) for name, m in shown.items() if m.of_result} for side in (before, after))
    return [
        Change(metric.title, metric.unit, barred(name, old), barred(name, new))
        for name, metric in shown.items()
        if not is_uncertainty(name) and old[name] is not None and new[name] is not None and old[name] != new[name]
    ]


def _print_json(before: Result, after: Result, changes: Sequence[LedgerChange]) -> None:
    import json

    from archsim.study.metrics import METRICS

    metrics: dict[str, Any] = {
        name: {"before": metric.of_result(before), "after": metric.of_result(after)}
        for name, metric in METRICS.items()
        if metric.of_result is not None
    }
    ledgers = {
        ledger.scope: {
            name: {"before_s": ledger.before_s.get(name, 0.0), "after_s": ledger.after_s.get(name, 0.0)}
            for name in ledger.accounts
        }
        for ledger in changes
    }
    provenance = {"before": before.provenance.model_dump(), "after": after.provenance.model_dump()}
    click.echo(
        json.dumps({"metrics": metrics, "ledgers": ledgers, "provenance": provenance}, indent=2, allow_nan=False)
    )
