"""Copies of hot experts: more slots than experts, so that no rank waits for the one with the popular ones.

Written behind a routing: `zipf:1+hot=32` has 32 slots beside one for each expert, and so does `routes.csv+hot=32`.
Slots are dealt out by popularity over the whole law or log, not by what a batch does: the expert with the most tokens a
copy gets the next copy, and copies go, the heaviest first, to the rank with the least that has room and not this expert
yet. A batch's tokens divide evenly over the copies of their expert. That is the balancer of DeepSeek-V3 (DeepSeek-AI
2024, arXiv 2412.19437, section 3.4) without its limit to nodes. W15: copies are placed once and do not follow the
traffic.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from fractions import Fraction

from archsim.errors import InputError, Problem
from archsim.workload.model import Model
from archsim.workload.routing import Load, Routing, load_routing, popularity

__all__ = ["Replicated", "load_experts"]

_MARK = "+hot="
_MOST_SPARE = 4096

Slots = tuple[tuple[int, ...], ...]
"""Experts of the slots of each rank."""


@dataclass(frozen=True)
class Replicated:
    """A routing over slots, some of which are copies."""

    base: Routing
    spare: int
    """Slots beside one for each expert."""
    _dealt: dict[tuple[int, int, int], tuple[Slots, Counter[int]]] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )

    @property
    def name(self) -> str:
        """As it is asked for."""
        return f"{self.base.name}{_MARK}{self.spare}"

    @property
    def layers(self) -> int:
        """Layers that differ."""
        return self.base.layers

    def check(self, model: Model) -> None:
        """Raise `InputError` where the base is of other experts."""
        self.base.check(model)

    def loads(
        self, model: Model, tokens: int, *, layer: int, ranks: int, sequences: int | None = None
    ) -> tuple[Load, ...]:
        """Return what the slots of each rank get."""
        own = self.base.loads(model, tokens, layer=layer, ranks=model.experts, sequences=sequences)
        slots, copies = self._slots(model, layer, ranks)
        return tuple(
            Load(
                sum((own[expert].routed / copies[expert] for expert in held), Fraction(0)),
                sum(
                    (min(own[expert].touched, own[expert].routed / copies[expert]) for expert in held),
                    Fraction(0),
                ),
            )
            for held in slots
        )

    def _slots(self, model: Model, layer: int, ranks: int) -> tuple[Slots, Counter[int]]:
        key = (model.experts, layer % self.layers, ranks)
        if key not in self._dealt:
            self._dealt[key] = _deal(popularity(self.base, model, layer=layer), self.spare, ranks)
        return self._dealt[key]


def _deal(tokens: list[Fraction], spare: int, ranks: int) -> tuple[Slots, Counter[int]]:
    """Return (experts of every rank's slots, copies of every expert)."""
    copies = Counter(dict.fromkeys(range(len(tokens)), 1))
    for _ in range(spare):
        open_to = [expert for expert in copies if copies[expert] < ranks]
        hottest = max(open_to, key=lambda expert: (tokens[expert] / copies[expert], -expert))
        copies[hottest] += 1
    room = (len(tokens) + spare) // ranks
    held: list[list[int]] = [[] for _ in range(ranks)]
    weight = [Fraction(0)] * ranks
    slots = sorted(copies.elements(), key=lambda expert: (-tokens[expert] / copies[expert], expert))
    for expert in slots:
        free = [rank for rank in range(ranks) if len(held[rank]) < room]
        # A copy beside its like is of no use, but a slot that is left over may have no other place.
        rank = min(free, key=lambda rank: (expert in held[rank], weight[rank], rank))
        held[rank].append(expert)
        weight[rank] += tokens[expert] / copies[expert]
    return tuple(map(tuple, held)), copies


def load_experts(text: str) -> Routing:
    """Return the routing written as for `load_routing`, with copies where `+hot=N` follows.

    Raises `InputError` as that does, and for a number of copies that is none.
    """
    plain, mark, number = text.partition(_MARK)
    if not mark:
        return load_routing(text)
    if not (number.isascii() and number.isdigit() and 1 <= int(number[:6]) <= _MOST_SPARE):
        raise InputError(Problem("", "routing", text, f"{_MARK}N with N from 1 to {_MOST_SPARE:,}"))
    return Replicated(load_routing(plain), int(number))
