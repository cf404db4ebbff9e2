"""What happens when: the timeline of an iteration or of a replay, as rows that `archsim run --timeline` writes.

An iteration is simulated once more, job by job, and its slices add up to its ledger. A replay is served once more up
to the end of the window, under the eyes of a `Watch`; iterations within the window are shown job by job, each
simulated for exactly the batch that it had and stretched to the time that the replay's interpolation gave it (A22).
Requests and bandwidth come from the result itself. Where replicas share the requests, only those two are shown.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from archsim.errors import InputError, Problem
from archsim.hardware.spec import SystemSpec
from archsim.metrics.accounts import ACCOUNTS
from archsim.metrics.timeline import Count, Slice, Span, Timeline, clipped, joined, lanes, rates
from archsim.result import LedgerColumns, RequestColumns, Result
from archsim.serving.closed_loop import replay_closed_loop
from archsim.serving.configure import arrivals_of
from archsim.serving.costs import FINE_BITS, fine_from_ps, ps_from_fine
from archsim.serving.replay import replay
from archsim.serving.sessions import replay_sessions
from archsim.serving.watch import Seen, Watch, WatchedCosts, WindowPassed, iterations_between
from archsim.single import Bench
from archsim.step.channel_tracks import CHANNELS
from archsim.step.timeline import in_turn_slices, pipeline_slices, step_slices
from archsim.workload.batch import Batch
from archsim.workload.closed_loop import ClosedLoop
from archsim.workload.model import Model
from archsim.workload.trace import Trace

__all__ = ["LEVELS", "Ask", "timeline_of_replay", "timeline_of_requests", "timeline_of_step"]

LEVELS = ("iteration", "operator", "chunk")
"""From coarse to fine: what the server did; parts, what touches of one operator as one slice; every access."""
MOST_SLICES = 400_000
"""More make a file that no browser opens."""
MOST_EXPANDED = 64
"""Iterations of a replay that are shown job by job."""
_BINS = 256
_ACCOUNTS_UNIT = "B/s"


@dataclass(frozen=True, slots=True)
class Ask:
    """How much of a timeline is wanted."""

    level: str | None = None
    """One of `LEVELS`; None: `operator` for a step or a window, `iteration` for a whole replay."""
    window: Span | None = None
    """None: all of it."""


def timeline_of_step(
    system: SystemSpec,
    model: Model,
    *,
    batch: int,
    context: int,
    precision: str | None = None,
    parallelism: str | None = None,
    ask: Ask = Ask(),
) -> Timeline:
    """Return the timeline of the iteration that `evaluate_step` evaluates, on the first replica if there are several.

    Raises `InputError` as it does, and where the window is empty or holds too much.
    """
    bench = Bench(system, model, precision=precision, parallelism=parallelism)
    share = -(-batch // (len(bench.setup.replicas) or 1))
    bench.setup.placement.check_batch(share, context)
    slices, end_ps = _exact(bench, Batch.of_decode(share, context))
    level = ask.level or "operator"
    window = _checked(ask.window or Span(0, end_ps), end_ps)
    counts = _rate_counts(slices, Span(0, end_ps))
    counts += [Count("batch", 0, share, "sequences"), Count("KV read", 0, share * context, "tokens")]
    shown = _at_level(slices, level)
    return _bounded(clipped(Timeline((*shown,), (*counts,), end_ps), window))


def timeline_of_replay(
    result: Result,
    system: SystemSpec,
    model: Model,
    *,
    traffic: Trace | ClosedLoop,
    precision: str | None = None,
    parallelism: str | None = None,
    ask: Ask = Ask(),
) -> Timeline:
    """Return the timeline of *result*, which `run` returned for the same arguments.

    Raises `InputError` where the window is empty or holds too much, or parts are wanted without a window.
    """
    tables = result.tables
    if tables is None or tables.requests is None:
        raise InputError(Problem("", "--timeline", "", "a result that `run` has just returned, with its tables"))
    bench = Bench(system, model, precision=precision, parallelism=parallelism, trace=traffic)
    whole = ask.window is None or bench.setup.drafting is not None
    level = ask.level or ("iteration" if whole else "operator")
    if level != "iteration" and bench.setup.drafting is not None:
        expected = "iteration where guesses make iterations differ; --batch and --context show one of them by part"
        raise InputError(Problem("", "--timeline-level", level, expected))
    if level != "iteration" and ask.window is None:
        expected = "a --timeline-window beside it: a whole replay is shown by iteration"
        raise InputError(Problem("", "--timeline-level", level, expected))
    end_ps = max(int(tables.ledger.end_ps.max(initial=0)), int(tables.requests.finish_ps.max(initial=0)))
    window = _checked(ask.window or Span(0, end_ps), end_ps)
    slices = [*_request_slices(tables.requests)]
    counts = [*_ledger_counts(tables.ledger), *_waiting_counts(tables.requests)]
    if not bench.setup.replicas:
        watch = _watched(bench, traffic, window)
        slices += _iteration_slices(watch.rows, end_ps)
        counts += _batch_counts(watch.rows)
        if level != "iteration":
            slices += _at_level(_expanded(bench, watch.rows, window), level)
    return _bounded(clipped(Timeline((*slices,), (*counts,), end_ps), window))


def timeline_of_requests(result: Result, *, ask: Ask = Ask()) -> Timeline:
    """Return the requests of *result* and what its memories, caches and links served: of pools, all there is to show.

    Raises `InputError` where the window is empty, a finer level is wanted, or the result is none of a replay.
    """
    tables = result.tables
    if tables is None or tables.requests is None:
        raise InputError(Problem("", "--timeline", "", "a replay: pools show their requests and bandwidths"))
    if ask.level not in {None, "iteration"}:
        raise InputError(Problem("", "--timeline-level", str(ask.level), "iteration: pools show their requests alone"))
    end_ps = max(int(tables.ledger.end_ps.max(initial=0)), int(tables.requests.finish_ps.max(initial=0)))
    slices = tuple(_request_slices(tables.requests))
    counts = (*_ledger_counts(tables.ledger), *_waiting_counts(tables.requests))
    return _bounded(clipped(Timeline(slices, counts, end_ps), _checked(ask.window or Span(0, end_ps), end_ps)))


def _exact(bench: Bench, batch: Batch) -> tuple[list[Slice], int]:
    """Return what happens when in one iteration of *batch*: what drafts passes before the model verifies (S4)."""
    drafting = bench.setup.drafting
    if drafting is None:
        return _alone(bench, batch)
    drafter = drafting.drafter
    passes = [] if drafter is None else [
        (_guessing(*step_slices(plan, drafter.system)), times) for plan, times in drafting.plans(batch)
    ]  # fmt: skip
    own, took_ps = _alone(bench, drafting.verified(batch))
    if drafter is None or drafter.hop_ps is None:
        return in_turn_slices([*passes, ((own, took_ps), 1)])
    away_ps = 2 * drafter.hop_ps + sum(times * took for (_, took), times in passes)
    waits = {each.track: replace(each, name="bubble", start_ps=0, end_ps=away_ps, accounts={}, waiting=True)
             for each in own if each.accounts}  # fmt: skip
    return in_turn_slices([(([*waits.values()], away_ps), 1), ((own, took_ps), 1)])


def _guessing(slices: Iterable[Slice], took_ps: int) -> tuple[list[Slice], int]:
    """Return a pass that guesses, its operators told apart from those that verify."""
    return [each if each.waiting else replace(each, name=f"draft: {each.name}") for each in slices], took_ps


def _alone(bench: Bench, batch: Batch) -> tuple[list[Slice], int]:
    setup = bench.setup
    if setup.spread.parallelism.pp > 1:
        return pipeline_slices(setup.cut.pipeline(batch), setup.system)
    return step_slices(setup.cut.plan(batch), setup.system)


def _checked(window: Span, end_ps: int) -> Span:
    if not window.start_ps < end_ps:
        expected = f"a window that begins before the end, {end_ps / 1e9:.6g} ms"
        raise InputError(Problem("", "--timeline-window", f"{window.start_ps / 1e9:.6g} ms", expected))
    return Span(window.start_ps, min(window.end_ps, end_ps))


def _bounded(timeline: Timeline) -> Timeline:
    if len(timeline.slices) > MOST_SLICES:
        coarser = tuple(each for each in timeline.slices if CHANNELS not in each.facts)
        timeline = replace(timeline, slices=coarser, left_out="channel groups")
    if len(timeline.slices) > MOST_SLICES:
        expected = f"at most {MOST_SLICES:,} slices: a narrower --timeline-window or a coarser --timeline-level"
        raise InputError(Problem("", "--timeline", f"{len(timeline.slices):,} slices", expected))
    return timeline


def _at_level(slices: Iterable[Slice], level: str) -> list[Slice]:
    """Return *slices* as *level* shows them, each track in order of time."""
    tracks: dict[tuple[str, str], list[Slice]] = {}
    for each in slices:
        tracks.setdefault((each.group, each.track), []).append(each)
    shown: list[Slice] = []
    for rows in tracks.values():
        parts = any(row.accounts or row.waiting for row in rows)
        if level == "iteration" and parts:
            continue
        rows.sort(key=lambda row: (row.start_ps, row.end_ps))
        shown += joined(rows) if level == "operator" and parts else rows
    return shown


def _rate_counts(slices: Iterable[Slice], span: Span) -> list[Count]:
    """Return useful bytes per second of every memory, cache and link of one iteration; engines count FLOPs."""
    tracks: dict[str, list[Slice]] = {}
    for each in slices:
        if each.accounts and CHANNELS not in each.facts:
            tracks.setdefault(each.track, []).append(each)
    width = max(1, -(-(span.end_ps - span.start_ps) // _BINS))
    counts = []
    for track, rows in tracks.items():
        times = max(int(row.facts.get("chips", 1)) for row in rows)
        engine = not any(account.startswith("useful_") for row in rows for account in row.accounts)
        unit = "FLOP/s" if engine and rows[0].group != "network" else _ACCOUNTS_UNIT
        counts += [
            Count(f"{track} useful", span.start_ps + place * width, times * rate, unit)
            for place, rate in enumerate(rates(rows, span, bins=_BINS))
        ]
    return counts


def _request_slices(requests: RequestColumns) -> Iterator[Slice]:
    """Yield two slices for each request: until its first token, and from then on; lanes hold one at a time."""
    served = np.flatnonzero(requests.finish_ps >= 0)
    order = served[np.argsort(requests.arrival_ps[served], kind="stable")]
    spans = [(int(requests.arrival_ps[row]), int(requests.finish_ps[row])) for row in order]
    for row, lane, (arrival, finish) in zip(order, lanes(spans), spans, strict=True):
        facts: dict[str, int | float | str] = {
            "request": int(row), "prompt_tokens": int(requests.prompt_tokens[row]),
            "output_tokens": int(requests.output_tokens[row]), "preemptions": int(requests.preemptions[row]),
        }  # fmt: skip
        first, track = int(requests.first_token_ps[row]), f"lane {lane:04d}"
        yield Slice("requests", track, f"request {row}: to first token", arrival, first, facts=facts)
        if finish > first:
            yield Slice("requests", track, f"request {row}: decode", first, finish, facts=facts)


def _waiting_counts(requests: RequestColumns) -> Iterator[Count]:
    served = requests.finish_ps >= 0
    changes = [(int(at), 1) for at in requests.arrival_ps[served]]
    changes += [(int(at), -1) for at in requests.finish_ps[served]]
    inside = 0
    for at, change in sorted(changes):
        inside += change
        yield Count("requests in the system", at, inside, "requests")


def _drawn_scopes(ledger: LedgerColumns) -> set[int]:
    """Return memories and caches, without their channels, and of the links the first of those that carry most."""
    useful = np.array([account.startswith("useful") for account in ACCOUNTS])[ledger.account]
    carried = np.bincount(ledger.scope[useful], weights=ledger.amount[useful], minlength=len(ledger.scopes))
    links = [number for number, scope in enumerate(ledger.scopes) if scope.startswith("link.")]
    parts = {
        number
        for number, (scope, unit) in enumerate(zip(ledger.scopes, ledger.units, strict=True))
        if unit == _ACCOUNTS_UNIT and number not in links and not re.search(r"\.ch\d+$", scope)
    }
    return parts | ({max(links, key=lambda number: float(carried[number]))} if links else set())


def _ledger_counts(ledger: LedgerColumns) -> Iterator[Count]:
    """Yield useful bytes per second in each window of the ledger, for memories, caches and links."""
    shown = _drawn_scopes(ledger)
    useful = np.array([account.startswith("useful") for account in ACCOUNTS])[ledger.account]
    for number, (scope, unit) in enumerate(zip(ledger.scopes, ledger.units, strict=True)):
        mine = useful & (ledger.scope == number)
        if number not in shown or not mine.any():
            continue
        starts, place = np.unique(ledger.start_ps[mine], return_inverse=True)
        amounts = np.bincount(place, weights=ledger.amount[mine])
        ends = dict(zip(ledger.start_ps.tolist(), ledger.end_ps.tolist(), strict=True))
        before = -1
        for start, amount in zip(starts.tolist(), amounts.tolist(), strict=True):
            if before not in {-1, start}:
                yield Count(f"{scope} useful", before, 0.0, unit)
            yield Count(f"{scope} useful", start, amount * 10**12 / max(ends[start] - start, 1), unit)
            before = ends[start]
        yield Count(f"{scope} useful", before, 0.0, unit)


def _watched(bench: Bench, traffic: Trace | ClosedLoop, window: Span) -> Watch:
    """Serve *traffic* again to the end of *window* and return what was seen in it."""
    setup = bench.setup
    watch = Watch(fine_from_ps(window.start_ps), fine_from_ps(window.end_ps))
    costs = WatchedCosts(setup.costs, watch)
    try:
        if isinstance(traffic, ClosedLoop):
            replay_closed_loop(traffic, replace(setup.servers(), costs=costs), log=watch)
        elif traffic.closed:
            replay_sessions(traffic, replace(setup.servers(), costs=costs), log=watch)
        else:
            replay(arrivals_of(traffic), costs, limits=setup.limits, policy=setup.scheduler, log=watch)
    except WindowPassed:
        pass
    return watch


def _iteration_slices(rows: Iterable[Seen], end_ps: int) -> Iterator[Slice]:
    for seen in rows:
        name = f"{seen.phase} x{seen.iterations}" if seen.iterations > 1 else seen.phase
        facts: dict[str, int | float | str] = {
            "iterations": seen.iterations, "decoding": seen.decode, "kv_tokens": seen.kv_tokens,
            "prompt_tokens": seen.prefill_tokens,
        }  # fmt: skip
        end = min(ps_from_fine(seen.start_fine + seen.time_fine), end_ps)
        yield Slice("server", "iterations", name, ps_from_fine(seen.start_fine), end, facts=facts)


def _batch_counts(rows: Iterable[Seen]) -> Iterator[Count]:
    for seen in rows:
        at = ps_from_fine(seen.start_fine)
        yield Count("batch", at, seen.decode, "sequences")
        yield Count("KV read", at, seen.kv_tokens, "tokens")


def _expanded(bench: Bench, rows: Iterable[Seen], window: Span) -> Iterator[Slice]:
    """Yield the slices of every iteration in *window*, each simulated by itself and stretched to its time."""
    setup = bench.setup
    first, until = fine_from_ps(window.start_ps), fine_from_ps(window.end_ps)
    inside = (
        seen for row in rows if row.phase != "moving" for seen in iterations_between(row, setup.costs, first, until)
    )
    shown = list(itertools.islice(inside, MOST_EXPANDED + 1))
    if len(shown) > MOST_EXPANDED:
        expected = f"a window of at most {MOST_EXPANDED} iterations, or --timeline-level iteration"
        raise InputError(Problem("", "--timeline-window", "", expected))
    for seen in shown:
        slices, took_ps = _exact(bench, seen.batch(setup.model.reach))
        yield from (_stretched(each, seen, took_ps) for each in slices)


def _stretched(each: Slice, seen: Seen, took_ps: int) -> Slice:
    start, end = (ps_from_fine(seen.start_fine + at * seen.time_fine // took_ps) for at in (each.start_ps, each.end_ps))
    facts = {**each.facts, "stretched_by": seen.time_fine / (took_ps << FINE_BITS)}
    return replace(each, start_ps=start, end_ps=end, facts=facts)
