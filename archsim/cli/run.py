"""`archsim run`: one system, on a trace, a closed loop, or for a single decode step."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import click

from archsim.cli.checkpoints import CheckpointOptions, checkpoint_options
from archsim.cli.decoding import DecodingOptions, decoding_options
from archsim.cli.groups import (
    EconomicsOptions,
    LayoutOptions,
    LoopOptions,
    MetricsOptions,
    TraceOptions,
    economics_options,
    layout_options,
    loop_options,
    metrics_options,
    trace_options,
)
from archsim.cli.options import (
    assume_option,
    design_of,
    detailed,
    json_option,
    model_option,
    out_option,
    priced,
    progress_bar,
    slo_seconds,
    system_argument,
)
from archsim.cli.timelines import TimelineOptions, timeline_options
from archsim.cli.ways import AUTO, chosen

if TYPE_CHECKING:
    from archsim.hardware.pools import Design
    from archsim.result import Result
    from archsim.traffic import Traffic
    from archsim.workload.closed_loop import ClosedLoop
    from archsim.workload.decode_trace import DecodeTrace
    from archsim.workload.model import Model
    from archsim.workload.stream import Stream
    from archsim.workload.trace import Trace

__all__ = ["command"]

_DEFAULT_SLO = "50 ms"


@click.command("run")
@system_argument
@model_option
@trace_options
@click.option("--batch", type=click.IntRange(min=1), metavar="B", help="Evaluate one decode step of B sequences.")
@click.option("--context", type=click.IntRange(min=1), metavar="C", help="Tokens of context of each of them.")
@loop_options
@decoding_options
@layout_options
@assume_option
@click.option("--saturate", is_flag=True, help="Search the highest rate that meets the service level, too.")
@click.option("--slo", metavar="TIME", help=f"TPOT p99 that saturation must meet; default {_DEFAULT_SLO}.")
@metrics_options
@economics_options
@checkpoint_options
@timeline_options
@out_option
@json_option
def command(  # noqa: PLR0913  # one parameter an option or a group of them
    *,
    system: str,
    model_name: str,
    requests: TraceOptions,
    batch: int | None,
    context: int | None,
    users: LoopOptions,
    decoding: DecodingOptions,
    layout: LayoutOptions,
    assume: bool,
    saturate: bool,
    slo: str | None,
    metrics: MetricsOptions,
    economics: EconomicsOptions,
    checkpoints: CheckpointOptions,
    timelines: TimelineOptions,
    out: Path | None,
    as_json: bool,
) -> None:
    """Run one SYSTEM (a bundled name or a TOML file) on a trace, a closed loop of users, or for one decode step.

    Prints latency, throughput and the decode ledger of the main memory; writes files only with --out and --timeline.

    Example: archsim run h100-sxm8 --model llama-3.1-70b --batch 32 --context 2048
    """
    from archsim.files import refuse_existing
    from archsim.simulate import evaluate_step, load_model

    if out is not None:
        refuse_existing(out)
    prices, timeline, precision, parallel = economics.prices(), timelines.wanted(), layout.precision, layout.parallel
    service_level = {"--saturate": saturate or None, "--slo": slo}
    mode = _mode({
        "trace": _stated(requests) | service_level,
        "step": {"--batch": batch, "--context": context},
        "loop": _stated(users),
        "decode": {"--decode-only": decoding.decode_only},
    })  # fmt: skip
    decoding.check(mode, timeline=timeline is not None)
    checkpoints.check(mode, beside="--decode-trace" if decoding.decode_trace else "--timeline" if timeline else None)
    given = (design_of(system, (*layout.overrides, *metrics.overrides), assume=assume), load_model(model_name))
    traffic: Trace | Stream | ClosedLoop | tuple[int, int] = (batch or 0, context or 0)
    if decoding.decode_only is not None:
        ways = (precision, parallel)
        result, parallel = _decoded(decoding.decode_only, given, ways=ways, seed=requests.seed, stderr=as_json)
    elif batch is not None and context is not None:
        parallel = _ways(given, precision, parallel, of=traffic, stderr=as_json)
        result = evaluate_step(*given, batch=batch, context=context, precision=precision, parallelism=parallel)
    else:
        traffic = users.loop() if mode == "loop" else _reader(whole=bool(timeline or decoding.decode_trace))(*requests)
        slo_s = slo_seconds(slo or _DEFAULT_SLO) if saturate else None
        parallel = _ways(given, precision, parallel, of=traffic, stderr=as_json)
        served = checkpoints.kept(traffic) if checkpoints.asked else decoding.recorded(traffic)
        result = _replayed(given, served, (precision, parallel), seed=requests.seed, slo_s=slo_s)
    result = priced(result, given[0], prices)
    if timeline is not None:
        timeline.write(result, given, traffic, ways=(precision, parallel), stderr=as_json)
    _hand_out(result, out, given, at=((batch, context), (precision, parallel)), as_json=as_json)


_NEEDED = {
    "trace": ("--trace",),
    "step": ("--batch", "--context"),
    "loop": ("--concurrency", "--prompt", "--output"),
    "decode": ("--decode-only",),
}
"""What each way of asking must state."""


def _stated(group: TraceOptions | LoopOptions) -> dict[str, object]:
    """Return option -> value of *group*, None where it is not given; the seed goes with every way of asking."""
    values = {
        f"--{field.removesuffix('_name').replace('_', '-')}": None if value is False else value
        for field, value in group._asdict().items()
    }
    return {option: value for option, value in values.items() if option != "--seed"}


def _mode(given: Mapping[str, Mapping[str, object]]) -> str:
    """Return the way of asking whose options are given, a key of `_NEEDED`.

    Raises `click.UsageError` where options of two ways, or not all that one needs, are given.
    """
    stated = {mode: [name for name, value in options.items() if value is not None] for mode, options in given.items()}
    asked = [mode for mode, names in stated.items() if names]
    ways = "; or ".join(" and ".join(names) for names in _NEEDED.values())
    if len(asked) > 1:
        first, second = (f"{stated[mode][0]} (of a {mode})" for mode in asked[:2])
        raise click.UsageError(f"{first} does not go with {second}: give {ways}")
    missing = [name for name in _NEEDED[asked[0]] if name not in stated[asked[0]]] if asked else []
    if missing or not asked:
        raise click.UsageError(f"{', '.join(missing) or 'nothing to run'} is missing: give {ways}")
    if "--slo" in stated["trace"] and "--saturate" not in stated["trace"]:
        raise click.UsageError("--slo is the service level of --saturate, which is missing")
    return asked[0]


def _reader(*, whole: bool) -> Callable[[str | None, int | None, str | None, int], Trace | Stream]:
    """Return what reads a trace: to hold it however long where it is shown *whole*, request by request."""
    from archsim.simulate import load_trace, open_traffic

    return load_trace if whole else open_traffic


def _replayed(
    given: tuple[Design, Model],
    traffic: Traffic,
    ways: tuple[str | None, str | None],
    *,
    seed: int,
    slo_s: float | None,
) -> Result:
    """Return the result of *traffic* on *given*, under a bar of progress."""
    from archsim.simulate import run

    precision, parallel = ways
    with progress_bar(given[0].name) as progress:
        return run(*given, trace=traffic, precision=precision, parallelism=parallel, seed=seed, slo_s=slo_s,
                          progress=progress)  # fmt: skip


def _decoded(
    name: str, given: tuple[Design, Model], *, ways: tuple[str | None, str | None], seed: int, stderr: bool
) -> tuple[Result, str | None]:
    """Return the result of the decode trace *name* on *given*, and how the model is divided."""
    from archsim.simulate import run
    from archsim.workload.decode_trace import open_decode_trace

    trace = open_decode_trace(name)
    precision, parallel = ways
    parallel = _ways(given, precision, parallel, of=trace, stderr=stderr)
    return run(*given, trace=trace, precision=precision, parallelism=parallel, seed=seed), parallel


def _ways(
    given: tuple[Design, Model],
    precision: str | None,
    parallel: str | None,
    *,
    of: Trace | Stream | ClosedLoop | DecodeTrace | tuple[int, int],
    stderr: bool,
) -> str | None:
    """Return *parallel*, searched for *of* where it is to be found."""
    return chosen(*given, precision=precision, of=of, stderr=stderr) if parallel == AUTO else parallel


def _hand_out(
    result: Result,
    out: Path | None,
    given: tuple[Design, Model],
    *,
    at: tuple[tuple[int | None, int | None], tuple[str | None, str | None]],
    as_json: bool,
) -> None:
    """Write *result* of *given* to *out*, if anywhere, and print it. *at*: its step, and precision and parallelism."""
    if out is not None:
        from archsim.report.writers import write_run

        write_run(detailed(result, *given, iteration=at[0], ways=at[1]), out)
    if as_json:
        click.echo(result.to_json(), nl=False)
        return
    from archsim.report import table

    screen = table.console()
    screen.print(f"{result.system.title}: {table.headline(result)}")
    screen.print(table.run_summary(result), "", table.waterfall(result), sep="\n")
    if result.placement is not None:
        from archsim.report.tiers import tier_table

        screen.print("", tier_table(result), sep="\n")
    if result.saturation is not None:
        screen.print("", table.saturation_headline([result]), table.saturation_block([result]), sep="\n")
