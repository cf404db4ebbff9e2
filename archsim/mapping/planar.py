"""Tensor ranks that cut matrices by both dimensions: the layouts of Pope et al. 2022 (arXiv 2211.05102, section 3.2).

n ranks stand in a plane of x by y: a matrix from the hidden width E to an inner width F lies as E/x by F/y on each.
Where F alone is cut, what a rank exchanges for a token does not fall with n; here it falls as 1/sqrt(n):

  weight-stationary  hidden states are gathered over y (E/x a token), multiplied, and the partial sums scattered over x
                     (F/y a token); on the way back gathered over x, multiplied, and scattered over y. A norm adds up
                     one number a token over x.
  weight-gathered    each rank has sequences of its own and gathers the weights of an operator before it runs.

P10: both keep weights in the same places, so an iteration takes what receives fewer bytes; weights are gathered only
where there are at least as many sequences as ranks, and land in memory. x is the first axes of a torus, or any divisor
where there is none, for which a token's exchanges are smallest.

P11: the KV cache is cut by KV heads as far as there are, beyond that by sequences (section 3.3): queries, keys and
values of a layer pass in an all-to-all to the ranks that hold the sequence, and outputs back. Fewer sequences than such
ranks are cut by query heads, and every rank of a sequence reads its keys and values.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import accumulate
from operator import mul

from archsim.hardware.spec import SystemSpec
from archsim.mapping.parallelism import Parallelism
from archsim.mapping.plan import Collective, Task
from archsim.mapping.rank import Rank
from archsim.mapping.shares import Shares
from archsim.workload.batch import Batch
from archsim.workload.model import Model
from archsim.workload.operators import Operator

__all__ = ["Plane", "hidden_ways"]

_INTO, _OUT_OF = frozenset({"qkv", "up", "gate_up", "lm_head"}), frozenset({"output", "down"})
"""Products from the hidden width, and those back to it."""
_SUM_BYTES = 4
"""A norm's sum of squares, in fp32."""


def hidden_ways(model: Model, ways: Parallelism, system: SystemSpec) -> int:
    """Return the ranks over which the hidden width is cut: whole axes of a torus, the first ones."""
    n, network = ways.tp, system.network
    if ways.layout != "2d":
        return 1
    divisors = [x for x in range(1, n + 1) if n % x == 0 and model.hidden % x == 0]
    axes = set(accumulate(network.shape, mul, initial=1)) if network.topology == "torus" else set(divisors)
    return min((x for x in divisors if x in axes), key=lambda x: _exchanged_elements(model, x, n))


def _exchanged_elements(model: Model, x: int, n: int) -> Fraction:
    """Return what a rank receives for one token in one weight-stationary layer."""
    inner = 2 * (model.query_width + model.kv_width) + (3 if model.gated else 2) * model.intermediate
    over_y, over_x = Fraction(2 * model.hidden, x), Fraction(inner * x, n)
    return over_y * (1 - Fraction(x, n)) + over_x * (1 - Fraction(1, x))


@dataclass(frozen=True, slots=True)
class Plane:
    """Ranks in a plane, as they run one iteration."""

    rank: Rank
    model: Model
    x: int
    """Ranks over which the hidden width is cut, neighbours of each other; the others cut the inner widths."""
    tokens: int
    sequences: int
    gathered: bool = False
    """Weight-gathered, not weight-stationary."""

    @classmethod
    def of(cls, rank: Rank, model: Model, batch: Batch, *, x: int, layer: Iterable[Operator]) -> Plane:
        """Return the plane of *rank*'s tensor ranks for *batch*, in the way that is cheaper for the kernels *layer*."""
        plane = cls(rank, model, x, batch.tokens, batch.decode + batch.prefill_sequences)
        weights = sum(plane._weight_bytes(operator) for operator in layer if operator.name in _INTO | _OUT_OF)
        stationary = rank.stream_bits / 8 * batch.tokens * _exchanged_elements(model, x, plane.ranks)
        gathered = weights * Fraction(plane.ranks - 1, plane.ranks)
        return replace(plane, gathered=plane.sequences >= plane.ranks and gathered < stationary)

    @property
    def ranks(self) -> int:
        """All of them."""
        return self.rank.ways.tp

    @property
    def y(self) -> int:
        """Ranks over which inner widths are cut."""
        return self.ranks // self.x

    @property
    def holders(self) -> int:
        """Ranks among which the sequences of this iteration are dealt out: the busiest reads the least, then works."""
        most, kv = self.rank.ways.holders(self.model), self.model.kv_heads

        def load(ways: int) -> tuple[int, int]:
            busiest = -(-self.sequences // ways) * ways
            return busiest * max(kv, self.ranks // ways), busiest

        return min((ways for ways in range(1, most + 1) if most % ways == 0), key=load)

    def tasks(self, operators: Iterable[Operator]) -> tuple[Task, ...]:
        """Return the kernels and exchanges of *operators*, of one layer or of what stands before or behind them."""
        return tuple(task for operator in operators for task in self._tasks(operator))

    def _tasks(self, operator: Operator) -> Iterator[Task]:
        if operator.exchange == "all_gather":
            if self.ranks > 1:
                yield self.rank.exchange(operator)
        elif operator.exchange:
            yield from self._handed_on(operator)
        elif operator.name == "lm_head" or (operator.name in _INTO and not self.gathered):
            yield from self._into(operator)
        elif operator.name in _OUT_OF and not self.gathered:
            yield from self._out_of(operator)
        elif operator.name in _INTO | _OUT_OF:
            yield from self._gathering(operator)
        else:
            yield from self._elsewhere(operator)

    def _into(self, operator: Operator) -> Iterator[Task]:
        rows = operator.matrix_rows
        if operator.name == "lm_head" and self.gathered:
            yield from self._exchange("states_all_gather", "all_gather", rows * self.model.hidden)
        yield self._product(operator)
        size = rows * self._inner(operator) // self.y
        yield from self._exchange(f"{operator.name}_reduce_scatter", "reduce_scatter", size, ways=self.x)

    def _out_of(self, operator: Operator) -> Iterator[Task]:
        if operator.name == "output":
            yield from self._dealt("attention_return", operator.matrix_rows * self.model.query_width)
        size = operator.matrix_rows * self._inner(operator) // self.y
        yield from self._exchange(f"{operator.name}_all_gather", "all_gather", size, ways=self.x)
        yield self._product(operator)

    def _gathering(self, operator: Operator) -> Iterator[Task]:
        """Yield the gathering of weights, which land in memory, and the product over a rank's own sequences."""
        own = replace(self._even(), padding=self._padding(self.ranks))
        gathered = self._weight_bytes(operator)
        yield from self._collective(f"{operator.name}_weights", "all_gather", gathered)
        held = replace(self._even(), copies=self.ranks, whole_over=1)
        task = replace(self.rank, shares=own, by_heads=own, held=held).kernel(operator)
        landed = self.rank.residence.landed_weights(gathered)
        yield replace(task, transfers=(*task.transfers, *landed), matrix_rows=-(-operator.matrix_rows // self.ranks))

    def _elsewhere(self, operator: Operator) -> Iterator[Task]:
        """Yield attention and what belongs to it, on the ranks that hold the sequences, or any other kernel."""
        appends = operator.kv_append_decode or operator.kv_append_prefill
        if not (appends or operator.reads_kv):
            yield self.rank.kernel(operator)
            return
        if appends and not self.gathered:
            width = self.model.query_width + 2 * self.model.kv_width
            yield from self._dealt("attention_dealt", self.tokens * width)
        holders = self.ranks if self.gathered else self.holders
        even = replace(self._even(), padding=self._padding(holders))
        cache = replace(even, spread=holders)
        heads = max(1, self.ranks // (holders * self.model.kv_heads))
        task = replace(self.rank, shares=even, by_heads=even, cache_shares=cache).kernel(operator)
        yield replace(task, matrix_rows=-(-operator.matrix_rows // heads))

    def _handed_on(self, operator: Operator) -> Iterator[Task]:
        """Yield what stands for an all-reduce of hidden states."""
        elements = operator.exchange_elements.value
        if self.gathered:
            if operator.name.startswith("embed"):
                yield from self._exchange("embed_all_to_all", "all_to_all", elements // self.ranks)
            return
        part, name = elements // self.x, operator.name.removesuffix("_all_reduce")
        yield from self._exchange(f"{name}_reduce_scatter", "reduce_scatter", part, ways=self.y, stride=self.x)
        yield from self._exchange(f"{name}_all_gather", "all_gather", part, ways=self.y, stride=self.x)
        sums = elements // self.model.hidden * _SUM_BYTES
        yield from self._collective(f"{name}_norm", "all_reduce", sums, ways=self.x)

    def _dealt(self, name: str, elements: int) -> Iterator[Task]:
        """Yield the exchange between ranks that hold heads of all sequences and those that hold sequences."""
        yield from self._exchange(name, "all_to_all", elements // self.ranks, ways=self.holders)
        if name == "attention_dealt" and self.holders * self.model.kv_heads < self.ranks:
            keys = 2 * self.tokens * self.model.kv_width // self.holders
            yield from self._exchange("keys_all_gather", "all_gather", keys, ways=self.ranks // self.holders)

    def _product(self, operator: Operator) -> Task:
        """Return a product of a slice of both dimensions: it takes and makes what its row or column of ranks shares."""
        states = replace(self.rank.shares, copies=self.x, spread=self.y, whole_over=self.x)
        weights = replace(self.rank.shares, spread=self.ranks, whole_over=self.x)
        return replace(self.rank, shares=weights, by_heads=weights, states=states).kernel(operator)

    def _inner(self, operator: Operator) -> int:
        """Return the inner width of the product *operator*, of all its matrices together."""
        return sum(amount.value for amount in operator.matrix_flops) // (2 * operator.matrix_rows * self.model.hidden)

    def _weight_bytes(self, operator: Operator) -> int:
        held = replace(self._even(), copies=self.ranks, whole_over=1)
        return held.total((*operator.weights, *operator.reread_weights), bits=self.rank.weights.bits)[0]

    def _even(self) -> Shares:
        return replace(self.rank.shares, spread=self.ranks, whole_over=self.ranks)

    def _padding(self, ways: int) -> Fraction:
        return Fraction(-(-self.sequences // ways) * ways, self.sequences)

    def _exchange(self, name: str, kind: str, elements: int, *, ways: int = 0, stride: int = 1) -> Iterator[Task]:
        size = math.ceil(elements * self.rank.stream_bits / 8)
        yield from self._collective(name, kind, size, ways=ways, stride=stride)

    def _collective(self, name: str, kind: str, size: int, *, ways: int = 0, stride: int = 1) -> Iterator[Task]:
        """Yield the exchange of *size* bytes within groups of *ways* ranks, by default all, where there are several."""
        if (ways or self.ranks) > 1 and size:
            yield Task(name, collective=Collective(kind, size, ways=ways % self.ranks, stride=stride))
