"""Models: exact parameter counts from hyperparameters, and configurations that are refused by name."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from archsim.errors import InputError
from archsim.workload.layers import LayerKind
from archsim.workload.model import Model, bundled_models, load_model
from archsim.workload.precision import Precision, matrix_dtype
from archsim.workload.tensors import active_parameter_count, parameter_count

LLAMA = {
    "model_type": "llama", "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2,
    "num_attention_heads": 8, "num_key_value_heads": 2, "vocab_size": 100, "max_position_embeddings": 128,
    "torch_dtype": "bfloat16",
}  # fmt: skip

# Hyperparameters of published checkpoints and the exact number of parameters their model cards state.
PUBLISHED: dict[str, tuple[dict[str, Any], int]] = {
    "gpt2": ({"model_type": "gpt2", "n_embd": 768, "n_layer": 12, "n_head": 12, "n_positions": 1024,
              "vocab_size": 50257, "n_inner": None}, 124_439_808),
    "gpt-j-6b": ({"model_type": "gptj", "n_embd": 4096, "n_layer": 28, "n_head": 16, "n_positions": 2048,
                  "vocab_size": 50400, "tie_word_embeddings": False}, 6_050_882_784),
    "gpt-neox-20b": ({"model_type": "gpt_neox", "hidden_size": 6144, "intermediate_size": 24576,
                      "num_hidden_layers": 44, "num_attention_heads": 64, "vocab_size": 50432,
                      "max_position_embeddings": 2048}, 20_554_567_680),
    "gemma-2b": ({"model_type": "gemma", "hidden_size": 2048, "intermediate_size": 16384, "num_hidden_layers": 18,
                  "num_attention_heads": 8, "num_key_value_heads": 1, "head_dim": 256, "vocab_size": 256000,
                  "max_position_embeddings": 8192}, 2_506_172_416),
    "starcoder": ({"model_type": "gpt_bigcode", "n_embd": 6144, "n_layer": 40, "n_head": 48, "n_positions": 8192,
                   "vocab_size": 49152, "n_inner": 24576, "multi_query": True}, 15_517_456_384),
    "qwen3-0.6b": ({"model_type": "qwen3", "hidden_size": 1024, "intermediate_size": 3072, "num_hidden_layers": 28,
                    "num_attention_heads": 16, "num_key_value_heads": 8, "head_dim": 128, "vocab_size": 151936,
                    "max_position_embeddings": 40960, "tie_word_embeddings": True}, 596_049_920),
    "qwen2.5-0.5b": ({"model_type": "qwen2", "hidden_size": 896, "intermediate_size": 4864, "num_hidden_layers": 24,
                      "num_attention_heads": 14, "num_key_value_heads": 2, "vocab_size": 151936,
                      "max_position_embeddings": 32768, "tie_word_embeddings": True, "sliding_window": 32768,
                      "use_sliding_window": False}, 494_032_768),
    "falcon-7b": ({"model_type": "falcon", "hidden_size": 4544, "num_hidden_layers": 32, "num_attention_heads": 71,
                   "num_kv_heads": 71, "multi_query": True, "new_decoder_architecture": False, "parallel_attn": True,
                   "bias": False, "vocab_size": 65024, "max_position_embeddings": 2048}, 6_921_720_704),
    "bloom-176b": ({"model_type": "bloom", "hidden_size": 14336, "n_head": 112, "n_layer": 70, "vocab_size": 250880},
                   176_247_271_424),
    "opt-6.7b": ({"model_type": "opt", "hidden_size": 4096, "ffn_dim": 16384, "num_hidden_layers": 32,
                  "num_attention_heads": 32, "vocab_size": 50272, "max_position_embeddings": 2048}, 6_658_473_984),
    "mixtral-8x7b": ({"model_type": "mixtral", "hidden_size": 4096, "intermediate_size": 14336,
                      "num_hidden_layers": 32, "num_attention_heads": 32, "num_key_value_heads": 8,
                      "num_local_experts": 8, "num_experts_per_tok": 2, "vocab_size": 32000,
                      "max_position_embeddings": 32768}, 46_702_792_704),
}  # fmt: skip


def written(folder: Path, config: object, name: str = "model.json") -> str:
    """Return the path of a file that holds *config*."""
    path = folder / name
    path.write_text(json.dumps(config))
    return str(path)


def refused(folder: Path, **changes: object) -> str:
    """Return the message with which a llama that differs by *changes* is refused; None removes a key."""
    config = {key: value for key, value in (LLAMA | changes).items() if value is not None}
    with pytest.raises(InputError) as caught:
        load_model(written(folder, config))
    return str(caught.value)


@pytest.mark.parametrize("name", sorted(PUBLISHED))
def test_parameters_of_published_checkpoints_are_counted_exactly(name: str, tmp_path: Path) -> None:
    """Norms, biases, position tables and tied heads included, the count is the model card's to the last parameter."""
    config, parameters = PUBLISHED[name]
    assert parameter_count(load_model(written(tmp_path, config))) == parameters


def test_a_llama_has_the_parameters_of_its_matrices(tmp_path: Path) -> None:
    """Embedding, head, final norm, and per layer two norms, q, k, v, o and three MLP matrices."""
    layer = 2 * 64 + 64 * 64 + 2 * 64 * 16 + 64 * 64 + 3 * 64 * 96
    model = load_model(written(tmp_path, LLAMA))
    assert parameter_count(model) == 2 * 100 * 64 + 64 + 2 * layer
    assert model.kv_elements_per_token == 2 * 2 * 2 * 8


def test_active_parameters_leave_out_the_experts_a_token_does_not_visit() -> None:
    """Mixtral routes a token to 2 of 8 experts of three 4096 x 14336 matrices in each of 32 layers."""
    model = load_model("mixtral-8x7b")
    assert parameter_count(model) - active_parameter_count(model) == 32 * 6 * 3 * 4096 * 14336


def test_head_dim_need_not_be_hidden_over_heads(tmp_path: Path) -> None:
    """A head of 32 on a hidden size of 64 and 8 heads makes projections of 256 columns."""
    model = load_model(written(tmp_path, LLAMA | {"head_dim": 32}))
    assert (model.query_width, model.kv_width) == (256, 64)


@pytest.mark.parametrize("name", bundled_models())
def test_every_bundled_model_names_its_source_and_loads(name: str) -> None:
    """A bundled model is readable and says where its numbers are from."""
    root = Path(__file__).parents[2] / "workloads" / "models"
    assert len(json.loads((root / f"{name}.json").read_text())["source"]) > 20
    assert load_model(name).name == name


@pytest.mark.parametrize(
    ("alias", "name"),
    [
        ("meta-llama/Llama-3.1-70B", "llama-3.1-70b"),
        ("META-LLAMA/llama-3.1-70b-instruct", "llama-3.1-70b"),
        ("Llama-2-70B", "llama-2-70b"),
        ("mistralai/Mixtral-8x7B-v0.1", "mixtral-8x7b"),
    ],
)
def test_an_alias_resolves_whatever_its_case(alias: str, name: str) -> None:
    """References name models in their own ways."""
    assert load_model(alias).name == name


def test_no_two_bundled_models_share_an_alias() -> None:
    """A name means one model."""
    names = [word.casefold() for name in bundled_models() for word in (name, *load_model(name).aliases)]
    assert len(names) == len(set(names))


def test_a_folder_with_a_config_is_a_model(tmp_path: Path) -> None:
    """A downloaded snapshot is named by its folder."""
    folder = tmp_path / "tiny"
    folder.mkdir()
    path = written(folder, LLAMA, "config.json")
    assert load_model(str(folder)) == load_model(path)
    assert load_model(path).name == "tiny"


@pytest.mark.parametrize("name", ["llama-3.1-71b", "../models/llama", "no/such/file", "", "x" * 5000, "a\0b"])
def test_an_unknown_model_is_refused_with_the_known_ones(name: str) -> None:
    """No traceback for a name that is none; the message lists what there is."""
    with pytest.raises(InputError, match=r"llama-3\.1-70b"):
        load_model(name)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"kv_lora_rank": 512}, "latent attention"),
        ({"n_shared_experts": 1}, "shared experts"),
        ({"layer_types": ["full_attention", "linear_attention"]}, "layer_types: got 'linear_attention'"),
        ({"layer_types": ["sliding_attention"], "sliding_window": 9}, "a list of 2 kinds, one a layer"),
        ({"model_type": "deepseek_v3"}, "kv_lora_rank: expected a positive integer"),
        ({"model_type": "deepseek_v3", "moe_layer_freq": 2}, "moe_layer_freq: got '2'"),
        ({"num_hidden_layers": 10_001}, "at most 10,000 layers"),
        ({"model_type": "qwen3_next"}, "model_type: got 'qwen3_next'"),
        ({"model_type": "lama"}, "did you mean 'llama'"),
        ({"model_type": None}, "model_type: expected an architecture"),
        ({"text_config": {"hidden_size": 64}}, "multimodal"),
        ({"num_key_value_heads": 3}, "a divisor of the 8 attention heads"),
        ({"num_attention_heads": 7, "num_key_value_heads": 7}, "a multiple of the 7 attention heads"),
        ({"hidden_size": 0}, "hidden_size: got '0'"),
        ({"hidden_size": -64}, "hidden_size: got '-64'"),
        ({"hidden_size": "64"}, "a positive integer"),
        ({"hidden_size": True}, "hidden_size: got 'True'"),
        ({"vocab_size": 2**31}, "below 2^31"),
        ({"tie_word_embeddings": "yes"}, "true or false"),
    ],
)
def test_what_is_not_modelled_or_impossible_is_refused_by_key(
    changes: dict[str, object], words: str, tmp_path: Path
) -> None:
    """A wrong number would look like a result; the message names file and key instead."""
    message = refused(tmp_path, **changes)
    assert words in message
    assert "model.json" in message


def test_all_problems_of_a_configuration_are_named_at_once(tmp_path: Path) -> None:
    """A user mends a file in one go."""
    message = refused(tmp_path, hidden_size=None, num_hidden_layers=0, vocab_size=1.5)
    assert all(key in message for key in ("hidden_size", "num_hidden_layers", "vocab_size"))


def test_windows_are_those_of_the_layers_or_of_the_architecture(tmp_path: Path) -> None:
    """A list of kinds decides; without one every layer of Mistral has the window, and every second one of Gemma 2."""
    listed = LLAMA | {"layer_types": ["full_attention", "sliding_attention"], "sliding_window": 9}
    assert load_model(written(tmp_path, listed)).windowed == (False, True)
    mistral = LLAMA | {"model_type": "mistral", "max_position_embeddings": 8192}
    assert load_model(written(tmp_path, mistral)).kinds == (LayerKind(4096), LayerKind(4096))
    gemma = LLAMA | {"model_type": "gemma2", "sliding_window": 64, "num_hidden_layers": 3}
    assert load_model(written(tmp_path, gemma)).windowed == (True, False, True)


def test_a_window_as_long_as_the_context_never_binds(tmp_path: Path) -> None:
    """Then the model is an ordinary one."""
    windowed = load_model(written(tmp_path, LLAMA | {"sliding_window": 128}))
    assert windowed == load_model(written(tmp_path, LLAMA))


@pytest.mark.parametrize(
    "text", ["[]", "{", '{"hidden_size": NaN}', "[" * 100_000, '{"hidden_size": 1' + "0" * 5000 + "}"]
)
def test_a_file_that_is_no_configuration_is_refused(text: str, tmp_path: Path) -> None:
    """Wrong JSON, nesting without end and endless numbers are input errors."""
    path = tmp_path / "model.json"
    path.write_text(text)
    with pytest.raises(InputError, match=r"model\.json"):
        load_model(str(path))


def of_dtype(tmp_path: Path, **changes: object) -> Model:
    """Return a llama that differs by *changes*."""
    return load_model(written(tmp_path, LLAMA | changes))


@pytest.mark.parametrize(
    "text",
    [
        "w8a16kv8", "w4g128s16a16kv16", "w16a16kv16", "w4g32s8a16kv8", "w2g64s16a16kv2g32s16", "w16e4g32s8a16kv16",
        "w8x2of4a8kv8", "w16x50a16kv16", "w8x2of4e4g32s8a8kv8",
    ],
)  # fmt: skip
def test_a_precision_prints_as_it_is_written(text: str) -> None:
    """The printed form parses to the same value."""
    assert str(Precision.parse(text)) == text


def test_the_default_precision_is_the_published_one(tmp_path: Path) -> None:
    """bfloat16 and float16 are 16 bits, float32 is 32; a newer spelling of the key counts too."""
    assert str(Precision.of_model(of_dtype(tmp_path))) == "w16a16kv16"
    assert str(Precision.of_model(of_dtype(tmp_path, torch_dtype="float32"))) == "w32a32kv32"
    assert str(Precision.of_model(of_dtype(tmp_path, torch_dtype=None, dtype="float16"))) == "w16a16kv16"


@pytest.mark.parametrize("changes", [{"torch_dtype": None}, {"quantization_config": {"quant_method": "gptq"}}])
def test_an_unclear_precision_must_be_stated(changes: dict[str, object], tmp_path: Path) -> None:
    """Neither a missing type nor a quantised checkpoint is guessed at."""
    with pytest.raises(InputError, match="--precision"):
        Precision.of_model(of_dtype(tmp_path, **changes))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "w8",
        "w8a16",
        "w7a16kv16",
        "w8a16kv12",
        "w8a16kv8 ",
        "w4g4a16kv16",
        "w4g128s7a16kv16",
        "w8x4of2a8kv8",
        "w8x0a8kv8",
        "wfp4a8kv8",
        "w8a8kv7",
        "w8x2of64a8kv8",
    ],
)
def test_a_malformed_precision_is_refused(text: str) -> None:
    """Only the stated form and the bits that exist are accepted."""
    with pytest.raises(InputError, match="--precision"):
        Precision.parse(text)


def test_scales_are_stored_with_their_group() -> None:
    """A 16-bit scale every 128 weights of 4 bits is 4.125 bits a weight; MXFP4's 8 bits every 32 are 4.25."""
    assert Precision.parse("w4g128a16kv16").stored_weight_bits == 4 + 16 / 128
    assert Precision.parse("w4g32s8a16kv16").stored_weight_bits == 4.25
    assert Precision.parse("w4a16kv16").stored_weight_bits == 4
    assert Precision.parse("w2g64a16kv16").stored_weight_bits == 2.25
    assert Precision.parse("wmxfp4a16kv16") == Precision.parse("w4g32s8a16kv16")
    assert Precision.parse("wnvfp4a4kv8").stored_weight_bits == 4.5
    assert Precision.parse("w8a8kv4g64").kv.stored_bits == 4.25


def test_what_is_pruned_is_stored_with_its_places() -> None:
    """2 of 4 keeps half and 2 bits for each kept one of 4; half of them anywhere keeps half and a bit a place."""
    pattern, anywhere = Precision.parse("w16x2of4a16kv16").weights, Precision.parse("w16x50a16kv16").weights
    assert (pattern.stored_bits, anywhere.stored_bits) == (8 + 1, 8 + 1)
    assert (pattern.flops_share, anywhere.flops_share) == (Fraction(1, 2), 1)
    assert anywhere.widened(16)
    assert not pattern.widened(16)


def test_routed_experts_may_be_stored_otherwise() -> None:
    """gpt-oss publishes experts in MXFP4 and all else in bf16."""
    precision = Precision.of_model(load_model("gpt-oss-20b"))
    assert (precision.experts.stored_bits, precision.stored_weight_bits) == (4.25, 16)


@pytest.mark.parametrize(
    ("bits", "dtypes", "chosen"),
    [
        ((8, 16), {"bf16", "fp8"}, "bf16"),
        ((16, 16), {"fp16", "fp32"}, "fp16"),
        ((8, 8), {"bf16", "fp8", "int8"}, "fp8"),
        ((8, 8), {"bf16", "int8"}, "int8"),
        ((4, 8), {"bf16", "fp8", "fp4"}, "fp8"),
        ((4, 4), {"fp8", "fp4"}, "fp4"),
        ((6, 4), {"fp8", "fp4"}, "fp8"),
        ((32, 32), {"bf16", "fp32"}, "fp32"),
    ],
)
def test_the_wider_operand_decides_the_number_type(bits: tuple[int, int], dtypes: set[str], chosen: str) -> None:
    """Narrow weights are widened on their way into the product; 8 bits are fp8 where there is fp8."""
    assert matrix_dtype(bits, dtypes, what="chip") == chosen


def test_a_missing_number_type_is_refused_with_those_there_are() -> None:
    """A chip without an 8-bit engine does not silently multiply in 16."""
    with pytest.raises(InputError, match="fp8 or int8 on its matrix engine, which has bf16"):
        matrix_dtype((8, 8), {"bf16"}, what="chip")
