"""The state of a server as JSON, and back: written down between two iterations, to go on from there another day.

A server is a tree of *parts*, which its constructor makes, that hold *records*, plain values and columns. Every class
of both names in `KEPT` the attributes that a run changes; the rest follows from how the server was made. Restoring
fills a server that was made alike: parts are filled where they stand, records are made anew, and only those of
`_RECORDS`, so that a file can name nothing else. One record in two places stays one. Dictionaries keep their order.
"""

from __future__ import annotations

import base64
from collections import deque
from collections.abc import Callable
from typing import Any

import numpy as np

from archsim.serving.prefix import Unit
from archsim.serving.record import PhaseUse, Window
from archsim.serving.requests import Sequence
from archsim.serving.tier import TierUse

__all__ = ["restore", "saved"]

_RECORDS: dict[str, type[Any]] = {kind.__name__: kind for kind in (PhaseUse, Sequence, TierUse, Unit, Window)}
_PLAIN = (int, str, type(None))


def saved(part: object) -> dict[str, Any]:
    """Return what is kept of *part* and of all within, as JSON values."""
    return _Writer().part(part)


def restore(part: object, state: dict[str, Any]) -> None:
    """Fill *part*, made as the one was whose *state* this is. Raises `ValueError` where it does not fit."""
    _Reader().fill(part, state)


class _Writer:
    def __init__(self) -> None:
        self._known: dict[int, int] = {}

    def part(self, part: Any) -> dict[str, Any]:
        return {name: self.value(getattr(part, name)) for name in part.KEPT}

    def value(self, value: Any) -> Any:
        """Return *value* as JSON: what is more than a number or a list, as an object whose key says what."""
        if isinstance(value, _PLAIN):
            return value
        if isinstance(value, list):
            return [self.value(each) for each in value]
        return self._record(value) if type(value).__name__ in _RECORDS else self._kind(value)

    def _kind(self, value: Any) -> dict[str, Any]:
        if isinstance(value, tuple | deque):
            return {type(value).__name__: [self.value(each) for each in value]}
        if isinstance(value, dict):
            return {"dict": [[self.value(key), self.value(each)] for key, each in value.items()]}
        if isinstance(value, np.ndarray):
            packed = base64.b64encode(value.astype("<i8").tobytes()).decode()
            return {"columns": [list(value.shape), packed]}
        return {"part": self.part(value)}

    def _record(self, record: Any) -> dict[str, Any]:
        known = self._known.get(id(record))
        if known is not None:
            return {"known": known}
        self._known[id(record)] = len(self._known)
        return {type(record).__name__: [self.value(getattr(record, name)) for name in record.KEPT]}


class _Reader:
    def __init__(self) -> None:
        self._records: list[Any] = []
        self._kinds: dict[str, Callable[[Any], Any]] = {
            "tuple": lambda content: tuple(self.value(each) for each in content),
            "deque": lambda content: deque(self.value(each) for each in content),
            "dict": lambda content: {self.value(key): self.value(each) for key, each in content},
            "columns": _columns,
            "known": lambda number: self._records[number],
        }

    def fill(self, part: Any, state: dict[str, Any]) -> None:
        if set(state) != set(part.KEPT):
            raise ValueError(f"{type(part).__name__} has {', '.join(part.KEPT)}")
        for name, value in state.items():
            within, written = getattr(part, name), isinstance(value, dict) and "part" in value
            if hasattr(within, "KEPT") != written and type(within).__name__ not in _RECORDS:
                raise ValueError(f"{type(part).__name__}.{name} is {'a' if written else 'no'} part")
            if written:
                self.fill(within, value["part"])
            else:
                setattr(part, name, self.value(value))

    def value(self, value: Any) -> Any:
        if isinstance(value, list):
            return [self.value(each) for each in value]
        if not isinstance(value, dict):
            return value
        ((kind, content),) = value.items()
        if kind not in _RECORDS:
            return self._kinds[kind](content)
        return self._record(_RECORDS[kind], content)

    def _record(self, kind: type[Any], values: list[Any]) -> Any:
        record = object.__new__(kind)
        self._records.append(record)
        for name, value in zip(kind.KEPT, values, strict=True):
            setattr(record, name, self.value(value))
        return record


def _columns(content: list[Any]) -> np.ndarray[Any, np.dtype[np.int64]]:
    shape, packed = content
    return np.frombuffer(base64.b64decode(packed), dtype="<i8").reshape(shape).astype(np.int64)
