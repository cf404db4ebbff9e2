"""A decoder-only transformer by its hyperparameters.

A `Model` holds what fixes bytes and FLOPs and nothing else: no weights, no tokenizer, no precision beyond the type its
checkpoint was published in. `load_model` reads any Hugging Face `config.json` whose architecture `families.py` knows;
one it does not know, or knows only in part, is refused by name rather than computed wrongly.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from archsim import files
from archsim.errors import InputError, Problem, did_you_mean
from archsim.workload.config import read_config
from archsim.workload.exits import check_exits, reached, split_name
from archsim.workload.latent import Latent
from archsim.workload.layers import LayerKind, Reach

__all__ = ["Model", "bundled_models", "load_model"]

_KIND, _FOLDER, _SUFFIXES = "workloads", "models", (".json",)


@dataclass(frozen=True, slots=True)
class Model:
    """Hyperparameters; `kinds` says where layers differ."""

    name: str
    family: str
    """`model_type` of the Hugging Face configuration."""
    layers: int
    hidden: int
    heads: int
    kv_heads: int
    """1 is multi-query, `heads` multi-head, between them grouped-query attention; 1 for latent attention, whose heads
    share what is cached."""
    head_dim: int
    """Width of one head; `heads * head_dim` need not be `hidden`. For latent attention the width of its values."""
    intermediate: int
    """Width of the MLP, of one expert where there are experts."""
    vocabulary: int
    max_context: int
    """Most tokens of a sequence, prompt and output together."""
    gated: bool
    """The MLP has a gate matrix besides up and down."""
    tied: bool
    """The output head is the embedding table: stored once, read by both."""
    parallel_block: bool = False
    """Attention and MLP read the same input and their outputs are summed: one all-reduce a layer."""
    experts: int = 0
    """Experts of a layer; 0 for a dense MLP."""
    experts_per_token: int = 0
    shared_intermediate: int = 0
    """Width of the MLP that every token passes beside its experts; 0: none."""
    dense_layers: int = 0
    """Leading layers with a dense MLP in place of experts."""
    dense_intermediate: int = 0
    """Width of that MLP."""
    expert_bias: bool = False
    """Experts and router add biases."""
    router_bias: bool = False
    """One number an expert steers the selection alone (DeepSeek-V3's balancing without an auxiliary loss)."""
    latent: Latent | None = None
    """Low-rank attention (MLA), None where keys and values are projected directly."""
    window: int = 0
    """Tokens to which layers with a sliding window attend; 0: there is none."""
    windowed: tuple[bool, ...] = ()
    """For every layer whether it has the window; empty: none has."""
    sinks: bool = False
    """Every head has one more logit that attends to nothing."""
    attention_softcap: bool = False
    """Logits of attention pass a tanh."""
    logit_softcap: bool = False
    """Logits of the output head pass a tanh."""
    norms_per_layer: int = 2
    norm_vectors: int = 1
    """Vectors of one norm: 1 (scale) or 2 (scale and shift)."""
    qk_norm: str = "none"
    """`"none"`, `"head"` (one vector of `head_dim` for queries, one for keys) or `"width"` (over all heads)."""
    embedding_norm: bool = False
    qkv_bias: bool = False
    output_bias: bool = False
    mlp_bias: bool = False
    head_bias: bool = False
    learned_positions: int = 0
    """Rows of the position table; 0 for rotary or linear-bias positions."""
    rotary: bool = True
    dtype: str | None = None
    """Type of the published weights (`"bfloat16"`), None where the file does not say."""
    quantization: str | None = None
    """Method of the file's `quantization_config`, None where it has none."""
    exits: tuple[tuple[int, int], ...] = ()
    """(layer, counted from 1, per cent of the decoded tokens that leave after it); empty: all pass every layer."""
    aliases: tuple[str, ...] = ()
    """Other names of the same model (`"meta-llama/Llama-3.1-70B"`)."""

    @property
    def query_width(self) -> int:
        """Elements that attention hands to the output projection for a token."""
        return self.heads * self.head_dim

    @property
    def kv_width(self) -> int:
        """Elements of all key heads (and as many of all value heads) of a token in one layer, without a latent."""
        return self.kv_heads * self.head_dim

    @property
    def kv_layer_elements(self) -> int:
        """Elements that one token leaves in the cache of one layer."""
        return self.latent.cached if self.latent else 2 * self.kv_width

    @property
    def kv_elements_per_token(self) -> int:
        """Elements of keys and values that one token leaves in all layers, windows not yet closed."""
        return self.layers * self.kv_layer_elements

    @property
    def kinds(self) -> tuple[LayerKind, ...]:
        """The kind of every layer."""
        windowed = self.windowed or (False,) * self.layers
        return _kinds(windowed, self.window, self.dense_layers if self.experts else self.layers, self.exits)

    @property
    def reach(self) -> Reach:
        """How far back the layers attend."""
        narrow = sum(self.windowed)
        if not narrow:
            return Reach()
        common = math.gcd(narrow, self.layers)
        return Reach((self.layers - narrow) // common, narrow // common, self.window)

    @property
    def expert_layers(self) -> int:
        """Layers with experts."""
        return self.layers - self.dense_layers if self.experts else 0


@lru_cache(maxsize=64)
def _kinds(
    windowed: tuple[bool, ...], window: int, first_experts: int, exits: tuple[tuple[int, int], ...]
) -> tuple[LayerKind, ...]:
    """Return the kind of every layer; those from *first_experts* on have experts."""
    return tuple(
        LayerKind(window=window if narrow else 0, experts=layer >= first_experts, reached=reached(exits, layer))
        for layer, narrow in enumerate(windowed)
    )


def bundled_models() -> list[str]:
    """Return the names of the bundled models, sorted."""
    return files.bundled_names(_KIND, _FOLDER, _SUFFIXES)


def load_model(name_or_path: str) -> Model:
    """Return the model of a bundled name, an alias of one, a `config.json`, or a folder that holds one.

    `+exit=LAYER:PERCENT,...` behind any of them lets tokens leave early (`exits`). Raises `InputError` that lists every
    problem of the file: missing or impossible numbers, and parts of an architecture that archsim does not model.
    """
    plain, exits = split_name(name_or_path)
    path = _path_of(plain)
    name = path.parent.name if path.stem == "config" else path.stem
    model = Model(name=name + name_or_path.removeprefix(plain), exits=exits, **read_config(path))
    check_exits(model)
    return model


def _path_of(name_or_path: str) -> Path:
    known = bundled_models()
    if name_or_path not in known:
        try:
            path = Path(name_or_path)
            for file in (path / "config.json", path):
                if file.is_file():
                    return file
        except (OSError, ValueError):  # longer than a path may be, or with a NUL
            pass
        aliases = _aliases(known)
        if name_or_path.casefold() not in aliases:
            hint = did_you_mean(name_or_path, aliases)
            expected = f"a config.json, or one of the bundled names{hint}: {', '.join(known)}"
            raise InputError(Problem("", "model", name_or_path, expected))
        name_or_path = aliases[name_or_path.casefold()]
    return files.find(name_or_path, kind=_KIND, folder=_FOLDER, suffixes=_SUFFIXES)


def _aliases(names: list[str]) -> dict[str, str]:
    """Return bundled name by alias; upper and lower case do not matter."""
    root = files.bundled_path(_KIND) / _FOLDER
    return {
        alias.casefold(): name
        for name in names
        for alias in (name, *files.read_json(root / f"{name}.json").get("aliases", ()))
    }
