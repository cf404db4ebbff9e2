"""The command line: parse, call the chain, print. No arithmetic here.

One file a command, each with a click command object named `command`; a command's module is imported when it is
called or when the list of commands is printed, and at its top it imports click alone. `main` is the one place that
turns errors into exit codes: 0 done, 1 the simulation or a check failed, 2 the input is wrong, 130 interrupted, 143
asked to end. Both leave as an error does, so that nothing half-written stays.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from types import FrameType

import click

from archsim.errors import ArchsimError, did_you_mean

__all__ = ["COMMANDS", "group", "main"]

COMMANDS = (
    "compare", "run", "sweep", "search", "study", "whatif", "sensitivity", "economics", "report", "figure", "show",
    "list", "new-system", "import", "trace", "memory", "near", "network", "validate", "calibrate", "measure", "cache",
    "schema", "completion", "doctor",
)  # fmt: skip
"""Every command, in the order of the help page; `archsim.cli.<name>` holds it."""

_FAILED = {False: 1, True: 2}
"""Exit code of an error that no room named: ours, or a path that the system refuses."""
_INTERRUPTED, _TERMINATED = 130, 143
"""128 + SIGINT and 128 + SIGTERM, as shells report them."""


class _TerminatedError(BaseException):
    """The process was asked to end. Like KeyboardInterrupt, no error of a program."""


class _LazyGroup(click.Group):
    """A group that imports a command when it is wanted."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002  # click's signature
        return [*COMMANDS]  # `list` is a module of this room once that command has been imported

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002  # click's signature
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = importlib.import_module(f"archsim.cli.{_module(cmd_name)}").command
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args[0] not in COMMANDS and not args[0].startswith("-"):
            ctx.fail(f"no command {args[0][:80]!r}{did_you_mean(args[0], COMMANDS)}; commands: {', '.join(COMMANDS)}")
        return super().resolve_command(ctx, args)


def _module(command: str) -> str:
    """Return the module of *command*; `import` is a word of Python, its module is `import_`."""
    return {"import": "import_"}.get(command, command.replace("-", "_"))


@dataclass(slots=True)
class _Session:
    """What the group's own options say to `main`."""

    debug: bool = False


def _version(ctx: click.Context, _option: click.Parameter, wanted: object) -> None:
    if wanted:
        from archsim.result import ARCHSIM_VERSION

        click.echo(f"archsim {ARCHSIM_VERSION}")
        ctx.exit()


@click.group(cls=_LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
@click.option(
    "--version", is_flag=True, is_eager=True, expose_value=False, callback=_version, help="Print the version."
)
@click.pass_context
def group(ctx: click.Context, *, debug: bool) -> None:
    """Show where an accelerator's memory bandwidth goes when it decodes real LLM traffic.

    Example: archsim compare h100-sxm8 b200-sxm8 --model llama-3.1-70b
    """
    ctx.ensure_object(_Session).debug = debug


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line *arguments* (default: those of the process) and return its exit code."""
    session = _Session()
    try:
        with _terminable():
            code = group.main(args=arguments, prog_name="archsim", standalone_mode=False, obj=session)
            sys.stdout.flush()
    except BrokenPipeError:
        return _closed_pipe()
    except (click.Abort, KeyboardInterrupt):
        click.echo("archsim: interrupted", err=True)
        return _INTERRUPTED
    except _TerminatedError:
        click.echo("archsim: terminated", err=True)
        return _TERMINATED
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except Exception as error:
        if session.debug:
            raise
        click.echo(_message(error), err=True)
        return error.exit_code if isinstance(error, ArchsimError) else _FAILED[_is_refused_path(error)]
    return code if isinstance(code, int) else 0


@contextlib.contextmanager
def _terminable() -> Iterator[None]:
    """Let SIGTERM raise in the block, as SIGINT does; handlers can be set in the main thread alone."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def end(_signal: int, _frame: FrameType | None) -> None:
        raise _TerminatedError

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _is_refused_path(error: Exception) -> bool:
    """Return whether the system refused a path: too long a name, no right to look there, a loop of links."""
    return isinstance(error, OSError) and error.filename is not None


def _message(error: Exception) -> str:
    if isinstance(error, ArchsimError):
        return "\n".join(f"archsim: {line}" for line in str(error).splitlines())
    if isinstance(error, OSError) and _is_refused_path(error):
        return f"archsim: {str(error.filename)[:80]}: expected a path that can be used ({error.strerror})"
    return f"archsim: internal error: {type(error).__name__}: {error} (archsim --debug shows where)"


def _closed_pipe() -> int:
    """Let the interpreter's last flush of standard output go nowhere: its reader has left (`archsim ... | head`)."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 1
