"""DRAMsim3 ini (umd-memsys/DRAMsim3, configs/*.ini; Li et al., CAL 2020): a memory device.

Timings come as clocks of tCK nanoseconds. Of them refresh and the latency of an idle bank become the device's own; the
rest belongs to the timing table of the standard, which archsim has of its own for the standards it knows.
"""

from __future__ import annotations

import configparser
from fractions import Fraction
from typing import Any

from archsim.errors import InputError, Problem
from archsim.hardware.importers.device import Figures, add_device
from archsim.hardware.importers.draft import Draft, Source

__all__ = ["NAME", "convert", "is_it", "read"]

NAME = "DRAMsim3 ini"
_STANDARDS = {"HBM2": "HBM2", "HBM": "HBM2", "GDDR6": "GDDR6", "DDR5": "DDR5", "LPDDR4": "LPDDR4X"}
"""Protocol -> the nearest standard with a timing table; another keeps its own name and has none."""


def read(text: str, file: str) -> dict[str, Any]:
    """Return the sections of an ini as tables. Raises `InputError` for anything else."""
    parser = configparser.ConfigParser(interpolation=None, strict=True)
    parser.optionxform = str  # type: ignore[assignment,method-assign] # keys such as tCK keep their case
    try:
        parser.read_string(text)
    except configparser.Error as error:
        raise InputError(Problem(file, "", "", f"an ini file ({str(error).splitlines()[0][:120]})")) from None
    return {section: dict(parser[section]) for section in parser.sections()}


def is_it(content: dict[str, Any]) -> bool:
    """Return whether *content* is of this format."""
    return "dram_structure" in content and "timing" in content


def convert(source: Source) -> Draft:
    """Return the memory device in *source*."""
    draft = Draft(source)
    clock = source.number("timing", "tCK") / 10**9
    protocol = source.word("dram_structure", "protocol").upper()
    standard = _STANDARDS.get(protocol, protocol)
    if not protocol:
        raise source.problem(("dram_structure", "protocol"), "", "the protocol, such as HBM or DDR4")
    width = source.whole("system", "bus_width")
    length = source.whole("dram_structure", "BL")
    width, length = (width // 2, length) if protocol.startswith("HBM") else (width, length)
    row = source.number("timing", "tRCDRD" if "tRCDRD" in source.table("timing") else "tRCD")
    latency = row + source.number("timing", "CL") + Fraction(length, 2)
    devices = source.whole("system", "bus_width") // source.whole("dram_structure", "device_width")
    columns = source.whole("dram_structure", "columns")
    page = max(1, devices) * columns * source.whole("dram_structure", "device_width") // 8
    if protocol.startswith("HBM"):
        page //= 2
        draft.note("dram_structure: a channel of HBM counts as two pseudo channels of half its width")
    if standard != protocol:
        draft.note(f"dram_structure.protocol: {protocol} stands as {standard}, the standard with a timing table")
    name = source.file.rpartition("/")[2].removesuffix(".ini")
    figures = Figures(
        standard=standard,
        burst=(Fraction(width * length, 8), draft.stated("dram_structure", "BL", how="x bus width")),
        page=(Fraction(page), draft.stated("dram_structure", "columns", how="x device width")),
        refresh_interval=(source.number("timing", "tREFI") * clock, draft.stated("timing", "tREFI")),
        refresh_cycle=(source.number("timing", "tRFC") * clock, draft.stated("timing", "tRFC")),
        latency=(latency * clock, draft.stated("timing", "CL", how="tRCD + CL + burst")),
    )
    add_device(draft, name, figures)
    return draft
