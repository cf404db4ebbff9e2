"""The kernels of one iteration of a transformer, as amounts: the whole model, before any sharding.

An operator is one fused kernel of a serving runtime (norm and projection, rope and KV append, attention, ...). Its
amounts are exact integers: elements of weights, KV and activations, FLOPs at 2 a multiply-add; `Amount.split` says
how ranks share them. No bits, no chip, no time. `attention` and `mlp` have the formulas of a layer.
"""

from __future__ import annotations

from dataclasses import dataclass

from archsim.workload.attention import attention_operators
from archsim.workload.batch import Batch
from archsim.workload.layers import LayerKind
from archsim.workload.mlp import distinct_experts, mlp_operators
from archsim.workload.model import Model
from archsim.workload.operator import NORM, SAMPLE, SOFTCAP, Operator, product_flops, stream
from archsim.workload.tensors import Amount, head_weights, norm_weights

__all__ = ["Batch", "Iteration", "Operator", "distinct_experts", "iteration_operators"]


@dataclass(frozen=True, slots=True)
class Iteration:
    """The operators of one iteration in order."""

    embed: tuple[Operator, ...]
    layers: dict[LayerKind, tuple[Operator, ...]]
    """Of a layer of each kind that the model has, the first layer's first."""
    head: tuple[Operator, ...]

    @property
    def layer(self) -> tuple[Operator, ...]:
        """Of the kind that comes last: the one of all layers where they are alike, the one with experts else."""
        return list(self.layers.values())[-1]


def iteration_operators(model: Model, batch: Batch) -> Iteration:
    """Return the kernels that *batch* runs through *model*."""
    layers = {kind: _layer(model, batch, kind) for kind in dict.fromkeys(model.kinds)}
    return Iteration(_embed(model, batch), layers, _head(model, batch))


def _layer(model: Model, whole: Batch, kind: LayerKind) -> tuple[Operator, ...]:
    batch = whole.thinned(kind.reached)
    if batch is None:
        return ()
    attention, mlp = attention_operators(model, batch, kind), mlp_operators(model, batch, kind)
    if model.parallel_block:
        return (*attention, *mlp, _all_reduce(model, batch, "layer_all_reduce"))
    first, second = (_all_reduce(model, batch, f"{part}_all_reduce") for part in ("attention", "mlp"))
    return (*attention, first, *mlp, second)


def _all_reduce(model: Model, batch: Batch, name: str) -> Operator:
    return Operator(name, exchange="all_reduce", exchange_elements=stream(model, batch.tokens))


def _one_norm(model: Model, tokens: int) -> Amount:
    return Amount(NORM * tokens * model.hidden, "whole")


def _embed(model: Model, batch: Batch) -> tuple[Operator, ...]:
    rows = Amount(batch.tokens * model.hidden, "ranks")
    positions = (Amount(rows.value, "whole"),) if model.learned_positions else ()
    norm = norm_weights(model) if model.embedding_norm else ()
    lookup = Operator(
        "embed",
        weights=(rows, *positions, *norm),
        weight_run_elements=model.hidden,
        activations_out=(stream(model, batch.tokens),),
        vector_flops=(_one_norm(model, batch.tokens),) if model.embedding_norm else (),
    )
    return lookup, _all_reduce(model, batch, "embed_all_reduce")


def _head(model: Model, batch: Batch) -> tuple[Operator, ...]:
    rows = batch.sampled
    states = stream(model, rows)
    cut, whole = Amount(rows * model.vocabulary, "vocabulary"), Amount(rows * model.vocabulary, "whole")
    product = Operator(
        "lm_head",
        weights=head_weights(model),
        activations_in=(states, states),
        activations_out=(cut,),
        matrix_flops=(product_flops(rows, model.hidden, Amount(model.vocabulary, "vocabulary")),),
        matrix_rows=rows,
        vector_flops=(_one_norm(model, rows),),
    )
    gather = Operator("logits_all_gather", exchange="all_gather", exchange_elements=cut)
    work = SAMPLE + (SOFTCAP if model.logit_softcap else 0)
    sample = Operator("sample", activations_in=(whole,), vector_flops=(Amount(work * whole.value, "whole"),))
    return product, gather, sample
