"""One rank's kernels: an operator's amounts cut to the rank's share.

Beyond a rank's share lie, as overfetch: KV heads (and their projections) replicated where there are more ranks than
heads, norm vectors and routers that every rank holds, vocabulary rows added so that ranks hold equally many,
projections that every context rank repeats, activations that every rank keeps a copy of, and the part of a byte left
where a share is not whole.

W8: weights are read in one run; KV comes in blocks of the runtime's paged cache, keys and values of one layer and rank
together. Which memories they lie in is `residence`'s.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction

from archsim.hardware.spec import SystemSpec
from archsim.mapping.parallelism import Parallelism
from archsim.mapping.plan import Collective, Task, Transfer
from archsim.mapping.residence import Residence
from archsim.mapping.shares import Shares
from archsim.workload.model import Model
from archsim.workload.operators import Operator
from archsim.workload.precision import Format, Precision, matrix_dtype
from archsim.workload.tensors import Amount

__all__ = ["Rank"]

_BY_HEADS = frozenset(
    {
        "qkv", "rope_append", "kv_append", "attention_decode", "attention_prefill",
        "latent_down", "query_up", "absorb_query", "absorb_value", "expand",
    }
)  # fmt: skip
"""Kernels cut by heads over the tensor ranks alone: every context rank has them for its tensor rank's heads."""
_WIDE_BITS = 16
"""Of a cache that is attended to as it is stored."""
_LOG_SUM_BITS = 32
"""A context rank hands on the logarithm of a softmax's sum in fp32."""


@dataclass(frozen=True, slots=True)
class Stored:
    """Weights as a chip reads and multiplies them."""

    bits: Fraction
    """Of one weight, with scales and places."""
    dtype: str
    """Number type of the product."""
    widening_operations: int
    """Vector operations for each weight of a product: weights stored in fewer bits than they are multiplied in."""
    flops_share: Fraction
    """Of the products' FLOPs those that are done (W13)."""

    @classmethod
    def of(cls, stored: Format, precision: Precision, system: SystemSpec) -> Stored:
        """Return how *stored* weights are read. Raises `InputError` where the engine lacks the number type."""
        chip, bits = system.chip, precision.activation_bits
        return cls(
            bits=stored.stored_bits,
            dtype=matrix_dtype((stored.bits, bits), chip.engine["matrix"].flop_per_s, what=chip.name),
            widening_operations=system.runtime.widening_operations if stored.widened(bits) else 0,
            flops_share=stored.flops_share,
        )


@dataclass(frozen=True, slots=True)
class Rank:
    """One rank's view: its shares, its memories, its number types."""

    ways: Parallelism
    shares: Shares
    by_heads: Shares
    """Of projections into attention."""
    cache_shares: Shares
    """Of the KV cache."""
    weights: Stored
    experts: Stored
    """Of routed experts."""
    kv_bits: Fraction
    stream_bits: Fraction
    kv_token_bytes: int
    """Keys and values of one token in one layer on this rank, were they not spread over context ranks."""
    kv_block_bytes: int
    head_dim: int
    residence: Residence
    """Memories that its tensors lie in."""
    kv_dtype: str
    states: Shares | None = None
    """Of activations, where they are cut otherwise than weights are."""
    kv_widening: int = 0
    """Vector operations for each element that attention reads of a narrow cache (A48)."""
    held: Shares | None = None
    """Of weights, where a rank reads others than those of its share of the work."""

    @classmethod
    def of(cls, model: Model, precision: Precision, ways: Parallelism, system: SystemSpec) -> Rank:
        """Return the view of any rank. Raises `InputError` where the matrix engine lacks a number type."""
        chip, tensor = system.chip, ways.tp * ways.cp
        dtypes = chip.engine["matrix"].flop_per_s
        kv_bits = precision.kv.stored_bits
        token = Amount(model.kv_layer_elements, "kv_heads")
        token_bytes, _ = Shares(ways.tp, model.kv_heads, 1).of(token, bits=kv_bits)
        return cls(
            ways=ways,
            shares=Shares(tensor, model.kv_heads, model.vocabulary),
            by_heads=Shares(tensor, model.kv_heads, model.vocabulary, copies=ways.cp),
            cache_shares=Shares(tensor, model.kv_heads, model.vocabulary, spread=ways.cp),
            weights=Stored.of(precision.weights, precision, system),
            experts=Stored.of(precision.experts, precision, system),
            kv_bits=kv_bits,
            stream_bits=Fraction(precision.stream_bits),
            kv_token_bytes=token_bytes,
            kv_block_bytes=token_bytes * system.runtime.kv_block_tokens,
            head_dim=model.head_dim,
            residence=Residence.of(chip, key_copies=system.runtime.key_copies),
            kv_dtype=matrix_dtype((precision.activation_bits, precision.kv.bits), dtypes, what=chip.name),
            kv_widening=_kv_widening(model, precision, system),
        )

    def tasks(self, operators: Sequence[Operator]) -> tuple[Task, ...]:
        """Return one task an operator; a single rank exchanges nothing, context ranks combine after attention."""
        return tuple(self.tasks_beside(operators, operators))

    def tasks_beside(self, own: Sequence[Operator] | None, lead: Sequence[Operator]) -> Iterator[Task]:
        """Yield the kernels of *own*, and the exchanges of *lead*, where the most work is, even without own work."""
        exchanges = {operator.name: operator for operator in lead if operator.exchange}
        shared = [operator for operator in lead if operator.reads_kv] if self.ways.cp > 1 else []
        attended: list[Operator] = []
        for operator in own or lead:
            if attended and not operator.reads_kv:
                yield self.context_exchange(shared)
                if own:
                    yield self.context_combine(attended)
                attended = []
            if shared and operator.reads_kv:
                attended.append(operator)
            if not operator.exchange:
                yield from (self.kernel(operator),) if own else ()
            elif self.shares.ranks > 1:
                yield self.exchange(exchanges[operator.name])

    def exchange(self, operator: Operator) -> Task:
        """Return the exchange of *operator* among the ranks that share its tensor; its buffers stay in caches (A18)."""
        handled, _ = self.shares.of(operator.exchange_elements, bits=self.stream_bits)
        parts = 1 if operator.exchange_elements.split == "whole" else self.shares.ranks
        ways = self.shares.ranks if self.ways.groups > 1 else 0
        return Task(operator.name, collective=Collective(operator.exchange, handled * parts, ways=ways))

    def kernel(self, operator: Operator) -> Task:
        """Return the work of *operator* on this rank."""
        shares = self.by_heads if operator.name in _BY_HEADS else self.shares
        of_products = self.cache_shares if operator.reads_kv else shares
        of_states = self.states or shares
        stored = self.experts if operator.expert_weights else self.weights
        flops, useful_flops = of_products.total(operator.matrix_flops)
        if not operator.reads_kv and stored.flops_share != 1:
            flops, useful_flops = (int(amount * stored.flops_share) for amount in (flops, useful_flops))
        widened = shares.total((*operator.weights, *operator.reread_weights))[0] if operator.matrix_flops else 0
        return Task(
            operator.name,
            transfers=(
                *self._weights(operator, self.held or shares, stored.bits),
                *self._kv(operator),
                *self.residence.activation_transfers(
                    of_states.total(operator.activations_in, bits=self.stream_bits),
                    of_states.total(operator.activations_out, bits=self.stream_bits),
                ),
            ),
            matrix_flops=flops,
            replica_flops=flops - useful_flops,
            vector_flops=of_products.total(operator.vector_flops)[0]
            + stored.widening_operations * widened
            + (
                self.kv_widening * self.cache_shares.of(Amount(operator.kv_read, "kv_heads"))[0]
                if operator.reads_kv
                else 0
            ),
            matrix_dtype=self.kv_dtype if operator.reads_kv else stored.dtype,
            matrix_rows=-(-operator.matrix_rows // self.ways.tp) if operator.rows_by_heads else operator.matrix_rows,
            widening_flops=stored.widening_operations * widened,
            matrix_inputs=max((of_states.of(amount)[0] for amount in operator.activations_in), default=0),
            shards=of_products.of(operator.shards)[0],
            scores=of_products.of(operator.scores)[0],
        )

    def context_exchange(self, attention: Sequence[Operator]) -> Task:
        """Return the exchange of partial attention outputs among context ranks.

        Every rank sends each other one that one's part of the heads, with the logarithm of the sum of exponentials of
        each head; the output projection is cut the same way, so nothing has to be gathered.
        """
        exchange = Collective("all_to_all", self._partial_bytes(attention), ways=self.ways.cp, stride=self.ways.tp)
        return Task("context_all_to_all", collective=exchange)

    def context_combine(self, attention: Sequence[Operator]) -> Task:
        """Return the weighted sum of what context ranks have exchanged."""
        partial = [amount for operator in attention for amount in operator.activations_out]
        merged = self.shares.total(partial, bits=self.stream_bits)
        return Task(
            "context_combine",
            transfers=self.residence.activation_transfers((self._partial_bytes(attention), 0), merged),
            vector_flops=2 * self.by_heads.total(partial)[0],
        )

    def _partial_bytes(self, attention: Sequence[Operator]) -> int:
        partial = [amount for operator in attention for amount in operator.activations_out]
        sums = [Amount(amount.value // self.head_dim, amount.split) for amount in partial]
        sent, _ = self.by_heads.total(partial, bits=self.stream_bits)
        return sent + self.by_heads.total(sums, bits=Fraction(_LOG_SUM_BITS))[0]

    def _weights(self, operator: Operator, shares: Shares, bits: Fraction) -> tuple[Transfer, ...]:
        handled, useful = shares.total(operator.weights, bits=bits)
        handled += shares.total(operator.reread_weights, bits=bits)[0]
        row = -(-operator.weight_run_elements * bits // 8)
        if not (operator.expert_weights and self.residence.experts):
            return self.residence.reads_of_weights((handled, useful), row_bytes=row)
        return self.residence.reads_of_experts(
            (handled, useful),
            missed=shares.total(operator.missed_weights, bits=bits),
            kept_bytes=shares.total(operator.kept_weights, bits=bits)[0],
            run_bytes=row or handled,
        )

    def _kv(self, operator: Operator) -> tuple[Transfer, ...]:
        block, token = self.kv_block_bytes, self.kv_token_bytes
        return (
            *(read := self._kv_part("kv_read", operator.kv_read, run_bytes=block)),
            *self.residence.copies_of_keys(read if operator.reads_kv else ()),
            *self._kv_part("kv_write", operator.kv_append_decode, run_bytes=token),
            *self._kv_part("kv_write", operator.kv_append_prefill, run_bytes=block),
        )

    def _kv_part(self, tensor: str, elements: int, *, run_bytes: int) -> tuple[Transfer, ...]:
        amounts = self.cache_shares.of(Amount(elements, "kv_heads"), bits=self.kv_bits)
        return self.residence.kv_transfers(tensor, amounts, run_bytes=run_bytes)


def _kv_widening(model: Model, precision: Precision, system: SystemSpec) -> int:
    grouped = model.heads > model.kv_heads or model.latent
    return 0 if grouped or precision.kv.bits >= _WIDE_BITS else system.runtime.kv_widening_operations
