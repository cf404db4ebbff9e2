"""What each part of a system costs in joules, read off its specs: by bit, by FLOP, by second.

Names of parts are those of results: `chip.hbm.device` (the memory itself), `chip.hbm.path` (from its pins to the
engines), `chip.l2`, `chip.matrix.bf16`, `chip.vector`, `chip.pnm.array` and `chip.pnm` (what near-memory units read,
and their arithmetic), `chip.idle`, `chip.active`, `link`, `outer_link`, `host`. A part without a figure maps to None.
"""

from __future__ import annotations

from fractions import Fraction

from archsim.hardware.energy_spec import EnergyFigures
from archsim.hardware.memory_spec import MemoryDeviceSpec
from archsim.hardware.spec import ChipSpec, SystemSpec
from archsim.metrics.energy import JoulesPer

__all__ = ["Costs", "energy_costs", "joules_per_bit", "joules_per_second"]

Costs = dict[str, JoulesPer | None]
"""Part -> what it costs; None where it has no figure."""
_PICO = 10**12


def energy_costs(spec: SystemSpec) -> Costs:
    """Return part -> joules per bit, FLOP or second for every part that *spec* may use."""
    network = spec.network
    outer = network.outer_pj_per_bit or network.link_pj_per_bit
    return {
        **_chip_costs(spec.chip),
        "link": _cost(network.link_pj_per_bit),
        "outer_link": _cost(outer),
        "host": _cost(spec.host_watts, per=1),
    }


def joules_per_bit(pj_per_bit: Fraction | None) -> JoulesPer | None:
    """Return what a bit costs at that figure; None where there is none."""
    return _cost(pj_per_bit)


def joules_per_second(watts: Fraction) -> JoulesPer | None:
    """Return what a second costs at that power."""
    return _cost(watts, per=1)


def _chip_costs(chip: ChipSpec) -> Costs:
    middle = chip.energy or EnergyFigures()
    ends = (chip.energy.low, chip.energy.high) if chip.energy else (None, None)
    low, high = (figures or EnergyFigures() for figures in ends)
    costs: Costs = {
        "chip.idle": _cost(middle.idle_watts, low.idle_watts, high.idle_watts, per=1),
        "chip.active": _cost(middle.active_watts, low.active_watts, high.active_watts, per=1),
        "chip.vector": _cost(middle.vector_pj_per_flop, low.vector_pj_per_flop, high.vector_pj_per_flop),
    }
    for name, memory in chip.memory.items():
        costs[f"chip.{name}.device"] = _device_cost(memory.device)
        costs[f"chip.{name}.path"] = _cost(*(figures.path_pj_per_bit.get(name) for figures in (middle, low, high)))
    for name in chip.cache:
        costs[f"chip.{name}"] = _cost(*(figures.cache_pj_per_bit.get(name) for figures in (middle, low, high)))
    for name, unit in chip.near_memory.items():
        costs[f"chip.{name}.array"] = _cost(unit.pj_per_bit)
        costs[f"chip.{name}"] = _cost(unit.pj_per_flop)
    for dtype in chip.engine["matrix"].flop_per_s:
        found = (figures.matrix_pj_per_flop.get(dtype) for figures in (middle, low, high))
        costs[f"chip.matrix.{dtype}"] = _cost(*found)
    return costs


def _device_cost(device: MemoryDeviceSpec) -> JoulesPer | None:
    return _cost(device.pj_per_bit, device.low_pj_per_bit, device.high_pj_per_bit)


def _cost(
    middle: Fraction | None, low: Fraction | None = None, high: Fraction | None = None, *, per: int = _PICO
) -> JoulesPer | None:
    """Return the cost with its ends, those that are not given at the middle; figures count *per* of them a joule."""
    if middle is None:
        return None
    figures = (middle, middle if low is None else low, middle if high is None else high)
    return JoulesPer(*(float(figure / per) for figure in figures))
