"""Parts of machines beyond memory and engines: vias, heat, decompression, full pipelines."""

from __future__ import annotations

import math
import re

import pytest

from archsim.errors import InputError
from archsim.hardware.library import load_system
from archsim.hardware.spec import SystemSpec
from archsim.hardware.system import System
from archsim.result import Result
from archsim.simulate import evaluate_step
from archsim.workload.model import load_model

LLAMA = load_model("llama-3.1-8b")
NAME = "h100-sxm8"


def h100(*overrides: str) -> SystemSpec:
    """Return eight H100 with *overrides*."""
    return load_system(NAME, overrides)


def step(system: SystemSpec, batch: int) -> Result:
    """Return one decode step of llama-3.1-8b."""
    return evaluate_step(system, LLAMA, batch=batch, context=500, precision="w8a16kv16")


def tpot(result: Result) -> float:
    """Return the time of an iteration."""
    mean = result.latency_s.tpot.mean
    assert mean is not None
    return mean


VIAS = ("chip.memory.hbm.vias.area=10 mm2", "chip.memory.hbm.vias.data_share=50 %")


def test_vias_carry_area_over_pitch_squared_at_the_pin_rate() -> None:
    """10 mm2 at 40 um are 6,250 vias, 3,125 of them data: three fifths of the H100's 5,120 pins."""
    plain, wide = h100().chip.memory["hbm"], h100(*VIAS, "vias.pitch=10 um").chip.memory["hbm"]
    narrow = h100(*VIAS, "vias.pitch=40 um").chip.memory["hbm"]
    assert narrow.vias is not None
    assert narrow.vias.bits == 3125
    assert narrow.peak_bytes_per_s == 3125 * narrow.pin_bits_per_s // 8
    assert wide.peak_bytes_per_s == plain.peak_bytes_per_s


def test_vias_that_carry_nothing_are_refused() -> None:
    """A pitch wider than the area leaves no via."""
    with pytest.raises(InputError, match=r"vias\.pitch: got '9000 um'"):
        h100(*VIAS, "vias.pitch=9 mm")


def test_heat_lowers_what_is_drawn_beyond_idle() -> None:
    """At 0.5 W/mm2 the H100's 814 mm2 give off 407 W: of 600 W above idle, 307 are left, and the clock with them."""
    heat = ("energy.idle=100 W", "thermal.limit=0.5 W/mm2")
    hot, cool = System(h100()), System(h100(*heat))
    share = (0.5 * 814 - 100) / (700 - 100)
    assert cool.sustained_matrix_rate("fp8") == pytest.approx(hot.matrix_rate("fp8") * share, rel=1e-9)
    assert cool.vector_rate == pytest.approx(hot.vector_rate * share, rel=1e-9)
    assert System(h100("energy.idle=100 W", "thermal.limit=2 W/mm2")).vector_rate == hot.vector_rate
    assert tpot(step(h100(*heat), 512)) > tpot(step(h100(), 512))


HEAT = [
    (("energy.idle=100 W", "thermal.limit=0.1 W/mm2"), r"thermal\.limit: got '0\.1 W/mm2.*idle power, 100 W over 814"),
    (("chip=tpu-v6e", "thermal.limit=0.1 W/mm2"), r"tdp: expected this key"),
]


@pytest.mark.parametrize(("overrides", "message"), HEAT)
def test_a_heat_limit_below_idle_is_an_error_by_name(overrides: tuple[str, ...], message: str) -> None:
    """So is one without the figures that it is compared with."""
    with pytest.raises(InputError) as caught:
        h100(*overrides)
    assert re.search(message, str(caught.value)), str(caught.value)


def test_packed_weights_take_fewer_bytes_and_unpack_at_a_capped_rate() -> None:
    """Packed 3 to 2: two thirds of the weight bytes in HBM; no iteration is faster than the engine unpacks."""
    plain = step(h100(), 1)
    packed = step(h100("decompression.ratio=150 %", "decompression.rate=20 TB/s"), 1)
    scope = "chip0-7.hbm"

    def weights(result: Result) -> float:
        return result.ledger[scope].accounts["useful_weights"] * result.ledger[scope].peak_per_s * result.simulated_s

    assert weights(packed) == pytest.approx(weights(plain) / 1.5, rel=1e-4)
    assert packed.model.weight_bytes == pytest.approx(plain.model.weight_bytes / 1.5, rel=1e-6)
    assert tpot(packed) < tpot(plain)
    rate = 0.2e12
    slow = step(h100("decompression.ratio=150 %", f"decompression.rate={rate / 1e12} TB/s"), 1)
    unpacked = slow.ledger["chip0-7.decompression"]
    assert unpacked.peak_per_s == 8 * rate
    assert weights(plain) / (8 * rate) < tpot(slow) < 2 * weights(plain) / (8 * rate)
    assert math.fsum(unpacked.accounts.values()) == pytest.approx(1.0, abs=1e-9)
    assert "decompression" not in "".join(plain.ledger)


def test_a_ratio_below_one_is_refused() -> None:
    """What is packed into more bytes is a mistake."""
    with pytest.raises(InputError, match=r"decompression\.ratio: got '50 %'"):
        h100("decompression.ratio=50 %", "decompression.rate=1 TB/s")


def test_a_runtime_s_pipeline_holds_where_nobody_names_one() -> None:
    """Static dataflow keeps its stages full: as `pipeline=continuous`, and unlike `pipeline=drained`."""
    system = h100("runtime=static-dataflow")
    ways = "tp=2,pp=4"
    own, continuous, drained = (
        tpot(evaluate_step(system, LLAMA, batch=8, context=300, precision="w8a16kv16", parallelism=ways + word))
        for word in ("", ",pipeline=continuous", ",pipeline=drained")
    )
    assert own == continuous < drained
    with pytest.raises(InputError, match=r"runtime\.pipeline: got 'continous'.*did you mean 'continuous'"):
        step(h100("runtime=static-dataflow", "runtime.pipeline=continous"), 1)


def test_a_power_cap_takes_arithmetic_in_proportion_to_power_beyond_idle() -> None:
    """H100 draws 700 W by design and 75 W idle: 387.5 W leave half of what is kept up; reads keep their pace."""
    free, capped = System(h100()), System(h100("chip.power_cap=387.5 W"))
    for dtype in ("bf16", "fp8"):
        assert capped.sustained_matrix_rate(dtype) == free.sustained_matrix_rate(dtype) // 2
    assert capped.vector_rate == free.vector_rate // 2
    assert tpot(step(h100("chip.power_cap=387.5 W"), 1)) < 1.02 * tpot(step(h100(), 1))


def test_a_cap_that_idling_exceeds_is_refused() -> None:
    """And one above the design power, which caps nothing."""
    for cap in ("75 W", "701 W"):
        with pytest.raises(InputError, match=r"power_cap.*more than energy.idle \(75 W\), at most tdp"):
            h100(f"chip.power_cap={cap}")


def test_a_clock_state_scales_engines_and_caches() -> None:
    """At half the clock the peaks are halves, and what power sustained above that is no more."""
    free, slow = System(h100()), System(h100("chip.clock=50 %"))
    assert slow.vector_rate == free.vector_rate // 2
    assert slow.sustained_matrix_rate("bf16") == free.matrix_rate("bf16") // 2
    assert slow.levels["l2"].peak_bytes_per_s == free.levels["l2"].peak_bytes_per_s // 2


def test_far_partitions_bound_a_cache() -> None:
    """Of two partitions half of all lines are far: 2 TB/s from there are 4 TB/s in all; the own rate bounds, too."""
    l2 = ("chip.cache.l2.partitions=2",)
    assert System(h100(*l2, "chip.cache.l2.far_bandwidth=2 TB/s")).levels["l2"].peak_bytes_per_s == 4 * 10**12
    assert System(h100(*l2, "chip.cache.l2.far_bandwidth=9 TB/s")).levels["l2"].peak_bytes_per_s == 5.5 * 10**12
    with pytest.raises(InputError, match="partitions and far_bandwidth together"):
        h100(*l2)
