"""Finds hardware by name or path and reads it into a spec.

A system file names its chip, its runtime and, through the chip, its memory devices: by bundled name, by alias, by a
path relative to the file, or as a table in place. All files of a system are read first and checked together.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel

from archsim.errors import InputError, Problem
from archsim.files import bundled_names, bundled_path, find, inside, read_toml
from archsim.hardware.door import Key, Tables, validated
from archsim.hardware.fields import leaf_text, leaves, possible_keys, tables_of, toml_of
from archsim.hardware.naming import plain_names
from archsim.hardware.overrides import OPTION, apply_overrides, parse_overrides, rederive_rates
from archsim.hardware.spec import ChipSpec, MemoryDeviceSpec, RuntimeSpec, SystemSpec
from archsim.hardware.tier_spec import TierSpec

__all__ = [
    "chip_names",
    "files_of",
    "find_hardware",
    "load_chip",
    "load_memory_device",
    "load_runtime",
    "load_system",
    "load_tier",
    "memory_device_names",
    "resolved_toml",
    "runtime_names",
    "setting_paths",
    "system_names",
    "system_tables",
    "tier_names",
]

_SUFFIXES = (".toml",)
Spec = TypeVar("Spec", bound=BaseModel)


def system_names() -> list[str]:
    """Return the names of the bundled systems, sorted."""
    return bundled_names("hwconfigs", "systems", _SUFFIXES)


def chip_names() -> list[str]:
    """Return the names of the bundled chips, sorted."""
    return bundled_names("hwconfigs", "chips", _SUFFIXES)


def memory_device_names() -> list[str]:
    """Return the names of the bundled memory devices, sorted."""
    return bundled_names("hwconfigs", "memories", _SUFFIXES)


def runtime_names() -> list[str]:
    """Return the names of the bundled runtimes, sorted."""
    return bundled_names("hwconfigs", "runtimes", _SUFFIXES)


def tier_names() -> list[str]:
    """Return the names of the bundled tiers, sorted."""
    return bundled_names("hwconfigs", "tiers", _SUFFIXES)


def load_system(name_or_path: str, overrides: Sequence[str] = ()) -> SystemSpec:
    """Return the system that *name_or_path* means, with *overrides* (`PATH=VALUE`) applied in order.

    Raises `InputError` with every problem of its files and of the overrides.
    """
    path = find_hardware(name_or_path, folder="systems")
    if read_toml(path).get("kind") == "pools":
        raise InputError(Problem(str(path), "kind", "pools", "a single system: pools can be run, compared, shown"))
    return validated(SystemSpec, _system_tables(path, overrides))


def files_of(name_or_path: str, overrides: Sequence[str] = ()) -> list[Path]:
    """Return the files that make up a system: its own, then those of its chip, memory devices and runtime."""
    tables = _system_tables(find_hardware(name_or_path, folder="systems"), overrides)
    if tables.problems:
        raise InputError(*tables.problems)
    return [Path(file) for file in dict.fromkeys(tables.files.values()) if file != OPTION]


def _system_tables(path: Path, overrides: Sequence[str]) -> Tables:
    return system_tables(Tables(read_toml(path), {(): str(path)}), overrides, base=path.parent)


def system_tables(tables: Tables, overrides: Sequence[str], *, base: Path) -> Tables:
    """Return the raw *tables* of a system with all files it names in place and *overrides* applied.

    Paths in them are relative to *base*.
    """
    pending = apply_overrides(SystemSpec, tables, parse_overrides(overrides), only="chip")
    pending = apply_overrides(SystemSpec, tables, pending, only="runtime")
    _include(tables, ("chip",), folder="chips", base=base)
    pending = apply_overrides(SystemSpec, tables, pending, only="device")
    pending = apply_overrides(SystemSpec, tables, pending, only="tier")
    _include_devices(tables, ("chip",), base=base)
    _include(tables, ("runtime",), folder="runtimes", base=base)
    _include(tables, ("serving", "tier"), folder="tiers", base=base)
    apply_overrides(SystemSpec, tables, pending)
    rederive_rates(tables)
    return tables


def load_chip(name_or_path: str) -> ChipSpec:
    """Return the chip that *name_or_path* means; raises `InputError` with every problem of its files."""
    path = find_hardware(name_or_path, folder="chips")
    tables = Tables(read_toml(path), {(): str(path)})
    _include_devices(tables, (), base=path.parent)
    return validated(ChipSpec, tables)


def load_memory_device(name_or_path: str) -> MemoryDeviceSpec:
    """Return the memory device that *name_or_path* means; raises `InputError` with every problem of its file."""
    return _load_single(MemoryDeviceSpec, name_or_path, folder="memories")


def load_tier(name_or_path: str) -> TierSpec:
    """Return the tier that *name_or_path* means; raises `InputError` with every problem of its file."""
    return _load_single(TierSpec, name_or_path, folder="tiers")


def load_runtime(name_or_path: str) -> RuntimeSpec:
    """Return the runtime that *name_or_path* means; raises `InputError` with every problem of its file."""
    return _load_single(RuntimeSpec, name_or_path, folder="runtimes")


def _load_single(model: type[Spec], name_or_path: str, *, folder: str) -> Spec:
    path = find_hardware(name_or_path, folder=folder)
    return validated(model, Tables(read_toml(path), {(): str(path)}))


def resolved_toml(spec: SystemSpec) -> str:
    """Return *spec* as one self-contained TOML file: `load_system` reads it back to an equal spec."""
    return toml_of(tables_of(spec))


def setting_paths(spec: SystemSpec) -> dict[str, str]:
    """Return every path that `--set` accepts for *spec* -> its value as text, empty where none is set.

    A path that names a whole file (`chip`, `runtime`, `chip.memory.hbm.device`) shows the name of what it holds.
    """
    tables = tables_of(spec)
    present = {key: leaf_text(value) for key, value in leaves(tables)}
    keys = possible_keys(SystemSpec, tables)
    return {".".join(key): present.get(key) or present.get((*key, "name"), "") for key in keys}


def find_hardware(name_or_path: str, *, folder: str) -> Path:
    """Return the file of *folder* (`systems`, `chips`, `memories`, `runtimes`) meant by a name, an alias or a path.

    A system is also found by a name that differs from these in maker, board and spelling alone (`naming`).
    """
    try:
        return find(name_or_path, kind="hwconfigs", folder=folder, suffixes=_SUFFIXES)
    except InputError:
        name = _aliases(folder).get(name_or_path.casefold())
        if name is None and folder == "systems" and not name_or_path.endswith(_SUFFIXES):
            name = _plainly(name_or_path)
        if name is None:
            raise
        return bundled_path("hwconfigs") / folder / f"{name}.toml"


@cache
def _aliases(folder: str) -> dict[str, str]:
    """Return alias (case folded) -> bundled name; a file that cannot be read has none."""
    found: dict[str, str] = {}
    for name in bundled_names("hwconfigs", folder, _SUFFIXES):
        aliases = read_toml(bundled_path("hwconfigs") / folder / f"{name}.toml").get("aliases", [])
        found |= {alias.casefold(): name for alias in aliases if isinstance(alias, str)}
        found.setdefault(name.casefold(), name)
    return found


def _plainly(name: str) -> str | None:
    """Return the bundled system that *name* means once both are brought to one form, or None."""
    known = _plain_systems()
    for plain in plain_names(name):
        found = known.get(plain.name)
        if found is not None and (plain.gigabytes is None or _holds(found, plain.gigabytes)):
            return found
    return None


def _holds(name: str, gigabytes: int) -> bool:
    """Return whether a chip of the system has so much main memory, as its maker rounds it; LPDDR comes in any size."""
    chip = load_system(name).chip
    memory = chip.memory[chip.main_memory]
    size = memory.capacity_bytes / 1e9
    rounded = gigabytes < _MOST_GIGABYTES and abs(size - gigabytes) <= _ROUNDED * gigabytes
    return rounded or memory.device.standard.startswith("LPDDR")


_MOST_GIGABYTES = 10**9
_ROUNDED = 0.08
"""GB of a name against those of a file: decimal or binary, spare dies or none."""


@cache
def _plain_systems() -> dict[str, str]:
    """Return plain form -> bundled system, of those that only one system has."""
    owners: dict[str, set[str]] = {}
    for alias, name in _aliases("systems").items():
        for plain in plain_names(alias):
            owners.setdefault(plain.name, set()).add(name)
            break
    return {plain: next(iter(names)) for plain, names in owners.items() if len(names) == 1}


def _include(tables: Tables, key: Key, *, folder: str, base: Path) -> None:
    """Replace the name at *key* by the tables of the file it means, and remember that file."""
    parent: Any = tables.root
    for part in key[:-1]:
        parent = parent.get(part) if isinstance(parent, dict) else None
    name = parent.get(key[-1]) if isinstance(parent, dict) else None
    if not isinstance(name, str):
        return
    place = tables.place(key)
    try:
        path = _referenced(name, folder=folder, base=None if place[0] == OPTION else base)
        parent[key[-1]] = read_toml(path)
    except InputError as error:
        tables.missing.add(key)
        tables.problems += [
            problem if problem.file else Problem(*place, problem.value, problem.expected) for problem in error.problems
        ]
        return
    tables.files[key] = str(path)


def _referenced(name: str, *, folder: str, base: Path | None) -> Path:
    """Return the file meant by *name* in a file of the folder *base*; in an option, of none."""
    is_path = "/" in name or name.endswith(_SUFFIXES)
    return find_hardware(str(inside(base, name)) if is_path and base is not None else name, folder=folder)


def _include_devices(tables: Tables, chip: Key, *, base: Path) -> None:
    table: Any = tables.root
    for part in chip:
        table = table.get(part)
    memories = table.get("memory") if isinstance(table, dict) else None
    file = tables.files.get(chip)
    chip_base = Path(file).parent if file and file != OPTION else base
    for name in memories if isinstance(memories, dict) else ():
        _include(tables, (*chip, "memory", name, "device"), folder="memories", base=chip_base)
