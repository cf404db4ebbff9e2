"""`archsim new-system`: a commented template of a system that loads and runs."""

from __future__ import annotations

import click

__all__ = ["command"]


@click.command("new-system")
@click.argument("name")
@click.option(
    "--from", "start", metavar="SYSTEM", default="h100-sxm8", show_default=True, help="Begin with its numbers."
)
def command(name: str, *, start: str) -> None:
    """Write NAME.toml here: one file with every key, what it means, and numbers to be replaced.

    The file loads and runs as it is. An existing file is never overwritten.

    Example: archsim new-system my-chip --from tpu-v6e-8
    """
    from pathlib import Path

    from archsim.hardware.template import new_system

    path = new_system(name, start=start, folder=Path())
    click.echo(f"{path}: change the values, then: archsim show {path} --sources")
