"""`archsim sensitivity`: which knob of a system moves tokens/s."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

import click

from archsim.cli.groups import LayoutOptions, layout_options
from archsim.cli.options import (
    json_option,
    model_option,
    progress_bar,
    system_argument,
)

if TYPE_CHECKING:
    from archsim.hardware.spec import SystemSpec
    from archsim.result import Result
    from archsim.study.sensitivity import Effect

__all__ = ["command"]

_METRIC = "tokens_per_s"
_COST = "usd_per_million_tokens"


@click.command("sensitivity")
@system_argument
@model_option
@click.option("--batch", type=click.IntRange(min=1), default=32, show_default=True, metavar="B", help="Sequences.")
@click.option("--context", type=click.IntRange(min=1), default=2048, show_default=True, metavar="C",
              help="Tokens of context of each.")  # fmt: skip
@layout_options
@click.option("--step", default="10 %", show_default=True, metavar="SHARE", help="How far each knob is turned.")
@click.option("--figure", metavar="FILE", type=click.Path(path_type=Path), help="Draw the tornado into this .svg.")
@json_option
def command(  # one parameter an option
    *,
    system: str,
    model_name: str,
    batch: int,
    context: int,
    layout: LayoutOptions,
    step: str,
    figure: Path | None,
    as_json: bool,
) -> None:
    """Turn every knob of a SYSTEM up and down, one at a time: what to build next.

    Elasticity 1: tokens/s grow with the knob; 0: it does not matter here.

    Example: archsim sensitivity h100-sxm8 --model llama-3.1-70b --batch 8
    """
    from archsim.files import refuse_existing, write_atomically
    from archsim.simulate import evaluate_step, load_model
    from archsim.study.sensitivity import sensitivities

    if figure is not None:
        refuse_existing(figure)
    share, model = _share(step), load_model(model_name)

    def evaluate(spec: SystemSpec) -> Result:
        return evaluate_step(spec, model, batch=batch, context=context, precision=layout.precision,
                             parallelism=layout.parallel)  # fmt: skip

    with progress_bar(system) as progress:
        base, effects = sensitivities(system, layout.overrides, evaluate, step=share, progress=progress)
    words = f"{base.system.name}, {base.model.name} {base.model.precision}, batch {batch}, context {context:,}"
    if as_json:
        _print_json(base, effects)
    else:
        _print(base, effects, words=words, step=share)
    if figure is not None:
        from archsim.report.change_figures import tornado
        from archsim.report.style import svg_bytes

        drawn_metrics = {_METRIC: "tokens/s"}
        if any(_COST in effect.elasticity for effect in effects):
            drawn_metrics[_COST] = "USD per token"
        rows = [
            (e.knob.title, [(e.up.get(m), e.down.get(m), e.elasticity.get(m)) for m in drawn_metrics]) for e in effects
        ]
        drawn = tornado(rows, title=words, metrics=[*drawn_metrics.values()], step=f"{float(1 + share):g}")
        write_atomically(figure, svg_bytes(drawn))


def _share(text: str) -> Fraction:
    from archsim.errors import InputError, Problem
    from archsim.units import parse_quantity

    try:
        share = parse_quantity(text, "share")
    except ValueError as error:
        raise InputError(Problem("", "--step", text, str(error))) from None
    if not Fraction(1, 1000) <= share <= 1:
        raise InputError(Problem("", "--step", text, "0.1 % to 100 %"))
    return share


def _print(base: Result, effects: list[Effect], *, words: str, step: Fraction) -> None:
    from archsim.report import table
    from archsim.report.interval_text import rate_of
    from archsim.report.study_text import knob_table

    screen = table.console()
    rate = base.throughput.output_tokens_per_s or 0.0
    bar = rate_of(base)
    interval = f" (80 % interval {bar.low:,.0f} to {bar.high:,.0f})" if bar else ""
    screen.print(f"{words}: {rate:,.0f} tokens/s{interval}; every knob x and / {float(1 + step):g}", markup=False)
    if base.uncertainty and base.uncertainty.extrapolated:
        screen.print(f"extrapolated: {', '.join(base.uncertainty.extrapolated)}", markup=False)
    with_cost = any(_COST in effect.elasticity for effect in effects)
    rows = [
        (e.knob.title, e.up.get(_METRIC), e.down.get(_METRIC), e.elasticity.get(_METRIC), e.elasticity.get(_COST))
        for e in effects
    ]
    screen.print(knob_table(rows, with_cost=with_cost))
    for effect in effects:
        if effect.problem:
            screen.print(f"{effect.knob.title}: could not be turned both ways: {effect.problem}", markup=False)


def _print_json(base: Result, effects: list[Effect]) -> None:
    import json

    rows = [
        {"knob": e.knob.title, "keys": list(e.knob.keys), "elasticity": e.elasticity, "up": e.up, "down": e.down,
         "problem": e.problem or None}
        for e in effects
    ]  # fmt: skip
    found = base.uncertainty
    content = {
        "command": base.provenance.command,
        "tokens_per_s": base.throughput.output_tokens_per_s,
        "tokens_per_s_low": None if found is None else found.output_tokens_per_s.low,
        "tokens_per_s_high": None if found is None else found.output_tokens_per_s.high,
        "extrapolated": None if found is None else found.extrapolated,
        "knobs": rows,
    }
    click.echo(json.dumps(content, indent=2, allow_nan=False))
