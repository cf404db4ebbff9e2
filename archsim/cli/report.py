"""`archsim report`: a run, or two side by side, as one HTML file to read, mail or print."""

from __future__ import annotations

from pathlib import Path

import click

from archsim.cli.options import json_option

__all__ = ["command"]


@click.command("report")
@click.argument("run", type=click.Path(path_type=Path))
@click.argument("other", metavar="[RUN2]", required=False, type=click.Path(path_type=Path))
@click.option(
    "--out", metavar="FILE", type=click.Path(path_type=Path), help="Write here; default archsim-report-N.html."
)
@json_option
def command(*, run: Path, other: Path | None, out: Path | None, as_json: bool) -> None:
    """Write RUN (the directory of `archsim run --out`, or its result.json) as one HTML file that needs no network.

    Where the bandwidth went and what would recover it, roofline, bandwidth over time, latencies, energy, every source
    and the command that runs it again. With RUN2 beside it, and what differs marked.

    Example: archsim report h100-run b200-run --out h100-b200.html
    """
    from archsim.report.html_file import write_report

    path, size = write_report([run] if other is None else [run, other], out)
    if as_json:
        from archsim.report.system_page import json_text

        click.echo(json_text({"bytes": size, "report": str(path)}), nl=False)
    else:
        click.echo(f"written to {path} ({size:,} bytes)")
