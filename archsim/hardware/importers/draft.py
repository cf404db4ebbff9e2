"""A foreign file being read, and the TOML that comes of it.

A `Source` remembers which of its values were used, so that what is left over can be named. A `Draft` holds lines of
TOML, each with where its value comes from: a key of the file, or an assumption where the file says nothing.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

from archsim.errors import InputError, Problem
from archsim.units import exact_quantity

__all__ = ["Draft", "Source", "Stated", "plain_name"]

_LARGEST, _SMALLEST = Fraction(10**21), Fraction(1, 10**15)
_STEPS = {
    "bytes": Fraction(1),
    "bytes/s": Fraction(1),
    "bits/s": Fraction(1),
    "flop/s": Fraction(1),
    "s": Fraction(1, 10**12),
}
"""Dimension -> what values of it are whole multiples of."""
Path = tuple[str, ...]
Stated = tuple[Fraction, str]
"""A value in SI units and its origin."""


@dataclass(slots=True)
class Source:
    """The values of a file, by dotted key, and which of them were used."""

    file: str
    """As messages and comments name it."""
    format: str
    """For people."""
    content: dict[str, Any]
    used: set[Path] = field(default_factory=set)

    def number(self, *key: str) -> Fraction:
        """Return the positive number at *key*. Raises `InputError` for anything else."""
        found = self.optional(*key)
        if found is None:
            raise self.problem(key, "", "this key, which is missing")
        return found

    def optional(self, *key: str) -> Fraction | None:
        """Return the positive number at *key*, None where there is no such key."""
        value = self.at(key)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int | float | str):
            raise self.problem(key, str(value)[:40], "a number")
        try:
            number = Fraction(str(value).strip())
        except (ValueError, ZeroDivisionError):
            raise self.problem(key, str(value)[:40], "a number") from None
        if not _SMALLEST <= number <= _LARGEST:
            raise self.problem(key, str(value)[:40], "a number above zero and below 1e21")
        self.used.add(key)
        return number

    def whole(self, *key: str) -> int:
        """Return the positive whole number at *key*."""
        found = self.number(*key)
        if found.denominator != 1 or found > 10**9:
            raise self.problem(key, str(float(found)), "a whole number from 1 to 1e9")
        return found.numerator

    def word(self, *key: str) -> str:
        """Return the text at *key*, empty where there is none. Raises `InputError` where it is no text."""
        value = self.at(key)
        if value is None:
            return ""
        if not isinstance(value, str) or len(value) > 200 or not value.isprintable():
            raise self.problem(key, str(value)[:40], "printable text below 200 characters")
        self.used.add(key)
        return value

    def table(self, *key: str) -> dict[str, Any]:
        """Return the table at *key*; empty where there is none."""
        value = self.at(key)
        if value is not None and not isinstance(value, dict):
            raise self.problem(key, str(value)[:40], "a table")
        return value or {}

    def at(self, key: Path) -> Any:
        """Return what stands at *key*, None where nothing does; to look is not to use."""
        value: Any = self.content
        for part in key:
            if isinstance(value, list):
                value = value[int(part)] if part.isdigit() and int(part) < len(value) else None
            else:
                value = value.get(part) if isinstance(value, dict) else None
        return value

    def problem(self, key: Path, value: str, expected: str) -> InputError:
        """Return the error of *value* at *key*."""
        return InputError(Problem(self.file, ".".join(key), value, expected))

    def left(self) -> list[str]:
        """Return the dotted keys of all values that were not used, lists and long tables as one."""
        return [".".join(key) for key in _leaves(self.content, ()) if key not in self.used]


def _leaves(value: Any, prefix: Path) -> Iterator[Path]:
    if isinstance(value, dict) and value:
        for name, inner in value.items():
            yield from _leaves(inner, (*prefix, str(name)))
    elif isinstance(value, list) and any(isinstance(item, dict) for item in value):
        for index, inner in enumerate(value):
            yield from _leaves(inner, (*prefix, str(index)))
    else:
        yield prefix


@dataclass(slots=True)
class Draft:
    """Lines of a hwconfig in order, by table."""

    source: Source
    lines: dict[str, list[str]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    """What was used, but not as the file means it."""

    def text(self, table: str, **values: str) -> None:
        """Add words, which need no source."""
        self.lines.setdefault(table, []).extend(f"{key} = {_quoted(value)}" for key, value in values.items())

    def count(self, table: str, key: str, value: int, origin: str) -> None:
        """Add a bare whole number."""
        self.lines.setdefault(table, []).append(f"{key} = {value}  # {origin}")

    def quantity(self, table: str, key: str, value: Fraction, dimension: str, origin: str) -> None:
        """Add a number in SI units of *dimension*, rounded down to what a line can hold exactly."""
        step = _STEPS.get(dimension, Fraction(1, 10**6))
        rounded = (value // step) * step
        self.lines.setdefault(table, []).append(f"{key} = {_quoted(exact_quantity(rounded, dimension))}  # {origin}")

    def stated(self, *key: str, how: str = "") -> str:
        """Return the origin of a value that stands at *key* of the file."""
        return f"source: {self.source.file}, {'.'.join(key)}{': ' + how if how else ''}"

    def note(self, text: str) -> None:
        """Say what of the file's meaning was lost."""
        self.notes.append(text)

    def unmapped(self) -> list[str]:
        """Return what could not be mapped: notes, then values that nothing used."""
        return [*self.notes, *(f"{key}: archsim has no such setting" for key in self.source.left())]

    def toml(self) -> str:
        """Return the file: where it comes from, what could not be mapped, then the tables."""
        head = [f"# Imported from {self.source.file} ({self.source.format}).", "# Not mapped:"]
        head += [f"#   {text}" for text in self.unmapped()] or ["#   nothing"]
        body = ["\n".join([f"[{table}]"] * bool(table) + lines) for table, lines in self.lines.items()]
        return "\n".join(head) + "\n\n" + "\n\n".join(body) + "\n"


def plain_name(name: str) -> str:
    """Return *name* as far as the name of a hwconfig allows it."""
    return re.sub(r"[^a-z0-9.-]+", "-", name.casefold()).strip("-.")[:60] or "imported"


def _quoted(value: str) -> str:
    return json.dumps(value, ensure_ascii=False)
