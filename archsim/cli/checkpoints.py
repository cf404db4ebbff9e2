"""Checkpoints on the command line: a run that writes some, and a run that goes on from one."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import click

from archsim.cli.groups import grouped

if TYPE_CHECKING:
    from archsim.traffic import Traffic
    from archsim.workload.closed_loop import ClosedLoop
    from archsim.workload.stream import Stream
    from archsim.workload.trace import Trace

__all__ = ["CheckpointOptions", "checkpoint_options"]


class CheckpointOptions(NamedTuple):
    """What a command was asked for."""

    checkpoint: Path | None
    """File to write."""
    checkpoint_every: int | None
    resume: Path | None
    """File to go on from."""

    @property
    def asked(self) -> bool:
        """Whether there is a file to write or to read."""
        return not self.checkpoint is self.resume is None

    def kept(self, traffic: Trace | Stream | ClosedLoop) -> Traffic:
        """Return *traffic*, requests, with the files. Raises `InputError` for one to write that exists."""
        from archsim.files import refuse_existing
        from archsim.serving.checkpoint import EVERY, Wanted
        from archsim.simulate import ClosedLoop
        from archsim.traffic import Checkpointed

        if isinstance(traffic, ClosedLoop):
            raise click.UsageError("--checkpoint and --resume are of a run on a trace")
        if self.checkpoint is not None and self.checkpoint != self.resume:
            refuse_existing(self.checkpoint, "--checkpoint", "a file that does not exist yet, or the one of --resume")
        return Checkpointed(traffic, Wanted(self.checkpoint, self.checkpoint_every or EVERY, self.resume))

    def check(self, mode: str, *, beside: str | None) -> None:
        """Raise `click.UsageError` where what is wanted does not go with the other options, such as *beside*."""
        if self.checkpoint_every is not None and self.checkpoint is None:
            raise click.UsageError("--checkpoint-every is of --checkpoint, which is missing")
        if not self.asked:
            return
        asked = "--checkpoint" if self.resume is None else "--resume"
        if mode != "trace":
            raise click.UsageError(f"{asked} is of a run on a trace: give one")
        if beside is not None:
            raise click.UsageError(f"{asked} does not go with {beside}, which sees the run from its beginning")


_path = click.Path(path_type=Path)
checkpoint_options = grouped(
    "checkpoints", CheckpointOptions,
    click.option("--checkpoint", metavar="FILE", type=_path, help="Write the state of the run here now and then."),
    click.option("--checkpoint-every", metavar="N", type=click.IntRange(min=1),
                 help="Requests between two checkpoints; default 1,000,000."),
    click.option("--resume", metavar="FILE", type=_path,
                 help="Go on from a checkpoint of the same run, to the same bytes."),
)  # fmt: skip
"""Give a command `--checkpoint`, `--checkpoint-every` and `--resume`, as *checkpoints*."""
