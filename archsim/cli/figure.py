"""`archsim figure`: a figure of one or several runs for a paper."""

from __future__ import annotations

from pathlib import Path

import click

from archsim.cli.options import json_option

__all__ = ["command"]

_PATH = click.Path(path_type=Path)


@click.command("figure")
@click.argument("kind", type=click.Choice(["ledger", "bandwidth", "latency", "cost", "roofline"]))
@click.argument("runs", nargs=-1, required=True, metavar="RUN...", type=_PATH)
@click.argument("out", type=_PATH)
@click.option("--columns", type=click.Choice(["1", "2"]), default="2", show_default=True,
              help="Columns of the page that it is as wide as: 85 mm or 178 mm.")  # fmt: skip
@json_option
def command(*, kind: str, runs: tuple[Path, ...], out: Path, columns: str, as_json: bool) -> None:
    """Draw KIND of RUN... (directories of `archsim run --out`) into OUT, a .pdf, .svg or .png that does not exist yet.

    Colour-blind safe, at the width of one or two columns of a page; equal runs give equal bytes.

    Example: archsim figure roofline h100-run roofline.pdf --columns 1
    """
    from archsim.report.run_figures import write_run_figure

    size = write_run_figure(runs, kind, out, columns=int(columns))
    if as_json:
        from archsim.report.system_page import json_text

        click.echo(json_text({"bytes": size, "figure": str(out)}), nl=False)
    else:
        click.echo(f"written to {out} ({size:,} bytes)")
