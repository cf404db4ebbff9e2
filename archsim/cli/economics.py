"""`archsim economics`: what users cost on a system, from a few to a million."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from archsim.cli.groups import EconomicsOptions, LayoutOptions, economics_options, layout_options, seed_option
from archsim.cli.options import (
    json_option,
    model_option,
    out_option,
    slo_seconds,
    systems_argument,
)
from archsim.errors import InputError, Problem

if TYPE_CHECKING:
    from archsim.study.unit_economics import Case

__all__ = ["command"]

_MOST_USERS = 10**10


@click.command("economics")
@systems_argument
@model_option
@click.option("--users", default="1000:1000000", show_default=True, metavar="A:B", help="From so many to so many.")
@click.option("--slo", default="50 ms", show_default=True, metavar="TIME", help="TPOT p99 that users are promised.")
@click.option("--trace", "trace_name", metavar="T", help="Of their requests; default azure-conv.")
@click.option("--limit", type=click.IntRange(min=10), default=400, show_default=True, metavar="N",
              help="Requests that the rate is searched on.")  # fmt: skip
@seed_option
@layout_options
@economics_options
@out_option
@json_option
def command(  # noqa: PLR0913  # one parameter an option
    *,
    systems: tuple[str, ...],
    model_name: str,
    users: str,
    slo: str,
    trace_name: str | None,
    limit: int,
    seed: int,
    layout: LayoutOptions,
    economics: EconomicsOptions,
    out: Path | None,
    as_json: bool,
) -> None:
    """Say what serving A to B users costs on SYSTEMS: whole systems under the service level, USD and CO2e.

    The highest rate that meets the service level is searched on requests of a trace; systems are then bought for the
    busy hours of the day. Prices come from one file (--economics). With --out, the table and two figures are written.

    Example: archsim economics h100-sxm8 --model llama-3.1-8b --users 1000:1000000
    """
    from archsim.economics.growth import steps_between
    from archsim.economics.spec import load_economics
    from archsim.files import refuse_existing
    from archsim.report import table
    from archsim.report.economics_text import case_headline, curve_table
    from archsim.simulate import load_model, load_system
    from archsim.study.unit_economics import Traffic, unit_economics

    first, last = _ends(users)
    if out is not None:
        refuse_existing(out)
    prices = economics.prices() or load_economics()
    specs = [load_system(name, layout.overrides) for name in systems]
    model = load_model(model_name)
    traffic = Traffic(trace_name, limit, seed, slo_seconds(slo))
    screen = table.console(stderr=as_json)
    cases: list[Case] = []
    for spec in specs:
        case = unit_economics(spec, model, prices, traffic=traffic, precision=layout.precision,
                              parallelism=layout.parallel)  # fmt: skip
        cases.append(case)
        chips = spec.chips
        screen.print(case_headline(case.result, case.saturation, case.demand),
                     curve_table(case.curve(steps_between(first, last)), chips), "", sep="\n")  # fmt: skip
    content = _content(cases, first, last)
    if out is not None:
        _write(cases, content, out)
    if as_json:
        click.echo(content, nl=False)


def _ends(text: str) -> tuple[int, int]:
    """Return the two numbers of `A:B`; one alone is both."""
    parts = text.replace("_", "").split(":")
    if len(parts) <= 2 and all(part.isascii() and part.isdigit() and len(part) < 12 for part in parts):
        first, last = int(parts[0]), int(parts[-1])
        if 1 <= first <= last <= _MOST_USERS:
            return first, last
    expected = f"whole numbers A:B with 1 <= A <= B <= {_MOST_USERS:,}, such as 1000:1000000"
    raise InputError(Problem("", "--users", text, expected))


def _content(cases: list[Case], first: int, last: int) -> str:
    """Return the JSON array of all cases."""
    import json

    from archsim.economics.growth import steps_between
    from archsim.report.economics_text import curve_rows

    rows: list[dict[str, Any]] = [
        {
            "system": case.result.system.name,
            "model": case.result.model.name,
            "precision": case.result.model.precision,
            "chips_per_system": case.result.system.chips,
            "saturation": case.saturation.model_dump(),
            "queries_per_day": case.demand.queries_per_day,
            "output_tokens_per_query": case.demand.output_tokens_per_query,
            "joules_per_output_token": None if case.running.joules is None else case.running.joules.mid,
            "cost": None if case.result.cost is None else case.result.cost.model_dump(),
            "carbon": None if case.result.carbon is None else case.result.carbon.model_dump(),
            "curve": curve_rows(case.curve(steps_between(first, last)), case.result.system.chips),
        }
        for case in cases
    ]
    return json.dumps(rows, sort_keys=True, indent=2, allow_nan=False, ensure_ascii=False) + "\n"


def _write(cases: list[Case], content: str, out: Path) -> None:
    """Write economics.json, cost-curve.svg and cost-stack.svg to the folder *out*, all or none."""
    import json

    from archsim.economics.growth import smooth_between
    from archsim.files import write_atomically, written_directory
    from archsim.report import style
    from archsim.report.economics_figures import cost_curve_figure, cost_stack

    points = json.loads(content)[0]["curve"]
    users = smooth_between(points[0]["users"], points[-1]["users"])
    curves = [(case.result.system.name, case.result.system.chips, case.curve(users)) for case in cases]
    title = f"{cases[0].result.model.name} {cases[0].result.model.precision}: cost against users"
    with written_directory(out) as folder:
        write_atomically(folder / "economics.json", content.encode())
        write_atomically(folder / "cost-curve.svg", style.svg_bytes(cost_curve_figure(curves, title=title)))
        write_atomically(folder / "cost-stack.svg", style.svg_bytes(cost_stack([case.result for case in cases])))
    click.echo(f"written to {out}", err=True)
