"""A model placed on a system and ready to serve: the plan, the costs of iterations, the replays.

What is replayed is traffic: requests, a closed loop of users, or decode iterations alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from archsim.errors import InputError, Problem
from archsim.hardware.shelf import Shelf
from archsim.hardware.spec import SystemSpec
from archsim.hardware.system import System
from archsim.mapping.default import default_ways
from archsim.mapping.placement import Placement, place
from archsim.mapping.replicas import Replica, replicas_of
from archsim.mapping.sharding import Cut
from archsim.mapping.spread import Spread
from archsim.result import ARCHSIM_VERSION
from archsim.serving.checkpoint import Keeper, Wanted
from archsim.serving.closed_loop import replay_closed_loop
from archsim.serving.configure import arrivals_of, check_names, scaling_of, sessions_of, techniques_of
from archsim.serving.decode_only import Recorder, replay_decode
from archsim.serving.drafts import blocks_beside, drafting_of
from archsim.serving.replay import replay
from archsim.serving.requests import Arrival, Limits
from archsim.serving.router import DEALT, Fleet, replay_fleet
from archsim.serving.saturation import Saturation, saturate
from archsim.serving.sessions import replay_sessions
from archsim.serving.techniques import PLAIN, Techniques
from archsim.serving.tier_setup import PlacedTier, check_tier, tier_of
from archsim.step.costs import StepCosts
from archsim.step.drafting import Drafting
from archsim.step.pipeline import simulate_pipeline
from archsim.step.record import StepRecord
from archsim.step.simulate import simulate_step
from archsim.step.spares import with_spares
from archsim.step.stages import DRAINED
from archsim.summary.facts import Design, command_of
from archsim.workload.batch import Batch
from archsim.workload.closed_loop import ClosedLoop
from archsim.workload.decode_trace import DecodeTrace
from archsim.workload.model import Model
from archsim.workload.precision import Precision
from archsim.workload.replication import load_experts
from archsim.workload.routing import UNIFORM
from archsim.workload.stream import Stream
from archsim.workload.trace import Trace

__all__ = ["Checkpointed", "Placed", "Recorded", "Traffic"]

_WAYS = "--parallel"


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
        requests = trace.traffic if isinstance(trace, Recorded | Checkpointed) else trace
        techniques = techniques_of(spec, model, None if isinstance(requests, DecodeTrace) else requests)
        drafting = drafting_of(cut, bits, system)
        tier = tier_of(model, bits, placement, system, placement.chips // (len(replicas) or 1))
        if tier is not None:
            check_tier(drafting, spec)
            techniques = replace(techniques, tier=tier.rule)
        scaling = scaling_of(spec, len(replicas) or 1, requests if trace is not None else None)
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

    def replayed(self, trace: Traffic, *, progress: Callable[[int, int], None]) -> Fleet:
        """Return the record of serving *trace*."""
        if isinstance(trace, Recorded):
            recorder, shares = self.recorder or Recorder(trace.path), self.techniques != PLAIN
            with recorder.writing(model=self.model.name, shares=shares):
                return self.replayed(trace.traffic, progress=progress)
        if isinstance(trace, DecodeTrace):
            return self._decode_only(trace)
        if isinstance(trace, Checkpointed):
            return self._checkpointed(trace, progress=progress)
        if isinstance(trace, ClosedLoop):
            return self.serve_loop(trace, progress=progress)
        if isinstance(trace, Trace) and trace.closed:
            return self.serve_sessions(trace, progress=progress)
        counted = isinstance(trace, Stream)
        return self.serve(arrivals_of(trace), sessions=sessions_of(trace), progress=progress, tallied=counted)

    def _checkpointed(self, trace: Checkpointed, *, progress: Callable[[int, int], None]) -> Fleet:
        traffic, wanted = trace.traffic, trace.wanted
        if self.replicas or traffic.closed:
            expected = "one server, and requests that do not wait for others: nothing else is written to a checkpoint"
            found = f"{len(self.replicas)} replicas" if self.replicas else f"{traffic.name} in a closed loop"
            raise InputError(Problem("", "--resume" if wanted.resume else "--checkpoint", found, expected))
        identity = {
            "archsim": ARCHSIM_VERSION,
            "command": f"{command_of(self.design)} {traffic.options}",
            "system": self.design.config_digest,
        }
        keeper = Keeper(wanted, identity, self.costs, lambda: traffic.digest_so_far)
        limits = replace(self.limits, tallied=isinstance(traffic, Stream))
        record = replay(
            arrivals_of(traffic), self.costs, limits=limits, policy=self.scheduler, progress=progress, keeper=keeper
        )
        return Fleet(record, ())

    def _decode_only(self, trace: DecodeTrace) -> Fleet:
        if self.drafting is not None:
            expected = "no speculation: a decode trace has a token a sequence in every iteration"
            raise InputError(Problem(self.spec.name, "serving.speculation", "", expected))
        return replay_decode(trace, self.costs, limits=self.limits, replicas=len(self.replicas) or 1)

    def _alone(self, batch: Batch) -> StepRecord:
        if self.spread.parallelism.pp > 1:
            schedule = self.spread.pipeline or self.spec.runtime.pipeline or DRAINED
            return simulate_pipeline(self.cut.pipeline(batch), self.system, schedule=schedule)
        return simulate_step(self.cut.plan(batch), self.system)

    def serve_loop(self, loop: ClosedLoop, *, progress: Callable[[int, int], None] | None = None) -> Fleet:
        """Return the record of serving *loop*, whose users are dealt to the replicas and stay."""
        if self.spread.router:
            expected = "no router for a closed loop: its users are dealt to the replicas and stay"
            raise InputError(Problem("", f"{_WAYS} router", self.spread.router, expected))
        replicas = len(self.replicas) or 1
        return replay_closed_loop(
            loop, self.costs, limits=self.limits, replicas=replicas, policy=self.scheduler, progress=progress
        )

    def serve(
        self,
        arrivals: Iterator[Arrival],
        *,
        sessions: Sequence[int] = (),
        progress: Callable[[int, int], None] | None = None,
        tallied: bool = False,
    ) -> Fleet:
        """Return the record of serving *arrivals*, and that of each replica where there are several.

        *sessions* are those of the requests in order, for a router that keeps them together. Of *tallied* requests no
        rows are kept.
        """
        limits = replace(self.limits, tallied=tallied)
        if not self.replicas:
            record = replay(arrivals, self.costs, limits=limits, policy=self.scheduler, progress=progress)
            return Fleet(record, ())
        return replay_fleet(
            arrivals,
            self.costs,
            limits=limits,
            replicas=len(self.replicas),
            router=self.spread.router or DEALT,
            policy=self.scheduler,
            sessions=sessions,
            progress=progress,
        )

    def serve_sessions(self, trace: Trace, *, progress: Callable[[int, int], None] | None = None) -> Fleet:
        """Return the record of serving *trace*, some of whose requests wait for others."""
        if self.spread.router not in {"", "session_affinity", None}:
            expected = "session_affinity for a trace in a closed loop: sessions are dealt to the replicas and stay"
            raise InputError(Problem("", f"{_WAYS} router", self.spread.router or "", expected))
        replicas = len(self.replicas) or 1
        return replay_sessions(
            trace, self.costs, limits=self.limits, replicas=replicas, policy=self.scheduler, progress=progress
        )

    def saturated(self, trace: Trace | Stream, slo_s: float) -> Saturation:
        """Return the highest rate of *trace* that meets *slo_s*."""
        return saturate(
            arrivals_of(trace),
            self.costs,
            limits=self.limits,
            slo_tpot_s=slo_s,
            policy=self.scheduler,
            serve=lambda a: self.serve(a, sessions=sessions_of(trace)).record,
        )

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
