"""What is replayed: requests, a closed loop of users, or decode iterations alone, with the files beside it.

Data only; `archsim.serve` serves it.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from archsim.serving.checkpoint import Wanted
from archsim.workload.closed_loop import ClosedLoop
from archsim.workload.decode_trace import DecodeTrace
from archsim.workload.stream import Stream
from archsim.workload.trace import Trace

__all__ = ["Checkpointed", "Recorded", "Traffic", "requests_of"]


class _Beside:
    """Traffic with files beside it."""

    __slots__ = ()
    traffic: Trace | Stream | ClosedLoop

    @property
    def name(self) -> str:
        """What errors call it."""
        return self.traffic.name

    @property
    def count(self) -> int:
        """Number of requests."""
        return self.traffic.count

    @property
    def closed(self) -> bool:
        """Some requests wait for others."""
        return self.traffic.closed


@dataclass(frozen=True, slots=True)
class Recorded(_Beside):
    """Traffic whose decode iterations are written to a file while it is replayed."""

    traffic: Trace | ClosedLoop
    path: Path


@dataclass(frozen=True, slots=True)
class Checkpointed(_Beside):
    """Traffic whose replay is written to a file now and then, or goes on from one."""

    traffic: Trace | Stream
    wanted: Wanted


Traffic = Trace | Stream | ClosedLoop | DecodeTrace | Recorded | Checkpointed
"""What is replayed."""


def requests_of(traffic: Traffic) -> Trace | Stream | ClosedLoop | DecodeTrace:
    """Return *traffic* without the files beside it."""
    return traffic.traffic if isinstance(traffic, Recorded | Checkpointed) else traffic
