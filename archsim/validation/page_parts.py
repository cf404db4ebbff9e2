"""Parts of the page of comparisons that are no table's: what fitted keys mean, and whether error bars hold."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from archsim.hardware.sources import SourceRow
from archsim.uncertainty.widths import LEVEL, Widths

__all__ = ["MEANINGS", "coverage_lines", "meaning_lines", "meaning_of"]

MEANINGS = {
    "bytes_in_flight": "read bytes that a chip keeps under way (Little's law): what it streams at",
    "most_bytes_in_flight": "the same of the chip's best kernels: with it `archsim memory` asks, a step does not",
    "exposed": "share of a kernel's reads or products that the other does not hide, by type",
    "row_tile": "rows that a product is filled up to",
    "sustained": "rate of the matrix engine under load (power, clocks), by type",
    "launch_gap": "time between the end of a kernel and the start of the next",
    "ramp": "time in which a kernel fills and drains the chip and moves nothing",
    "host_step": "serial work of the host for an iteration",
    "host_launch": "time in which the host issues an operator",
    "host_sequence": "further work of the host for each sequence of an iteration",
    "host_time": "how much slower or faster a system's host is than the one its runtime's times are of",
    "widening_operations": "vector operations for a stored weight that is widened to the multiplied type",
    "kv_widening_operations": "vector operations for an element of an 8-bit cache that attention widens",
    "collective_software": "software time of a collective beside its transfers",
    "key_copies": "times that the keys of a cache are moved to be transposed",
    "link_bandwidth": "rate of a link, each way",
    "energy": "energy of a part at work or idle",
    "software": "a collective library's time before its first byte moves, by protocol",
    "step": "a collective library's time for each step of its schedule",
    "share": "share of the links' rate that a protocol of a collective library gets",
    "host": "time of the host for a call that is not in a graph",
}
"""Fitted key (a part of its path) -> what it means; units and forms are in docs/hardware.md."""


def meaning_of(path: str) -> str:
    """Return the key of `MEANINGS` that the dotted *path* is of: its last part that is one, else its last."""
    return next((part for part in reversed(path.split(".")) if part in MEANINGS), path.rpartition(".")[2])


def meaning_lines(fitted: Iterable[SourceRow]) -> list[str]:
    """Return a table of what the *fitted* keys mean and in how many places each is set."""
    counts: dict[str, int] = {}
    for row in fitted:
        key = meaning_of(row.path)
        counts[key] = counts.get(key, 0) + 1
    lines = ["| key | what it means | places |", "|---|---|---|"]
    return lines + [f"| `{key}` | {MEANINGS.get(key, '')} | {counts[key]} |" for key in sorted(counts)]


def coverage_lines(intervals: Mapping[str, Any], widths: Widths) -> list[str]:
    """Return the section on error bars: the rows inside, silicon by silicon, and the widths."""
    lines = [
        "## Error bars", "",
        f"Share of the rows inside their {100 * LEVEL:.0f} % interval, from widths derived without its silicon:", "",
    ]  # fmt: skip
    first = [row for row in intervals["rows"] if str(row["group"]).endswith("first tokens")]
    lines += _inside([row for row in intervals["rows"] if row not in first])
    if first:
        lines += ["", "Of times to the first token, on which no bound is:", "", *_inside(first)]
    lines += [
        "",
        "Half-widths of ln(measured / predicted), of all rows ([uncertainty.md](uncertainty.md)):",
        "",
        "| part | half-width | rows | silicon |",
    ]
    lines.append("|---|---|---|---|")
    parts = [
        *widths.within.items(), ("between silicons", widths.between), ("first tokens, in all", widths.first),
    ]  # fmt: skip
    lines += [f"| {name} | {width.half_width} | {width.rows} | {', '.join(width.silicon)} |" for name, width in parts]
    return lines


def _inside(rows: Iterable[Mapping[str, Any]]) -> list[str]:
    """Return a table of the share of rows inside, silicon by silicon."""
    cells = [f"| {row['id'].removesuffix(' inside')} | {100 * row['predicted']:.0f} % |" for row in rows]
    return ["| left out | inside |", "|---|---|", *cells]
