"""`archsim show`: one system, drawn and listed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from archsim.cli.groups import overrides_option
from archsim.cli.options import json_option, system_argument

if TYPE_CHECKING:
    from archsim.hardware.pools_spec import PoolsSpec
    from archsim.hardware.sources import SourceRow

__all__ = ["command"]


@click.command("show")
@system_argument
@overrides_option
@click.option("--sources", "with_sources", is_flag=True, help="List where every number comes from.")
@json_option
@click.option("--out", metavar="FILE", help="Also draw a picture: FILE.svg, FILE.png or FILE.pdf.")
def command(system: str, *, overrides: tuple[str, ...], with_sources: bool, as_json: bool, out: str | None) -> None:
    """Draw SYSTEM, a bundled name or a file, and list its parts, peaks and settings.

    The settings are printed as `--set` takes them, here and in every command that runs a system.

    Example: archsim show h100-sxm8 --set hbm.stacks=6 --sources
    """
    from archsim.hardware.pools import load_design
    from archsim.hardware.pools_spec import PoolsSpec
    from archsim.hardware.sources import sources

    spec = load_design(system, overrides)
    rows = sources(system, overrides) if with_sources else None
    if isinstance(spec, PoolsSpec):
        _show_pools(spec, rows, as_json=as_json, out=out)
        return
    if out:
        from pathlib import Path

        from archsim.report.system_figure import write_system_figure

        write_system_figure(spec, Path(out))
    if as_json:
        from archsim.report.system_page import system_json

        click.echo(system_json(spec, rows), nl=False)
        return
    from archsim.report.system_page import print_system

    print_system(spec, rows)


def _show_pools(spec: PoolsSpec, rows: list[SourceRow] | None, *, as_json: bool, out: str | None) -> None:
    from archsim.errors import InputError, Problem
    from archsim.report.system_page import pools_json, print_pools

    if out:
        systems = " or ".join(dict.fromkeys(pool.system.name for pool in spec.pools.values()))
        raise InputError(Problem(spec.name, "--out", out, f"a system to draw: {systems}"))
    if as_json:
        click.echo(pools_json(spec, rows), nl=False)
    else:
        print_pools(spec, rows)
