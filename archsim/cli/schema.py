"""`archsim schema`: the JSON Schema of result.json."""

from __future__ import annotations

import click

__all__ = ["command"]


@click.command("schema")
def command() -> None:
    """Print the JSON Schema of result.json.

    Example: archsim schema > result.schema.json
    """
    from archsim.result import schema_json

    click.echo(schema_json(), nl=False)
