"""Checkpoints on the command line: a run that writes some, and a run that goes on from one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click

if TYPE_CHECKING:
    from archsim.placed import Traffic
    from archsim.workload.closed_loop import ClosedLoop
    from archsim.workload.stream import Stream
    from archsim.workload.trace import Trace

__all__ = ["WantedCheckpoints", "checkpoint_options", "wanted_checkpoints"]

_NAMES = ("checkpoint", "checkpoint_every", "resume")


def checkpoint_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give *command* `--checkpoint`, `--checkpoint-every` and `--resume`; `wanted_checkpoints` reads them."""

    def keep(ctx: click.Context, option: click.Parameter, value: object) -> None:
        ctx.meta[f"archsim.{option.name}"] = value

    path = click.Path(path_type=Path)
    options = (
        click.option("--checkpoint", metavar="FILE", type=path, expose_value=False, callback=keep,
                     help="Write the state of the run here now and then."),
        click.option("--checkpoint-every", metavar="N", type=click.IntRange(min=1), expose_value=False, callback=keep,
                     help="Requests between two checkpoints; default 1,000,000."),
        click.option("--resume", metavar="FILE", type=path, expose_value=False, callback=keep,
                     help="Go on from a checkpoint of the same run, to the same bytes."),
    )  # fmt: skip
    for option in reversed(options):
        command = option(command)
    return command


class WantedCheckpoints(NamedTuple):
    """What a command was asked for."""

    path: Path | None
    """File to write."""
    every: int | None
    resume: Path | None
    """File to go on from."""

    @property
    def asked(self) -> bool:
        """Whether there is a file to write or to read."""
        return not self.path is self.resume is None

    def kept(self, traffic: Trace | Stream | ClosedLoop) -> Traffic:
        """Return *traffic*, requests, with the files. Raises `InputError` for one to write that exists."""
        from archsim.files import refuse_existing
        from archsim.placed import Checkpointed
        from archsim.serving.checkpoint import Wanted
        from archsim.simulate import ClosedLoop

        if isinstance(traffic, ClosedLoop):
            raise click.UsageError("--checkpoint and --resume are of a run on a trace")
        if self.path is not None and self.path != self.resume:
            refuse_existing(self.path, "--checkpoint", "a file that does not exist yet, or the one of --resume")
        wanted = Wanted(path=self.path, resume=self.resume)
        return Checkpointed(traffic, wanted if self.every is None else Wanted(self.path, self.every, self.resume))

    def check(self, mode: str, *, beside: str | None) -> None:
        """Raise `click.UsageError` where what is wanted does not go with the other options, such as *beside*."""
        if self.every is not None and self.path is None:
            raise click.UsageError("--checkpoint-every is of --checkpoint, which is missing")
        if not self.asked:
            return
        asked = "--checkpoint" if self.resume is None else "--resume"
        if mode != "trace":
            raise click.UsageError(f"{asked} is of a run on a trace: give one")
        if beside is not None:
            raise click.UsageError(f"{asked} does not go with {beside}, which sees the run from its beginning")


def wanted_checkpoints() -> WantedCheckpoints:
    """Return what the options of the running command ask for."""
    meta = click.get_current_context().meta
    return WantedCheckpoints(*(meta[f"archsim.{name}"] for name in _NAMES))
