"""The timeline that a run writes: its options, and what they stand for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

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

__all__ = ["WantedTimeline", "timeline_options", "wanted_timeline"]

_NAMES = ("timeline", "timeline_window", "timeline_level")


def timeline_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give *command* `--timeline`, `--timeline-window` and `--timeline-level`; `wanted_timeline` reads them."""

    def keep(ctx: click.Context, option: click.Parameter, value: object) -> None:
        ctx.meta[f"archsim.{option.name}"] = value

    options = (
        click.option("--timeline", metavar="FILE", type=click.Path(path_type=Path), expose_value=False, callback=keep,
                     help="Write what happened when as .json.gz, for ui.perfetto.dev."),
        click.option("--timeline-window", metavar="A..B", expose_value=False, callback=keep,
                     help="Only from A to B of simulated time: 10ms..20ms."),
        click.option("--timeline-level", type=click.Choice(["iteration", "operator", "chunk"]), expose_value=False,
                     callback=keep, help="How fine: default operator for a step or a window, else iteration."),
    )  # fmt: skip
    for option in reversed(options):
        command = option(command)
    return command


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


def wanted_timeline() -> WantedTimeline | None:
    """Return what the options of the running command ask for; None where they ask for nothing.

    Raises `InputError` where the file exists, and for a window that is none.
    """
    from archsim.files import refuse_existing
    from archsim.timeline import Ask

    meta = click.get_current_context().meta
    path, window, level = (meta[f"archsim.{name}"] for name in _NAMES)
    if path is None:
        if window is not None or level is not None:
            raise click.UsageError("--timeline-window and --timeline-level belong to --timeline, which is missing")
        return None
    refuse_existing(path)
    return WantedTimeline(path, Ask(level, _window(window) if window is not None else None))


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
