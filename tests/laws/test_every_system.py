"""Every bundled system serves llama-3.1-8b in 8 bits as it stands, and the machines that readers ask for are found."""

from __future__ import annotations

import math

import pytest

from archsim.hardware.library import load_system, system_names
from archsim.simulate import evaluate_step, run
from archsim.workload.model import load_model
from archsim.workload.trace import load_trace

MODEL = load_model("llama-3.1-8b")
WORDS = [
    "a100",
    "h100",
    "h200",
    "b200",
    "gb200",
    "gb300",
    "b300",
    "rubin",
    "tpu-v4",
    "tpu-v5e",
    "tpu-v5p",
    "tpu-v6e",
    "tpu-v7",
    "trainium1",
    "trainium2",
    "inferentia2",
    "mi210",
    "mi300x",
    "mi325x",
    "mi355x",
    "groq",
    "cerebras",
    "sn40l",
    "corsair",
    "sohu",
    "matx",
    "m1",
    "m2",
    "m3",
    "m4",
    "phone",
    "hbm-pim",
    "hbf",
    "3d",
]
CLAIMED = ("sohu", "matx")


@pytest.mark.parametrize("word", WORDS)
def test_a_machine_is_found_by_the_word_for_it(word: str) -> None:
    """A name or an alias, in lower case; what is only claimed says so."""
    system = load_system(word)
    assert (system.status == "claimed") == (word in CLAIMED)


@pytest.mark.slow
@pytest.mark.parametrize("name", system_names())
def test_every_system_serves_a_few_requests_as_it_stands(name: str) -> None:
    """Nobody names ways: those it picks hold the model; all requests are served and every ledger balances."""
    trace = load_trace("azure-conv", limit=3, seed=1)
    result = run(load_system(name), MODEL, trace=trace, precision="w8a16kv16")
    assert (result.requests.completed, result.requests.rejected) == (3, 0)
    for scope, ledger in result.ledger.items():
        assert math.fsum(ledger.accounts.values()) == pytest.approx(1.0, abs=1e-9), scope


@pytest.mark.parametrize("name", ["cerebras-wse3", "corsair-8", "dram-3d-8", "gh200-c2c", "phone-npu", "sn40l-16"])
def test_machines_of_several_memories_decode(name: str) -> None:
    """One step by default ways: no faster than the weights of a chip over the memory that holds them."""
    system = load_system(name)
    result = evaluate_step(system, MODEL, batch=2, context=500, precision="w8a16kv16")
    tpot = result.latency_s.tpot.mean
    assert tpot is not None
    peak = sum(memory.peak_bytes_per_s for memory in system.chip.memory.values())
    assert tpot > MODEL.layers * 2 * 4096 * 4096 / (system.chips * peak)
