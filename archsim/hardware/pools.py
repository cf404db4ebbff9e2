"""Finds designs of several systems by name or path and reads them into specs, with all systems that they name.

`load_design` takes what `load_system` takes and these too. `--set` reaches a key of the design (`link.bandwidth`,
`prefill.replicas`) and, behind the name of a pool, every key of its system (`decode.hbm.stacks`); `serving.` reaches
all of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from archsim.errors import InputError, Problem, did_you_mean
from archsim.files import bundled_names, bundled_path, inside, read_toml
from archsim.hardware.door import Tables, key_of, validated
from archsim.hardware.fields import tables_of, toml_of
from archsim.hardware.library import files_of, find_hardware, load_system, setting_paths, system_names, system_tables
from archsim.hardware.overrides import OPTION, apply_overrides, parse_overrides
from archsim.hardware.pools_spec import PoolSpec, PoolsSpec
from archsim.hardware.spec import SystemSpec

__all__ = [
    "Design",
    "design_files",
    "design_names",
    "design_settings",
    "design_toml",
    "load_design",
    "load_pools",
    "pools_names",
]

Design = SystemSpec | PoolsSpec
"""What can be run: one system, or pools of systems."""

_KIND = "pools"
_SERVING = "serving."
"""Keys that reach the systems of all pools where no pool is named before them."""
_OWN = {key_of(name, info) for name, info in PoolSpec.model_fields.items()} - {"system"}


def pools_names() -> list[str]:
    """Return the names of the bundled designs of several systems, sorted."""
    return bundled_names("hwconfigs", _KIND, (".toml",))


def design_names() -> list[str]:
    """Return the names of all bundled designs: systems, then those of several systems."""
    return [*system_names(), *pools_names()]


def load_design(name_or_path: str, overrides: Sequence[str] = ()) -> Design:
    """Return the system or the pools that *name_or_path* means, with *overrides* (`PATH=VALUE`) applied in order.

    Raises `InputError` with every problem of its files and of the overrides.
    """
    path = _pools_file(name_or_path)
    return load_system(name_or_path, overrides) if path is None else validated(PoolsSpec, _tables(path, overrides))


def load_pools(name_or_path: str, overrides: Sequence[str] = ()) -> PoolsSpec:
    """Return the pools that *name_or_path* means; raises `InputError` as `load_design`, and for a single system."""
    found = load_design(name_or_path, overrides)
    if isinstance(found, SystemSpec):
        expected = f"a design of several systems: {', '.join(pools_names())}"
        raise InputError(Problem(name_or_path, "kind", found.kind, expected))
    return found


def design_files(name_or_path: str, overrides: Sequence[str] = ()) -> list[Path]:
    """Return the files that make up a design, its own first."""
    path = _pools_file(name_or_path)
    if path is None:
        return files_of(name_or_path, overrides)
    tables = _tables(path, overrides)
    if tables.problems:
        raise InputError(*tables.problems)
    return [Path(file) for file in dict.fromkeys(tables.files.values()) if file != OPTION]


def design_toml(spec: PoolsSpec) -> str:
    """Return *spec* as one self-contained TOML file: `load_design` reads it back to an equal spec."""
    return toml_of(tables_of(spec))


def design_settings(spec: PoolsSpec) -> dict[str, str]:
    """Return the keys of the design and of its systems -> their values as text, as `--set` takes them."""
    found: dict[str, str] = {}
    tables = tables_of(spec)
    for name, pool in spec.pools.items():
        own = tables["pools"][name]
        found |= {f"{name}.{key}": str(own[key]) for key in own if key not in {"system", "wide_area"}}
        found |= {f"{name}.wide_area.{key}": str(value) for key, value in own.get("wide_area", {}).items()}
        found |= {f"{name}.{path}": value for path, value in setting_paths(pool.system).items()}
    for table in ("link", "divide", "cascade"):
        found |= {f"{table}.{key}": str(value) for key, value in tables.get(table, {}).items()}
    return found


def _pools_file(name_or_path: str) -> Path | None:
    """Return the file of pools that is meant; None where it is no such file, whatever else it may be."""
    names = pools_names()
    for name in names:
        path = bundled_path("hwconfigs") / _KIND / f"{name}.toml"
        aliases = read_toml(path).get("aliases", [])
        if name_or_path.casefold() in {name, *(alias.casefold() for alias in aliases if isinstance(alias, str))}:
            return path
    try:
        path = find_hardware(name_or_path, folder="systems")
    except InputError as error:
        hint = did_you_mean(name_or_path, names)
        if not hint or any(problem.file for problem in error.problems):
            raise
        raise InputError(Problem("", "system", name_or_path, f"a path or a bundled name{hint}")) from None
    return path if read_toml(path).get("kind") == _KIND else None


def _tables(path: Path, overrides: Sequence[str]) -> Tables:
    """Return the raw tables of a design with its systems in place and *overrides* applied."""
    tables = Tables(read_toml(path), {(): str(path)})
    pools = tables.root.get("pools")
    names = [name for name, pool in pools.items() if isinstance(pool, dict)] if isinstance(pools, dict) else []
    own: list[str] = []
    inner: dict[str, list[str]] = {name: [] for name in names}
    for override, written in zip(parse_overrides(overrides), overrides, strict=True):
        pool, rest = _pool_of(override.path, names)
        value = written.partition("=")[2]
        if pool:
            inner[pool].append(f"{rest}={value}")
        elif override.path.startswith(_SERVING) and "serving" not in names:
            for each in inner.values():
                each.append(f"{override.path}={value}")
        else:
            own.append(written)
    apply_overrides(PoolsSpec, tables, parse_overrides(own))
    for name in names:
        _include_system(tables, name, inner[name], base=path.parent)
    return tables


def _pool_of(path: str, names: Sequence[str]) -> tuple[str, str]:
    """Return the pool whose system *path* reaches into, and the path there; nothing for a key of the design."""
    parts = path.removeprefix("pools.").split(".")
    if parts[0] not in names or len(parts) == 1:
        return "", ""
    rest = parts[2:] if parts[1] == "system" and len(parts) > 2 else parts[1:]
    if parts[1] in _OWN or rest == ["system"]:
        return "", ""
    return parts[0], ".".join(rest)


def _include_system(tables: Tables, pool: str, overrides: Sequence[str], *, base: Path) -> None:
    table: dict[str, Any] = tables.root["pools"][pool]
    given, key = table.get("system"), ("pools", pool, "system")
    place = tables.place(key)
    try:
        if isinstance(given, str):
            is_path = "/" in given or given.endswith(".toml")
            named = str(inside(base, given)) if is_path and place[0] != OPTION else given
            file = find_hardware(named, folder="systems")
            found = system_tables(Tables(read_toml(file), {(): str(file)}), overrides, base=file.parent)
        elif isinstance(given, dict):
            found = system_tables(Tables(given, {(): place[0]}), overrides, base=base)
        else:
            return
    except InputError as error:
        tables.missing.add(key)
        tables.problems += [p if p.file else Problem(*place, p.value, p.expected) for p in error.problems]
        return
    table["system"] = found.root
    files = {(*key, *branch): name for branch, name in found.files.items()}
    if isinstance(given, dict):
        files.pop(key)
    tables.files |= files
    tables.problems += found.problems
    tables.missing |= {(*key, *branch) for branch in found.missing}
