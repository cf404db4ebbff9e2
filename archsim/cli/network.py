"""`archsim network`: what a collective costs on a system, by size and algorithm, and which links it keeps busy."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from archsim.cli.groups import overrides_option
from archsim.cli.options import json_option, system_argument

if TYPE_CHECKING:
    from archsim.hardware.spec import SystemSpec
    from archsim.network.curves import Curve
    from archsim.network.topology import Network

__all__ = ["command"]


@click.command("network")
@system_argument
@click.option(
    "--collective", default="all-reduce", show_default=True, metavar="KIND", help="Or all-gather, all-to-all, ..."
)
@click.option(
    "--bytes", "size_range", default="1KiB:1GiB", show_default=True, metavar="LOW:HIGH", help="Message sizes."
)
@click.option("--ranks", type=click.IntRange(min=2), metavar="N", help="The first N working chips; default: all.")
@overrides_option
@click.option("--out", metavar="FILE", help="Also draw curve and link heat map: FILE.svg or FILE.png.")
@json_option
def command(
    *, system: str, collective: str, size_range: str, ranks: int | None, overrides: tuple[str, ...], out: str | None,
    as_json: bool,
) -> None:  # fmt: skip
    """Time a collective on SYSTEM at message sizes LOW to HIGH, each twice the one before.

    Every algorithm is simulated on the system's graph; libraries that were measured on this generation of chips are
    shown beside them. Where the fastest algorithm changes, the size is found to the byte.

    Example: archsim network h100-sxm8 --collective all-reduce --bytes 1KiB:1GiB
    """
    from json import dumps

    from archsim.hardware.library import load_system
    from archsim.hardware.system import System
    from archsim.network.curves import message_curve, sizes_between

    spec = load_system(system, overrides)
    network = System(spec).network
    curve = message_curve(
        network,
        kind=collective.replace("-", "_"),
        ranks=_ranks(spec, ranks),
        sizes=sizes_between(*_sizes(size_range)),
        software_ps=spec.runtime.collective_software_ps,
        chip=spec.chip.name,
    )
    if out:
        from pathlib import Path

        from archsim.report.network_figure import write_network_figure

        title = f"{spec.title}: {collective} of {curve.ranks} chips"
        write_network_figure(network, curve, Path(out), title=title)
    if as_json:
        click.echo(dumps(_page(spec, network, curve), indent=2, allow_nan=False))
    else:
        _print(spec, network, curve)


def _ranks(spec: SystemSpec, ranks: int | None) -> tuple[int, ...]:
    from archsim.errors import InputError, Problem

    chips = spec.working_chips
    wanted = ranks or len(chips)
    if not 2 <= wanted <= len(chips):
        expected = f"2 to {len(chips)} ranks: {spec.name} has {len(chips)} chips" if len(chips) > 1 else (
            f"a system of at least 2 chips; {spec.name} has one"
        )  # fmt: skip
        raise InputError(Problem("", "--ranks", str(wanted), expected))
    return chips[:wanted]


def _sizes(text: str) -> tuple[int, int]:
    from archsim.errors import InputError, Problem
    from archsim.units import parse_quantity

    low, colon, high = text.partition(":")
    try:
        return int(parse_quantity(low, "bytes")), int(parse_quantity(high if colon else low, "bytes"))
    except ValueError as error:
        raise InputError(Problem("", "--bytes", text, f"LOW:HIGH, each {error}")) from None


def _page(spec: SystemSpec, network: Network, curve: Curve) -> dict[str, Any]:
    from archsim.network.curves import bus_bytes_per_s

    last = curve.points[-1].fastest
    return {
        "system": spec.name,
        "topology": network.title,
        "routing": network.routing,
        "collective": curve.kind,
        "ranks": curve.ranks,
        "points": [
            {
                "bytes": point.bytes,
                "algorithm": point.fastest.algorithm,
                "duration_s": point.fastest.duration_ps * 1e-12,
                "latency_s": point.fastest.latency_ps * 1e-12,
                "bus_bytes_per_s": bus_bytes_per_s(curve.kind, curve.ranks, point.bytes, point.fastest.duration_ps),
                "algorithms_s": point.seconds,
                "libraries": {
                    name: {
                        "duration_s": facts.duration_ps * 1e-12,
                        "algorithm": facts.algorithm,
                        "protocol": facts.protocol,
                    }
                    for name, facts in point.libraries.items()
                },
            }
            for point in curve.points
        ],
        "crossings": [{"bytes": each.bytes, "before": each.before, "after": each.after} for each in curve.crossings],
        "left_out": [{"algorithm": name, "messages": count} for name, count in curve.left_out],
        "links": [
            {
                "name": link.name,
                "bytes_per_s": link.bytes_per_s,
                "latency_s": link.latency_ps * 1e-12,
                "bytes": size,
                "busy": size * 1e12 / (link.bytes_per_s * last.duration_ps),
            }
            for link, size in zip(network.links, last.link_bytes, strict=True)
        ],
    }


def _print(spec: SystemSpec, network: Network, curve: Curve) -> None:
    from rich.table import Table

    from archsim.network.curves import bus_bytes_per_s
    from archsim.report.table import console
    from archsim.units import format_quantity

    kind = curve.kind.replace("_", "-")
    screen = console()
    screen.print(f"{spec.name}: {kind} among {curve.ranks} chips, {network.title}, {network.routing.replace('_', ' ')}")
    libraries = list(curve.points[0].libraries)
    table = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0))
    for title in ("size", "fastest", "time", "bus bandwidth", *curve.points[0].seconds, *libraries):
        table.add_column(title.replace("_", " "), justify="left" if title == "fastest" else "right")
    for point in curve.points:
        bus = bus_bytes_per_s(curve.kind, curve.ranks, point.bytes, point.fastest.duration_ps)
        times = [format_quantity(seconds, "s") for seconds in point.seconds.values()]
        known = [
            format_quantity(point.libraries[name].duration_ps * 1e-12, "s") if name in point.libraries else ""
            for name in libraries
        ]
        table.add_row(
            _binary(point.bytes), point.fastest.algorithm.replace("_", " "),
            format_quantity(point.fastest.duration_ps * 1e-12, "s"), format_quantity(bus, "bytes/s"), *times, *known,
        )  # fmt: skip
    screen.print(table)
    for name, count in curve.left_out:
        screen.print(f"{name.replace('_', ' ')} is not timed: {count:,} messages")
    for each in curve.crossings:
        before, after = each.before.replace("_", " "), each.after.replace("_", " ")
        screen.print(f"from {_binary(each.bytes)} ({each.bytes} B) on, {after} is faster than {before}")


def _binary(count: int) -> str:
    for factor, unit in ((2**30, "GiB"), (2**20, "MiB"), (2**10, "KiB")):
        if count >= factor:
            return f"{count / factor:.4g} {unit}"
    return f"{count} B"
