"""A device whose kernels can be timed, as `archsim measure` asks it; and what is asked.

Times are seconds of one call, the median of repetitions, inside a replayed graph unless a name says otherwise. Operands
rotate over more memory than the last cache holds, so that every call reads from memory.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

__all__ = ["Attention", "Device", "DeviceInfo"]


@dataclass(frozen=True, slots=True)
class DeviceInfo:
    """What the figures were taken on."""

    name: str
    driver: str
    software: str
    date: str
    """ISO date of the measurement."""
    cache_bytes: int
    memory_bytes: int


@dataclass(frozen=True, slots=True)
class Attention:
    """Shape of a decode attention in 16 bits over a cache in blocks."""

    batch: int
    query: int
    kv: int
    width: int
    context: int
    block: int = 64

    @property
    def kv_bytes(self) -> int:
        """Bytes of keys and values that are read."""
        return 2 * 2 * self.batch * self.kv * self.width * self.context


class Device(Protocol):
    """A GPU, or what stands in for one in a test."""

    def info(self) -> DeviceInfo:
        """Return what the device is."""

    def stream_s(self, size: int) -> float:
        """Return the time of reading *size* bytes once."""

    def product_s(self, rows: int, columns: int, inner: int) -> float:
        """Return the time of a bfloat16 product of (rows, inner) by (inner, columns)."""

    def attention_s(self, shape: Attention) -> float:
        """Return the time of gathering a cache's blocks by a table and attending over it."""

    def chain_s(self, kernels: int, *, graph: bool) -> float:
        """Return the time of *kernels* kernels of one element, one after the other; launched, or in a graph."""
