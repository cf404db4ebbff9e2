"""What `archsim memory` prints: one answer at a glance, or a table of answers."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

from archsim.dram.probe import Probe
from archsim.units import PS_PER_S, format_quantity

__all__ = ["EXPLANATIONS", "answer_lines", "sweep_lines"]

EXPLANATIONS = {
    "transfer": "data moves",
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

_BAR = 30
_SHOWN = Fraction(1, 2000)


def answer_lines(answer: Probe) -> list[str]:
    """Return an answer in a dozen lines: rate, latency, and where the time went, largest part first."""
    device = answer.channel.device
    share = answer.bytes_per_s / answer.peak_bytes_per_s
    lines = [
        f"{device.name}, {answer.channel.channels} channel(s) of {device.lanes} lane(s), {answer.load.pattern.text}",
        f"  bandwidth  {_rate(answer.bytes_per_s)}, {_percent(share)} of {_rate(answer.peak_bytes_per_s)}",
        f"  latency    {_latency(answer)}",
        f"  controller {answer.profile.name}, queue {answer.profile.read_queue}, refresh {answer.profile.refresh}",
        f"  map        {answer.channel.address_map}",
        "  where the data buses' time went:",
    ]
    parts = sorted(answer.shares.items(), key=lambda item: -item[1])
    for name, part in parts:
        if part >= _SHOWN:
            bar = "█" * round(part * _BAR)
            lines.append(f"    {name:<12}{_percent(part):>8}  {bar:<{_BAR}}  {EXPLANATIONS[name]}")
    return lines


def sweep_lines(answers: Sequence[tuple[str, Probe]]) -> list[str]:
    """Return one line an answer: rate, share of peak, latency, and the two largest losses."""
    width = max(len(label) for label, _ in answers)
    lines = [f"{'':<{width}}  {'bandwidth':>12}  {'of peak':>8}  {'read latency':>12}  lost to"]
    for label, answer in answers:
        losses = sorted(((p, n) for n, p in answer.shares.items() if n != "transfer" and p >= _SHOWN), reverse=True)
        lost = ", ".join(f"{name} {_percent(part)}" for part, name in losses[:3])
        share = _percent(answer.bytes_per_s / answer.peak_bytes_per_s)
        lines.append(
            f"{label:<{width}}  {_rate(answer.bytes_per_s):>12}  {share:>8}  {_latency(answer):>12}  {lost}".rstrip()
        )
    return lines


def _rate(bytes_per_s: Fraction) -> str:
    return format_quantity(bytes_per_s, "bytes/s")


def _percent(share: Fraction) -> str:
    return f"{float(share) * 100:.1f} %"


def _latency(answer: Probe) -> str:
    latency = answer.read_latency_ps
    return "no reads" if latency is None else format_quantity(latency / PS_PER_S, "s")
