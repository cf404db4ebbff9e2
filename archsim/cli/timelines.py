"""The timeline that a run writes: its options, and what they stand for."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import click

from archsim.cli.groups import grouped
from archsim.errors import InputError, Problem

if TYPE_CHECKING:
    from archsim.hardware.pools import Design
    from archsim.hardware.spec import SystemSpec
    from archsim.metrics.timeline import Span, Timeline
    from archsim.result import Result
    from archsim.timeline import Ask
    from archsim.workload.closed_loop import ClosedLoop
    from archsim.workload.model import Model
    from archsim.workload.stream import Stream
    from archsim.workload.trace import Trace

__all__ = ["TimelineOptions", "WantedTimeline", "timeline_options"]


@dataclass(frozen=True, slots=True)
class WantedTimeline:
    """A timeline that a command was asked for."""

    path: Path
    ask: Ask

    def write(
        self,
        result: Result,
        given: tuple[Design, Model],
        traffic: Trace | Stream | ClosedLoop | tuple[int, int],
        *,
        ways: tuple[str | None, str | None],
        stderr: bool,
    ) -> None:
        """Write the timeline of *result* of *given* and *traffic* (batch and context for a step), and say so."""
        from archsim.hardware.spec import SystemSpec
        from archsim.report.timeline_file import write_timeline
        from archsim.timeline import timeline_of_requests

        system, model = given
        if isinstance(system, SystemSpec):
            timeline = self._of(result, (system, model), traffic, ways)
        elif isinstance(traffic, tuple):
            main = system.pools[system.main]
            timeline = self._of(result, (main.system, model), traffic, (ways[0], main.parallel))
        else:
            timeline = timeline_of_requests(result, ask=self.ask)
        events = write_timeline(timeline, result, self.path)
        note = f"timeline written to {self.path} ({events:,} events; open it at https://ui.perfetto.dev)"
        click.echo(note, err=stderr)
        if timeline.left_out:
            click.echo(f"too many slices to show {timeline.left_out}; a narrower --timeline-window has them", err=True)

    def _of(
        self,
        result: Result,
        given: tuple[SystemSpec, Model],
        traffic: Trace | Stream | ClosedLoop | tuple[int, int],
        ways: tuple[str | None, str | None],
    ) -> Timeline:
        from archsim.timeline import timeline_of_replay, timeline_of_step
        from archsim.workload.stream import Stream

        precision, parallelism = ways
        if isinstance(traffic, tuple):
            batch, context = traffic
            return timeline_of_step(
                *given, batch=batch, context=context, precision=precision, parallelism=parallelism, ask=self.ask
            )
        if isinstance(traffic, Stream):
            raise InputError(Problem(traffic.name, "--timeline", "a stream", "a trace that is held"))
        return timeline_of_replay(
            result, *given, traffic=traffic, precision=precision, parallelism=parallelism, ask=self.ask
        )


class TimelineOptions(NamedTuple):
    """What a command was asked for."""

    timeline: Path | None
    timeline_window: str | None
    timeline_level: str | None

    def wanted(self) -> WantedTimeline | None:
        """Return the timeline that is wanted; None where none is.

        Raises `InputError` where the file exists, and for a window that is none.
        """
        from archsim.files import refuse_existing
        from archsim.timeline import Ask

        window, level = self.timeline_window, self.timeline_level
        if self.timeline is None:
            if window is not None or level is not None:
                raise click.UsageError("--timeline-window and --timeline-level belong to --timeline, which is missing")
            return None
        refuse_existing(self.timeline)
        return WantedTimeline(self.timeline, Ask(level, _window(window) if window is not None else None))


timeline_options = grouped(
    "timelines", TimelineOptions,
    click.option("--timeline", metavar="FILE", type=click.Path(path_type=Path),
                 help="Write what happened when as .json.gz, for ui.perfetto.dev."),
    click.option("--timeline-window", metavar="A..B", help="Only from A to B of simulated time: 10ms..20ms."),
    click.option("--timeline-level", type=click.Choice(["iteration", "operator", "chunk"]),
                 help="How fine: default operator for a step or a window, else iteration."),
)  # fmt: skip
"""Give a command `--timeline`, `--timeline-window` and `--timeline-level`, as *timelines*."""


def _window(text: str) -> Span:
    from archsim.metrics.timeline import Span
    from archsim.units import PS_PER_S, parse_quantity

    first, dots, last = text.partition("..")
    expected = "two times, the later one last: 10ms..20ms"
    try:
        start, end = (int(parse_quantity(part.strip(), "s") * PS_PER_S) for part in (first, last))
    except ValueError as error:
        raise InputError(Problem("", "--timeline-window", text[:80], f"{expected} ({error})")) from None
    if not (dots and 0 <= start < end):
        raise InputError(Problem("", "--timeline-window", text[:80], expected))
    return Span(start, end)
