"""What-if and sensitivity: differences that add up, and elasticities that are known beforehand."""

from __future__ import annotations

import json
import math
from fractions import Fraction
from functools import partial
from pathlib import Path

import pytest

from archsim.economics.assess import assessed
from archsim.economics.spec import load_economics
from archsim.errors import InputError
from archsim.hardware.library import load_system
from archsim.hardware.spec import SystemSpec
from archsim.report import change_figures, style
from archsim.result import Result
from archsim.simulate import ClosedLoop, evaluate_step, load_model, run
from archsim.study.sensitivity import knobs_of, sensitivities
from archsim.study.whatif import asked_of, changed, ledger_changes, load_run, prices_of, system_of

MODEL = load_model("llama-3.1-8b")


def evaluated(spec: SystemSpec) -> Result:
    """Return one step of a small model on *spec*."""
    return evaluate_step(spec, MODEL, batch=8, context=2048, parallelism="dp=8")


@pytest.fixture(scope="module")
def run_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the result.json of a step on the bundled H100."""
    path = tmp_path_factory.mktemp("run") / "result.json"
    path.write_text(evaluated(load_system("h100-sxm8")).to_json(), encoding="utf-8")
    return path


def test_differences_of_a_ledger_add_up_to_the_difference_in_time(run_file: Path) -> None:
    """Every scope books all of its time, so the accounts' differences sum to that of the iteration, in each scope."""
    before = load_run(run_file)
    asked = asked_of(before, run_file)
    after = changed(before, asked, system_of(before, asked, run_file, ["runtime.launch_gap=3 us"]))
    assert before.latency_s.tpot.mean is not None
    assert after.latency_s.tpot.mean is not None
    difference = after.latency_s.tpot.mean - before.latency_s.tpot.mean
    assert difference > 0
    changes = ledger_changes(before, after)
    assert changes[0].scope == "hbm"
    for ledger in changes:
        total = math.fsum(ledger.after_s.get(name, 0.0) - ledger.before_s.get(name, 0.0) for name in ledger.accounts)
        assert total == pytest.approx(difference, rel=1e-6)
        assert ledger.total_s[0] == pytest.approx(before.latency_s.tpot.mean, rel=1e-9)


def test_asking_again_without_a_change_gives_the_same_bytes(run_file: Path) -> None:
    """The command in a result's provenance is enough to run it again."""
    before = load_run(run_file)
    asked = asked_of(before, run_file)
    assert changed(before, asked, system_of(before, asked, run_file, [])).to_json() == before.to_json()


def test_a_closed_loop_is_asked_again(tmp_path: Path) -> None:
    """Without a change the same bytes; a change is simulated anew, and the bill is by the prices of the run."""
    path, spec = tmp_path / "result.json", load_system("h100-sxm8")
    loop = ClosedLoop(users=4, prompt_tokens=64, output_tokens=8, rounds=1, together=True)
    result = run(spec, MODEL, trace=loop, parallelism="tp=8")
    path.write_text(result.to_json(), encoding="utf-8")
    before = load_run(path)
    asked = asked_of(before, path)
    assert changed(before, asked, system_of(before, asked, path, [])).to_json() == before.to_json()
    slower = changed(before, asked, system_of(before, asked, path, ["runtime.launch_gap=9 us"]))
    assert slower.simulated_s > before.simulated_s
    prices = prices_of(before, path)
    assert prices is not None
    france = assessed(before, spec, load_economics(region="france"))
    found = prices_of(france, path)
    assert found is not None
    assert (prices.region, found.region) == ("us", "france")


def test_prices_that_are_not_found_are_refused(run_file: Path) -> None:
    """A result by a file of its own needs that file: two bills by different prices do not compare."""
    result = load_run(run_file)
    assert result.cost is not None
    other = result.model_copy(update={"cost": result.cost.model_copy(update={"economics_digest": "sha256:0"})})
    with pytest.raises(InputError, match="--economics"):
        prices_of(other, run_file)
    assert prices_of(result.model_copy(update={"cost": None}), run_file) is None


def test_a_longer_launch_gap_costs_what_its_launches_take(run_file: Path) -> None:
    """2 us more before each kernel of a step whose kernels follow each other is 2 us times the kernels, booked so."""
    before = load_run(run_file)
    asked = asked_of(before, run_file)
    times = []
    for gap in ("1 us", "2 us", "3 us"):
        after = changed(before, asked, system_of(before, asked, run_file, [f"runtime.launch_gap={gap}"]))
        times.append(after.simulated_s)
    assert times[2] - times[1] == pytest.approx(times[1] - times[0], rel=1e-6)
    assert (times[1] - times[0]) / 1e-6 == pytest.approx(round((times[1] - times[0]) / 1e-6), abs=1e-3)


def test_a_result_of_another_configuration_needs_its_resolved_one(run_file: Path, tmp_path: Path) -> None:
    """A result of an overridden system cannot be asked again from its name alone."""
    other = tmp_path / "result.json"
    spec = load_system("h100-sxm8", ["hbm.round_trip=500 ns"])
    other.write_text(evaluated(spec).to_json(), encoding="utf-8")
    result = load_run(other)
    with pytest.raises(InputError, match=r"config\.resolved\.toml"):
        system_of(result, asked_of(result, other), other, [])


@pytest.mark.parametrize("content", ["{}", "no json", json.dumps({"schema": "archsim.result/1"})])
def test_what_is_no_result_is_refused(tmp_path: Path, content: str) -> None:
    """A named error for a file that is none, and for a path where there is nothing."""
    path = tmp_path / "result.json"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(InputError, match=r"result\.json"):
        load_run(path)
    with pytest.raises(InputError, match="a run directory"):
        load_run(tmp_path / "nothing")


def toy(spec: SystemSpec, *, result: Result) -> Result:
    """Return *result* with tokens/s that are bandwidth^0.5 / round trip: elasticities 0.5 and -1."""
    memory = spec.chip.memory["hbm"]
    rate = float(memory.peak_bytes_per_s) ** 0.5 / memory.round_trip_ps
    throughput = result.throughput.model_copy(update={"output_tokens_per_s": rate})
    copied: Result = result.model_copy(update={"throughput": throughput})
    return copied


def test_elasticities_are_those_of_a_known_function() -> None:
    """A power law has its exponent as elasticity, whatever the step; a knob that is not in it has 0."""
    known = partial(toy, result=evaluated(load_system("h100-sxm8")))
    for step in (Fraction(1, 10), Fraction(1, 2)):
        _, effects = sensitivities("h100-sxm8", (), known, step=step)
        found = {effect.knob.title: effect.elasticity["tokens_per_s"] for effect in effects}
        assert found["hbm bandwidth"] == pytest.approx(0.5, abs=1e-4)
        assert found["hbm round trip"] == pytest.approx(-1, abs=1e-4)
        assert found["link latency"] == 0
        assert effects[0].knob.title == "hbm round trip"


def test_every_kind_of_part_is_a_knob() -> None:
    """Memory bandwidth, capacity and latency, FLOPs, SRAM, queue depth, links and launch gap: each once."""
    knobs = {knob.title: knob.keys for knob in knobs_of(load_system("h100-sxm8"))}
    assert {"hbm bandwidth", "hbm capacity", "hbm round trip", "matrix FLOP/s", "staging SRAM", "link latency",
            "bytes in flight (queue depth)", "link bandwidth", "kernel launch gap"} <= {*knobs}  # fmt: skip
    assert "chip.engine.matrix.sustained.bf16" in knobs["matrix FLOP/s"]
    keys = [key for keys in knobs.values() for key in keys]
    assert len(keys) == len(set(keys))


def test_figures_of_change_are_drawn_from_what_is_there() -> None:
    """A tornado without any effect, and one with a knob that could be turned one way only."""
    none, one, both = (0.0, 0.0, 0.0), (0.1, None, 1.0), (-0.2, 0.3, -2.0)
    for effects in ([("a", [none, none])], [("a", [one, both]), ("b", [both, one])], [("b", [none, both])]):
        figure = change_figures.tornado(effects, title="t", metrics=["tokens/s", "USD per token"], step="1.1")
        assert len(figure.axes) == 2
        assert style.svg_bytes(figure).startswith(b"<?xml")
    figure = change_figures.ledger_before_after([("hbm", {"latency": 1e-3}, {"latency": 2e-3})], title="t", per="token")
    assert style.svg_bytes(figure) == style.svg_bytes(figure)
