"""What each operator takes adds up to the iteration: time, arithmetic and bytes, level by level."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from archsim.metrics.accounts import GROUPS, USEFUL
from archsim.metrics.operators import OperatorUse, binding_level
from archsim.operators import mean_iteration, operators_of_step, with_operators
from archsim.report.html_charts import peaks, whole_scopes
from archsim.report.html_input import read_run
from archsim.report.operator_marks import labels_of, pairs_of
from archsim.report.roofline_figure import roofline_figure
from archsim.report.style import ONE_COLUMN_IN, TWO_COLUMNS_IN, svg_bytes
from archsim.report.writers import write_run
from archsim.result import RequestColumns, Result
from archsim.simulate import evaluate_step, load_model, load_system
from archsim.timeline import timeline_of_step
from archsim.units import PS_PER_S

BATCH, CONTEXT = 8, 512
WAYS = [
    ("h100-sxm8", "llama-3.1-8b", None),
    ("m4-max", "llama-3.1-8b", None),
    ("h100-sxm8-pnm", "llama-3.1-8b", None),
    ("h100-sxm8", "mixtral-8x7b", "tp=1,ep=8"),
    ("h100-sxm8", "llama-3.1-8b", "tp=4,dp=2"),
]
"""A switch, no network, units near memory, experts on ranks that differ, replicas."""


@pytest.fixture(scope="module", params=WAYS, ids=lambda way: f"{way[0]}-{way[1]}-{way[2] or 'default'}")
def asked(request: pytest.FixtureRequest) -> tuple[Result, tuple[OperatorUse, ...]]:
    """Return the result of a step and its operators."""
    name, model_name, ways = request.param
    system, model = load_system(name), load_model(model_name)
    result = evaluate_step(system, model, batch=BATCH, context=CONTEXT, parallelism=ways)
    return result, operators_of_step(system, model, batch=BATCH, context=CONTEXT, ways=(None, ways))


def test_times_sum_to_the_iteration(asked: tuple[Result, tuple[OperatorUse, ...]]) -> None:
    """Three layers alike stand for all of them, and the sum is the time of the step that simulates its own way."""
    result, uses = asked
    assert math.isclose(math.fsum(use.time_s for use in uses), result.simulated_s, rel_tol=1e-12)


def test_amounts_sum_to_the_ledger(asked: tuple[Result, tuple[OperatorUse, ...]]) -> None:
    """Bytes of every level and useful FLOPs of every engine are those that the ledger books for the step."""
    result, uses = asked
    for unit, field, accounts in (("B/s", "bytes", (*USEFUL, *GROUPS["moved"])), ("FLOP/s", "flops", ("useful",))):
        booked: dict[str, float] = {}
        for scope, book in whole_scopes(result.ledger).items():
            if book.unit == unit:
                share = math.fsum(book.accounts.get(account, 0.0) for account in accounts)
                part = scope.split(".", 1)[1]
                booked[part] = booked.get(part, 0.0) + share * book.peak_per_s * result.simulated_s
        for part, amount in booked.items():
            found = math.fsum(getattr(use, field).get(part, 0.0) for use in uses)
            assert math.isclose(found, amount, rel_tol=1e-9, abs_tol=1.0), part


def test_chips_that_are_booked_twice_count_once(asked: tuple[Result, tuple[OperatorUse, ...]]) -> None:
    """A ceiling is the peak of all chips, whether they have one scope or replicas and ranks have theirs beside it."""
    result, _ = asked
    assert peaks(result.ledger, "B/s")[result.system.main_memory.split(".", 1)[1]] == pytest.approx(
        result.ledger[result.system.main_memory].peak_per_s
    )


def test_operators_are_those_of_the_timeline() -> None:
    """Every layer written out gives each operator the same time and count; the host's own work comes first."""
    system, model = load_system("h100-sxm8"), load_model("llama-3.1-8b")
    uses = operators_of_step(system, model, batch=BATCH, context=CONTEXT)
    slices = timeline_of_step(system, model, batch=BATCH, context=CONTEXT).slices
    times: dict[str, int] = {}
    for each in slices:
        if each.track.endswith(".operators"):
            times[each.name] = times.get(each.name, 0) + each.end_ps - each.start_ps
    host = next(use for use in uses if use.operator == "host")
    times["host"] = round(host.time_s * PS_PER_S)
    times["embed"] -= times["host"]
    assert {use.operator: round(use.time_s * PS_PER_S) for use in uses} == times
    assert {use.operator: use.executions for use in uses}["qkv"] == model.layers


def test_a_step_with_stages_has_the_operators_of_all_of_them() -> None:
    """Cut into two stages, an iteration executes each operator as often and moves the same weights."""
    system, model = load_system("h100-sxm8"), load_model("llama-3.1-8b")
    whole, cut = (
        {use.operator: use for use in operators_of_step(system, model, batch=BATCH, context=CONTEXT, ways=(None, ways))}
        for ways in ("tp=8", "tp=4,pp=2")
    )
    assert whole.keys() - {"host"} <= cut.keys()
    for name in ("qkv", "gate_up", "down"):
        assert math.isclose(cut[name].flops["matrix"], whole[name].flops["matrix"], rel_tol=1e-9)


def test_the_mean_iteration_of_requests_is_weighted_by_decode_time() -> None:
    """Two requests decode 4 s and 2 s, of which 1 s together: 6/5 sequences of (4*(100+10) + 2*(40+5))/6 tokens."""
    second = PS_PER_S
    columns = RequestColumns(
        arrival_ps=np.array([0, 0, 0]),
        prompt_tokens=np.array([100, 40, 7]),
        output_tokens=np.array([20, 10, 1]),
        first_token_ps=np.array([1 * second, 4 * second, -1]),
        finish_ps=np.array([5 * second, 6 * second, -1]),
        preemptions=np.zeros(3, dtype=np.int64),
        rejection=np.array([0, 0, 0]),
    )
    assert mean_iteration(columns) == (round(6 / 5), round((4 * 110 + 2 * 45) / 6))
    nothing = RequestColumns(*(np.array([-1]) for _ in range(7)))
    assert mean_iteration(nothing) is None


def test_a_directory_holds_what_the_report_reads_back(tmp_path: Path) -> None:
    """Operators of one sequence and of the batch come back digit by digit; the result itself has not changed."""
    system, model = load_system("m4-max"), load_model("qwen3-8b")
    plain = evaluate_step(system, model, batch=BATCH, context=CONTEXT, precision="w8a16kv16")
    result = with_operators(plain, system, model, iteration=(BATCH, CONTEXT), ways=("w8a16kv16", None))
    assert result.to_json() == plain.to_json()
    assert result.tables is not None
    write_run(result, tmp_path / "run")
    assert read_run(tmp_path / "run").operators == result.tables.operators
    assert {use.batch for use in result.tables.operators} == {1, BATCH}
    assert (tmp_path / "run/roofline.svg").is_file()
    write_run(plain, tmp_path / "plain")
    assert read_run(tmp_path / "plain").operators == ()
    levels, engines = peaks(result.ledger, "B/s"), peaks(result.ledger, "FLOP/s")
    pairs, batch = pairs_of(result.tables.operators, levels, engines)
    assert batch == BATCH
    for pair in pairs:
        for mark in (pair.before, pair.after):
            if mark is not None and mark.level is not None and mark.of_ceiling is not None:
                assert mark.of_ceiling <= 1 + 1e-9, pair.operator  # nothing is read ahead on this runtime
    for width in (ONE_COLUMN_IN, TWO_COLUMNS_IN):
        drawn = [svg_bytes(roofline_figure(result, result.tables.operators, width_in=width)) for _ in range(2)]
        assert drawn[0] == drawn[1]


def test_the_binding_level_is_the_one_that_is_held_the_longest() -> None:
    """10 bytes at 1 B/s hold longer than 50 at 10 B/s; a level without a peak or bytes holds nothing."""
    use = OperatorUse(1, 1, "x", 1, 1.0, {"matrix": 1.0}, {"slow": 10.0, "fast": 50.0, "unknown": 1e9})
    assert binding_level(use, {"slow": 1.0, "fast": 10.0}) == "slow"
    assert binding_level(use, {"fast": 10.0, "slow": 100.0}) == "fast"
    assert binding_level(OperatorUse(1, 1, "x", 1, 1.0, {}, {}), {"slow": 1.0}) is None


def test_labels_that_would_lie_on_each_other_are_one() -> None:
    """The topmost of a pile says all numbers; a mark apart has its own."""
    places = [(1, 0.5, 0.5), (2, 0.51, 0.52), (3, 0.9, 0.5)]
    assert labels_of(places, near=(0.04, 0.06)) == {2: "1, 2", 3: "3"}
