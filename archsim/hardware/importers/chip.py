"""What every imported system needs and no foreign file states: assumptions, each said to be one."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from archsim.hardware.importers.draft import Draft, Stated, plain_name

__all__ = [
    "Stacks",
    "add_cache",
    "add_chip_head",
    "add_head",
    "add_matrix",
    "add_memory",
    "add_network",
    "add_vector",
    "stacks_for",
]

_ROUND_TRIP_NS = 600
_GIGA = 10**9
_NOTHING: Stated = (Fraction(0), "assumption: not in the file; the capacity is taken as usable")


@dataclass(frozen=True, slots=True)
class Stacks:
    """Which bundled device a memory is made of, and how it is wired."""

    device: str
    stacks: int
    channels: int
    bits: int
    pin_bits_per_s: Fraction


_KNOWN = (("hbm2e-16gb", 8, 128, 460, 5), ("hbm3-16gb", 16, 64, 820, 6), ("hbm3e-24gb", 16, 64, 1200, 12))
"""(device, channels of a stack, bits of a channel, most GB/s of a stack, most stacks)."""


def stacks_for(bytes_per_s: Fraction) -> Stacks:
    """Return the oldest HBM whose stacks reach *bytes_per_s*; the newest where none does."""
    for device, channels, bits, fastest, most in _KNOWN:
        stacks = -(-bytes_per_s // (fastest * _GIGA))
        if stacks <= most or device == _KNOWN[-1][0]:
            return Stacks(device, stacks, channels, bits, bytes_per_s * 8 / (stacks * channels * bits))
    raise AssertionError("the newest memory serves any rate")


def add_head(draft: Draft, name: str, chips: int, origin: str) -> None:
    """Add the head of a system called *name*, as far as a file name allows it."""
    plain = plain_name(name)
    draft.text("", kind="system", name=plain, title=name[:120] or plain, status="hypothetical")
    draft.count("", "chips", chips, origin)
    draft.text("", runtime="trtllm-2025")
    draft.note("runtime: the file describes no software as archsim does; trtllm-2025 stands in")


def add_network(draft: Draft, topology: str, rate: Stated, latency: Stated) -> None:
    """Add a network of *topology* with (value, origin) of its links' rate and latency."""
    draft.text("network", topology=topology)
    if topology != "none":
        draft.quantity("network", "link_bandwidth", rate[0], "bytes/s", rate[1])
        draft.quantity("network", "link_latency", latency[0], "s", latency[1])


def add_chip_head(draft: Draft, name: str, peak_bytes_per_s: Fraction, staging: Stated) -> None:
    """Add name, bytes in flight and staging of the chip."""
    draft.text("chip", name=f"{name or 'imported'} chip"[:120], title=name[:120] or "imported chip", vendor="imported",
               status="hypothetical", main_memory="mem")  # fmt: skip
    window = peak_bytes_per_s * (_ROUND_TRIP_NS + 60) / _GIGA
    draft.quantity("chip", "bytes_in_flight", window, "bytes",
                   "assumption: not in the file; bandwidth x latency of 660 ns, so that it does not bind")  # fmt: skip
    draft.quantity("chip", "staging", staging[0], "bytes", staging[1])


def add_memory(
    draft: Draft, memory: Stacks, capacity: Stated, *, wiring: str, rate: str, reserved: Stated = _NOTHING
) -> None:
    """Add the main memory with (value, origin) of its whole capacity, and the origins of *wiring* and *rate*."""
    table = "chip.memory.mem"
    draft.text(table, device=memory.device)
    draft.count(table, "stacks", memory.stacks, wiring)
    draft.count(table, "channels_per_stack", memory.channels, wiring)
    draft.count(table, "channel_bits", memory.bits, wiring)
    draft.quantity(table, "pin_rate", _whole_bytes(memory), "bits/s", rate)
    draft.quantity(table, "stack_capacity", capacity[0] / memory.stacks, "bytes", capacity[1])
    draft.quantity(table, "reserved", reserved[0], "bytes", reserved[1])
    for key, value, dimension, why in (
        ("interleave", Fraction(4096), "bytes", "one visit stays inside an open row"),
        ("round_trip", Fraction(_ROUND_TRIP_NS, _GIGA), "s", "as H100"),
        ("framework_share", Fraction(1, 10), "share", "vLLM's default gpu_memory_utilization of 0.9"),
    ):
        draft.quantity(table, key, value, dimension, f"assumption: not in the file; {why}")


def _whole_bytes(memory: Stacks) -> Fraction:
    """Return the pin rate rounded down so that a channel moves whole bytes per second."""
    return Fraction(memory.pin_bits_per_s.__floor__() // 8 * 8)


def add_cache(draft: Draft, capacity: Stated, rate: Stated) -> None:
    """Add the cache with (value, origin) of both figures."""
    draft.quantity("chip.cache.l2", "capacity", capacity[0], "bytes", capacity[1])
    draft.quantity("chip.cache.l2", "bandwidth", rate[0], "bytes/s", rate[1])


def add_matrix(draft: Draft, rates: dict[str, Stated], *, row_tile: tuple[int, str]) -> None:
    """Add the matrix engine with type -> (FLOP/s, origin)."""
    draft.count("chip.engine.matrix", "row_tile", *row_tile)
    for dtype, (rate, origin) in rates.items():
        draft.quantity("chip.engine.matrix.rate", dtype, rate, "flop/s", origin)


def add_vector(draft: Draft, rate: Fraction, origin: str) -> None:
    """Add the vector engine, whose fp32 rate is *rate*."""
    draft.count("chip.engine.vector", "row_tile", 1, "source: vector units take one row at a time by construction")
    for dtype in ("fp32", "bf16"):
        draft.quantity("chip.engine.vector.rate", dtype, rate, "flop/s", origin)
