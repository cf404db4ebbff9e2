"""What a system consists of, as rows: every part with its number, capacity and peak, read off the spec.

The rows feed tables and drawings; the live parts of a simulation are made elsewhere.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from archsim.hardware.spec import ChipSpec, Dtype, EngineSpec, SystemSpec
from archsim.network.layouts import LAYOUTS

__all__ = ["Part", "headline_dtype", "main_memory_of", "parts_of"]


class Part(NamedTuple):
    """One kind of part of a system."""

    scope: str
    """Scope in ledgers with the chip's number left out: `chip.hbm`, `network`."""
    kind: str
    """`memory`, `cache`, `matrix engine`, `vector engine` or `links`."""
    number: int
    """Parts of this kind in the whole system; a memory counts once a chip."""
    channels: int | None
    """Channels of one, for a memory."""
    capacity_bytes: int | None
    """Bytes of one."""
    usable_bytes: int | None
    """Bytes of one that are left for the model, for a memory."""
    peak_per_s: int
    """Peak of one."""
    unit: str
    """`B/s`, or `FLOP/s` with its element type."""
    note: str
    """What it is made of."""


def parts_of(spec: SystemSpec) -> list[Part]:
    """Return the parts of *spec*: memories, caches and engines of its chip, then the links."""
    return [*_memories(spec), *_caches(spec), *_engines(spec), *_links(spec)]


def main_memory_of(chip: ChipSpec) -> str:
    """Return the standard of the chip's main memory, such as `HBM3`."""
    return chip.memory[chip.main_memory].device.standard


def headline_dtype(engine: EngineSpec) -> Dtype:
    """Return the element type that stands for the engine: bf16, else fp16, else the first it has."""
    preferred: tuple[Dtype, ...] = ("bf16", "fp16", *engine.flop_per_s)
    return next(dtype for dtype in preferred if dtype in engine.flop_per_s)


def _memories(spec: SystemSpec) -> Iterator[Part]:
    for name, memory in spec.chip.memory.items():
        note = (
            f"{memory.device.standard}, {memory.stacks} stacks x {memory.channels_per_stack} channels x "
            f"{memory.channel_bits} bits"
        )
        yield Part(
            f"chip.{name}",
            "memory",
            spec.chips,
            memory.channels,
            memory.capacity_bytes,
            memory.usable_bytes,
            memory.peak_bytes_per_s,
            "B/s",
            note,
        )


def _caches(spec: SystemSpec) -> Iterator[Part]:
    for name, cache in spec.chip.cache.items():
        yield Part(f"chip.{name}", "cache", spec.chips, None, cache.capacity_bytes, None, cache.bytes_per_s, "B/s", "")
    if (unpacks := spec.chip.decompression) is not None:
        note = f"weights packed {float(unpacks.ratio):g} to 1"
        yield Part(
            "chip.decompression", "decompression", spec.chips, None, None, None, unpacks.bytes_per_s, "B/s", note
        )


def _engines(spec: SystemSpec) -> Iterator[Part]:
    for name, engine in spec.chip.engine.items():
        for dtype, flop_per_s in engine.flop_per_s.items():
            yield Part(
                f"chip.{name}", f"{name} engine", spec.chips, None, None, None, flop_per_s, f"FLOP/s {dtype}", ""
            )


def _links(spec: SystemSpec) -> Iterator[Part]:
    network = spec.network
    if network.topology == "none":
        return
    wires = LAYOUTS[network.topology](spec.chips, network.shape).wires
    note = network.topology.replace("_", " ") + (" " + " x ".join(map(str, network.shape)) if network.shape else "")
    yield Part(
        "link", "links", 2 * len(wires), None, None, None, network.link_bytes_per_s, "B/s", f"{note}, one direction"
    )
