"""A plan: what every rank does in one iteration, as data.

A plan says amounts, levels and order; it knows no time. `Segment.repeats` says how often a run of tasks stands in a
row (the layers of a model), and `Plan.identical_ranks` that all ranks do the same work over equal routes, so that the
step floor may simulate one of them. Where ranks differ (experts, uneven batches), `Plan.others` holds what the ranks
beyond the first do. `unrolled` writes the repetition out: the long way, for proofs.

A `Pipeline` is the iteration over several stages: a plan for every stage and micro-batch, and what is handed on.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

__all__ = ["Collective", "Groups", "Near", "Pipeline", "Plan", "Segment", "Task", "Transfer", "unrolled"]

Groups = tuple[tuple[int, ...], ...]
"""Chips that exchange among themselves, group by group."""


@dataclass(frozen=True, slots=True)
class Transfer:
    """Bytes of one tensor class between a rank's memory level and its engines."""

    level: str
    """Name of a memory or cache of the chip: `"hbm"`, `"l2"`."""
    tensor: str
    """`"weights"`, `"kv_read"`, `"kv_write"`, `"activations"`, or `"moved"`."""
    bytes: int
    """Bytes moved."""
    useful_bytes: int
    """Bytes of them that the model needs once per step and scope; the rest is overfetch."""
    write: bool
    run_bytes: int
    """Contiguous bytes before the address jumps."""
    granule_bytes: int = 0
    """Bytes that lie together on one channel; 0: as the level interleaves."""
    ahead: bool = False
    """Read ahead of its kernel, through the memory's own prefetch buffer."""
    late: bool = False
    """Weights that are not known before their kernel starts: of experts that a router has just chosen."""
    staged_by: str = ""
    """The memory whose bytes these are, on their way through this one: its tensor is `"moved"`."""


@dataclass(frozen=True, slots=True)
class Collective:
    """An exchange among all ranks of the plan, or within groups of them at the same time."""

    kind: str
    """`"all_reduce"`, `"all_gather"`, `"all_to_all"`, `"reduce_scatter"` or `"send_receive"`."""
    bytes: int
    """Size of the tensor: for an all-reduce the full tensor that every rank holds; for an all-to-all what one sends."""
    ways: int = 0
    """Ranks of one group; 0: all of the plan."""
    stride: int = 1
    """Distance between neighbours of a group."""
    received_bytes: tuple[int, ...] = ()
    """For an all-to-all whose ranks receive unequally: bytes for each, from all together in equal parts."""
    sent_bytes: tuple[int, ...] = ()
    """For an all-to-all whose ranks send unequally: bytes of each, to all together in equal parts."""

    def groups(self, chips: tuple[int, ...]) -> Groups:
        """Return the groups, where rank i of the plan is the i-th of *chips*."""
        ways = self.ways or len(chips)
        block = ways * self.stride
        return tuple(
            chips[first + offset : first + block : self.stride]
            for first in range(0, len(chips), block)
            for offset in range(self.stride)
        )


@dataclass(frozen=True, slots=True)
class Near:
    """The part of a task that units near a memory compute."""

    memory: str
    """The memory that they sit on."""
    flops: int
    useful_flops: int
    """Without what replicas compute again."""


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
    matrix_inputs: int = 0
    """Elements of the activations that the product takes, all rows together."""
    shards: int = 0
    """Pieces of the KV cache that are attended to by themselves: a decoding sequence's tokens for one KV head."""
    scores: int = 0
    """Query-key products of all heads."""
    widening_flops: int = 0
    """Of `vector_flops` those that widen weights on their way to the matrix engine."""
    kernels: int = 1
    """Kernels that it stands for, each with a ramp."""
    near: Near | None = None
    """What near-memory units compute of it; the other amounts are the host's."""


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
    """Of every rank; of the first one where there are `others`."""
    ranks: int
    identical_ranks: bool = True
    placed: tuple[int, ...] = ()
    """Chip of every rank; empty: rank i is chip i."""
    others: tuple[tuple[Segment, ...], ...] = ()
    """Segments of the ranks 1, 2, ... where they differ: the same names, repeats and collectives in the same order."""
    sequences: int = 0
    """Sequences for which the host schedules and samples."""
    alike: tuple[int, ...] = ()
    """For every rank the first one that does the same work; empty: `identical_ranks` says it for all."""
    each_rank: bool = False
    """Every rank has books of its own, be they identical or not."""

    @property
    def chips(self) -> tuple[int, ...]:
        """Chip of every rank."""
        return self.placed or tuple(range(self.ranks))

    @property
    def useful_weight_bytes(self) -> int:
        """Bytes of weights that the iteration needs, over all ranks."""
        ranks = (self.segments, *self.others)
        return (
            self.ranks
            // len(ranks)
            * sum(
                segment.repeats * transfer.useful_bytes
                for segments in ranks
                for segment in segments
                for task in segment.tasks
                for transfer in task.transfers
                if transfer.tensor == "weights"
            )
        )

    @property
    def simulated(self) -> tuple[int, ...]:
        """The ranks that have to be simulated: one of each kind."""
        return tuple(dict.fromkeys(map(self.kind_of, range(self.ranks))))

    def kind_of(self, rank: int) -> int:
        """Return the first rank that does what *rank* does."""
        if self.identical_ranks:
            return 0
        return self.alike[rank] if self.alike else rank

    def of_rank(self, rank: int) -> tuple[Segment, ...]:
        """Return the segments of *rank*."""
        return self.others[rank - 1] if rank and self.others else self.segments


@dataclass(frozen=True, slots=True)
class Pipeline:
    """One iteration over stages: micro-batches pass through all of them in order."""

    stages: tuple[tuple[Plan, ...], ...]
    """For each stage the plan of every micro-batch; a plan's tasks know nothing of other stages."""
    whole: tuple[Plan, ...]
    """For each stage the plan of all micro-batches as one: what weights the iteration needs at least."""
    sends: tuple[Collective, ...]
    """For each micro-batch what every rank hands to its counterpart in the next stage."""
    returns: tuple[Collective, ...]
    """For each micro-batch the tokens that one rank of the last stage hands back to one of the first."""

    def handover(self, stage: int) -> Groups:
        """Return the pairs of chips between *stage* and the next."""
        senders, receivers = (self.stages[place][0].chips for place in (stage, stage + 1))
        return tuple(zip(senders, receivers, strict=True))


def unrolled(plan: Plan) -> Plan:
    """Return the same iteration with every repetition written out: no segment repeats."""
    return replace(plan, segments=_flat(plan.segments), others=tuple(map(_flat, plan.others)))


def _flat(segments: tuple[Segment, ...]) -> tuple[Segment, ...]:
    return tuple(
        replace(segment, name=f"{segment.name}{index}", repeats=1)
        for segment in segments
        for index in range(segment.repeats)
    )
