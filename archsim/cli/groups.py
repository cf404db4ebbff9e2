"""Groups of options that commands share; a command gets each group as one record."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import click

if TYPE_CHECKING:
    from archsim.economics.spec import Economics
    from archsim.workload.closed_loop import ClosedLoop

__all__ = [
    "EconomicsOptions",
    "LayoutOptions",
    "LoopOptions",
    "MetricsOptions",
    "TraceOptions",
    "bundled",
    "economics_options",
    "grouped",
    "layout_options",
    "loop_options",
    "metrics_options",
    "overrides_option",
    "seed_option",
    "trace_options",
]

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]
_ROUNDS = 2


def grouped(name: str, record: Any, *options: Decorator) -> Decorator:
    """Return what gives a command *options* and hands it their values as its argument *name*, a *record* of them.

    *record* is a named tuple whose fields are the parameters of the options.
    """

    def give(command: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(command)
        def called(**values: Any) -> Any:
            own = {field: values.pop(field) for field in record._fields}
            return command(**values, **{name: record(**own)})

        found: Callable[..., Any] = called
        for option in reversed(options):
            found = option(found)
        return found

    return give


def bundled(kind: str, folder: str, suffix: str) -> Callable[[click.Context, click.Parameter, str], list[str]]:
    """Return what completes a word to bundled names of *folder* of *kind*."""

    def complete(_context: click.Context, _option: click.Parameter, begun: str) -> list[str]:
        from archsim.files import bundled_names

        return [name for name in bundled_names(kind, folder, (suffix,)) if name.startswith(begun)]

    return complete


overrides_option = click.option("--set", "overrides", metavar="PATH=VALUE", multiple=True,
                                help="Change one key of the hwconfig, PATH as `archsim show` prints it.")  # fmt: skip
seed_option = click.option("--seed", type=click.IntRange(0, 2**63 - 1), metavar="N", default=0, show_default=True,
                           help="Of everything that is drawn.")  # fmt: skip


class LayoutOptions(NamedTuple):
    """How a model is laid out on which variant of a system."""

    precision: str | None
    parallel: str | None
    overrides: tuple[str, ...]


layout_options = grouped(
    "layout", LayoutOptions,
    click.option("--precision", metavar="P", help="Bits of weights, activations, KV: w8a16kv8."),
    click.option("--parallel", metavar="WAYS", help="Ways to divide the model: tp=4,pp=2, or auto."),
    overrides_option,
)  # fmt: skip
"""Give a command `--precision`, `--parallel` and `--set`, as *layout*."""


class TraceOptions(NamedTuple):
    """Which requests are replayed."""

    trace_name: str | None
    limit: int | None
    rate_scale: str | None
    seed: int


trace_options = grouped(
    "requests", TraceOptions,
    click.option("--trace", "trace_name", metavar="T", help="Bundled name or a file (docs/traces.md).",
                 shell_complete=bundled("workloads", "samplers", ".toml")),
    click.option("--limit", type=click.IntRange(min=1), metavar="N", help="Take the first N requests."),
    click.option("--rate-scale", metavar="X", help="Let requests arrive X times as fast."),
    seed_option,
)  # fmt: skip
"""Give a command `--trace`, `--limit`, `--rate-scale` and `--seed`, as *requests*."""


class LoopOptions(NamedTuple):
    """Which users ask again when they are answered."""

    concurrency: int | None
    prompt: int | None
    output: int | None
    rounds: int | None
    together: bool

    def loop(self) -> ClosedLoop:
        """Return the closed loop that is asked for."""
        from archsim.workload.closed_loop import ClosedLoop

        return ClosedLoop(
            self.concurrency or 0, self.prompt or 0, self.output or 0, self.rounds or _ROUNDS, self.together
        )


_size = click.IntRange(min=1)
loop_options = grouped(
    "users", LoopOptions,
    click.option("--concurrency", type=_size, metavar="N", help="Replay N users who ask again when answered."),
    click.option("--prompt", type=_size, metavar="TOKENS", help="Of each of their requests."),
    click.option("--output", type=_size, metavar="TOKENS", help="Of each of their requests."),
    click.option("--rounds", type=_size, metavar="R", help="Requests of each after its first; default 2."),
    click.option("--together", is_flag=True, help="All start at once, with whole requests."),
)  # fmt: skip
"""Give a command `--concurrency`, `--prompt`, `--output`, `--rounds` and `--together`, as *users*."""


class EconomicsOptions(NamedTuple):
    """Prices and emissions other than those that every result has."""

    economics: str | None
    region: str | None
    basis: str | None

    def prices(self) -> Economics | None:
        """Return the prices that are named; None where none are."""
        from archsim.economics.spec import DEFAULT, load_economics

        if self.economics is self.region is self.basis is None:
            return None
        name = DEFAULT if self.economics is None else self.economics
        return load_economics(name, region=self.region, basis=self.basis)


economics_options = grouped(
    "economics", EconomicsOptions,
    click.option("--economics", metavar="FILE", help="Prices and emissions: a bundled name or a TOML file."),
    click.option("--region", metavar="R", help="Where the machines stand: a region of that file."),
    click.option("--basis", metavar="HOW", help="Chips by stated `price`, or all built up from `parts`."),
)  # fmt: skip
"""Give a command `--economics`, `--region` and `--basis`, as *economics*."""


class MetricsOptions(NamedTuple):
    """What is measured of a replay beyond latencies."""

    metrics: bool
    slo_ttft: str | None
    slo_tpot: str | None

    @property
    def overrides(self) -> tuple[str, ...]:
        """The settings that the options stand for."""
        levels = {"slo_ttft": self.slo_ttft, "slo_tpot": self.slo_tpot}
        found = [f"serving.metrics.{key}={value}" for key, value in levels.items() if value is not None]
        return ("serving.metrics.detail=tokens", *found) if found or self.metrics else ()


metrics_options = grouped(
    "metrics", MetricsOptions,
    click.option("--metrics", is_flag=True,
                 help="Measure times between tokens, queues over time, fairness, energy of requests, too."),
    click.option("--slo-ttft", metavar="TIME", help="Time to first token that goodput asks for."),
    click.option("--slo-tpot", metavar="TIME", help="Time of each further token that goodput asks for."),
)  # fmt: skip
"""Give a command `--metrics`, `--slo-ttft` and `--slo-tpot`, as *metrics*."""
