"""What became of the requests of a cascade, class by class: latency, and the share of what every pool took.

    share of a request in a phase of one model = its tokens of the phase's kind / those of all that the model served
    share in what is of no phase (idle time, hosts) = its tokens / those of all that the chips served

A request that went on has both models' shares: it is paid for twice.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from archsim.hardware.pools_spec import PoolsSpec
from archsim.metrics.cascading import CascadeClass, CascadeFacts, Outcome, Spread
from archsim.metrics.latency import end_to_end_s, summary, tpot_s, ttft_s
from archsim.metrics.service import shares_of_requests
from archsim.result import Cost, RequestColumns, Result
from archsim.serving.cascade import ACCEPTED, ESCALATED, SKIPPED
from archsim.serving.pools import PoolRecords, Trial
from archsim.step.record import StepRecord
from archsim.summary.energy import energy_of
from archsim.summary.facts import Design
from archsim.summary.parts import Books
from archsim.summary.phases import PHASE_OF, seconds

__all__ = ["Worked", "cascade_facts", "paid_by_class"]

Floats = npt.NDArray[np.float64]
_MILLION = 10**6
_OUTCOMES: dict[int, Outcome] = {ACCEPTED: "accepted", ESCALATED: "escalated", SKIPPED: "skipped"}


@dataclass(frozen=True, slots=True)
class Worked:
    """Chips that one model of a cascade, or both, worked on."""

    name: str
    design: Design
    """Of one copy."""
    steps: list[StepRecord]
    servers: int
    """Copies and replicas."""
    trials: tuple[int, ...]
    """Which of the models: 0 is the first."""
    result: Result


def cascade_facts(spec: PoolsSpec, machines: Sequence[Worked], replayed: PoolRecords) -> CascadeFacts | None:
    """Return what became of the requests; None of a design that is no cascade."""
    law, outcome = spec.cascade, replayed.outcome
    if law is None or outcome is None:
        return None
    table = replayed.requests
    shares = {one.name: _time_shares(one, replayed) for one in machines}
    joules = [_joules(one, replayed) for one in machines]
    energy = None if any(one is None for one in joules) else np.sum([one for one in joules if one is not None], axis=0)
    written = np.zeros(len(outcome), dtype=np.int64)
    written[replayed.trials[0].numbers] = replayed.trials[0].requests.output_tokens
    written[outcome != ESCALATED] = 0
    classes = {}
    for number, name in _OUTCOMES.items():
        mine = (outcome == number) & (table.finish_ps >= 0)
        if mine.any():
            classes[name] = _class(table, mine, shares, energy=energy, discarded=int(written[mine].sum()))
    return CascadeFacts(first=law.first, second=next(name for name in spec.pools if name != law.first), classes=classes)


def _class(
    table: RequestColumns,
    mine: npt.NDArray[np.bool_],
    shares: Mapping[str, Floats],
    *,
    energy: Floats | None,
    discarded: int,
) -> CascadeClass:
    arrival, first, finish, output = (
        getattr(table, name)[mine] for name in ("arrival_ps", "first_token_ps", "finish_ps", "output_tokens")
    )
    count = int(mine.sum())
    return CascadeClass(
        requests=count,
        share=count / int((table.finish_ps >= 0).sum()),
        output_tokens=int(output.sum()),
        discarded_tokens=discarded,
        ttft_s=Spread(**summary(ttft_s(arrival, first))),
        tpot_s=Spread(**summary(tpot_s(first, finish, output))),
        e2e_s=Spread(**summary(end_to_end_s(arrival, finish))),
        time_shares={name: math.fsum(column[mine].tolist()) for name, column in shares.items()},
        joules_per_request=None if energy is None else math.fsum(energy[mine].tolist()) / count,
        usd_per_request=None,
    )


def _spread(one: Worked, replayed: PoolRecords, amounts: Sequence[Mapping[str, float]], rest: float) -> Floats:
    """Return what each request of the trace has of *amounts*, by model and phase, and of the *rest*."""
    found = np.zeros(len(replayed.requests.arrival_ps))
    tokens = np.zeros(len(found))
    for place, by_phase in zip(one.trials, amounts, strict=True):
        trial = replayed.trials[place]
        found[trial.numbers] += shares_of_requests(trial.requests, by_phase)
        done = trial.requests.finish_ps >= 0
        both = trial.requests.prompt_tokens + trial.requests.output_tokens
        tokens[trial.numbers] += np.where(done, both, 0)
    whole = float(tokens.sum())
    return found + rest * tokens / whole if whole else found


def _time_shares(one: Worked, replayed: PoolRecords) -> Floats:
    whole = one.servers * one.result.simulated_s
    times = [dict(_times(replayed.trials[place])) for place in one.trials]
    busy = math.fsum(time_s for by_phase in times for time_s in by_phase.values())
    if not whole:
        return np.zeros(len(replayed.requests.arrival_ps))
    shares = [{phase: time_s / whole for phase, time_s in by_phase.items()} for by_phase in times]
    return _spread(one, replayed, shares, (whole - busy) / whole)


def _times(trial: Trial) -> Iterator[tuple[str, float]]:
    sums: dict[str, int] = {}
    for phase, use in trial.total.phases.items():
        sums[PHASE_OF[phase]] = sums.get(PHASE_OF[phase], 0) + use.time_fine
    return ((phase, seconds(time_fine)) for phase, time_fine in sums.items())


def _joules(one: Worked, replayed: PoolRecords) -> Floats | None:
    whole = one.result.energy
    if whole is None:
        return None
    amounts = [_energy_by_phase(one, replayed.trials[place]) for place in one.trials]
    spent = math.fsum(joules for by_phase in amounts for joules in by_phase.values())
    return _spread(one, replayed, amounts, whole.joules - spent)


def _energy_by_phase(one: Worked, trial: Trial) -> dict[str, float]:
    """Return the joules of one model's iterations."""
    if len(one.trials) == 1:
        phases = one.result.energy.phases if one.result.energy else {}
        return {str(name): power.joules for name, power in phases.items() if name != "none"}
    if not trial.total.phases:
        return {}
    part = Books(one.steps).part((), trial.total)
    spent = energy_of(
        one.design.spec, [part], one.steps, costs=one.design.energy_costs, simulated_s=0.0, output_tokens=0
    )
    return {str(name): power.joules for name, power in spent.phases.items()} if spent else {}


def paid_by_class(result: Result, costs: Mapping[str, Cost]) -> CascadeFacts | None:
    """Return what *result* says of its cascade with the cost of its classes; *costs* are those of its pools."""
    facts = result.cascade
    if facts is None:
        return None
    tokens = result.tokens.output / _MILLION
    classes = {}
    for name, one in facts.classes.items():
        usd = math.fsum(
            share * costs[pool].usd_per_million_output_tokens * tokens
            for pool, share in one.time_shares.items()
            if pool in costs
        )
        known = one.time_shares.keys() <= costs.keys()
        classes[name] = one.model_copy(update={"usd_per_request": usd / one.requests if known else None})
    return facts.model_copy(update={"classes": classes})
