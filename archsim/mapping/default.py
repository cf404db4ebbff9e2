"""The parallelism of a run that names none: the system's own, or else one that follows from chips and model.

Tensor parallelism over as many chips of one domain as divide the model, as few pipeline stages as hold `SEQUENCES`
sequences of `CONTEXT` tokens, and data parallelism over what is left: over all chips of a box of eight, `tp=8,dp=9`
on 72 chips. A domain is what the fastest links join: a node of `two_level`, a group of a dragonfly, else all chips.
Where the most stages of one domain's ranks hold not even one sequence, tensor parallelism spans as few domains as hold
as many sequences, or one.
Nothing is timed here; `--parallel auto` does that.
"""

from __future__ import annotations

import math

from archsim.hardware.spec import SystemSpec
from archsim.mapping.parallelism import Parallelism, divides, tensor_parallel_sizes
from archsim.mapping.placement import Demand
from archsim.mapping.spread import WORDS
from archsim.network.layouts import dragonfly_shape
from archsim.workload.model import Model
from archsim.workload.precision import Precision

__all__ = ["CONTEXT", "SEQUENCES", "default_ways"]

SEQUENCES = 32
"""Sequences that a replica is to hold at once."""
CONTEXT = 1024
"""Tokens of each, or the model's context where that is shorter."""


def default_ways(model: Model, precision: Precision, system: SystemSpec) -> str:
    """Return the ways that hold where nobody names any, as `--parallel` reads them.

    They are the system's own (`parallel`) where those divide *model*. Where nothing holds it, they have the most stages
    of one domain: what is missing is told by `place`.
    """
    if system.parallel is not None:
        sizes = ",".join(word for word in system.parallel.split(",") if word.partition("=")[0].strip() not in WORDS)
        if divides(Parallelism.parse(sizes), model):
            return system.parallel
    chips = len(system.working_chips)
    domain = math.gcd(_domain(system), chips)
    ranks = tensor_parallel_sizes(model)
    tensor = max(tp for tp in ranks if domain % tp == 0)
    within = _staged(tensor, chips, model)
    beyond = [ways for tp in ranks if tp > tensor and tp % domain == 0 and chips % tp == 0
              for ways in _staged(tp, chips, model)]  # fmt: skip
    for options, sequences in ((within, SEQUENCES), (within[-1:], 1), (beyond, SEQUENCES), (beyond, 1)):
        for ways in options:
            if _holds(ways, system, model, precision, sequences=sequences):
                return str(ways)
    return str(within[-1])


def _staged(tensor: int, chips: int, model: Model) -> list[Parallelism]:
    """Return *tensor* ranks in every number of stages that divides the *chips*, with replicas of what is left."""
    rest = chips // tensor
    return [
        Parallelism(tensor, pp=stages, dp=rest // stages)
        for stages in range(1, min(rest, model.layers) + 1)
        if rest % stages == 0
    ]


def _domain(system: SystemSpec) -> int:
    """Return the chips that the fastest links join."""
    network = system.network
    if network.topology == "two_level":
        return network.shape[0] - (1 if system.spares else 0)
    if network.topology == "dragonfly":
        shape = dragonfly_shape(network.shape)
        return shape.routers * max(shape.chips, 1)
    return len(system.working_chips)


def _holds(ways: Parallelism, system: SystemSpec, model: Model, precision: Precision, *, sequences: int) -> bool:
    placement = Demand(model, precision, system, ways).over(ways.tp)
    blocks = placement.blocks_for(sequences, min(CONTEXT, model.max_context))
    return placement.missing_bytes_per_chip(blocks) <= 0
