"""Machines, models and traffic that nobody chose: what tests of the whole chain draw.

A `Case` is words alone, as a user would give them: a bundled system, settings, a config.json, ways, a trace. `made`
turns it into parts, or into nothing where it is refused: what does not fit or divide is drawn, too.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

from hypothesis import strategies as st

from archsim.errors import InputError
from archsim.hardware.library import load_system
from archsim.hardware.spec import SystemSpec
from archsim.mapping.search import candidates
from archsim.placed import Placed
from archsim.workload.model import Model, load_model
from archsim.workload.precision import Precision
from archsim.workload.trace import Trace, load_trace

__all__ = ["BLOCK_TOKENS", "CHAINED", "Case", "Made", "cases", "made", "models"]

BLOCK_TOKENS = 512
"""Of a prompt whose beginning others may share, as traces of Mooncake count them."""
TIMES = ("0 ns", "700 ns", "13 us", "900 us")
KEYS: dict[str, tuple[str, ...]] = {
    "runtime.launch_gap": TIMES,
    "runtime.ramp": TIMES,
    "runtime.host_step": TIMES,
    "runtime.host_sequence": TIMES[:3],
    "runtime.collective_software": TIMES[:3],
    "runtime.prefetch": ("kernel", "stream"),
    "runtime.max_batch": ("1", "3", "64"),
    "runtime.max_prefill_tokens": ("64", "1000", "8192"),
    "runtime.kv_block_tokens": ("1", "16", "100"),
    "runtime.scheduler": ("prefill_first", "decode_first", "static"),
    "runtime.collective": ("auto", "ring", "one_shot"),
    "chip.bytes_in_flight": ("100 KiB", "1 MB", "9999 KiB"),
    "chip.memory.MAIN.round_trip": ("100 ns", "600 ns", "5 us"),
    "network.link_bandwidth": ("1 GB/s", "450 GB/s", "3 TB/s"),
    "network.link_latency": ("1 ns", "350 ns", "80 us"),
    "network.topology": ("ring", "full_mesh", "switch"),
    "chips": ("1", "2", "4", "8"),
}
"""Settings that a random machine may have changed; MAIN stands for its main memory."""
SYSTEMS = (
    "h100-sxm8", "b200-sxm8", "mi300x-8", "h100-sxm8-pnm", "h100-hbf", "gh200-c2c", "dram-3d-8", "hbm-pim",
    "phone-lpddr-pim", "risc-v-chiplets", "sn40l-16", "tpu-v5e-8", "m4-max", "attacc",
)  # fmt: skip
"""GPUs, units near a memory, flash, host memory, stacked DRAM, a phone, SRAM, three levels, a torus, a laptop."""
LARGE = ("cerebras-wse3",)
"""Machines of many chips, which take seconds each."""
TECHNIQUES: tuple[tuple[str, ...], ...] = (
    (),
    ("serving.prefix_cache.eviction=lru",),
    ("serving.prefix_cache.eviction=fifo", "serving.prefix_cache.offload=lru", "serving.tier=host-pcie5"),
    ("serving.speculation.method=ngram", "serving.speculation.depth=2", 'serving.speculation.profile=["45 %", "30 %"]'),
    ("serving.answer_cache.hits=30 %", "serving.answer_cache.latency=20 ms"),
    ("serving.priority.shares=[20, 80]", "serving.priority.preempt=recompute", "serving.admission.ttft=2 s"),
    ("serving.preemption=swap", "serving.tier=host-pcie4"),
    ("serving.metrics.detail=tokens", "serving.admission.tpot=30 ms"),
)
PRECISIONS = ("w16a16kv16", "w8a16kv16", "w4a16kv8", "wmxfp4a16kv4g64", "w8x2of4a16kv16")
CHAINED = (
    ("network.link_bandwidth", ("1 GB/s", "30 GB/s", "450 GB/s", "3 TB/s")),
    ("network.link_latency", ("80 us", "2 us", "350 ns", "1 ns")),
    ("runtime.launch_gap", TIMES[::-1]),
    ("runtime.ramp", TIMES[::-1]),
    ("runtime.collective_software", TIMES[2::-1]),
)
"""Settings with values from the slowest to the fastest."""


class Case(NamedTuple):
    """A machine, a model and requests, as words."""

    system: str
    settings: tuple[str, ...]
    model: dict[str, Any]
    requests: tuple[tuple[float, int, int], ...]
    """(Arrival in s, prompt tokens, output tokens), in order."""
    precision: str | None = None
    ways: int | None = None
    """Which of the ways to spread the model that divide; None: the default one."""
    shared: bool = False
    """Prompts begin alike."""


class Made(NamedTuple):
    """What a case is made of."""

    spec: SystemSpec
    model: Model
    trace: Trace
    parallelism: str | None
    placed: Placed


@st.composite
def models(draw: st.DrawFn, *, plain: bool = False) -> dict[str, Any]:
    """Draw the config.json of a small decoder; where *plain*, every layer attends to everything and has no experts."""
    kv_heads, group = draw(st.sampled_from([1, 2, 8])), draw(st.sampled_from([1, 4]))
    config = {
        "model_type": "llama",
        "hidden_size": 64 * draw(st.integers(1, 40)),
        "intermediate_size": 128 * draw(st.integers(1, 60)),
        "num_hidden_layers": draw(st.integers(1, 5)),
        "num_attention_heads": kv_heads * group,
        "num_key_value_heads": kv_heads,
        "head_dim": draw(st.sampled_from([64, 128])),
        "vocab_size": 1000 * draw(st.integers(1, 130)),
        "max_position_embeddings": 8192,
        "torch_dtype": "bfloat16",
        "tie_word_embeddings": draw(st.booleans()),
    }
    kind = "llama" if plain else draw(st.sampled_from(["llama", "llama", "mixtral", "mistral", "gpt_oss", "deepseek"]))
    experts = draw(st.sampled_from([4, 8])) if kind in {"mixtral", "gpt_oss", "deepseek"} else 0
    if kind in {"mixtral", "gpt_oss"}:
        config |= {"model_type": kind, "num_local_experts": experts, "num_experts_per_tok": draw(st.integers(1, 4))}
    if kind in {"mistral", "gpt_oss"}:
        config |= {"model_type": kind, "sliding_window": draw(st.sampled_from([16, 300, 4096]))}
    if kind == "deepseek":
        config |= _latent(draw, experts, config)
    return config


def _latent(draw: st.DrawFn, experts: int, config: dict[str, Any]) -> dict[str, Any]:
    return {
        "model_type": "deepseek_v2",
        "num_key_value_heads": config["num_attention_heads"],
        "moe_intermediate_size": 64 * draw(st.integers(1, 12)),
        "first_k_dense_replace": draw(st.integers(0, config["num_hidden_layers"] - 1)),
        "kv_lora_rank": draw(st.sampled_from([64, 512])),
        "q_lora_rank": draw(st.sampled_from([None, 256])),
        "qk_nope_head_dim": 64,
        "qk_rope_head_dim": 32,
        "v_head_dim": 64,
        "n_routed_experts": experts,
        "n_shared_experts": draw(st.integers(1, 2)),
        "num_experts_per_tok": draw(st.integers(1, 4)),
        "topk_method": "greedy",
    }


@st.composite
def cases(draw: st.DrawFn, *, plain: bool = False, large: bool = False) -> Case:
    """Draw a bundled machine with some settings changed, a model and a few requests.

    Where *plain*, the server does nothing beyond batching and the model is dense.
    """
    keys = draw(st.lists(st.sampled_from(sorted(KEYS)), max_size=6, unique=True))
    changed = tuple(f"{key}={draw(st.sampled_from(KEYS[key]))}" for key in keys)
    sizes = st.tuples(st.integers(0, 30).map(lambda n: n / 10), st.integers(1, 4000), st.integers(1, 40))
    technique = () if plain else draw(st.sampled_from(TECHNIQUES))
    return Case(
        draw(st.sampled_from((*SYSTEMS, *LARGE) if large else SYSTEMS)),
        (*changed, *technique),
        draw(models(plain=plain)),
        tuple(sorted(draw(st.lists(sizes, min_size=1, max_size=8)))),
        draw(st.none() | st.sampled_from(PRECISIONS)),
        draw(st.none() | st.integers(0, 30)),
        shared=any("prefix_cache" in setting for setting in technique),
    )


def made(case: Case, folder: Path) -> Made | None:
    """Return the parts of *case*, whose files are written to *folder*, or None where it is refused."""
    (folder / "config.json").write_text(json.dumps(case.model), encoding="utf-8")
    _write_trace(case, folder / "trace.jsonl")
    try:
        main = load_system(case.system).chip.main_memory
        spec = load_system(case.system, [setting.replace("MAIN", main) for setting in case.settings])
        model, trace = load_model(str(folder / "config.json")), load_trace(str(folder / "trace.jsonl"))
        ways = None
        if case.ways is not None:
            bits = Precision.parse(case.precision) if case.precision else Precision.of_model(model)
            found = candidates(model, bits, spec)
            ways = str(found[case.ways % len(found)][0]) if found else None
        return Made(spec, model, trace, ways, Placed.of(spec, model, case.precision, ways, trace=trace))
    except InputError:
        return None


def _write_trace(case: Case, path: Path) -> None:
    """Write the requests of *case*; where they are shared, all but the last block of a prompt begins as others do.

    Traces of Mooncake are stamped in buckets: requests of equal stamps are read as spread over theirs.
    """
    rows = []
    for number, (arrival_s, prompt, output) in enumerate(case.requests):
        blocks = -(-prompt // BLOCK_TOKENS)
        known = list(range(blocks - 1)) if case.shared else [1000 * (number + 1) + at for at in range(blocks - 1)]
        row = {"timestamp": round(arrival_s * 1000), "input_length": prompt, "output_length": output}
        rows.append(row | {"hash_ids": [*known, 1000 * (number + 1) + 999]})
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
