"""Laws of energy: activity times cost, by part and phase; what has no figure is named and never zero."""

from __future__ import annotations

import math
from fractions import Fraction

import pytest

from archsim.errors import InputError
from archsim.hardware.library import load_system
from archsim.hardware.spec import SystemSpec
from archsim.metrics.energy import JoulesPer, Use, bill
from archsim.result import Energy, Result
from archsim.simulate import evaluate_step, run
from archsim.workload.model import load_model
from archsim.workload.trace import load_trace

MODEL = "llama-3.1-8b"


def step(system: SystemSpec, *, batch: int = 4, **choices: str) -> Result:
    """Return one decode iteration at a context of 1,000 tokens."""
    return evaluate_step(system, load_model(MODEL), batch=batch, context=1000, **choices)


def energy(result: Result) -> Energy:
    """Return the energy of *result*, which must have one."""
    assert result.energy is not None
    return result.energy


def test_a_bill_is_the_sum_of_amounts_times_costs() -> None:
    """10 bits at 2 J, 3 more at 2 J and 5 seconds at 1 to 4 J; an unknown part is named, an idle one is not."""
    costs = JoulesPer(2, 2, 2), JoulesPer(2, 1, 4)
    found = bill([
        Use("memory", 10, costs[0]), Use("memory", 3, costs[0]), Use("chip", 5, costs[1]), Use("link", 7, None),
        Use("host", 0, None),
    ])  # fmt: skip
    assert found.by_part == {"chip": 10, "memory": 26}
    assert (found.joules, found.joules_low, found.joules_high) == (36, 31, 46)
    assert found.absent == ("link",)


def test_memory_energy_is_the_bytes_of_the_ledger_times_picojoules() -> None:
    """Bytes booked as useful or moved, over peak x time, times 8 bits, times device and path figures."""
    result = step(load_system("h100-sxm8"))
    ledger = result.ledger[result.system.main_memory]
    moved = math.fsum(
        share for name, share in ledger.accounts.items() if name.startswith("useful") or name in ("overfetch", "moved")
    )
    bits = 8 * moved * ledger.peak_per_s * result.simulated_s
    parts = energy(result).by_part
    assert parts["chip.hbm.device"] == pytest.approx(bits * 3.9e-12, rel=1e-9)
    assert parts["chip.hbm.path"] == pytest.approx(bits * 8e-12, rel=1e-9)


def test_static_energy_is_power_times_time() -> None:
    """8 chips of 75 W idle and 91 W active, hosts of 2,300 W, over one iteration."""
    result = step(load_system("h100-sxm8"))
    parts, time_s = energy(result).by_part, result.simulated_s
    assert parts["chip.idle"] == pytest.approx(8 * 75 * time_s, rel=1e-9)
    assert parts["chip.active"] == pytest.approx(8 * 91 * time_s, rel=1e-9)
    assert parts["host"] == pytest.approx(2300 * time_s, rel=1e-9)


def test_arithmetic_costs_its_flops_whatever_the_tile() -> None:
    """A tile of 64 rows takes more time than one of 8 and no more energy: 7.5e9 weights are multiplied."""
    narrow, wide = (
        energy(step(load_system("h100-sxm8", [f"chip.engine.matrix.row_tile={rows}"]))).by_part["chip.matrix.bf16"]
        for rows in (8, 64)
    )
    assert wide == narrow > 2 * 7.5e9 * 4 * 0.67e-12


@pytest.mark.parametrize("parallel", ["tp=4,pp=2", "tp=4,dp=2"])
def test_flops_and_chips_count_once_however_they_are_spread(parallel: str) -> None:
    """Two stages or two replicas of four chips do the arithmetic of eight, and idle as eight do."""
    result = step(load_system("h100-sxm8"), parallelism=parallel)
    whole = step(load_system("h100-sxm8"), parallelism="tp=8")
    parts = energy(result).by_part
    assert parts["chip.matrix.bf16"] == pytest.approx(energy(whole).by_part["chip.matrix.bf16"], rel=0.02)
    assert parts["chip.idle"] == pytest.approx(8 * 75 * result.simulated_s, rel=1e-9)


def test_phases_and_hosts_add_up_to_the_run() -> None:
    """Prefill, decode and idle time of all chips, and hosts for the whole time, are the energy of a replay."""
    trace = load_trace("azure-conv", limit=8, seed=1)
    result = run(load_system("h100-sxm8"), load_model(MODEL), trace=trace)
    found = energy(result)
    assert set(found.phases) == {"decode", "prefill", "none"}
    spent = [*(phase.joules for phase in found.phases.values()), 2300 * result.simulated_s]
    assert math.fsum(spent) == pytest.approx(found.joules, rel=1e-9)
    assert found.average_watts == pytest.approx(found.joules / result.simulated_s, rel=1e-12)
    assert found.joules_per_output_token == pytest.approx(found.joules / result.tokens.output, rel=1e-12)
    assert found.phases["none"].chip_watts == pytest.approx(75, rel=1e-9)


def test_a_part_without_a_figure_is_absent_and_not_zero() -> None:
    """tpu-v6e has a figure for its memory and none for the rest: the sum is that of the memory, the rest is named."""
    found = energy(step(load_system("tpu-v6e-8")))
    assert set(found.by_part) == {"chip.hbm.device", "link"}
    assert {"chip.idle", "chip.matrix.bf16", "host"} <= set(found.absent)
    assert not set(found.absent) & set(found.by_part)


def test_ranges_bound_the_figure() -> None:
    """HBM3 at 3.9 to 7 pJ/bit: the upper end adds 3.1 pJ for each bit, the lower end is the figure."""
    found = energy(step(load_system("h100-sxm8")))
    extra = found.by_part["chip.hbm.device"] * (7 - 3.9) / 3.9
    assert found.joules_low == pytest.approx(found.joules, rel=1e-12)
    assert found.joules_high == pytest.approx(found.joules + extra, rel=1e-9)


def test_power_beyond_the_design_power_is_said() -> None:
    """A chip that idles at 650 W passes 700 W when it decodes."""
    assert energy(step(load_system("h100-sxm8"))).over_tdp == []
    hot = load_system("h100-sxm8", ["chip.energy.idle=650 W"])
    assert energy(step(hot)).over_tdp == ["decode"]


@pytest.mark.parametrize(
    ("override", "key"),
    [
        ("chip.memory.hbm.device.energy_high=1 pJ/bit", "energy_high"),
        ("chip.memory.hbm.device.energy_low=9 pJ/bit", "energy_low"),
    ],
)
def test_an_end_of_a_range_on_the_wrong_side_is_refused(override: str, key: str) -> None:
    """The figure lies between its ends."""
    with pytest.raises(InputError) as refused:
        load_system("h100-sxm8", [override])
    assert refused.value.problems[0].key.endswith(key)


def test_what_an_energy_is_stated_for_must_exist() -> None:
    """A path from a memory that the chip lacks, and a low end without a figure, are named with their keys."""
    spec = load_system("h100-sxm8")
    figures = spec.chip.energy
    assert figures is not None
    assert figures.path_pj_per_bit == {"hbm": Fraction(8)}
    with pytest.raises(ValueError, match=r"energy\.path\.lpddr"):
        spec.chip.model_validate(_tables(spec) | {"energy": {"path": {"lpddr": "3 pJ/bit"}}})
    with pytest.raises(ValueError, match=r"low\.idle"):
        spec.chip.model_validate(_tables(spec) | {"energy": {"low": {"idle": "3 W"}}})


def _tables(spec: SystemSpec) -> dict[str, object]:
    from archsim.hardware.fields import tables_of  # noqa: PLC0415

    return tables_of(spec.chip)


def test_what_units_near_the_memory_read_is_charged_once_and_at_their_figure() -> None:
    """Attention at the base die: the KV cache at 1.7 pJ/bit and not at the 3.9 + 8 of the way to the engines."""
    result = step(load_system("h100-sxm8-pnm", ["chip.near_memory.pnm.place=attention"]), batch=8)
    parts, ledger = energy(result).by_part, result.ledger
    read_s = ledger["chip0-7.hbm.array"].accounts["useful_kv_read"] * ledger["chip0-7.hbm.array"].peak_per_s
    assert parts["chip.pnm.array"] == pytest.approx(8 * read_s * result.simulated_s * 1.7e-12, rel=0.02)
    assert parts["chip.idle"] == pytest.approx(8 * 75 * result.simulated_s, rel=1e-9)
    plain = energy(step(load_system("h100-sxm8"), batch=8)).by_part
    assert parts["chip.hbm.device"] < plain["chip.hbm.device"]
