"""A configuration being read: its keys in all their spellings, and the problems found so far.

One reader a file; it judges single values. What they mean together is `config`'s.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from archsim.errors import Problem

__all__ = ["Reader"]

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
    "experts": ("num_local_experts", "num_experts", "n_routed_experts"),
    "shared_experts": ("n_shared_experts",),
    "dense_layers": ("first_k_dense_replace",),
    "experts_per_token": ("num_experts_per_tok", "experts_per_token"),
    "window": ("sliding_window",),
    "full_every": ("sliding_window_pattern", "_sliding_window_pattern"),
    "query_rank": ("q_lora_rank",),
    "kv_rank": ("kv_lora_rank",),
    "nope": ("qk_nope_head_dim",),
    "rope": ("qk_rope_head_dim",),
    "value": ("v_head_dim",),
}
_LARGEST = 2**31


class Reader:
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
