"""A place for KV caches that have no room: a memory behind a port of each chip, `hwconfigs/tiers/*.toml`.

A tier is either described by its own figures (a host's memory behind PCIe) or is one of the chip's memories, whose
figures the chip states.
"""

from __future__ import annotations

from pydantic import Field, model_validator

from archsim.hardware.quantities import (
    Bytes,
    BytesPerSecond,
    Identifier,
    PicojoulesPerBit,
    Picoseconds,
    Text,
)
from archsim.hardware.spec_model import Spec, refusal

__all__ = ["TierSpec"]


class TierSpec(Spec):
    """Where caches go, table `[serving.tier]`: a bundled name, a path, or a table."""

    name: Text
    """Bundled name."""
    title: Text
    """Name for people."""
    memory: Identifier | None = None
    """The chip's memory that it is; not stated: it lies outside, and the other keys say how."""
    capacity_bytes: Bytes | None = Field(alias="capacity", default=None)
    """Bytes for each chip."""
    bytes_per_s: BytesPerSecond | None = Field(alias="bandwidth", default=None)
    """Of a chip's port, each way."""
    latency_ps: Picoseconds | None = Field(alias="latency", default=None)
    """From the start of a transfer to its first byte, and of its last byte to who waits for it, together."""
    pj_per_bit: PicojoulesPerBit | None = Field(alias="energy", default=None)
    """Of moving a bit, port and memory together."""

    @model_validator(mode="after")
    def _check(self) -> TierSpec:
        figures = {"capacity": self.capacity_bytes, "bandwidth": self.bytes_per_s, "latency": self.latency_ps}
        for key, value in figures.items():
            if self.memory is None and value is None:
                raise refusal(key, "", "this key, or memory: the chip's memory that the tier is")
            if self.memory is not None and value is not None and key != "capacity":
                raise refusal(key, "", f"no such key: the rate and the latency are those of {self.memory}")
        if self.memory is not None and self.pj_per_bit is not None:
            raise refusal("energy", "", f"no such key: the energy is that of {self.memory}")
        return self
