"""LLMCompass hardware JSON (PrincetonUniversity/LLMCompass, configs/*.json; Zhang et al., ISCA 2024).

Peaks follow its own arithmetic: cores x sublanes x array x multiply-adds a clock, cores x sublanes x vector width x
FLOPs a clock, pins x rate of a pin. One of its memory channels is one stack of ours.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Any

from archsim.hardware.importers.chip import (
    Stacks,
    add_cache,
    add_chip_head,
    add_head,
    add_matrix,
    add_memory,
    add_network,
    add_vector,
)
from archsim.hardware.importers.draft import Draft, Source

__all__ = ["NAME", "convert", "is_it"]

NAME = "LLMCompass hardware JSON"
_STACK = {
    "hbm2e": ("hbm2e-16gb", 8, 128),
    "hbm2": ("hbm2-8gb", 8, 128),
    "hbm3": ("hbm3-16gb", 16, 64),
    "hbm3e": ("hbm3e-24gb", 16, 64),
}
"""Protocol -> (bundled device, channels of a stack, bits of a channel)."""
_CHIPLET = ("device", "compute_chiplet")
_CORE = (*_CHIPLET, "core")
_IO = ("device", "io")


def is_it(content: dict[str, Any]) -> bool:
    """Return whether *content* is of this format."""
    device = content.get("device")
    return isinstance(device, dict) and "compute_chiplet" in device


def convert(source: Source) -> Draft:
    """Return the system in *source*."""
    draft = Draft(source)
    chips = source.whole("device_count")
    name = source.word("name")
    add_head(draft, name, chips, draft.stated("device_count"))
    _network(draft, source, chips)
    cores = source.whole("device", "compute_chiplet_count") * source.whole(*_CHIPLET, "core_count")
    clock = source.number("device", "frequency_Hz")
    memory = _memory(source)
    peak = memory.stacks * memory.channels * memory.bits * memory.pin_bits_per_s / 8
    staging = cores * source.number(*_CORE, "SRAM_KB") * 1024
    add_chip_head(draft, name, peak, (staging, draft.stated(*_CORE, "SRAM_KB", how=f"{cores} cores")))
    capacity = source.number("device", "memory", "total_capacity_GB") * 10**9
    add_memory(
        draft, memory, (capacity, draft.stated("device", "memory", "total_capacity_GB")),
        wiring=draft.stated(*_IO, "memory_channel_active_count", how="a channel is a stack"),
        rate=draft.stated(*_IO, "bandwidth_per_pin_bit"),
    )  # fmt: skip
    buffer = source.number(*_IO, "global_buffer_MB") * 2**20
    width = source.number(*_IO, "global_buffer_bandwidth_per_cycle_byte") * clock
    add_cache(draft, (buffer, draft.stated(*_IO, "global_buffer_MB")),
              (width, draft.stated(*_IO, "global_buffer_bandwidth_per_cycle_byte", how="x frequency")))  # fmt: skip
    _engines(draft, source, cores * source.whole(*_CORE, "sublane_count"), clock)
    return draft


def _network(draft: Draft, source: Source, chips: int) -> None:
    link = ("interconnect", "link")
    if chips == 1:
        add_network(draft, "none", (Fraction(1), ""), (Fraction(1), ""))
        return
    links = source.whole("interconnect", "link_count_per_device")
    rate = links * source.number(*link, "bandwidth_per_direction_byte")
    known = {"FC": ("full_mesh", chips - 1), "RING": ("ring", 2)}
    kind = source.word("interconnect", "topology")
    if kind.upper() not in known:
        raise source.problem(("interconnect", "topology"), kind, "FC or RING")
    topology, shared = known[kind.upper()]
    how = f"{links} links over {shared} neighbours"
    add_network(draft, topology, (rate / shared, draft.stated(*link, "bandwidth_per_direction_byte", how=how)),
                (source.number(*link, "latency_second"), draft.stated(*link, "latency_second")))  # fmt: skip
    source.optional(*link, "bandwidth_both_directions_byte")


def _memory(source: Source) -> Stacks:
    protocol = source.word("device", "memory_protocol")
    if protocol.casefold() not in _STACK:
        raise source.problem(("device", "memory_protocol"), protocol, f"one of {', '.join(_STACK)}")
    device, channels, bits = _STACK[protocol.casefold()]
    pins = source.whole(*_IO, "pin_count_per_channel")
    if pins != channels * bits:
        raise source.problem((*_IO, "pin_count_per_channel"), str(pins), f"{channels * bits}, the pins of a stack")
    return Stacks(device, source.whole(*_IO, "memory_channel_active_count"), channels, bits,
                  source.number(*_IO, "bandwidth_per_pin_bit"))  # fmt: skip


def _engines(draft: Draft, source: Source, lanes: int, clock: Fraction) -> None:
    array, vector = (*_CORE, "systolic_array"), (*_CORE, "vector_unit")
    height = source.whole(*array, "array_height")
    macs = source.whole(*array, "array_width") * height * source.number(*array, "mac_per_cycle")
    stated = source.word(*array, "data_type") or "fp16"
    rate, origin = 2 * macs * lanes * clock, draft.stated(*array, how="arrays x multiply-adds x frequency")
    rates = {dtype: (rate, origin if dtype in stated else f"assumption: as {stated}") for dtype in ("bf16", "fp16")}
    add_matrix(draft, rates, row_tile=(height, draft.stated(*array, "array_height")))
    flops = source.number(*vector, "vector_width") * source.number(*vector, "flop_per_cycle") * lanes * clock
    source.word(*vector, "data_type")
    add_vector(draft, flops, draft.stated(*vector, how="width x FLOPs a clock x frequency"))
