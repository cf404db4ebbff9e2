"""What a user may want of a memory beyond its pattern, and which kinds of memory know it.

Data alone: `memory_question` asks. A setting that a kind of memory does not have is refused, never ignored.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from fractions import Fraction

from archsim.dram.standards import Timing
from archsim.errors import InputError, Problem

__all__ = ["OF_DRAM", "OF_FLASH", "OF_SRAM", "Settings"]

OF_DRAM = (
    "profile", "map_text", "queue", "refresh", "standard", "timing_set", "timings", "pin_bits_per_s", "density_gbit",
    "dies", "total_bytes", "hot", "write_share", "rows", "ecc",
)  # fmt: skip
"""Settings by kind of memory; those in no list are of all kinds."""
OF_FLASH = ("buffer_bytes", "planes", "write_bytes_per_s", "force_writes", "page_bytes")
OF_SRAM = ("banks", "ports")


_RENAMED = {
    "map_text": "map", "timing_set": "timings", "timings": "timing", "pin_bits_per_s": "pin-rate",
    "density_gbit": "density", "interleave_bytes": "interleave", "total_bytes": "bytes", "write_share": "write-peak",
    "buffer_bytes": "buffer", "page_bytes": "page", "write_bytes_per_s": "write-rate",
}  # fmt: skip
"""Options that are not called as their settings."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What a user wants; `None` (or false) where nothing was said."""

    pattern: str
    memory: str | None = None
    window_bytes: int | None = None
    latency_ps: int | None = None
    channels: int | None = None
    """Of DRAM; 0 means all of a chip's."""
    profile: str | None = None
    map_text: str | None = None
    queue: int | None = None
    refresh: str | None = None
    standard: str | None = None
    timing_set: str | None = None
    timings: tuple[tuple[str, Timing], ...] = ()
    """Timings that replace those of the set, by name."""
    pin_bits_per_s: int | None = None
    density_gbit: int | None = None
    dies: int | None = None
    interleave_bytes: int | None = None
    total_bytes: int | None = None
    hot: bool = False
    write_share: Fraction | None = None
    rows: str | None = None
    """When idle rows are closed, and inline ECC, as `profile_named` reads them behind a profile's name."""
    ecc: str | None = None
    buffer_bytes: int | None = None
    page_bytes: int | None = None
    planes: int | None = None
    write_bytes_per_s: int | None = None
    force_writes: bool = False
    banks: int | None = None
    ports: int | None = None

    def controller(self, default: str) -> str:
        """Return the profile with its options, *default* where none was named."""
        words = [self.profile or default]
        words += [f"rows={self.rows}"] if self.rows else []
        words += [f"ecc={self.ecc}"] if self.ecc else []
        return " ".join(words)

    def refuse(self, names: tuple[str, ...], kind: str) -> None:
        """Raise `InputError` naming every setting of *names* that was given to a memory of another *kind*."""
        given = [field.name for field in fields(self) if field.name in names and getattr(self, field.name)]
        if given:
            expected = f"nothing: {kind} has no such setting"
            raise InputError(*(Problem("", _option(name), str(getattr(self, name)), expected) for name in given))


def _option(name: str) -> str:
    return f"--{_RENAMED.get(name, name).replace('_', '-')}"
