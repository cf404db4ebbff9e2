"""Reading a Hugging Face `config.json` into the fields of a `Model`, with every problem of the file at once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from archsim import files
from archsim.errors import InputError, Problem, did_you_mean
from archsim.workload.families import FAMILIES, Family
from archsim.workload.keys import Reader
from archsim.workload.latent import Latent

__all__ = ["read_config"]

_MOST_LAYERS = 10_000
_BLOOM_CONTEXT = 2048
"""Bloom's linear-bias positions have no table and its configuration no length; it was trained at this one."""

_NOT_MODELLED = {
    "shared_expert_intermediate_size": "shared experts",
    "attention_chunk_size": "chunked attention",
    "mlp_only_layers": "layers of different kinds",
    "add_cross_attention": "cross attention",
    "text_config": "a text model inside a multimodal one (give the text part as a file of its own)",
    "ssm_cfg": "state-space layers",
}
"""Key -> what it stands for where its value is not zero, empty, false or null."""
_ONLY_WITH_LATENT = {"kv_lora_rank": "latent attention (MLA)", "n_shared_experts": "shared experts"}
"""Keys that only the families with latent attention read."""


def read_config(path: Path) -> dict[str, Any]:
    """Return the fields of a `Model` (all but its name) that the file at *path* says.

    Raises `InputError` with every problem: no JSON object, an unknown or partly modelled architecture, missing or
    impossible numbers.
    """
    config = files.read_json(path)
    if not isinstance(config, dict):
        raise InputError(Problem(str(path), "", type(config).__name__, "a JSON object of hyperparameters"))
    reader = Reader(path, config)
    family = _family(reader)
    fields = _shape(reader, family) | _parts(reader, family)
    _check_shape(reader, fields)
    if reader.problems:
        raise InputError(*reader.problems)
    return fields


def _family(reader: Reader) -> Family:
    kind = reader.config.get("model_type")
    latent = isinstance(kind, str) and kind in FAMILIES and FAMILIES[kind].latent
    refused = _NOT_MODELLED if latent else _NOT_MODELLED | _ONLY_WITH_LATENT
    for key, what in refused.items():
        value = reader.config.get(key)
        if value:
            reader.refuse(key, value, f"a model without it: {what} is not modelled")
    family = FAMILIES.get(kind) if isinstance(kind, str) else None
    if family is None:
        known = ", ".join(sorted(FAMILIES))
        hint = did_you_mean(kind, FAMILIES) if isinstance(kind, str) else ""
        reader.refuse("model_type", kind, f"an architecture that archsim models{hint}: {known}")
        raise InputError(*reader.problems)
    return family.adjust(reader.config, family) if family.adjust else family


def _shape(reader: Reader, family: Family) -> dict[str, Any]:
    hidden, heads = reader.required("hidden"), reader.required("heads")
    inner = family.inner_ratio * hidden if family.inner_ratio else None
    context = reader.required("max_context", _BLOOM_CONTEXT if reader.config["model_type"] == "bloom" else None)
    head_dim = reader.required("head_dim", family.head_dim or max(1, hidden // heads))
    return {
        "layers": reader.required("layers"),
        "hidden": hidden,
        "heads": heads,
        "kv_heads": family.kv_heads or reader.required("kv_heads", heads),
        "head_dim": head_dim,
        "intermediate": reader.required("expert_intermediate" if family.experts else "intermediate", inner),
        "vocabulary": reader.required("vocabulary"),
        "max_context": context,
        "experts": reader.required("experts") if family.experts else 0,
        "experts_per_token": reader.required("experts_per_token") if family.experts else 0,
        "learned_positions": context + family.position_offset if family.positions == "learned" else 0,
        **_mixture(reader, family),
        **(_latent(reader) if family.latent else {}),
        **_windows(reader, family, context),
    }


def _mixture(reader: Reader, family: Family) -> dict[str, Any]:
    """Return what layers have beside routed experts: leading dense ones, experts for every token."""
    if not family.latent:
        return {"expert_bias": family.expert_bias}
    config = reader.config
    if config.get("moe_layer_freq", 1) != 1:
        reader.refuse("moe_layer_freq", config["moe_layer_freq"], "1: experts in every layer but the first ones")
    dense = (reader.optional("dense_layers") or 0) if config.get("first_k_dense_replace") else 0
    shared = (reader.optional("shared_experts") or 0) if config.get("n_shared_experts") else 0
    return {
        "dense_layers": dense,
        "dense_intermediate": reader.required("intermediate") if dense else 0,
        "shared_intermediate": shared * reader.required("expert_intermediate"),
        "router_bias": config.get("topk_method") == "noaux_tc",
    }


def _latent(reader: Reader) -> dict[str, Any]:
    """Return the widths of latent attention; its heads share one latent, as if there were one KV head."""
    widths = {name: reader.required(name) for name in ("kv_rank", "nope", "rope", "value")}
    latent = Latent(query_rank=reader.optional("query_rank") or 0, **widths)
    return {"latent": latent, "kv_heads": 1, "head_dim": latent.value}


def _parts(reader: Reader, family: Family) -> dict[str, Any]:
    config = reader.config
    quantized = config.get("quantization_config")
    dtype = config.get("torch_dtype") or config.get("dtype")
    aliases = config.get("aliases", [])
    return {
        "family": config["model_type"],
        "gated": family.gated,
        "sinks": family.sinks,
        "attention_softcap": bool(config.get("attn_logit_softcapping")),
        "logit_softcap": bool(config.get("final_logit_softcapping")),
        "tied": reader.flag("tie_word_embeddings", default=family.tied),
        "parallel_block": family.parallel_block,
        "norms_per_layer": family.norms_per_layer,
        "norm_vectors": family.norm_vectors,
        "qk_norm": family.qk_norm,
        "embedding_norm": family.embedding_norm,
        "qkv_bias": family.qkv_bias,
        "output_bias": family.output_bias,
        "mlp_bias": family.mlp_bias,
        "head_bias": family.head_bias,
        "rotary": family.positions == "rotary",
        "dtype": dtype if isinstance(dtype, str) else None,
        "quantization": str(quantized.get("quant_method", "unnamed")) if isinstance(quantized, dict) else None,
        "aliases": tuple(str(alias) for alias in aliases) if isinstance(aliases, list) else (),
    }


def _check_shape(reader: Reader, fields: dict[str, Any]) -> None:
    if reader.problems:  # a number that is itself wrong has no ratios
        return
    config = reader.config
    if fields["layers"] > _MOST_LAYERS:
        reader.refuse("num_hidden_layers", fields["layers"], f"at most {_MOST_LAYERS:,} layers")
    if fields.get("dense_layers", 0) >= fields["layers"]:
        reader.refuse("first_k_dense_replace", fields["dense_layers"], f"fewer than the {fields['layers']} layers")
    heads, kv_heads, hidden = fields["heads"], fields["kv_heads"], fields["hidden"]
    if heads % kv_heads:
        reader.refuse("num_key_value_heads", kv_heads, f"a divisor of the {heads} attention heads")
    stated = config.get("head_dim") or FAMILIES[fields["family"]].head_dim or fields.get("latent")
    if hidden % heads and stated is None:
        reader.refuse("hidden_size", hidden, f"a multiple of the {heads} attention heads, or a head_dim")
    if fields["experts_per_token"] > fields["experts"]:
        reader.refuse("num_experts_per_tok", fields["experts_per_token"], f"at most the {fields['experts']} experts")
    if config.get("decoder_sparse_step", 1) != 1:
        reader.refuse("decoder_sparse_step", config["decoder_sparse_step"], "1: every layer with experts")
    if config.get("word_embed_proj_dim", hidden) != hidden:
        reader.refuse("word_embed_proj_dim", config["word_embed_proj_dim"], f"the hidden size {hidden}: no projection")


def _windows(reader: Reader, family: Family, context: int) -> dict[str, Any]:
    """Return window and layers that have it; none where it is as long as the context."""
    config = reader.config
    window = reader.optional("window") if "sliding_window" in config else family.window
    if window is None or window >= context or not config.get("use_sliding_window", True):
        _refuse_layers(reader, ("full_attention", "sliding_attention"))
        return {}
    layers = min(reader.required("layers"), _MOST_LAYERS)
    kinds = config.get("layer_types")
    if kinds is None:
        every = reader.optional("full_every") or family.full_every
        windowed = tuple(not every or (layer + 1) % every != 0 for layer in range(layers))
    elif not isinstance(kinds, list) or len(kinds) != layers:
        reader.refuse("layer_types", kinds, f"a list of {layers} kinds, one a layer")
        return {}
    elif _refuse_layers(reader, ("full_attention", "sliding_attention")):
        return {}
    else:
        windowed = tuple(kind == "sliding_attention" for kind in kinds)
    return {"window": window, "windowed": windowed} if any(windowed) else {}


def _refuse_layers(reader: Reader, known: tuple[str, ...]) -> bool:
    """Refuse a kind of layer that is not *known*; return whether there is one."""
    kinds = reader.config.get("layer_types")
    other = next((kind for kind in kinds if kind not in known), None) if isinstance(kinds, list) else None
    if other is not None:
        reader.refuse("layer_types", other, f"{' or '.join(known)} in every layer")
    return other is not None
