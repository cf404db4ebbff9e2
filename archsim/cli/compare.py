"""`archsim compare`: several designs on one model and one trace, at the trace's rate and at saturation."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from archsim.cli.groups import (
    EconomicsOptions,
    LayoutOptions,
    TraceOptions,
    economics_options,
    layout_options,
    trace_options,
)
from archsim.cli.options import (
    Progress,
    assume_option,
    design_of,
    detailed,
    json_option,
    model_option,
    out_option,
    priced,
    progress_bar,
    slo_seconds,
    systems_argument,
)
from archsim.cli.ways import AUTO, chosen

if TYPE_CHECKING:
    from rich.console import Console

    from archsim.hardware.pools import Design
    from archsim.result import Result

__all__ = ["command"]

_DEFAULT_TRACE = "azure-conv"


@click.command("compare")
@systems_argument
@model_option
@trace_options
@layout_options
@assume_option
@click.option("--slo", default="50 ms", show_default=True, metavar="TIME", help="TPOT p99 that saturation must meet.")
@click.option("--no-saturation", is_flag=True, help="Leave the second block out.")
@economics_options
@out_option
@json_option
def command(  # noqa: PLR0913  # one parameter an option
    *,
    systems: tuple[str, ...],
    model_name: str,
    requests: TraceOptions,
    layout: LayoutOptions,
    assume: bool,
    slo: str,
    no_saturation: bool,
    economics: EconomicsOptions,
    out: Path | None,
    as_json: bool,
) -> None:
    """Compare SYSTEMS (bundled names or TOML files) on one model and one trace.

    Prints three blocks: every design at the trace's own rate, what a token takes there, and saturation, where they are
    ranked. The default trace is a sampled one, azure-conv. Writes a run directory, by default archsim-compare-N.

    Example: archsim compare h100-sxm8 b200-sxm8 --model llama-3.1-70b
    """
    from archsim.files import refuse_existing
    from archsim.report import table, writers
    from archsim.simulate import load_model, load_trace, run

    path = out or writers.free_place("archsim-compare")
    refuse_existing(path)
    prices = economics.prices()
    designs = [design_of(name, layout.overrides, assume=assume) for name in systems]
    if assume:
        click.echo("capacity assumed: memories hold what they are asked to", err=as_json)
    writers.check_folder_names([design.name for design in designs])
    model = load_model(model_name)
    precision, seed = layout.precision, requests.seed
    trace = load_trace(requests.trace_name or _DEFAULT_TRACE, limit=requests.limit, rate_scale=requests.rate_scale,
                       seed=seed)  # fmt: skip
    spread = dict.fromkeys((design.name for design in designs), layout.parallel)
    if layout.parallel == AUTO:
        spread |= {d.name: chosen(d, model, precision=precision, of=trace, stderr=as_json) for d in designs}
    # The rate of a closed loop is its own: there is none to search.
    slo_s = None if no_saturation or trace.closed else slo_seconds(slo)

    def replay(design: Design, *, progress: Progress | None) -> Result:
        result = run(design, model=model, trace=trace, precision=precision, parallelism=spread[design.name],
                     seed=seed, slo_s=slo_s, progress=progress)  # fmt: skip
        return detailed(priced(result, design, prices), design, model, ways=(precision, spread[design.name]))

    results = _replayed(designs, replay, table.console(stderr=as_json))
    writers.write_comparison(results, path)
    if as_json:
        click.echo(writers.comparison_json(results), nl=False)
    click.echo(f"\nwritten to {path}", err=as_json)


def _replayed(designs: Sequence[Design], replay: Callable[..., Result], screen: Console) -> list[Result]:
    """Run every design and print its line of the first block as soon as it is done, then the other blocks."""
    from archsim.report import table
    from archsim.report.economics_text import mixed_bases
    from archsim.report.interval_text import overlap_lines

    names = [design.name for design in designs]
    results: list[Result] = []
    for design in designs:
        with progress_bar(design.name) as progress:
            results.append(replay(design, progress=progress))
        if len(results) == 1:
            screen.print(table.headline(results[0]), table.trace_header(names), sep="\n")
        screen.print(table.trace_row(results[-1], names))
    screen.print("", "what a token takes at that rate", table.token_block(results), sep="\n")
    if results[-1].saturation is not None:
        screen.print("", table.saturation_headline(results), table.saturation_block(results), sep="\n")
    for line in overlap_lines(results):
        screen.print("", line, sep="\n")
    if any(result.uncertainty and result.uncertainty.extrapolated for result in results):
        screen.print("x: extrapolated beyond what was validated, by a stated prior")
    if note := mixed_bases(results):
        screen.print("", note, sep="\n")
    return results
