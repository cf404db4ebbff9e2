"""`archsim trace`: what a trace is like, and traces made of others."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from archsim.cli.groups import seed_option
from archsim.cli.options import json_option
from archsim.cli.trace_files import convert, download, merge, sample
from archsim.cli.trace_graph import replay

if TYPE_CHECKING:
    from archsim.workload.statistics import Lengths, TraceStatistics
    from archsim.workload.trace import Trace

__all__ = ["command"]


@click.group()
def command() -> None:
    """Look at request traces, get them, change them.

    Example: archsim trace inspect azure-conv
    """


@command.command()
@click.argument("trace")
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="Take the first N requests.")
@click.option("--rate-scale", metavar="X", help="Let requests arrive X times as fast.")
@seed_option
@json_option
def inspect(trace: str, *, limit: int | None, rate_scale: str | None, seed: int, as_json: bool) -> None:
    """Print rows, span, rate, quantiles and burstiness of TRACE (a bundled name, or a file of a known schema).

    Example: archsim trace inspect requests.csv.gz --limit 1000
    """
    from dataclasses import asdict
    from json import dumps

    from archsim.workload.statistics import describe
    from archsim.workload.trace import load_trace

    loaded = load_trace(trace, limit, rate_scale, seed)
    facts = describe(loaded)
    if as_json:
        origin = {"name": loaded.name, "sampled": loaded.sampled, "seed": loaded.seed, "digest": loaded.digest}
        click.echo(dumps(origin | asdict(facts), indent=2, allow_nan=False))
    else:
        click.echo("\n".join(_page(loaded, facts)))


for _command in (convert, sample, merge, download, replay):
    command.add_command(_command)
command.add_command(inspect, "show")


def _page(trace: Trace, facts: TraceStatistics) -> list[str]:
    origin = f"sampled from published distributions, seed {trace.seed}" if trace.sampled else "from a file"
    rows: list[tuple[str, Any, str]] = [
        ("requests", facts.requests, ""),
        ("span", facts.span_s, " s"),
        ("rate", facts.requests_per_s, " requests/s"),
        ("inter-arrival CV", facts.interarrival_cv, ""),
        ("busiest minute", facts.busiest_minute, " x the mean"),
        ("correlation", facts.correlation, " of prompt and output"),
    ]
    if facts.prefix_share is not None:
        rows.append(("prefix share", 100 * facts.prefix_share, " % of prompt tokens repeat an earlier prompt's start"))
        rows.append(("distinct blocks", facts.distinct_blocks, f" of {trace.block_tokens} tokens"))
    if facts.sessions is not None:
        rows.append(("sessions", facts.sessions, ""))
    if facts.waiting is not None:
        rows.append(("closed loop", facts.waiting, " requests wait for the answer before"))
    lines = [f"{trace.name} ({origin}; {trace.digest})"]
    lines += [f"  {title:<18}{_shown(value)}{unit if value is not None else ''}" for title, value, unit in rows]
    lines += _table({"prompt tokens": facts.prompt_tokens, "output tokens": facts.output_tokens})
    return lines


def _table(columns: dict[str, Lengths]) -> list[str]:
    first = next(iter(columns.values()))
    titles = ["min", *(f"p{percent}" for percent in first.quantiles), "max", "mean"]
    lines = ["  " + " " * 14 + "".join(f"{title:>9}" for title in titles)]
    for name, lengths in columns.items():
        values = [lengths.smallest, *lengths.quantiles.values(), lengths.largest, lengths.mean]
        lines.append(f"  {name:<14}" + "".join(f"{value:>9,.0f}" for value in values))
    return lines


def _shown(value: float | None) -> str:
    if value is None:
        return "undefined"
    return f"{value:,}" if isinstance(value, int) else f"{value:,.4g}" if abs(value) < 1000 else f"{value:,.1f}"
