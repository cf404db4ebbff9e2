"""How Hugging Face configurations say the hyperparameters of a model.

One row a `model_type`: what the modelling code of that architecture fixes and its `config.json` need not repeat (a
gate in the MLP, biases, tied embeddings, ...). The keys themselves differ only in spelling, so one table of spellings
serves all. Facts are those of the `transformers` modelling files of each type, PaLM's of Chowdhery et al. 2022.

This is not a list of what exists: a type without a row, and a key that changes bytes or FLOPs in a way archsim does
not model, is refused.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

__all__ = ["FAMILIES", "Family"]

Config = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Family:
    """What an architecture fixes unless its configuration says otherwise."""

    gated: bool = True
    tied: bool = False
    parallel_block: bool = False
    norms_per_layer: int = 2
    norm_vectors: int = 1
    qk_norm: str = "none"
    embedding_norm: bool = False
    qkv_bias: bool = False
    output_bias: bool = False
    mlp_bias: bool = False
    head_bias: bool = False
    positions: str = "rotary"
    """`"rotary"`, `"learned"` or `"alibi"`."""
    position_offset: int = 0
    """Rows of the position table beyond the longest context."""
    kv_heads: int | None = None
    """Number of KV heads whatever the configuration says; None: as it says, else as many as heads."""
    head_dim: int | None = None
    """Width of a head where the key is absent; None: hidden size over heads."""
    inner_ratio: int | None = None
    """MLP width over hidden size where the key is absent; None: the key is required."""
    experts: bool = False
    expert_bias: bool = False
    latent: bool = False
    """Attention is low-rank (MLA)."""
    window: int | None = None
    """Sliding window where the key is absent."""
    full_every: int = 0
    """Every n-th layer attends to the whole context where the file does not list its layers; 0: none does."""
    sinks: bool = False
    adjust: Callable[[Config, Family], Family] | None = None
    """Reads switches of this architecture alone."""


def _llama(config: Config, family: Family) -> Family:
    attention = bool(config.get("attention_bias", False))
    return replace(
        family,
        qkv_bias=family.qkv_bias or attention,
        output_bias=attention and not family.qkv_bias,
        mlp_bias=bool(config.get("mlp_bias", False)),
    )


def _falcon(config: Config, family: Family) -> Family:
    bias = bool(config.get("bias", False))
    parallel = bool(config.get("parallel_attn", True))
    new = bool(config.get("new_decoder_architecture", False))
    norms = (config.get("num_ln_in_parallel_attn") or 2) if new else (1 if parallel else 2)
    alibi = bool(config.get("alibi", False))
    # The first Falcons write num_kv_heads = num_attention_heads beside multi_query, which wins.
    single = bool(config.get("multi_query", True)) and not new
    return replace(
        family,
        kv_heads=1 if single else None,
        parallel_block=parallel or new,
        norms_per_layer=norms if parallel or new else 2,
        qkv_bias=bias,
        output_bias=bias,
        mlp_bias=bias,
        positions="alibi" if alibi else "rotary",
    )


def _opt(config: Config, family: Family) -> Family:
    bias = bool(config.get("enable_bias", True))
    return replace(family, qkv_bias=bias, output_bias=bias, mlp_bias=bias)


def _gpt_neox(config: Config, family: Family) -> Family:
    bias = bool(config.get("attention_bias", True))
    parallel = bool(config.get("use_parallel_residual", True))
    return replace(family, parallel_block=parallel, qkv_bias=bias, output_bias=bias)


def _palm(config: Config, family: Family) -> Family:
    single = bool(config.get("multi_query", True))
    return replace(family, gated=bool(config.get("mlp_gated", True)), kv_heads=1 if single else None)


def _gpt_bigcode(config: Config, family: Family) -> Family:
    return replace(family, kv_heads=1 if config.get("multi_query", True) else None)


def _latent(config: Config, family: Family) -> Family:
    bias = bool(config.get("attention_bias", False))
    return replace(family, output_bias=bias)


_LLAMA = Family(adjust=_llama)
_GPT2 = Family(
    gated=False, tied=True, norm_vectors=2, qkv_bias=True, output_bias=True, mlp_bias=True, positions="learned",
    inner_ratio=4,
)  # fmt: skip
_DEEPSEEK = Family(experts=True, latent=True, adjust=_latent)
_GEMMA = replace(_LLAMA, tied=True, head_dim=256)
_BLOOM = replace(_GPT2, positions="alibi", embedding_norm=True)

FAMILIES: dict[str, Family] = {
    "bloom": _BLOOM,
    "deepseek_v2": _DEEPSEEK,
    "deepseek_v3": _DEEPSEEK,
    "falcon": Family(gated=False, tied=True, norm_vectors=2, inner_ratio=4, adjust=_falcon),
    "gemma": _GEMMA,
    "gemma2": replace(_GEMMA, norms_per_layer=4, window=4096, full_every=2),
    "gemma3_text": replace(_GEMMA, norms_per_layer=4, qk_norm="head", window=4096, full_every=6),
    "gpt2": _GPT2,
    "gpt_bigcode": replace(_GPT2, adjust=_gpt_bigcode),
    "gpt_neox": Family(gated=False, norm_vectors=2, mlp_bias=True, adjust=_gpt_neox),
    "gpt_oss": Family(
        experts=True,
        expert_bias=True,
        qkv_bias=True,
        output_bias=True,
        head_dim=64,
        window=128,
        full_every=2,
        sinks=True,
    ),
    "gptj": Family(
        gated=False,
        norm_vectors=2,
        parallel_block=True,
        norms_per_layer=1,
        mlp_bias=True,
        head_bias=True,
        inner_ratio=4,
    ),
    "granite": _LLAMA,
    "kimi_k2": _DEEPSEEK,
    "llama": _LLAMA,
    "mistral": replace(_LLAMA, window=4096),
    "mixtral": replace(_LLAMA, experts=True),
    "olmoe": replace(_LLAMA, experts=True, qk_norm="width"),
    "opt": replace(_GPT2, inner_ratio=None, position_offset=2, adjust=_opt),
    "palm": Family(tied=True, parallel_block=True, norms_per_layer=1, adjust=_palm),
    "phi3": _LLAMA,
    "qwen2": replace(_LLAMA, qkv_bias=True),
    "qwen3": replace(_LLAMA, qk_norm="head", head_dim=128),
    "qwen3_moe": replace(_LLAMA, qk_norm="head", experts=True),
}
"""`model_type` -> what it fixes."""
