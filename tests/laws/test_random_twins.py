"""Twins and invariances of the whole chain on machines, models and traffic that nobody chose.

What is done the short way is done the long way too: jumps of the replay, folded ranks, repeated layers, remembered
iterations and memory answers. And what should not matter does not: names, the order of keys and settings, the order of
requests that come together.
"""

from __future__ import annotations

import json
import math
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings

from archsim.dram import sustain
from archsim.hardware.fields import tables_of, toml_of
from archsim.hardware.library import load_system, resolved_toml
from archsim.mapping.plan import unrolled
from archsim.placed import Placed
from archsim.serving.configure import arrivals_of
from archsim.serving.replay import replay
from archsim.simulate import run
from archsim.step.record import StepRecord
from archsim.step.simulate import simulate_step
from archsim.workload.batch import Batch
from archsim.workload.model import load_model
from archsim.workload.trace import load_trace

sys.path.append(str(Path(__file__).parents[1]))
import replay_twin as twin
from random_systems import Case, Made, cases, made

LAWS = settings(deadline=None, derandomize=True, database=None,
                suppress_health_check=[HealthCheck.function_scoped_fixture])  # fmt: skip
FEW, MANY = settings(LAWS, max_examples=5), settings(LAWS, max_examples=200)
BATCH = Batch.of_decode(2, 150)


def same(first: StepRecord, second: StepRecord) -> None:
    """Assert equal times and equal books."""
    assert first.time_ps == second.time_ps
    assert first.books == second.books


def jumps_equal_walks(parts: Made) -> None:
    """The replay of one server takes the times of the twin that walks token by token, on the machine's own costs."""
    placed = parts.placed
    limits = placed.limits
    if placed.replicas or limits.techniques.answers or parts.trace.closed:
        return
    arrivals = list(arrivals_of(parts.trace))
    record = replay(iter(arrivals), placed.costs, limits=limits, policy=placed.scheduler)
    slow = twin.twin_replay(arrivals, placed.costs, limits, placed.scheduler)
    rows = record.requests
    assert rows.first_token_ps.tolist() == [-1 if row.rejected else row.first_token_ps for row in slow.rows]
    assert rows.finish_ps.tolist() == [-1 if row.rejected else row.finish_ps for row in slow.rows]
    assert rows.preemptions.tolist() == [row.preemptions for row in slow.rows]
    assert record.peak_kv_blocks == slow.peak_blocks


def short_ways_equal_long_ones(parts: Made) -> None:
    """Folded ranks and repeated layers are those that are simulated one by one; a second answer is the first."""
    placed = parts.placed
    same(placed.simulate(BATCH), placed.simulate(BATCH))
    if placed.spread.parallelism.pp > 1 or placed.drafting is not None:
        return
    plan, system = placed.cut.plan(BATCH), placed.system
    short = simulate_step(plan, system)
    for long in (unrolled(plan), replace(plan, identical_ranks=False, alike=())):
        record = simulate_step(long, system)
        assert record.time_ps == short.time_ps
        for account in {account for book in (*record.books.values(), *short.books.values()) for account in book}:
            totals = [math.fsum(book.get(account, 0.0) for book in one.books.values()) for one in (record, short)]
            assert totals[0] == pytest.approx(totals[1], rel=1e-9, abs=1e-3)


def memory_answers_equal_new_ones(parts: Made, patch: pytest.MonkeyPatch) -> None:
    """An iteration whose memory answers are all computed anew is the one of shipped and stored answers."""
    placed = parts.placed
    with patch.context() as without:
        without.setattr(sustain, "shipped", lambda _key: None)
        without.setattr(sustain, "recall", lambda _key, _question: None)
        without.setattr(sustain, "remember", lambda *_: None)
        sustain._answer.cache_clear()
        fresh = Placed.of(parts.spec, parts.model, str(placed.precision), str(placed.spread.parallelism),
                          trace=parts.trace)  # fmt: skip
        record = fresh.simulate(BATCH)
    sustain._answer.cache_clear()
    same(record, placed.simulate(BATCH))


def turned(value: Any) -> Any:
    """Return tables with the keys of each in the opposite order."""
    return {key: turned(value[key]) for key in reversed(list(value))} if isinstance(value, dict) else value


def files_say_the_same(parts: Made, folder: Path) -> None:
    """A machine's own file is the machine, with every unit read as it was written, in any order of keys."""
    spec = parts.spec
    for number, text in enumerate((resolved_toml(spec), toml_of(turned(tables_of(spec))))):
        path = folder / f"whole{number}.toml"
        path.write_text(text, encoding="utf-8")
        assert load_system(str(path)) == spec


def renamed(value: Any, names: dict[str, str], under: str = "") -> Any:
    """Return tables in which parts have other *names*, as keys and where others refer to them; devices keep theirs."""
    if isinstance(value, dict):
        known = {} if under == "device" else names
        return {known.get(key, key): renamed(inner, known, key) for key, inner in value.items()}
    if isinstance(value, list):
        return [renamed(inner, names, under) for inner in value]
    return names.get(value, value) if isinstance(value, str) else value


def names_change_nothing(parts: Made, case: Case, folder: Path) -> None:
    """Another name of system, chip, model and main memory: the same numbers under other names.

    A chip's new name begins as the old one did: that beginning is what libraries of collectives know a generation by.
    """
    names = {
        parts.spec.chip.main_memory: "store",
        parts.spec.name: "another",
        parts.spec.chip.name: f"{parts.spec.chip.name}-b",
    }
    (folder / "renamed.toml").write_text(toml_of(renamed(tables_of(parts.spec), names)), encoding="utf-8")
    (folder / "other.json").write_text(json.dumps(case.model), encoding="utf-8")
    words = {"precision": case.precision, "parallelism": parts.parallelism}
    again = run(load_system(str(folder / "renamed.toml")), load_model(str(folder / "other.json")), trace=parts.trace,
                  **words)  # fmt: skip
    first = run(parts.spec, parts.model, trace=parts.trace, **words)
    assert again.latency_s == first.latency_s
    assert again.simulated_s == first.simulated_s
    ledgers = [sorted(str(book.model_dump()) for book in result.ledger.values()) for result in (first, again)]
    assert ledgers[0] == ledgers[1]


def crowds_have_no_order(parts: Made, case: Case, folder: Path) -> None:
    """Requests that come together and fit into one batch are served alike in any order: each has its own times.

    Where not all fit, or a technique tells them apart by their number, the order of the trace decides, as documented.
    """
    together = [(100 + 7 * place, 3 + place) for place in range(4)]
    limits, replicas = parts.placed.limits, len(parts.placed.replicas) or 1
    blocks = sum(limits.blocks_for(prompt + output) for prompt, output in together)
    if replicas > 1 or limits.max_batch < 4 or limits.max_prefill_tokens < 600 or blocks > limits.kv_blocks:
        return
    if any("serving." in setting for setting in case.settings):
        return
    words = {"precision": case.precision, "parallelism": parts.parallelism}
    ends: list[list[tuple[int, int]]] = []
    for number, one in enumerate((together, together[::-1])):
        path = folder / f"crowd{number}.csv"
        rows_of = "".join(f"0,{prompt},{output}\n" for prompt, output in one)
        path.write_text(f"arrival_s,prompt_tokens,output_tokens\n{rows_of}", encoding="utf-8")
        found = run(parts.spec, parts.model, trace=load_trace(str(path)), **words)
        assert found.tables is not None
        rows = found.tables.requests
        assert rows is not None
        ends.append(sorted(zip(rows.prompt_tokens.tolist(), rows.finish_ps.tolist(), strict=True)))
    assert ends[0] == ends[1]


def check(case: Case, folder: Path, patch: pytest.MonkeyPatch) -> bool:
    """Assert every law on *case*; return whether it was valid."""
    parts = made(case, folder)
    if parts is None:
        return False
    jumps_equal_walks(parts)
    short_ways_equal_long_ones(parts)
    memory_answers_equal_new_ones(parts, patch)
    files_say_the_same(parts, folder)
    names_change_nothing(parts, case, folder)
    crowds_have_no_order(parts, case, folder)
    return True


@FEW
@given(case=cases())
def test_random_machines_equal_their_twins(case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Short ways equal long ones, and neither names nor orders matter."""
    check(case, tmp_path, monkeypatch)


@pytest.mark.slow
@MANY
@given(case=cases(large=True))
def test_many_random_machines_equal_their_twins(case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same on two hundred of them."""
    check(case, tmp_path, monkeypatch)
