"""Error bars: shares of mechanisms, widths from residuals, and what a result says of itself."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest
from made_result import make_rejecting_result, make_result

from archsim.errors import InputError
from archsim.hardware.library import load_system
from archsim.report.interval_text import interval_lines, overlap_lines
from archsim.result import Result
from archsim.simulate import evaluate_step, run
from archsim.uncertainty.interval import reasons_of, with_interval
from archsim.uncertainty.residuals import (
    Residual,
    memory_kind,
    read_residuals,
    shipped_residuals,
    silicon_of,
    types_of,
    write_residuals,
)
from archsim.uncertainty.shares import MECHANISMS, mechanism_shares
from archsim.uncertainty.widths import SHIPPED, Width, Z, derived, prior, shipped_widths, student, write_widths
from archsim.workload.closed_loop import ClosedLoop
from archsim.workload.model import load_model


def residual(value: float, *, mechanism: str = "streaming", chip: str = "a-1", measure: str = "kernel") -> Residual:
    """Return a residual whose time is one mechanism alone."""
    shares = tuple(float(name == mechanism) for name in MECHANISMS)
    return Residual("t", measure, chip, "HBM3", "w16a16kv16", "r", value, shares)


@pytest.fixture(scope="module")
def step() -> Result:
    """One decode step of a small model on eight H100."""
    return evaluate_step(load_system("h100-sxm8"), load_model("llama-3.1-8b"), batch=8, context=1024)


def test_shares_follow_the_accounts_and_leave_idle_time_out() -> None:
    """Device losses go to weights and KV as their bytes are; host time beyond the serial step is launch."""
    accounts = {"useful_weights": 0.3, "useful_kv_read": 0.1, "row": 0.04, "latency": 0.06, "compute": 0.05,
                "network": 0.05, "host": 0.2, "idle": 0.2}  # fmt: skip
    shares = mechanism_shares(accounts, host=0.15)
    expected = {"streaming": 0.33, "attention": 0.11, "launch": 0.11, "arithmetic": 0.05, "collectives": 0.05,
                "host": 0.15}  # fmt: skip
    assert shares == pytest.approx({name: part / 0.8 for name, part in expected.items()})
    assert math.fsum(shares.values()) == pytest.approx(1)
    assert mechanism_shares(accounts, host=None)["host"] == pytest.approx(0.2 / 0.8)
    assert mechanism_shares({"idle": 1.0}, host=0.0) == {}


def test_a_width_is_the_quantile_about_the_median_of_a_cell() -> None:
    """Residuals 0.00 to 0.20 about a bias of 1: |e - 1.1| has its 80 % quantile at 0.08; one attention a layer."""
    rows = [residual(1 + 0.01 * place, mechanism="attention") for place in range(21)]
    assert derived(rows).within["attention"].half_width == pytest.approx(0.08)


def test_products_average_out_over_their_shapes() -> None:
    """Four different products a layer with independent errors: half the width of one."""
    values = [0.01 * place for place in range(21)]
    streaming = derived([residual(value) for value in values]).within["streaming"]
    attention = derived([residual(value, mechanism="attention") for value in values]).within["attention"]
    assert streaming.half_width == pytest.approx(attention.half_width / 2)


def test_the_spread_between_silicons_is_about_zero() -> None:
    """Two silicons with biases of +0.1 and -0.1: Student's t of two degrees x 0.1, however many rows each has."""
    rows = [residual(0.1, measure="tpot")] * 30 + [residual(-0.1, chip="b-1", measure="tpot")] * 3
    assert derived(rows).between.half_width == pytest.approx(1.886 * 0.1, rel=0.005)
    assert [student(6), student(10), student(10**6)] == pytest.approx([1.440, 1.372, Z], rel=0.001)


def test_left_out_silicon_has_no_say() -> None:
    """Whatever the rows of a silicon are, widths without it are the same; chips of one design go together."""
    others = [residual(0.01 * place) for place in range(20)] + [residual(0.05, measure="tpot")] * 20
    wild = [residual(9.0, chip="x-sxm"), residual(-9.0, chip="x-pcie", measure="tpot")] * 20
    assert derived(others + wild, without="x") == derived(others)
    assert (silicon_of("a100-sxm-330w"), silicon_of("a100-pcie")) == ("a100", "a100")
    assert (silicon_of("apple-m2-max-30"), silicon_of("rtx-pro-6000"), silicon_of("tpu-v4")) == (
        "apple-m2", "rtx-pro-6000", "tpu-v4",
    )  # fmt: skip


def test_parts_add_in_quadrature_and_unknown_mechanisms_take_the_prior() -> None:
    """half^2 = sum (share x width)^2 + between^2; a mechanism without rows has the stated width."""
    rows = [residual(0.01 * place, mechanism="attention") for place in range(21)] + [residual(0.1, measure="tpot")]
    widths = derived(rows)
    parts = widths.parts({"attention": 0.5, "host": 0.5})
    assert parts == {
        "attention": pytest.approx(0.04), "host": 0.5 * prior()["mechanism"], "between": widths.between.half_width,
    }  # fmt: skip
    assert widths.half_width({"attention": 0.5, "host": 0.5}) == pytest.approx(
        math.sqrt(sum(part**2 for part in parts.values()))
    )


def test_residuals_read_back(tmp_path: Path) -> None:
    """What is written is what is read, empty cells standing for the one above; a bad line is refused by number."""
    rows = [residual(0.25), residual(-0.125, chip="b"), replace(residual(0.5, measure="collective"), memory="")]
    path = tmp_path / "r.csv"
    write_residuals(path, rows)
    assert sorted(read_residuals(path), key=repr) == sorted(rows, key=repr)
    path.write_text(path.read_text(encoding="utf-8") + "a,b,c\n", encoding="utf-8")
    with pytest.raises(InputError, match="line 5"):
        read_residuals(path)


def test_shipped_widths_are_those_of_the_shipped_residuals(tmp_path: Path) -> None:
    """Both files come from one run of scripts/interval_widths.py."""
    write_widths(tmp_path / "w.toml", derived(shipped_residuals()))
    shipped = SHIPPED
    assert (tmp_path / "w.toml").read_text(encoding="utf-8") == shipped.read_text(encoding="utf-8")


def test_a_result_carries_its_bar(step: Result) -> None:
    """Low and high are the value over and times e^half; the JSON reads back; tables say it."""
    bar = step.uncertainty
    assert bar is not None
    assert not bar.extrapolated
    tpot = step.latency_s.tpot.mean
    assert tpot is not None
    assert bar.tpot_s.low == pytest.approx(tpot * math.exp(-bar.half_width), rel=1e-5)
    assert bar.tpot_s.high == pytest.approx(tpot * math.exp(bar.half_width), rel=1e-5)
    assert math.fsum(bar.shares.values()) == pytest.approx(1, abs=1e-5)
    assert math.sqrt(math.fsum(part**2 for part in bar.parts.values())) == pytest.approx(bar.half_width, abs=1e-5)
    assert Result.from_json(step.to_json()).uncertainty == bar
    assert interval_lines(step)[0][0] == "80 % interval"


def test_nothing_decoded_has_no_bar() -> None:
    """A result without a time per output token says nothing of its error."""
    assert with_interval(make_rejecting_result(), load_system("h100-sxm8")).uncertainty is None


def test_what_lies_outside_the_suites_is_named_and_wider() -> None:
    """A hypothetical flash memory has both reasons and a bar wider than the same chip's without."""
    model = load_model("llama-3.1-8b")
    found = evaluate_step(load_system("h100-hbf"), model, batch=8, context=1024).uncertainty
    assert found is not None
    assert {"hypothetical design", "memory HBF"} <= set(found.extrapolated)
    assert found.half_width > prior()["status"]
    assert "w3" in reasons_of(load_system("h100-sxm8"), "w3a16kv16", shipped_widths())["precision"]


def test_types_and_kinds() -> None:
    """Groups of weights are no types of their own; a generation of memory is of its kind."""
    assert types_of("w4g32s32a16kv16") == ("w4", "a16", "kv16")
    assert types_of("wmxfp4a8kv8") == ("wmxfp4", "a8", "kv8")
    assert (memory_kind("HBM3E"), memory_kind("LPDDR5X"), memory_kind("GDDR7")) == ("HBM", "LPDDR", "GDDR")


def test_idle_time_holds_the_rate() -> None:
    """With half of the run idle a machine 20 % slower serves the same rate, and no run is faster than e^half."""
    made = make_result(accounts={"useful_weights": 0.5, "idle": 0.5})
    found = with_interval(made, load_system("h100-sxm8")).uncertainty
    rate = made.throughput.output_tokens_per_s
    assert found is not None
    assert rate is not None
    assert found.output_tokens_per_s.low == rate
    assert rate < found.output_tokens_per_s.high < rate * math.exp(found.half_width)


def test_overlapping_designs_are_named(step: Result) -> None:
    """Intervals that share a value are named; those apart are said to be apart."""
    bar = step.uncertainty
    assert bar is not None

    def named(name: str, factor: float) -> Result:
        rate = bar.output_tokens_per_s
        moved = rate.model_copy(update={"low": rate.low * factor, "high": rate.high * factor})
        system = step.system.model_copy(update={"name": name})
        return step.model_copy(
            update={"system": system, "uncertainty": bar.model_copy(update={"output_tokens_per_s": moved})}
        )

    assert "a and b" in overlap_lines([named("a", 1.0), named("b", 1.1)])[0]
    assert "do not overlap" in overlap_lines([named("a", 1.0), named("b", 10.0)])[0]
    assert overlap_lines([named("a", 1.0)]) == []


def test_a_closed_loop_has_a_bar() -> None:
    """A replay's bar is over its decode and mixed iterations."""
    found = run(load_system("h100-sxm8"), load_model("llama-3.1-8b"), trace=ClosedLoop(4, 256, 32, 1, False))
    assert found.uncertainty is not None
    assert 0 < found.uncertainty.half_width < 1


def test_first_tokens_have_a_bar_of_their_own() -> None:
    """ln(high / low) is twice the width of first tokens, whatever the time is made of; steps have none."""
    found = run(load_system("h100-sxm8"), load_model("llama-3.1-8b"), trace=ClosedLoop(4, 256, 16, 2)).uncertainty
    assert found is not None
    assert found.ttft_s is not None
    half = math.log(found.ttft_s.high / found.ttft_s.low) / 2
    assert half == pytest.approx(shipped_widths().first.half_width)
    assert half > found.half_width


def test_the_width_of_first_tokens_is_theirs_alone() -> None:
    """Spread about the median of a silicon and what silicons differ by, in quadrature; other widths do not see them."""
    first = [residual(bias, measure="ttft", chip=f"{chip}-1") for chip, bias in (("a", 0.3), ("b", -0.3))]
    others = [residual(0.01 * place) for place in range(21)]
    widths = derived([*others, *first])
    assert widths.first.half_width == pytest.approx(student(2) * 0.3, abs=1e-4)
    assert widths.within == derived(others).within
    assert widths.between == derived(others).between


def test_widths_are_positive() -> None:
    """Every shipped mechanism has rows, silicons and a width."""
    widths = shipped_widths()
    for width in (*widths.within.values(), widths.between):
        assert isinstance(width, Width)
        assert width.half_width > 0
        assert width.rows >= 10
