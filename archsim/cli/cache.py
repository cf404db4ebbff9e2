"""`archsim cache`: what archsim keeps between runs."""

from __future__ import annotations

import click

__all__ = ["command"]


@click.group("cache")
def command() -> None:
    """Show or delete what archsim keeps between runs: answers of the memory floor and compiled kernels.

    Example: archsim cache clear
    """


@command.command("clear")
def clear() -> None:
    """Delete every stored answer and compiled kernel; they are computed again when they are wanted.

    Example: archsim cache clear
    """
    from archsim.cache import clear as clear_cache

    click.echo(f"{clear_cache()} files deleted")


@command.command("where")
def where() -> None:
    """Print the folder of the cache.

    Example: archsim cache where
    """
    from archsim.cache import cache_folder

    click.echo(cache_folder() or "no folder can be written: nothing is kept")
