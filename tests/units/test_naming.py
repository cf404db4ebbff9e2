"""One machine has many spellings; two machines never share one."""

from __future__ import annotations

import pytest

from archsim.errors import InputError
from archsim.hardware.library import load_system, system_names
from archsim.hardware.naming import plain_names
from archsim.validation.names import model_named

SYSTEMS = {
    "NVIDIA H200": "h200-sxm8", "H200-SXM5-141GB": "h200-sxm8", "Nvidia H200 GPU": "h200-sxm8",
    "NVIDIA B200": "b200-sxm8", "gb200_sxm": "gb200-nvl72", "NVIDIA L40S": "l40s", "NVIDIA A10 24GB": "a10",
    "a10g": "a10", "NVIDIA L4": "l4", "RTX A6000 48GB": "rtx-a6000", "A40": "a40", "AMD Instinct MI300X": "mi300x-8",
    "NVIDIA GeForce RTX 4090": "rtx-4090", "RTX4090": "rtx-4090", "RTX 3090": "rtx-3090", "H100 PCIe": "h100-pcie",
    "NVIDIA GH200 480GB": "gh200", "A100 80GB": "a100-sxm8", "NVIDIA A100-SXM4-40GB": "a100-40gb",
    "M3 Max 40-Core GPU 64GB": "m3-max", "NVIDIA H100 80GB HBM3": "h100-sxm8",
}  # fmt: skip
MODELS = {
    "nvidia/Llama-3.3-70B-Instruct-FP8": "llama-3.1-70b", "Llama 3.1 8B": "llama-3.1-8b", "LLaMA-7B (6.74 B params)":
    "llama-2-7b", "Qwen/Qwen3-30B-A3B-Instruct-2507": "qwen3-30b-a3b", "Qwen3-235B-A22B-FP8": "qwen3-235b-a22b",
    "mistralai/Mistral-7B-Instruct-v0.3": "mistral-7b-v0.3", "mistralai/Mixtral-8x22B-v0.1": "mixtral-8x22b",
    "deepseek-ai/DeepSeek-R1-0528": "deepseek-r1", "DeepSeek-V3/R1": "deepseek-v3", "Qwen2-7B": "qwen2.5-7b",
    "facebook/opt-66b": "opt-66b", "meta-llama/Llama-2-70b-chat-hf": "llama-2-70b", "PaLM-62B": "palm-62b",
}  # fmt: skip


@pytest.mark.parametrize("said", SYSTEMS)
def test_a_machine_is_found_by_the_spellings_of_tables(said: str) -> None:
    """Makers, boards, capacities and signs between words are left out where they say nothing."""
    assert load_system(said).name == SYSTEMS[said]


@pytest.mark.parametrize("said", ["H100 SXM5 94GB", "A100-PCIE-40GB", "H100 NVL", "L40", "h100-sxm9", "GPU", "dgx", ""])
def test_another_machine_is_not_taken_for_a_known_one(said: str) -> None:
    """Another capacity is another chip; words that every name may have are no name."""
    with pytest.raises(InputError):
        load_system(said)


def test_every_system_has_a_plain_form_of_its_own() -> None:
    """The first form of a file's name leads to that file."""
    for name in system_names():
        assert load_system(next(plain_names(name)).name).name == name


@pytest.mark.parametrize("said", MODELS)
def test_a_model_is_found_by_the_names_of_references(said: str) -> None:
    """Owners, tunings, dates and precisions are left out; the row states the precision elsewhere."""
    assert model_named(said).name == MODELS[said]


@pytest.mark.parametrize("said", ["Llama 4 Maverick", "Llama-9B", "DeepSeek-V9", "instruct", ""])
def test_an_unknown_model_stays_unknown(said: str) -> None:
    """Nothing is guessed from a part of a name."""
    with pytest.raises(InputError):
        model_named(said)
