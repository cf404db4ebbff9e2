"""`archsim doctor`: whether this installation is whole, and how fast it is."""

from __future__ import annotations

import click

from archsim.cli.options import json_option

__all__ = ["command"]


@click.command("doctor")
@json_option
def command(*, as_json: bool) -> None:
    """Say which versions run, what is kept where, which extras are there, and how fast this machine simulates.

    The speed is that of one memory channel and of one decode iteration, each beside what the first machine, a server
    core of 2023, does. Exits with 1 where something is missing that archsim cannot do without, or an answer is wrong.

    Example: archsim doctor
    """
    from archsim.validation.doctor import examine
    from archsim.validation.doctor_text import doctor_json, doctor_text

    findings = examine()
    click.echo(doctor_json(findings) if as_json else doctor_text(findings), nl=False)
    if not findings.well:
        raise click.exceptions.Exit(1)
