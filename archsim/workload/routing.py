"""Which experts tokens go to: laws of popularity, and logged routes.

A routing says, for a number of tokens and a layer, how many (token, expert) pairs fall on each rank's experts and how
many different experts they touch, where rank r of R holds the r-th part of the experts in the order of their numbers.

  uniform   every expert alike; E (1 - (1 - k/E)^T) distinct ones (W1)
  zipf:S    the i-th most popular expert is chosen in proportion to 1/i^S, independently token by token, k of E a token
            and no expert twice: chances are cut at one and the rest raised until they sum to k. The hot experts are
            strewn over the numbers, since a checkpoint numbers its experts without regard to popularity.
            `zipf:S+keep=P` repeats: a token takes each expert of the token before it in its sequence with chance P
            again. Tokens of one prompt then touch fewer; those of different sequences are independent.
  FILE      a log of every token's experts in every layer: columns `seq`, `pos`, `l1`, `l2`, ... with the experts of a
            token separated by spaces. T tokens are drawn at equal distances over the whole log, so across its
            sequences, and in every layer other ones; the model's layers take the log's in turn.

W10: laws give expected loads, the same in every layer. A log gives what its tokens did, layer by layer.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property, lru_cache
from pathlib import Path
from typing import NamedTuple, Protocol

from archsim import files
from archsim.errors import InputError, Problem
from archsim.workload.model import Model
from archsim.workload.operators import distinct_experts

__all__ = [
    "ONE_BITS",
    "UNIFORM",
    "Load",
    "Logged",
    "Routing",
    "Uniform",
    "Zipf",
    "chances",
    "load_routing",
    "popularity",
    "touched_chance",
]

_PARTS = 1024
"""`distinct_experts` counts in parts of an expert."""
_STREWN = 633
"""The golden section of 1024: its multiples lie evenly in whatever number."""
ONE_BITS = 40
"""Chances are whole multiples of 2**-40, so that sums of them do not depend on a platform's rounding."""
_MOST_TOKENS = 10**6
_MOST_EXPERTS = 4096
_LARGEST_EXPONENT = 8
_MANY_TOKENS = 1 << 20
"""Loads of so many tokens stand for the popularity of a law."""


class Load(NamedTuple):
    """What the experts of one rank get in one layer."""

    routed: Fraction
    """Pairs of a token and an expert."""
    touched: Fraction
    """Different experts among them."""
    missed: Fraction = Fraction(0)
    """Of these, those that lie elsewhere and are in no cache (`archsim.workload.expert_cache`)."""
    kept: Fraction = Fraction(0)
    """Of the missed ones, those that a cache keeps from now on."""


class Routing(Protocol):
    """Where tokens go."""

    @property
    def name(self) -> str:
        """As it is asked for."""

    @property
    def layers(self) -> int:
        """Layers that differ; layer i of a model is number i modulo this."""

    def check(self, model: Model) -> None:
        """Raise `InputError` where the routing is of other experts than *model*'s."""

    @property
    def spare(self) -> int:
        """Slots for experts beside one for each."""

    def loads(
        self, model: Model, tokens: int, *, layer: int, ranks: int, sequences: int | None = None
    ) -> tuple[Load, ...]:
        """Return what each of *ranks* ranks gets of *tokens* of *sequences* (default: each of its own) in *layer*."""


@dataclass(frozen=True, slots=True)
class Uniform:
    """Every expert is as popular as any other."""

    name: str = "uniform"
    layers: int = 1
    spare: int = 0

    def check(self, model: Model) -> None:
        """Accept any model."""

    def loads(
        self,
        model: Model,
        tokens: int,
        *,
        layer: int,  # noqa: ARG002
        ranks: int,
        sequences: int | None = None,  # noqa: ARG002
    ) -> tuple[Load, ...]:
        """Return equal loads."""
        routed = Fraction(tokens * model.experts_per_token, ranks)
        return (Load(routed, Fraction(distinct_experts(model, tokens), _PARTS * ranks)),) * ranks


UNIFORM = Uniform()


@dataclass(frozen=True, slots=True)
class Zipf:
    """Popularity falls as a power of the expert's place among the popular."""

    exponent: float
    kept: Fraction = Fraction(0)
    """Chance that a token takes an expert of the token before it again."""
    layers: int = 1
    spare: int = 0

    @property
    def name(self) -> str:
        """As it is asked for."""
        return f"zipf:{self.exponent:g}" + (f"+keep={float(self.kept):g}" if self.kept else "")

    def check(self, model: Model) -> None:
        """Accept any model."""

    def draws(self, tokens: int, sequences: int | None) -> int:
        """Return how many tokens choose for themselves: those that take again what another one took do not."""
        if not self.kept or sequences is None:
            return tokens
        return sequences + math.ceil((tokens - sequences) * (1 - self.kept))

    def loads(
        self,
        model: Model,
        tokens: int,
        *,
        layer: int,  # noqa: ARG002
        ranks: int,
        sequences: int | None = None,
    ) -> tuple[Load, ...]:
        """Return the expected loads; a sequence's tokens count as independent in so far as they do not repeat."""
        by_expert = chances(model.experts, model.experts_per_token, self.exponent)
        draws = self.draws(tokens, sequences)
        touched = [touched_chance(chance, draws) for chance in by_expert]
        size = model.experts // ranks
        return tuple(
            Load(
                Fraction(tokens * sum(by_expert[first : first + size]), 1 << ONE_BITS),
                Fraction(sum(touched[first : first + size]), 1 << ONE_BITS),
            )
            for first in range(0, model.experts, size)
        )


@lru_cache(maxsize=64)
def chances(experts: int, per_token: int, exponent: float) -> tuple[int, ...]:
    """Return the chance that a token goes to each expert, in units of 2**-40; together they are *per_token*."""
    one = 1 << ONE_BITS
    weights = [max(1, round(one * (place + 1) ** -exponent)) for place in range(experts)]
    chances, left, sure = [0] * experts, per_token * one, 0
    # The most popular may be chosen by every token; what they leave is shared by the others.
    while sure < per_token and left * weights[sure] >= one * sum(weights[sure:]):
        chances[sure], left, sure = one, left - one, sure + 1
    total, done, given = sum(weights[sure:]), 0, 0
    for place in range(sure, experts):
        done += weights[place]
        chances[place] = left * done // total - given
        given += chances[place]
    stride = next(n for n in range(round(experts * 0.618) or 1, 2 * experts) if math.gcd(n, experts) == 1)
    numbered = [0] * experts
    for place, chance in enumerate(chances):
        numbered[place * stride % experts] = chance
    return tuple(numbered)


def touched_chance(chance: int, tokens: int) -> int:
    """Return the chance that one of *tokens* goes to an expert that each takes with *chance*, in units of 2**-40."""
    missed, factor = 1 << ONE_BITS, (1 << ONE_BITS) - chance
    while tokens:
        if tokens & 1:
            missed = missed * factor >> ONE_BITS
        factor = factor * factor >> ONE_BITS
        tokens >>= 1
    return (1 << ONE_BITS) - missed


@dataclass(frozen=True)
class Logged:
    """Routes of recorded tokens."""

    name: str
    routes: tuple[tuple[tuple[int, ...], ...], ...]
    """Layer -> token -> experts."""
    spare: int = 0

    @property
    def layers(self) -> int:
        """Layers of the log."""
        return len(self.routes)

    @cached_property
    def per_token(self) -> int:
        """Experts of a token."""
        return len(self.routes[0][0])

    @cached_property
    def highest(self) -> int:
        """The highest number of an expert that occurs."""
        return max(expert for layer in self.routes for token in layer for expert in token)

    def check(self, model: Model) -> None:
        """Raise `InputError` where tokens go to more or fewer experts, or to numbers that *model* has not."""
        if self.per_token != model.experts_per_token or self.highest >= model.experts:
            found = f"{self.per_token} experts a token, numbers up to {self.highest}"
            expected = f"{model.experts_per_token} a token of {model.experts} experts, as {model.name} has"
            raise InputError(Problem(self.name, "routes", found, expected))

    def loads(
        self,
        model: Model,
        tokens: int,
        *,
        layer: int,
        ranks: int,
        sequences: int | None = None,  # noqa: ARG002
    ) -> tuple[Load, ...]:
        """Return what *tokens* of the log, evenly spread over it, did."""
        routes = self.routes[layer % self.layers]
        # Layers start at places strewn over the first distance: else one draw of few tokens would stand for all.
        start = layer * _STREWN % _PARTS
        drawn = ((token * _PARTS + start) * len(routes) // (tokens * _PARTS) for token in range(tokens))
        counts = Counter(expert for token in drawn for expert in routes[token])
        size = model.experts // ranks
        return tuple(
            Load(
                Fraction(sum(counts[expert] for expert in range(first, first + size))),
                Fraction(sum(expert in counts for expert in range(first, first + size))),
            )
            for first in range(0, model.experts, size)
        )


def popularity(routing: Routing, model: Model, *, layer: int) -> list[Fraction]:
    """Return the tokens of a whole law or log that go to each expert of *layer*."""
    count = len(routing.routes[0]) if isinstance(routing, Logged) else _MANY_TOKENS
    return [load.routed for load in routing.loads(model, count, layer=layer, ranks=model.experts)]


def load_routing(text: str) -> Routing:
    """Return the routing written as `uniform`, `zipf:EXPONENT` or the path of a log.

    Raises `InputError` for an exponent that is not a number from 0 to 8, and with the line for a log that is no table
    of routes.
    """
    if text == UNIFORM.name:
        return UNIFORM
    law, colon, numbers = text.partition(":")
    if law == "zipf" and colon:
        exponent, _, kept = numbers.partition("+keep=")
        value, share = _number(exponent), _number(kept) if kept else 0.0
        if not (0 <= value <= _LARGEST_EXPONENT and 0 <= share < 1):
            expected = f"zipf:S with S from 0 to {_LARGEST_EXPONENT}, and +keep=P with P from 0 to below 1"
            raise InputError(Problem("", "routing", text, expected))
        return Zipf(value, Fraction(str(share)))
    path = Path(text)
    if not path.is_file():
        raise InputError(Problem("", "routing", text, "uniform, zipf:S, or the path of a log of routes"))
    return _read_log(path)


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan


def _read_log(path: Path) -> Logged:
    lines = files.open_text_lines(path)
    number, header = next(lines, (1, ""))
    names = header.split(",")
    columns = [place for place, name in enumerate(names) if name[:1] == "l" and name[1:].isdigit()]
    if not columns or len(set(names)) < len(names):
        raise InputError(Problem(str(path), f"line {number}", header, "columns seq, pos, l1, l2, ..."))
    layers: list[list[tuple[int, ...]]] = [[] for _ in columns]
    width = 0
    for number, line in lines:
        cells = line.split(",")
        routes = [_route(cells[place]) for place in columns] if len(cells) == len(names) else []
        width = width or (len(routes[0]) if routes else 0)
        if not routes or not width or any(len(route) != width for route in routes):
            expected = f"{len(names)} cells, those of layers with {width or 'some'} different experts each"
            raise InputError(Problem(str(path), f"line {number}", line, expected))
        for layer, route in zip(layers, routes, strict=True):
            layer.append(route)
        if len(layers[0]) > _MOST_TOKENS:
            raise InputError(Problem(str(path), f"line {number}", "", f"at most {_MOST_TOKENS:,} tokens"))
    if not layers[0]:
        raise InputError(Problem(str(path), "", "", "at least one token"))
    return Logged(path.name, tuple(map(tuple, layers)))


def _route(cell: str) -> tuple[int, ...]:
    """Return the experts in *cell*, or nothing where it is no list of different experts."""
    words = cell.split()
    if not all(word.isascii() and word.isdigit() and len(word) <= len(str(_MOST_EXPERTS)) for word in words):
        return ()
    experts = tuple(map(int, words))
    return experts if len(set(experts)) == len(experts) and max(experts, default=0) < _MOST_EXPERTS else ()
