"""A new system as one commented TOML file: every key with what it means and a number to be replaced.

The template is a system that loads and runs as it is. Its numbers are those of the system that it starts from, so each
keeps its origin. Keys that may be left out stand as comments, which makes the file a list of everything that archsim
can be told.
"""

from __future__ import annotations

import re
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from archsim.errors import InputError, Problem
from archsim.files import write_atomically
from archsim.hardware.door import Key, inner_type, key_of
from archsim.hardware.fields import tables_of, toml_of
from archsim.hardware.library import load_system, system_names
from archsim.hardware.sources import sources
from archsim.hardware.spec import SystemSpec

__all__ = ["new_system", "template_text"]

_NAME = r"[a-z0-9][a-z0-9.-]{0,63}"


def new_system(name: str, *, start: str, folder: Path) -> Path:
    """Write `NAME.toml` into *folder*, from the system *start*, and return its path.

    Raises `InputError` where the name is none, the file is there, or *start* is no system.
    """
    if re.fullmatch(_NAME, name) is None:
        expected = "a name of lower-case letters, digits, dots and hyphens, at most 64, without its .toml"
        raise InputError(Problem("", "NAME", name, expected))
    if name in system_names():
        raise InputError(Problem("", "NAME", name, "a name that no bundled system has"))
    path = folder / f"{name}.toml"
    if path.exists() or path.is_symlink():
        raise InputError(Problem(str(path), "NAME", name, "a file that does not exist yet: nothing is overwritten"))
    write_atomically(path, template_text(name, start=start).encode())
    return path


def template_text(name: str, *, start: str) -> str:
    """Return the text of a system called *name* that begins with the numbers of the system *start*."""
    spec = load_system(start)
    tables = tables_of(spec) | {"name": name, "title": f"{name}, from {spec.name}", "status": "hypothetical"}
    tables.pop("aliases", None)
    tables["chip"] = tables["chip"] | {"name": f"{name}-chip", "status": "hypothetical"}
    tables["chip"].pop("aliases", None)
    origins = _origins(start, spec)
    lines = [
        f"# A system of your own, begun from {spec.name}. Change the values; keep a reason behind each number:",
        "# `# source: ...` where it is published, `# assumption: ...` where it is what you take it to be.",
        f"# Check with: archsim show {name}.toml --sources",
        "# Lines that begin with #: may be left out; take the # away to set them.",
        "",
        *_lines(SystemSpec, tables, (), origins),
    ]
    return "\n".join(lines).rstrip("\n") + "\n"


def _origins(start: str, spec: SystemSpec) -> dict[str, str]:
    """Return key of the whole system -> its comment in the files of *start*."""
    found: dict[str, str] = {}
    for row in sources(start):
        prefix = _prefix(Path(row.file), spec)
        for key in prefix:
            found[f"{key}{row.path}"] = f"{row.kind or 'assumption'}: {row.text or 'as ' + spec.name}"
    return found


def _prefix(file: Path, spec: SystemSpec) -> list[str]:
    kinds = {"systems": [""], "chips": ["chip."], "runtimes": ["runtime."]}
    if file.parent.name == "memories":
        return [f"chip.memory.{name}.device." for name, memory in spec.chip.memory.items()
                if memory.device.name == file.stem]  # fmt: skip
    return kinds.get(file.parent.name, [])


def _lines(model: type[BaseModel], tables: dict[str, Any], prefix: Key, origins: dict[str, str]) -> Iterator[str]:
    """Yield the lines of one table of *model*: its own values, absent ones as comments, then its inner tables."""
    inner: list[tuple[str, type[BaseModel], dict[str, Any]]] = []
    if prefix:
        yield f"[{'.'.join(prefix)}]"
    if model is _Leaves:
        for key, value in tables.items():
            yield from _value_lines(key, value, (*prefix, key), None, origins)
    for name, info in model.model_fields.items():
        key = key_of(name, info)
        value, kind = tables.get(key), inner_type(info.annotation)
        if isinstance(value, dict):
            inner += _tables_in(key, kind, value)
        elif value is not None:
            yield from _value_lines(key, value, (*prefix, key), info.description, origins)
        elif _is_value(kind):
            yield f"#: {key} = ...  # {_first_sentence(info.description)}"
    yield ""
    for key, kind, value in inner:
        if issubclass(kind, BaseModel):
            yield from _lines(kind, value, (*prefix, *key.split(".")), origins)


def _tables_in(key: str, kind: Any, value: dict[str, Any]) -> list[tuple[str, Any, dict[str, Any]]]:
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        return [(key, kind, value)]
    held = typing.get_args(kind)[1]
    if isinstance(held, type) and issubclass(held, BaseModel):
        return [(f"{key}.{name}", held, table) for name, table in value.items()]
    return [(key, _Leaves, value)]


class _Leaves(BaseModel):
    """A table of plain values, such as rates by element type."""


def _is_value(kind: Any) -> bool:
    return typing.get_origin(kind) is not dict and not (isinstance(kind, type) and issubclass(kind, BaseModel))


def _value_lines(key: str, value: Any, path: Key, meaning: str | None, origins: dict[str, str]) -> Iterator[str]:
    if meaning:
        yield f"# {_first_sentence(meaning)}"
    origin = origins.get(".".join(path))
    text = toml_of({key: value}).strip("\n")
    yield f"{text}  # {origin}" if origin else text


def _first_sentence(text: str | None) -> str:
    return " ".join((text or "").split()).split(". ")[0].rstrip(".")
