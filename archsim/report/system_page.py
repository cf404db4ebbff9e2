"""The page of `archsim show` and the lists of `archsim list`: for a terminal with rich, for programs as JSON."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from fractions import Fraction
from typing import Any

from rich.table import Table
from rich.text import Text

from archsim.hardware.area import areas_of
from archsim.hardware.library import setting_paths
from archsim.hardware.parts import Part, main_memory_of, parts_of
from archsim.hardware.pools import design_settings
from archsim.hardware.pools_spec import PoolsSpec
from archsim.hardware.sources import SourceRow
from archsim.hardware.spec import SystemSpec
from archsim.report.pools_text import pools_lines, pools_row
from archsim.report.system_text import system_lines
from archsim.report.table import console
from archsim.units import exact_quantity, format_quantity

__all__ = [
    "KINDS",
    "json_text",
    "kinds_of",
    "pools_json",
    "print_groups",
    "print_pools",
    "print_system",
    "system_json",
    "system_row",
]


KINDS = ("chip", "node", "cluster", "near-memory", "tiered", "pools")
"""What a design may be: one chip; chips in a box; more of them; with units near its memory; with several memories;
several systems."""
_LARGEST_NODE = 16
"""Chips of the largest bundled box with one backplane (Trainium2)."""


def print_system(spec: SystemSpec, sources: Sequence[SourceRow] | None) -> None:
    """Print the drawing of *spec*, its parts, its settings and, where given, the *sources* of its numbers."""
    screen = console()
    screen.print(Text(f"{spec.name}: {spec.title} ({spec.status})", style="bold"))
    screen.print(Text("\n".join(["", *system_lines(spec), ""])))
    screen.print(
        _table("parts", ("scope", "kind", "number", "capacity", "usable", "peak", "made of"), _part_rows(spec))
    )
    screen.print(_table("area", ("piece", "number", "each", "together"), _area_rows(spec)))
    screen.print(_table("settings, for --set PATH=VALUE", ("path", "value"), _setting_rows(spec)))
    if sources is not None:
        rows = [(_short(row.file), row.path, row.value, row.kind, row.text) for row in sources]
        screen.print(_table("sources", ("file", "key", "value", "kind", "text"), rows))


def print_pools(spec: PoolsSpec, sources: Sequence[SourceRow] | None) -> None:
    """Print the drawing of *spec*, the drawings of its systems, its settings and, where given, the *sources*."""
    screen = console()
    screen.print(Text(f"{spec.name}: {spec.title} ({spec.status})", style="bold"))
    screen.print(Text("\n".join(["", *pools_lines(spec), ""])))
    for system in {pool.system.name: pool.system for pool in spec.pools.values()}.values():
        screen.print(Text("\n".join([f"{system.name}: {system.title}", *system_lines(system), ""])))
    settings = [(path, value) for path, value in design_settings(spec).items() if value]
    screen.print(_table("settings, for --set PATH=VALUE", ("path", "value"), settings))
    if sources is not None:
        rows = [(_short(row.file), row.path, row.value, row.kind, row.text) for row in sources]
        screen.print(_table("sources", ("file", "key", "value", "kind", "text"), rows))


def _table(title: str, columns: Iterable[str], rows: Iterable[Sequence[str]]) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold", box=None, pad_edge=False, padding=(0, 3, 0, 0))
    for column in columns:
        table.add_column(column, header_style="dim")
    for row in rows:
        table.add_row(*[Text(cell) for cell in row])
    table.add_row()
    return table


def _part_rows(spec: SystemSpec) -> list[tuple[str, ...]]:
    return [
        (
            part.scope,
            part.kind,
            str(part.number),
            _size(part.capacity_bytes),
            "" if part.usable_bytes is None else format_quantity(part.usable_bytes, "bytes"),
            _peak(part),
            part.note,
        )
        for part in parts_of(spec)
    ]


def _area_rows(spec: SystemSpec) -> list[tuple[str, ...]]:
    return [
        (
            area.piece,
            str(area.number),
            "not stated" if area.each_mm2 is None else f"{area.each_mm2:,.0f} mm2",
            "" if area.total_mm2 is None else f"{area.total_mm2:,.0f} mm2",
        )
        for area in areas_of(spec)
    ]


def kinds_of(spec: SystemSpec) -> list[str]:
    """Return which of `KINDS` *spec* is: one by its size, and what else it has."""
    size = "chip" if spec.chips == 1 else "cluster" if spec.chips > _LARGEST_NODE else "node"
    found = [size]
    if spec.chip.near_memory:
        found.append("near-memory")
    if len(spec.chip.memory) > 1:
        found.append("tiered")
    return found


def _size(count: int | None) -> str:
    return "" if count is None else exact_quantity(count, "bytes")


def _peak(part: Part) -> str:
    dimension = "bytes/s" if part.unit == "B/s" else "flop/s"
    return f"{format_quantity(part.peak_per_s, dimension)}{part.unit.removeprefix('B/s').removeprefix('FLOP/s')}"


def _setting_rows(spec: SystemSpec) -> list[tuple[str, str]]:
    return [(path, value) for path, value in setting_paths(spec).items() if value]


def _short(file: str) -> str:
    return "/".join(file.rsplit("/", 2)[-2:])


def system_json(spec: SystemSpec, sources: Sequence[SourceRow] | None) -> str:
    """Return *spec* as JSON: its row of the list, its parts, its settings and, where given, the *sources*."""
    page = system_row(spec) | {
        "aliases": list(spec.aliases),
        "areas": [area._asdict() for area in areas_of(spec)],
        "parts": [part._asdict() for part in parts_of(spec)],
        "settings": {path: value or None for path, value in setting_paths(spec).items()},
        "sources": None if sources is None else [row._asdict() for row in sources],
    }
    return json_text(page)


def pools_json(spec: PoolsSpec, sources: Sequence[SourceRow] | None) -> str:
    """Return *spec* as JSON: its row of the list, the row of every pool's system, its settings, the *sources*."""
    page = pools_row(spec) | {
        "aliases": list(spec.aliases),
        "pools": {
            name: {"replicas": pool.replicas, "serves": pool.serves, "system": system_row(pool.system)}
            for name, pool in spec.pools.items()
        },
        "settings": {path: value or None for path, value in design_settings(spec).items()},
        "sources": None if sources is None else [row._asdict() for row in sources],
    }
    return json_text(page)


def json_text(value: Any) -> str:
    """Return *value* as indented JSON with a final newline; NaN and infinity are refused."""
    return json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False, default=_plain) + "\n"


def _plain(value: object) -> float:
    if isinstance(value, Fraction):
        return float(value)
    raise TypeError(f"{type(value).__name__} has no place in JSON")


def system_row(spec: SystemSpec) -> dict[str, Any]:
    """Return what a list says of a system, in SI units; capacity and peak are those of one chip's main memory."""
    memory = spec.chip.memory[spec.chip.main_memory]
    return {
        "name": spec.name,
        "kind": spec.kind,
        "status": spec.status,
        "title": spec.title,
        "vendor": spec.chip.vendor,
        "chip": spec.chip.name,
        "chips": spec.chips,
        "kinds": kinds_of(spec),
        "topology": spec.network.topology,
        "memory": main_memory_of(spec.chip),
        "memories": list(dict.fromkeys(memory.device.standard for memory in spec.chip.memory.values())),
        "memory_bytes": memory.capacity_bytes,
        "usable_bytes": memory.usable_bytes,
        "peak_bytes_per_s": memory.peak_bytes_per_s,
    }


def print_groups(groups: Mapping[str, tuple[Sequence[str], Sequence[Sequence[str]]]]) -> None:
    """Print one table a group: title -> (columns, rows)."""
    screen = console()
    for title, (columns, rows) in groups.items():
        screen.print(_table(title, columns, rows))
