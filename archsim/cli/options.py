"""Options that commands share, and the values they stand for."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from archsim.errors import InputError, Problem

if TYPE_CHECKING:
    from archsim.economics.spec import Economics
    from archsim.hardware.pools import Design
    from archsim.hardware.spec import SystemSpec
    from archsim.result import Result
    from archsim.workload.closed_loop import ClosedLoop
    from archsim.workload.model import Model

__all__ = [
    "Progress",
    "assume_option",
    "design_of",
    "detailed",
    "economics_of",
    "economics_options",
    "json_option",
    "loop_of",
    "loop_options",
    "metrics_options",
    "metrics_overrides",
    "model_option",
    "out_option",
    "overrides_option",
    "parallel_option",
    "precision_option",
    "priced",
    "progress_bar",
    "slo_seconds",
    "system_argument",
    "system_of",
    "systems_argument",
    "trace_options",
]

Progress = Callable[[str, float], None]
"""Called with what is being done and the share of it that is done, 0 to 1."""

_ROUNDS = 2
_ECONOMICS = ("economics", "region", "basis")


def bundled(kind: str, folder: str, suffix: str) -> Callable[[click.Context, click.Parameter, str], list[str]]:
    """Return what completes a word to bundled names of *folder* of *kind*."""

    def complete(_context: click.Context, _option: click.Parameter, begun: str) -> list[str]:
        from archsim.files import bundled_names

        return [name for name in bundled_names(kind, folder, (suffix,)) if name.startswith(begun)]

    return complete


_systems = bundled("hwconfigs", "systems", ".toml")
system_argument = click.argument("system", shell_complete=_systems)
systems_argument = click.argument("systems", nargs=-1, required=True, shell_complete=_systems)
model_option = click.option("--model", "model_name", metavar="M", required=True, help="Bundled name or config.json.",
                            shell_complete=bundled("workloads", "models", ".json"))  # fmt: skip
precision_option = click.option("--precision", metavar="P", help="Bits of weights, activations, KV: w8a16kv8.")
parallel_option = click.option("--parallel", metavar="WAYS", help="Ways to divide the model: tp=4,pp=2, or auto.")
overrides_option = click.option("--set", "overrides", metavar="PATH=VALUE", multiple=True,
                                help="Change one key of the hwconfig, PATH as `archsim show` prints it.")  # fmt: skip
assume_option = click.option("--assume-capacity", "assume", is_flag=True,
                             help="Let memories hold what they are asked to; every output says so.")  # fmt: skip
json_option = click.option("--json", "as_json", is_flag=True, help="Print only JSON.")
out_option = click.option("--out", metavar="DIR", type=click.Path(path_type=Path), help="Write the run directory here.")


def trace_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give *command* `--trace`, `--limit`, `--rate-scale` and `--seed`."""
    options = (
        click.option("--trace", "trace_name", metavar="T", help="Bundled name or a file (docs/traces.md).",
                     shell_complete=bundled("workloads", "samplers", ".toml")),
        click.option("--limit", type=click.IntRange(min=1), metavar="N", help="Take the first N requests."),
        click.option("--rate-scale", metavar="X", help="Let requests arrive X times as fast."),
        click.option("--seed", type=click.IntRange(0, 2**63 - 1), metavar="N", default=0, show_default=True,
                     help="Of everything that is drawn."),
    )  # fmt: skip
    for option in reversed(options):
        command = option(command)
    return command


def economics_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give *command* `--economics`, `--region` and `--basis`; `economics_of` reads them."""

    def keep(ctx: click.Context, option: click.Parameter, value: str | None) -> None:
        ctx.meta[f"archsim.{option.name}"] = value

    options = (
        click.option("--economics", metavar="FILE", expose_value=False, callback=keep,
                     help="Prices and emissions: a bundled name or a TOML file."),
        click.option("--region", metavar="R", expose_value=False, callback=keep,
                     help="Where the machines stand: a region of that file."),
        click.option("--basis", metavar="HOW", expose_value=False, callback=keep,
                     help="Chips by stated `price`, or all built up from `parts`."),
    )  # fmt: skip
    for option in reversed(options):
        command = option(command)
    return command


def economics_of() -> Economics | None:
    """Return the prices that the options of the running command name; None where they name none."""
    from archsim.economics.spec import DEFAULT, load_economics

    economics, region, basis = (click.get_current_context().meta[f"archsim.{name}"] for name in _ECONOMICS)
    if economics is region is basis is None:
        return None
    return load_economics(DEFAULT if economics is None else economics, region=region, basis=basis)


def priced(result: Result, design: Design, prices: Economics | None) -> Result:
    """Return *result* of *design* by other *prices* than those of the chain, where some are given."""
    if prices is None:
        return result
    from archsim.simulate import with_prices

    return with_prices(result, design, prices)


def detailed(
    result: Result,
    design: Design,
    model: Model,
    *,
    iteration: tuple[int | None, int | None] = (None, None),
    ways: tuple[str | None, str | None],
) -> Result:
    """Return *result* with what its operators take in its tables, for a directory; pools have none to tell.

    *iteration* is batch and context of a step.
    """
    from archsim.hardware.spec import SystemSpec
    from archsim.operators import with_operators

    if not isinstance(design, SystemSpec):
        return result
    batch, context = iteration
    alone = None if batch is None or context is None else (batch, context)
    return with_operators(result, design, model, iteration=alone, ways=ways)


def loop_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give *command* `--concurrency`, `--prompt`, `--output`, `--rounds` and `--together`."""
    size = click.IntRange(min=1)
    options = (
        click.option("--concurrency", type=size, metavar="N", help="Replay N users who ask again when answered."),
        click.option("--prompt", type=size, metavar="TOKENS", help="Of each of their requests."),
        click.option("--output", type=size, metavar="TOKENS", help="Of each of their requests."),
        click.option("--rounds", type=size, metavar="R", help="Requests of each after its first; default 2."),
        click.option("--together", is_flag=True, help="All start at once, with whole requests."),
    )
    for option in reversed(options):
        command = option(command)
    return command


def loop_of(
    concurrency: int | None, prompt: int | None, output: int | None, rounds: int | None, *, together: bool
) -> ClosedLoop:
    """Return the closed loop that the options ask for."""
    from archsim.workload.closed_loop import ClosedLoop

    return ClosedLoop(concurrency or 0, prompt or 0, output or 0, rounds or _ROUNDS, together)


def metrics_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give *command* `--metrics`, `--slo-ttft` and `--slo-tpot`; `metrics_overrides` reads them."""

    def keep(ctx: click.Context, option: click.Parameter, value: object) -> None:
        ctx.meta[f"archsim.{option.name}"] = value

    options = (
        click.option("--metrics", is_flag=True, expose_value=False, callback=keep,
                     help="Measure times between tokens, queues over time, fairness, energy of requests, too."),
        click.option("--slo-ttft", metavar="TIME", expose_value=False, callback=keep,
                     help="Time to first token that goodput asks for."),
        click.option("--slo-tpot", metavar="TIME", expose_value=False, callback=keep,
                     help="Time of each further token that goodput asks for."),
    )  # fmt: skip
    for option in reversed(options):
        command = option(command)
    return command


def metrics_overrides() -> tuple[str, ...]:
    """Return the settings that the options of the running command stand for."""
    meta = click.get_current_context().meta
    levels = {key: meta.get(f"archsim.{key}") for key in ("slo_ttft", "slo_tpot")}
    found = [f"serving.metrics.{key}={value}" for key, value in levels.items() if value is not None]
    return ("serving.metrics.detail=tokens", *found) if found or meta.get("archsim.metrics") else ()


def system_of(name: str, overrides: tuple[str, ...], *, assume: bool) -> SystemSpec:
    """Return the system that is asked for, with memories that hold what they are asked to where that is assumed."""
    from archsim.hardware.assumed import with_assumed_capacity
    from archsim.simulate import load_system

    spec = load_system(name, overrides)
    return with_assumed_capacity(spec) if assume else spec


def design_of(name: str, overrides: tuple[str, ...], *, assume: bool) -> Design:
    """Return the system or the pools that are asked for, with memories that hold everything where that is assumed."""
    from archsim.simulate import load_design

    design = load_design(name, overrides)
    if not assume:
        return design
    from archsim.hardware.assumed import with_assumed_capacity
    from archsim.hardware.spec import SystemSpec

    if isinstance(design, SystemSpec):
        return with_assumed_capacity(design)
    pools = {
        name: pool.model_copy(update={"system": with_assumed_capacity(pool.system)})
        for name, pool in design.pools.items()
    }
    return design.model_copy(update={"pools": pools})


def slo_seconds(text: str) -> float:
    """Return a service level such as `"50 ms"` in seconds. Raises `InputError` for anything but a positive time."""
    from archsim.units import parse_quantity

    try:
        seconds = float(parse_quantity(text, "s"))
    except ValueError as error:
        raise InputError(Problem("", "--slo", text, str(error))) from None
    if seconds <= 0:
        raise InputError(Problem("", "--slo", text, "a time above zero"))
    return seconds


@contextmanager
def progress_bar(label: str) -> Iterator[Progress | None]:
    """Give a function that draws progress on standard error, or None where that is no terminal."""
    from rich.console import Console

    screen = Console(stderr=True)
    if not screen.is_terminal:
        yield None
        return
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    left = TextColumn("left")
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(compact=True),
        left,
    )
    with Progress(*columns, console=screen, transient=True) as bars:
        task = bars.add_task(label, total=1.0)

        def told(stage: str, done: float) -> None:
            named = f"{label}: {stage}"
            if bars.tasks[0].description != named:
                # The pace of another stage says nothing about this one.
                bars.reset(task, description=named)
            bars.update(task, completed=done)

        yield told
