"""Reading a Hugging Face `config.json` into the fields of a `Model`, with every problem of the file at once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from archsim import files
from archsim.errors import InputError, Problem, did_you_mean
from archsim.workload.families import FAMILIES, Family

__all__ = ["read_config"]

_SPELLINGS: dict[str, tuple[str, ...]] = {
    "layers": ("num_hidden_layers", "n_layer", "num_layers"),
    "hidden": ("hidden_size", "n_embd", "n_embed", "d_model"),
    "heads": ("num_attention_heads", "n_head"),
    "kv_heads": ("num_key_value_heads", "num_kv_heads"),
    "head_dim": ("head_dim",),
    "intermediate": ("intermediate_size", "n_inner", "ffn_dim", "ffn_hidden_size"),
    "expert_intermediate": ("moe_intermediate_size", "intermediate_size"),
    "vocabulary": ("vocab_size",),
    "max_context": ("max_position_embeddings", "n_positions", "seq_length"),
    "experts": ("num_local_experts", "num_experts"),
    "experts_per_token": ("num_experts_per_tok", "experts_per_token"),
    "window": ("sliding_window",),
}
_LARGEST = 2**31
_BLOOM_CONTEXT = 2048
"""Bloom's linear-bias positions have no table and its configuration no length; it was trained at this one."""

_NOT_MODELLED = {
    "kv_lora_rank": "latent attention (MLA)",
    "n_shared_experts": "shared experts",
    "shared_expert_intermediate_size": "shared experts",
    "attention_chunk_size": "chunked attention",
    "mlp_only_layers": "layers of different kinds",
    "add_cross_attention": "cross attention",
    "text_config": "a text model inside a multimodal one (give the text part as a file of its own)",
    "ssm_cfg": "state-space layers",
}
"""Key -> what it stands for where its value is not zero, empty, false or null."""


class _Reader:
    """A configuration and the problems found in it so far."""

    def __init__(self, path: Path, config: dict[str, Any]) -> None:
        self.path = path
        self.config = config
        self.problems: list[Problem] = []

    def refuse(self, key: str, value: object, expected: str) -> None:
        """Note that *key* holds *value* where *expected* was."""
        self.problems.append(Problem(str(self.path), key, "" if value is None else str(value)[:100], expected))

    def optional(self, field: str) -> int | None:
        """Return the positive integer of *field* under the first of its spellings that is present and not null."""
        for key in _SPELLINGS[field]:
            value = self.config.get(key)
            if value is None:
                continue
            if isinstance(value, int) and not isinstance(value, bool) and 0 < value < _LARGEST:
                return value
            self.refuse(key, value, "a positive integer below 2^31")
            return 1
        return None

    def required(self, field: str, default: int | None = None) -> int:
        """Return the positive integer of *field*, else *default*, else note that it is missing."""
        value = self.optional(field)
        if value is not None:
            return value
        if default is None:
            self.refuse(_SPELLINGS[field][0], None, "a positive integer; the key is missing")
            return 1
        return default

    def flag(self, key: str, *, default: bool) -> bool:
        """Return the truth value of *key*."""
        value = self.config.get(key)
        if value is None or isinstance(value, bool):
            return default if value is None else value
        self.refuse(key, value, "true or false")
        return default


def read_config(path: Path) -> dict[str, Any]:
    """Return the fields of a `Model` (all but its name) that the file at *path* says.

    Raises `InputError` with every problem: no JSON object, an unknown or partly modelled architecture, missing or
    impossible numbers.
    """
    config = files.read_json(path)
    if not isinstance(config, dict):
        raise InputError(Problem(str(path), "", type(config).__name__, "a JSON object of hyperparameters"))
    reader = _Reader(path, config)
    family = _family(reader)
    fields = _shape(reader, family) | _parts(reader, family)
    _check_shape(reader, fields)
    if reader.problems:
        raise InputError(*reader.problems)
    return fields


def _family(reader: _Reader) -> Family:
    kind = reader.config.get("model_type")
    for key, what in _NOT_MODELLED.items():
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


def _shape(reader: _Reader, family: Family) -> dict[str, Any]:
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
    }


def _parts(reader: _Reader, family: Family) -> dict[str, Any]:
    config = reader.config
    quantized = config.get("quantization_config")
    dtype = config.get("torch_dtype") or config.get("dtype")
    aliases = config.get("aliases", [])
    return {
        "family": config["model_type"],
        "gated": family.gated,
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


def _check_shape(reader: _Reader, fields: dict[str, Any]) -> None:
    _check_windows(reader, fields)
    if reader.problems:  # a number that is itself wrong has no ratios
        return
    config = reader.config
    heads, kv_heads, hidden = fields["heads"], fields["kv_heads"], fields["hidden"]
    if heads % kv_heads:
        reader.refuse("num_key_value_heads", kv_heads, f"a divisor of the {heads} attention heads")
    if hidden % heads and config.get("head_dim") is None and FAMILIES[fields["family"]].head_dim is None:
        reader.refuse("hidden_size", hidden, f"a multiple of the {heads} attention heads, or a head_dim")
    if fields["experts_per_token"] > fields["experts"]:
        reader.refuse("num_experts_per_tok", fields["experts_per_token"], f"at most the {fields['experts']} experts")
    if config.get("decoder_sparse_step", 1) != 1:
        reader.refuse("decoder_sparse_step", config["decoder_sparse_step"], "1: every layer with experts")
    if config.get("word_embed_proj_dim", hidden) != hidden:
        reader.refuse("word_embed_proj_dim", config["word_embed_proj_dim"], f"the hidden size {hidden}: no projection")


def _check_windows(reader: _Reader, fields: dict[str, Any]) -> None:
    """Refuse a sliding window shorter than the context: its KV reads depend on every sequence's own length."""
    config, context = reader.config, fields["max_context"]
    kinds = config.get("layer_types")
    if isinstance(kinds, list) and any(kind != "full_attention" for kind in kinds):
        other = next(kind for kind in kinds if kind != "full_attention")
        reader.refuse("layer_types", other, "full_attention in every layer: windows by layer are not modelled")
        return
    present = "sliding_window" in config
    window = reader.optional("window") if present else FAMILIES[fields["family"]].window
    if window is not None and window < context and config.get("use_sliding_window", True):
        hint = "" if present else " (the default of this architecture where the key is absent)"
        reader.refuse(
            "sliding_window",
            window,
            f"null or at least max_position_embeddings ({context}){hint}: windows are not modelled; a copy with "
            f"max_position_embeddings {window} and sliding_window null is right for all contexts up to {window}",
        )
