"""`archsim memory`: what a memory sustains, and why it does not give more."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from archsim.cli.options import json_option

if TYPE_CHECKING:
    from archsim.hardware.memory_settings import Settings

__all__ = ["command"]

Options = dict[str, Any]

_SWEPT = ("queue", "map", "refresh", "pattern", "profile", "timings", "pin-rate", "density", "dies", "channels",
          "interleave", "bytes", "window", "latency", "timing", "standard", "write-peak", "buffer", "page", "planes",
          "write-rate", "banks", "ports", "rows", "ecc")  # fmt: skip
"""Options that `--sweep` takes."""
_MOST_SWEPT = 256


@click.command("memory")
@click.argument("device")
@click.option("--pattern", default="seq", show_default=True, metavar="P",
              help="seq, write, rand, chunk:4KiB, stride:1KiB, streams:8, mix:2:1, randmix:2:1, copy:4KiB, "
              "kv:16KiB[:HEADS], gather:4KiB[:HEADS], append:256B:64, conflict.")  # fmt: skip
@click.option("--memory", metavar="NAME", help="Which memory of a chip or system: hbm.")
@click.option("--window", metavar="BYTES", help="Bytes in flight per channel (default: what the queues take).")
@click.option("--latency", metavar="TIME", help="On-chip round trip beside the device's own: 600ns.")
@click.option("--profile", metavar="P", help="Controller: archsim (default), ramulator2, dramsim3.")
@click.option("--map", metavar="FIELDS", help="Address map, low bits first: 'pc1 bg2 co5 ba2 sid1 ro15'.")
@click.option("--queue", metavar="N", help="Requests that may wait per channel.")
@click.option("--refresh", metavar="R", help="none, all_bank, overlapped_bank, stack_bank, round_robin_bank.")
@click.option("--standard", metavar="S", help="Timing table, where it is not the device's own: HBM3, LPDDR5X.")
@click.option("--timings", metavar="SET", help="Named timing set of the standard: gem5, attacc.")
@click.option(
    "--timing",
    "timing",
    multiple=True,
    metavar="NAME=TIME",
    help="Replace one timing, in time or clocks: tFAW=12ns, tCCDL=4.",
)
@click.option("--pin-rate", metavar="RATE", help="Data rate of a pin: 6.4Gb/s; clocks follow from nanoseconds.")
@click.option("--density", metavar="BITS", help="Of a channel: 16Gb; refresh time and rows follow.")
@click.option("--dies", metavar="N", help="Height of a stack: 4, 8, 12, 16.")
@click.option("--channels", metavar="N", help="Channels that the pattern spreads over; 'all' of a chip's.")
@click.option("--interleave", metavar="BYTES", help="Bytes on a channel before the next one's turn: 256B.")
@click.option("--bytes", metavar="BYTES", help="Bytes of the whole pattern, over all channels: 16MiB.")
@click.option("--hot", is_flag=True, help="Refresh twice as often, as above 85 degrees Celsius.")
@click.option("--rows", metavar="POLICY", help="Idle rows: open (default), idle:100 or adaptive:100 (clocks).")
@click.option("--ecc", metavar="N", help="Inline ECC: one transaction of check bits for each N of data.")
@click.option("--write-peak", metavar="SHARE", help="Peak of writes as a share of the peak of reads: 0.5.")
@click.option("--buffer", metavar="BYTES", help="Flash: buffer of a stack that holds the pages in flight.")
@click.option("--page", metavar="BYTES", help="Flash: bytes of a page.")
@click.option("--planes", metavar="N", help="Flash: arrays of a die that read at the same time.")
@click.option("--write-rate", metavar="RATE", help="Flash: mean rate of writes over the years: 1GB/s.")
@click.option("--force-writes", is_flag=True, help="Flash: allow writes; the answer names the years to wear-out.")
@click.option("--banks", metavar="N", help="SRAM: single-ported arrays of a channel.")
@click.option("--ports", metavar="N", help="SRAM: words asked for in one clock.")
@click.option("--sweep", metavar="KEY=V,V", help="Tabulate over values of an option: queue=8,16,32,64.")
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE", help="Draw into .svg or .png.")
@json_option
def command(device: str, *, sweep: str | None, out: Path | None, as_json: bool, **options: Any) -> None:
    """Say what DEVICE sustains for a pattern, at what latency, and which constraint eats the rest.

    DEVICE is a standard (HBM3), a memory device (hbm3e-24gb, hbf-gen1, sram-64b), a chip or a system (h100-sxm, whose
    pin rate, bytes in flight and round trip then apply), or the path of such a file.

    Example: archsim memory HBM3 --pattern chunk:4KiB --profile ramulator2 --sweep queue=8,16,32,64
    """
    from archsim.hardware.memory_question import answer_to

    if out is not None:
        from archsim.report.memory_figure import require_writable

        require_writable(out)
    answers = [(label, answer_to(device, _settings(variant))) for label, variant in _variants(options, sweep)]
    if out is not None:
        from archsim.report.memory_figure import write_memory_figure

        write_memory_figure(answers, out, swept=sweep is not None)
    if as_json:
        import json

        content = [answer.content for _, answer in answers]
        click.echo(json.dumps(content if sweep is not None else content[0], indent=1, allow_nan=False))
        return
    from archsim.report.memory_text import answer_lines, sweep_lines

    for line in sweep_lines(answers) if sweep is not None else answer_lines(answers[0][1]):
        click.echo(line)


def _variants(options: Options, sweep: str | None) -> list[tuple[str, Options]]:
    """Return the options once for each value of the sweep, with what to call each."""
    from archsim.errors import InputError, Problem, did_you_mean

    if sweep is None:
        return [(options["pattern"], options)]
    key, equals, values = sweep.partition("=")
    if key not in _SWEPT:
        raise InputError(Problem("", "--sweep", sweep[:80], f"a KEY of {', '.join(_SWEPT)}{did_you_mean(key, _SWEPT)}"))
    listed = [value.strip() for value in values.split(",")]
    if not equals or not all(listed) or len(listed) > _MOST_SWEPT:
        raise InputError(Problem("", "--sweep", sweep[:80], f"KEY=V,V,... with 1 to {_MOST_SWEPT} values"))
    if key == "timing":
        return [(value, options | {"timing": (*options["timing"], value)}) for value in listed]
    return [(f"{key}={value}", options | {key.replace("-", "_"): value}) for value in listed]


def _settings(options: Options) -> Settings:
    from archsim.hardware.memory_settings import Settings

    return Settings(
        pattern=options["pattern"],
        memory=options["memory"],
        window_bytes=_positive(options, "window", "bytes"),
        latency_ps=_quantity(options["latency"], "s", "--latency"),
        channels=0 if options["channels"] == "all" else _whole(options, "channels", most=1024),
        profile=options["profile"],
        map_text=options["map"],
        queue=_whole(options, "queue"),
        rows=options["rows"],
        ecc=options["ecc"],
        refresh=options["refresh"],
        standard=options["standard"],
        timing_set=options["timings"],
        timings=tuple(_timing(text) for text in options["timing"]),
        pin_bits_per_s=_positive(options, "pin_rate", "bits/s"),
        density_gbit=_gigabits(options["density"]),
        dies=_whole(options, "dies"),
        interleave_bytes=_positive(options, "interleave", "bytes"),
        total_bytes=_positive(options, "bytes", "bytes"),
        hot=options["hot"],
        write_share=_share(options["write_peak"]),
        buffer_bytes=_positive(options, "buffer", "bytes"),
        page_bytes=_positive(options, "page", "bytes"),
        planes=_whole(options, "planes"),
        write_bytes_per_s=_positive(options, "write_rate", "bytes/s"),
        force_writes=options["force_writes"],
        banks=_whole(options, "banks"),
        ports=_whole(options, "ports"),
    )


def _share(text: str | None) -> Any:
    from archsim.errors import InputError, Problem

    if text is None:
        return None
    try:
        share = Fraction(text) if len(text) <= 20 else Fraction(0)
    except (ValueError, ZeroDivisionError):
        share = Fraction(0)
    if not Fraction(1, 100) <= share <= 1:
        raise InputError(Problem("", "--write-peak", text[:80], "a share of 0.01 to 1"))
    return share


def _timing(text: str) -> tuple[str, Any]:
    """Return a timing's name and value, in time or in clocks."""
    from archsim.dram.standards.table import Timing
    from archsim.errors import InputError, Problem

    name, equals, value = text.partition("=")
    if not equals or not name:
        raise InputError(Problem("", "--timing", text[:80], "NAME=TIME, such as tFAW=12ns, or clocks: tCCDL=4"))
    if value.isascii() and value.isdecimal() and len(value) <= len("10000000"):
        return name, Timing(Fraction(0), int(value), "--timing")
    return name, Timing(Fraction(_quantity(value, "s", "--timing") or 0), 0, "--timing")


def _whole(options: Options, key: str, *, most: int = 10**6) -> int | None:
    from archsim.errors import InputError, Problem

    text = options[key]
    if text is None:
        return None
    if not (text.isascii() and text.isdecimal()) or len(text) > 7 or not 1 <= int(text) <= most:
        raise InputError(Problem("", f"--{key}", text[:80], f"a whole number from 1 to {most:,}"))
    return int(text)


def _positive(options: Options, key: str, dimension: str) -> int | None:
    from archsim.errors import InputError, Problem

    option = f"--{key.replace('_', '-')}"
    value = _quantity(options[key], dimension, option)
    if value == 0:
        raise InputError(Problem("", option, options[key], f"{dimension} above zero"))
    return value


def _gigabits(text: str | None) -> int | None:
    from archsim.errors import InputError, Problem

    bits = _quantity(text, "bits", "--density")
    if bits is None:
        return None
    if bits % 10**9 or bits == 0:
        raise InputError(Problem("", "--density", str(text), "whole gigabits of a channel, such as 16Gb"))
    return bits // 10**9


def _quantity(text: str | None, dimension: str, option: str) -> int | None:
    """Return a quantity in whole SI units; times in picoseconds."""
    from archsim.errors import InputError, Problem
    from archsim.units import PS_PER_S, parse_quantity

    if text is None:
        return None
    try:
        value = parse_quantity(text, dimension) * (PS_PER_S if dimension == "s" else 1)
    except ValueError as error:
        raise InputError(Problem("", option, text[:80], str(error))) from None
    most = PS_PER_S // 1000 if dimension == "s" else 2**60
    if value != int(value) or value > most:
        unit = "picoseconds, at most 1 ms" if dimension == "s" else dimension
        raise InputError(Problem("", option, text[:80], f"a whole number of {unit}"))
    return int(value)
