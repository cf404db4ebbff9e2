"""Iterations one after the other, as one: times add, and so do the books of every scope."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from archsim.step.books import total_books
from archsim.step.record import StepRecord
from archsim.units import PS_PER_S

__all__ = ["in_turn", "waited"]


def in_turn(first: StepRecord, others: Sequence[tuple[StepRecord, int]]) -> StepRecord:
    """Return *first* followed by each of *others* so many times; all are of the same scopes."""
    if any(record.scopes != first.scopes for record, _ in others):
        raise AssertionError("iterations of different parts do not follow each other as one")
    parts = ((first, 1), *others)
    books = {scope: total_books((record.books[scope], times) for record, times in parts) for scope in first.books}
    flops = Counter(dict(first.matrix_flops))
    uses = list(first.uses)
    for record, times in others:
        for dtype, count in record.matrix_flops:
            flops[dtype] += times * count
        uses += [replace(use, count=times * use.count) for use in record.uses]
    collectives = dict.fromkeys(kind for record, _ in parts for kind in record.collectives)
    return replace(
        first,
        time_ps=first.time_ps + sum(times * record.time_ps for record, times in others),
        books=books,
        uses=tuple(uses),
        collectives=tuple(collectives),
        jobs=first.jobs + sum(times * record.jobs for record, times in others),
        event_count=first.event_count + sum(record.event_count for record, _ in others),
        matrix_flops=tuple(sorted(flops.items())),
    )


def waited(record: StepRecord, time_ps: int, account: str) -> StepRecord:
    """Return *record* with *time_ps* more, in which every scope waits: booked to *account*."""
    books = {scope: dict(accounts) for scope, accounts in record.books.items()}
    for scope in record.scopes:
        more = scope.peak_per_s * time_ps / PS_PER_S
        books[scope.name][account] = books[scope.name].get(account, 0.0) + more
    return replace(record, time_ps=record.time_ps + time_ps, books=books)
