"""What a row of a kernel suite asks: its place in the suite, and how it is answered in seconds.

Not here: what the columns of a schema mean (`kernels`, `layer_kernels`), nor the tasks (`kernel_tasks`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from archsim.validation.kernel_tasks import Bench
from archsim.validation.table import Record, whole

__all__ = ["Question", "positive", "unanswered"]

_LARGEST = 2**24
"""Rows, columns, heads or tokens that a row may state."""


class Question(NamedTuple):
    """What a row asks: its place in the suite, and how it is answered in seconds."""

    group: str
    system: str
    moved_bytes: float
    """Operands that must come from memory, for the check against its peak."""
    answer: Callable[[Bench], float]
    microseconds: float | None
    skipped: str | None = None
    settings: tuple[str, ...] = ()
    """Settings of the runtime by which the schema was timed, as `--set` takes them."""


def unanswered(group: str, system: str, microseconds: float | None, why: str) -> Question:
    """Return the question of a row that no task answers, and *why*."""
    return Question(group, system, 0.0, _nothing, microseconds, why)


def _nothing(_made: Bench) -> float:
    return 0.0


def positive(record: Record, column: str) -> int:
    """Return the whole number from 1 to 2**24 in *column*. Raises `ValueError` for anything else."""
    value = whole(record, column)
    if value is None or not 0 < value <= _LARGEST:
        raise ValueError(column)
    return value
