"""Put a `Result` together: facts of the design, latencies of the requests, ledgers of the phases."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from archsim.files import digest_of
from archsim.hardware.library import resolved_toml
from archsim.hardware.spec import SystemSpec
from archsim.hardware.system import System
from archsim.mapping.parallelism import WAYS, Parallelism
from archsim.mapping.placement import Placement
from archsim.metrics.latency import end_to_end_s, summary, throughput, tpot_s, ttft_s
from archsim.result import (
    ARCHSIM_VERSION,
    SCHEMA,
    Latency,
    ModelFacts,
    ParallelismFacts,
    Provenance,
    RequestColumns,
    RequestCounts,
    Result,
    Saturation,
    Slo,
    Summary,
    SystemFacts,
    Tables,
    Throughput,
    TokenCounts,
)
from archsim.serving.costs import FINE_BITS
from archsim.serving.record import PhaseUse, Record, Window
from archsim.serving.saturation import Saturation as Search
from archsim.step.record import StepRecord
from archsim.summary.books import columns_of, ledger_of, main_scope, phase_results, seconds
from archsim.summary.tables import ledger_columns
from archsim.units import format_quantity, seconds_of
from archsim.workload.model import Model
from archsim.workload.precision import Precision
from archsim.workload.tensors import active_parameter_count, parameter_count
from archsim.workload.trace import Trace

__all__ = ["Design", "Served", "result_of_replay", "result_of_step"]

FIDELITY = {
    "memory": "closed form: refresh factor, and bytes in flight over latency",
    "network": "flow-level max-min sharing of every collective's messages",
    "step": "discrete events: operators, chunks and collectives on engines, levels and links",
    "replay": "exact jumps over step costs that are piecewise linear between simulated knots",
}
"""Which mechanism answered for each floor."""


@dataclass(frozen=True, slots=True)
class Design:
    """What was run: a model placed on a system."""

    spec: SystemSpec
    model: Model
    precision: Precision
    parallelism: Parallelism
    placement: Placement
    system: System


@dataclass(frozen=True, slots=True)
class Served:
    """A finished replay and what it was a replay of."""

    record: Record
    steps: list[StepRecord]
    """The knots that the record's weights refer to."""
    trace: Trace
    seed: int
    slo_s: float | None
    search: Search | None
    offered_per_search: int
    """Requests of the slice that saturation was searched on."""


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


def result_of_replay(design: Design, served: Served) -> Result:
    """Return the result of a replay. Raises `SimulationError` where a ledger does not balance."""
    record, table = served.record, served.record.requests
    done = table.finish_ps >= 0
    rates = throughput(table.finish_ps, table.output_tokens, elapsed_ps=record.end_ps, chips=design.spec.chips)
    measured = _Measured(
        provenance=_provenance(design, served),
        requests=RequestCounts(
            offered=len(table.arrival_ps),
            completed=record.completed,
            rejected=record.rejected,
            preempted=record.preemptions,
        ),
        tokens=TokenCounts(prompt=int(table.prompt_tokens[done].sum()), output=int(table.output_tokens[done].sum())),
        throughput=Throughput(**rates),
        latency_s=Latency(
            ttft=Summary(**summary(ttft_s(table.arrival_ps, table.first_token_ps))),
            tpot=Summary(**summary(tpot_s(table.first_token_ps, table.finish_ps, table.output_tokens))),
            e2e=Summary(**summary(end_to_end_s(table.arrival_ps, table.finish_ps))),
        ),
        saturation=_saturation(design, served),
        columns=table,
    )
    return _result(design, served.steps, record.windows, record.total, measured)


def result_of_step(design: Design, step: StepRecord, *, batch: int, context: int) -> Result:
    """Return the result of one decode iteration, evaluated without a trace: its time is the TPOT."""
    total = Window(0, step.time_ps << FINE_BITS, output_tokens=batch)
    total.phases["decode"] = PhaseUse(1, total.end_fine, {0: 1 << FINE_BITS})
    time_s = seconds_of(step.time_ps)
    absent = Summary(mean=None, p50=None, p90=None, p95=None, p99=None)
    measured = _Measured(
        provenance=Provenance(
            archsim_version=ARCHSIM_VERSION,
            command=f"{_command(design)} --batch {batch} --context {context}",
            config_digest=digest_of(resolved_toml(design.spec).encode()),
            trace_name=None,
            trace_digest=None,
            sampled=False,
            seed=0,
            fidelity=FIDELITY,
            event_count=step.event_count,
        ),
        requests=RequestCounts(offered=0, completed=0, rejected=0, preempted=0),
        tokens=TokenCounts(prompt=0, output=batch),
        throughput=Throughput(
            output_tokens_per_s=batch / time_s,
            output_tokens_per_s_per_chip=batch / time_s / design.spec.chips,
            requests_per_s=None,
        ),
        latency_s=Latency(
            ttft=absent, tpot=Summary(mean=time_s, p50=time_s, p90=time_s, p95=time_s, p99=time_s), e2e=absent
        ),
        saturation=None,
        columns=None,
    )
    return _result(design, [step], (total,), total, measured)


def _result(
    design: Design, steps: list[StepRecord], windows: Sequence[Window], total: Window, measured: _Measured
) -> Result:
    columns, scopes = columns_of(steps), steps[0].scopes
    memory = main_scope(scopes, design.spec.chip.main_memory)
    phases = phase_results(columns, scopes, total, memory)
    decode = phases.get("decode")
    return Result(
        schema_=SCHEMA,
        provenance=measured.provenance,
        system=_system_facts(design, memory),
        model=_model_facts(design),
        parallelism=ParallelismFacts(**{name: getattr(design.parallelism, name) for name in WAYS}),
        collectives=_algorithms(steps),
        simulated_s=seconds(total.end_fine),
        requests=measured.requests,
        tokens=measured.tokens,
        throughput=measured.throughput,
        latency_s=measured.latency_s,
        mbu=decode.mbu if decode else None,
        mbu_array=None,
        mfu=decode.mfu if decode else None,
        ledger=ledger_of(columns, scopes, total),
        phases=phases,
        saturation=measured.saturation,
        energy=None,
        cost=None,
        carbon=None,
        tables=Tables(
            ledger=ledger_columns(steps, windows, design.system),
            resolved_toml=resolved_toml(design.spec),
            requests=measured.columns,
        ),
    )


def _algorithms(steps: Sequence[StepRecord]) -> dict[str, str]:
    """Return for each kind of collective the algorithms that ran it, those for small messages first."""
    sizes: dict[str, dict[str, int]] = {}
    for step in steps:
        for kind, size, algorithm in step.collectives:
            seen = sizes.setdefault(kind, {})
            seen[algorithm] = min(size, seen.get(algorithm, size))
    return {kind: ", ".join(sorted(seen, key=lambda name: (seen[name], name))) for kind, seen in sorted(sizes.items())}


def _system_facts(design: Design, memory: str) -> SystemFacts:
    spec = design.spec
    main = spec.chip.memory[spec.chip.main_memory]
    return SystemFacts(
        name=spec.name,
        title=spec.title,
        status=spec.status,
        chip=spec.chip.name,
        chips=spec.chips,
        topology=spec.network.topology,
        main_memory=memory,
        memory_bytes_per_s=float(spec.chips * main.peak_bytes_per_s),
        memory_bytes=spec.chips * main.capacity_bytes,
        flop_per_s={dtype: float(spec.chips * rate) for dtype, rate in spec.chip.engine["matrix"].flop_per_s.items()},
    )


def _model_facts(design: Design) -> ModelFacts:
    model, precision, placement = design.model, design.precision, design.placement
    bits = model.kv_elements_per_token * precision.kv_bits
    return ModelFacts(
        name=model.name,
        precision=str(precision),
        parameters=parameter_count(model),
        active_parameters=active_parameter_count(model),
        weight_bytes=placement.weight_bytes,
        kv_bytes_per_token=bits // 8,
        max_context_tokens=model.max_context,
    )


def _command(design: Design) -> str:
    """Return the command that asks for this design, with every choice written out."""
    ways = _written(design.parallelism)
    return (
        f"archsim run {design.spec.name} --model {design.model.name} --precision {design.precision} --parallel {ways}"
    )


def _written(ways: Parallelism) -> str:
    """Return *ways* as `--parallel` reads them, without what is 1."""
    sizes = {name: getattr(ways, name) for name in WAYS}
    order = "" if ways.order == "tp_inner" else f",order={ways.order}"
    # A dp of 1 is written beside an ep, which would else be taken to ask for more.
    named = [f"{name}={size}" for name, size in sizes.items() if size > 1 or (name == "dp" and ways.ep > 1)]
    return (",".join(named) or "tp=1") + order


def _provenance(design: Design, served: Served) -> Provenance:
    trace = served.trace
    events = served.record.event_count + sum(step.event_count for step in served.steps)
    slo = f" --saturate --slo '{format_quantity(served.slo_s, 's', digits=9)}'" if served.slo_s else ""
    return Provenance(
        archsim_version=ARCHSIM_VERSION,
        command=f"{_command(design)} {trace.options} --seed {served.seed}{slo}",
        config_digest=digest_of(resolved_toml(design.spec).encode()),
        trace_name=trace.name,
        trace_digest=trace.digest,
        sampled=trace.sampled,
        seed=served.seed,
        fidelity=FIDELITY,
        event_count=events,
    )


def _saturation(design: Design, served: Served) -> Saturation | None:
    search = served.search
    if search is None or served.slo_s is None:
        return None
    decode = None
    if search.steady is not None:
        columns, scopes = columns_of(served.steps), served.steps[0].scopes
        memory = main_scope(scopes, design.spec.chip.main_memory)
        decode = phase_results(columns, scopes, search.steady, memory).get("decode")
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
