"""The kernels of one iteration of a transformer, as amounts: the whole model, before any sharding.

An operator is one fused kernel of a serving runtime (norm and projection, rope and KV append, attention, ...). Its
amounts are exact integers: elements of weights, KV and activations, FLOPs at 2 a multiply-add; `Amount.split` says
how ranks share them. No bits, no chip, no time.

Formulas, for T tokens of hidden width h, q query and v KV width, i MLP width, P query-key pairs, and a layer:
  qkv 2 T h (q + 2 v) FLOPs; attention 4 P q; output 2 T q h; MLP 2 T h i a matrix, 3 matrices where gated;
  MoE the same for T k rows over E(1-(1-k/E)^T) distinct experts, which are read once each.
W1: the count of distinct experts assumes independent uniform routing; against logged routes, which touch fewer, the
formula overstates by 8-36 % at batches of 8 to 32 (docs/workloads.md).

W4: vector work is counted in operations an element: an estimate, small beside the bytes (`_NORM` and its neighbours).
"""

from __future__ import annotations

from dataclasses import dataclass

from archsim.workload.batch import Batch
from archsim.workload.model import Model
from archsim.workload.tensors import (
    Amount,
    attention_weights,
    expert_weights,
    head_weights,
    mlp_weights,
    norm_weights,
    output_weights,
    router_weights,
)

__all__ = ["Batch", "Iteration", "Operator", "distinct_experts", "iteration_operators"]

_NORM, _ROPE, _SOFTMAX, _ACTIVATION, _TOP_K, _SAMPLE = 5, 6, 5, 6, 5, 5
"""Vector operations an element: square, sum, scale and residual add; two rotations; scale, maximum, exponential, sum
and divide; sigmoid and gate; selection; selection of a token."""

_EXPERT_PARTS = 1024
"""Distinct experts are counted in parts of an expert, so that a share of whole matrices stays whole bytes."""

_NOTHING = Amount(0, "whole")


@dataclass(frozen=True, slots=True)
class Operator:
    """One kernel over the whole model, or one exchange between the ranks that share it."""

    name: str
    weights: tuple[Amount, ...] = ()
    weight_run_elements: int = 0
    """Contiguous weight elements before the address jumps (a row of a table); 0: all of them."""
    kv_read: int = 0
    """Elements of keys and values read; split by KV heads, as the next two."""
    kv_append_decode: int = 0
    """Elements appended one token a sequence."""
    kv_append_prefill: int = 0
    """Elements appended in runs of tokens."""
    activations_in: tuple[Amount, ...] = ()
    activations_out: tuple[Amount, ...] = ()
    matrix_flops: tuple[Amount, ...] = ()
    matrix_rows: int = 0
    """Rows (M) of one matrix product."""
    vector_flops: tuple[Amount, ...] = ()
    reads_kv: bool = False
    """The products multiply activations with KV, not with weights."""
    shards: Amount = _NOTHING
    """Pieces of the cache that are attended to by themselves: decoding sequences times KV heads."""
    scores: Amount = _NOTHING
    """Query-key products of all heads."""
    exchange: str = ""
    """`"all_reduce"` or `"all_gather"` of `exchange_elements`; empty for a kernel."""
    exchange_elements: Amount = _NOTHING


@dataclass(frozen=True, slots=True)
class Iteration:
    """The operators of one iteration in order; `layer` stands for each of the model's layers."""

    embed: tuple[Operator, ...]
    layer: tuple[Operator, ...]
    head: tuple[Operator, ...]


def iteration_operators(model: Model, batch: Batch) -> Iteration:
    """Return the kernels that *batch* runs through *model*."""
    attention = (*_projections(model, batch), *_attention(model, batch))
    if model.parallel_block:
        up, down = _mlp(model, batch, normed=model.norms_per_layer > 1)
        layer = (*attention, _output(model, batch), up, down, _all_reduce(model, batch, "layer_all_reduce"))
    else:
        mlp = _experts(model, batch) if model.experts else _mlp(model, batch, normed=True)
        first, second = (_all_reduce(model, batch, f"{part}_all_reduce") for part in ("attention", "mlp"))
        layer = (*attention, _output(model, batch), first, *mlp, second)
    return Iteration(_embed(model, batch), layer, _head(model, batch))


def distinct_experts(model: Model, tokens: int) -> int:
    """Return the expected number of distinct experts that *tokens* touch in a layer, in 1/1024 of an expert.

    E(1-(1-k/E)^T), in integers of 64 fraction bits so that no platform's `pow` matters.
    """
    one = 1 << 64
    missed = one
    factor = (model.experts - model.experts_per_token) * one // model.experts
    while tokens:
        if tokens & 1:
            missed = missed * factor >> 64
        factor = factor * factor >> 64
        tokens >>= 1
    return (model.experts * (one - missed) * _EXPERT_PARTS + one // 2) >> 64


def _stream(model: Model, tokens: int) -> Amount:
    return Amount(tokens * model.hidden, "whole")


def _norm(model: Model, tokens: int) -> Amount:
    return Amount(_NORM * tokens * model.hidden, "whole")


def _product(rows: int, inner: int, columns: Amount) -> Amount:
    """Return the FLOPs of a product of *rows* by *inner* by *columns*: a multiply and an add each."""
    return Amount(2 * rows * inner * columns.value, columns.split)


def _all_reduce(model: Model, batch: Batch, name: str) -> Operator:
    return Operator(name, exchange="all_reduce", exchange_elements=_stream(model, batch.tokens))


def _embed(model: Model, batch: Batch) -> tuple[Operator, ...]:
    rows = Amount(batch.tokens * model.hidden, "ranks")
    positions = (Amount(rows.value, "whole"),) if model.learned_positions else ()
    norm = norm_weights(model) if model.embedding_norm else ()
    lookup = Operator(
        "embed",
        weights=(rows, *positions, *norm),
        weight_run_elements=model.hidden,
        activations_out=(_stream(model, batch.tokens),),
        vector_flops=(_norm(model, batch.tokens),) if model.embedding_norm else (),
    )
    return lookup, _all_reduce(model, batch, "embed_all_reduce")


def _projections(model: Model, batch: Batch) -> tuple[Operator, ...]:
    tokens, weights = batch.tokens, attention_weights(model)
    stream = _stream(model, tokens)
    query, keys = Amount(tokens * model.query_width, "ranks"), Amount(2 * tokens * model.kv_width, "kv_heads")
    qkv = Operator(
        "qkv",
        weights=norm_weights(model) + weights,
        activations_in=(stream, stream),
        activations_out=(stream, query, keys),
        matrix_flops=tuple(
            _product(tokens, model.hidden, columns)
            for columns in (Amount(model.query_width, "ranks"), Amount(2 * model.kv_width, "kv_heads"))
        ),
        matrix_rows=tokens,
        vector_flops=(_norm(model, tokens),),
    )
    turned = (query, Amount(keys.value // 2, "kv_heads")) if model.rotary else ()
    element_work = _ROPE + (_NORM if model.qk_norm != "none" else 0)
    append = Operator(
        "rope_append" if model.rotary else "kv_append",
        kv_append_decode=2 * batch.decode * model.kv_width,
        kv_append_prefill=2 * batch.prefill_tokens * model.kv_width,
        activations_in=(query, keys) if model.rotary else (keys,),
        activations_out=(query,) if model.rotary else (),
        vector_flops=tuple(Amount(element_work * amount.value, amount.split) for amount in turned),
    )
    return qkv, append


def _attention(model: Model, batch: Batch) -> tuple[Operator, ...]:
    """Return one kernel for each phase in the batch: their matrix products have different rows."""
    group = model.heads // model.kv_heads
    kernels = []
    if batch.decode:
        kernels.append(
            _attention_kernel(
                model, "attention_decode", batch.decode, pairs=batch.kv_tokens, kv_tokens=batch.kv_tokens, rows=group
            )
        )
    if batch.prefill_tokens:
        rows = group * -(-batch.prefill_tokens // batch.prefill_sequences)
        kernels.append(
            _attention_kernel(
                model, "attention_prefill", batch.prefill_tokens,
                pairs=batch.prefill_pairs, kv_tokens=batch.prefill_kv_tokens, rows=rows,
            )
        )  # fmt: skip
    return tuple(kernels)


def _attention_kernel(model: Model, name: str, tokens: int, *, pairs: int, kv_tokens: int, rows: int) -> Operator:
    query = Amount(tokens * model.query_width, "ranks")
    return Operator(
        name,
        kv_read=2 * kv_tokens * model.kv_width,
        activations_in=(query,),
        activations_out=(query,),
        matrix_flops=(Amount(4 * pairs * model.query_width, "ranks"),),
        matrix_rows=rows,
        vector_flops=(Amount(_SOFTMAX * pairs * model.heads, "ranks"),),
        reads_kv=True,
        shards=Amount(tokens * model.kv_heads, "kv_heads") if name == "attention_decode" else _NOTHING,
        scores=Amount(pairs * model.heads, "ranks"),
    )


def _output(model: Model, batch: Batch) -> Operator:
    return Operator(
        "output",
        weights=output_weights(model),
        activations_in=(Amount(batch.tokens * model.query_width, "ranks"),),
        activations_out=(_stream(model, batch.tokens),),
        matrix_flops=(_product(batch.tokens, model.hidden, Amount(model.query_width, "ranks")),),
        matrix_rows=batch.tokens,
    )


def _mlp(model: Model, batch: Batch, *, normed: bool) -> tuple[Operator, ...]:
    """Return gate and up, and down. A parallel block with one norm reads what the qkv kernel has normed."""
    tokens = batch.tokens
    into, out_of = mlp_weights(model)
    stream, inner = _stream(model, tokens), Amount(tokens * model.intermediate, "ranks")
    residual = (stream,) if normed and not model.parallel_block else ()
    activate = Amount(_ACTIVATION * inner.value, "ranks")
    up = Operator(
        "gate_up" if model.gated else "up",
        weights=(norm_weights(model) if normed else ()) + into,
        activations_in=(stream, *residual),
        activations_out=(*residual, inner),
        matrix_flops=(_product(tokens, model.hidden, Amount((2 if model.gated else 1) * model.intermediate, "ranks")),),
        matrix_rows=tokens,
        vector_flops=(_norm(model, tokens), activate) if normed else (activate,),
    )
    # The down kernel of a parallel block adds the attention's partial sum, so that one all-reduce serves both.
    summed = (stream,) if model.parallel_block else ()
    down = Operator(
        "down",
        weights=out_of,
        activations_in=(inner, *summed),
        activations_out=(stream,),
        matrix_flops=(_product(tokens, model.hidden, Amount(model.intermediate, "ranks")),),
        matrix_rows=tokens,
    )
    return up, down


def _experts(model: Model, batch: Batch) -> tuple[Operator, ...]:
    """Return router, grouped gate and up, grouped down with the weighted sum."""
    tokens, routed = batch.tokens, batch.tokens * model.experts_per_token
    touched = distinct_experts(model, tokens)
    rows = -(-routed * _EXPERT_PARTS // touched)
    into, out_of = expert_weights(model)
    stream, inner = _stream(model, tokens), Amount(routed * model.intermediate, "ranks")
    scores = Amount(tokens * model.experts, "whole")
    router = Operator(
        "router",
        weights=norm_weights(model) + router_weights(model),
        activations_in=(stream, stream),
        activations_out=(stream, stream, scores),
        matrix_flops=(_product(tokens, model.hidden, Amount(model.experts, "whole")),),
        matrix_rows=tokens,
        vector_flops=(_norm(model, tokens), Amount(_TOP_K * scores.value, "whole")),
    )
    up = Operator(
        "experts_gate_up" if model.gated else "experts_up",
        weights=(Amount(into * touched // _EXPERT_PARTS, "ranks"),),
        activations_in=(Amount(routed * model.hidden, "whole"),),
        activations_out=(inner,),
        matrix_flops=(Amount(2 * routed * into, "ranks"),),
        matrix_rows=rows,
        vector_flops=(Amount(_ACTIVATION * inner.value, "ranks"),),
    )
    down = Operator(
        "experts_down",
        weights=(Amount(out_of * touched // _EXPERT_PARTS, "ranks"),),
        activations_in=(inner,),
        activations_out=(stream,),
        matrix_flops=(Amount(2 * routed * out_of, "ranks"),),
        matrix_rows=rows,
        vector_flops=(Amount(2 * routed * model.hidden, "whole"),),
    )
    return router, up, down


def _head(model: Model, batch: Batch) -> tuple[Operator, ...]:
    rows = batch.sampled
    stream = _stream(model, rows)
    cut, whole = Amount(rows * model.vocabulary, "vocabulary"), Amount(rows * model.vocabulary, "whole")
    product = Operator(
        "lm_head",
        weights=head_weights(model),
        activations_in=(stream, stream),
        activations_out=(cut,),
        matrix_flops=(_product(rows, model.hidden, Amount(model.vocabulary, "vocabulary")),),
        matrix_rows=rows,
        vector_flops=(_norm(model, rows),),
    )
    gather = Operator("logits_all_gather", exchange="all_gather", exchange_elements=cut)
    sample = Operator("sample", activations_in=(whole,), vector_flops=(Amount(_SAMPLE * whole.value, "whole"),))
    return product, gather, sample
