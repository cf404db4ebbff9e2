"""`archsim calibrate`: fit named parameters of a system to measured rows, and write the system with its sources."""

from __future__ import annotations

from pathlib import Path

import click

from archsim.cli.options import json_option

__all__ = ["command"]


@click.command("calibrate")
@click.option("--on", "suite", required=True, metavar="SUITE", help="kernels, decode or serving.")
@click.option(
    "--reference",
    metavar="FILE",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    help="Rows of the suite's schema, yours or published ones; without it: the figures that come with archsim.",
)
@click.option("--rows", default="", metavar="COLUMN=VALUE,...", help="Which rows: gpu=H100,dtype=bfloat16,n=1..4096.")
@click.option(
    "--parameters", required=True, metavar="PATH[=START],...", help="Such as runtime.ramp,runtime.launch_gap."
)
@click.option("--out", metavar="FILE", type=click.Path(path_type=Path), help="Write the calibrated system there.")
@json_option
def command(*, suite: str, reference: Path | None, rows: str, parameters: str, out: Path | None, as_json: bool) -> None:
    """Fit PARAMETERS by least squares of ln(predicted / measured), print errors before and after.

    A parameter is a quantity of the system or its runtime with a unit, by its path as `archsim show` prints it; it
    starts at its value there. A column `gpu` stands for whatever a table calls its system. The file that is written is
    a whole system: `archsim run FILE ...`.

    Example: archsim calibrate --on kernels --rows gpu=H100 --parameters runtime.ramp
    """
    from archsim.files import refuse_existing, write_atomically
    from archsim.validation.calibrate import calibrate
    from archsim.validation.calibrated_file import calibrated_toml, report_lines
    from archsim.validation.selection import parse_where

    if out is not None:
        refuse_existing(out)
    found = calibrate(suite, reference, where=parse_where(rows), names=parameters)
    if out is not None:
        write_atomically(out, calibrated_toml(found, suite=suite, reference=reference, rows=rows).encode())
    if as_json:
        import json

        values = {
            parameter.path: {"start": parameter.start, "value": value, "relative_error": error if error < 1e9 else None}
            for parameter, value, error in zip(found.parameters, found.values, found.errors, strict=True)
        }
        content = {"suite": suite, "system": found.system, "runtime": found.runtime, "before": found.before,
                   "after": found.after, "parameters": values}  # fmt: skip
        click.echo(json.dumps(content, indent=1, allow_nan=False))
        return
    click.echo("\n".join(report_lines(found, suite=suite, reference=reference)))
    if out is not None:
        click.echo(f"written to {out}")
