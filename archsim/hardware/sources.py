"""Where the numbers of a hwconfig come from: every value with the comment that stands on its line.

A number is a bare integer, a unit string, or a list of integers. Its line ends in `# source: ...` (where it was
published) or `# assumption: ...` (what we took it to be, and why).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import tomlkit
from tomlkit.exceptions import TOMLKitError
from tomlkit.items import InlineTable, Item

from archsim.errors import InputError, Problem
from archsim.files import read_bytes, read_toml
from archsim.hardware.fields import leaf_text
from archsim.hardware.overrides import OPTION, parse_overrides
from archsim.hardware.pools import design_files
from archsim.units import UNITS

__all__ = ["SourceRow", "sources", "sources_of_file"]

_ORIGIN = re.compile(r"#\s*(source|assumption):\s*(\S.*)")
_QUANTITY = re.compile(r"\d\S*\s*(\S+)")
_KNOWN_UNITS = {unit for units in UNITS.values() for unit in units}


class SourceRow(NamedTuple):
    """One number of a file."""

    file: str
    """File it stands in."""
    path: str
    """Dotted key inside the file."""
    value: str
    """As written."""
    kind: str
    """`source`, `assumption`, `override`, or empty where its line says neither."""
    text: str
    """The reason given."""


def sources(name_or_path: str, overrides: Sequence[str] = ()) -> list[SourceRow]:
    """Return a row for every number of a system and of the files it names, in file order, then the *overrides*."""
    given = [SourceRow(OPTION, item.path, leaf_text(item.value), "override", "") for item in parse_overrides(overrides)]
    return [*[row for path in design_files(name_or_path, overrides) for row in sources_of_file(path)], *given]


def sources_of_file(path: Path) -> list[SourceRow]:
    """Return a row for every number of the TOML file *path*; raises `InputError` where it cannot be read."""
    read_toml(path)
    try:
        document = tomlkit.parse(read_bytes(path).decode("utf-8-sig"))
    except TOMLKitError as error:
        raise InputError(Problem(str(path), "", "", f"valid TOML ({error})")) from None
    return [SourceRow(str(path), key, value, *_origin(item)) for key, value, item in _numbers(document, "")]


def _numbers(table: Any, prefix: str) -> Iterator[tuple[str, str, Item]]:
    for name, value in table.items():
        key = f"{prefix}{name}"
        if isinstance(value, InlineTable):  # one line: its comment is that of every number in it
            yield from ((inner, text, value) for inner, text, _ in _numbers(value, f"{key}."))
        elif hasattr(value, "items"):
            yield from _numbers(value, f"{key}.")
        elif _is_number(value):
            yield key, value if isinstance(value, str) else str(value), value


def _is_number(value: Any) -> bool:
    if isinstance(value, bool):
        return False
    if isinstance(value, str):
        match = _QUANTITY.fullmatch(value)
        return match is not None and match[1] in _KNOWN_UNITS
    if isinstance(value, list):
        return any(isinstance(element, int | float) for element in value)
    return isinstance(value, int | float)


def _origin(item: Item) -> tuple[str, str]:
    match = _ORIGIN.match(item.trivia.comment)
    return (match[1], match[2]) if match else ("", "")
