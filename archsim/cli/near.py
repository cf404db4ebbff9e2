"""`archsim near`: what near-memory units of a system do for a model, and from which batch on the host is faster."""

from __future__ import annotations

from pathlib import Path

import click

from archsim.cli.groups import LayoutOptions, layout_options
from archsim.cli.options import (
    json_option,
    model_option,
    system_argument,
)

__all__ = ["command"]


@click.command("near")
@system_argument
@model_option
@click.option(
    "--context",
    type=click.IntRange(min=1),
    metavar="C",
    default=4096,
    show_default=True,
    help="Tokens that each sequence attends to.",
)
@click.option(
    "--most",
    type=click.IntRange(1, 4096),
    metavar="B",
    default=256,
    show_default=True,
    help="Largest batch; smaller ones halve it.",
)
@layout_options
@click.option("--out", metavar="FILE", type=click.Path(path_type=Path), help="Draw it there, .svg or .png.")
@json_option
def command(  # one parameter an option
    *,
    system: str,
    model_name: str,
    context: int,
    most: int,
    layout: LayoutOptions,
    out: Path | None,
    as_json: bool,
) -> None:
    """Compare host and near-memory units of SYSTEM, kernel by kernel, over the batch of one decode iteration.

    Prints the time of each kernel that units could run, on either side, and the batches at which the faster side
    changes. Capacity is not checked: the batch is what is varied.

    Example: archsim near hbm-pim --model llama-3.1-8b --precision w8a16kv16
    """
    from archsim.report.near_figure import near_lines, write_near_figure
    from archsim.simulate import load_model, load_system
    from archsim.step.crossover import near_study

    batches = [size for size in (1 << power for power in range(13)) if size < most] + [most]
    study = near_study(load_system(system, layout.overrides), load_model(model_name), batches=batches, context=context,
                       precision=layout.precision, parallelism=layout.parallel)  # fmt: skip
    if out is not None:
        write_near_figure(study, out)
    if as_json:
        import json

        click.echo(json.dumps(study, indent=1, allow_nan=False))
        return
    click.echo(f"{study['title']}: {study['model']} {study['precision']}, {context:,} tokens of context, "
               f"{study['parallelism']}, one chip")  # fmt: skip
    click.echo("\n".join(near_lines(study)))
