"""A pipeline: stages that work on micro-batches one after the other, handing activations on.

The unit is a stage's run over one micro-batch, simulated by itself (`simulate`) with all that happens inside; when the
runs take place is `stages`'. A stage books its runs, and what it waits for in between. Weights count as useful once an
iteration: that every micro-batch reads them again is `overfetch`. P4: a transfer slows nothing else on its links; its
bytes take the place of what a link waits for meanwhile, in proportion.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace

from archsim.errors import SimulationError
from archsim.hardware.system import System
from archsim.mapping.plan import Pipeline
from archsim.metrics.ledger import Books
from archsim.network.collectives import CollectiveFacts
from archsim.step.assemble import link_scopes
from archsim.step.books import Accounts, closed_books, total_books
from archsim.step.exchange import returns_of, sends_of
from archsim.step.record import ChannelUse, Scope, StepRecord
from archsim.step.simulate import simulate_steps
from archsim.step.stages import DRAINED, PIPELINES, Schedule

__all__ = ["simulate_pipeline"]

Runs = list[list[StepRecord]]
"""Stage -> micro-batch -> its run."""
Sends = list[list[CollectiveFacts]]
"""Stage -> micro-batch -> the transfer to the next stage."""


def simulate_pipeline(pipeline: Pipeline, system: System, *, schedule: str = DRAINED) -> StepRecord:
    """Return time and ledger of one iteration of *pipeline* by *schedule*, a key of `stages.PIPELINES`.

    Raises `SimulationError` where books do not balance.
    """
    known = simulate_steps((plan for plans in pipeline.stages for plan in plans), system)
    links = link_scopes(system)
    runs = [[known[plan] for plan in plans] for plans in pipeline.stages]
    sends = [sends_of(pipeline, stage, system) for stage in range(len(runs) - 1)]
    if schedule != DRAINED:
        sends.append(returns_of(pipeline, system))
    timed = PIPELINES[schedule](
        [[run.time_ps for run in of_stage] for of_stage in runs],
        [[sent.duration_ps for sent in sent_on] for sent_on in sends],
    )
    books = _chip_books(pipeline, runs, timed) | _link_books(links, runs, sends, timed)
    own = [scope for of_stage in runs for scope in of_stage[0].scopes if scope.kind != "link"]
    return StepRecord(
        phase=runs[0][0].phase,
        time_ps=timed.time_ps,
        scopes=(*own, *links),
        books=books,
        uses=tuple(_uses(runs)),
        collectives=_collectives(pipeline, runs, sends[: len(runs) - 1]),
        jobs=sum(run.jobs for of_stage in runs for run in of_stage),
        event_count=sum(run.event_count for run in known.values()),
        matrix_flops=_matrix_flops(runs),
    )


def _chip_books(pipeline: Pipeline, runs: Runs, schedule: Schedule) -> Books:
    books: Books = {}
    for stage, of_stage in enumerate(runs):
        gaps = schedule.gaps[stage]
        needed = pipeline.whole[stage].useful_weight_bytes
        read = sum(plan.useful_weight_bytes for plan in pipeline.stages[stage])
        for scope in of_stage[0].scopes:
            if scope.kind != "link":
                accounts = _once(_served(of_stage, scope), needed, read)
                books[scope.name] = closed_books(scope, accounts, gaps, schedule.time_ps)
    return books


def _once(accounts: Accounts, needed: int, read: int) -> Accounts:
    """Return *accounts* in which micro-batches read *read* useful bytes of weights, of which *needed* differ."""
    weights = accounts.get("useful_weights", 0.0)
    again = weights * (1 - needed / read) if needed < read else 0.0
    if again:
        accounts |= {"useful_weights": weights - again, "overfetch": accounts.get("overfetch", 0.0) + again}
    return accounts


def _link_books(links: tuple[Scope, ...], runs: Runs, sends: Sends, schedule: Schedule) -> Books:
    """Return the books of the links: each follows the stage that exchanges most over it, and carries all bytes.

    Links that are booked alike in every run share one book there, and here if they carry the same between stages.
    """
    books: Books = {}
    known: dict[tuple[float, ...], Accounts] = {}
    between = [facts.link_bytes for sent in sends for facts in sent]
    sent_bytes = map(sum, zip(*between, strict=True)) if between else itertools.repeat(0, len(links))
    different = {id(run): run for of_stage in runs for run in of_stage}.values()
    alike = zip(*([id(run.books[scope.name]) for scope in links] for run in different), strict=True)
    for scope, sent, same in zip(links, sent_bytes, alike, strict=True):
        key = (scope.peak_per_s, sent, *same)
        if key not in known:
            known[key] = _link_book(scope, runs, sent, schedule)
        books[scope.name] = known[key]
    return books


def _link_book(scope: Scope, runs: Runs, sent: int, schedule: Schedule) -> Accounts:
    by_stage = [_served(of_stage, scope) for of_stage in runs]
    carried = [accounts.get("useful", 0.0) for accounts in by_stage]
    owner = carried.index(max(carried))
    own = closed_books(scope, by_stage[owner], schedule.gaps[owner], schedule.time_ps)
    return _displaced(scope, own, sum(carried) - carried[owner] + sent)


def _served(of_stage: Sequence[StepRecord], scope: Scope) -> Accounts:
    return total_books((run.books[scope.name], 1) for run in of_stage)


def _displaced(scope: Scope, accounts: Accounts, foreign: float) -> Accounts:
    """Return *accounts* of a link that carries *foreign* bytes while the stage it follows waits or works elsewhere."""
    waiting = sum(amount for account, amount in accounts.items() if account != "useful")
    if foreign > waiting:
        raise SimulationError(
            f"ledger of {scope.name}: {foreign:.0f} bytes of other stages find room for {waiting:.0f}"
        )
    if not foreign:
        return accounts
    left = {account: amount * (1 - foreign / waiting) for account, amount in accounts.items() if account != "useful"}
    return {"useful": accounts.get("useful", 0.0) + foreign} | left


def _matrix_flops(runs: Runs) -> tuple[tuple[str, int], ...]:
    flops: Counter[str] = Counter()
    for of_stage in runs:
        for run in of_stage:
            flops.update(dict(run.matrix_flops))
    return tuple(sorted(flops.items()))


def _uses(runs: Runs) -> Iterator[ChannelUse]:
    for of_stage in runs:
        counts: Counter[ChannelUse] = Counter()
        for run in of_stage:
            for use in run.uses:
                counts[replace(use, count=1)] += use.count
        for use, count in counts.items():
            yield replace(use, count=count)


def _collectives(pipeline: Pipeline, runs: Runs, sends: Sends) -> tuple[tuple[str, int, str], ...]:
    inside = {collective for of_stage in runs for run in of_stage for collective in run.collectives}
    between = {
        (send.kind, send.bytes, facts.algorithm)
        for sent in sends
        for send, facts in zip(pipeline.sends, sent, strict=True)
    }
    return tuple(sorted(inside | between))
