"""A plan: what every rank does in one iteration, as data.

A plan says amounts, levels and order; it knows no time. `Segment.repeats` says how often a run of tasks stands in a
row (the layers of a model), and `Plan.identical_ranks` that all ranks do the same work over equal routes, so that the
step floor may simulate one of them. `unrolled` writes the repetition out: the long way, for proofs.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

__all__ = ["Collective", "Plan", "Segment", "Task", "Transfer", "unrolled"]


@dataclass(frozen=True, slots=True)
class Transfer:
    """Bytes of one tensor class between a rank's memory level and its engines."""

    level: str
    """Name of a memory or cache of the chip: `"hbm"`, `"l2"`."""
    tensor: str
    """`"weights"`, `"kv_read"`, `"kv_write"` or `"activations"`."""
    bytes: int
    """Bytes moved."""
    useful_bytes: int
    """Bytes of them that the model needs once per step and scope; the rest is overfetch."""
    write: bool
    run_bytes: int
    """Contiguous bytes before the address jumps."""


@dataclass(frozen=True, slots=True)
class Collective:
    """An exchange among all ranks of the plan."""

    kind: str
    """`"all_reduce"`, `"all_gather"`, `"all_to_all"` or `"reduce_scatter"`."""
    bytes: int
    """Size of the tensor: for an all-reduce the full tensor that every rank holds."""


@dataclass(frozen=True, slots=True)
class Task:
    """One kernel on every rank, or one collective over all of them."""

    name: str
    transfers: tuple[Transfer, ...] = ()
    matrix_flops: int = 0
    vector_flops: int = 0
    matrix_dtype: str = "bf16"
    matrix_rows: int = 0
    """Rows (M) of the matrix product: an engine that works in row tiles does the padded rows' work too."""
    collective: Collective | None = None
    replica_flops: int = 0
    """Of `matrix_flops` those done beside the model's own: by replicated KV heads and routers, padded vocabulary."""


@dataclass(frozen=True, slots=True)
class Segment:
    """Tasks in order, *repeats* times in a row."""

    name: str
    tasks: tuple[Task, ...]
    repeats: int = 1


@dataclass(frozen=True, slots=True)
class Plan:
    """One iteration on *ranks* chips."""

    phase: str
    """`"decode"`, `"prefill"` or `"mixed"`."""
    segments: tuple[Segment, ...]
    ranks: int
    identical_ranks: bool = True


def unrolled(plan: Plan) -> Plan:
    """Return the same iteration with every repetition written out: no segment repeats."""
    flat = tuple(
        replace(segment, name=f"{segment.name}{index}", repeats=1)
        for segment in plan.segments
        for index in range(segment.repeats)
    )
    return replace(plan, segments=flat)
