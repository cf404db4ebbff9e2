"""The catalogue of `archsim list`: bundled systems, models and traces as rows, and as tables for a terminal."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from archsim.files import find, read_toml
from archsim.hardware.library import load_system, system_names
from archsim.hardware.pools import load_pools, pools_names
from archsim.report.pools_text import pools_row
from archsim.report.system_page import print_groups, system_row
from archsim.units import exact_quantity, format_quantity
from archsim.workload.model import bundled_models, load_model
from archsim.workload.tensors import parameter_count
from archsim.workload.trace import bundled_traces

__all__ = ["catalogue", "print_catalogue"]

Row = dict[str, Any]

_SYSTEM_COLUMNS = ("name", "title", "status", "kind", "memory", "capacity", "peak bandwidth", "chips")
_MODEL_COLUMNS = ("name", "family", "parameters", "layers", "experts", "context")
_TRACE_COLUMNS = ("name", "what it is")


def catalogue(
    what: str | None, *, status: str | None = None, kind: str | None = None, memory: str | None = None
) -> list[Row]:
    """Return a row for everything bundled, or for `systems`, `models` or `traces` alone.

    *status*, a kind of system and the start of the standard of any of its memories leave only the systems they fit.
    Every row has `name`, `kind` and `status`; numbers are in SI units.
    """
    kinds = {"systems": _systems, "models": _models, "traces": _traces}
    if status or kind or memory:
        kinds = {"systems": _systems}
    rows = [row for kind, listed in kinds.items() if what in (None, kind) for row in listed()]
    return [
        row
        for row in rows
        if status in (None, row["status"]) and (kind is None or kind in row["kinds"]) and _has_memory(row, memory)
    ]


def _has_memory(row: Row, memory: str | None) -> bool:
    return memory is None or any(name.casefold().startswith(memory.casefold()) for name in row["memories"])


def _systems() -> Iterable[Row]:
    pools = [pools_row(load_pools(name)) for name in pools_names()]
    return [*(system_row(load_system(name)) for name in system_names()), *pools]


def _models() -> Iterable[Row]:
    for name in bundled_models():
        model = load_model(name)
        yield {
            "name": name,
            "kind": "model",
            "status": "published",
            "family": model.family,
            "parameters": parameter_count(model),
            "layers": model.layers,
            "experts": model.experts,
            "context_tokens": model.max_context,
        }


def _traces() -> Iterable[Row]:
    for name in bundled_traces():
        path = find(name, kind="workloads", folder="samplers", suffixes=(".toml",))
        yield {"name": name, "kind": "trace", "status": "sampled", "title": read_toml(path)["title"]}


def print_catalogue(rows: Iterable[Row]) -> None:
    """Print *rows* of `catalogue` as tables: systems by vendor, then models, then traces."""
    groups: dict[str, tuple[tuple[str, ...], list[tuple[str, ...]]]] = {}
    for row in rows:
        title, columns, cells = {
            "system": _system_cells,
            "pools": _system_cells,
            "model": _model_cells,
            "trace": _trace_cells,
        }[row["kind"]](row)
        groups.setdefault(title, (columns, []))[1].append(cells)
    print_groups(groups)


def _system_cells(row: Row) -> tuple[str, tuple[str, ...], tuple[str, ...]]:
    return (
        f"systems: {row['vendor']}",
        _SYSTEM_COLUMNS,
        (
            row["name"],
            row["title"],
            row["status"],
            ", ".join(row["kinds"]),
            ", ".join(row["memories"]),
            exact_quantity(row["memory_bytes"], "bytes"),
            format_quantity(row["peak_bytes_per_s"], "bytes/s"),
            str(row["chips"]),
        ),
    )


def _model_cells(row: Row) -> tuple[str, tuple[str, ...], tuple[str, ...]]:
    size = f"{row['parameters'] / 1e9:.1f} B"
    numbers = (str(row["layers"]), str(row["experts"] or ""), str(row["context_tokens"]))
    return "models", _MODEL_COLUMNS, (row["name"], row["family"], size, *numbers)


def _trace_cells(row: Row) -> tuple[str, tuple[str, ...], tuple[str, ...]]:
    return "traces", _TRACE_COLUMNS, (row["name"], row["title"])
