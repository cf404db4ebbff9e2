"""`archsim report`: a run, two side by side, or a study as one HTML file to read, mail or print."""

from __future__ import annotations

from pathlib import Path

import click

from archsim.cli.options import json_option

__all__ = ["command"]


@click.command("report")
@click.argument("run", metavar="RUN|STUDY.db", type=click.Path(path_type=Path))
@click.argument("other", metavar="[RUN2]", required=False, type=click.Path(path_type=Path))
@click.option(
    "--out", metavar="FILE", type=click.Path(path_type=Path), help="Write here; default archsim-report-N.html."
)
@json_option
def command(*, run: Path, other: Path | None, out: Path | None, as_json: bool) -> None:
    """Write RUN (the directory of `archsim run --out`, or its result.json) as one HTML file that needs no network.

    Where the bandwidth went and what would recover it, roofline, bandwidth over time, latencies, energy, every source
    and the command that runs it again. With RUN2 beside it, and what differs marked. Of the store that `archsim sweep`
    or `archsim search` has written: best points, Pareto fronts, scaling, what moves them, and a table to filter.

    Example: archsim report h100-run b200-run --out h100-b200.html
    """
    from archsim.report.html_file import write_report
    from archsim.study.store import is_store

    if is_store(run) or (other is not None and is_store(other)):
        from archsim.study.report import write_study_report

        if other is not None:
            raise click.UsageError("a study has a report of its own: give one store, or one or two runs")
        path, size = write_study_report(run, out)
    else:
        path, size = write_report([run] if other is None else [run, other], out)
    if as_json:
        from archsim.report.system_page import json_text

        click.echo(json_text({"bytes": size, "report": str(path)}), nl=False)
    else:
        click.echo(f"written to {path} ({size:,} bytes)")
