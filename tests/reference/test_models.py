"""Models against the published configurations and sizes in ../shared/models."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from archsim.errors import InputError
from archsim.workload.model import bundled_models, load_model
from archsim.workload.operators import distinct_experts
from archsim.workload.tensors import active_parameter_count, parameter_count

# File -> (billions of parameters, of them active, KV elements a token) as the folder's README states them.
PUBLISHED = {
    "llama-2-7b": (6.74, 6.74, 262_144),
    "llama-2-13b": (13.02, 13.02, 409_600),
    "llama-2-70b": (68.98, 68.98, 163_840),
    "llama-3.1-8b": (8.03, 8.03, 65_536),
    "llama-3.1-70b": (70.55, 70.55, 163_840),
    "llama-3.1-405b": (405.85, 405.85, 258_048),
    "mixtral-8x7b": (46.70, 12.88, 65_536),
    "qwen2.5-7b": (7.62, 7.62, 28_672),
    "qwen2.5-32b": (32.76, 32.76, 131_072),
    "qwen2.5-72b": (72.70, 72.70, 163_840),
    "qwen3-8b": (8.19, 8.19, 73_728),
    "qwen3-32b": (32.76, 32.76, 131_072),
    "qwen3-30b-a3b": (30.53, 3.35, 49_152),
    "falcon-7b": (6.92, 6.92, 4_096),
    "falcon-40b": (41.30, 41.30, 61_440),
    "falcon-180b": (178.55, 178.55, 81_920),
    "olmoe-1b-7b": (6.92, 1.28, 65_536),
    "opt-6.7b": (6.66, 6.66, 262_144),
    "opt-13b": (12.85, 12.85, 409_600),
    "opt-66b": (65.72, 65.72, 1_179_648),
    "opt-175b": (174.60, 174.60, 2_359_296),
    "gpt3-175b": (174.60, 174.60, 2_359_296),
    "bloom-176b": (176.25, 176.25, 2_007_040),
    "palm-540b": (540.35, 540.35, 60_416),
}

# File -> what its architecture has that is not modelled.
REFUSED = {
    "deepseek-r1": "latent attention",
    "deepseek-v2-lite": "latent attention",
    "deepseek-v3": "latent attention",
    "kimi-k2": "latent attention",
    "gemma-2-9b": "gemma2",
    "gemma-2-27b": "gemma2",
    "gemma-3-12b": "gemma3_text",
    "gpt-oss-20b": "gpt_oss",
    "mistral-7b-v0.1": "sliding_window",
    "phi-3-mini-4k": "sliding_window",
    "phi-3-medium-4k": "sliding_window",
}


def test_every_shared_model_is_either_published_or_refused(shared: Path) -> None:
    """None is left out of these tables."""
    assert sorted(path.stem for path in (shared / "models").glob("*.json")) == sorted([*PUBLISHED, *REFUSED])


@pytest.mark.parametrize("name", sorted(PUBLISHED))
def test_parameters_and_kv_elements_are_the_published_ones(name: str, shared: Path) -> None:
    """Parameters and active parameters to the last printed digit or two, KV elements exactly."""
    billions, active, kv_elements = PUBLISHED[name]
    model = load_model(str(shared / "models" / f"{name}.json"))
    assert parameter_count(model) / 1e9 == pytest.approx(billions, abs=0.0105)
    assert active_parameter_count(model) / 1e9 == pytest.approx(active, abs=0.0105)
    assert model.kv_elements_per_token == kv_elements


@pytest.mark.parametrize("name", sorted(REFUSED))
def test_an_architecture_that_is_not_modelled_is_refused_by_name(name: str, shared: Path) -> None:
    """Rather than computed wrongly."""
    with pytest.raises(InputError, match=re.escape(REFUSED[name])):
        load_model(str(shared / "models" / f"{name}.json"))


@pytest.mark.parametrize("name", sorted(set(PUBLISHED) & set(bundled_models())))
def test_a_bundled_model_equals_its_published_configuration(name: str, shared: Path) -> None:
    """The numbers we typed are the published ones; aliases and spelling may differ."""
    bundled, published = load_model(name), load_model(str(shared / "models" / f"{name}.json"))
    fields = [field for field in published.__slots__ if field != "aliases"]
    assert {field: getattr(bundled, field) for field in fields} == {
        field: getattr(published, field) for field in fields
    }


def test_distinct_experts_are_those_of_the_readme_for_uniform_routing() -> None:
    """../shared/traces/README.md prints them for 64 experts, top-6; real routes touch no more at any batch."""
    model = replace(load_model("qwen3-30b-a3b"), experts=64, experts_per_token=6)
    uniform = {1: 6.0, 4: 20.8, 8: 34.9, 16: 50.8, 32: 61.3, 64: 63.9, 128: 64.0}
    logged = {1: 6.0, 4: 19.3, 8: 30.2, 16: 42.5, 32: 52.9, 64: 59.2, 128: 62.1}
    for tokens, expected in uniform.items():
        touched = distinct_experts(model, tokens) / 1024
        assert touched == pytest.approx(expected, abs=0.051)
        assert touched >= logged[tokens]
