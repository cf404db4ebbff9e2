"""What of a plan nobody needs: the work of positions whose guess is wrong.

S2: positions of an iteration share its activations, KV writes and matrix FLOPs equally; those of wrong guesses are
`overfetch`. Weights and the KV of the context are needed in any case, but for experts that wrong guesses alone touch. A
draft model's pass has no other purpose than its guess: where that is wrong, all that it read was for nothing.
"""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

from archsim.mapping.plan import Plan, Segment, Task, Transfer
from archsim.workload.batch import Batch

__all__ = ["wasted", "without"]

_BY_POSITION = frozenset({"activations", "kv_write"})
"""Tensors of which each position has its part."""
_ALL = _BY_POSITION | {"weights", "kv_read"}


def wasted(plan: Plan, batch: Batch) -> Plan:
    """Return *plan* of *batch* with the work of its rejected positions as overfetch."""
    return without(plan, Fraction(batch.rejected, batch.tokens), of=_BY_POSITION) if batch.rejected else plan


def without(plan: Plan, share: Fraction, *, of: frozenset[str] = _ALL) -> Plan:
    """Return *plan* of which nobody needs *share* of the tensors *of* and of the matrix FLOPs."""
    return replace(
        plan,
        segments=_segments(plan.segments, share, of),
        others=tuple(_segments(segments, share, of) for segments in plan.others),
    )


def _segments(segments: tuple[Segment, ...], share: Fraction, of: frozenset[str]) -> tuple[Segment, ...]:
    return tuple(
        replace(segment, tasks=tuple(_task(task, share, of) for task in segment.tasks)) for segment in segments
    )


def _task(task: Task, share: Fraction, of: frozenset[str]) -> Task:
    if task.collective is not None:
        return task
    useful = task.matrix_flops - task.replica_flops
    return replace(
        task,
        transfers=tuple(
            _transfer(transfer, share) if transfer.tensor in of else transfer for transfer in task.transfers
        ),
        replica_flops=task.replica_flops + int(useful * share),
    )


def _transfer(transfer: Transfer, share: Fraction) -> Transfer:
    return replace(transfer, useful_bytes=transfer.useful_bytes - int(transfer.useful_bytes * share))
