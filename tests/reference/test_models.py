"""Models against the published configurations and sizes in ../shared/models."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from archsim.workload.model import bundled_models, load_model
from archsim.workload.operators import distinct_experts
from archsim.workload.tensors import active_parameter_count, embedding_table, parameter_count

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
    "deepseek-v3": (671.03, 37.55, 35_136),
    "deepseek-r1": (671.03, 37.55, 35_136),
    "deepseek-v2-lite": (15.71, 2.66, 15_552),
    "kimi-k2": (1026.41, 32.86, 35_136),
    "gpt-oss-20b": (20.91, 4.19, 24_576),
    "gemma-2-9b": (9.24, 9.24, 172_032),
    "gemma-2-27b": (27.23, 27.23, 188_416),
    "gemma-3-12b": (11.77, 11.77, 196_608),
    "mistral-7b-v0.1": (7.24, 7.24, 65_536),
    "phi-3-mini-4k": (3.82, 3.82, 196_608),
    "phi-3-medium-4k": (13.96, 13.96, 102_400),
}

# Model -> (parameters, of them active) as their papers and cards round them; active ones without the embedding table,
# which is looked up. gpt-oss: model card, table 1; DeepSeek-V3: 671 B and 37 B; Kimi-K2: 1.04 T and 32 B.
CARDS = {
    "gpt-oss-20b": (20.9e9, 3.6e9),
    "gpt-oss-120b": (116.8e9, 5.1e9),
    "deepseek-v3": (671e9, 37e9),
    "deepseek-v2-lite": (15.7e9, 2.4e9),
    "kimi-k2": (1.04e12, 32e9),
}


def test_every_shared_model_is_modelled(shared: Path) -> None:
    """None is left out of the table."""
    assert sorted(path.stem for path in (shared / "models").glob("*.json")) == sorted(PUBLISHED)


@pytest.mark.parametrize("name", sorted(PUBLISHED))
def test_parameters_and_kv_elements_are_the_published_ones(name: str, shared: Path) -> None:
    """Parameters and active parameters to the last printed digit or two, KV elements exactly."""
    billions, active, kv_elements = PUBLISHED[name]
    model = load_model(str(shared / "models" / f"{name}.json"))
    assert parameter_count(model) / 1e9 == pytest.approx(billions, abs=0.0105)
    assert active_parameter_count(model) / 1e9 == pytest.approx(active, abs=0.0105)
    assert model.kv_elements_per_token == kv_elements


@pytest.mark.parametrize("name", sorted(CARDS))
def test_mixtures_have_the_parameters_of_their_cards(name: str) -> None:
    """Within 2.5 %: cards round to two digits."""
    model = load_model(name)
    total, active = CARDS[name]
    assert parameter_count(model) == pytest.approx(total, rel=0.025)
    assert active_parameter_count(model) - embedding_table(model).value == pytest.approx(active, rel=0.025)


def test_published_totals_are_met_to_the_last_parameter() -> None:
    """Tensor sizes of the published checkpoints: DeepSeek-V2-Lite, gpt-oss, Gemma 2."""
    exact = {
        "deepseek-v2-lite": 15_706_484_224,
        "gpt-oss-20b": 20_914_757_184,
        "gpt-oss-120b": 116_829_156_672,
        "gemma-2-9b": 9_241_705_984,
        "gemma-2-27b": 27_227_128_320,
    }
    assert {name: parameter_count(load_model(name)) for name in exact} == exact


def test_a_token_of_deepseek_v3_leaves_70272_bytes() -> None:
    """61 layers of 512 latent and 64 rotated elements in bf16, whatever the number of heads."""
    assert load_model("deepseek-v3").kv_elements_per_token * 2 == 61 * 576 * 2 == 70_272


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
