"""Experts that lie in a slower memory, and a cache of hot ones: how many of those that an iteration touches are there.

A cache has so many slots in every layer of every rank. An iteration's experts that are in the cache when it begins are
hits, all others are read from where they lie. Policies say what a cache holds:

  lru      the experts that were touched last; of one iteration's, the first by number
  lfu      those that most iterations touched so far
  popular  those that the law or the log sends the most tokens to; they are loaded once and stay

`popular` is worked out: the touched experts beyond the popular ones are missed. The other two are simulated over
iterations that follow each other, on caches that begin with the popular experts, and the share that is missed after a
warm-up applies to what `Routing.loads` says is touched. Iterations follow each other as the routing has it:

  laws     every token draws anew, or takes an expert of the token before it in its sequence again (`+keep=P`)
  logs     sequences begin at equal distances in the log and go on token by token, with the overlap that it has

W16: an iteration finds the cache that iterations like itself leave. W17: a token takes each expert with its own chance,
whatever the others; of several tokens of a sequence in one iteration (prompts) the overlap counts within the iteration
alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from archsim.workload.model import Model
from archsim.workload.routing import ONE_BITS, Load, Logged, Routing, Zipf, chances, popularity, touched_chance

__all__ = ["POLICIES", "Cached", "Missed", "misses_of"]

Bools = npt.NDArray[np.bool_]
Integers = npt.NDArray[np.int64]

_FINE = 1 << 20
"""Parts of a token in which popularity is compared."""
_TOUCHES = 8192
_FEWEST, _MOST = 32, 256
"""Iterations that are counted: as many as touch so many experts together, within these bounds."""
_SEED = 0
_STREWN = 633


class Missed(NamedTuple):
    """Of the experts that iterations touched, on one rank."""

    touched: int
    missed: int
    kept: int
    """Of the missed ones those that were in the cache afterwards."""

    @property
    def share(self) -> Fraction:
        """Missed ones of the touched ones."""
        return Fraction(self.missed, self.touched) if self.touched else Fraction(0)

    @property
    def kept_share(self) -> Fraction:
        """Those that were put into the cache, of the touched ones."""
        return Fraction(self.kept, self.touched) if self.touched else Fraction(0)


def _recent(last: Integers, _count: Integers, popularity: Integers) -> Integers:
    """Order by the last iteration that touched an expert; those that none did by popularity."""
    return np.where(last >= 0, (last + 1) * popularity.shape[1] - np.arange(popularity.shape[1]), -popularity)


def _frequent(last: Integers, count: Integers, popularity: Integers) -> Integers:
    """Order by the iterations that touched an expert, then by popularity."""
    del last
    return np.asarray(count * popularity.shape[1] - popularity)


POLICIES: dict[str, Callable[[Integers, Integers, Integers], Integers] | None] = {
    "lru": _recent,
    "lfu": _frequent,
    "popular": None,
}
"""Worth of every expert by (last iteration, iterations, place among the popular), shapes (ranks, experts of a rank): a
cache holds those of the highest. None: the popular ones, whatever happens."""


@dataclass(frozen=True)
class Cached:
    """A routing whose experts lie elsewhere, but for those in a cache."""

    base: Routing
    slots: int
    """Experts of a layer that each rank keeps."""
    policy: str
    """A key of `POLICIES`; without slots it does not matter."""
    _known: dict[tuple[int, int, int, int, int], tuple[Missed, ...]] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )

    @property
    def name(self) -> str:
        """As it is asked for."""
        return self.base.name

    @property
    def layers(self) -> int:
        """Layers that differ."""
        return self.base.layers

    @property
    def spare(self) -> int:
        """Slots for copies: none."""
        return self.base.spare

    def loads(
        self, model: Model, tokens: int, *, layer: int, ranks: int, sequences: int | None = None
    ) -> tuple[Load, ...]:
        """Return what each rank gets, and what of its experts is not in its cache."""
        own = self.base.loads(model, tokens, layer=layer, ranks=ranks, sequences=sequences)
        size = model.experts // ranks
        if self.slots >= size:
            return own
        if not self.slots:
            return tuple(load._replace(missed=load.touched) for load in own)
        if POLICIES[self.policy] is None:
            return self._without_popular(model, tokens, own, layer=layer, sequences=sequences)
        found = self.missed(model, tokens, layer=layer, ranks=ranks, sequences=sequences or tokens)
        return tuple(
            load._replace(missed=load.touched * one.share, kept=load.touched * one.kept_share)
            for load, one in zip(own, found, strict=True)
        )

    def check(self, model: Model) -> None:
        """Raise `InputError` where the base is of other experts."""
        self.base.check(model)

    def _without_popular(
        self, model: Model, tokens: int, own: tuple[Load, ...], *, layer: int, sequences: int | None
    ) -> tuple[Load, ...]:
        size = model.experts // len(own)
        each = self.base.loads(model, tokens, layer=layer, ranks=model.experts, sequences=sequences)
        places = self._popularity(model, layer, len(own))
        return tuple(
            load._replace(
                missed=sum(
                    (each[rank * size + place].touched for place in np.flatnonzero(row >= self.slots).tolist()),
                    Fraction(0),
                )
            )
            for rank, (load, row) in enumerate(zip(own, places, strict=True))
        )

    def _popularity(self, model: Model, layer: int, ranks: int) -> Integers:
        """Return the place of every expert among the popular ones of its rank, shape (ranks, experts of a rank)."""
        tokens = popularity(self.base, model, layer=layer)
        loads = np.array([int(amount * _FINE) for amount in tokens], dtype=np.int64).reshape(ranks, -1)
        order = np.argsort(-loads, axis=1, kind="stable")
        return np.argsort(order, axis=1, kind="stable")

    def missed(self, model: Model, tokens: int, *, layer: int, ranks: int, sequences: int) -> tuple[Missed, ...]:
        """Return what iterations of *tokens* of *sequences* miss on each rank, by simulation."""
        key = (model.experts, tokens, sequences, layer % self.layers, ranks)
        if key not in self._known:
            counted = min(max(_TOUCHES // (tokens * model.experts_per_token), _FEWEST), _MOST)
            visits = _visits(self.base, model, (tokens, sequences), layer=layer, count=2 * counted)
            places = self._popularity(model, layer, ranks)
            self._known[key] = misses_of(visits, places, slots=self.slots, policy=self.policy, warm_up=counted)
        return self._known[key]


def misses_of(
    visits: Iterable[Bools], popularity: Integers, *, slots: int, policy: str, warm_up: int
) -> tuple[Missed, ...]:
    """Return what iterations that touch *visits*, one after the other, miss on each rank, after *warm_up* of them.

    *popularity*, shape (ranks, experts of a rank), is the place of every expert among the popular ones of its rank.
    """
    worth = POLICIES[policy]
    if worth is None:
        raise AssertionError(f"{policy} is worked out, not simulated")
    last, count = np.full(popularity.shape, -1, dtype=np.int64), np.zeros(popularity.shape, dtype=np.int64)
    held = popularity < slots
    sums = np.zeros((3, popularity.shape[0]), dtype=np.int64)
    for number, visit in enumerate(visits):
        touched = visit.reshape(popularity.shape)
        last[touched], count[touched] = number, count[touched] + 1
        places = np.argsort(np.argsort(-worth(last, count, popularity), axis=1, kind="stable"), axis=1)
        after = places < slots
        if number >= warm_up:
            missed = touched & ~held
            sums += [part.sum(axis=1) for part in (touched, missed, missed & after)]
        held = after
    return tuple(Missed(*map(int, column)) for column in sums.T)


def _visits(routing: Routing, model: Model, size: tuple[int, int], *, layer: int, count: int) -> Iterator[Bools]:
    """Yield the experts, shape (experts,), that each of *count* iterations of *size* (tokens, sequences) touches."""
    if isinstance(routing, Logged):
        return _logged(routing, model, size, layer=layer, count=count)
    law = routing if isinstance(routing, Zipf) else Zipf(0.0)
    return _drawn(law, model, size, count=count)


def _drawn(law: Zipf, model: Model, size: tuple[int, int], *, count: int) -> Iterator[Bools]:
    tokens, sequences = size
    chance = chances(model.experts, model.experts_per_token, law.exponent)
    source = np.random.PCG64(_SEED)
    if not law.kept or tokens > sequences:
        draws = law.draws(tokens, sequences)
        touched = np.array([touched_chance(one, draws) for one in chance], dtype=np.int64)
        for _ in range(count):
            yield np.asarray(_raw(source, (model.experts,)) < touched)
        return
    one = 1 << ONE_BITS
    anew = np.array([int(c * (1 - law.kept)) for c in chance], dtype=np.int64)
    again = anew + int(law.kept * one)
    takes = _raw(source, (tokens, model.experts)) < np.array(chance, dtype=np.int64)
    for _ in range(count):
        yield np.asarray(takes.any(axis=0))
        takes = _raw(source, takes.shape) < np.where(takes, again, anew)


def _raw(source: np.random.PCG64, shape: tuple[int, ...]) -> Integers:
    """Return uniform numbers in units of 2**-`ONE_BITS`."""
    raw = source.random_raw(int(np.prod(shape))) >> np.uint64(64 - ONE_BITS)
    return raw.astype(np.int64).reshape(shape)


def _logged(log: Logged, model: Model, size: tuple[int, int], *, layer: int, count: int) -> Iterator[Bools]:
    tokens, sequences = size
    routes = np.array(log.routes[layer % log.layers], dtype=np.int64)
    each = -(-tokens // sequences)
    starts = (np.arange(sequences) * len(routes)) // sequences + layer * _STREWN
    offsets = np.arange(each)
    for number in range(count):
        rows = ((starts[:, None] + number * each + offsets) % len(routes)).ravel()[:tokens]
        touched = np.zeros(model.experts, dtype=bool)
        touched[routes[rows].ravel()] = True
        yield touched
