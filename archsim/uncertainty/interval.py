"""The error bar of a result: its decode time by mechanism, the widths of those, and what lies outside the suites.

    half = sqrt(widths.half_width(shares)^2 + sum over reasons of prior^2)
    TPOT in [t e^-half, t e^half]
    TTFT in [f e^-first, f e^first]    first = sqrt(widths.first^2 + sum over reasons of prior^2)
    tokens/s in [r / max(1, busy e^half), r / (busy e^-half + idle)]

*idle* is the share of the run in which no request waited, busy the rest: where idle time is left, a slower machine
takes it first and a faster one gains little, because the requests set the rate. A46: the bar of TPOT holds to first
order for the rate at saturation, where the batch would follow the service level too.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

from archsim.hardware.spec import SystemSpec
from archsim.metrics.uncertainty import Interval, Uncertainty
from archsim.result import Result
from archsim.uncertainty.residuals import memory_kind, types_of
from archsim.uncertainty.shares import Shares, mechanism_shares
from archsim.uncertainty.widths import LEVEL, Widths, prior, shipped_widths

__all__ = ["half_width_parts", "reasons_of", "with_interval"]

_DECODING = ("decode", "mixed")
_DIGITS = 6


def with_interval(result: Result, spec: SystemSpec) -> Result:
    """Return *result*, which was run on *spec*, with its error bar; without one where nothing was decoded."""
    tpot_s, rate = result.latency_s.tpot.mean, result.throughput.output_tokens_per_s
    shares = _shares(result, spec, tpot_s) if tpot_s and rate else {}
    if not tpot_s or not rate or not shares:
        return result.model_copy(update={"uncertainty": None})
    widths = shipped_widths()
    reasons = reasons_of(spec, result.model.precision, widths)
    parts = half_width_parts(widths, shares, reasons)
    half = math.sqrt(math.fsum(part**2 for part in parts.values()))
    saturated = result.saturation.output_tokens_per_s if result.saturation else None
    uncertainty = Uncertainty(
        level=LEVEL,
        half_width=round(half, _DIGITS),
        shares={mechanism: round(share, _DIGITS) for mechanism, share in shares.items()},
        parts={name: round(part, _DIGITS) for name, part in parts.items()},
        extrapolated=list(reasons.values()),
        tpot_s=_around(tpot_s, half),
        ttft_s=_first(result, widths, reasons),
        output_tokens_per_s=_rates(rate, half, _idle(result)),
        saturation_output_tokens_per_s=_around(saturated, half) if saturated else None,
    )
    return result.model_copy(update={"uncertainty": uncertainty})


def _first(result: Result, widths: Widths, reasons: Iterable[str]) -> Interval | None:
    """Return the interval of the mean time to the first token."""
    ttft_s = result.latency_s.ttft.mean
    if not ttft_s:
        return None
    stated = prior()
    return _around(ttft_s, math.hypot(widths.first.half_width, *(stated[reason] for reason in reasons)))


def half_width_parts(widths: Widths, shares: Shares, reasons: dict[str, str]) -> dict[str, float]:
    """Return the parts of the half-width, to be added in quadrature; *reasons* are keys of the prior."""
    stated = prior()
    return widths.parts(shares) | {f"prior.{reason}": stated[reason] for reason in reasons}


def reasons_of(spec: SystemSpec, precision: str, widths: Widths) -> dict[str, str]:
    """Return why a prediction for *spec* lies outside what was validated: key of the prior -> words."""
    seen, chip = widths.validated, spec.chip
    kinds = {memory_kind(memory.device.standard) for memory in chip.memory.values()} - {*seen.memories}
    unseen = [each for each in types_of(precision) if each not in seen.types]
    found = {}
    statuses = {spec.status, chip.status}
    if unbuilt := sorted(statuses & {"claimed", "hypothetical"}):
        found["status"] = f"{unbuilt[-1]} design"
    elif "announced" in statuses:
        found["announced"] = "announced design"
    if chip.near_memory:
        found["near_memory"] = "units near memory"
    if kinds:
        found["memory"] = f"memory {', '.join(sorted(kinds))}"
    if unseen:
        found["precision"] = f"precision {' '.join(unseen)}"
    if spec.runtime.name not in seen.runtimes:
        found["runtime"] = f"runtime {spec.runtime.name}"
    return found


def _shares(result: Result, spec: SystemSpec, tpot_s: float) -> Shares:
    """Return what the decoding iterations of *result* are made of; the host's step is that of the mean batch."""
    phases = [result.phases[phase] for phase in _DECODING if phase in result.phases]
    accounts: dict[str, float] = {}
    for phase in phases:
        for account, share in phase.ledger[result.system.main_memory].accounts.items():
            accounts[account] = accounts.get(account, 0.0) + share * phase.time_s
    total = math.fsum(accounts.values())
    if not total:
        return {}
    return mechanism_shares(
        {name: amount / total for name, amount in accounts.items()}, host=_host(result, spec, tpot_s)
    )


def _host(result: Result, spec: SystemSpec, tpot_s: float) -> float | None:
    """Return the share of an iteration that the host's step takes; None where the host issues every operator."""
    runtime = spec.runtime
    if runtime.host_launch_ps:
        return None
    rate = result.throughput.output_tokens_per_s or 0.0
    batch = rate * tpot_s / result.parallelism.dp
    ratio = 1.0 if spec.host_time is None else float(spec.host_time)
    return ratio * (runtime.host_step_ps + batch * runtime.host_sequence_ps) * 1e-12 / tpot_s


def _idle(result: Result) -> float:
    accounts = result.ledger[result.system.main_memory].accounts
    return accounts.get("idle", 0.0) if result.requests.offered else 0.0


def _around(value: float, half: float) -> Interval:
    return Interval(low=value * math.exp(-half), high=value * math.exp(half))


def _rates(rate: float, half: float, idle: float) -> Interval:
    busy = 1.0 - idle
    return Interval(low=rate / max(1.0, busy * math.exp(half)), high=rate / (busy * math.exp(-half) + idle))
