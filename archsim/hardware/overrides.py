"""`--set PATH=VALUE`: one setting changed on the raw tables, before they are checked like any file.

PATH is a dotted key as `show` prints it, or a suffix of one that is unique (`hbm.stacks`). VALUE is a unit string, a
whole number, a word, or a list such as `[2, 4]`.

A memory's datasheet bandwidth is a cross-check, so overrides keep it honest: setting `bandwidth` re-derives the pin
rate from the width, and setting the pin rate, the width or its vias drops the datasheet's figure.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from pydantic import BaseModel

from archsim.errors import InputError, Problem, did_you_mean
from archsim.hardware.door import Key, Tables
from archsim.hardware.fields import possible_keys
from archsim.units import exact_quantity, parse_quantity

__all__ = ["OPTION", "Override", "apply_overrides", "parse_overrides", "rederive_rates"]

OPTION = "--set"
"""Where an override's problems are said to stand."""

_WIDTH_KEYS = ("stacks", "channels_per_stack", "channel_bits")
_WHOLE_NUMBER = re.compile(r"-?\d{1,18}")


@dataclass(frozen=True, slots=True)
class Override:
    """One assignment as the user wrote it."""

    path: str
    """Dotted key or a unique suffix of one."""
    value: Any
    """String, integer or list."""


def parse_overrides(assignments: Sequence[str]) -> tuple[Override, ...]:
    """Return *assignments* of the form `PATH=VALUE` taken apart; raises `InputError` for those that are not."""
    parts = [assignment.partition("=") for assignment in assignments]
    problems = [
        Problem(OPTION, "", assignment, "PATH=VALUE, such as hbm.stacks=8")
        for assignment, (path, sign, value) in zip(assignments, parts, strict=True)
        if not (path.strip() and sign and value.strip())
    ]
    if problems:
        raise InputError(*problems)
    return tuple(Override(path.strip(), _value(value.strip())) for path, _, value in parts)


def _value(text: str) -> Any:
    if _WHOLE_NUMBER.fullmatch(text):
        return int(text)
    if text.startswith("["):
        try:
            return tomllib.loads(f"value = {text}")["value"]
        except (tomllib.TOMLDecodeError, RecursionError, ValueError):
            return text
    if len(text) > 1 and text[0] == text[-1] == '"':
        return text[1:-1]
    return text


def apply_overrides(
    model: type[BaseModel], tables: Tables, overrides: Iterable[Override], *, only: str = ""
) -> tuple[Override, ...]:
    """Write *overrides* into *tables* and return those left over.

    With *only*, those whose key ends in that word are applied and the others left over, an unknown path too: it may
    become known when a further file is read.
    """
    given = tuple(overrides)
    # What a path may mean takes long to list, and a path that ends in another word means no key of this one.
    known = list(possible_keys(model, tables.root)) if any(_may_be(each, only) for each in given) else []
    left = []
    for override in given:
        matches = _matches(override.path, known) if _may_be(override, only) else []
        if only and (len(matches) != 1 or matches[0][-1] != only):
            left.append(override)
        elif len(matches) == 1:
            _write(tables, matches[0], override)
        else:
            tables.problems.append(_unknown(override.path, matches, known))
    return tuple(left)


def _may_be(override: Override, only: str) -> bool:
    return not only or override.path.rpartition(".")[2] == only


def _matches(path: str, known: list[Key]) -> list[Key]:
    parts = tuple(path.split("."))
    if parts in known:
        return [parts]
    return [key for key in known if key[-len(parts) :] == parts]


def _unknown(path: str, matches: list[Key], known: list[Key]) -> Problem:
    if matches:
        return Problem(OPTION, "", path, f"one setting; this means {', '.join('.'.join(key) for key in matches)}")
    full = {".".join(key) for key in known}
    suffixes = {".".join(key[-2:]) for key in known}
    hint = did_you_mean(path, full) or did_you_mean(path, suffixes) or did_you_mean(path, {key[-1] for key in known})
    return Problem(OPTION, "", path, f"a setting as `archsim show` prints it{hint}")


def _write(tables: Tables, key: Key, override: Override) -> None:
    table = tables.root
    for part in key[:-1]:
        inner = table.get(part)
        table[part] = dict(inner) if isinstance(inner, dict) else {}
        table = table[part]
    table[key[-1]] = override.value
    tables.files[key] = OPTION


def rederive_rates(tables: Tables) -> None:
    """Bring pin rate and datasheet bandwidth of overridden memories back together."""
    chip = tables.root.get("chip")
    memories = chip.get("memory") if isinstance(chip, dict) else None
    for name, memory in (memories if isinstance(memories, dict) else {}).items():
        if isinstance(memory, dict):
            _rederive(
                memory,
                {
                    key[3]
                    for key, file in tables.files.items()
                    if file == OPTION and key[:3] == ("chip", "memory", name) and len(key) > 3
                },
            )


def _rederive(memory: dict[str, Any], changed: set[str]) -> None:
    if "bandwidth" not in changed:
        if changed & {"pin_rate", "vias", *_WIDTH_KEYS}:
            memory.pop("bandwidth", None)
        return
    counts = [memory.get(key) for key in _WIDTH_KEYS]
    width = 1
    for count in counts:
        width *= count if isinstance(count, int) else 0
    if "pin_rate" in changed or width <= 0:
        return
    try:
        bits_per_s = parse_quantity(memory["bandwidth"], "bytes/s") * 8 / width
        memory["pin_rate"] = exact_quantity(_whole_bytes(bits_per_s), "bits/s")
    except ValueError:  # no rate, or one that nobody can write: the check of the whole memory says so
        return


def _whole_bytes(bits_per_s: Fraction) -> int:
    """Return the multiple of 8 b/s next to *bits_per_s*, so that a channel of any width moves whole bytes."""
    return max(8, 8 * round(bits_per_s / 8))
