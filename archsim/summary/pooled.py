"""The result of a design of several systems, from the results of its pools.

A pool of n copies is summed up as one copy that works n times as long: shares of its time, and of its memories' peak,
are then those of all copies together; peaks, chips and hosts count n times. Scopes of a pool are named `pool/scope`.
Headline figures are those of the pool that decodes; rates and latencies are those of requests, whoever served them.

The ports of KV caches have a book: bytes are `moved`, a port that a transfer holds while the next layer is computed
waits for `compute`, and is else idle. A47: caches on their way take no bandwidth from the memories at both ends, which
they cross once: a few per mille of what decoding reads.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from archsim.hardware.pools_spec import PoolSpec, PoolsSpec
from archsim.metrics.latency import throughput
from archsim.result import (
    Energy,
    PhaseName,
    PhasePower,
    PhaseResult,
    PoolFacts,
    PoolPhase,
    Provenance,
    RequestColumns,
    RequestCounts,
    Result,
    Saturation,
    ScopeLedger,
    SystemFacts,
    Throughput,
    TransferFacts,
)
from archsim.serving.handover import Port
from archsim.serving.merging import merged_records
from archsim.serving.pools import PoolRecords
from archsim.serving.record import Record, Window
from archsim.serving.requests import Limits
from archsim.step.record import StepRecord
from archsim.summary.assemble import result_of_replay
from archsim.summary.cascaded import Worked, cascade_facts
from archsim.summary.facts import Design, Served
from archsim.summary.pooled_tables import scope_in, tables_of_pools
from archsim.summary.service import with_metrics
from archsim.units import PS_PER_S, seconds_of

__all__ = ["Pool", "record_of_pool", "result_of_pools"]

_PICO = 1e12
_BITS = 8
_KV_LINK = "link.kv"


@dataclass(frozen=True, slots=True)
class Pool:
    """One pool of a finished run."""

    name: str
    spec: PoolSpec
    design: Design
    """Of one copy."""
    steps: list[StepRecord]
    records: tuple[Record, ...]
    """Of every server: replicas of the first copy, then those of the next."""
    limits: Limits
    """What a server holds and does."""
    models: tuple[str, ...] = ()
    """Names of the models, where there are several."""

    @property
    def replicas(self) -> int:
        """Servers of one copy."""
        return len(self.design.replicas) or 1


def record_of_pool(records: Sequence[Record], requests: RequestColumns, *, watched: bool = False) -> Record:
    """Return what servers that ended together did as one, with *requests* in place of theirs.

    What was seen between tokens and over time is there where it is *watched*: of all servers of a design, not of some.
    """
    total = Window(0, 0)
    for record in records:
        total.add(record.total)
    total.end_fine = records[0].total.end_fine
    whole = replace(merged_records(records, requests), total=total)
    return whole if watched else replace(whole, observer=None)


def result_of_pools(
    spec: PoolsSpec, pools: Sequence[Pool], replayed: PoolRecords, *, served: Served, provenance: Provenance, toml: str
) -> Result:
    """Return the result of a replay on *pools*; *served* says of what, its search is that of the main pool.

    Raises `SimulationError` where a ledger does not balance.
    """
    results = {pool.name: _result_of(pool, replayed.requests, served, spec.main_machine) for pool in pools}
    main, by_name = results[spec.main_machine], {pool.name: pool for pool in pools}
    chips = sum(pool.spec.replicas * pool.spec.system.chips for pool in pools)
    table, end_ps = replayed.requests, served.record.end_ps
    energy = _energy(spec, results, replayed)
    whole = main.model_copy(
        update={
            "provenance": provenance,
            "system": _system(spec, results, by_name),
            "collectives": _collectives(results.values()),
            "simulated_s": seconds_of(end_ps),
            "requests": RequestCounts(
                offered=len(table.arrival_ps),
                completed=int((table.finish_ps >= 0).sum()),
                rejected=int((table.rejection > 0).sum()),
                preempted=sum(record.preemptions for pool in pools for record in pool.records),
            ),
            "throughput": Throughput(
                **throughput(table.finish_ps, table.output_tokens, elapsed_ps=end_ps, chips=chips)
            ),
            "ledger": _ledger(results, by_name) | _port_ledger(spec, replayed, end_ps),
            "phases": _phases(spec, results, by_name),
            "saturation": _saturation(main.saturation, chips),
            "energy": energy,
            "cost": None,
            "carbon": None,
            "placement": None,
            "uncertainty": None,
            "pools": {name: _facts(by_name[name], result) for name, result in results.items()},
            "kv_transfers": _transfers(replayed),
            "cascade": cascade_facts(spec, _worked(spec, pools, results), replayed),
            "tables": tables_of_pools(
                {name: (result.tables, by_name[name].spec.replicas) for name, result in results.items()}, table, toml
            ),
        }
    )
    return with_metrics(whole, spec.machines[spec.main_machine].system, served.record)


def _worked(spec: PoolsSpec, pools: Sequence[Pool], results: Mapping[str, Result]) -> list[Worked]:
    """Return which model of a cascade worked where; nothing of other designs."""
    if spec.cascade is None:
        return []
    places = {pool.name: (0, 1) if spec.shares_chips else (int(pool.name != spec.cascade.first),) for pool in pools}
    return [
        Worked(pool.name, pool.design, pool.steps, len(pool.records), places[pool.name], results[pool.name])
        for pool in pools
    ]


def _result_of(pool: Pool, requests: RequestColumns, served: Served, main: str) -> Result:
    """Return the result of one copy of *pool* that did in n times the time what all n did, with all *requests*."""
    copies, slots = pool.spec.replicas, pool.replicas
    slotted = []
    for slot in range(slots) if copies * slots > 1 else ():
        record = record_of_pool(pool.records[slot::slots], requests)
        record.total.end_fine *= copies
        slotted.append(record)
    own = replace(
        served,
        record=record_of_pool(pool.records, requests),
        steps=pool.steps,
        limits=pool.limits,
        replicas=tuple(slotted),
        search=served.search if pool.name == main else None,
    )
    system = pool.design.spec
    if system.host_watts is not None:
        system = system.model_copy(update={"host_watts": copies * system.host_watts})
    return result_of_replay(replace(pool.design, spec=system), own)


def _system(spec: PoolsSpec, results: Mapping[str, Result], pools: Mapping[str, Pool]) -> SystemFacts:
    facts = [_scaled_system(name, result, pools[name].spec.replicas) for name, result in results.items()]
    dtypes = list(dict.fromkeys(dtype for fact in facts for dtype in fact.flop_per_s))
    return SystemFacts(
        name=spec.name,
        title=spec.title,
        status=spec.status,
        chip=" + ".join(dict.fromkeys(fact.chip for fact in facts)),
        chips=sum(fact.chips for fact in facts),
        topology="pools",
        main_memory=scope_in(spec.main_machine, results[spec.main_machine].system.main_memory),
        memory_bytes_per_s=math.fsum(fact.memory_bytes_per_s for fact in facts),
        memory_bytes=sum(fact.memory_bytes for fact in facts),
        flop_per_s={dtype: math.fsum(fact.flop_per_s.get(dtype, 0.0) for fact in facts) for dtype in dtypes},
    )


def _scaled_system(name: str, result: Result, copies: int) -> SystemFacts:
    one = result.system
    return one.model_copy(
        update={
            "chips": copies * one.chips,
            "memory_bytes_per_s": copies * one.memory_bytes_per_s,
            "memory_bytes": copies * one.memory_bytes,
            "flop_per_s": {dtype: copies * rate for dtype, rate in one.flop_per_s.items()},
            "main_memory": scope_in(name, one.main_memory),
        }
    )


def _collectives(results: Iterable[Result]) -> dict[str, str]:
    found: dict[str, list[str]] = {}
    for result in results:
        for kind, algorithms in result.collectives.items():
            found.setdefault(kind, []).extend(algorithms.split(", "))
    return {kind: ", ".join(dict.fromkeys(algorithms)) for kind, algorithms in sorted(found.items())}


def _renamed(name: str, ledger: Mapping[str, ScopeLedger], copies: int) -> dict[str, ScopeLedger]:
    return {
        scope_in(name, scope): book.model_copy(update={"peak_per_s": copies * book.peak_per_s})
        for scope, book in ledger.items()
    }


def _ledger(results: Mapping[str, Result], pools: Mapping[str, Pool]) -> dict[str, ScopeLedger]:
    found: dict[str, ScopeLedger] = {}
    for name, result in results.items():
        found |= _renamed(name, result.ledger, pools[name].spec.replicas)
    return found


def _phases(spec: PoolsSpec, results: Mapping[str, Result], pools: Mapping[str, Pool]) -> dict[PhaseName, PhaseResult]:
    """Return the phases of all pools, times as means over all servers; MBU and MFU are the main pool's if it can."""
    order = [spec.main_machine, *(name for name in results if name != spec.main_machine)]
    servers = sum(len(pool.records) for pool in pools.values())
    found: dict[PhaseName, PhaseResult] = {}
    for name in order:
        copies, mine = pools[name].spec.replicas, len(pools[name].records)
        for phase, one in results[name].phases.items():
            time_s = one.time_s / copies * mine / servers
            ledger = _renamed(name, one.ledger, copies)
            if phase in found:
                before = found[phase]
                time_s, ledger = before.time_s + time_s, before.ledger | ledger
                found[phase] = before.model_copy(update={"time_s": time_s, "ledger": ledger})
            else:
                found[phase] = one.model_copy(update={"time_s": time_s, "ledger": ledger})
    return found


def _facts(pool: Pool, result: Result) -> PoolFacts:
    copies = pool.spec.replicas
    return PoolFacts(
        serves=pool.spec.serves,
        replicas=copies,
        system=_scaled_system(pool.name, result, copies),
        model=" + ".join(pool.models) or result.model.name,
        parallelism=result.parallelism,
        completed=sum(record.completed for record in pool.records),
        phases={
            phase: PoolPhase(
                time_share=one.time_s / copies / result.simulated_s if result.simulated_s else 0.0,
                mbu=one.mbu,
                mfu=one.mfu,
            )
            for phase, one in result.phases.items()
        },
        energy=result.energy,
    )


def _saturation(found: Saturation | None, chips: int) -> Saturation | None:
    if found is None or found.output_tokens_per_s is None:
        return found
    return found.model_copy(update={"output_tokens_per_s_per_chip": found.output_tokens_per_s / chips})


def _energy(spec: PoolsSpec, results: Mapping[str, Result], replayed: PoolRecords) -> Energy | None:
    pools = {name: result.energy for name, result in results.items() if result.energy is not None}
    if not pools:
        return None
    parts = {f"{name}/{part}": joules for name, one in pools.items() for part, joules in one.by_part.items()}
    absent = {f"{name}/{part}" for name, one in pools.items() for part in one.absent}
    absent |= {f"{name}/chip" for name, result in results.items() if result.energy is None}
    moved = 0.0
    if spec.link is not None and replayed.transfers is not None and replayed.transfers.sent_bytes:
        if spec.link.pj_per_bit is None:
            absent.add(_KV_LINK)
        else:
            moved = parts[_KV_LINK] = _BITS * replayed.transfers.sent_bytes * float(spec.link.pj_per_bit) / _PICO
    first = next(iter(results.values()))
    tokens = first.tokens.output
    sums = [math.fsum([moved, *(getattr(one, key) for one in pools.values())])
            for key in ("joules", "joules_low", "joules_high")]  # fmt: skip
    per_token = [joules / tokens if tokens else None for joules in sums]
    draws = {one.tdp_watts for one in pools.values()}
    return Energy(
        joules=sums[0],
        joules_low=sums[1],
        joules_high=sums[2],
        joules_per_output_token=per_token[0],
        joules_per_output_token_low=per_token[1],
        joules_per_output_token_high=per_token[2],
        average_watts=sums[0] / first.simulated_s if first.simulated_s else 0.0,
        by_part=dict(sorted(parts.items())),
        absent=sorted(absent),
        phases=_powers(pools),
        tdp_watts=draws.pop() if len(draws) == 1 else None,
        over_tdp=list(dict.fromkeys(phase for one in pools.values() for phase in one.over_tdp)),
    )


def _powers(pools: Mapping[str, Energy]) -> dict[PhaseName, PhasePower]:
    names = dict.fromkeys(phase for one in pools.values() for phase in one.phases)
    found: dict[PhaseName, PhasePower] = {}
    for phase in names:
        powers = {name: one.phases[phase] for name, one in pools.items() if phase in one.phases}
        joules = math.fsum(power.joules for power in powers.values())
        chip_s = math.fsum(power.joules / power.chip_watts for power in powers.values() if power.chip_watts)
        parts = {f"{name}/{part}": j for name, power in powers.items() for part, j in power.by_part.items()}
        found[phase] = PhasePower(joules=joules, chip_watts=joules / chip_s if chip_s else 0.0, by_part=parts)
    return found


def _transfers(replayed: PoolRecords) -> TransferFacts | None:
    sums = replayed.transfers
    if sums is None:
        return None
    mean = [seconds_of(total) / sums.count if sums.count else None for total in (sums.waited_ps, sums.took_ps)]
    return TransferFacts(count=sums.count, bytes=sums.sent_bytes, wait_s=mean[0], time_s=mean[1])


def _port_ledger(spec: PoolsSpec, replayed: PoolRecords, end_ps: int) -> dict[str, ScopeLedger]:
    """Return the book of the ports of each pool."""
    if spec.link is None:
        return {}
    order = [spec.pool_that("prefill"), spec.pool_that("decode")]
    return {
        f"link.kv.{name}": _book(spec.link.bytes_per_s * spec.pools[name].replicas, ports, end_ps, replayed)
        for name, ports in zip(order, replayed.ports, strict=True)
    }


def _book(peak: int, ports: Sequence[Port], end_ps: int, replayed: PoolRecords) -> ScopeLedger:
    """Return where the *peak* of *ports* went until *end_ps*: picoseconds of bytes, of waiting, and between.

    What a port passes more slowly than it could, it waits for the other end (`network`).
    """
    span_ps = len(ports) * end_ps
    rate = peak / len(ports)
    moved = math.fsum(port.sent_bytes for port in ports) / rate * PS_PER_S
    sending, held = sum(port.sending_ps for port in ports), sum(port.held_ps for port in ports)
    idle = sum(port.idle_until(end_ps) for port in ports)
    rounded = replayed.transfers.count if replayed.transfers else 0
    slower = "rounding" if sending - moved <= rounded else "network"
    books = {"moved": moved, "compute": held, "idle": idle, slower: sending - moved}
    if sending + held + idle != span_ps:
        raise AssertionError(f"ports passed {sending} ps, waited {held} and idled {idle} of {span_ps}")
    return ScopeLedger(
        peak_per_s=float(peak), unit="B/s", accounts={name: share / span_ps for name, share in books.items() if share}
    )
