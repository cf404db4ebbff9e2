"""`archsim completion`: what a shell needs to complete commands, options and bundled names."""

from __future__ import annotations

import click

__all__ = ["command"]

_VARIABLE = "_ARCHSIM_COMPLETE"


@click.command("completion")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def command(*, shell: str) -> None:
    r"""Print the completion script of SHELL: commands, options, bundled systems, models and traces.

    \b
    bash   eval "$(archsim completion bash)"                            in ~/.bashrc
    zsh    eval "$(archsim completion zsh)"                             in ~/.zshrc
    fish   archsim completion fish > ~/.config/fish/completions/archsim.fish

    Example: archsim completion bash
    """
    from click.shell_completion import get_completion_class

    from archsim.cli import group

    made = get_completion_class(shell)
    if made is None:
        raise click.UsageError(f"no completion for {shell}")
    click.echo(made.source_template % made(group, {}, "archsim", _VARIABLE).source_vars())
