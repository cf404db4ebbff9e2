"""What a system costs to buy and emitted while it was made, part by part.

    a chip with a price      = price x stated
    a chip without           = (dies + memories + package) x markup, each a part of its own
    die                      = wafer / (dies of a wafer x yield)
    dies of a wafer          = pi d^2 / (4 A) - pi d / sqrt(2 A)            (squares of area A on a disc of diameter d)
    yield                    = exp(-A x defects)                            (Poisson)
    memory                   = (bytes x capacity + bytes/s x bandwidth) x yearly^(year of the study - year of the price)
    host, network            = watts of design power x host, injected bytes/s x network
    data center              = (watts of design power + host power) x PUE x datacenter

Silicon beyond a reticle is several equal dies. A part that lacks a figure is named absent.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache

from archsim.economics.ranges import Range
from archsim.economics.spec import Economics, MemoryPrices
from archsim.hardware.spec import MemorySpec, SystemSpec
from archsim.network.layouts import LAYOUTS

__all__ = [
    "CHIP",
    "DATACENTER",
    "Capital",
    "capital_of",
    "embodied_of",
    "injected_bytes_per_s",
    "memory_price",
    "yield_of",
]

DATACENTER = "datacenter"
"""The part that is paid off over the life of a building."""
CHIP = "chip"
"""The part of chips that are paid by their stated price."""
_HOST, _NETWORK = "host", "network"


@dataclass(frozen=True, slots=True)
class Capital:
    """Amounts of the whole system by part, USD or kg CO2e."""

    parts: dict[str, Range] = field(default_factory=dict)
    included: tuple[str, ...] = ()
    """Parts that are paid with another."""
    absent: tuple[str, ...] = ()
    """Parts that the system has and no source prices."""


def capital_of(spec: SystemSpec, economics: Economics) -> Capital:
    """Return the price of *spec* by part."""
    parts: dict[str, Range | None] = {}
    included: list[str] = []
    if spec.chip.price_usd is not None and economics.chip.basis == "price":
        price = float(spec.chip.price_usd * spec.chips)
        parts[CHIP] = economics.chip.stated.range.scaled(price)
        included = [*(name for name, _ in _chip_parts(spec, economics)), *spec.chip.price_includes]
    else:
        parts |= _chip_parts(spec, economics)
    for name, price_of in ((_HOST, _host), (_NETWORK, _network)):
        if name not in included:
            parts[name] = price_of(spec, economics)
    parts[DATACENTER] = _datacenter(spec, economics)
    return _sorted_out(parts, included)


def embodied_of(spec: SystemSpec, economics: Economics) -> Capital:
    """Return the kg CO2e that making *spec* emitted, by part; building and network have no figure."""
    figures, chip = economics.embodied, spec.chip
    parts: dict[str, Range | None] = {"chip.die": None}
    if chip.die_mm2 is not None:
        area_m2 = float(chip.die_mm2) / 1e6
        defects = economics.chip.defects.range
        each_m2 = area_m2 / _dies(area_m2, economics)
        yields = Range(*(yield_of(each_m2, per_m2) for per_m2 in defects))
        parts["chip.die"] = figures.die.range.scaled(area_m2 * spec.chips).over(yields)
    for name, memory in chip.memory.items():
        if memory.device.standard in economics.in_die:
            continue
        prices = economics.memory.get(memory.device.standard)
        kg = None if prices is None or prices.embodied is None else prices.embodied.range
        parts[f"chip.{name}"] = None if kg is None else kg.scaled(memory.capacity_bytes * spec.chips)
    parts["chip.package"] = figures.package.range.scaled(spec.chips)
    watts = _design_watts(spec)
    parts[_HOST] = None if watts is None else figures.host.range.scaled(watts)
    return _sorted_out(parts | {_NETWORK: None, DATACENTER: None}, [])


def _sorted_out(parts: dict[str, Range | None], included: list[str]) -> Capital:
    known = {name: value for name, value in sorted(parts.items()) if value is not None}
    return Capital(known, tuple(sorted(included)), tuple(sorted(name for name in parts if parts[name] is None)))


def _chip_parts(spec: SystemSpec, economics: Economics) -> Iterator[tuple[str, Range | None]]:
    """Yield the parts that all chips are built of, with the markup; None where one has no figure."""
    markup = economics.chip.markup.range.scaled(spec.chips)
    built = {"chip.die": _die(spec, economics)}
    for name, memory in spec.chip.memory.items():
        if memory.device.standard not in economics.in_die:
            prices = economics.memory.get(memory.device.standard)
            built[f"chip.{name}"] = None if prices is None else memory_price(memory, prices, year=economics.year)
    built["chip.package"] = _package(spec, economics)
    for name, cost in built.items():
        yield name, None if cost is None else cost.times(markup)


def _die(spec: SystemSpec, economics: Economics) -> Range | None:
    if spec.chip.die_mm2 is None:
        return None
    area_m2 = float(spec.chip.die_mm2) / 1e6
    dies = _dies(area_m2, economics)
    each_m2, diameter = area_m2 / dies, float(economics.chip.wafer_diameter)
    of_wafer = math.pi * diameter**2 / (4 * each_m2) - math.pi * diameter / math.sqrt(2 * each_m2)
    yields = Range(*(yield_of(each_m2, per_m2) for per_m2 in economics.chip.defects.range))
    return economics.chip.wafer.range.scaled(dies / of_wafer).over(yields)


def _dies(area_m2: float, economics: Economics) -> int:
    return math.ceil(area_m2 / float(economics.chip.reticle))


def yield_of(area_m2: float, defects_per_m2: float) -> float:
    """Return the share of dies of an area that have no defect (Poisson)."""
    return math.exp(-area_m2 * defects_per_m2)


def memory_price(memory: MemorySpec, prices: MemoryPrices, *, year: int) -> Range:
    """Return the USD of one chip's *memory* in a *year*."""
    parts = prices.capacity.range.scaled(memory.capacity_bytes)
    if prices.bandwidth is not None:
        more = prices.bandwidth.range.scaled(memory.peak_bytes_per_s)
        parts = Range(parts.low + more.low, parts.mid + more.mid, parts.high + more.high)
    return parts.scaled(float(prices.yearly) ** (year - prices.year))


def _package(spec: SystemSpec, economics: Economics) -> Range | None:
    chip = spec.chip
    area = chip.package_mm2
    if area is None:
        outside = [memory for memory in chip.memory.values() if memory.device.standard not in economics.in_die]
        feet = [memory.device.footprint_mm2 for memory in outside]
        if chip.die_mm2 is None or None in feet:
            return None
        area = chip.die_mm2 + sum(
            memory.stacks * foot for memory, foot in zip(outside, feet, strict=True) if foot is not None
        )
    return economics.chip.package.range.scaled(float(area) / 1e6)


def _design_watts(spec: SystemSpec) -> float | None:
    return None if spec.chip.tdp_watts is None else float(spec.chip.tdp_watts * spec.chips)


def _host(spec: SystemSpec, economics: Economics) -> Range | None:
    watts = _design_watts(spec)
    return None if watts is None else economics.system.host.range.scaled(watts)


def _network(spec: SystemSpec, economics: Economics) -> Range | None:
    return economics.system.network.range.scaled(injected_bytes_per_s(spec))


def _datacenter(spec: SystemSpec, economics: Economics) -> Range | None:
    watts = _design_watts(spec)
    if watts is None:
        return None
    drawn = economics.operation.pue.range.scaled(watts + float(spec.host_watts or 0))
    return economics.system.datacenter.range.times(drawn)


def injected_bytes_per_s(spec: SystemSpec) -> float:
    """Return the bytes per second that all chips together can send into their links."""
    network = spec.network
    if network.topology == "edges":
        return math.fsum(edge.link_bytes_per_s for edge in network.edges if edge.src.startswith("chip"))
    inner, outer = _ports(network.topology, spec.chips, network.shape)
    return float(inner * network.link_bytes_per_s + outer * (network.outer_bytes_per_s or network.link_bytes_per_s))


@lru_cache(maxsize=64)
def _ports(topology: str, chips: int, shape: tuple[int, ...]) -> tuple[int, int]:
    """Return the ends of inner and of outer wires that are chips."""
    counts = [0, 0]
    for wire in LAYOUTS[topology](chips, shape).wires:
        counts[min(wire.tier, 1)] += sum(end.startswith("chip") for end in (wire.a, wire.b))
    return counts[0], counts[1]
