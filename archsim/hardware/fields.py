"""Walks the leaves of a spec: what `show` lists, what `--set` may set, what a resolved file holds.

The walk follows the fields of the models, so a new field appears in all three without a second list.
"""

from __future__ import annotations

import json
import typing
from collections.abc import Iterator
from fractions import Fraction
from functools import cache
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from archsim.hardware.door import Key, inner_type, key_of
from archsim.hardware.quantities import Quantity

__all__ = ["REFERENCES", "leaf_text", "leaves", "possible_keys", "tables_of", "toml_of"]

REFERENCES = {"system": "systems", "chip": "chips", "runtime": "runtimes", "device": "memories", "tier": "tiers"}
"""Key that may hold a name or a path instead of a table -> folder of the bundled files it means."""


def _quantity_in(annotation: Any, metadata: list[Any]) -> Quantity | None:
    found = [item for item in metadata if isinstance(item, Quantity)]
    inner = inner_type(annotation)
    found += [item for item in typing.get_args(inner) if isinstance(item, Quantity)]
    return found[0] if found else None


def _quantity_of(info: FieldInfo) -> Quantity | None:
    arguments = typing.get_args(info.annotation)
    if typing.get_origin(info.annotation) is dict:
        return _quantity_in(arguments[1], [])
    if typing.get_origin(info.annotation) is tuple:
        return _quantity_in(arguments[0], list(getattr(arguments[0], "__metadata__", ())))
    return _quantity_in(info.annotation, list(info.metadata))


def tables_of(spec: BaseModel) -> dict[str, Any]:
    """Return the raw tables that are read back to an equal *spec*: unit strings, integers, lists and tables."""
    tables: dict[str, Any] = {}
    for name, key, info, quantity in _written(type(spec)):
        value = getattr(spec, name)
        if name not in spec.model_fields_set and value == info.get_default(call_default_factory=True):
            continue
        if value is not None:
            tables[key] = _raw(value, quantity)
    return tables


@cache
def _written(model: type[BaseModel]) -> tuple[tuple[str, str, FieldInfo, Quantity | None], ...]:
    """Return (name, key, field, how its values are written) of every field of *model*."""
    return tuple((name, key_of(name, info), info, _quantity_of(info)) for name, info in model.model_fields.items())


def _raw(value: Any, quantity: Quantity | None) -> Any:
    if isinstance(value, BaseModel):
        return tables_of(value)
    if isinstance(value, dict):
        return {key: _raw(value[key], quantity) for key in sorted(value)}
    if isinstance(value, tuple):
        return [_raw(item, quantity) for item in value]
    return quantity.text(value) if quantity and isinstance(value, int | Fraction) else value


def leaves(tables: dict[str, Any], prefix: Key = ()) -> Iterator[tuple[Key, Any]]:
    """Yield every key below *tables* that holds a value and not a table, in order."""
    for name, value in tables.items():
        if isinstance(value, dict):
            yield from leaves(value, (*prefix, name))
        else:
            yield (*prefix, name), value


def leaf_text(value: Any) -> str:
    """Return a leaf as it stands after the equals sign of `--set`."""
    return value if isinstance(value, str) else json.dumps(value)


def possible_keys(model: type[BaseModel], tables: dict[str, Any], prefix: Key = ()) -> Iterator[Key]:
    """Yield every key that may be set in *tables* of *model*: present, or optional and absent.

    Memories, caches and engines count where they are present; a key that may name a file counts beside its table.
    """
    for key, kind in _kinds(model):
        value = tables.get(key)
        if key in REFERENCES:
            yield (*prefix, key)
        if typing.get_origin(kind) is dict:
            yield from _keys_of_dict(typing.get_args(kind), value, (*prefix, key))
        elif isinstance(kind, type) and issubclass(kind, BaseModel):
            yield from possible_keys(kind, value if isinstance(value, dict) else {}, (*prefix, key))
        else:
            yield (*prefix, key)


@cache
def _kinds(model: type[BaseModel]) -> tuple[tuple[str, Any], ...]:
    """Return (key, type) of every field of *model*."""
    return tuple((key_of(name, info), inner_type(info.annotation)) for name, info in model.model_fields.items())


def _keys_of_dict(kinds: tuple[Any, ...], value: Any, prefix: Key) -> Iterator[Key]:
    name_type, inner = kinds
    present = value if isinstance(value, dict) else {}
    if isinstance(inner, type) and issubclass(inner, BaseModel):
        for name, table in present.items():
            yield from possible_keys(inner, table if isinstance(table, dict) else {}, (*prefix, name))
    else:
        named = typing.get_origin(name_type) is typing.Literal
        for name in typing.get_args(name_type) if named else present:
            yield (*prefix, name)


def _inline(value: Any) -> str:
    """Return *value* on one line of TOML: a scalar, a list, or a list of tables."""
    if isinstance(value, list):
        return f"[{', '.join(_inline(item) for item in value)}]"
    if isinstance(value, dict):
        return f"{{ {', '.join(f'{name} = {_inline(item)}' for name, item in value.items())} }}"
    return json.dumps(value, ensure_ascii=False)


def toml_of(tables: dict[str, Any], prefix: Key = ()) -> str:
    """Return *tables* as TOML text: values before tables, in the order given."""
    lines = [f"{name} = {_inline(value)}" for name, value in tables.items() if not isinstance(value, dict)]
    text = "\n".join(lines) + "\n" if lines else ""
    if lines and prefix:
        text = f"[{'.'.join(prefix)}]\n{text}"
    inner = [toml_of(value, (*prefix, name)) for name, value in tables.items() if isinstance(value, dict)]
    return "\n".join(part for part in (text, *inner) if part)
