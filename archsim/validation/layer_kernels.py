"""Layers of a model as simulators' profilers timed them: linear layers by tokens, attention by batch and context.

Rows name a model, its tensor parallelism and a layer; the shapes follow. The published profiles of Vidur and of
LLMServingSim (vLLM's layerwise profiler) are sums of the durations of a layer's GPU kernels, so the runtime is that of
single kernels with `launch_gap = 0 s`: a kernel's duration begins when it runs, and neither the gap before it nor a
host's eager launch is in it. Weights are read from main memory; a profiler that repeats one layer may find them in the
last cache, which is not modelled. Vidur is fp16, LLMServingSim bf16; Frontier's table states neither type nor clock and
is taken as Vidur's.

Layers of activations alone (norms, rotary embedding, activation, residual sum, embedding) are one kernel that reads and
writes what it must: vLLM fuses the residual sum into the norm, Vidur times it apart. Not here: the sampler, whose
kernels depend on how it samples; its rows are skipped.

Attention split over the sequence adds up its parts in a kernel of its own, by `num_splits_heuristic` of FlashAttention
(Dao 2023) with H100's processors: blocks of 128 tokens, where sequences and KV heads fill less than 80 % of two blocks
a processor. That the step's own token counts was seen in these tables: times jump from 64 to 128 tokens.
"""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from typing import NamedTuple

from archsim.validation.kernel_question import Question, positive, unanswered
from archsim.validation.kernel_tasks import PROCESSORS, Heads, attention, elementwise, matmul
from archsim.validation.names import model_named
from archsim.validation.table import Record, number
from archsim.workload.model import Model

__all__ = ["LAYERS", "merges"]

_DURATIONS = ("runtime.launch_gap=0 s",)
_BITS = 16
_BLOCK_TOKENS = 128
_BLOCKS = PROCESSORS * 2 * 8 // 10
_KINDS = {
    "qkv_proj": "qkv",
    "attn_pre_proj": "qkv",
    "o_proj": "out",
    "attn_post_proj": "out",
    "gate_up_proj": "gate_up",
    "mlp_up_proj": "gate_up",
    "down_proj": "down",
    "mlp_down_proj": "down",
    "lm_head": "head",
}
"""Layers of vLLM and of Vidur -> products. Vidur's `mlp_up_proj` is gate and up in one."""


class _Sizes(NamedTuple):
    """Widths of one rank's linear layers."""

    hidden: int
    query: int
    kv: int
    width: int
    """Of the MLP."""
    vocabulary: int = 0

    def product(self, kind: str) -> tuple[int, int]:
        """Return the columns and the inner size of a layer."""
        return {
            "qkv": (self.query + 2 * self.kv, self.hidden),
            "out": (self.hidden, self.query),
            "gate_up": (2 * self.width, self.hidden),
            "down": (self.hidden, self.width),
            "head": (self.vocabulary, self.hidden),
        }[kind]


_MOVED: dict[str, Callable[[_Sizes], int]] = {
    "act_fn": lambda sizes: 3 * sizes.width,
    "mlp_act": lambda sizes: 3 * sizes.width,
    "layernorm": lambda sizes: 4 * sizes.hidden,
    "final_layernorm": lambda sizes: 4 * sizes.hidden,
    "input_layernorm": lambda sizes: 2 * sizes.hidden,
    "post_attention_layernorm": lambda sizes: 2 * sizes.hidden,
    "add": lambda sizes: 3 * sizes.hidden,
    "embedding": lambda sizes: 2 * sizes.hidden,
    "rotary_emb": lambda sizes: 2 * (sizes.query + sizes.kv),
    "attn_rope": lambda sizes: 2 * (sizes.query + sizes.kv),
    "qk_norm": lambda sizes: 2 * (sizes.query + sizes.kv),
}
"""Layers of activations -> elements that a token's kernel reads and writes: gate and up in, their product out; a norm
with its residual sum in and out."""
_VECTOR_OPERATIONS = 10
"""For an element that is read or written: more than any of them takes, and never what binds."""


def merges(heads: Heads) -> bool:
    """Return whether parts of sequences are added up in a kernel of their own.

    The token of the step itself counts as context.
    """
    return heads.context + 1 > _BLOCK_TOKENS and heads.batch * heads.kv < _BLOCKS


def _layer(kind: str, system: str, shape: tuple[int, int, int], *, timed: tuple[str, float | None]) -> Question:
    """Return the question of a product of *shape* (M, N, K); *timed* is the element type and the time in us."""
    element, microseconds = timed
    return Question(
        f"layer {kind} {element}",
        system,
        float(shape[1] * shape[2] * _BITS // 8),
        lambda made: matmul(made, shape, weight_bits=Fraction(_BITS), bits=_BITS),
        microseconds,
        settings=_DURATIONS,
    )


def _activations(layer: str, system: str, elements: int, *, timed: tuple[str, float | None]) -> Question:
    """Return the question of a kernel that reads and writes *elements* in all."""
    element, microseconds = timed
    return Question(
        f"layer {layer} {element}",
        system,
        0.0,
        lambda made: elementwise(made, max(elements // 2, 1), operations=_VECTOR_OPERATIONS, bits=_BITS),
        microseconds,
        settings=_DURATIONS,
    )


def _layer_of(layer: str, system: str, sizes: _Sizes, *, tokens: int, timed: tuple[str, float | None]) -> Question:
    """Return the question of *layer* for *tokens*."""
    if layer in _MOVED:
        return _activations(layer, system, tokens * _MOVED[layer](sizes), timed=timed)
    return _layer(_KINDS[layer], system, (tokens, *sizes.product(_KINDS[layer])), timed=timed)


def _attention(system: str, heads: Heads, *, extra: int, timed: tuple[str, float | None]) -> Question:
    """Return the question of decode attention with *extra* small kernels beside it and its merge."""
    element, microseconds = timed
    return Question(
        f"layer attention {element}",
        system,
        float(heads.batch * heads.context * 2 * heads.kv * heads.width * _BITS // 8),
        lambda made: attention(made, heads, kv_bits=_BITS, extra=extra + merges(heads)),
        microseconds,
        settings=_DURATIONS,
    )


def _share(total: int, ways: int) -> int:
    """Return one of *ways* equal parts. Raises `ValueError` where there are none."""
    if total % ways:
        raise ValueError(total)
    return total // ways


def _sizes(model: Model, ways: int) -> _Sizes:
    return _Sizes(
        hidden=model.hidden,
        query=_share(model.heads, ways) * model.head_dim,
        kv=max(model.kv_heads // ways, 1) * model.head_dim,
        width=_share(model.intermediate, ways),
        vocabulary=_share(model.vocabulary, ways),
    )


def _vllm_layer(record: Record) -> Question:
    layer, system, time = record["layer"], record["hardware"], number(record, "time_us")
    if layer not in _KINDS | _MOVED:
        return unanswered(f"layer {layer} bfloat16", system, time, f"no model of the layer {layer}")
    sizes = _sizes(model_named(record["model"]), positive(record, "tp"))
    return _layer_of(layer, system, sizes, tokens=positive(record, "tokens"), timed=("bfloat16", time))


def _vllm_attention(record: Record) -> Question:
    """Beside the main kernel the one that appends to the cache; rotation is a layer of its own."""
    model, ways = model_named(record["model"]), positive(record, "tp")
    heads = Heads(
        batch=positive(record, "n_decode"),
        query=_share(model.heads, ways),
        kv=max(model.kv_heads // ways, 1),
        width=model.head_dim,
        context=positive(record, "kv_decode"),
    )
    return _attention(record["hardware"], heads, extra=1, timed=("bfloat16", number(record, "time_us")))


def _vidur_layer(record: Record) -> Question:
    layer, system, time = record["op"], record["device"], _microseconds(record, "median_ms")
    if layer not in _KINDS | _MOVED:
        return unanswered(f"layer {layer} float16", system, time, f"no model of the layer {layer}")
    ways, hidden, width = (positive(record, column) for column in ("tp", "d_model", "d_ff"))
    head = _share(hidden, positive(record, "n_head"))
    kv = max(positive(record, "n_kv_head") // ways, 1) * head
    sizes = _Sizes(hidden, _share(hidden, ways), kv, _share(width, ways))
    return _layer_of(layer, system, sizes, tokens=positive(record, "num_tokens"), timed=("float16", time))


def _frontier_attention(record: Record) -> Question:
    """The file is one of an A800; appending to the cache is timed apart, in `kv_save_median_ms`."""
    ways, query = positive(record, "tp"), positive(record, "n_q_head")
    heads = Heads(
        batch=positive(record, "batch"),
        query=_share(query, ways),
        kv=max(positive(record, "n_kv_head") // ways, 1),
        width=_share(positive(record, "d_model"), query),
        context=positive(record, "kv_len"),
    )
    return _attention("a800", heads, extra=0, timed=("float16", _microseconds(record, "attn_decode_median_ms")))


def _microseconds(record: Record, column: str) -> float | None:
    value = number(record, column)
    return None if value is None else value * 1e3


LAYERS: dict[tuple[str, ...], Callable[[Record], Question]] = {
    ("hardware", "model", "tp", "layer", "tokens", "time_us"): _vllm_layer,
    ("hardware", "model", "tp", "n_decode", "kv_decode", "time_us"): _vllm_attention,
    ("device", "d_model", "d_ff", "n_head", "n_kv_head", "tp", "num_tokens", "op", "median_ms"): _vidur_layer,
    ("batch", "kv_len", "n_q_head", "n_kv_head", "d_model", "tp", "attn_decode_median_ms"): _frontier_attention,
}
"""Columns that tell a schema -> how its rows are read."""
