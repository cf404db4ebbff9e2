"""What `archsim memory` prints: one answer at a glance, or a table of answers."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

from archsim.dram.energy import BitEnergy
from archsim.dram.glance import Glance
from archsim.units import PS_PER_S, format_quantity

__all__ = [
    "EXPLANATIONS",
    "REMEDIES",
    "SMALLEST_SHARE",
    "answer_lines",
    "energy_text",
    "meaning",
    "percent",
    "sweep_lines",
]

EXPLANATIONS = {
    "transfer": "data moves",
    "overfetch": "bytes of a page or word that nobody asked for",
    "refresh": "banks refresh (tRFC each tREFI)",
    "row": "rows open and close (tRCD, tRP, tRC)",
    "activate": "too many rows opened at once (tRRD, tFAW)",
    "bank_group": "consecutive accesses to one bank group or another stack id (tCCD_L, tCCD_R)",
    "turnaround": "reads and writes alternate (tWTR, read to write)",
    "command_bus": "the command bus was taken, or another request went first",
    "queue": "this lane's queue was empty while the source waited for another's",
    "latency": "too few bytes in flight (Little's law), or start and end",
    "idle": "nothing was asked",
    "imbalance": "other channels were still at work",
}
"""What a class of stall means to a user."""
_BUSY_ARRAYS = {"flash": "the plane that holds the page was at work", "sram": "two ports wanted one bank"}
"""What `row` means where there are no rows, by kind."""

REMEDIES = {
    "overfetch": "reads of whole pages, aligned to them",
    "refresh": "refreshing bank by bank beside the traffic (--refresh overlapped_bank)",
    "row": "longer runs in an open row, more banks in turn (--map), a deeper queue (--queue)",
    "activate": "more bytes of every opened row: longer runs, or neighbours in one row (--map)",
    "bank_group": "bank groups below the column bits (--map), or --profile archsim",
    "turnaround": "longer bursts of one direction: a deeper queue (--queue), fewer writes between reads",
    "command_bus": "a deeper queue (--queue), fewer rows opened",
    "queue": "lanes in the lowest bits (--map), a deeper queue (--queue)",
    "latency": "more bytes in flight (--window, --buffer)",
    "imbalance": "another interleave (--interleave), or more bytes at once",
    "idle": "more requests",
}
"""What would give some of a loss back."""

SMALLEST_SHARE = Fraction(1, 2000)
"""Parts below it are not shown."""
_WORTH_A_REMEDY = Fraction(1, 50)
_ALL_OUT = 0.97
"""Share of the window in flight from which on it is what binds."""
_BAR = 30
_LEVELS = "▁▂▃▄▅▆▇█"
_MOST_COLUMNS = 64


def answer_lines(answer: Glance) -> list[str]:
    """Return an answer in a dozen lines: rate, latency, what to do, and where the time went, largest part first."""
    share = answer.bytes_per_s / answer.peak_bytes_per_s
    lines = [
        f"{answer.device}: {answer.made_of}",
        _line("pattern", answer.pattern),
        _line("bandwidth", f"{_rate(answer.bytes_per_s)}, {percent(share)} of {_rate(answer.peak_bytes_per_s)}"),
        _line("latency", _latency(answer)),
        *_verdict(answer),
        *(_line(name, text) for name, text in answer.facts),
        _line("energy", energy_text(answer.energy)),
    ]
    if answer.channel_shares:
        lines.append(_line("channels", _channels(answer.channel_shares)))
    lines.append("  where the data buses' time went:")
    parts = [("transfer", answer.shares["transfer"]), *answer.losses]
    for name, part in sorted(parts, key=lambda item: -item[1]):
        if part >= SMALLEST_SHARE:
            bar = "█" * round(part * _BAR)
            lines.append(f"    {name:<12}{percent(part):>8}  {bar:<{_BAR}}  {meaning(answer, name)}")
    return lines


def meaning(answer: Glance, cause: str) -> str:
    """Return what *cause* means in the kind of memory that answered."""
    kind = str(answer.content["kind"])
    return _BUSY_ARRAYS[kind] if cause == "row" and kind in _BUSY_ARRAYS else EXPLANATIONS[cause]


def _line(name: str, text: str) -> str:
    return f"  {name:<11}{text}"


def _verdict(answer: Glance) -> list[str]:
    cause, share = answer.losses[0]
    if share < _WORTH_A_REMEDY:
        return [_line("lost", "nothing to speak of")]
    help_ = REMEDIES[cause]
    if cause == "command_bus" and "ecc=" in str(answer.content.get("profile", "")):
        help_ = "check bits for more data each (--ecc), longer runs: bursts of check bits count here"
    if (answer.content.get("window_share") or 0) > _ALL_OUT:
        help_ = "more bytes in flight (--window): all that there are wait for their data (Little's law)"
    if cause == "row" and answer.content["kind"] != "dram":
        help_ = "longer runs, or more planes or banks"
    return [_line("lost most", f"{percent(share)} to {cause}: {meaning(answer, cause)}"), _line("helps", help_)]


def _channels(shares: Sequence[Fraction]) -> str:
    """Return a small chart of the channels' transfer, at most 64 columns of neighbours, and how uneven it is."""
    busiest, mean = max(shares), sum(shares, Fraction(0)) / len(shares)
    width = -(-len(shares) // _MOST_COLUMNS)
    columns = [max(shares[at : at + width]) for at in range(0, len(shares), width)]
    chart = "".join(_LEVELS[min(int(column / busiest * len(_LEVELS)), len(_LEVELS) - 1)] for column in columns)
    idle = sum(1 for share in shares if share == 0)
    still = f", {idle} of {len(shares)} without any" if idle else ""
    return f"{chart} busiest moves {float(busiest / mean):.2f} x the mean{still}"


def energy_text(energy: BitEnergy) -> str:
    """Return the energy of a bit and its source in one line; what no source covers is named."""
    if energy.by_part:
        total = sum(energy.by_part.values(), Fraction(0))
        parts = ", ".join(f"{name} {_picojoules(part)}" for name, part in energy.by_part.items())
        absent = f"; no source: {', '.join(energy.absent)}" if energy.absent else ""
        return f"{_picojoules(total)} pJ/bit: {parts}{absent} ({energy.source})"
    if energy.average is not None:
        return f"{_picojoules(Fraction(energy.average))} pJ/bit as an average; no source by part ({energy.source})"
    return f"no source ({energy.source})"


def _picojoules(femtojoules: Fraction) -> str:
    return f"{float(femtojoules) / 1000:.2f}"


def sweep_lines(answers: Sequence[tuple[str, Glance]]) -> list[str]:
    """Return one line an answer: rate, share of peak, latency, and the three largest losses."""
    width = max(len(label) for label, _ in answers)
    lines = [f"{'':<{width}}  {'bandwidth':>12}  {'of peak':>8}  {'read latency':>12}  lost to"]
    for label, answer in answers:
        lost = ", ".join(f"{name} {percent(part)}" for name, part in answer.losses[:3] if part >= SMALLEST_SHARE)
        share = percent(answer.bytes_per_s / answer.peak_bytes_per_s)
        lines.append(
            f"{label:<{width}}  {_rate(answer.bytes_per_s):>12}  {share:>8}  {_latency(answer):>12}  {lost}".rstrip()
        )
    return lines


def _rate(bytes_per_s: Fraction) -> str:
    return format_quantity(bytes_per_s, "bytes/s")


def percent(share: Fraction) -> str:
    """Return *share* in percent with one digit behind the point."""
    return f"{float(share) * 100:.1f} %"


def _latency(answer: Glance) -> str:
    latency = answer.read_latency_ps
    return "no reads" if latency is None else format_quantity(latency / PS_PER_S, "s")
