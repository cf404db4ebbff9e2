"""A model placed on a system and ready to serve: the plan, the costs of iterations, the servers."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from archsim.hardware.shelf import Shelf
from archsim.hardware.spec import SystemSpec
from archsim.hardware.system import System
from archsim.mapping.default import default_ways
from archsim.mapping.placement import Placement, place
from archsim.mapping.replicas import Replica, replicas_of
from archsim.mapping.sharding import Cut
from archsim.mapping.spread import Spread
from archsim.serving.configure import check_names, scaling_of, techniques_of
from archsim.serving.decode_only import Recorder
from archsim.serving.drafts import blocks_beside, drafting_of
from archsim.serving.requests import Limits
from archsim.serving.router import DEALT
from archsim.serving.servers import ServerGroup
from archsim.serving.techniques import Techniques
from archsim.serving.tier_setup import PlacedTier, check_tier, tier_of
from archsim.step.costs import StepCosts
from archsim.step.drafting import Drafting
from archsim.step.pipeline import simulate_pipeline
from archsim.step.record import StepRecord
from archsim.step.simulate import simulate_step
from archsim.step.spares import with_spares
from archsim.step.stages import DRAINED
from archsim.summary.facts import Design
from archsim.traffic import Recorded, Traffic, requests_of
from archsim.workload.batch import Batch
from archsim.workload.decode_trace import DecodeTrace
from archsim.workload.model import Model
from archsim.workload.precision import Precision
from archsim.workload.replication import load_experts
from archsim.workload.routing import UNIFORM

__all__ = ["Placed"]


@dataclass(frozen=True, slots=True)
class Placed:
    """A model placed on a system, ready to be asked for iterations."""

    spec: SystemSpec
    model: Model
    precision: Precision
    spread: Spread
    placement: Placement
    cut: Cut
    system: System
    replicas: tuple[Replica, ...]
    """Empty where there is one."""
    techniques: Techniques
    """What the server does beyond batching."""
    drafting: Drafting | None
    """How tokens are guessed; None: they are not."""
    recorder: Recorder | None
    """What servers write down of decoding."""
    tier: PlacedTier | None
    """Where caches go that have no room; None: nowhere."""
    costs: StepCosts = field(init=False)

    def __post_init__(self) -> None:
        moves = self.tier.moves if self.tier else None
        costs = StepCosts(self.simulate, bends=self.cut.bends, reach=self.model.reach, moves=moves)
        object.__setattr__(self, "costs", costs)

    @classmethod
    def of(
        cls,
        spec: SystemSpec,
        model: Model,
        precision: str | None,
        parallelism: str | None,
        *,
        trace: Traffic | None = None,
        shelf: Shelf | None = None,
    ) -> Placed:
        """Return the setup, or raise `InputError` for what does not divide, fit or exist."""
        bits = Precision.parse(precision) if precision is not None else Precision.of_model(model)
        spread = Spread.parse(parallelism, lambda: default_ways(model, bits, spec))
        check_names(spread, spec)
        sizes, system = spread.parallelism, System(spec, shelf)
        routing = load_experts(spread.experts or UNIFORM.name)
        placement = place(model, bits, spec, sizes, spare_experts=routing.spare)
        cut = Cut.of(model, bits, sizes, spec, routing=routing)
        replicas = tuple(replicas_of(sizes, system.network, spec.working_chips)) if sizes.replicas > 1 else ()
        recorder = Recorder(trace.path) if isinstance(trace, Recorded) else None
        requests = None if trace is None else requests_of(trace)
        techniques = techniques_of(spec, model, None if isinstance(requests, DecodeTrace) else requests)
        drafting = drafting_of(cut, bits, system)
        tier = tier_of(model, bits, placement, system, placement.chips // (len(replicas) or 1))
        if tier is not None:
            check_tier(drafting, spec)
            techniques = replace(techniques, tier=tier.rule)
        scaling = scaling_of(spec, len(replicas) or 1, requests)
        if scaling is not None:
            techniques = replace(techniques, scaling=scaling)
        return cls(spec, model, bits, spread, placement, cut, system, replicas, techniques, drafting, recorder, tier)

    def simulate(self, batch: Batch) -> StepRecord:
        """Return the record of one iteration of *batch*, its guesses with it."""
        record = self.drafting.step(batch, self._alone) if self.drafting else self._alone(batch)
        # Replicas have equal scopes; a spare that stands by for all of them would be no one's.
        return record if self.replicas else with_spares(record, self.spec.idle_chips)

    def name_scopes(self) -> None:
        """Simulate an iteration where none was: idle time is booked on scopes, which an iteration names."""
        if not self.costs.records:
            self.costs.knot(Batch.of_decode(1, 1))

    def _alone(self, batch: Batch) -> StepRecord:
        if self.spread.parallelism.pp > 1:
            schedule = self.spread.pipeline or self.spec.runtime.pipeline or DRAINED
            return simulate_pipeline(self.cut.pipeline(batch), self.system, schedule=schedule)
        return simulate_step(self.cut.plan(batch), self.system)

    def servers(self, *, copies: int = 1, router: str | None = None) -> ServerGroup:
        """Return the servers of *copies* of the system, one a replica, behind *router* or the one asked for."""
        count = copies * (len(self.replicas) or 1)
        return ServerGroup(self.costs, self.limits, count, self.scheduler, router or self.spread.router or DEALT)

    @property
    def scheduler(self) -> str:
        """Who is served next."""
        return self.spec.runtime.scheduler

    @property
    def limits(self) -> Limits:
        """What the server holds and takes on at once."""
        runtime = self.spec.runtime
        return Limits(
            max_batch=runtime.max_batch,
            max_prefill_tokens=runtime.max_prefill_tokens,
            kv_blocks=blocks_beside(self.drafting, self.placement),
            block_tokens=runtime.kv_block_tokens,
            context_tokens=self.model.max_context,
            reach=self.model.reach,
            techniques=self.techniques,
            log=self.recorder.log if self.recorder else None,
        )

    @property
    def design(self) -> Design:
        """What the summary says about the setup."""
        return Design(
            self.spec, self.model, self.precision, self.spread.parallelism, self.placement, self.system, self.replicas,
            options=self.spread.options,
        )  # fmt: skip
