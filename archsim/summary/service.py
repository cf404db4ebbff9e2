"""What was measured of a run beyond latencies: times between tokens, goodput, fairness, what a request takes."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from archsim.hardware.serving_spec import MetricsSpec
from archsim.hardware.spec import SystemSpec
from archsim.metrics.columns import RequestColumns
from archsim.metrics.latency import percentile
from archsim.metrics.service import binned_percentile, jain_index, met, output_rates, shares_of_requests
from archsim.metrics.techniques import EnergyFacts, GapFacts, GoodputFacts, MetricFacts, ServingFacts
from archsim.result import Result
from archsim.serving.observe import Gaps, Observer
from archsim.serving.queue import class_of
from archsim.serving.record import Record
from archsim.summary.phases import seconds
from archsim.units import seconds_of

__all__ = ["with_metrics"]


def with_metrics(result: Result, spec: SystemSpec, record: Record) -> Result:
    """Return *result* of *record* with what `[serving.metrics]` of *spec* asks for; as it is where that is nothing."""
    asked = spec.serving.metrics if spec.serving else None
    if asked is None or record.observer is None or result.tables is None:
        return result
    if result.cascade is not None:
        # What a request of a cascade takes is worked out by class, from what either model did for it.
        tables = replace(result.tables, series=tuple(record.observer.series.rows()))
        facts = _facts(result, record, asked, record.observer, shares=())
        serving = (result.serving or ServingFacts()).model_copy(update={"metrics": facts})
        return result.model_copy(update={"serving": serving, "tables": tables})
    joules = _joules(result, record.requests)
    times = {name: phase.time_s for name, phase in result.phases.items()}
    whole = math.fsum(times.values())
    shares = shares_of_requests(record.requests, {name: time_s / whole for name, time_s in times.items()})
    tables = replace(
        result.tables,
        series=tuple(record.observer.series.rows()),
        joules=tuple(joules.tolist()) if joules is not None else (),
        time_shares=tuple(shares.tolist()),
    )
    classes = spec.serving.priority.shares if spec.serving and spec.serving.priority else ()
    facts = _facts(result, record, asked, record.observer, shares=classes)
    serving = (result.serving or ServingFacts()).model_copy(update={"metrics": facts})
    spent = None if joules is None else _spent(joules[record.requests.finish_ps >= 0])
    serving = serving.model_copy(update={"metrics": facts.model_copy(update={"joules_per_request": spent})})
    return result.model_copy(update={"serving": serving, "tables": tables})


def _fairness(requests: RequestColumns, shares: tuple[int, ...]) -> dict[str, float | None]:
    """Return Jain's index over requests, and over the mean rates of classes where there are some."""
    found = {"requests": jain_index(output_rates(requests))}
    if shares:
        rates = output_rates(requests)
        served = np.flatnonzero((requests.finish_ps >= 0) & (requests.finish_ps > requests.arrival_ps))
        ranks = np.array([class_of(int(number), shares) for number in served])
        of_classes = [rates[ranks == rank] for rank in range(len(shares))]
        found["classes"] = jain_index(np.array([each.mean() for each in of_classes if len(each)]))
    return found


def _facts(
    result: Result, record: Record, asked: MetricsSpec, observer: Observer, *, shares: tuple[int, ...]
) -> MetricFacts:
    rows = list(observer.series.rows())
    time_ps = sum(row[1] for row in rows)
    means = [math.fsum(row[1] * row[place] for row in rows) / time_ps if time_ps else None for place in (2, 3, 4)]
    return MetricFacts(
        inter_token_s=_gap_facts(observer.gaps),
        goodput=_goodput(result, record.requests, asked),
        fairness=_fairness(record.requests, shares),
        joules_per_request=None,
        mean_waiting=means[0],
        mean_running=means[1],
        mean_kv_blocks=means[2],
    )


def _gap_facts(gaps: Gaps) -> GapFacts:
    count = sum(gaps.bins.values())
    edges = {f"p{percent}": binned_percentile(gaps.bins, percent) for percent in (50, 90, 95, 99)}
    return GapFacts(
        count=count,
        mean=seconds(gaps.total_fine) / count if count else None,
        **{name: None if edge is None else seconds_of(edge) for name, edge in edges.items()},
    )


def _goodput(result: Result, requests: RequestColumns, asked: MetricsSpec) -> GoodputFacts | None:
    levels = [None if ps is None else seconds_of(ps) for ps in (asked.slo_ttft_ps, asked.slo_tpot_ps)]
    if levels == [None, None]:
        return None
    good = int(met(requests, ttft_s=levels[0], tpot_s=levels[1]).sum())
    return GoodputFacts(
        slo_ttft_s=levels[0],
        slo_tpot_s=levels[1],
        requests_per_s=good / result.simulated_s if result.simulated_s else None,
        share=good / len(requests.arrival_ps) if len(requests.arrival_ps) else None,
    )


def _joules(result: Result, requests: RequestColumns) -> np.ndarray[tuple[int], np.dtype[np.float64]] | None:
    if result.energy is None:
        return None
    by_phase = {str(name): power.joules for name, power in result.energy.phases.items()}
    # What is of no phase (hosts) is spent for all tokens alike.
    return shares_of_requests(requests, by_phase | {"host": result.energy.joules - math.fsum(by_phase.values())})


def _spent(joules: np.ndarray[tuple[int], np.dtype[np.float64]]) -> EnergyFacts | None:
    if not len(joules):
        return None
    ordered = np.sort(joules)
    return EnergyFacts(mean=float(ordered.mean()), p50=percentile(ordered, 50), p99=percentile(ordered, 99))
