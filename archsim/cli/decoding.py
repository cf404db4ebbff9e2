"""Decode traces on the command line: a run that writes one, and a run that replays one."""

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

__all__ = ["DecodingOptions", "decoding_options"]


class DecodingOptions(NamedTuple):
    """What a command was asked for."""

    decode_only: str | None
    """File to replay."""
    decode_trace: Path | None
    """File to write."""

    def recorded(self, traffic: Trace | Stream | ClosedLoop) -> Traffic:
        """Return *traffic*, with the file to write while it is replayed. Raises `InputError` for a stream."""
        if self.decode_trace is None:
            return traffic
        from archsim.errors import InputError, Problem
        from archsim.traffic import Recorded
        from archsim.workload.stream import Stream

        if isinstance(traffic, Stream):
            raise InputError(Problem(traffic.name, "--decode-trace", "a stream", "a trace that is held"))
        return Recorded(traffic, self.decode_trace)

    def check(self, mode: str, *, timeline: bool) -> None:
        """Raise `click.UsageError` where what is wanted does not go with the other options."""
        if self.decode_trace is not None and mode not in {"trace", "loop"}:
            raise click.UsageError("--decode-trace writes what a trace or a closed loop decodes: give one")
        if self.decode_only is not None and timeline:
            raise click.UsageError("--timeline is of a run that serves requests: it does not go with --decode-only")


decoding_options = grouped(
    "decoding", DecodingOptions,
    click.option("--decode-only", metavar="FILE",
                 help="Replay the decode iterations of a decode trace, and nothing else."),
    click.option("--decode-trace", metavar="FILE", type=click.Path(path_type=Path),
                 help="Write who decodes in every iteration, as JSONL, .gz or not."),
)  # fmt: skip
"""Give a command `--decode-only` and `--decode-trace`, as *decoding*."""
