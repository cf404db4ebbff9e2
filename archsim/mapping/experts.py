"""Layers with experts on ranks of their own: attention by groups, dispatch, experts, combine.

Ranks are groups of tp x cp. A group's ranks attend together to the sequences of their group and hold its tokens; each
sends an equal part of them to the ranks of the experts that the router chose (dispatch), computes its own experts for
whatever arrives, sends the results back (combine), and the group gathers its tokens again. Both all-to-alls carry
tokens x experts a token x hidden; a token that goes to two experts of one rank is sent twice. Rank r holds the r-th
part of the experts in the order of their numbers.

Where experts lie on fewer parts than the ranks of the only group, every rank has all tokens at hand and nothing is
dispatched: it computes its slice of the experts of its part, and one all-reduce adds up slices and experts. A single
rank has neither.

How many tokens a rank's experts get, and how many of them any, is the routing's to say; where ranks get unequally the
slowest is waited for at the combine. P3: the senders' own shares are taken as equal.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

from archsim.mapping.plan import Collective, Segment, Task
from archsim.mapping.rank import Rank
from archsim.mapping.shares import Shares, split_batch
from archsim.workload.batch import Batch
from archsim.workload.layers import LayerKind, runs
from archsim.workload.model import Model
from archsim.workload.operators import Iteration, Operator, iteration_operators
from archsim.workload.routing import Load, Routing
from archsim.workload.tensors import Amount, expert_weights

__all__ = ["expert_layers"]


def expert_layers(
    rank: Rank, model: Model, routing: Routing, batch: Batch, *, layers: range, ends: tuple[bool, bool]
) -> list[tuple[Segment, ...]]:
    """Return the segments of every rank for the given *layers*; *ends* say whether embedding and head are with them."""
    return _Cut.of(rank, model, routing, batch).segments(layers, ends)


@dataclass(frozen=True, slots=True)
class _Cut:
    rank: Rank
    part: Rank
    """The view of a rank on amounts of its part of the experts: all its own, or sliced."""
    model: Model
    routing: Routing
    tokens: int
    sequences: int
    groups: tuple[Iteration | None, ...]
    """Operators of each attention group; None for one without a sequence."""
    lead: Iteration
    """Operators of the group with the most tokens: its exchanges are those of all groups."""
    lead_tokens: int

    @classmethod
    def of(cls, rank: Rank, model: Model, routing: Routing, batch: Batch) -> _Cut:
        parts = split_batch(batch, rank.ways.groups)
        most = max((part for part in parts if part is not None), key=lambda part: part.tokens)
        work = {part: iteration_operators(model, part) for part in dict.fromkeys(parts) if part is not None}
        return cls(
            rank=rank,
            part=replace(rank, shares=Shares(rank.ways.expert_slices, model.kv_heads, model.vocabulary)),
            model=model,
            routing=routing,
            tokens=batch.tokens,
            sequences=batch.decode + batch.prefill_sequences,
            groups=tuple(None if part is None else work[part] for part in parts),
            lead=work[most],
            lead_tokens=most.tokens,
        )

    def segments(self, layers: range, ends: tuple[bool, bool]) -> list[tuple[Segment, ...]]:
        """Return the segments of every rank."""
        ranks, attend = self.rank.ways.stage_ranks, self.rank.ways.group_ranks
        embed = [
            tuple(self.rank.tasks_beside(group.embed if group else None, self.lead.embed)) for group in self.groups
        ]
        head = [tuple(self.rank.tasks_beside(group.head if group else None, self.lead.head)) for group in self.groups]
        middle: list[list[Segment]] = [[] for _ in range(ranks)]
        first = self.model.dense_layers
        named = self.routing.layers > 1
        keys = [(kind, (layer - first) % self.routing.layers) for layer, kind in enumerate(self.model.kinds)]
        done = layers.start
        for pattern, repeats in runs([keys[layer] for layer in layers]):
            by_layer = [self._layer(kind, route) for kind, route in pattern]
            name = f"layer{done}" if named or len(pattern) * repeats < len(layers) else "layer"
            for place, of_rank in enumerate(middle):
                of_rank.append(Segment(name, tuple(task for of_ranks in by_layer for task in of_ranks[place]), repeats))
            done += len(pattern) * repeats
        return [
            (
                *((Segment("embed", embed[place // attend]),) if ends[0] else ()),
                *middle[place],
                *((Segment("head", head[place // attend]),) if ends[1] else ()),
            )
            for place in range(ranks)
        ]

    def _layer(self, kind: LayerKind, route: int) -> list[tuple[Task, ...]]:
        """Return the tasks of one layer for every rank; *route* is its number among those of the routing."""
        ways = self.rank.ways
        attend, ranks = ways.group_ranks, ways.stage_ranks
        lead = self.lead.layers[kind]
        if not kind.experts:
            whole = [
                tuple(self.rank.tasks_beside(group.layers[kind] if group else None, lead)) for group in self.groups
            ]
            return [whole[place // attend] for place in range(ranks)]
        loads = self.routing.loads(self.model, self.tokens, layer=route, ranks=ways.ep, sequences=self.sequences)
        experts = {load: tuple(self._experts(load, lead)) for load in dict.fromkeys(loads)}
        own = [_dense(group.layers[kind]) if group else None for group in self.groups]
        dense = [tuple(self.rank.tasks_beside(operators, _dense(lead))) for operators in own]
        if ranks == 1:
            return [(*dense[0], *experts[loads[0]])]
        if ways.expert_slices > 1:
            reduce = self.rank.exchange(_summed(lead))
            return [(*dense[0], *experts[loads[place // ways.expert_slices]], reduce) for place in range(ranks)]
        dispatch, combine = self._exchanges(loads)
        gather = self._gather(lead)
        return [(*dense[place // attend], dispatch, *experts[loads[place]], combine, *gather) for place in range(ranks)]

    def _exchanges(self, loads: Sequence[Load]) -> tuple[Task, Task]:
        """Return dispatch and combine."""
        token_bytes = self.model.hidden * self.rank.stream_bits / 8
        mean = -(-sum((load.routed for load in loads), Fraction(0)) * token_bytes // len(loads))
        unequal: tuple[int, ...] = ()
        if any(load.routed != loads[0].routed for load in loads):
            unequal = tuple(-(-load.routed * token_bytes // 1) for load in loads)
        return (
            Task("dispatch", collective=Collective("all_to_all", mean, received_bytes=unequal)),
            Task("combine", collective=Collective("all_to_all", mean, sent_bytes=unequal)),
        )

    def _gather(self, lead: Sequence[Operator]) -> tuple[Task, ...]:
        """Return the exchange after which every rank of a group has all its tokens.

        Experts that every token passes are cut over the group, whose ranks have parts of their sum to add up.
        """
        if self.rank.shares.ranks == 1:
            return ()
        summed = _summed(lead)
        if self.model.shared_intermediate:
            return (self.rank.exchange(summed),)
        return (self.rank.exchange(replace(summed, name="mlp_all_gather", exchange="all_gather")),)

    def _experts(self, load: Load, lead: Sequence[Operator]) -> Iterator[Task]:
        """Yield the kernels of one rank's experts: those of the lead, scaled to what is routed here."""
        if not load.routed:
            return
        model = self.model
        scale = load.routed / (self.lead_tokens * model.experts_per_token)
        up, down = (operator for operator in lead if _of_experts(operator))
        inner, *added = down.activations_in
        if self.rank.ways.expert_slices > 1 or self.rank.ways.stage_ranks == 1:
            # Results are summed here, a part of the sum of every token, with that of the experts for all tokens.
            beside, written = tuple(added), down.activations_out
        else:
            beside = _scaled(added, scale)
            written = (Amount(int(load.routed * model.hidden), "whole"),)
        kernels = (
            (up, _scaled(up.activations_in, scale), _scaled(up.activations_out, scale)),
            (down, (*_scaled((inner,), scale), *beside), written),
        )
        for (operator, read, written), weights in zip(kernels, expert_weights(model), strict=True):
            yield self.part.kernel(
                replace(
                    operator,
                    weights=(Amount(int(load.touched * weights), "ranks"),),
                    missed_weights=(Amount(int(load.missed * weights), "ranks"),) if load.missed else (),
                    kept_weights=(Amount(int(load.kept * weights), "ranks"),) if load.kept else (),
                    activations_in=read,
                    activations_out=written,
                    matrix_flops=_scaled(operator.matrix_flops, scale),
                    matrix_rows=-(-load.routed // load.touched),
                    vector_flops=_scaled(operator.vector_flops, scale),
                )
            )


def _of_experts(operator: Operator) -> bool:
    return operator.name.startswith("experts_")


def _dense(layer: Sequence[Operator]) -> list[Operator]:
    return [operator for operator in layer if not _of_experts(operator) and operator.name != "mlp_all_reduce"]


def _summed(layer: Sequence[Operator]) -> Operator:
    return next(operator for operator in layer if operator.name == "mlp_all_reduce")


def _scaled(amounts: Sequence[Amount], scale: Fraction) -> tuple[Amount, ...]:
    return tuple(Amount(int(amount.value * scale), amount.split) for amount in amounts)
