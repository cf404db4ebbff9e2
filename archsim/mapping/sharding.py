"""One iteration's operators, cut over ranks: the plan that the step floor simulates.

All integers, all exact. Useful bytes of a tensor, summed over ranks, are the model's own bytes: what a rank moves
beyond its share is overfetch by definition. That is: KV heads (and their projections) replicated where there are more
ranks than heads, norm vectors and routers that every rank holds, vocabulary rows added so that ranks hold equally many,
activations that every rank keeps a copy of, and the part of a byte left where a share is not whole.

Where things lie: weights and KV in the chip's main memory. W7: the activations of a kernel stay in the last-level cache
(the largest) up to its capacity; of what the kernel reads and writes beyond that, an equal share of each spills to main
memory. W8: weights are read in one run; KV comes in blocks of the runtime's paged cache, keys and values of one layer
and rank together.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction

from archsim.hardware.spec import SystemSpec
from archsim.mapping.parallelism import Parallelism, check_parallelism
from archsim.mapping.plan import Collective, Plan, Segment, Task, Transfer
from archsim.workload.batch import Batch
from archsim.workload.model import Model
from archsim.workload.operators import Operator, iteration_operators
from archsim.workload.precision import Precision, matrix_dtype
from archsim.workload.tensors import Amount, Split

__all__ = ["Shares", "plan_iteration"]

_BYTE = Fraction(8)


def plan_iteration(
    model: Model, precision: Precision, parallelism: Parallelism, system: SystemSpec, batch: Batch
) -> Plan:
    """Return what every chip of *system* does to run *batch* once through *model*.

    Raises `InputError` where *parallelism* does not divide the model or fill the system, or where the chip's matrix
    engine lacks the number type that *precision* asks for.
    """
    check_parallelism(parallelism, model, system)
    rank = _Rank.of(model, precision, parallelism, system)
    work = iteration_operators(model, batch)
    segments = (
        Segment("embed", rank.tasks(work.embed)),
        Segment("layer", rank.tasks(work.layer), repeats=model.layers),
        Segment("head", rank.tasks(work.head)),
    )
    return Plan(phase=batch.phase, segments=segments, ranks=parallelism.tp)


@dataclass(frozen=True, slots=True)
class Shares:
    """How amounts of one model fall on each of *ranks* equal ranks."""

    ranks: int
    kv_heads: int
    vocabulary: int

    def of(self, amount: Amount, *, bits: Fraction = _BYTE) -> tuple[int, int]:
        """Return (whole bytes that a rank handles, bytes of them that count once in the system).

        *amount* is in elements of *bits*; the default counts the elements themselves.
        """
        held, needed = self._factor(amount.split)
        total, share = amount.value * bits.numerator, 8 * bits.denominator * self.ranks
        return -(-total * held // (needed * share)), total // share

    def total(self, amounts: Iterable[Amount], *, bits: Fraction = _BYTE) -> tuple[int, int]:
        """Return the sums of `of` over *amounts*."""
        handled = useful = 0
        for amount in amounts:
            more, more_useful = self.of(amount, bits=bits)
            handled += more
            useful += more_useful
        return handled, useful

    def _factor(self, split: Split) -> tuple[int, int]:
        """Return what all ranks hold together over what the model has, as a fraction."""
        if split == "whole":
            return self.ranks, 1
        if split == "kv_heads":
            return max(self.kv_heads, self.ranks), self.kv_heads
        if split == "vocabulary":
            return -(-self.vocabulary // self.ranks) * self.ranks, self.vocabulary
        return 1, 1


@dataclass(frozen=True, slots=True)
class _Rank:
    """One rank's view: its shares, its memories, its number types."""

    shares: Shares
    weight_bits: Fraction
    kv_bits: Fraction
    stream_bits: Fraction
    kv_token_bytes: int
    """Keys and values of one token in one layer on this rank."""
    kv_block_bytes: int
    memory: str
    cache: str
    cache_bytes: int
    weight_dtype: str
    kv_dtype: str

    @classmethod
    def of(cls, model: Model, precision: Precision, parallelism: Parallelism, system: SystemSpec) -> _Rank:
        chip, shares = system.chip, Shares(parallelism.tp, model.kv_heads, model.vocabulary)
        cache = max(chip.cache, key=lambda name: chip.cache[name].capacity_bytes, default="")
        dtypes = chip.engine["matrix"].flop_per_s
        kv_bits = Fraction(precision.kv_bits)
        token_bytes, _ = shares.of(Amount(2 * model.kv_width, "kv_heads"), bits=kv_bits)
        return cls(
            shares=shares,
            weight_bits=precision.stored_weight_bits,
            kv_bits=kv_bits,
            stream_bits=Fraction(precision.stream_bits),
            kv_token_bytes=token_bytes,
            kv_block_bytes=token_bytes * system.runtime.kv_block_tokens,
            memory=chip.main_memory,
            cache=cache,
            cache_bytes=chip.cache[cache].capacity_bytes if cache else 0,
            weight_dtype=matrix_dtype((precision.weight_bits, precision.activation_bits), dtypes, what=chip.name),
            kv_dtype=matrix_dtype((precision.activation_bits, precision.kv_bits), dtypes, what=chip.name),
        )

    def tasks(self, operators: Iterable[Operator]) -> tuple[Task, ...]:
        """Return one task an operator; a single rank exchanges nothing."""
        return tuple(
            self._exchange(operator) if operator.exchange else self._kernel(operator)
            for operator in operators
            if self.shares.ranks > 1 or not operator.exchange
        )

    def _exchange(self, operator: Operator) -> Task:
        handled, _ = self.shares.of(operator.exchange_elements, bits=self.stream_bits)
        parts = 1 if operator.exchange_elements.split == "whole" else self.shares.ranks
        return Task(operator.name, collective=Collective(operator.exchange, handled * parts))

    def _kernel(self, operator: Operator) -> Task:
        flops, useful_flops = self.shares.total(operator.matrix_flops)
        return Task(
            operator.name,
            transfers=(*self._weights(operator), *self._kv(operator), *self._activations(operator)),
            matrix_flops=flops,
            replica_flops=flops - useful_flops,
            vector_flops=self.shares.total(operator.vector_flops)[0],
            matrix_dtype=self.kv_dtype if operator.reads_kv else self.weight_dtype,
            matrix_rows=operator.matrix_rows,
        )

    def _weights(self, operator: Operator) -> tuple[Transfer, ...]:
        handled, useful = self.shares.total(operator.weights, bits=self.weight_bits)
        row = -(-operator.weight_run_elements * self.weight_bits // 8)
        run = min(row, handled) if row else handled
        return _transfers(self.memory, "weights", (handled, useful), write=False, run_bytes=run)

    def _kv(self, operator: Operator) -> tuple[Transfer, ...]:
        block, token = self.kv_block_bytes, self.kv_token_bytes
        return (
            *self._kv_part("kv_read", operator.kv_read, run_bytes=block),
            *self._kv_part("kv_write", operator.kv_append_decode, run_bytes=token),
            *self._kv_part("kv_write", operator.kv_append_prefill, run_bytes=block),
        )

    def _kv_part(self, tensor: str, elements: int, *, run_bytes: int) -> tuple[Transfer, ...]:
        amounts = self.shares.of(Amount(elements, "kv_heads"), bits=self.kv_bits)
        return _transfers(
            self.memory, tensor, amounts, write=tensor == "kv_write", run_bytes=min(run_bytes, amounts[0])
        )

    def _activations(self, operator: Operator) -> tuple[Transfer, ...]:
        read = self.shares.total(operator.activations_in, bits=self.stream_bits)
        written = self.shares.total(operator.activations_out, bits=self.stream_bits)
        total = read[0] + written[0]
        missing = max(0, total - self.cache_bytes)
        transfers: list[Transfer] = []
        for amounts, write in ((read, False), (written, True)):
            spilt = (amounts[0] * missing // total, amounts[1] * missing // total) if total else (0, 0)
            kept = (amounts[0] - spilt[0], amounts[1] - spilt[1])
            transfers += _transfers(self.cache, "activations", kept, write=write, run_bytes=kept[0])
            transfers += _transfers(self.memory, "activations", spilt, write=write, run_bytes=spilt[0])
        return tuple(transfers)


def _transfers(
    level: str, tensor: str, amounts: tuple[int, int], *, write: bool, run_bytes: int
) -> tuple[Transfer, ...]:
    """Return the transfer of (bytes, useful bytes), or none where nothing moves."""
    handled, useful = amounts
    return (Transfer(level, tensor, handled, useful, write, run_bytes),) if handled else ()
