"""Kernels of the second half of a layer: a dense MLP, or a router, routed experts and those that every token passes.

For T tokens of hidden width h and MLP width i: 2 T h i FLOPs a matrix, 3 matrices where gated; experts the same for T k
rows over E(1-(1-k/E)^T) distinct experts, which are read once each.
W1: the count of distinct experts assumes independent uniform routing; against logged routes, which touch fewer, the
formula overstates by 8-36 % at batches of 8 to 32 (docs/workloads.md). Groups of experts, bias and scaling of the
routed sum (DeepSeek-V3) decide which experts are chosen and cost a few operations a score.
"""

from __future__ import annotations

from archsim.workload.batch import Batch
from archsim.workload.layers import LayerKind
from archsim.workload.model import Model
from archsim.workload.operator import ACTIVATION, TOP_K, Operator, norm_work, product_flops, stream
from archsim.workload.tensors import (
    Amount,
    expert_weights,
    mlp_weights,
    norm_weights,
    router_weights,
    shared_weights,
)

__all__ = ["distinct_experts", "mlp_operators"]

_EXPERT_PARTS = 1024
"""Distinct experts are counted in parts of an expert, so that a share of whole matrices stays whole bytes."""


def mlp_operators(model: Model, batch: Batch, kind: LayerKind) -> tuple[Operator, ...]:
    """Return the kernels from the norm to the down projection of a layer of *kind*."""
    if not kind.experts:
        width = model.dense_intermediate or model.intermediate
        return _dense(model, batch, width, normed=not model.parallel_block or model.norms_per_layer > 1)
    router, up, down = _experts(model, batch)
    return (router, *_shared(model, batch), up, down)


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


def _beside(size: int, needed: int, touched: int) -> tuple[Amount, ...]:
    """Return what is read of experts that wrong guesses alone touch."""
    more = size * touched // _EXPERT_PARTS - size * needed // _EXPERT_PARTS
    return (Amount(more, "ranks"),) if more else ()


def _dense(model: Model, batch: Batch, width: int, *, normed: bool) -> tuple[Operator, ...]:
    """Return gate and up, and down. A parallel block with one norm reads what the qkv kernel has normed."""
    tokens = batch.tokens
    into, out_of = mlp_weights(model)
    states, inner = stream(model, tokens), Amount(tokens * width, "ranks")
    residual = (states,) if normed and not model.parallel_block else ()
    activate = Amount(ACTIVATION * inner.value, "ranks")
    norms = norm_weights(model) * max(model.norms_per_layer // 2, 1) if normed else ()
    up = Operator(
        "gate_up" if model.gated else "up",
        weights=norms + into,
        activations_in=(states, *residual),
        activations_out=(*residual, inner),
        matrix_flops=(product_flops(tokens, model.hidden, Amount((2 if model.gated else 1) * width, "ranks")),),
        matrix_rows=tokens,
        vector_flops=(norm_work(model, tokens), activate) if normed else (activate,),
    )
    # The down kernel of a parallel block adds the attention's partial sum, so that one all-reduce serves both.
    summed = (states,) if model.parallel_block else ()
    down = Operator(
        "down",
        weights=out_of,
        activations_in=(inner, *summed),
        activations_out=(states,),
        matrix_flops=(product_flops(tokens, model.hidden, Amount(width, "ranks")),),
        matrix_rows=tokens,
    )
    return up, down


def _shared(model: Model, batch: Batch) -> tuple[Operator, ...]:
    """Return the two kernels of the experts that every token passes, as one MLP; nothing where there are none."""
    if not model.shared_intermediate:
        return ()
    tokens, width = batch.tokens, model.shared_intermediate
    into, out_of = shared_weights(model)
    states, inner = stream(model, tokens), Amount(tokens * width, "ranks")
    up = Operator(
        "shared_gate_up" if model.gated else "shared_up",
        weights=into,
        activations_in=(states,),
        activations_out=(inner,),
        matrix_flops=(product_flops(tokens, model.hidden, Amount((2 if model.gated else 1) * width, "ranks")),),
        matrix_rows=tokens,
        vector_flops=(Amount(ACTIVATION * inner.value, "ranks"),),
    )
    down = Operator(
        "shared_down",
        weights=out_of,
        activations_in=(inner,),
        activations_out=(states,),
        matrix_flops=(product_flops(tokens, model.hidden, Amount(width, "ranks")),),
        matrix_rows=tokens,
    )
    return up, down


def _experts(model: Model, batch: Batch) -> tuple[Operator, Operator, Operator]:
    """Return router, grouped gate and up, grouped down with the weighted sum."""
    tokens, routed = batch.tokens, batch.tokens * model.experts_per_token
    touched = distinct_experts(model, tokens)
    needed = distinct_experts(model, tokens - batch.rejected)
    rows = -(-routed * _EXPERT_PARTS // touched)
    into, out_of = expert_weights(model)
    products = (2 if model.gated else 1) * model.hidden * model.intermediate, model.intermediate * model.hidden
    states, inner = stream(model, tokens), Amount(routed * model.intermediate, "ranks")
    scores = Amount(tokens * model.experts, "whole")
    router = Operator(
        "router",
        weights=norm_weights(model) + router_weights(model),
        activations_in=(states, states),
        activations_out=(states, states, scores),
        matrix_flops=(product_flops(tokens, model.hidden, Amount(model.experts, "whole")),),
        matrix_rows=tokens,
        vector_flops=(norm_work(model, tokens), Amount(TOP_K * scores.value, "whole")),
    )
    up = Operator(
        "experts_gate_up" if model.gated else "experts_up",
        weights=(Amount(into * needed // _EXPERT_PARTS, "ranks"),),
        reread_weights=_beside(into, needed, touched),
        expert_weights=True,
        activations_in=(Amount(routed * model.hidden, "whole"),),
        activations_out=(inner,),
        matrix_flops=(Amount(2 * routed * products[0], "ranks"),),
        matrix_rows=rows,
        vector_flops=(Amount(ACTIVATION * inner.value, "ranks"),),
    )
    # With experts for every token, the weighted sum adds their output too.
    summed = (states,) if model.shared_intermediate else ()
    down = Operator(
        "experts_down",
        weights=(Amount(out_of * needed // _EXPERT_PARTS, "ranks"),),
        reread_weights=_beside(out_of, needed, touched),
        expert_weights=True,
        activations_in=(inner, *summed),
        activations_out=(states,),
        matrix_flops=(Amount(2 * routed * products[1], "ranks"),),
        matrix_rows=rows,
        vector_flops=(Amount(2 * routed * model.hidden, "whole"),),
    )
    return router, up, down
