"""One iteration's operators, cut over ranks: the plans that the step floor simulates.

`Cut.plan` plans the layers of one stage, `Cut.pipeline` every stage and micro-batch, `plan_iteration` the whole of a
model in one stage. What a rank handles of an operator is `rank`'s, what it handles of experts is `experts`'.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from archsim.errors import InputError, Problem
from archsim.hardware.spec import PlacementSpec, SystemSpec
from archsim.mapping.experts import expert_layers
from archsim.mapping.parallelism import Parallelism, check_parallelism
from archsim.mapping.placement import Placement, place
from archsim.mapping.plan import Collective, Pipeline, Plan, Segment, Task
from archsim.mapping.planar import Plane, hidden_ways
from archsim.mapping.rank import Rank
from archsim.mapping.shares import split_batch, split_evenly
from archsim.mapping.waste import wasted
from archsim.workload.batch import Batch
from archsim.workload.expert_cache import Cached
from archsim.workload.layers import runs
from archsim.workload.model import Model
from archsim.workload.operators import Operator, iteration_operators
from archsim.workload.precision import Precision
from archsim.workload.routing import UNIFORM, Routing

_TOKEN_BYTES = 4

__all__ = ["Cut", "plan_iteration"]


@dataclass(frozen=True, slots=True)
class Cut:
    """A model cut over a system: what all plans of it have in common."""

    model: Model
    ways: Parallelism
    rank: Rank
    routing: Routing
    chips: tuple[int, ...]
    """Chip of every place that the ways have: not all in order where spares stand in."""
    stream_bytes_per_token: int
    """Activations that pass from layer to layer."""
    placed: PlacementSpec | None = None
    """Where tensors lie, where the chip says so."""
    placement: Placement | None = None
    """How much of them lies where, beside `placed`."""
    hidden_ways: int = 1
    """Ranks over which a 2D layout cuts the hidden width."""
    cache_tokens: int = 0
    """Tokens that the cache of a sequence is compiled for; 0: it grows with the sequence (A39)."""

    @classmethod
    def of(
        cls,
        model: Model,
        precision: Precision,
        parallelism: Parallelism,
        system: SystemSpec,
        *,
        routing: Routing = UNIFORM,
    ) -> Cut:
        """Return the cut.

        Raises `InputError` where *parallelism* does not divide the model or fill the system, where *routing* is of
        other experts, or where the chip's matrix engine lacks the number type that *precision* asks for.
        """
        check_parallelism(parallelism, model, system)
        if parallelism.ep > 1 or routing is not UNIFORM:
            _check_routing(model, parallelism, routing)
        rank = Rank.of(model, precision, parallelism, system)
        placed = system.chip.placement
        placement = place(model, precision, system, parallelism, spare_experts=routing.spare) if placed else None
        if placed is not None and placement is not None and placed.experts:
            slots = min(stage.expert_slots for stage in placement.stages)
            routing = Cached(routing, slots, placed.expert_policy or "popular")
        return cls(
            model,
            parallelism,
            rank,
            routing,
            system.working_chips,
            -(-model.hidden * rank.stream_bits // 8),
            placed,
            placement,
            hidden_ways(model, parallelism, system),
            system.runtime.static_cache_tokens,
        )

    @property
    def bends(self) -> tuple[int, ...]:
        """Attended tokens of a replica's sequences at which their KV blocks begin to fill another tier."""
        if self.placement is None:
            return ()
        found = set()
        for stage in self.placement.stages:
            held = 0
            for _, room in stage.filled.kv_rooms[:-1]:
                held += room
                found.add(held * self.model.reach.parts // stage.kv_bytes_per_token * self.ways.groups)
        return tuple(sorted(found - {0}))

    def _on_tiers(self, batch: Batch, stage: int, whole: Batch) -> tuple[Rank, Batch]:
        """Return the rank of *stage* in an iteration of *whole*, and *batch* with the context that it attends to."""
        if self.placed is None or self.placement is None:
            return self.rank, batch
        context = self.placed.context_tokens or 0
        groups, reach = self.ways.groups, self.model.reach
        seen = whole.windowed(reach.window)
        full = reach.full * (whole.kv_tokens + whole.prefill_kv_tokens)
        held = full + reach.windowed * (seen.kv_tokens + seen.prefill_kv_tokens)
        residence = self.rank.residence.placed(
            self.placement.stages[stage],
            self.placed,
            kv_tokens=-(-held // (groups * reach.parts)),
            context_tokens=-(-(whole.decode + whole.prefill_sequences) * context // groups),
        )
        return replace(self.rank, residence=residence), batch.with_context(context)

    def plan(self, batch: Batch, *, stage: int = 0, whole: Batch | None = None) -> Plan:
        """Return what the ranks of *stage* of the first replica do with *batch*, a part of *whole*; or all of it."""
        if self.cache_tokens:
            batch, whole = batch.in_static_cache(self.cache_tokens), (whole or batch).in_static_cache(self.cache_tokens)
        rank, batch = self._on_tiers(batch, stage, whole or batch)
        ways = self.ways
        chips = tuple(self.chips[place] for place in ways.chips_of(stage=stage))
        placed = () if chips == tuple(range(len(chips))) else chips
        counts = split_evenly(self.model.layers, ways.pp)
        layers = range(sum(counts[:stage]), sum(counts[: stage + 1]))
        ends = (stage == 0, stage == ways.pp - 1)
        if ways.ep == 1:
            if self.routing is UNIFORM:
                segments = self._segments(rank, batch, layers, ends)
            else:
                # Ranks that share all experts do the same work.
                segments, *_ = expert_layers(rank, self.model, self.routing, batch, layers=layers, ends=ends)
            return wasted(
                Plan(phase=batch.phase, segments=segments, ranks=len(chips), placed=placed, sequences=batch.sequences),
                batch,
            )
        first, *others = expert_layers(rank, self.model, self.routing, batch, layers=layers, ends=ends)
        by_rank = [first, *others]
        alike = tuple(map(by_rank.index, by_rank))
        plan = Plan(
            phase=batch.phase,
            segments=first,
            ranks=len(chips),
            identical_ranks=not any(alike),
            placed=placed,
            others=tuple(others) if any(alike) else (),
            sequences=batch.sequences,
            alike=alike if any(alike) else (),
            each_rank=True,
        )
        return wasted(plan, batch)

    def _segments(self, rank: Rank, batch: Batch, layers: range, ends: tuple[bool, bool]) -> tuple[Segment, ...]:
        work = iteration_operators(self.model, batch)
        tasks: Callable[[Sequence[Operator]], tuple[Task, ...]] = rank.tasks
        if self.ways.layout == "2d":
            tasks = Plane.of(rank, self.model, batch, x=self.hidden_ways, layer=work.layer).tasks
        of_kind = {kind: tasks(operators) for kind, operators in work.layers.items()}
        kinds = self.model.kinds
        patterns = runs([kinds[layer] for layer in layers])
        middle = [
            Segment(
                "layer" if len(patterns) == 1 else f"layers{place}_",
                tuple(task for kind in pattern for task in of_kind[kind]),
                repeats=repeats,
            )
            for place, (pattern, repeats) in enumerate(patterns)
            if any(of_kind[kind] for kind in pattern)
        ]
        return (
            *((Segment("embed", tasks(work.embed)),) if ends[0] else ()),
            *middle,
            *((Segment("head", tasks(work.head)),) if ends[1] else ()),
        )

    def pipeline(self, batch: Batch, *, micro_batches: int | None = None) -> Pipeline:
        """Return what every stage does with every micro-batch of *batch*.

        The default is as many micro-batches as stages, or as sequences where those are fewer.
        """
        sequences = batch.decode + batch.prefill_sequences
        count = min(micro_batches or self.ways.pp, sequences)
        parts = [part for part in split_batch(batch, count) if part is not None]
        # A stage's plans are of one phase: that of the iteration, whatever its micro-batches are made of.
        stages = tuple(
            tuple(replace(self.plan(part, stage=stage, whole=batch), phase=batch.phase) for part in parts)
            for stage in range(self.ways.pp)
        )
        sends = tuple(Collective("send_receive", part.tokens * self.stream_bytes_per_token, ways=2) for part in parts)
        whole = tuple(self.plan(batch, stage=stage) for stage in range(self.ways.pp))
        returns = tuple(Collective("send_receive", part.sampled * _TOKEN_BYTES, ways=2) for part in parts)
        return Pipeline(stages, whole, sends, returns)


def plan_iteration(
    model: Model,
    precision: Precision,
    parallelism: Parallelism,
    system: SystemSpec,
    batch: Batch,
    *,
    routing: Routing = UNIFORM,
) -> Plan:
    """Return what every chip of a replica of one stage does to run *batch* once through *model*.

    Raises `InputError` as `Cut.of` does, and for more than one stage.
    """
    if parallelism.pp > 1:
        expected = "1: several stages are planned one by one, by `Cut.pipeline`"
        raise InputError(Problem("", "--parallel pp", str(parallelism.pp), expected))
    return Cut.of(model, precision, parallelism, system, routing=routing).plan(batch)


def _check_routing(model: Model, ways: Parallelism, routing: Routing) -> None:
    if not model.experts:
        expected = f"nothing for a model without experts, as {model.name} is"
        raise InputError(Problem("", "--parallel experts", routing.name, expected))
    if ways.layout == "2d":
        expected = "nothing with layout=2d, which cuts every expert over all ranks"
        raise InputError(Problem("", "--parallel experts", routing.name, expected))
    if ways.ep == 1 and routing.spare:
        expected = "no copies of experts that all ranks share: copies are for expert ranks"
        raise InputError(Problem("", "--parallel experts", routing.name, expected))
    routing.check(model)
    if (model.experts + routing.spare) % ways.ep:
        found = f"{model.experts} experts and {routing.spare} copies"
        raise InputError(Problem("", "--parallel experts", found, f"a multiple of the {ways.ep} expert ranks together"))
