"""Metrics of a point: a flat table of names, each a number read off the result, the system, or both.

A new metric is one row of `METRICS`. One that `of_system` states is known before anything runs: a point that breaks a
constraint on it is not simulated. Names carry SI units; a metric that is absent is None.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction

from archsim.hardware.spec import SystemSpec
from archsim.result import Result
from archsim.units import parse_quantity

__all__ = ["METRICS", "Metric", "Number", "metrics_of", "number_of", "system_metrics"]

Number = float | int | None
"""A metric of a point; None: absent."""


@dataclass(frozen=True, slots=True)
class Metric:
    """One number of a point."""

    title: str
    """What it is, for axes of figures."""
    unit: str
    """SI unit as printed; empty: a plain number."""
    dimension: str = ""
    """Key of `archsim.units.UNITS` in which constraints are written; empty: a plain number."""
    of_result: Callable[[Result], Number] | None = None
    of_system: Callable[[SystemSpec], Number] | None = None
    of_both: Callable[[Result, SystemSpec], Number] | None = None


def _times_chips(value: Fraction | None, spec: SystemSpec) -> float | None:
    return None if value is None else float(value * spec.chips)


def _account(group: str) -> Callable[[Result], Number]:
    """Return the share of the main memory's decode ledger in accounts whose name begins with *group*."""

    def share(result: Result) -> float | None:
        phase = result.phases.get("decode")
        if phase is None:
            return None
        accounts = phase.ledger[result.system.main_memory].accounts
        return math.fsum(accounts[name] for name in sorted(accounts) if name.startswith(group))

    return share


def _energy(field: str) -> Callable[[Result], Number]:
    """Return a figure of the energy of a run; None where parts are absent from it: a lower bound ranks nothing."""

    def figure(result: Result) -> float | None:
        known = result.energy is not None and not result.energy.absent
        value: float | None = getattr(result.energy, field) if known else None
        return value

    return figure


def _rate_per(metric: str) -> Callable[[Result, SystemSpec], Number]:
    """Return tokens/s over what the system states as *metric*."""

    def rate(result: Result, spec: SystemSpec) -> float | None:
        whole = system_metrics(spec)[metric]
        tokens_per_s = result.throughput.output_tokens_per_s
        return tokens_per_s / whole if whole and tokens_per_s is not None else None

    return rate


def _cost(end: str) -> Callable[[Result], Number]:
    """Return USD per million output tokens at an *end*; None where a part has no price.

    A search must not prefer what nobody has priced; a part of the energy alone may lack its figure.
    """

    def usd(result: Result) -> float | None:
        cost = result.cost
        if cost is None or any(not part.startswith("energy.") for part in cost.absent):
            return None
        return float(getattr(cost, f"usd_per_million_output_tokens{end}"))

    return usd


def _carbon(end: str) -> Callable[[Result], Number]:
    """Return g CO2e per million output tokens at an *end*, None where the energy, or a chip's making, has no figure."""

    def grams(result: Result) -> float | None:
        carbon = result.carbon
        if carbon is None or any(part == "energy" or part.startswith("embodied.chip") for part in carbon.absent):
            return None
        return float(getattr(carbon, f"g_co2e_per_million_output_tokens{end}"))

    return grams


def _capital(result: Result) -> float | None:
    """Return what the system costs to buy; None where a part has no price."""
    cost = result.cost
    if cost is None or any(not part.startswith("energy") for part in cost.absent):
        return None
    return math.fsum(usd.mid for usd in cost.capital_usd.values())


def _end(bar: str, end: str) -> Callable[[Result], Number]:
    """Return the *end*, `low` or `high`, of an 80 % interval; None where a result has no such interval."""

    def figure(result: Result) -> float | None:
        found = None if result.uncertainty is None else getattr(result.uncertainty, bar)
        value: float | None = None if found is None else getattr(found, end)
        return value

    return figure


def _extrapolated(result: Result) -> int | None:
    return None if result.uncertainty is None else int(bool(result.uncertainty.extrapolated))


METRICS: dict[str, Metric] = {
    "tokens_per_s": Metric("output tokens/s", "1/s", of_result=lambda r: r.throughput.output_tokens_per_s),
    "tokens_per_s_low": Metric("output tokens/s, low end", "1/s", of_result=_end("output_tokens_per_s", "low")),
    "tokens_per_s_high": Metric("output tokens/s, high end", "1/s", of_result=_end("output_tokens_per_s", "high")),
    "tokens_per_s_per_chip": Metric(
        "output tokens/s per chip", "1/s", of_result=lambda r: r.throughput.output_tokens_per_s_per_chip
    ),
    "tpot_s_mean": Metric("mean time per output token", "s", "s", of_result=lambda r: r.latency_s.tpot.mean),
    "tpot_s_mean_low": Metric("mean time per output token, low end", "s", "s", of_result=_end("tpot_s", "low")),
    "tpot_s_mean_high": Metric("mean time per output token, high end", "s", "s", of_result=_end("tpot_s", "high")),
    "extrapolated": Metric("1: outside what was validated", "", of_result=_extrapolated),
    "tpot_s_p50": Metric("median time per output token", "s", "s", of_result=lambda r: r.latency_s.tpot.p50),
    "tpot_s_p99": Metric("time per output token, p99", "s", "s", of_result=lambda r: r.latency_s.tpot.p99),
    "ttft_s_p50": Metric("median time to first token", "s", "s", of_result=lambda r: r.latency_s.ttft.p50),
    "ttft_s_p99": Metric("time to first token, p99", "s", "s", of_result=lambda r: r.latency_s.ttft.p99),
    "e2e_s_p50": Metric("median end-to-end latency", "s", "s", of_result=lambda r: r.latency_s.e2e.p50),
    "tokens_per_s_per_user": Metric(
        "tokens/s of one user", "1/s", of_result=lambda r: 1 / r.latency_s.tpot.p50 if r.latency_s.tpot.p50 else None
    ),
    "mbu": Metric("MBU", "", "share", of_result=lambda r: r.mbu),
    "mbu_array": Metric("MBU of the array", "", "share", of_result=lambda r: r.mbu_array),
    "mfu": Metric("MFU", "", "share", of_result=lambda r: r.mfu),
    "waits_for_network": Metric("peak x time lost to the network", "", "share", of_result=_account("network")),
    "waits_for_latency": Metric("peak x time lost to latency", "", "share", of_result=_account("latency")),
    "completed": Metric("completed requests", "", of_result=lambda r: r.requests.completed),
    "rejected": Metric("rejected requests", "", of_result=lambda r: r.requests.rejected),
    "saturation_tokens_per_s": Metric(
        "output tokens/s at saturation", "1/s",
        of_result=lambda r: r.saturation.output_tokens_per_s if r.saturation else None,
    ),
    "saturation_tokens_per_s_low": Metric(
        "output tokens/s at saturation, low end", "1/s", of_result=_end("saturation_output_tokens_per_s", "low")
    ),
    "saturation_tokens_per_s_high": Metric(
        "output tokens/s at saturation, high end", "1/s", of_result=_end("saturation_output_tokens_per_s", "high")
    ),
    "saturation_requests_per_s": Metric(
        "requests/s at saturation", "1/s", of_result=lambda r: r.saturation.requests_per_s if r.saturation else None
    ),
    "energy_j_per_token": Metric("energy per output token", "J", of_result=_energy("joules_per_output_token")),
    "energy_j_per_token_low": Metric(
        "energy per output token, low end", "J", of_result=_energy("joules_per_output_token_low")
    ),
    "energy_j_per_token_high": Metric(
        "energy per output token, high end", "J", of_result=_energy("joules_per_output_token_high")
    ),
    "average_w": Metric("mean power", "W", "W", of_result=_energy("average_watts")),
    "usd_per_million_tokens": Metric("USD per million output tokens", "USD", of_result=_cost("")),
    "usd_per_million_tokens_low": Metric("USD per million output tokens, low", "USD", of_result=_cost("_low")),
    "usd_per_million_tokens_high": Metric("USD per million output tokens, high", "USD", of_result=_cost("_high")),
    "g_co2e_per_million_tokens": Metric("g CO2e per million output tokens", "g", of_result=_carbon("")),
    "g_co2e_per_million_tokens_low": Metric("g CO2e per million output tokens, low", "g", of_result=_carbon("_low")),
    "g_co2e_per_million_tokens_high": Metric("g CO2e per million output tokens, high", "g", of_result=_carbon("_high")),
    "capital_usd": Metric("USD of chips, hosts, network, data center", "USD", "USD", of_result=_capital),
    "weight_bytes": Metric("bytes of weights", "B", "bytes", of_result=lambda r: r.model.weight_bytes),
    "kv_bytes_per_token": Metric("KV bytes per token", "B", "bytes", of_result=lambda r: r.model.kv_bytes_per_token),
    "chips": Metric("chips", "", of_system=lambda s: s.chips),
    "tdp_w": Metric("TDP of all chips", "W", "W", of_system=lambda s: _times_chips(s.chip.tdp_watts, s)),
    "die_mm2": Metric("compute silicon of all chips", "mm2", of_system=lambda s: _times_chips(s.chip.die_mm2, s)),
    "price_usd": Metric("price of all chips", "USD", "USD", of_system=lambda s: _times_chips(s.chip.price_usd, s)),
    "tokens_per_s_per_w": Metric("output tokens/s per W of TDP", "1/s/W", of_both=_rate_per("tdp_w")),
    "tokens_per_s_per_mm2": Metric("output tokens/s per mm2", "1/s/mm2", of_both=_rate_per("die_mm2")),
    "tokens_per_s_per_usd": Metric("output tokens/s per USD of chips", "1/s/USD", of_both=_rate_per("price_usd")),
    "memory_bytes": Metric(
        "main memory of all chips", "B", "bytes",
        of_system=lambda s: s.chips * s.chip.memory[s.chip.main_memory].capacity_bytes,
    ),
    "memory_bytes_per_s": Metric(
        "peak of the main memory, all chips", "B/s", "bytes/s",
        of_system=lambda s: float(s.chips * s.chip.memory[s.chip.main_memory].peak_bytes_per_s),
    ),
}  # fmt: skip
"""Name -> metric, in the order of columns of an export."""


def system_metrics(spec: SystemSpec) -> dict[str, Number]:
    """Return the metrics that *spec* alone states."""
    return {name: metric.of_system(spec) for name, metric in METRICS.items() if metric.of_system is not None}


def metrics_of(result: Result, spec: SystemSpec) -> dict[str, Number]:
    """Return every metric of *result*, which was run on *spec*."""
    return {name: _value(metric, result, spec) for name, metric in METRICS.items()}


def _value(metric: Metric, result: Result, spec: SystemSpec) -> Number:
    if metric.of_both is not None:
        return metric.of_both(result, spec)
    if metric.of_system is not None:
        return metric.of_system(spec)
    return metric.of_result(result) if metric.of_result is not None else None


def number_of(metric: str, value: str | float) -> float:
    """Return *value*, a number or a text with a unit, in the SI unit of *metric*. Raises `ValueError`."""
    dimension = METRICS[metric].dimension
    if isinstance(value, str):
        if not dimension:
            raise ValueError("a number without quotes")
        return float(parse_quantity(value, dimension))
    if dimension not in {"", "share"}:
        parse_quantity(value, dimension)
    if not abs(value) < float("inf"):
        raise ValueError("a finite number")
    return float(value)
