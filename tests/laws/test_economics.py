"""What tokens cost and emit: sums over parts, what each figure moves, and what is refused."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from archsim.economics.assess import assessed
from archsim.economics.capital import capital_of, embodied_of, injected_bytes_per_s, memory_price, yield_of
from archsim.economics.ranges import Range
from archsim.economics.spec import Economics, load_economics
from archsim.errors import InputError
from archsim.files import bundled_path
from archsim.hardware.library import load_system, system_names
from archsim.result import Bounds, Carbon, Cost, Result
from archsim.simulate import evaluate_step, load_model

FILE = bundled_path("hwconfigs") / "economics" / "default.toml"
SECONDS_OF_YEAR = 365.25 * 86400
H100 = load_system("h100-sxm8")
DEFAULT = load_economics()


@pytest.fixture(scope="module")
def step() -> Result:
    """One decode step of a priced system."""
    return evaluate_step(H100, load_model("llama-3.1-8b"), batch=8, context=1000)


def changed(tmp_path: Path, *changes: tuple[str, str]) -> Economics:
    """Return the default prices with every (old, new) text of *changes* replaced."""
    text = FILE.read_text("utf-8")
    for old, new in changes:
        assert text.count(old) >= 1, old
        text = text.replace(old, new)
    path = tmp_path / "prices.toml"
    path.write_text(text, "utf-8")
    return load_economics(str(path))


def cost_of(result: Result, economics: Economics = DEFAULT) -> Cost:
    found = assessed(result, H100, economics).cost
    assert found is not None
    return found


def carbon_of(result: Result, economics: Economics = DEFAULT) -> Carbon:
    found = assessed(result, H100, economics).carbon
    assert found is not None
    return found


def test_a_run_says_what_the_default_file_says(step: Result) -> None:
    """The chain fills cost and carbon as the function alone does."""
    assert step.cost == cost_of(step)
    assert step.carbon == carbon_of(step)


def test_cost_is_the_sum_of_its_parts(step: Result) -> None:
    """End by end, exactly; emissions too."""
    cost, carbon = cost_of(step), carbon_of(step)
    for end in ("low", "mid", "high"):
        suffix = "" if end == "mid" else f"_{end}"
        parts = math.fsum(getattr(share, end) for share in cost.by_part.values())
        assert parts == getattr(cost, f"usd_per_million_output_tokens{suffix}")
        grams = math.fsum(getattr(share, end) for share in carbon.by_part.values())
        assert grams == pytest.approx(getattr(carbon, f"g_co2e_per_million_output_tokens{suffix}"), rel=1e-15)


def test_a_chip_is_paid_off_by_its_tokens(step: Result) -> None:
    """8 x 30,000 USD over 5 years, half of each day, at the rate of the run."""
    rate = step.throughput.output_tokens_per_s
    assert rate is not None
    expected = 1e6 * 8 * 30_000 / (5 * SECONDS_OF_YEAR * 0.5 * rate)
    assert cost_of(step).by_part["chip"].mid == pytest.approx(expected, rel=1e-12)


def test_energy_costs_joules_times_pue_times_price(step: Result) -> None:
    """At work: J/token x 1.3 x 0.081 USD/kWh. Idle: the power of idle chips and hosts for as long as they worked."""
    assert step.energy is not None
    joules, rate = step.energy.joules_per_output_token, step.throughput.output_tokens_per_s
    assert joules is not None
    assert rate is not None
    usd_per_joule = 1.3 * 0.081 / 3.6e6
    cost = cost_of(step)
    assert cost.by_part["energy"].mid == pytest.approx(1e6 * joules * usd_per_joule, rel=1e-12)
    idle = (8 * 75 + 2300) * (1 - 0.5) / (0.5 * rate)
    assert cost.by_part["energy.idle_hours"].mid == pytest.approx(1e6 * idle * usd_per_joule, rel=1e-12)


def test_a_doubled_energy_price_doubles_the_energy_alone(step: Result, tmp_path: Path) -> None:
    """Every other part, and the carbon, stay what they were."""
    us = 'energy = { low = "0.059 USD/kWh", mid = "0.081 USD/kWh", high = "0.186 USD/kWh" }'
    twice = 'energy = { low = "0.118 USD/kWh", mid = "0.162 USD/kWh", high = "0.372 USD/kWh" }'
    dear = changed(tmp_path, (us, twice))
    before, after = cost_of(step).by_part, cost_of(step, dear).by_part
    for part in before:
        factor = 2 if part.startswith("energy") else 1
        assert after[part].mid == pytest.approx(factor * before[part].mid, rel=1e-12)
    assert carbon_of(step, dear) == carbon_of(step)


def test_the_grid_scales_operational_carbon_alone(step: Result, tmp_path: Path) -> None:
    """Half the g/kWh is half of the operational part; what was emitted in making is emitted."""
    us = 'grid = { low = "300 g/kWh", mid = "380 g/kWh", high = "440 g/kWh" }'
    half = 'grid = { low = "150 g/kWh", mid = "190 g/kWh", high = "220 g/kWh" }'
    clean = changed(tmp_path, (us, half))
    before, after = carbon_of(step), carbon_of(step, clean)
    operational = before.operational_g_per_million_output_tokens.mid
    assert after.operational_g_per_million_output_tokens.mid == pytest.approx(operational / 2, rel=1e-12)
    assert after.embodied_g_per_million_output_tokens == before.embodied_g_per_million_output_tokens
    assert cost_of(step, clean).usd_per_million_output_tokens == cost_of(step).usd_per_million_output_tokens


@settings(deadline=None, derandomize=True, database=None, max_examples=40)
@given(st.integers(1, 100), st.integers(1, 100))
def test_more_use_never_costs_more_a_token(first: int, second: int) -> None:
    """Of the capital and of the idle hours; energy at work does not depend on it."""
    result = evaluate_here()
    less, more = sorted((first, second))
    costs = [cost_of(result, with_use(share)).by_part for share in (less, more)]
    assert all(costs[1][part].mid <= costs[0][part].mid for part in costs[0])
    assert costs[1]["energy"] == costs[0]["energy"]


_STEPS: dict[str, Result] = {}


def evaluate_here() -> Result:
    if "step" not in _STEPS:
        _STEPS["step"] = evaluate_step(H100, load_model("llama-3.1-8b"), batch=8, context=1000)
    return _STEPS["step"]


def with_use(percent: int) -> Economics:
    use = DEFAULT.operation.utilization
    ends: Any = type(use)
    even = ends(low=f"{percent} %", mid=f"{percent} %", high=f"{percent} %")
    return DEFAULT.model_copy(update={"operation": DEFAULT.operation.model_copy(update={"utilization": even})})


@pytest.mark.parametrize("name", system_names())
def test_ends_are_in_order_and_nothing_unknown_is_zero(name: str) -> None:
    """Of every bundled system: low <= mid <= high, and a part has a figure or is absent, never both."""
    system = load_system(name)
    for basis in ("price", "parts"):
        economics = load_economics(basis=basis)
        for capital in (capital_of(system, economics), embodied_of(system, economics)):
            assert all(value.low <= value.mid <= value.high for value in capital.parts.values())
            assert not {*capital.parts} & {*capital.absent, *capital.included}
            zero = {part for part, value in capital.parts.items() if not value.high}
            assert zero <= ({"network"} if system.chips == 1 else set())


def test_every_bundled_memory_has_a_price() -> None:
    """A standard that no table prices would make its systems' costs lower bounds unnoticed."""
    used = {memory.device.standard for name in system_names() for memory in load_system(name).chip.memory.values()}
    assert used <= {*DEFAULT.memory, *DEFAULT.in_die, "CONSTANT"}


def test_a_die_pays_for_the_dies_that_fail() -> None:
    """H100: 814 mm2 on a wafer of 300 mm at 0.1 defects a cm2, times the markup of 333 %."""
    parts = load_economics(basis="parts")
    area, diameter = 814.0, 300.0
    of_wafer = math.pi * diameter**2 / (4 * area) - math.pi * diameter / math.sqrt(2 * area)
    expected = 8 * 3.33 * 16_988 / (of_wafer * math.exp(-8.14 * 0.1))
    assert capital_of(H100, parts).parts["chip.die"].mid == pytest.approx(expected, rel=1e-12)
    assert yield_of(814e-6, 1000.0) == pytest.approx(math.exp(-0.814))


def test_the_parts_of_an_h100_come_near_the_published_estimate() -> None:
    """Raymond James put its parts at 3,320 USD; ours lie within a third below, memory and package included."""
    parts = capital_of(H100, load_economics(basis="parts")).parts
    built = math.fsum(value.mid for part, value in parts.items() if part.startswith("chip.")) / 8 / 3.33
    assert 3320 * 2 / 3 < built < 3320


def test_memory_follows_its_trend() -> None:
    """HBM3 of 80 GiB and 3.35 TB/s: two parts, 1.35 times dearer two years later, as the trend was published."""
    memory, prices = H100.chip.memory["hbm"], DEFAULT.memory["HBM3"]
    now, later = (memory_price(memory, prices, year=year).mid for year in (2025, 2027))
    assert now == pytest.approx(80 * 2**30 * 10e-9 + memory.peak_bytes_per_s * 0.1e-9, rel=1e-12)
    assert later / now == pytest.approx(1.35, rel=1e-3)


def test_injected_bytes_count_a_chips_ports() -> None:
    """A switch has one wire a chip; a ring of a torus has two ends a chip in each dimension."""
    assert injected_bytes_per_s(H100) == 8 * 450e9
    torus = load_system("tpu-v4-64")
    assert injected_bytes_per_s(torus) == 64 * 6 * torus.network.link_bytes_per_s


def test_no_tokens_have_no_cost(step: Result) -> None:
    """A run that answers nothing is not cheap."""
    silent = step.model_copy(update={"throughput": step.throughput.model_copy(update={"output_tokens_per_s": None})})
    assert assessed(silent, H100, DEFAULT).cost is None
    assert assessed(silent, H100, DEFAULT).carbon is None


def test_unknown_energy_is_absent_and_not_free(step: Result) -> None:
    """Cost and carbon name it and keep the rest."""
    found = assessed(step.model_copy(update={"energy": None}), H100, DEFAULT)
    assert found.cost is not None
    assert found.carbon is not None
    assert "energy" in found.cost.absent
    assert "energy" in found.carbon.absent
    assert "energy" not in found.cost.by_part


def test_all_problems_of_a_file_are_told_at_once(tmp_path: Path) -> None:
    """A negative price, an unknown region, a missing key, ends out of order: each with its file and key."""
    changes = (
        ('region = "us"', 'region = "mars"'),
        ('wafer = { low = "9346 USD"', 'wafer = { low = "-9346 USD"'),
        ("queries_per_day = 10", "queries = 10"),
        ('lifetime = { low = "4 years", mid', 'lifetime = { low = "9 years", mid'),
    )
    with pytest.raises(InputError) as caught:
        changed(tmp_path, *changes)
    keys = {problem.key for problem in caught.value.problems}
    assert {"chip.wafer.low", "user.queries_per_day", "user.queries", "operation.lifetime.low", "region"} <= keys
    assert all(problem.file.endswith("prices.toml") for problem in caught.value.problems)


def test_a_region_that_no_table_describes_is_refused() -> None:
    """The known ones are named."""
    with pytest.raises(InputError, match=r"--region: .*'mars'.*france"):
        load_economics(region="mars")


def test_more_than_the_whole_day_is_refused(tmp_path: Path) -> None:
    """A share of the day is at most all of it; a facility draws at least what its machines do."""
    with pytest.raises(InputError, match=r"operation\.utilization\.high"):
        changed(tmp_path, ('high = "70 %"', 'high = "170 %"'))
    with pytest.raises(InputError, match=r"operation\.pue\.low"):
        changed(tmp_path, ('low = "109 %"', 'low = "10 %"'))


def test_a_trend_that_leads_beyond_all_prices_is_refused(tmp_path: Path) -> None:
    """A price that grows for eighteen million years is no number, nor one that grows a millionfold a year."""
    with pytest.raises(InputError, match=r": year: .*2100"):
        changed(tmp_path, ("\nyear = 2025", "\nyear = 18663672"))
    with pytest.raises(InputError, match=r"memory\.\w+\.yearly: .*10"):
        changed(tmp_path, ('yearly = "116.2 %"', 'yearly = "100000000 %"'))


def test_bounds_are_what_a_result_keeps() -> None:
    """A range and its row say the same."""
    assert tuple(Range(1.0, 2.0, 3.0)) == tuple(Bounds(low=1, mid=2, high=3).model_dump().values())
