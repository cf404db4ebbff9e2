"""What ledgers are made of: the books of one replica's iterations, and scopes that stand for all chips.

Replicas are alike, so all read one set of books: a part is the names that one of them has for it, and what it did.
A run on one replica whose chips fold has one scope a memory, cache and engine. Where stages, ranks or replicas have
scopes of their own, the chips' memory as a whole is one more scope: the sum of theirs. The headline is read off it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from archsim.mapping.replicas import Replica
from archsim.metrics.mixing import Amounts, BookColumns
from archsim.serving.record import Window
from archsim.step.assemble import fold_name
from archsim.step.record import Scope, StepRecord
from archsim.summary.phases import Did

__all__ = ["Books", "Part", "Whole", "summed_over", "wholes_of"]

_CHIPS = re.compile(r"chip(\d+)(?:-(\d+))?\.(.+)")


@dataclass(frozen=True, slots=True)
class Part:
    """One replica: its scopes, the books of every simulated iteration on them, and what it did."""

    scopes: tuple[Scope, ...]
    sources: tuple[str, ...]
    """Names of the scopes in the records of iterations, which are the first replica's."""
    rows: tuple[int, ...]
    """Rows of the scopes in `columns`."""
    did: Did
    windows: tuple[Window, ...]

    @property
    def columns(self) -> BookColumns:
        """The books of the records, which all replicas share."""
        return self.did.columns

    @property
    def total(self) -> Window:
        """All windows as one."""
        return self.did.total


@dataclass(frozen=True, slots=True)
class Whole:
    """A scope that stands for those of all folds of chips."""

    scope: Scope
    rows: tuple[int, ...]
    """Its scopes' rows in the columns of any part."""


class Books:
    """The books of all simulated iterations, to be shared out to replicas."""

    def __init__(self, records: Sequence[StepRecord]) -> None:
        scopes = records[0].scopes
        self._scopes = scopes
        self._columns = BookColumns.of(
            [record.books for record in records], {scope.name: scope.peak_per_s for scope in scopes}
        )
        self._links = {scope.name: place for place, scope in enumerate(scopes) if scope.kind == "link"}
        self._did: dict[int, Did] = {}
        self._on_chips = [place for place, scope in enumerate(scopes) if scope.kind != "link"]

    def part(self, windows: Sequence[Window], total: Window, *, replica: Replica | None = None) -> Part:
        """Return the part that *replica* is, the only one where there is None: *total* are its *windows* as one."""
        mine = [self._scopes[place] for place in self._places(replica)]
        named = [(scope, _name(scope, replica)) for scope in mine]
        return Part(
            scopes=tuple(scope if name == scope.name else replace(scope, name=name) for scope, name in named),
            sources=tuple(scope.name for scope in mine),
            rows=tuple(self._columns.rows[scope.name] for scope in mine),
            did=self._did.setdefault(id(total), Did(self._columns, total)),
            windows=tuple(windows),
        )

    def _places(self, replica: Replica | None) -> Sequence[int]:
        """Return the places of the scopes that *replica* has: its chips', and its own links'."""
        if replica is None:
            return range(len(self._scopes))
        links = (self._links[source] for source, name in replica.links.items() if name and source in self._links)
        return sorted([*self._on_chips, *links])


def wholes_of(parts: Sequence[Part]) -> tuple[Whole, ...]:
    """Return a whole for each part of a chip that has several scopes, in the order of the scopes."""
    found: dict[str, list[int]] = {}
    for place, scope in enumerate(parts[0].scopes):
        if scope.kind != "link":
            found.setdefault(scope.name.partition(".")[2], []).append(place)
    return tuple(
        Whole(
            _whole_scope(name, [part.scopes[place] for part in parts for place in places]),
            tuple(parts[0].rows[place] for place in places),
        )
        for name, places in found.items()
        if len(places) * len(parts) > 1
    )


def summed_over(whole: Whole, amounts: Amounts) -> Amounts:
    """Return the sum of *amounts* over the scopes of *whole*, shape (accounts,)."""
    total = np.zeros(amounts.shape[1])
    for row in whole.rows:
        total += amounts[row]
    return total


def _whole_scope(name: str, scopes: Sequence[Scope]) -> Scope:
    chips = sum(scope.chips for scope in scopes)
    return replace(
        scopes[0], name=f"{fold_name(0, chips)}.{name}", peak_per_s=sum(s.peak_per_s for s in scopes), chips=chips
    )


def _name(scope: Scope, replica: Replica | None) -> str:
    """Return the name of *replica*'s counterpart of *scope*."""
    if replica is None:
        return scope.name
    if scope.kind == "link":
        return replica.links[scope.name]
    match = _CHIPS.fullmatch(scope.name)
    if match is None:
        raise AssertionError(f"{scope.name} is no scope on chips")
    first, last = int(match[1]), int(match[2] or match[1])
    return f"{fold_name(replica.chips[first], last - first + 1)}.{match[3]}"
