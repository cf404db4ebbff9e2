"""Put a `Result` together: facts of the design, latencies of the requests, ledgers of the phases."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, partial

import numpy as np

from archsim.mapping.parallelism import WAYS
from archsim.metrics.energy import Use
from archsim.metrics.latency import summary
from archsim.metrics.mixing import useful_share
from archsim.report.shown import VIEW
from archsim.result import (
    SCHEMA,
    Latency,
    ParallelismFacts,
    PercentileFacts,
    PhaseResult,
    Provenance,
    RequestColumns,
    RequestCounts,
    Result,
    Saturation,
    ServingFacts,
    Slo,
    Summary,
    Tables,
    Throughput,
    TokenCounts,
)
from archsim.serving.costs import FINE_BITS
from archsim.serving.record import PhaseUse, Window
from archsim.serving.speculation import PERIOD, Pattern
from archsim.step.record import StepRecord
from archsim.summary.books import ledger_of, phase_results
from archsim.summary.energy import energy_of
from archsim.summary.facts import (
    Design,
    Served,
    algorithms_of,
    model_facts,
    provenance_of,
    step_provenance,
    system_facts,
)
from archsim.summary.kv_tier import tier_uses, with_tier
from archsim.summary.parts import Books, Part, Whole, wholes_of
from archsim.summary.phases import seconds
from archsim.summary.requests import latency_of, percentile_facts, request_counts, throughput_of, token_counts
from archsim.summary.scaling import off_seconds, standby_uses, with_scaling
from archsim.summary.service import with_metrics
from archsim.summary.serving import serving_facts
from archsim.summary.tables import ledger_columns
from archsim.summary.tiers import tier_facts
from archsim.units import seconds_of

__all__ = ["Design", "Served", "result_of_replay", "result_of_step"]


@dataclass(frozen=True, slots=True)
class _Measured:
    """What a result says of requests."""

    provenance: Provenance
    requests: RequestCounts
    tokens: TokenCounts
    throughput: Throughput
    latency_s: Latency
    saturation: Saturation | None
    columns: RequestColumns | None
    simulated_s: float
    serving: ServingFacts | None = None
    beside: tuple[Use, ...] = ()
    """What is charged for beside chips, links and hosts."""
    off_s: tuple[float, ...] = ()
    """Time in which each replica was off."""
    percentiles: PercentileFacts | None = None


def result_of_replay(design: Design, served: Served) -> Result:
    """Return the result of a replay. Raises `SimulationError` where a ledger does not balance."""
    record = served.record
    measured = _Measured(
        provenance=provenance_of(design, served),
        requests=request_counts(record),
        tokens=token_counts(record),
        throughput=throughput_of(record, chips=design.spec.chips),
        latency_s=latency_of(record, served.counted),
        saturation=_saturation(design, served),
        columns=None if record.tally else record.requests,
        simulated_s=seconds(record.total.end_fine),
        serving=serving_facts(design.spec, record, served.limits),
        beside=(*tier_uses(design, record), *standby_uses(design, served)),
        off_s=off_seconds(served),
        percentiles=percentile_facts(record),
    )
    books = Books(served.steps)
    parts = [
        books.part(run.windows, run.total, replica=replica)
        for run, replica in zip(served.replicas or (record,), design.replicas or (None,), strict=True)
    ]
    fleet = parts[0]
    if served.replicas:
        fleet = books.part(record.windows, record.total, replica=next(iter(design.replicas), None))
    result = with_tier(_result(design, served.steps, _Ledgers(parts, fleet), measured), design, served)
    return with_metrics(with_scaling(result, served), design.spec, record)


def result_of_step(
    design: Design,
    steps: Sequence[StepRecord],
    shares: Sequence[int],
    *,
    context: int,
    tables: bool = True,
    pattern: Pattern | None = None,
) -> Result:
    """Return the result of one decode iteration, evaluated without a trace: its time is the TPOT.

    *shares* are the sequences of each replica, each of which runs an iteration of its own; *steps* holds one record
    for every different share that is not zero, in the order in which the shares first name them. Without *tables* the
    result has none: they take a tenth of the time, and a study of many points reads none. With *pattern* of guesses a
    whole period of iterations stands for one, so that tokens are whole numbers.
    """
    known = dict(zip(dict.fromkeys(filter(None, shares)), steps, strict=True))
    count, yielded = (PERIOD, pattern.period_tokens) if pattern else (1, 1)
    runs = _iterations_alone(known, shares, count=count, yielded=yielded)
    batch = sum(shares)
    times_s = [seconds_of(count * known[share].time_ps) / yielded for share in shares if share]
    rate = math.fsum(share / time_s for share, time_s in zip(filter(None, shares), times_s, strict=True))
    of_sequences = np.repeat(times_s, [share for share in shares if share])
    absent = Summary(mean=None, p50=None, p90=None, p95=None, p99=None)
    measured = _Measured(
        provenance=step_provenance(design, steps, options=f"--batch {batch} --context {context}"),
        requests=RequestCounts(offered=0, completed=0, rejected=0, preempted=0),
        tokens=TokenCounts(prompt=0, output=batch * yielded),
        throughput=Throughput(
            output_tokens_per_s=rate, output_tokens_per_s_per_chip=rate / design.spec.chips, requests_per_s=None
        ),
        latency_s=Latency(
            ttft=absent,
            # Equal times are one value: the mean of many would differ from it in the last bit.
            tpot=Summary(**summary(of_sequences if len(set(times_s)) > 1 else of_sequences[:1])),
            e2e=absent,
        ),
        saturation=None,
        columns=None,
        simulated_s=seconds(max(run.end_fine for run in runs)),
    )
    replicas = design.replicas or (None,)
    books = Books(steps)
    parts = [books.part((run,), run, replica=replica) for run, replica in zip(runs, replicas, strict=True)]
    together = _together(runs)
    fleet = books.part((together,), together, replica=replicas[0]) if len(runs) > 1 else parts[0]
    return _result(design, steps, _Ledgers(parts, fleet), measured, tables=tables)


def _iterations_alone(known: dict[int, StepRecord], shares: Sequence[int], *, count: int, yielded: int) -> list[Window]:
    """Return what each replica does: *count* iterations of its share, or nothing for the time of the longest.

    Replicas of one share have one window.
    """
    places = {share: place for place, share in enumerate(known)}
    longest = count * max(step.time_ps for step in known.values()) << FINE_BITS
    runs = {}
    for share in dict.fromkeys(shares):
        end_fine = count * known[share].time_ps << FINE_BITS if share else longest
        run = Window(0, end_fine, output_tokens=share * yielded)
        if share:
            run.phases["decode"] = PhaseUse(count, run.end_fine, {places[share]: count << FINE_BITS})
        else:
            run.idle_fine = longest
        runs[share] = run
    return [runs[share] for share in shares]


def _together(runs: Sequence[Window]) -> Window:
    """Return what replicas did side by side, as one."""
    whole = Window(0, max(run.end_fine for run in runs))
    for run in runs:
        whole.idle_fine += run.idle_fine
        for phase, use in run.phases.items():
            whole.phases.setdefault(phase, PhaseUse()).add(use)
    return whole


@dataclass(frozen=True, slots=True)
class _Ledgers:
    """What ledgers are read off."""

    parts: list[Part]
    """One a replica."""
    fleet: Part
    """The first replica's part with what all did together."""


def _result(
    design: Design, steps: Sequence[StepRecord], ledgers: _Ledgers, measured: _Measured, *, tables: bool = True
) -> Result:
    parts, wholes = ledgers.parts, wholes_of(ledgers.parts)
    memory = _main_scope(design, parts, wholes)
    phases = phase_results(parts, wholes, memory)
    decode = phases.get("decode")
    ledger = ledger_of(parts, wholes)
    return Result(
        schema_=SCHEMA,
        provenance=measured.provenance,
        system=system_facts(design, memory),
        model=model_facts(design),
        parallelism=ParallelismFacts(**{name: getattr(design.parallelism, name) for name in WAYS}),
        collectives=algorithms_of(steps),
        simulated_s=measured.simulated_s,
        requests=measured.requests,
        tokens=measured.tokens,
        throughput=measured.throughput,
        latency_s=measured.latency_s,
        mbu=decode.mbu if decode else None,
        mbu_array=_array_mbu(design, decode),
        mfu=decode.mfu if decode else None,
        ledger=ledger,
        phases=phases,
        saturation=measured.saturation,
        energy=energy_of(
            design.spec,
            parts,
            steps,
            costs=design.energy_costs,
            simulated_s=measured.simulated_s,
            output_tokens=measured.tokens.output,
            beside=measured.beside,
            off_s=measured.off_s,
        ),
        cost=None,
        carbon=None,
        placement=tier_facts(design, ledger),
        serving=measured.serving,
        percentiles=measured.percentiles,
        tables=_tables(design, steps, ledgers, wholes, measured.columns) if tables else None,
    )


def _tables(
    design: Design,
    steps: Sequence[StepRecord],
    ledgers: _Ledgers,
    wholes: Sequence[Whole],
    requests: RequestColumns | None,
) -> Tables:
    return Tables(
        make_ledger=cache(partial(ledger_columns, steps, ledgers.parts, wholes, ledgers.fleet, design.system)),
        resolved_toml=design.resolved_toml,
        requests=requests,
        view=VIEW,
    )


def _main_scope(design: Design, parts: Sequence[Part], wholes: Sequence[Whole]) -> str:
    """Return the scope of the main memory of all chips."""
    scopes = [whole.scope for whole in wholes] or list(parts[0].scopes)
    main = design.spec.chip.main_memory
    suffix = f".{main}.phy" if main in design.system.near else f".{main}"
    return next(scope.name for scope in scopes if scope.kind == "memory" and scope.name.endswith(suffix))


def _array_mbu(design: Design, decode: PhaseResult | None) -> float | None:
    """Return the useful share of the arrays' peak while decoding; None where no memory has units near it."""
    if decode is None or not design.system.near:
        return None
    main = design.spec.chip.main_memory
    memory = main if main in design.system.near else next(iter(design.system.near))
    book = next(book for scope, book in decode.ledger.items() if scope.endswith(f".{memory}.array"))
    return useful_share(book.accounts)


def _saturation(design: Design, served: Served) -> Saturation | None:
    search = served.search
    if search is None or served.slo_s is None:
        return None
    decode = None
    if search.steady is not None:
        parts = [Books(served.steps).part((search.steady,), search.steady)]
        wholes = wholes_of(parts)
        decode = phase_results(parts, wholes, _main_scope(design, parts, wholes)).get("decode")
    rate = search.output_tokens_per_s
    return Saturation(
        at_slo=Slo(tpot_p99_s=served.slo_s),
        requests=served.offered_per_search,
        requests_per_s=search.requests_per_s,
        output_tokens_per_s=rate,
        output_tokens_per_s_per_chip=None if rate is None else rate / design.spec.chips,
        tpot_p99_s=search.tpot_p99_s,
        mbu=decode.mbu if decode else None,
        mfu=decode.mfu if decode else None,
        limited_by=search.limited_by,
    )
