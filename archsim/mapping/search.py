"""All ways in which a model can be cut over a system, and what each chip would have to hold.

Every product of tensor, pipeline, context and data parallelism over all chips, each with every expert parallelism that
its ranks allow: parts of the ranks that attend together, or several groups of them. Nothing is timed here, and what
does not fit is there with what it lacks.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from archsim.hardware.spec import SystemSpec
from archsim.mapping.parallelism import Parallelism, divides
from archsim.mapping.placement import Demand, Placement
from archsim.workload.model import Model
from archsim.workload.precision import Precision

__all__ = ["Candidate", "candidates"]


class Candidate(NamedTuple):
    """One way, whether it fits or not."""

    ways: Parallelism
    placement: Placement


def candidates(model: Model, precision: Precision, system: SystemSpec) -> list[Candidate]:
    """Return the ways that divide *model* and fill *system*, by rising tensor, pipeline and context parallelism."""
    return [
        Candidate(ways, Demand(model, precision, system, ways).over(ways.tp))
        for ways in _products(model, len(system.working_chips))
        if divides(ways, model)
    ]


def _products(model: Model, chips: int) -> Iterator[Parallelism]:
    for tp in _divisors(chips):
        for pp in _divisors(chips // tp):
            for cp in _divisors(chips // tp // pp):
                dp = chips // tp // pp // cp
                yield Parallelism(tp, pp=pp, dp=dp, cp=cp)
                if model.experts:
                    parts = [part for part in _divisors(tp * cp)[:-1] if part > 1]
                    joined = [tp * cp * groups for groups in _divisors(dp) if tp * cp * groups > 1]
                    yield from (Parallelism(tp, pp=pp, dp=dp, ep=ep, cp=cp) for ep in (*parts, *joined))


def _divisors(number: int) -> list[int]:
    return [size for size in range(1, number + 1) if number % size == 0]
