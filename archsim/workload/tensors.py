"""The weight tensors of a model: how many elements each has and how it is cut over ranks.

One list serves operators (what a kernel reads), placement (what a chip stores) and the parameter count, so the three
cannot disagree. Norm vectors, biases, position tables and the router are counted.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, NamedTuple

from archsim.workload.layers import LayerKind
from archsim.workload.model import Model

__all__ = [
    "Amount",
    "Split",
    "Tensor",
    "active_parameter_count",
    "attention_weights",
    "embedding_table",
    "expert_weights",
    "head_weights",
    "latent_weights",
    "layer_weights",
    "mlp_weights",
    "norm_weights",
    "output_weights",
    "parameter_count",
    "position_table",
    "router_weights",
    "shared_weights",
    "stored_weights",
]

Split = Literal["ranks", "kv_heads", "vocabulary", "whole"]
"""How tensor parallelism cuts an amount: evenly; by KV heads, replicated where there are more ranks than heads; by
vocabulary rows, padded up; not at all, every rank holds the whole."""

Use = Literal["attention", "experts", "other"]
"""Projections into attention, which every context rank holds; routed experts; all else."""


@dataclass(frozen=True, slots=True)
class Amount:
    """Elements or FLOPs in the unsharded model, and how ranks share them."""

    value: int
    split: Split


def norm_weights(model: Model) -> tuple[Amount, ...]:
    """Return the vectors of one norm over the hidden width."""
    return (Amount(model.norm_vectors * model.hidden, "whole"),)


def attention_weights(model: Model) -> tuple[Amount, ...]:
    """Return the query, key and value projections of a layer with their biases, norms and sinks."""
    if model.latent:
        down, up, expand = latent_weights(model)
        return (*down, *up, *expand)
    rows = model.hidden + (1 if model.qkv_bias else 0)
    amounts = [Amount(rows * model.query_width, "ranks"), Amount(2 * rows * model.kv_width, "kv_heads")]
    if model.qk_norm == "head":
        amounts.append(Amount(2 * model.head_dim, "whole"))
    elif model.qk_norm == "width":
        amounts += [Amount(model.query_width, "ranks"), Amount(model.kv_width, "kv_heads")]
    if model.sinks:
        amounts.append(Amount(model.heads, "ranks"))
    return tuple(amounts)


def latent_weights(model: Model) -> tuple[tuple[Amount, ...], tuple[Amount, ...], tuple[Amount, ...]]:
    """Return (projections to the latents with their norms, queries from theirs, keys and values from theirs).

    Every rank projects the whole latent of keys and values, whose split is that of a single KV head; what comes out of
    a latent belongs to heads. Without a query latent the queries come from the hidden state.
    """
    latent = model.latent
    if latent is None:
        raise ValueError(f"{model.name} has no latent")
    query = Amount((latent.query_rank or model.hidden) * model.heads * latent.query, "ranks")
    down = [Amount(model.hidden * latent.cached + latent.kv_rank, "kv_heads")]
    if latent.query_rank:
        down.append(Amount((model.hidden + 1) * latent.query_rank, "whole"))
    expand = Amount(latent.kv_rank * model.heads * (latent.nope + latent.value), "ranks")
    return tuple(down), (query,), (expand,)


def output_weights(model: Model) -> tuple[Amount, ...]:
    """Return the output projection of attention; its bias is added after the sum over ranks, by every rank."""
    bias = (Amount(model.hidden, "whole"),) if model.output_bias else ()
    return (Amount(model.query_width * model.hidden, "ranks"), *bias)


def mlp_weights(model: Model) -> tuple[tuple[Amount, ...], tuple[Amount, ...]]:
    """Return (gate and up, down) of a dense MLP: of the leading layers where the others have experts."""
    width = model.dense_intermediate or model.intermediate
    inputs = 2 if model.gated else 1
    rows = model.hidden + (1 if model.mlp_bias else 0)
    down = Amount(width * model.hidden, "ranks")
    bias = (Amount(model.hidden, "whole"),) if model.mlp_bias else ()
    return (Amount(inputs * rows * width, "ranks"),), (down, *bias)


def shared_weights(model: Model) -> tuple[tuple[Amount, ...], tuple[Amount, ...]]:
    """Return (gate and up, down) of the experts that every token passes; nothing where there are none."""
    if not model.shared_intermediate:
        return (), ()
    size = model.hidden * model.shared_intermediate
    return (Amount((2 if model.gated else 1) * size, "ranks"),), (Amount(size, "ranks"),)


def router_weights(model: Model) -> tuple[Amount, ...]:
    """Return the matrix that scores the experts of a layer, with its bias."""
    bias = 1 if model.expert_bias or model.router_bias else 0
    return (Amount((model.hidden + bias) * model.experts, "whole"),)


def expert_weights(model: Model) -> tuple[int, int]:
    """Return the elements of (gate and up, down) of one expert; every rank holds a slice of every expert."""
    inputs, bias = 2 if model.gated else 1, 1 if model.expert_bias else 0
    return inputs * (model.hidden + bias) * model.intermediate, (model.intermediate + bias) * model.hidden


class Tensor(NamedTuple):
    """A weight of a layer and what decides how it is cut and stored."""

    amount: Amount
    use: Use


def layer_weights(model: Model, kind: LayerKind | None = None) -> tuple[Tensor, ...]:
    """Return all weights of one layer of *kind*; default: of the last layer's."""
    experts = kind.experts if kind is not None else bool(model.experts)
    norms = norm_weights(model) * model.norms_per_layer
    found = [Tensor(amount, "attention") for amount in attention_weights(model)]
    found += [Tensor(amount, "other") for amount in (*norms, *output_weights(model))]
    if experts:
        into, out_of = shared_weights(model)
        found += [Tensor(amount, "other") for amount in (*router_weights(model), *into, *out_of)]
        found.append(Tensor(Amount(model.experts * sum(expert_weights(model)), "ranks"), "experts"))
    else:
        into, out_of = mlp_weights(model)
        found += [Tensor(amount, "other") for amount in (*into, *out_of)]
    return tuple(found)


def embedding_table(model: Model) -> Amount:
    """Return the table of token vectors."""
    return Amount(model.vocabulary * model.hidden, "vocabulary")


def position_table(model: Model) -> tuple[Amount, ...]:
    """Return the learned positions, where the model has them."""
    return (Amount(model.learned_positions * model.hidden, "whole"),) if model.learned_positions else ()


def head_weights(model: Model) -> tuple[Amount, ...]:
    """Return what the output head reads: final norm, table (the embedding's own where tied), bias."""
    bias = (Amount(model.vocabulary, "vocabulary"),) if model.head_bias else ()
    return (*norm_weights(model), embedding_table(model), *bias)


def stored_weights(model: Model) -> tuple[tuple[Amount, int], ...]:
    """Return every weight of the model as (amount, how often): what a placement has to hold."""
    embedding = (embedding_table(model), *position_table(model), *(norm_weights(model) if model.embedding_norm else ()))
    head = [amount for amount in head_weights(model) if not (model.tied and amount == embedding_table(model))]
    outside = ((amount, 1) for amount in (*embedding, *head))
    inside = (
        (tensor.amount, count) for kind, count in Counter(model.kinds).items() for tensor in layer_weights(model, kind)
    )
    return (*inside, *outside)


@lru_cache(maxsize=64)
def parameter_count(model: Model) -> int:
    """Return the parameters of *model*; a tied table counts once."""
    return sum(amount.value * times for amount, times in stored_weights(model))


def active_parameter_count(model: Model) -> int:
    """Return the parameters that one token uses: of the experts those it is routed to; tables in full."""
    idle = model.experts - model.experts_per_token
    return parameter_count(model) - model.expert_layers * idle * sum(expert_weights(model))
