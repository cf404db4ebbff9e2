"""The weight tensors of a model: how many elements each has and how it is cut over ranks.

One list serves operators (what a kernel reads), placement (what a chip stores) and the parameter count, so the three
cannot disagree. Norm vectors, biases, position tables and the router are counted.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from archsim.workload.model import Model

__all__ = [
    "Amount",
    "Split",
    "active_parameter_count",
    "attention_weights",
    "embedding_table",
    "expert_weights",
    "head_weights",
    "layer_weights",
    "mlp_weights",
    "norm_weights",
    "output_weights",
    "parameter_count",
    "position_table",
    "router_weights",
    "stored_weights",
]

Split = Literal["ranks", "kv_heads", "vocabulary", "whole"]
"""How tensor parallelism cuts an amount: evenly; by KV heads, replicated where there are more ranks than heads; by
vocabulary rows, padded up; not at all, every rank holds the whole."""


@dataclass(frozen=True, slots=True)
class Amount:
    """Elements or FLOPs in the unsharded model, and how ranks share them."""

    value: int
    split: Split


def norm_weights(model: Model) -> tuple[Amount, ...]:
    """Return the vectors of one norm over the hidden width."""
    return (Amount(model.norm_vectors * model.hidden, "whole"),)


def attention_weights(model: Model) -> tuple[Amount, ...]:
    """Return the query, key and value projections of a layer with their biases and norms."""
    rows = model.hidden + (1 if model.qkv_bias else 0)
    amounts = [Amount(rows * model.query_width, "ranks"), Amount(2 * rows * model.kv_width, "kv_heads")]
    if model.qk_norm == "head":
        amounts.append(Amount(2 * model.head_dim, "whole"))
    elif model.qk_norm == "width":
        amounts += [Amount(model.query_width, "ranks"), Amount(model.kv_width, "kv_heads")]
    return tuple(amounts)


def output_weights(model: Model) -> tuple[Amount, ...]:
    """Return the output projection of attention; its bias is added after the sum over ranks, by every rank."""
    bias = (Amount(model.hidden, "whole"),) if model.output_bias else ()
    return (Amount(model.query_width * model.hidden, "ranks"), *bias)


def mlp_weights(model: Model) -> tuple[tuple[Amount, ...], tuple[Amount, ...]]:
    """Return (gate and up, down) of a dense MLP."""
    inputs = 2 if model.gated else 1
    rows = model.hidden + (1 if model.mlp_bias else 0)
    down = Amount(model.intermediate * model.hidden, "ranks")
    bias = (Amount(model.hidden, "whole"),) if model.mlp_bias else ()
    return (Amount(inputs * rows * model.intermediate, "ranks"),), (down, *bias)


def router_weights(model: Model) -> tuple[Amount, ...]:
    """Return the matrix that scores the experts of a layer."""
    return (Amount(model.hidden * model.experts, "whole"),)


def expert_weights(model: Model) -> tuple[int, int]:
    """Return the elements of (gate and up, down) of one expert; every rank holds a slice of every expert."""
    inputs = 2 if model.gated else 1
    return inputs * model.hidden * model.intermediate, model.intermediate * model.hidden


def layer_weights(model: Model) -> tuple[Amount, ...]:
    """Return all weights of one layer."""
    norms = norm_weights(model) * model.norms_per_layer
    attention = attention_weights(model) + output_weights(model)
    if model.experts:
        experts = Amount(model.experts * sum(expert_weights(model)), "ranks")
        return (*norms, *attention, *router_weights(model), experts)
    into, out_of = mlp_weights(model)
    return (*norms, *attention, *into, *out_of)


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
    return (*((amount, model.layers) for amount in layer_weights(model)), *outside)


def parameter_count(model: Model) -> int:
    """Return the parameters of *model*; a tied table counts once."""
    return sum(amount.value * times for amount, times in stored_weights(model))


def active_parameter_count(model: Model) -> int:
    """Return the parameters that one token uses: of the experts those it is routed to; tables in full."""
    idle = model.experts - model.experts_per_token
    return parameter_count(model) - model.layers * idle * sum(expert_weights(model))
