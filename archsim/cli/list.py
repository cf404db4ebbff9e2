"""`archsim list`: the systems, models and traces that come with archsim."""

from __future__ import annotations

import click

from archsim.cli.options import json_option

__all__ = ["command"]

KINDS = ("chip", "node", "cluster", "near-memory", "tiered", "pools")
"""As `archsim.report.system_page.KINDS`, which is not imported for a help page."""


@click.command("list")
@click.argument("what", required=False, type=click.Choice(("systems", "models", "traces")))
@click.option("--status", type=click.Choice(("shipped", "announced", "claimed", "hypothetical")), help="Only these.")
@click.option("--kind", type=click.Choice(KINDS), help="Only systems of this kind.")
@click.option("--memory", metavar="STANDARD", help="Only systems whose memory's name starts so, as HBM3.")
@click.option("--trend", metavar="FILE", help="Draw FLOP/s against bandwidth by year: FILE.svg, .png.")
@json_option
def command(
    *, what: str | None, status: str | None, kind: str | None, memory: str | None, trend: str | None, as_json: bool
) -> None:
    """List what is bundled: systems, models, traces, or all three.

    Every name is one that `run`, `compare` and `show` take. --status, --kind and
    --memory leave only systems: a rack, a node of several chips, a single chip, one with near-memory units, one with
    several memories, pools of several systems.

    Example: archsim list systems --memory hbm3
    """
    from archsim.report.catalogue import catalogue, print_catalogue
    from archsim.report.system_page import json_text

    if trend is not None:
        from pathlib import Path

        from archsim.report.trend import write_trend

        for name, factor in write_trend(Path(trend)).items():
            click.echo(f"{name}: x {factor:.2f} a year over shipped chips with stacked memory", err=as_json)
        if not as_json:
            return
    rows = catalogue(what, status=status, kind=kind, memory=memory)
    if as_json:
        click.echo(json_text(rows), nl=False)
    else:
        print_catalogue(rows)
