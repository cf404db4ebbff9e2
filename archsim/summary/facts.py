"""What a result says of the design it is of, and how to run it again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from archsim.files import digest_of
from archsim.hardware.answers import fidelity_of as memory_fidelity
from archsim.hardware.capacity import assumed_memories
from archsim.hardware.energy import Costs, energy_costs
from archsim.hardware.library import resolved_toml
from archsim.hardware.spec import SystemSpec
from archsim.hardware.system import System
from archsim.mapping.parallelism import WAYS, Parallelism
from archsim.mapping.placement import Placement
from archsim.mapping.replicas import Replica
from archsim.result import ARCHSIM_VERSION, ModelFacts, Provenance, SystemFacts
from archsim.serving.record import Record
from archsim.serving.requests import Limits
from archsim.serving.saturation import Saturation as Search
from archsim.serving.scaling import ScaleLog
from archsim.step.record import StepRecord
from archsim.units import format_quantity
from archsim.workload.closed_loop import ClosedLoop
from archsim.workload.decode_trace import DecodeTrace
from archsim.workload.model import Model
from archsim.workload.precision import Precision
from archsim.workload.stream import Stream
from archsim.workload.tensors import active_parameter_count, parameter_count
from archsim.workload.trace import Trace

__all__ = [
    "Design",
    "Served",
    "algorithms_of",
    "command_of",
    "fidelity_of",
    "model_facts",
    "provenance_of",
    "step_provenance",
    "system_facts",
]

_FIDELITY = {
    "network": "flow-level max-min sharing of every collective's messages",
    "step": "discrete events: operators, chunks and collectives on engines, levels and links",
    "replay": "exact jumps over step costs that are piecewise linear between simulated knots",
}
"""Which mechanism answered for each floor but the memory, which depends on the chip."""


@dataclass(frozen=True)
class Design:
    """What was run: a model placed on a system."""

    spec: SystemSpec
    model: Model
    precision: Precision
    parallelism: Parallelism
    placement: Placement
    system: System
    replicas: tuple[Replica, ...] = ()
    """Empty where there is one."""
    options: str = ""
    """Further words of `--parallel`, each with its comma."""

    @cached_property
    def resolved_toml(self) -> str:
        """The whole system as one file."""
        return resolved_toml(self.spec)

    @cached_property
    def energy_costs(self) -> Costs:
        """What each part of the system costs in joules."""
        return energy_costs(self.spec)

    @cached_property
    def config_digest(self) -> str:
        """Digest of that file."""
        return digest_of(self.resolved_toml.encode())


@dataclass(frozen=True, slots=True)
class Served:
    """A finished replay and what it was a replay of."""

    record: Record
    steps: list[StepRecord]
    """The knots that the record's weights refer to."""
    trace: Trace | Stream | ClosedLoop | DecodeTrace
    seed: int
    slo_s: float | None
    search: Search | None
    offered_per_search: int
    """Requests of the slice that saturation was searched on."""
    replicas: tuple[Record, ...] = ()
    """Records of the single replicas, where there are several; `record` is all of them as one."""
    counted: npt.NDArray[np.bool_] | None = None
    """Requests whose latencies count: the steady part of a closed loop; None: all."""
    scaling: ScaleLog | None = None
    """When which replicas ran; None: always."""
    limits: Limits | None = None
    """What the server was held to; None: not known."""


def fidelity_of(spec: SystemSpec) -> dict[str, str]:
    """Return which mechanism answered for each floor of *spec*."""
    known = {"memory": memory_fidelity(spec.chip.memory[spec.chip.main_memory]), **_FIDELITY}
    if assumed := assumed_memories(spec):
        known["capacity"] = f"assumed, not the design's: {', '.join(assumed)} hold whatever they are asked to"
    return known


def algorithms_of(steps: Sequence[StepRecord]) -> dict[str, str]:
    """Return for each kind of collective the algorithms that ran it, those for small messages first."""
    sizes: dict[str, dict[str, int]] = {}
    for step in steps:
        for kind, size, algorithm in step.collectives:
            seen = sizes.setdefault(kind, {})
            seen[algorithm] = min(size, seen.get(algorithm, size))
    return {kind: ", ".join(sorted(seen, key=lambda name: (seen[name], name))) for kind, seen in sorted(sizes.items())}


def system_facts(design: Design, memory: str) -> SystemFacts:
    """Return what the result says of the system; *memory* is the scope of its main memory."""
    spec = design.spec
    main = spec.chip.memory[spec.chip.main_memory]
    return SystemFacts(
        name=spec.name,
        title=f"{spec.title} (capacity assumed)" if assumed_memories(spec) else spec.title,
        status=spec.status,
        chip=spec.chip.name,
        chips=spec.chips,
        topology=spec.network.topology,
        main_memory=memory,
        memory_bytes_per_s=float(spec.chips * main.peak_bytes_per_s),
        memory_bytes=spec.chips * main.capacity_bytes,
        flop_per_s={dtype: float(spec.chips * rate) for dtype, rate in spec.chip.engine["matrix"].flop_per_s.items()},
    )


def model_facts(design: Design) -> ModelFacts:
    """Return what the result says of the model."""
    model, precision, placement = design.model, design.precision, design.placement
    bits = int(model.kv_elements_per_token * precision.kv.stored_bits)
    return ModelFacts(
        name=model.name,
        precision=str(precision),
        parameters=parameter_count(model),
        active_parameters=active_parameter_count(model),
        weight_bytes=placement.weight_bytes,
        kv_bytes_per_token=bits // 8,
        max_context_tokens=model.max_context,
    )


def command_of(design: Design) -> str:
    """Return the command that asks for this design, with every choice written out."""
    ways = _written(design.parallelism) + design.options
    asked = " --assume-capacity" if assumed_memories(design.spec) else ""
    words = f"--model {design.model.name} --precision {design.precision} --parallel {ways}{asked}"
    return f"archsim run {design.spec.name} {words}"


def _written(ways: Parallelism) -> str:
    """Return *ways* as `--parallel` reads them, without what is 1."""
    sizes = {name: getattr(ways, name) for name in WAYS}
    order = "" if ways.order == "tp_inner" else f",order={ways.order}"
    # A dp of 1 is written beside an ep, which would else be taken to ask for more.
    named = [f"{name}={size}" for name, size in sizes.items() if size > 1 or (name == "dp" and ways.ep > 1)]
    return (",".join(named) or "tp=1") + order


def step_provenance(design: Design, steps: Sequence[StepRecord], *, options: str) -> Provenance:
    """Return what it takes to evaluate the iteration again; *options* are those of the command that ask for it."""
    return Provenance(
        archsim_version=ARCHSIM_VERSION,
        command=f"{command_of(design)} {options}",
        config_digest=design.config_digest,
        trace_name=None,
        trace_digest=None,
        sampled=False,
        seed=0,
        fidelity=fidelity_of(design.spec),
        event_count=sum(step.event_count for step in steps),
    )


def provenance_of(design: Design, served: Served) -> Provenance:
    """Return what it takes to run the replay again."""
    trace = served.trace
    events = served.record.event_count + sum(step.event_count for step in served.steps)
    slo = f" --saturate --slo '{format_quantity(served.slo_s, 's', digits=9)}'" if served.slo_s else ""
    return Provenance(
        archsim_version=ARCHSIM_VERSION,
        command=f"{command_of(design)} {trace.options} --seed {served.seed}{slo}",
        config_digest=design.config_digest,
        trace_name=trace.name,
        trace_digest=trace.digest,
        sampled=trace.sampled,
        seed=served.seed,
        fidelity=fidelity_of(design.spec),
        event_count=events,
    )
