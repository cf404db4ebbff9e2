"""Cascades: every request begins on a small model, and some go on to a large one; both are paid for.

    tries    the first model writes its answer, or as many tokens of it as the check looks at where the request goes on
    goes on  the check's time later, with the prompt, and behind it what was written where the second model reads that
    skips    what the first model can never hold goes to the second one at once

Who goes on is the law's word (`archsim.hardware.division_spec`), not an outcome of the simulation: what answers are
worth is out of scope. C1: after a check of whole answers nothing is shown before it, so that an answer's first token
and its last come together, the check's time after the last. After a check of some tokens the answer is shown as it is
written; that of a request that goes on begins anew. C2: a check takes time and neither place nor bytes.

Where the models have chips of their own the second pool hears of the first and never the other way round: the replay of
one follows that of the other. Where they share chips, requests are dealt to the copies in turn and stay.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields, replace
from functools import partial

import numpy as np
import numpy.typing as npt

from archsim.hardware.pools_spec import PoolsSpec
from archsim.result import RequestColumns
from archsim.serving.divide import held_for, up_to
from archsim.serving.merging import merged_requests
from archsim.serving.pools import PoolRecords, Stage, Trial, ended_together, serve_stage
from archsim.serving.record import Record, Window
from archsim.serving.requests import Arrival, refusal
from archsim.serving.requests import Sequence as Served
from archsim.serving.servers import Counter, Progress, ServerGroup
from archsim.serving.shared_chips import SharedChips

__all__ = ["ACCEPTED", "ESCALATED", "SKIPPED", "replay_cascade"]

Integers = npt.NDArray[np.int64]
ACCEPTED, ESCALATED, SKIPPED = 0, 1, 2
"""What becomes of a request: the first model's answer is kept, the second model answers after it, or at once."""


class _Plan:
    """Who goes on, and what of each request either model gets."""

    def __init__(
        self, requests: Sequence[Arrival], spec: PoolsSpec, groups: Mapping[str, ServerGroup], *, seed: int
    ) -> None:
        law = spec.cascade
        if law is None:
            raise AssertionError(f"{spec.name} is no cascade")
        self.law, self.requests = law, requests
        self.names = (law.first, next(name for name in spec.pools if name != law.first))
        self.groups = tuple(groups[name] for name in self.names)
        self._ways = tuple(spec.pools[name].wide_area for name in self.names)
        held = held_for(requests, law, seed=seed)
        goes_on = held if law.law in {"share", "difficulty"} else ~held
        outcome = np.where(goes_on, ESCALATED, ACCEPTED).astype(np.int64)
        for number in range(len(requests)):
            if refusal(Served(number, self._trial(number, outcome)), self.groups[0].limits):
                outcome[number] = SKIPPED
        self.outcome = outcome

    @property
    def tried(self) -> list[int]:
        """Requests that begin on the first model."""
        return [number for number, found in enumerate(self.outcome.tolist()) if found != SKIPPED]

    @property
    def trials(self) -> list[Arrival]:
        """Return them as its servers see them."""
        return up_to([self._trial(number, self.outcome) for number in self.tried], self._ways[0])

    def _trial(self, number: int, outcome: Integers) -> Arrival:
        request = self.requests[number]
        if outcome[number] != ESCALATED:
            return request
        return request._replace(output_tokens=self._written(number))

    def _written(self, number: int) -> int:
        """Return the tokens that the first model writes of an answer that is not kept."""
        whole = self.requests[number].output_tokens
        return min(whole, self.law.check_tokens) if self.law.check_tokens is not None else whole

    def onward(self, number: int, tried_ps: int) -> Arrival:
        """Return request *number*, which the first model left at *tried_ps*, as it sets out for the second."""
        request = self.requests[number]
        draft = self._written(number) if self.law.reads == "draft" else 0
        return request._replace(arrival_ps=tried_ps + self.law.check_ps, prompt_tokens=request.prompt_tokens + draft)

    def second(self, finish_ps: Mapping[int, int]) -> list[tuple[int, Arrival]]:
        """Return (number, request) of the second model in order of arrival; *finish_ps* is the end of each trial."""
        setting_out = [(number, self.requests[number]) for number, found in enumerate(self.outcome.tolist())
                       if found == SKIPPED]  # fmt: skip
        escalated = np.flatnonzero(self.outcome == ESCALATED).tolist()
        near = [(number, self.onward(number, finish_ps[number])) for number in escalated if finish_ps[number] >= 0]
        # A prompt goes up once: behind a first pool that is far away it is there already.
        there = near if self._ways[0] else []
        ways = sorted(setting_out + ([] if self._ways[0] else near), key=_order)
        arriving = up_to([request for _, request in ways], self._ways[1])
        return sorted([*there, *zip((number for number, _ in ways), arriving, strict=True)], key=_order)

    def seen(self, first: Trial, second: Trial) -> RequestColumns:
        """Return the requests in the order and on the clock of their users."""
        count = len(self.requests)
        rows = {name: np.zeros(count, dtype=np.int64) for name in ("preemptions", "rejection")}
        times = {name: np.full(count, -1, dtype=np.int64) for name in ("first_token_ps", "finish_ps")}
        reasons = list(dict.fromkeys((*first.requests.rejections, *second.requests.rejections)))
        for trial, way in zip((first, second), self._ways, strict=True):
            table, at = trial.requests, trial.numbers
            renamed = np.array([reasons.index(reason) for reason in table.rejections], dtype=np.int64)[table.rejection]
            rows["preemptions"][at] += table.preemptions
            rows["rejection"][at] = renamed
            back_ps = np.where(table.finish_ps >= 0, way.latency_ps if way else 0, 0)
            for name, column in times.items():
                column[at] = getattr(table, name) + back_ps
        if self.law.check == "answer":
            checked = (self.outcome == ACCEPTED) & (times["finish_ps"] >= 0)
            times["finish_ps"][checked] += self.law.check_ps
            times["first_token_ps"][checked] = times["finish_ps"][checked]
        given = np.array([request[:3] for request in self.requests], dtype=np.int64).reshape(-1, 3)
        return RequestColumns(
            arrival_ps=given[:, 0], prompt_tokens=given[:, 1], output_tokens=given[:, 2], **times, **rows,
            rejections=tuple(reasons),
        )  # fmt: skip


def _order(entry: tuple[int, Arrival]) -> tuple[int, int]:
    number, request = entry
    return request.arrival_ps, number


def replay_cascade(
    arrivals: Iterable[Arrival],
    spec: PoolsSpec,
    groups: Mapping[str, ServerGroup],
    *,
    seed: int,
    progress: Progress | None = None,
) -> PoolRecords:
    """Serve *arrivals* by the models of *spec*, whose servers are *groups*, until all are completed or rejected."""
    plan = _Plan(list(arrivals), spec, groups, seed=seed)
    return _on_shared_chips(plan, progress) if spec.shares_chips else _one_after_the_other(plan, spec, progress)


def _one_after_the_other(plan: _Plan, spec: PoolsSpec, progress: Progress | None) -> PoolRecords:
    tried, stages, trials = plan.tried, list[Stage](), list[Trial]()
    stages.append(serve_stage(plan.trials, plan.groups[0], progress=progress))
    finish_ps = dict(zip(tried, stages[0].requests.finish_ps.tolist(), strict=True))
    second = plan.second(finish_ps)
    stages.append(serve_stage([request for _, request in second], plan.groups[1], progress=progress))
    of_pools = ended_together([stage.servers for stage in stages], sum(stage.event_count for stage in stages))
    for stage, numbers in zip(stages, (tried, [number for number, _ in second]), strict=True):
        trials.append(_trial(stage.requests, numbers, [server.total for server in of_pools[len(trials)]]))
    pools = dict(zip(plan.names, of_pools, strict=True))
    of_spec = tuple(pools[name] for name in spec.pools)
    return PoolRecords(plan.seen(*trials), of_spec, outcome=plan.outcome, trials=tuple(trials))


def _trial(requests: RequestColumns, numbers: Sequence[int], totals: Iterable[Window]) -> Trial:
    whole = Window(0, 0)
    for total in totals:
        whole.add(total)
    return Trial(np.array(numbers, dtype=np.int64), requests, whole)


class _Coming:
    """Requests of one model on one copy of the chips, as they become known."""

    def __init__(self, known: Iterable[tuple[int, Arrival]]) -> None:
        self._heap = [(request.arrival_ps, number, request) for number, request in known]
        heapq.heapify(self._heap)
        self.numbers: list[int] = []
        """Place in the trace of each that was taken."""

    @property
    def next_ps(self) -> int | None:
        """When the next request arrives; None while none is known."""
        return self._heap[0][0] if self._heap else None

    def add(self, number: int, request: Arrival) -> None:
        """Let a request come."""
        heapq.heappush(self._heap, (request.arrival_ps, number, request))

    def take(self) -> Served:
        """Return the next request."""
        _, number, request = heapq.heappop(self._heap)
        self.numbers.append(number)
        return Served(len(self.numbers) - 1, request)


def _on_shared_chips(plan: _Plan, progress: Progress | None) -> PoolRecords:
    count, counter = plan.groups[0].count, Counter(progress)
    first = list(zip(plan.tried, plan.trials, strict=True))
    # Both models are equally far away, so that only what skips the first one has a way before it.
    second = plan.second(dict.fromkeys(plan.tried, -1))
    copies, queues = [], []
    for place in range(count):
        mine = [_Coming([entry for entry in known if entry[0] % count == place]) for known in (first, second)]
        done = (partial(_tried, plan, mine, counter), counter.count)
        copies.append(SharedChips(plan.groups, mine, done))
        copies[-1].run()
        queues.append(mine)
    end_fine = max(copy.now_fine for copy in copies)
    for copy in copies:
        copy.idle_until(end_fine)
    events = sum(copy.iterations for copy in copies)
    of_models = [[copy.servers[model].record(events) for copy in copies] for model in (0, 1)]
    trials = [
        _joined(records, [queue[model].numbers for queue in queues], [copy.total(model) for copy in copies])
        for model, records in enumerate(of_models)
    ]
    together = tuple(_of_copy(*pair) for pair in zip(*of_models, strict=True))
    return PoolRecords(plan.seen(*trials), (together,), outcome=plan.outcome, trials=tuple(trials))


def _tried(plan: _Plan, queues: Sequence[_Coming], counter: Counter, sequence: Served, now_ps: int) -> None:
    number = queues[0].numbers[sequence.id]
    counter.count(sequence, now_ps)
    if plan.outcome[number] == ESCALATED and sequence.generated >= sequence.output_tokens:
        queues[1].add(number, plan.onward(number, now_ps))


def _joined(records: Sequence[Record], numbers: Sequence[Sequence[int]], totals: Sequence[Window]) -> Trial:
    """Return what one model did on all copies, its requests in the order of the trace."""
    flat = [number for own in numbers for number in own]
    sent = np.array([place for place, own in enumerate(numbers) for _ in own], dtype=np.int64)
    table = merged_requests([record.requests for record in records], sent)
    order = np.argsort(np.array(flat, dtype=np.int64), kind="stable")
    names = [field.name for field in fields(table) if field.name != "rejections"]
    ordered = replace(table, **{name: getattr(table, name)[order] for name in names})
    return _trial(ordered, sorted(flat), totals)


def _of_copy(first: Record, second: Record) -> Record:
    """Return what both servers of a copy did as one; windows are the copy's in either record."""
    return replace(
        second,
        completed=first.completed + second.completed,
        rejected=first.rejected + second.rejected,
        preemptions=first.preemptions + second.preemptions,
        decode_tokens=first.decode_tokens + second.decode_tokens,
        peak_kv_blocks=first.peak_kv_blocks + second.peak_kv_blocks,
        prefixes=first.prefixes + second.prefixes if first.prefixes and second.prefixes else None,
        draft_tokens=first.draft_tokens + second.draft_tokens
        if first.draft_tokens is not None and second.draft_tokens is not None
        else None,
    )
