"""From raw TOML tables to a spec, or to all their problems at once.

A system is assembled from several files (system, chip, memory device, runtime). `Tables` remembers which file each
branch came from, so that a problem names the file and the key inside it.
"""

from __future__ import annotations

import re
import types
import typing
from dataclasses import dataclass, field
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from archsim.errors import InputError, Problem, did_you_mean

__all__ = ["Key", "Tables", "field_at", "inner_type", "key_of", "validated"]

Key = tuple[str, ...]
"""A dotted key, split."""
Spec = TypeVar("Spec", bound=BaseModel)


@dataclass(slots=True)
class Tables:
    """Raw tables of one configuration and where their branches come from."""

    root: dict[str, Any]
    files: dict[Key, str]
    """Branch -> file or option it was read from; holds at least the empty key."""
    problems: list[Problem] = field(default_factory=list)
    """Problems met while the branches were put together."""
    missing: set[Key] = field(default_factory=set)
    """Branches that could not be read, already reported in *problems*."""

    def place(self, key: Key) -> tuple[str, str]:
        """Return the file that *key* stands in and the dotted key inside it; an option has no inside."""
        branch = max((known for known in self.files if key[: len(known)] == known), key=len)
        inside = () if self.files[branch].startswith("--") else key[len(branch) :]
        return self.files[branch], ".".join(inside or key)

    def problem(self, key: Key, value: str, expected: str) -> None:
        """Note that *value* at *key* is not what was *expected*."""
        file, inside = self.place(key)
        self.problems.append(Problem(file, inside, value, expected))


def key_of(name: str, info: FieldInfo) -> str:
    """Return the key under which a field stands in a file."""
    return info.alias or name


def inner_type(annotation: Any) -> Any:
    """Return *annotation* without `| None`."""
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        return next(part for part in typing.get_args(annotation) if part is not type(None))
    return annotation


def field_at(model: type[BaseModel], key: Key) -> Any:
    """Return the type that stands at *key* of *model*: a model, a `dict[...]`, or a scalar type; None if unknown."""
    kind: Any = model
    for part in key:
        if typing.get_origin(kind) is dict:
            kind = typing.get_args(kind)[1]
        elif isinstance(kind, type) and issubclass(kind, BaseModel):
            found = [info for name, info in kind.model_fields.items() if key_of(name, info) == part]
            kind = inner_type(found[0].annotation) if found else None
        else:
            return None
    return kind


def validated(model: type[Spec], tables: Tables) -> Spec:
    """Return the spec that *tables* describe; raises `InputError` with every problem."""
    spec = None
    try:
        spec = model.model_validate(tables.root)
    except ValidationError as error:
        for detail in error.errors(include_url=False):
            _note(model, tables, dict(detail))
    if tables.problems or spec is None:
        raise InputError(*tables.problems)
    return spec


def _note(model: type[BaseModel], tables: Tables, detail: dict[str, Any]) -> None:
    key = tuple(str(part) for part in detail["loc"])
    if any(key[: len(branch)] == branch for branch in tables.missing):
        return
    context = detail.get("ctx", {})
    if detail["type"] == "archsim":
        tables.problem((*key, *context["key"].split(".")), context["value"], context["expected"])
    elif detail["type"] == "extra_forbidden":
        tables.problem(key, "", f"no such key{_suggestion(model, key)}")
    elif detail["type"] == "missing":
        tables.problem(key, "", "this key, which is missing")
    elif key[-1:] == ("[key]",):
        tables.problem(key[:-1], "", _expected_name(model, key[:-1]))
    else:
        tables.problem(key, _shown(detail["input"]), _expected(detail))


_EXPECTED = {
    "dict_type": "a table",
    "model_type": "a table",
    "int_type": "a whole number without quotes",
    "string_type": "text in quotes",
    "tuple_type": "a list",
    "greater_than_equal": "a number from {ge}",
    "less_than_equal": "a number up to {le}",
    "less_than": "less than {lt}",
}
"""Type of a pydantic error -> what was expected, in the words of a TOML file."""


def _expected(detail: dict[str, Any]) -> str:
    context = detail.get("ctx", {})
    if detail["type"] in _EXPECTED:
        return _EXPECTED[detail["type"]].format(**context)
    if "error" in context:
        return str(context["error"])
    choices = re.findall(r"'([^']+)'", context.get("expected", ""))
    return str(detail["msg"]).removeprefix("Input should be ") + did_you_mean(_shown(detail["input"]), choices)


def _expected_name(model: type[BaseModel], key: Key) -> str:
    """Return what the name of a table or rate at *key* may be."""
    choices = typing.get_args(typing.get_args(field_at(model, key[:-1]))[0])
    if choices and all(isinstance(choice, str) for choice in choices):
        return f"one of {', '.join(choices)}{did_you_mean(key[-1], choices)}"
    return "a name of at most 32 lower-case letters, digits and underscores that begins with a letter"


def _suggestion(model: type[BaseModel], key: Key) -> str:
    parent = field_at(model, key[:-1])
    if not (isinstance(parent, type) and issubclass(parent, BaseModel)):
        return ""
    known = [key_of(name, info) for name, info in parent.model_fields.items()]
    return did_you_mean(key[-1], known) or f"; known here: {', '.join(known)}"


def _shown(value: Any) -> str:
    if isinstance(value, dict):
        return "a table"
    return value if isinstance(value, str) else repr(value)
