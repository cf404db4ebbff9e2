"""`archsim validate`: the floors against other simulators, silicon and closed forms."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from archsim.cli.options import json_option

__all__ = ["command"]

_FILE = click.Path(path_type=Path, dir_okay=False, exists=True)


@click.command("validate")
@click.argument("suites", metavar="[SUITE]...", nargs=-1)
@click.option("--reference", metavar="FILE", type=_FILE, help="Rows of the suite's schema; without it: closed forms.")
@click.option("--params", metavar="FILE", type=_FILE, help="dram: every timing and map of the rows' configurations.")
@click.option("--out", metavar="DIR", type=click.Path(path_type=Path), help="Write parity plots and the rows there.")
@json_option
def command(
    suites: tuple[str, ...], *, reference: Path | None, params: Path | None, out: Path | None, as_json: bool
) -> int:
    """Run SUITE (default: all), print signed errors by group, the worst rows, and which bounds hold.

    With --reference alone the columns of FILE say which suite reads it.

    Suites: dram, network, collectives, kernels, decode, serving, power, pim, attacc, intervals; by name alone: claims.
    Errors are relative: (predicted - expected) / expected. Rows that cannot be compared are counted as skipped. Exits
    with 1 where a bound is broken. `intervals` counts the rows inside error bars that were made without their silicon.

    Example: archsim validate dram
    """
    from archsim.files import refuse_existing
    from archsim.validation.summary import SUITES, run_suite

    names = list(SUITES) if not suites or suites == ("all",) else list(dict.fromkeys(suites))
    if reference is not None and suites in {(), ("all",)}:
        from archsim.validation.schemas import suite_of

        names = [suite_of(reference)]
    if reference is not None and len(names) != 1:
        from archsim.errors import InputError, Problem

        raise InputError(Problem("", "--reference", str(reference), "one suite: the rows are of one schema"))
    if out is not None:
        refuse_existing(out)
    results = [run_suite(name, reference=reference, params=params) for name in names]
    if out is not None:
        from archsim.report.parity_figure import write_parity

        pages = {}
        for result in results:
            if result["suite"] == "claims":
                from archsim.validation.claims import claims_page

                pages["claims.md"] = claims_page(result["rows"])
        write_parity(results, out, pages)
    if as_json:
        import json

        click.echo(json.dumps(results, indent=1, allow_nan=False))
    else:
        for result in results:
            _print(result)
    return 0 if all(bound["held"] for result in results for bound in result["bounds"]) else 1


def _print(result: Mapping[str, Any]) -> None:
    from archsim.validation.summary import left_out, refused, tables_of, worst_rows

    click.echo(f"{result['suite']}: {result['reference']}")
    for lines in tables_of(result):
        widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
        for line in lines:
            first, *rest = (
                cell.rjust(width) if column else cell.ljust(width)
                for column, (cell, width) in enumerate(zip(line, widths, strict=True))
            )
            click.echo("  " + "  ".join([first, *rest]).rstrip())
        click.echo("")
    for row in worst_rows(result["rows"]):
        numbers = f"{row['expected']:.4g} expected, {row['predicted']:.4g} predicted"
        click.echo(f"  furthest off: {row['id']}: {numbers}, {100 * row['error']:+.2f} %")
    for why, count in refused(result["rows"]).items():
        click.echo(f"  refused as reference: {count} rows: {why}")
    for reason in left_out(result["rows"]):
        click.echo(f"  skipped: {reason}")
    for bound in result["bounds"]:
        verdict = "held" if bound["held"] else "BROKEN"
        found = f"{bound['statistic']} |e| {100 * bound['found']:.3g} % of at most {100 * bound['limit']:.3g} %"
        click.echo(f"  bound {verdict}: {bound['name']} ({bound['rows']} rows): {found}")
    click.echo("")
