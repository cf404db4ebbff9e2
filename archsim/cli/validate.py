"""`archsim validate`: the floors against other simulators, silicon and closed forms."""

from __future__ import annotations

from pathlib import Path

import click

__all__ = ["command"]

_FILE = click.Path(path_type=Path, dir_okay=False, exists=True)


@click.command("validate")
@click.argument("suites", metavar="[SUITE]...", nargs=-1)
@click.option("--reference", metavar="FILE", type=_FILE, help="Rows of the suite's schema; without it: closed forms.")
@click.option("--params", metavar="FILE", type=_FILE, help="dram: every timing and map of the rows' configurations.")
@click.option("--json", "as_json", is_flag=True, help="Print only JSON.")
def command(suites: tuple[str, ...], *, reference: Path | None, params: Path | None, as_json: bool) -> None:
    """Run SUITE (dram, network, collectives; default: all) and print signed errors by group.

    Errors are relative: (predicted - expected) / expected. Rows that cannot be compared are counted as skipped.

    Example: archsim validate dram
    """
    from archsim.validation.summary import SUITES, run_suite, tables_of

    if reference is not None and len(suites) != 1:
        from archsim.errors import InputError, Problem

        raise InputError(Problem("", "--reference", str(reference), "one suite: the rows are of one schema"))
    results = [run_suite(name, reference=reference, params=params) for name in suites or SUITES]
    if as_json:
        import json

        click.echo(json.dumps(results, indent=1, allow_nan=False))
        return
    for result in results:
        click.echo(f"{result['suite']}: {result['reference']}")
        for rows in tables_of(result):
            widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
            for row in rows:
                first, *rest = (
                    cell.rjust(width) if column else cell.ljust(width)
                    for column, (cell, width) in enumerate(zip(row, widths, strict=True))
                )
                click.echo("  " + "  ".join([first, *rest]).rstrip())
            click.echo("")
