"""`archsim run`: one system, on a trace or for a single decode step."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import click

from archsim.cli.options import (
    json_option,
    model_option,
    out_option,
    overrides_option,
    parallel_option,
    precision_option,
    progress_bar,
    slo_seconds,
    trace_options,
)
from archsim.cli.ways import AUTO, chosen

if TYPE_CHECKING:
    from archsim.result import Result

__all__ = ["command"]

_DEFAULT_SLO = "50 ms"


@click.command("run")
@click.argument("system")
@model_option
@trace_options
@click.option("--batch", type=click.IntRange(min=1), metavar="B", help="Evaluate one decode step of B sequences.")
@click.option("--context", type=click.IntRange(min=1), metavar="C", help="Tokens of context of each of them.")
@precision_option
@parallel_option
@overrides_option
@click.option("--saturate", is_flag=True, help="Search the highest rate that meets the service level, too.")
@click.option("--slo", metavar="TIME", help=f"TPOT p99 that saturation must meet; default {_DEFAULT_SLO}.")
@out_option
@json_option
def command(  # noqa: PLR0913  # one parameter an option
    *,
    system: str,
    model_name: str,
    trace_name: str | None,
    limit: int | None,
    rate_scale: str | None,
    seed: int,
    batch: int | None,
    context: int | None,
    precision: str | None,
    parallel: str | None,
    overrides: tuple[str, ...],
    saturate: bool,
    slo: str | None,
    out: Path | None,
    as_json: bool,
) -> None:
    """Run one SYSTEM (a bundled name or a TOML file) on a trace, or for one decode step.

    Prints latency, throughput and the decode ledger of the main memory; writes files only with --out.

    Example: archsim run h100-sxm8 --model llama-3.1-70b --batch 32 --context 2048
    """
    from archsim.files import refuse_existing
    from archsim.report.writers import write_run
    from archsim.run import evaluate_step, load_model, load_system, load_trace, run

    of_trace = {"--limit": limit, "--rate-scale": rate_scale, "--saturate": saturate or None, "--slo": slo}
    _check_modes(trace_name, of_step={"--batch": batch, "--context": context}, of_trace=of_trace)
    if out is not None:
        refuse_existing(out)
    given = (load_system(system, overrides), load_model(model_name))
    if trace_name is not None:
        trace = load_trace(trace_name, limit=limit, rate_scale="1" if rate_scale is None else rate_scale, seed=seed)
        slo_s = slo_seconds(slo or _DEFAULT_SLO) if saturate else None
        if parallel == AUTO:
            parallel = chosen(*given, precision=precision, of=trace, stderr=as_json)
        with progress_bar(system) as progress:
            result = run(*given, trace=trace, precision=precision, parallelism=parallel, seed=seed, slo_s=slo_s,
                         progress=progress)  # fmt: skip
    elif batch is not None and context is not None:
        if parallel == AUTO:
            parallel = chosen(*given, precision=precision, of=(batch, context), stderr=as_json)
        result = evaluate_step(*given, batch=batch, context=context, precision=precision, parallelism=parallel)
    else:
        raise click.UsageError("either --trace, or --batch and --context, is expected")
    if out is not None:
        write_run(result, out)
    _print(result, as_json=as_json)


def _check_modes(trace_name: str | None, *, of_step: Mapping[str, object], of_trace: Mapping[str, object]) -> None:
    """Refuse options that do not go together: those of one step and those of a trace."""
    strange = [option for option, value in (of_step if trace_name else of_trace).items() if value is not None]
    if strange:
        raise click.UsageError(f"{', '.join(strange)}: only {'without' if trace_name else 'with'} --trace")
    if of_trace["--slo"] is not None and of_trace["--saturate"] is None:
        raise click.UsageError("--slo is the service level of --saturate, which is missing")


def _print(result: Result, *, as_json: bool) -> None:
    if as_json:
        click.echo(result.to_json(), nl=False)
        return
    from archsim.report import table

    screen = table.console()
    screen.print(f"{result.system.title}: {table.headline(result)}")
    screen.print(table.run_summary(result), "", table.waterfall(result), sep="\n")
    if result.saturation is not None:
        screen.print("", table.saturation_headline([result]), table.saturation_block([result]), sep="\n")
