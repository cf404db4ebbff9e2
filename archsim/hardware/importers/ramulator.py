"""Ramulator 2.1 export (CMU-SAFARI/ramulator2, `python -m ramulator export`), and the YAML of Ramulator 2.0.

Both hold a DRAM with a standard, an organisation and timings, as presets by name or as values in clocks. A preset
names a table that archsim has of its own for the standards it knows; values in clocks become the device's refresh and
latency.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Any

from archsim.dram.build import DeviceOptions, build_device
from archsim.dram.standards import STANDARDS
from archsim.hardware.importers.device import Figures, add_device
from archsim.hardware.importers.draft import Draft, Source, Stated

__all__ = ["NAME", "convert", "is_it"]

NAME = "Ramulator 2 YAML"
_SYSTEM = ("MemorySystem", "memory_system")
_WAYS = (("DRAM",), ("dram",), ("controller", "dram"), ("Controller", "DRAM"), ("controllers", "0", "dram"))


def is_it(content: dict[str, Any]) -> bool:
    """Return whether *content* is of this format."""
    return any(key in content for key in _SYSTEM)


def convert(source: Source) -> Draft:
    """Return the memory device in *source*."""
    draft = Draft(source)
    dram = _dram(source)
    standard = _standard(source, dram)
    timing = next((key for key in ("timing", "timing_ck", "timings") if source.table(*dram, key)), "timing")
    clocks = {name: (*dram, timing, name) for name in source.table(*dram, timing)}
    clock = _clock(source, clocks)
    known = _known(standard)
    figures = Figures(
        standard=standard,
        burst=known["burst"],
        page=known["page"],
        refresh_interval=_in_seconds(draft, source, clocks, ("nREFI",), clock) or known["refresh_interval"],
        refresh_cycle=_in_seconds(draft, source, clocks, ("nRFC", "nRFC1", "nRFCab"), clock) or known["refresh_cycle"],
        latency=_latency(draft, source, clocks, clock) or known["latency"],
    )
    for part in ("org", "timing"):
        if preset := source.word(*dram, part, "preset") or source.word(*dram, f"{part}_preset"):
            draft.note(f"{part} preset {preset}: archsim's own table of {standard} stands in for it")
    add_device(draft, source.file.rpartition("/")[2].rpartition(".")[0], figures)
    return draft


def _dram(source: Source) -> tuple[str, ...]:
    system = next(key for key in _SYSTEM if key in source.content)
    for way in _WAYS:
        if isinstance(source.at((system, *way)), dict):
            return (system, *way)
    raise source.problem((system,), "", "a table DRAM with the standard of the memory")


def _standard(source: Source, dram: tuple[str, ...]) -> str:
    for key in ("impl", "standard", "name", "type", "class"):
        word = source.word(*dram, key)
        plain = word.upper().replace("-", "")
        found = next((name for name in sorted(STANDARDS, key=len, reverse=True) if plain.startswith(name)), None)
        if found:
            return found
        if word:
            raise source.problem((*dram, key), word, f"one of {', '.join(STANDARDS)}")
    raise source.problem(dram, "", "the standard of the memory, as impl: HBM3")


def _clock(source: Source, clocks: dict[str, tuple[str, ...]]) -> Fraction | None:
    """Return the seconds of a clock, None where the file does not say."""
    for name in ("tCK_ps", "tCK"):
        if name in clocks:
            return source.number(*clocks[name]) / 10**12
    return None


def _in_seconds(
    draft: Draft, source: Source, clocks: dict[str, tuple[str, ...]], names: tuple[str, ...], clock: Fraction | None
) -> Stated | None:
    for name in names:
        if name in clocks and clock is not None and (found := source.optional(*clocks[name])) is not None:
            return found * clock, draft.stated(*clocks[name], how="clocks x tCK")
    return None


def _latency(draft: Draft, source: Source, clocks: dict[str, tuple[str, ...]], clock: Fraction | None) -> Stated | None:
    row = next((name for name in ("nRCDRD", "nRCD") if name in clocks), None)
    if row is None or clock is None or not {"nCL", "nBL"} <= set(clocks):
        return None
    together = sum(source.number(*clocks[name]) for name in (row, "nCL", "nBL"))
    return Fraction(together) * clock, draft.stated(*clocks[row], how="nRCD + nCL + nBL clocks")


def _known(standard: str) -> dict[str, Stated]:
    """Return what archsim's own table of *standard* says."""
    device = build_device(standard, DeviceOptions())
    origin = f"assumption: not in the file; archsim's table of {standard}"
    seconds = Fraction(1, 10**9)
    return {
        "burst": (Fraction(device.transaction_bytes), origin),
        "page": (Fraction(device.transaction_bytes * device.row_transactions), origin),
        "refresh_interval": (3900 * seconds, "assumption: not in the file; tREFI of JEDEC standards, 3.9 us"),
        "refresh_cycle": (350 * seconds, "assumption: not in the file; tRFC of a channel of 8 Gb"),
        "latency": (35 * seconds, "assumption: not in the file; tRCD + CL + burst of the class"),
    }
