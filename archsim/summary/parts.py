"""What ledgers are made of: the books of one replica's iterations, and scopes that stand for all chips.

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

__all__ = ["Part", "Whole", "part_of", "summed_over", "wholes_of"]

_CHIPS = re.compile(r"chip(\d+)(?:-(\d+))?\.(.+)")


@dataclass(frozen=True, slots=True)
class Part:
    """One replica: its scopes, the books of every simulated iteration on them, and what it did."""

    scopes: tuple[Scope, ...]
    sources: tuple[str, ...]
    """Names of the scopes in the records of iterations, which are the first replica's."""
    columns: BookColumns
    windows: tuple[Window, ...]
    total: Window


@dataclass(frozen=True, slots=True)
class Whole:
    """A scope that stands for those of all folds of chips."""

    scope: Scope
    rows: tuple[int, ...]
    """Its scopes' places in any part."""


def part_of(
    records: Sequence[StepRecord], windows: Sequence[Window], total: Window, *, replica: Replica | None = None
) -> Part:
    """Return the part that *replica* is, the only one where there is None."""
    scopes = [(scope, _name(scope, replica)) for scope in records[0].scopes]
    mine = [(scope, name) for scope, name in scopes if name]
    peaks = {scope.name: scope.peak_per_s for scope, _ in mine}
    columns = BookColumns.of([record.books for record in records], peaks)
    return Part(
        scopes=tuple(scope if name == scope.name else replace(scope, name=name) for scope, name in mine),
        sources=tuple(peaks),
        columns=replace(columns, scopes=tuple(name for _, name in mine)),
        windows=tuple(windows),
        total=total,
    )


def wholes_of(parts: Sequence[Part]) -> tuple[Whole, ...]:
    """Return a whole for each part of a chip that has several scopes, in the order of the scopes."""
    rows: dict[str, list[int]] = {}
    for row, scope in enumerate(parts[0].scopes):
        if scope.kind != "link":
            rows.setdefault(scope.name.partition(".")[2], []).append(row)
    return tuple(
        Whole(_whole_scope(name, [part.scopes[row] for part in parts for row in places]), tuple(places))
        for name, places in rows.items()
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
    """Return the name of *replica*'s counterpart of *scope*; empty for a link that is another's."""
    if replica is None:
        return scope.name
    if scope.kind == "link":
        return replica.links.get(scope.name, "")
    match = _CHIPS.fullmatch(scope.name)
    if match is None:
        raise AssertionError(f"{scope.name} is no scope on chips")
    first, last = int(match[1]), int(match[2] or match[1])
    return f"{fold_name(replica.chips[first], last - first + 1)}.{match[3]}"
