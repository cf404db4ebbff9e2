"""Laws of the whole chain on machines, models and traffic that nobody chose: what is valid obeys them all."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from archsim.errors import InputError
from archsim.hardware.library import load_system, resolved_toml
from archsim.metrics.accounts import ACCOUNTS, USEFUL
from archsim.placed import Placed
from archsim.result import Result
from archsim.simulate import evaluate_step, run
from archsim.step.simulate import simulate_step
from archsim.workload.batch import Batch
from archsim.workload.model import Model, load_model
from archsim.workload.trace import load_trace

BYTES = 2
TIMES = ("0 ns", "700 ns", "13 us", "900 us")
KEYS: dict[str, tuple[str, ...]] = {
    "runtime.launch_gap": TIMES,
    "runtime.ramp": TIMES,
    "runtime.host_step": TIMES,
    "runtime.host_sequence": TIMES[:3],
    "runtime.collective_software": TIMES[:3],
    "runtime.prefetch": ("none", "kernel", "stream"),
    "runtime.max_batch": ("1", "3", "64"),
    "runtime.max_prefill_tokens": ("64", "1000", "8192"),
    "runtime.kv_block_tokens": ("1", "16", "100"),
    "runtime.scheduler": ("prefill_first", "decode_first", "static"),
    "chip.bytes_in_flight": ("100 KiB", "1 MB", "9999 KiB"),
    "chip.memory.hbm.round_trip": ("100 ns", "600 ns", "5 us"),
    "network.link_bandwidth": ("1 GB/s", "450 GB/s", "3 TB/s"),
    "network.link_latency": ("1 ns", "350 ns", "80 us"),
    "network.topology": ("ring", "full_mesh", "switch"),
    "chips": ("1", "2", "4", "8"),
}
"""Settings that a random machine may have changed."""


class Case(NamedTuple):
    """A machine, a model and requests of (arrival in s, prompt, output)."""

    system: str
    settings: tuple[str, ...]
    model: dict[str, Any]
    requests: tuple[tuple[float, int, int], ...]


@st.composite
def models(draw: st.DrawFn) -> dict[str, Any]:
    """Draw the config.json of a small decoder."""
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
    if draw(st.booleans()):
        experts = draw(st.sampled_from([4, 8]))
        config |= {
            "model_type": "mixtral",
            "num_local_experts": experts,
            "num_experts_per_tok": draw(st.integers(1, 4)),
        }
    return config


@st.composite
def cases(draw: st.DrawFn) -> Case:
    """Draw a machine of a bundled one with some settings changed, a model, and a few requests."""
    keys = draw(st.lists(st.sampled_from(sorted(KEYS)), max_size=6, unique=True))
    changed = tuple(f"{key}={draw(st.sampled_from(KEYS[key]))}" for key in keys)
    sizes = st.tuples(st.integers(0, 30).map(lambda n: n / 10), st.integers(1, 4000), st.integers(1, 40))
    system = draw(st.sampled_from(["h100-sxm8", "b200-sxm8", "mi300x-8", "h100-sxm8-pnm"]))
    return Case(system, changed, draw(models()), tuple(sorted(draw(st.lists(sizes, min_size=1, max_size=8)))))


def ran(case: Case, folder: Path) -> tuple[Result, Result, Model] | None:
    """Return a step and a replay of *case*, or None where it is refused."""
    (folder / "config.json").write_text(json.dumps(case.model), encoding="utf-8")
    lines = "".join(f"{arrival},{prompt},{output}\n" for arrival, prompt, output in case.requests)
    (folder / "trace.csv").write_text("arrival_s,prompt_tokens,output_tokens\n" + lines, encoding="utf-8")
    try:
        system = load_system(case.system, case.settings)
        model = load_model(str(folder / "config.json"))
        step = evaluate_step(system, model, batch=len(case.requests), context=case.requests[0][1])
        return step, run(system, model, trace=load_trace(str(folder / "trace.csv"))), model
    except InputError:
        return None


def books_balance(result: Result) -> None:
    """Every scope's shares of its peak sum to one, and none is negative."""
    ledgers = [result.ledger, *(phase.ledger for phase in result.phases.values())]
    for scope, ledger in ((scope, ledger) for book in ledgers for scope, ledger in book.items()):
        assert math.fsum(ledger.accounts.values()) == pytest.approx(1, abs=1e-9), scope
        assert min(ledger.accounts.values()) >= -1e-9, scope
        assert set(ledger.accounts) <= set(ACCOUNTS)


def nothing_is_faster_than_its_memory(step: Result, case: Case, model: Model) -> None:
    """A step takes at least the time of its useful bytes at the peak of the main memory, its KV cache among them."""
    main = step.ledger[step.system.main_memory]
    useful = math.fsum(main.accounts.get(account, 0.0) for account in USEFUL)
    cached = model.kv_elements_per_token * BYTES * case.requests[0][1] * len(case.requests)
    assert step.latency_s.tpot.mean is not None
    moved = useful * main.peak_per_s * step.latency_s.tpot.mean
    assert useful <= 1 + 1e-9
    assert moved >= cached * (1 - 1e-9)


def phases_make_up_the_time(step: Result, replay: Result) -> None:
    """Of a replay exactly; a step's time is that of its slowest replica, its phases are the mean of all."""
    times = [math.fsum(phase.time_s for phase in result.phases.values()) for result in (step, replay)]
    assert times[1] == pytest.approx(replay.simulated_s, rel=1e-12)
    assert times[0] <= step.simulated_s * (1 + 1e-12)
    assert times[0] == pytest.approx(step.simulated_s, rel=1e-12) or step.parallelism.dp > 1


def tokens_are_conserved(result: Result, case: Case, model: Model) -> None:
    """All requests that fit the context are completed, with their tokens, and write their KV cache once."""
    served = [(prompt, output) for _, prompt, output in case.requests if prompt + output <= model.max_context]
    assert result.requests.offered == len(case.requests)
    assert result.requests.completed + result.requests.rejected == len(case.requests)
    if result.requests.rejected == len(case.requests) - len(served) and not result.requests.preempted:
        assert result.tokens.prompt == sum(prompt for prompt, _ in served)
        assert result.tokens.output == sum(output for _, output in served)


def shortcuts_change_nothing(case: Case, model: Model) -> None:
    """An iteration takes what its ranks take one by one, and what is kept of it is what a fresh machine computes."""
    placed, fresh = (Placed.of(load_system(case.system, case.settings), model, None, None) for _ in range(2))
    if placed.spread.parallelism.pp > 1:
        return
    batch = Batch(decode=len(case.requests), kv_tokens=len(case.requests) * (case.requests[0][1] + 1))
    plan = fresh.cut.plan(batch)
    folded = simulate_step(plan, fresh.system)
    unfolded = simulate_step(replace(plan, identical_ranks=False), fresh.system)
    assert unfolded.time_ps == folded.time_ps
    for records in ((placed.simulate(batch), placed.simulate(batch)), (placed.simulate(batch), fresh.simulate(batch))):
        assert records[0].time_ps == records[1].time_ps
        assert records[0].books == records[1].books


def files_say_the_same(case: Case, folder: Path) -> None:
    """Units are read as they were written, and no order of settings is another machine."""
    spec = load_system(case.system, case.settings)
    (folder / "whole.toml").write_text(resolved_toml(spec), encoding="utf-8")
    assert load_system(str(folder / "whole.toml")) == spec
    assert load_system(case.system, case.settings[::-1]) == spec


def check(case: Case, folder: Path) -> bool:
    """Assert every law on *case*; return whether it was valid."""
    found = ran(case, folder)
    if found is None:
        return False
    step, replay, model = found
    for result in (step, replay):
        books_balance(result)
    phases_make_up_the_time(step, replay)
    nothing_is_faster_than_its_memory(step, case, model)
    tokens_are_conserved(replay, case, model)
    shortcuts_change_nothing(case, model)
    files_say_the_same(case, folder)
    renamed = folder / "renamed.toml"
    resolved = resolved_toml(load_system(case.system, case.settings))
    renamed.write_text(resolved.replace(f'name = "{case.system}"', 'name = "another"', 1), encoding="utf-8")
    again = run(load_system(str(renamed)), model, trace=load_trace(str(folder / "trace.csv")))
    assert again.latency_s == replay.latency_s
    assert again.ledger == replay.ledger
    return True


@settings(deadline=None, derandomize=True, database=None, max_examples=8,
          suppress_health_check=[HealthCheck.function_scoped_fixture])  # fmt: skip
@given(case=cases())
def test_random_machines_obey_the_laws(case: Case, tmp_path: Path) -> None:
    """Balance, conservation, bounds; a machine's file, read back under another name, gives the same run."""
    check(case, tmp_path)


@pytest.mark.slow
@settings(deadline=None, derandomize=True, database=None, max_examples=300,
          suppress_health_check=[HealthCheck.function_scoped_fixture])  # fmt: skip
@given(case=cases())
def test_many_random_machines_obey_the_laws(case: Case, tmp_path: Path) -> None:
    """The same on three hundred of them."""
    check(case, tmp_path)


def test_most_random_machines_are_valid(tmp_path: Path) -> None:
    """The unchanged machine with a plain model is, so laws are not shown on nothing."""
    plain = {
        "model_type": "llama", "hidden_size": 512, "intermediate_size": 1024, "num_hidden_layers": 2,
        "num_attention_heads": 8, "num_key_value_heads": 8, "vocab_size": 1000, "max_position_embeddings": 8192,
        "torch_dtype": "bfloat16",
    }  # fmt: skip
    assert check(Case("h100-sxm8", (), plain, ((0.0, 100, 5), (0.1, 9000, 1))), tmp_path)
