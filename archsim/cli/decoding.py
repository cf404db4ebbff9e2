"""Decode traces on the command line: a run that writes one, and a run that replays one."""

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

__all__ = ["WantedDecoding", "decoding_options", "wanted_decoding"]

_NAMES = ("decode_only", "decode_trace")


def decoding_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give *command* `--decode-only` and `--decode-trace`; `wanted_decoding` reads them."""

    def keep(ctx: click.Context, option: click.Parameter, value: object) -> None:
        ctx.meta[f"archsim.{option.name}"] = value

    options = (
        click.option("--decode-only", metavar="FILE", expose_value=False, callback=keep,
                     help="Replay the decode iterations of a decode trace, and nothing else."),
        click.option("--decode-trace", metavar="FILE", type=click.Path(path_type=Path), expose_value=False,
                     callback=keep, help="Write who decodes in every iteration, as JSONL, .gz or not."),
    )  # fmt: skip
    for option in reversed(options):
        command = option(command)
    return command


class WantedDecoding(NamedTuple):
    """What a command was asked for."""

    only: str | None
    """File to replay."""
    path: Path | None
    """File to write."""

    def recorded(self, traffic: Trace | Stream | ClosedLoop) -> Traffic:
        """Return *traffic*, with the file to write while it is replayed. Raises `InputError` for a stream."""
        if self.path is None:
            return traffic
        from archsim.errors import InputError, Problem
        from archsim.placed import Recorded
        from archsim.workload.stream import Stream

        if isinstance(traffic, Stream):
            raise InputError(Problem(traffic.name, "--decode-trace", "a stream", "a trace that is held"))
        return Recorded(traffic, self.path)

    def check(self, mode: str, *, timeline: bool) -> None:
        """Raise `click.UsageError` where what is wanted does not go with the other options."""
        if self.path is not None and mode not in {"trace", "loop"}:
            raise click.UsageError("--decode-trace writes what a trace or a closed loop decodes: give one")
        if self.only is not None and timeline:
            raise click.UsageError("--timeline is of a run that serves requests: it does not go with --decode-only")


def wanted_decoding() -> WantedDecoding:
    """Return what the options of the running command ask for."""
    meta = click.get_current_context().meta
    return WantedDecoding(*(meta[f"archsim.{name}"] for name in _NAMES))
