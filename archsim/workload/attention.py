"""Kernels of attention: projections, append to the cache, attention itself, output projection.

For T tokens of hidden width h, q query and v KV width and P query-key pairs: qkv 2 T h (q + 2 v) FLOPs; attention
4 P q; output 2 T q h. A layer with a window has fewer pairs and reads fewer keys (`Batch.windowed`).

Latent attention (MLA; DeepSeek-AI 2024, arXiv 2405.04434), H heads, latent c = 512, rotated r = 64, unrotated n and
value d: decoding multiplies the queries and the outputs with the matrices that would expand the latent (2 T H c (n + d)
FLOPs), and attends to the latent itself, one key of c + r and one value of c for all heads: 2 P H (2 c + r). Prefill
expands the latents of its whole context (2 K c H (n + d) for K tokens), and attends head by head: 2 P H (n + r + d).
"""

from __future__ import annotations

from archsim.workload.batch import Batch
from archsim.workload.latent import Latent
from archsim.workload.layers import LayerKind
from archsim.workload.model import Model
from archsim.workload.operator import NORM, ROPE, SOFTCAP, SOFTMAX, Operator, norm_work, product_flops, stream
from archsim.workload.tensors import Amount, attention_weights, latent_weights, norm_weights, output_weights

__all__ = ["attention_operators"]


def attention_operators(model: Model, batch: Batch, kind: LayerKind) -> tuple[Operator, ...]:
    """Return the kernels from the norm to the output projection of a layer of *kind*."""
    if model.latent:
        return (*_latent_projections(model, batch, model.latent), *_latent_attention(model, batch, model.latent),
                _output(model, batch))  # fmt: skip
    return (*_projections(model, batch), *_attention(model, batch, kind), _output(model, batch))


def _projections(model: Model, batch: Batch) -> tuple[Operator, ...]:
    tokens, weights = batch.tokens, attention_weights(model)
    states = stream(model, tokens)
    query, keys = Amount(tokens * model.query_width, "ranks"), Amount(2 * tokens * model.kv_width, "kv_heads")
    qkv = Operator(
        "qkv",
        weights=norm_weights(model) * max(model.norms_per_layer // 2, 1) + weights,
        activations_in=(states, states),
        activations_out=(states, query, keys),
        matrix_flops=tuple(
            product_flops(tokens, model.hidden, columns)
            for columns in (Amount(model.query_width, "ranks"), Amount(2 * model.kv_width, "kv_heads"))
        ),
        matrix_rows=tokens,
        vector_flops=(norm_work(model, tokens),),
    )
    turned = (query, Amount(keys.value // 2, "kv_heads")) if model.rotary else ()
    element_work = ROPE + (NORM if model.qk_norm != "none" else 0)
    append = Operator(
        "rope_append" if model.rotary else "kv_append",
        kv_append_decode=2 * batch.decode_rows * model.kv_width,
        kv_append_prefill=2 * batch.prefill_tokens * model.kv_width,
        activations_in=(query, keys) if model.rotary else (keys,),
        activations_out=(query,) if model.rotary else (),
        vector_flops=tuple(Amount(element_work * amount.value, amount.split) for amount in turned),
    )
    return qkv, append


def _attention(model: Model, batch: Batch, kind: LayerKind) -> tuple[Operator, ...]:
    """Return one kernel for each phase in the batch: their matrix products have different rows."""
    group, seen = model.heads // model.kv_heads, batch.windowed(kind.window)
    kernels = []
    if batch.decode:
        kernels.append(
            _attention_kernel(
                model, "attention_decode", batch.decode_rows,
                pairs=_pairs(batch, seen.kv_tokens), kv_tokens=seen.kv_tokens + batch.decode * batch.drafted,
                rows=group * (1 + batch.drafted), sequences=batch.decode,
            )
        )  # fmt: skip
    if batch.prefill_tokens:
        rows = group * -(-batch.prefill_tokens // batch.prefill_sequences)
        kernels.append(
            _attention_kernel(
                model, "attention_prefill", batch.prefill_tokens,
                pairs=seen.prefill_pairs, kv_tokens=seen.prefill_kv_tokens, rows=rows,
            )
        )  # fmt: skip
    return tuple(kernels)


def _pairs(batch: Batch, kv_tokens: int) -> int:
    """Return the query-key pairs of decoding: each guess attends to one position more than the one before it."""
    return (1 + batch.drafted) * kv_tokens + batch.decode * (batch.drafted * (batch.drafted + 1) // 2)


def _attention_kernel(
    model: Model, name: str, tokens: int, *, pairs: int, kv_tokens: int, rows: int, sequences: int = 0
) -> Operator:
    query = Amount(tokens * model.query_width, "ranks")
    return Operator(
        name,
        kv_read=2 * kv_tokens * model.kv_width,
        activations_in=(query,),
        activations_out=(query,),
        matrix_flops=(Amount(4 * pairs * model.query_width, "ranks"),),
        matrix_rows=rows,
        vector_flops=(_softmax(model, pairs),),
        reads_kv=True,
        shards=Amount(sequences * model.kv_heads, "kv_heads"),
        scores=Amount(pairs * model.heads, "ranks"),
    )


def _softmax(model: Model, pairs: int) -> Amount:
    return Amount((SOFTMAX + (SOFTCAP if model.attention_softcap else 0)) * pairs * model.heads, "ranks")


def _output(model: Model, batch: Batch) -> Operator:
    return Operator(
        "output",
        weights=output_weights(model),
        activations_in=(Amount(batch.tokens * model.query_width, "ranks"),),
        activations_out=(stream(model, batch.tokens),),
        matrix_flops=(product_flops(batch.tokens, model.hidden, Amount(model.query_width, "ranks")),),
        matrix_rows=batch.tokens,
    )


def _latent_projections(model: Model, batch: Batch, latent: Latent) -> tuple[Operator, ...]:
    tokens, (down, up, _) = batch.tokens, latent_weights(model)
    states, query = stream(model, tokens), Amount(tokens * model.heads * latent.query, "ranks")
    cached = Amount(tokens * latent.cached, "kv_heads")
    between = (Amount(tokens * latent.query_rank, "whole"),) if latent.query_rank else ()
    into_query = product_flops(tokens, latent.query_rank or model.hidden, Amount(model.heads * latent.query, "ranks"))
    columns = [Amount(latent.cached, "kv_heads"), *(Amount(latent.query_rank, "whole") for _ in between)]
    first = Operator(
        "latent_down" if between else "qkv",
        weights=(*norm_weights(model), *down, *(() if between else up)),
        activations_in=(states, states),
        activations_out=(states, cached, *(between or (query,))),
        matrix_flops=(
            *(product_flops(tokens, model.hidden, column) for column in columns),
            *(() if between else (into_query,)),
        ),
        matrix_rows=tokens,
        vector_flops=(norm_work(model, tokens),),
    )
    second = Operator(
        "query_up",
        weights=up,
        activations_in=between,
        activations_out=(query,),
        matrix_flops=(into_query,),
        matrix_rows=tokens,
        vector_flops=tuple(Amount(NORM * amount.value, amount.split) for amount in between),
    )
    append = Operator(
        "rope_append",
        kv_append_decode=batch.decode_rows * latent.cached,
        kv_append_prefill=batch.prefill_tokens * latent.cached,
        activations_in=(query, cached),
        activations_out=(query,),
        vector_flops=(
            Amount(ROPE * tokens * model.heads * latent.rope, "ranks"),
            Amount(tokens * (NORM * latent.kv_rank + ROPE * latent.rope), "kv_heads"),
        ),
    )
    return (first, second, append) if between else (first, append)


def _latent_attention(model: Model, batch: Batch, latent: Latent) -> tuple[Operator, ...]:
    """Return decode on absorbed matrices and prefill on expanded keys and values."""
    expand, prefill = _latent_prefill(model, batch, latent) if batch.prefill_tokens else ((), ())
    if not batch.decode:
        return (*expand, *prefill)
    query = _absorbed(model, "absorb_query", batch.decode_rows, (latent.nope, latent.kv_rank))
    value = _absorbed(model, "absorb_value", batch.decode_rows, (latent.kv_rank, latent.value))
    return (*expand, query, _latent_decode(model, batch, latent), *prefill, value)


def _absorbed(model: Model, name: str, tokens: int, widths: tuple[int, int]) -> Operator:
    """Return one product a head, from the first of *widths* to the second."""
    inner, outer = widths
    size = model.heads * inner * outer
    return Operator(
        name,
        weights=(Amount(size, "ranks"),),
        activations_in=(Amount(tokens * model.heads * inner, "ranks"),),
        activations_out=(Amount(tokens * model.heads * outer, "ranks"),),
        matrix_flops=(Amount(2 * tokens * size, "ranks"),),
        matrix_rows=tokens,
    )


def _latent_decode(model: Model, batch: Batch, latent: Latent) -> Operator:
    pairs, heads = _pairs(batch, batch.kv_tokens), model.heads
    return Operator(
        "attention_decode",
        kv_read=(batch.kv_tokens + batch.decode * batch.drafted) * latent.cached,
        activations_in=(Amount(batch.decode_rows * heads * latent.cached, "ranks"),),
        activations_out=(Amount(batch.decode_rows * heads * latent.kv_rank, "ranks"),),
        matrix_flops=(Amount(2 * pairs * heads * (latent.cached + latent.kv_rank), "ranks"),),
        matrix_rows=heads * (1 + batch.drafted),
        rows_by_heads=True,
        vector_flops=(_softmax(model, pairs),),
        reads_kv=True,
        shards=Amount(batch.decode, "kv_heads"),
        scores=Amount(pairs * heads, "ranks"),
    )


def _latent_prefill(model: Model, batch: Batch, latent: Latent) -> tuple[tuple[Operator, ...], tuple[Operator, ...]]:
    """Return (what expands the latents, what attends)."""
    tokens, context, heads = batch.prefill_tokens, batch.prefill_kv_tokens, model.heads
    expanded = Amount(context * heads * (latent.nope + latent.value), "ranks")
    weights = latent_weights(model)[2]
    expand = Operator(
        "expand",
        weights=() if batch.decode else weights,
        reread_weights=weights if batch.decode else (),
        kv_read=context * latent.cached,
        activations_out=(expanded,),
        matrix_flops=(Amount(2 * latent.kv_rank * expanded.value, "ranks"),),
        matrix_rows=context,
    )
    attention = Operator(
        "attention_prefill",
        activations_in=(Amount(tokens * heads * latent.query, "ranks"), expanded),
        activations_out=(Amount(tokens * model.query_width, "ranks"),),
        matrix_flops=(Amount(2 * batch.prefill_pairs * heads * (latent.query + latent.value), "ranks"),),
        matrix_rows=-(-tokens // batch.prefill_sequences),
        vector_flops=(_softmax(model, batch.prefill_pairs),),
        reads_kv=True,
        scores=Amount(batch.prefill_pairs * heads, "ranks"),
    )
    return (expand,), (attention,)
