"""The chain for designs of several systems: pools + model + trace -> Result.

Each pool is a model placed on a system, as in `archsim.single`; the replay joins them, and the summary puts their
results together.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from archsim.economics.spec import load_economics
from archsim.errors import CapacityError, InputError, Problem
from archsim.files import digest_of
from archsim.hardware.capacity import lent
from archsim.hardware.pools import design_toml
from archsim.hardware.pools_spec import PoolsSpec
from archsim.placed import Placed
from archsim.result import ARCHSIM_VERSION, Provenance, Result
from archsim.serving.affinity import AFFINITY
from archsim.serving.cascade import replay_cascade
from archsim.serving.closed_loop import Users, steady
from archsim.serving.configure import arrivals_of
from archsim.serving.divide import divided, returned
from archsim.serving.fleet import Source
from archsim.serving.handover import TransferLaw
from archsim.serving.pool_techniques import check_techniques
from archsim.serving.pools import PoolRecords, replay_handover, replay_side_by_side
from archsim.serving.pools_loop import replay_handover_loop
from archsim.serving.record import Record
from archsim.serving.requests import Arrival
from archsim.serving.saturation import SLICE_REQUESTS, Saturation, saturate, steady_part
from archsim.serving.servers import Progress, ServerGroup
from archsim.serving.sessions import stream_of
from archsim.single import Options
from archsim.summary.costs import costs_of_pools
from archsim.summary.facts import Served, fidelity_of
from archsim.summary.pooled import Pool, record_of_pool, result_of_pools
from archsim.traffic import Traffic
from archsim.units import format_quantity
from archsim.workload.batch import Batch
from archsim.workload.closed_loop import ClosedLoop
from archsim.workload.model import Model, load_model
from archsim.workload.stream import MOST_EXACT, Stream
from archsim.workload.trace import Trace

__all__ = ["replay_on_pools"]


@dataclass(frozen=True, slots=True)
class _Pools:
    """A model placed on every pool."""

    spec: PoolsSpec
    setups: dict[str, Placed]
    seed: int

    @classmethod
    def of(cls, spec: PoolsSpec, model: Model, options: Options, *, trace: Trace | ClosedLoop) -> _Pools:
        """Return it, or raise `InputError` that names the pool on which something does not divide or fit."""
        check_techniques(spec)
        setups = {}
        for name, pool in spec.pools.items():
            own = model if pool.model is None else load_model(pool.model)
            try:
                system = pool.system if pool.memory_share is None else lent(pool.system, pool.memory_share)
                setups[name] = Placed.of(system, own, options.precision, pool.parallel, trace=trace)
            except InputError as error:
                kind = CapacityError if isinstance(error, CapacityError) else InputError
                raise kind(*(replace(p, key=f"pool {name}: {p.key}" if p.key else f"pool {name}")
                             for p in error.problems)) from None  # fmt: skip
        if spec.shares_chips:
            _share_steps(spec, *setups.values())
        return cls(spec, setups, options.seed)

    def servers(self, name: str) -> ServerGroup:
        """Return the servers of a pool."""
        pool = self.spec.pools[name]
        group = self.setups[name].servers(copies=pool.replicas, router=pool.router)
        if group.router == AFFINITY:
            raise InputError(Problem("router", "", AFFINITY, "another one: a pool's router knows no prefixes"))
        return group

    @property
    def law(self) -> TransferLaw:
        """How KV caches pass; replicas within a copy share its port."""
        link = self.spec.link
        if link is None:
            raise AssertionError(f"{self.spec.name} hands nothing over")
        model, precision = (getattr(self.setups[self.spec.main], key) for key in ("model", "precision"))
        shares = max(len(setup.replicas) or 1 for setup in self.setups.values())
        return TransferLaw(
            bytes_per_s=link.bytes_per_s // shares,
            latency_ps=link.latency_ps,
            kv_bits=int(model.kv_elements_per_token * precision.kv.stored_bits) // model.reach.parts,
            layers=model.layers if link.overlap == "layer" else 1,
        )

    def replay(self, arrivals: Iterator[Arrival], *, progress: Progress | None = None) -> PoolRecords:
        """Serve *arrivals*."""
        if self.spec.hands_over:
            prefill, decode = self.spec.pool_that("prefill"), self.spec.pool_that("decode")
            return replay_handover(
                arrivals, prefill=self.servers(prefill), decode=self.servers(decode), law=self.law, progress=progress
            )
        if self.spec.cascade is not None:
            groups = {name: self.servers(name) for name in self.setups}
            return replay_cascade(arrivals, self.spec, groups, seed=self.seed, progress=progress)
        division = divided(arrivals, self.spec, seed=self.seed)
        records = replay_side_by_side(division.streams, [self.servers(name) for name in self.setups], progress=progress)
        return replace(records, requests=returned(records.requests, division))

    def replay_loop(self, trace: Trace | ClosedLoop, *, progress: Progress | None = None) -> PoolRecords:
        """Serve users, or sessions, who wait for their answers."""
        source: Source = Users(trace) if isinstance(trace, ClosedLoop) else stream_of(trace)
        prefill, decode = (self.servers(self.spec.pool_that(serves)) for serves in ("prefill", "decode"))
        return replay_handover_loop(source, prefill=prefill, decode=decode, law=self.law, progress=progress)

    def pools(self, replayed: PoolRecords) -> list[Pool]:
        """Return what the summary says of each pool."""
        if self.spec.shares_chips:
            return [self._machine(replayed)]
        order = list(self.setups)
        if self.spec.hands_over:
            order = [self.spec.pool_that("prefill"), self.spec.pool_that("decode")]
        found = []
        for name, records in zip(order, replayed.pools, strict=True):
            setup = self.setups[name]
            setup.name_scopes()
            found.append(Pool(name, self.spec.pools[name], setup.design, setup.costs.records, records, setup.limits))
        return found

    def _machine(self, replayed: PoolRecords) -> Pool:
        """Return what the summary says of chips that both models share."""
        spec = self.spec
        setup, pool = self.setups[spec.main], spec.pools[spec.main]
        setup.name_scopes()
        names = tuple(one.model.name for one in self.setups.values())
        design = replace(setup.design, spec=pool.system)
        records = replayed.pools[0]
        return Pool(spec.main_machine, pool, design, setup.costs.records, records, setup.limits, names)

    def saturated(self, trace: Trace, slo_s: float) -> Saturation:
        """Return the highest rate of *trace* that meets *slo_s*, with the steady part of the main pool."""
        main, kept = self.setups[self.spec.main], dict[int, PoolRecords]()

        def serve(arrivals: Iterator[Arrival]) -> Record:
            replayed = self.replay(arrivals)
            record = record_of_pool([record for pool in replayed.pools for record in pool], replayed.requests)
            kept[id(record)] = replayed
            records.append(record)
            return record

        records: list[Record] = []  # kept alive: an id is that of a living object
        found = saturate(arrivals_of(trace), main.costs, limits=main.limits, slo_tpot_s=slo_s, policy=main.scheduler,
                         serve=serve)  # fmt: skip
        if found.record is None:
            return found
        replayed = kept[id(found.record)]
        mine = next(pool for pool in self.pools(replayed) if pool.name == self.spec.main_machine)
        return replace(found, steady=steady_part(record_of_pool(mine.records, replayed.requests)))


def replay_on_pools(spec: PoolsSpec, model: Model, trace: Traffic, options: Options) -> Result:
    """Return the result of serving *trace* with *model* on the pools of *spec*.

    Raises `InputError` for what does not fit or divide on a pool, which it names, and for traffic that pools do not
    serve: decode iterations, streams, and a closed loop where pools divide requests.
    """
    requests = _served_by_pools(spec, trace)
    options.check(requests)
    placed = _Pools.of(spec, model, options, trace=requests)
    if isinstance(requests, ClosedLoop) or requests.closed:
        replayed = placed.replay_loop(requests, progress=options.counter(requests.count))
    else:
        replayed = placed.replay(arrivals_of(requests), progress=options.counter(requests.count))
    if not len(replayed.requests.arrival_ps):
        raise InputError(Problem(requests.name, "", "", "at least one request"))
    search = None
    if options.slo_s and isinstance(requests, Trace):
        options.tell("saturation", 0.0)
        search = placed.saturated(requests, options.slo_s)
    pools = placed.pools(replayed)
    main = placed.setups[spec.main]
    whole = record_of_pool([record for pool in pools for record in pool.records], replayed.requests, watched=True)
    served = Served(
        record=whole,
        steps=main.costs.records,
        trace=requests,
        seed=options.seed,
        slo_s=options.slo_s,
        search=search,
        offered_per_search=min(SLICE_REQUESTS, requests.count),
        counted=steady(replayed.requests, requests) if isinstance(requests, ClosedLoop) else None,
    )
    toml = design_toml(spec)
    provenance = _provenance(placed, model, served, toml=toml, events=_events(pools, replayed))
    result = result_of_pools(spec, pools, replayed, served=served, provenance=provenance, toml=toml)
    return costs_of_pools(result, spec, load_economics())


def _served_by_pools(spec: PoolsSpec, traffic: Traffic) -> Trace | ClosedLoop:
    """Return *traffic*, or raise `InputError` where pools do not serve it."""
    if isinstance(traffic, Stream):
        expected = f"at most {MOST_EXACT:,} requests for several pools: --limit takes the first ones"
        raise InputError(Problem(spec.name, "traffic", f"{traffic.count:,} requests", expected))
    if not isinstance(traffic, Trace | ClosedLoop):
        raise InputError(Problem(spec.name, "traffic", traffic.name, "requests: pools serve and write no decode trace"))
    if traffic.closed and not spec.hands_over:
        expected = "requests that do not wait for others: users of a closed loop belong to no one of several pools"
        raise InputError(Problem(spec.name, "traffic", traffic.name, expected))
    return traffic


def _events(pools: Sequence[Pool], replayed: PoolRecords) -> int:
    return replayed.pools[0][0].event_count + sum(step.event_count for pool in pools for step in pool.steps)


def _provenance(placed: _Pools, model: Model, served: Served, *, toml: str, events: int) -> Provenance:
    spec, trace = placed.spec, served.trace
    main = placed.setups[spec.main]
    slo = f" --saturate --slo '{format_quantity(served.slo_s, 's', digits=9)}'" if served.slo_s else ""
    words = f"--model {model.name} --precision {main.precision} {trace.options} --seed {served.seed}{slo}"
    return Provenance(
        archsim_version=ARCHSIM_VERSION,
        command=f"archsim run {spec.name} {words}",
        config_digest=digest_of(toml.encode()),
        trace_name=trace.name,
        trace_digest=trace.digest,
        sampled=trace.sampled,
        seed=served.seed,
        fidelity=fidelity_of(main.spec),
        event_count=events,
    )


def _share_steps(spec: PoolsSpec, one: Placed, other: Placed) -> None:
    """Let two models on the same chips number their iterations together, or raise `InputError` where that is no plan.

    Books are of scopes: both have to use the chips alike.
    """
    for name, placed in zip(spec.pools, (one, other), strict=True):
        if placed.replicas or placed.spread.router:
            expected = "no replicas and no router: models that share chips use all of a copy, and requests are dealt"
            raise InputError(Problem(spec.name, f"pool {name}: parallel", placed.spread.options or "dp", expected))
    other.costs.records = one.costs.records
    scopes = [placed.simulate(Batch.of_decode(1, 1)).scopes for placed in (one, other)]
    if [scope.name for scope in scopes[0]] != [scope.name for scope in scopes[1]]:
        found = " and ".join(", ".join(sorted({scope.name.partition(".")[0] for scope in own})) for own in scopes)
        expected = "models that share chips use all of them alike: equal ways for both pools"
        raise InputError(Problem(spec.name, "parallel", found, expected))
