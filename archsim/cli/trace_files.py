"""Commands of `archsim trace` that write a trace: convert, sample, merge, download."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import click

from archsim.cli.groups import grouped, seed_option
from archsim.cli.options import json_option
from archsim.errors import InputError, Problem

if TYPE_CHECKING:
    from archsim.workload.request import Rows
    from archsim.workload.transforms import Retrieval

__all__ = ["convert", "download", "merge", "sample"]

_LARGEST_SCALE = 1000
_out = click.argument("out", type=click.Path(path_type=Path))


class _Changes(NamedTuple):
    """What is changed of a trace."""

    limit: int | None
    start: str | None
    span: str | None
    poisson: str | None
    rate_scale: str | None
    prompt_scale: str | None
    output_scale: str | None
    retrieve: str | None
    seed: int


_changes = grouped(
    "changes", _Changes,
    click.option("--limit", type=click.IntRange(min=1), metavar="N", help="Take the first N requests."),
    click.option("--start", metavar="TIME", help="Leave out what arrives before: 10min."),
    click.option("--span", metavar="TIME", help="Take what arrives within: 5min."),
    click.option("--poisson", metavar="RATE", help="Draw arrivals at a rate instead: '5 req/s'."),
    click.option("--rate-scale", metavar="X", help="Let requests arrive X times as fast."),
    click.option("--prompt-scale", metavar="X", help="Prompts X times as long, what they share with them."),
    click.option("--output-scale", metavar="X", help="Outputs X times as long."),
    click.option("--retrieve", metavar="HEAD+PASSAGES", help="Cut prompts to a head and retrieved passages: 512+3584."),
    seed_option,
)  # fmt: skip


@click.command()
@click.argument("trace")
@_out
@_changes
@json_option
def convert(trace: str, *, out: Path, changes: _Changes, as_json: bool) -> None:
    """Write TRACE to OUT in the common schema: CSV, JSONL or Parquet by the name, changed where options say so.

    Example: archsim trace convert conversation_trace.jsonl.gz mooncake.csv.gz --rate-scale 2
    """
    _write(_rows(trace, changes), out, as_json=as_json)


@click.command()
@click.argument("trace")
@_out
@click.option("--share", metavar="X", required=True, help="Of the requests; sessions whole or not at all.")
@_changes
@json_option
def sample(trace: str, *, out: Path, share: str, changes: _Changes, as_json: bool) -> None:
    """Write a random share of TRACE to OUT: its arrivals thinned, its sessions and lengths as they are.

    Example: archsim trace sample azure-conv tenth.csv --share 0.1
    """
    from archsim.workload.transforms import shared_out

    part = _number("--share", share, most=1)
    _write(shared_out(_rows(trace, changes), part, changes.seed), out, as_json=as_json)


@click.command()
@click.argument("traces", nargs=-1, required=True)
@_out
@_changes
@json_option
def merge(traces: tuple[str, ...], *, out: Path, changes: _Changes, as_json: bool) -> None:
    """Write several TRACES to OUT as one, in order of arrival; options change each of them.

    Example: archsim trace merge azure-conv agents mixed.jsonl
    """
    from archsim.workload.transforms import merged

    _write(merged([_rows(trace, changes) for trace in traces]), out, as_json=as_json)


@click.command()
@click.argument("name", required=False)
@click.argument("out", type=click.Path(path_type=Path), required=False)
@json_option
def download(name: str | None, *, out: Path | None, as_json: bool) -> None:
    """Fetch the public trace NAME to OUT (default: a file of that name here); without a name, list what there is.

    Example: archsim trace download mooncake-conversation
    """
    from json import dumps

    from archsim.workload import public

    if name is None:
        rows = [{"name": key, "requests": one.requests, "licence": one.licence, "url": one.url}
                for key, one in public.PUBLIC.items()]  # fmt: skip
        lines = [f"{row['name']:<24}{row['requests']:>8,} requests  {row['licence']:<12}{row['url']}" for row in rows]
        click.echo(dumps(rows, indent=2) if as_json else "\n".join(lines))
        return
    trace = public.public_trace(name)
    path = Path(name + trace.suffix) if out is None else out
    digest = public.download(trace, path)
    facts = {"file": str(path), "requests": trace.requests, "digest": digest, "licence": trace.licence}
    click.echo(dumps(facts, indent=2) if as_json else f"{path}: {trace.requests:,} requests, {trace.licence}, {digest}")


def _rows(name: str, changes: _Changes) -> Rows:
    """Return the requests of the trace *name* with *changes*."""
    from archsim.workload import transforms
    from archsim.workload.trace import open_trace

    rows = open_trace(name, changes.limit, changes.rate_scale, changes.seed, per_s=_rate(changes.poisson)).rows()
    if changes.start is not None or changes.span is not None:
        start_ps = _time_ps("--start", changes.start) or 0
        rows = transforms.sliced(rows, start_ps, _time_ps("--span", changes.span))
    if changes.retrieve is not None:
        rows = transforms.with_retrieval(rows, _retrieval(changes.retrieve))
    scales = [changes.prompt_scale, changes.output_scale]
    if scales != [None, None]:
        names = ("--prompt-scale", "--output-scale")
        prompt, output = (
            _number(key, text or "1", most=_LARGEST_SCALE) for key, text in zip(names, scales, strict=True)
        )
        rows = transforms.scaled_lengths(rows, prompt, output)
    return rows


def _write(rows: Rows, out: Path, *, as_json: bool) -> None:
    from json import dumps

    from archsim.workload.writers import write_requests

    count = write_requests(rows, out)
    click.echo(dumps({"file": str(out), "requests": count}) if as_json else f"{out}: {count:,} requests")


def _number(option: str, text: str, *, most: int) -> Fraction:
    try:
        number = Fraction(text) if len(text) <= 40 else Fraction(0)
    except (ValueError, ZeroDivisionError):
        number = Fraction(0)
    if not Fraction(1, 10**6) <= number <= most:
        raise InputError(Problem("", option, text, f"a number from 0.000001 to {most}"))
    return number


def _rate(text: str | None) -> Fraction | None:
    from archsim.units import parse_quantity

    if text is None:
        return None
    try:
        rate = parse_quantity(text, "1/s")
    except ValueError as error:
        raise InputError(Problem("", "--poisson", text, str(error))) from None
    if not Fraction(1, 1000) <= rate <= 10**6:
        raise InputError(Problem("", "--poisson", text, "from 0.001 req/s to 1,000,000 req/s"))
    return rate


def _time_ps(option: str, text: str | None) -> int | None:
    from archsim.units import PS_PER_S, parse_quantity

    if text is None:
        return None
    try:
        seconds = parse_quantity(text, "s")
    except ValueError as error:
        raise InputError(Problem("", option, text, str(error))) from None
    if not 0 <= seconds <= 10**7:
        raise InputError(Problem("", option, text, "a time from 0 s to 10,000,000 s"))
    return int(seconds * PS_PER_S)


def _retrieval(text: str) -> Retrieval:
    from archsim.workload.transforms import Retrieval

    head, plus, passages = text.partition("+")
    if not (plus and all(part.isascii() and part.isdigit() and len(part) <= 9 for part in (head, passages))) or (
        int(head) + int(passages) == 0
    ):
        raise InputError(Problem("", "--retrieve", text, "tokens of the head and of the passages: 512+3584"))
    return Retrieval(int(head), int(passages))
