"""All ways in which a model can be cut over a system: which are feasible, and why the others are not.

Every product of tensor, pipeline, context and data parallelism over all chips, each with every expert parallelism that
its ranks allow. Nothing is timed here.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from archsim.errors import CapacityError, InputError
from archsim.hardware.spec import SystemSpec
from archsim.mapping.parallelism import Parallelism, check_parallelism
from archsim.mapping.placement import Placement, place
from archsim.workload.model import Model
from archsim.workload.precision import Precision

__all__ = ["Candidate", "candidates"]


@dataclass(frozen=True, slots=True)
class Candidate:
    """One way."""

    ways: Parallelism
    placement: Placement | None
    """None where it does not fit."""
    refused: str
    """Why it does not fit; empty where it does."""


def candidates(model: Model, precision: Precision, system: SystemSpec) -> list[Candidate]:
    """Return the ways that divide *model* and fill *system*, with what each chip would hold or what it would lack."""
    found = []
    for ways in _products(model, system.chips):
        try:
            check_parallelism(ways, model, system)
        except InputError:
            continue
        try:
            found.append(Candidate(ways, place(model, precision, system, ways), ""))
        except CapacityError as error:
            found.append(Candidate(ways, None, str(error)))
    return found


def _products(model: Model, chips: int) -> Iterator[Parallelism]:
    for tp in _divisors(chips):
        for pp in _divisors(chips // tp):
            for cp in _divisors(chips // tp // pp):
                dp = chips // tp // pp // cp
                yield Parallelism(tp, pp=pp, dp=dp, cp=cp)
                if model.experts and cp == 1:
                    yield from (Parallelism(tp, pp=pp, dp=dp, ep=tp * n) for n in _divisors(dp) if tp * n > 1)


def _divisors(number: int) -> list[int]:
    return [size for size in range(1, number + 1) if number % size == 0]
