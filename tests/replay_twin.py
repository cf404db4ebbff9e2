"""The slow twin of archsim.serving.replay: one iteration at a time, plain lists, no kernel, no jump.

Meant to be read beside the policy's words and believed. It gives the windows, too, the plain way: all iterations in a
list, the cell size from the last of them, then one pass.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).parent))
from replay_twin_prefix import TwinCache

FINE_BITS = 32
FIRST_SHIFT = FINE_BITS + 20
MOST_WINDOWS = 512


@dataclass
class Row:
    """What becomes of one request."""

    id: int
    arrival_ps: int
    prompt: int
    output: int
    prefix: tuple[int, ...] = ()
    generated: int = 0
    first_token_ps: int = -1
    finish_ps: int = -1
    preemptions: int = 0
    rejected: bool = False
    prefilled: int = 0
    cached: int = 0
    shared: list[int] = field(default_factory=list)
    emitted: int = -1
    rank: int = 0
    stored: int = 0

    @property
    def length(self) -> int:
        """Tokens so far."""
        return self.prompt + self.generated


@dataclass
class Piece:
    """One iteration, or idle time (phase "")."""

    phase: str
    start: int
    end: int
    tokens: int = 0
    knots: tuple[tuple[int, int], ...] = ()
    decoded: int = 0


@dataclass
class Twin:
    """A whole replay, in rows and pieces."""

    rows: list[Row]
    cache: TwinCache
    pieces: list[Piece] = field(default_factory=list)
    peak_blocks: int = 0
    largest_batch: int = 0
    preemptions: int = 0
    decodes: int = 0
    gaps: list[int] = field(default_factory=list)
    drafted: int = 0
    chunked: bool = False
    partly: list[Row] = field(default_factory=list)
    moves: list[tuple[bool, int]] = field(default_factory=list)
    out_bytes: int = 0
    in_bytes: int = 0
    turned_away: int = 0
    fetched: int = 0


@dataclass
class Chunks:
    """Parts of prompts in one iteration."""

    sequences: int
    tokens: int
    pairs: int
    kv_tokens: int


def twin_replay(arrivals: list[Any], costs: Any, limits: Any, policy: str = "prefill_first") -> Twin:
    """Serve *arrivals* in order of arrival: prefill-first, in whole batches (`static`), or with prompts in chunks."""
    if policy == "decode_first":
        return _twin_chunked(arrivals, costs, limits)
    twin = Twin([Row(number, *arrival) for number, arrival in enumerate(arrivals)], TwinCache(limits))
    pending = list(twin.rows)
    waiting: list[Row] = []
    running: list[Row] = []
    clock = 0
    twin.cache.costs = costs
    while pending or waiting or running or twin.cache.unwritten:
        _receive(pending, waiting, limits, clock)
        if twin.cache.unwritten:
            clock = _written(twin, costs, limits, clock)
            continue
        if policy != "static":
            _make_room(twin, waiting, running, [], limits)
            clock = _move(twin, costs, limits, clock)
        if waiting and waiting[0].stored:
            if not (policy == "static" and running) and _returns(twin, waiting, running, costs, limits):
                clock = _move(twin, costs, limits, clock)
                continue
            fitting = []
        else:
            fitting = [] if policy == "static" and running else _fitting(twin, waiting, running, limits)
        fitting = _quick(twin, fitting, running, costs, limits)
        if fitting:
            waiting = waiting[len(fitting) :]
            clock = _prefill(twin, fitting, running, costs, limits, clock)
            running += [row for row in fitting if row.generated < row.output]
        elif running:
            _preempt(twin, running, [], waiting, limits)
            clock = _move(twin, costs, limits, clock)
            clock = _decode(twin, running, costs, limits, clock)
            running = [row for row in running if row.generated < row.output]
        elif pending:
            arrival = pending[0].arrival_ps << FINE_BITS
            twin.pieces.append(Piece("", clock, arrival))
            clock = arrival
    return twin


def _twin_chunked(arrivals: list[Any], costs: Any, limits: Any) -> Twin:
    """Decode in every iteration, and cut prompts to the tokens that are left of the budget."""
    twin = Twin([Row(number, *arrival) for number, arrival in enumerate(arrivals)], TwinCache(limits))
    pending, clock = list(twin.rows), 0
    waiting: list[Row] = []
    running: list[Row] = []
    twin.chunked = True
    partly = twin.partly
    twin.cache.costs = costs
    while pending or waiting or running or partly or twin.cache.unwritten:
        _receive(pending, waiting, limits, clock)
        if twin.cache.unwritten:
            clock = _written(twin, costs, limits, clock)
            continue
        budget = limits.max_prefill_tokens - len(running) * (1 + limits.ahead)
        wanted = bool(waiting or partly)
        if budget > 0 or not wanted:
            _preempt(twin, running, partly, waiting, limits)
            clock = _move(twin, costs, limits, clock)
        if budget > 0 and waiting and waiting[0].stored:
            _make_room(twin, waiting, running, partly, limits)
            clock = _move(twin, costs, limits, clock)
            if _returns(twin, waiting, running, costs, limits):
                clock = _move(twin, costs, limits, clock)
                continue
        parts = _parts(twin, waiting, partly, running, costs, limits, budget) if budget > 0 and wanted else []
        clock = _move(twin, costs, limits, clock)
        if parts:
            clock = _mixed(twin, parts, running, partly, costs, limits, clock)
        elif running:
            _preempt(twin, running, partly, waiting, limits)
            clock = _move(twin, costs, limits, clock)
            run = costs.decode(len(running), sum(_attended(row.length, limits) for row in running), 1)
            twin.cache.shrink(_next(twin, running, partly, limits))
            clock = _iterate(twin, "decode", running, [*running, *partly], run, limits, clock)
        elif pending:
            arrival = pending[0].arrival_ps << FINE_BITS
            twin.pieces.append(Piece("", clock, arrival))
            clock = arrival
        running = [row for row in running if row.generated < row.output]
    return twin


def _receive(pending: list[Row], waiting: list[Row], limits: Any, clock: int) -> None:
    while pending and pending[0].arrival_ps << FINE_BITS <= clock:
        row = pending.pop(0)
        answers = limits.techniques.answers
        if answers and Fraction((row.id + 2**20) * 0x9E3779B97F4A7C15 % 2**64, 2**64) < answers.share:
            row.first_token_ps = row.finish_ps = row.arrival_ps + answers.latency_ps
            continue
        total = row.prompt + row.output
        row.rejected = total > limits.context_tokens or _blocks(total + limits.ahead, limits) > limits.kv_blocks
        if not row.rejected:
            row.rank = _class(row.id, limits)
            waiting.append(row)
            waiting.sort(key=lambda row: row.rank)
    ttft = limits.techniques.ttft_ps
    for row in list(waiting):
        if ttft is not None and row.first_token_ps < 0 and clock > row.arrival_ps + ttft << FINE_BITS:
            row.rejected = True
            waiting.remove(row)


def _class(number: int, limits: Any) -> int:
    """Deal classes by the fractional part of (number + 1/2) golden ratios, as a fraction of 2**64."""
    golden = 0x9E3779B97F4A7C15
    place = Fraction((number * golden + golden // 2) % 2**64, 2**64)
    ends = [Fraction(sum(limits.techniques.classes[: rank + 1]), 100) for rank in range(len(limits.techniques.classes))]
    return sum(place >= end for end in ends)


def _give_up(twin: Twin, running: list[Row], waiting: list[Row], limits: Any) -> None:
    """Preempt who joined last of the least urgent class."""
    worst = max(row.rank for row in running)
    row = [row for row in running if row.rank == worst][-1]
    running.remove(row)
    twin.cache.leave(row)
    row.preemptions += 1
    twin.preemptions += 1
    tier = limits.techniques.tier
    if tier and tier.swaps:
        size, cache = _cache_bytes(row, limits), twin.cache
        while cache.tier and size + cache.swapped_bytes + len(cache.tier) * cache.unit_bytes > tier.capacity_bytes:
            cache.drop()
        if size + cache.swapped_bytes <= tier.capacity_bytes:
            row.stored = size
            cache.swapped_bytes += size
            twin.out_bytes += size
            twin.moves.append((True, size))
        else:
            twin.turned_away += 1
    waiting.insert(0, row)
    waiting.sort(key=lambda row: row.rank)


def _cache_bytes(row: Row, limits: Any) -> int:
    """Return the bytes of all tokens but the last, which no iteration has processed."""
    return -(-_attended(row.length - 1, limits) * limits.techniques.tier.kv_bits // 8)


def _move(twin: Twin, costs: Any, limits: Any, clock: int) -> int:
    """Let the caches move that were given up or taken back, one after the other."""
    for out, size in twin.moves:
        tier = limits.techniques.tier
        pass_fine = -(-size * 10**12 * 2**FINE_BITS // (tier.out_bytes_per_s if out else tier.in_bytes_per_s))
        run = costs.moved(tier.latency_ps << FINE_BITS, pass_fine if out else 0, 0 if out else pass_fine)
        twin.pieces.append(Piece("moving", clock, clock + run.time_fine, 0, run.knots))
        clock += run.time_fine
    twin.moves = []
    return clock


def _written(twin: Twin, costs: Any, limits: Any, clock: int) -> int:
    """Copy what prompts have left for the tier."""
    twin.moves.append((True, twin.cache.unwritten * twin.cache.unit_bytes))
    twin.out_bytes += twin.moves[-1][1]
    twin.cache.unwritten = 0
    return _move(twin, costs, limits, clock)


def _fetch(twin: Twin) -> None:
    """Let come from the tier what prompts that start have found there."""
    if twin.cache.fetched > twin.fetched:
        twin.moves.append((False, (twin.cache.fetched - twin.fetched) * twin.cache.unit_bytes))
        twin.in_bytes += twin.moves[-1][1]
        twin.fetched = twin.cache.fetched


def _returns(twin: Twin, waiting: list[Row], running: list[Row], costs: Any, limits: Any) -> bool:
    """Take the first of the queue back from the tier if there is a place, and blocks for the next iteration."""
    row = waiting[0]
    taken = _next(twin, running, twin.partly, limits) + _blocks(row.length + 1 + limits.ahead, limits)
    full = len(running) + len(twin.partly) == limits.max_batch
    others = [*running, *twin.partly]
    if full or taken > limits.kv_blocks or not _quick(twin, [row], others, costs, limits):
        return False
    twin.moves.append((False, row.stored))
    twin.in_bytes += row.stored
    twin.cache.swapped_bytes -= row.stored
    row.stored = 0
    running.append(waiting.pop(0))
    twin.cache.shrink(_held(twin, twin.partly, running, limits))
    twin.peak_blocks = max(twin.peak_blocks, _held(twin, twin.partly, running, limits))
    return True


def _make_room(twin: Twin, waiting: list[Row], running: list[Row], partly: list[Row], limits: Any) -> None:
    if not limits.techniques.class_preempts:
        return
    while waiting and running and max(row.rank for row in running) > waiting[0].rank:
        taken = (
            _next(twin, running, partly, limits)
            if twin.chunked or waiting[0].stored
            else _held(twin, partly, running, limits)
        )
        free = limits.kv_blocks - taken
        need = twin.cache.would_take(waiting[0], _blocks(waiting[0].length + 1, limits))
        need = _blocks(waiting[0].length + 1 + limits.ahead, limits) if waiting[0].stored else need
        if len(running) + len(partly) < limits.max_batch and need <= free:
            return
        _give_up(twin, running, waiting, limits)


def _quick(twin: Twin, fitting: list[Row], running: list[Row], costs: Any, limits: Any) -> list[Row]:
    """Return who of *fitting* may join without making an iteration too long."""
    bound = limits.techniques.tpot_ps
    for count in range(len(fitting)) if bound is not None else ():
        rows = [*running, *fitting[: count + 1]]
        lengths = [row.length if row in running and row not in twin.partly else row.length + 1 for row in rows]
        time = costs.decode(len(rows), sum(_attended(length, limits) for length in lengths), 1).time_fine
        if time > bound << FINE_BITS and len(rows) > 1:
            return fitting[:count]
    return fitting


def _held(twin: Twin, growing: list[Row], still: list[Row], limits: Any) -> int:
    """Return the blocks held when every *growing* sequence has its next token, and those *still* have not."""
    sizes = [(row, row.length + 1) for row in growing] + [(row, row.length) for row in still]
    return twin.cache.held + sum(twin.cache.own(row, _blocks(size, limits)) for row, size in sizes)


def _next(twin: Twin, running: list[Row], partly: list[Row], limits: Any) -> int:
    """Return the blocks held when every running sequence has the tokens of its next iteration, and prompts a first."""
    tokens = _tokens(twin, limits)
    grown = sum(_blocks(row.length + tokens, limits) - _blocks(row.length + 1, limits) for row in running)
    return _held(twin, [*running, *partly], [], limits) + grown


def _tokens(twin: Twin, limits: Any) -> int:
    """Return the tokens of a sequence in the next decode iteration: with drafts, by quantiles in reversed order."""
    drafts = limits.techniques.drafts
    if drafts is None:
        return 1
    place, reversed_place = twin.decodes % 64, 0
    for bit in range(6):
        reversed_place += (place >> bit & 1) << (5 - bit)
    return 1 + sum(share > Fraction(reversed_place, 64) + Fraction(1, 128) for share in drafts.shares)


def _preempt(twin: Twin, running: list[Row], partly: list[Row], waiting: list[Row], limits: Any) -> None:
    while running and _next(twin, running, partly, limits) > limits.kv_blocks:
        _give_up(twin, running, waiting, limits)


def _reserve(twin: Twin, row: Row, others: tuple[list[Row], list[Row]], limits: Any) -> None:
    """Let *row* hold what its prefill needs, beside what the (growing, still) *others* hold."""
    twin.cache.share(row)
    growing, still = others
    twin.cache.shrink(_held(twin, [*growing, row], still, limits))


def _parts(
    twin: Twin, waiting: list[Row], partly: list[Row], running: list[Row], costs: Any, limits: Any, budget: int
) -> list[tuple[Row, int]]:
    """Return what of whose prompt the iteration processes, after letting in those for whom tokens are left."""
    parts = []
    for row in list(partly):
        if budget > 0:
            parts.append((row, min(row.length - row.prefilled, budget)))
            budget -= parts[-1][1]
    _make_room(twin, waiting, running, partly, limits)
    fitting = _quick(twin, _in_order(twin, waiting, running, partly, limits), [*running, *partly], costs, limits)
    for row in fitting:
        if budget <= 0 or (partly and (row.generated > 0) != (partly[0].generated > 0)):
            break
        _reserve(twin, row, (partly, running), limits)
        row.prefilled = row.cached
        partly.append(waiting.pop(0))
        parts.append((row, min(row.length - row.prefilled, budget)))
        budget -= parts[-1][1]
    _fetch(twin)
    return parts


def _in_order(twin: Twin, waiting: list[Row], running: list[Row], partly: list[Row], limits: Any) -> list[Row]:
    """Return who of the *waiting* has a place and blocks beside those *running* and *partly* there."""
    fitting: list[Row] = []
    growing = [*running, *partly]
    free = limits.kv_blocks - _next(twin, running, partly, limits)
    for row in waiting:
        free -= twin.cache.would_take(row, _blocks(row.length + 1, limits))
        if len(growing) + len(fitting) == limits.max_batch or free < 0 or row.stored:
            break
        if fitting and (row.generated > 0) != (fitting[0].generated > 0):
            break
        fitting.append(row)
    return fitting


def _mixed(
    twin: Twin,
    parts: list[tuple[Row, int]],
    running: list[Row],
    partly: list[Row],
    costs: Any,
    limits: Any,
    clock: int,
) -> int:
    seen = [(row.prefilled, count) for row, count in parts]
    chunks = Chunks(
        len(parts),
        sum(count for _, count in seen),
        sum(_attended(at, limits) for before, count in seen for at in range(before + 1, before + count + 1)),
        sum(before + count for before, count in seen),
    )
    for row, count in parts:
        row.prefilled += count
    done = [row for row, _ in parts if row.prefilled == row.length]
    recomputing = parts[0][0].generated > 0
    phase = "mixed" if running else "prefill_recompute" if recomputing else "prefill"
    run = costs.mixed(len(running), sum(_attended(row.length, limits) for row in running), chunks)
    others = [row for row in partly if row not in done]
    held = _next(twin, running, partly, limits)
    twin.cache.shrink(held)
    twin.peak_blocks = max(twin.peak_blocks, held)
    end = _iterate(twin, phase, [*running, *done], [*running, *done], run, limits, clock, joining=done)
    twin.pieces[-1].decoded = len(running)
    twin.largest_batch = max(twin.largest_batch, len(running) + len(partly))
    running += done
    partly[:] = others
    return end


def _blocks(tokens: int, limits: Any) -> int:
    """Count blocks, with room for a draft: with a window at most those that it can lie in, without all."""
    whole, reach = -(-(tokens + limits.ahead) // limits.block_tokens), limits.reach
    return sum(whole for _ in range(reach.full)) + sum(
        min(whole, -(-reach.window // limits.block_tokens) + 1) for _ in range(reach.windowed)
    )


def _attended(position: int, limits: Any) -> int:
    """Return the tokens that the token at *position*, from 1 on, attends to in all parts of the layers."""
    reach = limits.reach
    return reach.full * position + reach.windowed * min(position, reach.window)


def _fitting(twin: Twin, waiting: list[Row], running: list[Row], limits: Any) -> list[Row]:
    """Return whose prompts one iteration takes on: whole, as many as fit."""
    fitting: list[Row] = []
    free = limits.kv_blocks - _held(twin, [], running, limits)
    for row in waiting:
        together = [*fitting, row]
        free -= twin.cache.would_take(row, _blocks(row.length + 1, limits))
        fits = (
            len(running) + len(together) <= limits.max_batch
            and free >= 0
            and (
                len(together) == 1
                or sum(one.length - twin.cache.cached(one) for one in together) <= limits.max_prefill_tokens
            )
            and (row.generated > 0) == (together[0].generated > 0)
            and not row.stored
        )
        if not fits:
            break
        fitting = together
    return fitting


def _prefill(twin: Twin, rows: list[Row], running: list[Row], costs: Any, limits: Any, clock: int) -> int:
    for place, row in enumerate(rows):
        _reserve(twin, row, (rows[:place], running), limits)
    _fetch(twin)
    clock = _move(twin, costs, limits, clock)
    tokens = sum(row.length - row.cached for row in rows)
    pairs = sum(_attended(at, limits) for row in rows for at in range(row.cached + 1, row.length + 1))
    context = sum(row.length for row in rows)
    if any(row.cached for row in rows):
        run = costs.mixed(0, 0, Chunks(len(rows), tokens, pairs, context))
    else:
        run = costs.prefill(len(rows), tokens, pairs, tokens)
    phase = "prefill_recompute" if rows[0].generated else "prefill"
    return _iterate(twin, phase, rows, [*running, *rows], run, limits, clock, joining=rows)


def _decode(twin: Twin, running: list[Row], costs: Any, limits: Any, clock: int) -> int:
    run = costs.decode(len(running), sum(_attended(row.length, limits) for row in running), 1)
    twin.cache.shrink(_next(twin, running, [], limits))
    return _iterate(twin, "decode", running, running, run, limits, clock)


def _iterate(
    twin: Twin,
    phase: str,
    serving: list[Row],
    holding: list[Row],
    run: Any,
    limits: Any,
    clock: int,
    *,
    joining: list[Row] | None = None,
) -> int:
    end = clock + run.time_fine
    joining = joining or []
    tokens = _tokens(twin, limits)
    growing = [row for row in serving if row not in joining]
    yielded = sum(min(tokens, row.output - row.generated) for row in growing) + len(joining)
    end_ps = -(-end // 2**FINE_BITS)
    for row in serving:
        twin.gaps += [end - row.emitted] if row.emitted >= 0 else []
        row.emitted = end
        row.generated += 1 if row in joining else tokens
        if row.first_token_ps < 0:
            row.first_token_ps = end_ps
        if row.generated >= row.output:
            row.finish_ps = end_ps
    twin.decodes += bool(growing)
    twin.drafted += tokens * len(growing)
    decoded = len(serving) if phase == "decode" else 0
    twin.pieces.append(Piece(phase, clock, end, yielded, run.knots, decoded))
    twin.peak_blocks = max(twin.peak_blocks, _held(twin, [], holding, limits))
    twin.largest_batch = max(twin.largest_batch, len(holding))
    for row in joining:
        twin.cache.keep(row)
        if row.generated == row.output:
            twin.cache.leave(row)
    for row in sorted(growing, key=lambda row: (row.output - row.generated, row.id)):
        if row.generated >= row.output:
            twin.cache.leave(row)
            row.generated = row.output
    return end


def twin_windows(pieces: list[Piece]) -> list[dict[str, Any]]:
    """Return the windows that *pieces* fall into, as plain dictionaries."""
    pieces = [piece for piece in pieces if piece.phase or piece.end > piece.start]
    if not pieces:
        return []
    last = pieces[-1].start if pieces[-1].phase else pieces[-1].end - 1
    shift = FIRST_SHIFT
    while last >> shift >= MOST_WINDOWS:
        shift += 1
    windows: dict[int, dict[str, Any]] = {}
    for piece in _cut_idle(pieces, 1 << shift):
        new = {"start": piece.start, "end": piece.start, "idle": 0, "tokens": 0, "phases": {}}
        window = windows.setdefault(piece.start >> shift, new)
        window["end"] = piece.end
        window["tokens"] += piece.tokens
        if not piece.phase:
            window["idle"] += piece.end - piece.start
            continue
        use = window["phases"].setdefault(piece.phase, {"iterations": 0, "time": 0, "weights": {}})
        use["iterations"] += 1
        use["time"] += piece.end - piece.start
        for knot, weight in piece.knots:
            use["weights"][knot] = use["weights"].get(knot, 0) + weight
    return list(windows.values())


def _cut_idle(pieces: list[Piece], cell: int) -> list[Piece]:
    cut = []
    for piece in pieces:
        start = piece.start
        while not piece.phase and start // cell < (piece.end - 1) // cell:
            border = (start // cell + 1) * cell
            cut.append(Piece("", start, border))
            start = border
        cut.append(Piece(piece.phase, start, piece.end, piece.tokens, piece.knots))
    return cut
