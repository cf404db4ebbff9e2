"""`archsim study`: look at a store, write it as a table, join several."""

from __future__ import annotations

from pathlib import Path

import click

__all__ = ["command"]


@click.group("study")
def command() -> None:
    """Export, merge or look at the stores that `archsim sweep` writes.

    Example: archsim study export pnm-crossover.study.db points.csv
    """


_STORE = click.Path(path_type=Path)


@command.command("export")
@click.argument("store", type=_STORE)
@click.argument("out", type=_STORE)
@click.option("--provenance", is_flag=True, help="Also the command, digests and event count of each point.")
def export_command(*, store: Path, out: Path, provenance: bool) -> None:
    """Write the rows of STORE to OUT, a .csv or .parquet file that does not exist yet.

    Inputs and results only: two complete stores of one study give the same bytes.

    Example: archsim study export pnm-crossover.study.db points.csv
    """
    from archsim.study.export import export
    from archsim.study.store import Store

    with Store(store) as opened:
        count = export(opened, out, provenance=provenance)
    click.echo(f"{count:,} points written to {out}")


@command.command("merge")
@click.argument("stores", nargs=-1, required=True, type=_STORE)
@click.option("--into", "target", required=True, metavar="FILE", type=_STORE, help="The store that takes all rows.")
def merge_command(*, stores: tuple[Path, ...], target: Path) -> None:
    """Join STORES of one study, such as those of its shards.

    Example: archsim study merge shard1.db shard2.db --into whole.db
    """
    from archsim.study.export import merge

    count = merge(stores, target)
    click.echo(f"{count:,} points in {target}")


@command.command("list")
def list_command() -> None:
    """List the bundled studies.

    Example: archsim study list
    """
    from archsim.report import table
    from archsim.report.study_text import studies_table
    from archsim.study.door import bundled_studies

    table.console().print(studies_table(bundled_studies()))
