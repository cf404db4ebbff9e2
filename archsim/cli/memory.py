"""`archsim memory`: what a memory sustains, and why it does not give more."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from archsim.dram.probe import Probe
    from archsim.dram.sustain import MemoryChannel

__all__ = ["command"]

Options = dict[str, Any]

_SWEPT = ("queue", "map", "refresh", "pattern", "profile", "timings", "pin-rate", "interleave", "window", "standard")
"""Options that `--sweep` takes."""
_REQUESTS = 60_000


@click.command("memory")
@click.argument("device")
@click.option("--pattern", default="seq", show_default=True, metavar="P",
              help="seq, write, rand, chunk:4KiB, stride:1KiB, streams:8, mix:2:1, randmix:2:1, copy:4KiB, kv:16KiB, "
              "conflict.")  # fmt: skip
@click.option("--profile", default="archsim", show_default=True, help="Controller: archsim, ramulator2, dramsim3.")
@click.option("--map", metavar="FIELDS", help="Address map, low bits first: 'pc1 bg2 co5 ba2 sid1 ro15'.")
@click.option("--queue", metavar="N", help="Requests that may wait per channel.")
@click.option("--refresh", metavar="R", help="none, all_bank, overlapped_bank, stack_bank, round_robin_bank.")
@click.option("--standard", metavar="S", help="Timing table, where it is not the device's own: HBM3, LPDDR5X.")
@click.option("--timings", metavar="SET", help="Named timing set of the standard: gem5, attacc.")
@click.option("--pin-rate", metavar="RATE", help="Data rate of a pin: 6.4Gb/s.")
@click.option("--channels", type=click.IntRange(1, 1024), metavar="N", help="Channels that the pattern spreads over.")
@click.option("--interleave", metavar="BYTES", help="Bytes on a channel before the next one's turn: 256B.")
@click.option("--window", metavar="BYTES", help="Bytes in flight per channel (default: what the queues take).")
@click.option("--latency", metavar="TIME", help="On-chip round trip beside the device's own: 600ns.")
@click.option("--hot", is_flag=True, help="Refresh twice as often, as above 85 degrees Celsius.")
@click.option("--write-peak", metavar="SHARE", help="Peak of writes as a share of the peak of reads: 0.5.")
@click.option("--sweep", metavar="KEY=V,V", help="Tabulate over values of an option: queue=8,16,32,64.")
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE", help="Draw into .svg or .png.")
@click.option("--json", "as_json", is_flag=True, help="Print only JSON.")
def command(device: str, *, sweep: str | None, out: Path | None, as_json: bool, **options: Any) -> None:
    """Say what DEVICE sustains for a pattern, at what latency, and which constraint eats the rest.

    DEVICE is a standard (HBM3), a bundled memory device (hbm3e-24gb) or a chip (h100-sxm), whose pin rate, bytes in
    flight and round trip then apply.

    Example: archsim memory HBM3 --pattern chunk:4KiB --profile ramulator2 --sweep queue=8,16,32,64
    """
    variants = _variants(options, sweep)
    answers = [(label, _ask(device, variant)) for label, variant in variants]
    if out is not None:
        from archsim.report.memory_figure import write_memory_figure

        write_memory_figure(answers, out)
    if as_json:
        import json

        content = [answer.as_json() for _, answer in answers]
        click.echo(json.dumps(content if sweep else content[0], indent=1, allow_nan=False))
        return
    from archsim.report.memory_text import answer_lines, sweep_lines

    for line in sweep_lines(answers) if sweep else answer_lines(answers[0][1]):
        click.echo(line)


def _variants(options: Options, sweep: str | None) -> list[tuple[str, Options]]:
    """Return the options once for each value of the sweep, with what to call each."""
    from archsim.errors import InputError, Problem

    if sweep is None:
        return [(options["pattern"], options)]
    key, equals, values = sweep.partition("=")
    if not equals or key not in _SWEPT or not values:
        raise InputError(Problem("", "--sweep", sweep, f"KEY=V,V,... with a KEY of {', '.join(_SWEPT)}"))
    return [(f"{key}={value}", options | {key.replace("-", "_"): value}) for value in values.split(",")]


def _ask(device: str, options: Options) -> Probe:
    from dataclasses import replace

    from archsim.dram.patterns import parse_pattern
    from archsim.dram.probe import Load, probe
    from archsim.dram.profile import profile_named

    channel, window_bytes, latency_ps = _memory(device, options)
    queue = _whole(options["queue"], "--queue")
    profile = profile_named(options["profile"], queue=queue, refresh=options["refresh"])
    if options["channels"] or options["interleave"]:
        granule = _quantity(options["interleave"], "bytes", "--interleave")
        channel = replace(
            channel, channels=options["channels"] or 1, interleave_bytes=granule or channel.interleave_bytes
        )
    else:
        channel = replace(channel, channels=1)
    window = _quantity(options["window"], "bytes", "--window")
    latency = _quantity(options["latency"], "s", "--latency")
    load = Load(
        parse_pattern(options["pattern"]),
        _REQUESTS // max(1, channel.channels // 4),
        window_bytes if window is None else window,
        latency_ps if latency is None else latency,
    )
    return probe(channel, profile, load)


def _memory(device: str, options: Options) -> tuple[MemoryChannel, int, int]:
    """Return the channel that *device* means, its window in bytes and its round trip in picoseconds."""
    from archsim.dram.standards import STANDARDS
    from archsim.hardware.library import chip_names, load_chip, load_memory_device

    if device in STANDARDS:
        return _channel(options["standard"] or device, options, None), 0, 0
    if device in chip_names():
        chip = load_chip(device)
        memory = chip.memory[chip.main_memory]
        channel = _channel(options["standard"] or memory.device.standard, options, memory)
        return channel, chip.bytes_in_flight // memory.channels, memory.round_trip_ps
    standard = options["standard"] or load_memory_device(device).standard
    return _channel(standard, options, None), 0, 0


def _channel(standard: str, options: Options, memory: Any) -> MemoryChannel:
    from archsim.dram.address import default_map, parse_map
    from archsim.dram.build import DeviceOptions, build_device, standard_named
    from archsim.dram.sustain import MemoryChannel

    table = standard_named(standard)
    stated = _quantity(options["pin_rate"], "bits/s", "--pin-rate")
    wide = memory is None or memory.channel_bits >= 2 * table.lane_bits
    device = build_device(
        standard,
        DeviceOptions(
            pin_bits_per_s=stated or (memory.pin_bits_per_s if memory else None),
            lanes=None if wide else 1,
            timing_set=options["timings"],
            hot=options["hot"],
            write_share=_share(options["write_peak"]),
        ),
    )
    address_map = parse_map(options["map"], device, place="--map") if options["map"] else default_map(device)
    granule = memory.interleave_bytes if memory else 256
    return MemoryChannel(device, address_map, 1, max(granule, device.transaction_bytes))


def _share(text: str | None) -> Any:
    from fractions import Fraction

    from archsim.errors import InputError, Problem

    try:
        share = Fraction(text or "1")
    except (ValueError, ZeroDivisionError):
        share = Fraction(0)
    if not 0 < share <= 1:
        raise InputError(Problem("", "--write-peak", str(text), "a share above 0 and at most 1"))
    return share


def _whole(text: str | None, option: str) -> int | None:
    from archsim.errors import InputError, Problem

    if text is None:
        return None
    if not text.isdecimal() or len(text) > 7:
        raise InputError(Problem("", option, text, "a whole number"))
    return int(text)


def _quantity(text: str | None, dimension: str, option: str) -> int | None:
    """Return a quantity in whole SI units; times in picoseconds."""
    from archsim.errors import InputError, Problem
    from archsim.units import PS_PER_S, parse_quantity

    if text is None:
        return None
    try:
        value = parse_quantity(text, dimension) * (PS_PER_S if dimension == "s" else 1)
    except ValueError as error:
        raise InputError(Problem("", option, text, str(error))) from None
    if value != int(value) or not 0 <= value <= 2**60:
        raise InputError(
            Problem("", option, text, f"a whole number of {'picoseconds' if dimension == 's' else 'units'}")
        )
    return int(value)
