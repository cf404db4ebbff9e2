"""`archsim import`: other simulators' hardware files as ours."""

from __future__ import annotations

from pathlib import Path

import click

__all__ = ["command"]


@click.command("import")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("-o", "--out", metavar="OUT", type=click.Path(path_type=Path), help="Write here, not to stdout.")
@click.option("--format", "wanted", metavar="FORMAT", help="Take it as this format, whatever the content says.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON on stdout: format, kind, what was not mapped, TOML.")
def command(file: Path, *, out: Path | None, wanted: str | None, as_json: bool) -> None:
    """Turn FILE of another simulator into a hwconfig, and list what could not be mapped.

    Formats: llmcompass (hardware JSON), dramsim3 (ini), ramulator (YAML export), aiconfigurator (system YAML), calculon
    (system JSON). The first and the last two give a system, the others a memory device. Each value names its key of
    FILE; what FILE does not say is an assumption and says so.

    Example: archsim import GA100.json -o ga100.toml
    """
    from archsim.errors import InputError, Problem
    from archsim.files import write_atomically
    from archsim.hardware.importers.convert import imported

    if out is not None and (out.exists() or out.is_symlink()):
        raise InputError(Problem(str(out), "--out", "", "a file that does not exist yet: nothing is overwritten"))
    made = imported(file, wanted=wanted)
    if out is not None:
        write_atomically(out, made.toml.encode())
    if as_json:
        from archsim.report.system_page import json_text

        click.echo(json_text(made._asdict()), nl=False)
        return
    for line in made.unmapped:
        click.echo(f"not mapped: {line}", err=True)
    if out is None:
        click.echo(made.toml, nl=False)
    else:
        verb = "archsim show" if made.kind == "system" else "archsim memory"
        click.echo(f"{out}: a {made.kind} from {made.format}; {len(made.unmapped)} not mapped; next: {verb} {out}")
