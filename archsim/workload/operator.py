"""One kernel as amounts over the whole model, and the arithmetic that all kernels share.

W4: vector work is counted in operations an element: an estimate, small beside the bytes (`NORM` and its neighbours).
"""

from __future__ import annotations

from dataclasses import dataclass

from archsim.workload.model import Model
from archsim.workload.tensors import Amount

__all__ = [
    "ACTIVATION",
    "NORM",
    "NOTHING",
    "ROPE",
    "SAMPLE",
    "SOFTCAP",
    "SOFTMAX",
    "TOP_K",
    "Operator",
    "norm_work",
    "product_flops",
    "stream",
]

NORM, ROPE, SOFTMAX, ACTIVATION, TOP_K, SAMPLE, SOFTCAP = 5, 6, 5, 6, 5, 5, 3
"""Vector operations an element: square, sum, scale and residual add; two rotations; scale, maximum, exponential, sum
and divide; sigmoid and gate; selection; selection of a token; divide, tangent and multiply."""

NOTHING = Amount(0, "whole")


@dataclass(frozen=True, slots=True)
class Operator:
    """One kernel over the whole model, or one exchange between the ranks that share it."""

    name: str
    weights: tuple[Amount, ...] = ()
    reread_weights: tuple[Amount, ...] = ()
    """Weights that another kernel of the iteration has read: moved once more, needed once."""
    expert_weights: bool = False
    """The weights are those of routed experts, which may have a precision of their own."""
    missed_weights: tuple[Amount, ...] = ()
    """Of `weights` those of experts that lie apart and are in no cache."""
    kept_weights: tuple[Amount, ...] = ()
    """Of the missed ones those that the cache keeps."""
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
    rows_by_heads: bool = False
    """The rows are heads: a rank has its share of them."""
    vector_flops: tuple[Amount, ...] = ()
    reads_kv: bool = False
    """The products multiply activations with KV, not with weights."""
    shards: Amount = NOTHING
    """Pieces of the cache that are attended to by themselves: decoding sequences times KV heads."""
    scores: Amount = NOTHING
    """Query-key products of all heads."""
    exchange: str = ""
    """`"all_reduce"` or `"all_gather"` of `exchange_elements`; empty for a kernel."""
    exchange_elements: Amount = NOTHING


def stream(model: Model, tokens: int) -> Amount:
    """Return the hidden states of *tokens*."""
    return Amount(tokens * model.hidden, "whole")


def norm_work(model: Model, tokens: int) -> Amount:
    """Return the vector work of the norms before a block, and of those behind the one before where there are such."""
    return Amount(max(model.norms_per_layer // 2, 1) * NORM * tokens * model.hidden, "whole")


def product_flops(rows: int, inner: int, columns: Amount) -> Amount:
    """Return the FLOPs of a product of *rows* by *inner* by *columns*: a multiply and an add each."""
    return Amount(2 * rows * inner * columns.value, columns.split)
