"""Options that commands share, and the values they stand for."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from archsim.cli.groups import bundled
from archsim.errors import InputError, Problem

if TYPE_CHECKING:
    from archsim.economics.spec import Economics
    from archsim.hardware.pools import Design
    from archsim.result import Result
    from archsim.workload.model import Model

__all__ = [
    "Progress",
    "assume_option",
    "design_of",
    "detailed",
    "json_option",
    "model_option",
    "out_option",
    "priced",
    "progress_bar",
    "slo_seconds",
    "system_argument",
    "systems_argument",
]

Progress = Callable[[str, float], None]
"""Called with what is being done and the share of it that is done, 0 to 1."""

_systems = bundled("hwconfigs", "systems", ".toml")
system_argument = click.argument("system", shell_complete=_systems)
systems_argument = click.argument("systems", nargs=-1, required=True, shell_complete=_systems)
model_option = click.option("--model", "model_name", metavar="M", required=True, help="Bundled name or config.json.",
                            shell_complete=bundled("workloads", "models", ".json"))  # fmt: skip
assume_option = click.option("--assume-capacity", "assume", is_flag=True,
                             help="Let memories hold what they are asked to; every output says so.")  # fmt: skip
json_option = click.option("--json", "as_json", is_flag=True, help="Print only JSON.")
out_option = click.option("--out", metavar="DIR", type=click.Path(path_type=Path), help="Write the run directory here.")


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


def design_of(name: str, overrides: tuple[str, ...], *, assume: bool) -> Design:
    """Return the system or the pools that are asked for, with memories that hold everything where that is assumed."""
    from archsim.simulate import load_design

    design = load_design(name, overrides)
    if not assume:
        return design
    from archsim.hardware.capacity import with_assumed_capacity
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
