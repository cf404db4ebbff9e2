"""Energy and power of a result in words: for the lines of `run` and the columns of `compare`.

A figure that leaves parts out for want of a source is a lower bound, and stands with "at least" or ">".
"""

from __future__ import annotations

from archsim.result import Energy, Result
from archsim.units import format_quantity

__all__ = ["energy_cells", "energy_lines"]

_MOST_PARTS = 4
"""Parts that are told, the largest first."""


def energy_cells(result: Result) -> tuple[str, str]:
    """Return joules per output token and the decode power of a chip; `>` before a lower bound, `!` beyond its TDP."""
    found = result.energy
    if found is None:
        return "-", "-"
    bound = ">" if found.absent else ""
    joules = found.joules_per_output_token
    decode = found.phases.get("decode")
    lacks_chip = any(part.rpartition("/")[2].startswith("chip") for part in found.absent)
    return (
        "-" if joules is None else f"{bound}{_three(joules)}",
        "-" if decode is None else f"{'>' if lacks_chip else ''}{decode.chip_watts:.0f}{'!' if found.over_tdp else ''}",
    )


def energy_lines(result: Result) -> list[tuple[str, str]]:
    """Return the lines of one run: energy by part, power by phase beside the design power, what has no figure."""
    found = result.energy
    if found is None:
        return []
    lines = [("energy", _per_token(found)), ("power of a chip", _power(found))]
    if found.absent:
        lines.append(("without a figure", ", ".join(found.absent)))
    return lines


def _per_token(found: Energy) -> str:
    middle, low, high = (
        found.joules_per_output_token, found.joules_per_output_token_low, found.joules_per_output_token_high,
    )  # fmt: skip
    bound = "at least " if found.absent else ""
    mean = format_quantity(found.average_watts, "W", digits=3)
    if middle is None or low is None or high is None:
        return f"{bound}{_three(found.joules)} J, {mean} on average"
    spread = f" ({_three(low)} to {_three(high)})" if low < high else ""
    largest = sorted(found.by_part.items(), key=lambda item: -item[1])[:_MOST_PARTS]
    parts = ", ".join(f"{part} {100 * joules / found.joules:.0f} %" for part, joules in largest)
    return f"{bound}{_three(middle)} J an output token{spread}, {mean} on average; {parts}"


def _power(found: Energy) -> str:
    bound = "at least " if any(part.rpartition("/")[2].startswith("chip") for part in found.absent) else ""
    text = bound + ", ".join(
        f"{'idle' if name == 'none' else name} {phase.chip_watts:.0f} W" for name, phase in found.phases.items()
    )
    if found.tdp_watts is None:
        return text
    beyond = f", which {' and '.join(found.over_tdp)} exceeds" if found.over_tdp else ""
    return f"{text}; design power {found.tdp_watts:.0f} W{beyond}"


def _three(value: float) -> str:
    return f"{value:.3g}"
