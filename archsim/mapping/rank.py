"""One rank's kernels: an operator's amounts cut to the rank's share, and the memories they lie in.

Beyond a rank's share lie, as overfetch: KV heads (and their projections) replicated where there are more ranks than
heads, norm vectors and routers that every rank holds, vocabulary rows added so that ranks hold equally many,
projections that every context rank repeats, activations that every rank keeps a copy of, and the part of a byte left
where a share is not whole.

Where things lie: in the memories of the chip's placement (`tiers`), by default weights and KV in its main memory. W7:
the activations of a kernel stay in the last-level cache (the largest) up to its capacity; of what the kernel reads and
writes beyond that, an equal share of each spills to main memory. W8: weights are read in one run; KV comes in blocks of
the runtime's paged cache, keys and values of one layer and rank together.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import partial

from archsim.hardware.level import UNPACKING
from archsim.hardware.spec import ChipSpec, PlacementSpec, SystemSpec
from archsim.mapping.parallelism import Parallelism
from archsim.mapping.placement import Holding
from archsim.mapping.plan import Collective, Task, Transfer
from archsim.mapping.shares import Shares
from archsim.mapping.tiers import Parts, cut, filling
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
    weights_in: Parts
    """Memories that hold weights, in proportion."""
    kv_in: Parts
    """Memories that hold the blocks of this iteration, in proportion."""
    kv_read_from: Parts
    """The same with the context that all sequences share."""
    experts_in: Parts
    """Memories that routed experts lie in, in proportion, where they lie apart; `weights_in` then holds their cache."""
    activations_in: Parts
    """Caches and memories by the bytes of activations that they hold; the last one takes what is left."""
    caches: Parts
    """All caches of the chip."""
    ahead: frozenset[str]
    """Memories that are read ahead of kernels, through buffers of their own."""
    through: Mapping[str, str]
    """Memory that engines cannot read -> the one that its bytes land in."""
    packed_ratio: Fraction
    """Bytes of weights over the bytes that they are stored in; 1: stored as they are."""
    kv_dtype: str
    states: Shares | None = None
    """Of activations, where they are cut otherwise than weights are."""
    key_copies: int = 0
    """Times that a context's keys are copied in memory before they are attended to (A39)."""
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
            weights_in=((chip.main_memory, 1),),
            kv_in=((chip.main_memory, 1),),
            kv_read_from=((chip.main_memory, 1),),
            experts_in=(),
            activations_in=_activation_levels(chip),
            caches=tuple((name, cache.capacity_bytes) for name, cache in chip.cache.items()),
            ahead=frozenset(name for name, memory in chip.memory.items() if memory.ahead_bytes),
            through={name: memory.through for name, memory in chip.memory.items() if memory.through},
            packed_ratio=chip.decompression.ratio if chip.decompression else Fraction(1),
            kv_dtype=matrix_dtype((precision.activation_bits, precision.kv.bits), dtypes, what=chip.name),
            key_copies=system.runtime.key_copies,
            kv_widening=_kv_widening(model, precision, system),
        )

    def placed(self, stage: Holding, placement: PlacementSpec, *, kv_tokens: int, context_tokens: int) -> Rank:
        """Return the view of a rank of *stage* whose iteration attends to *kv_tokens* of its own sequences.

        *context_tokens* are those that it reads of the shared context, once a sequence.
        """
        filled, token_bytes = stage.filled, stage.kv_bytes_per_token
        own = filling(kv_tokens * token_bytes, filled.kv_rooms)
        shared = cut(context_tokens * token_bytes, filled.context) if context_tokens else []
        read = dict(own)
        for level, size in shared:
            read[level] = read.get(level, 0) + size
        caches = {name: size for name, size in self.caches if name in placement.activations}
        held = caches | dict(filled.activations)
        return replace(
            self,
            weights_in=filled.weights,
            experts_in=filled.experts,
            kv_in=own,
            kv_read_from=tuple(read.items()),
            activations_in=tuple((name, held.get(name, 0)) for name in placement.activations),
        )

    def tasks(self, operators: Iterable[Operator]) -> tuple[Task, ...]:
        """Return one task an operator; a single rank exchanges nothing, context ranks combine after attention."""
        tasks: list[Task] = []
        attention: list[Operator] = []
        for operator in operators:
            if attention and not operator.reads_kv and self.ways.cp > 1:
                tasks += (self.context_exchange(attention), self.context_combine(attention))
                attention = []
            if operator.reads_kv:
                attention.append(operator)
            if not operator.exchange:
                tasks.append(self.kernel(operator))
            elif self.shares.ranks > 1:
                tasks.append(self.exchange(operator))
        return tuple(tasks)

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
                *self._activations(
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
            transfers=self._activations((self._partial_bytes(attention), 0), merged),
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
        unpacked: tuple[Transfer, ...] = ()
        if self.packed_ratio > 1:
            unpacked = _transfers(UNPACKING, "weights", (handled, useful), write=False, run_bytes=handled)
            handled, useful, row = -(-handled // self.packed_ratio), useful // self.packed_ratio, 0
        if operator.expert_weights and self.experts_in:
            return self._experts(operator, shares, (handled, useful), row or handled)
        amounts = (handled, useful)
        read = _cut_transfers(self.weights_in, "weights", amounts, write=False, run_bytes=row or handled)
        return self._staged(read) + unpacked

    def _experts(
        self, operator: Operator, shares: Shares, amounts: tuple[int, int], run_bytes: int
    ) -> tuple[Transfer, ...]:
        """Return the reads of experts that lie apart: hits from the cache, misses from where they lie.

        A miss is written into the cache where that keeps it, or on its way to engines that do not read where it lies.
        """
        handled, useful = amounts
        bits = self.experts.bits
        (missed, needed), (kept, _) = (shares.total(part, bits=bits)
                                       for part in (operator.missed_weights, operator.kept_weights))  # fmt: skip
        missed, needed = min(missed, handled), min(needed, useful)
        hits = (handled - missed, useful - needed)
        found = [*_cut_transfers(self.weights_in, "weights", hits, write=False, run_bytes=run_bytes)]
        for transfer in _cut_transfers(self.experts_in, "weights", (missed, needed), write=False, run_bytes=run_bytes):
            found.append(replace(transfer, late=True))
            size, upper = transfer.bytes, self.through.get(transfer.level)
            lands = size if upper else kept * size // missed
            into = partial(Transfer, upper or self.weights_in[0][0], "moved", run_bytes=min(run_bytes, size))
            if lands:
                found.append(into(bytes=lands, useful_bytes=lands, write=True))
            if upper:
                found.append(into(bytes=size, useful_bytes=size, write=False))
        return tuple(found)

    def _staged(self, transfers: tuple[Transfer, ...]) -> tuple[Transfer, ...]:
        """Return *transfers* with what they move on the way: bytes that land in another memory and are read again."""
        found: list[Transfer] = []
        for transfer in transfers:
            early = transfer.level in self.ahead and not transfer.write
            found.append(replace(transfer, ahead=early) if early else transfer)
            upper, size, run = self.through.get(transfer.level), transfer.bytes, transfer.run_bytes
            if upper and early:
                lands = partial(Transfer, upper, "moved", size, size, run_bytes=run, staged_by=transfer.level)
                found += [lands(write=True), lands(write=False)]
            elif upper:
                # What is written passes twice: from the engines, and on to the memory behind.
                found.append(Transfer(upper, "moved", 2 * size, 2 * size, write=True, run_bytes=run))
        return tuple(found)

    def _kv(self, operator: Operator) -> tuple[Transfer, ...]:
        block, token = self.kv_block_bytes, self.kv_token_bytes
        return (
            *(read := self._kv_part("kv_read", operator.kv_read, run_bytes=block)),
            *self._copies(read if operator.reads_kv else ()),
            *self._kv_part("kv_write", operator.kv_append_decode, run_bytes=token),
            *self._kv_part("kv_write", operator.kv_append_prefill, run_bytes=block),
        )

    def _copies(self, read: tuple[Transfer, ...]) -> Iterator[Transfer]:
        """Yield the copies of the keys of what is *read*, written to the same memory and read again."""
        for transfer in read if self.key_copies else ():
            size = self.key_copies * transfer.bytes // 2
            for write in (True, False):
                yield replace(transfer, tensor="moved", bytes=size, useful_bytes=size, write=write)

    def _kv_part(self, tensor: str, elements: int, *, run_bytes: int) -> tuple[Transfer, ...]:
        amounts = self.cache_shares.of(Amount(elements, "kv_heads"), bits=self.kv_bits)
        write = tensor == "kv_write"
        parts = self.kv_in if write else self.kv_read_from
        return self._staged(_cut_transfers(parts, tensor, amounts, write=write, run_bytes=run_bytes))

    def _activations(self, read: tuple[int, int], written: tuple[int, int]) -> tuple[Transfer, ...]:
        total = read[0] + written[0]
        transfers: list[Transfer] = []
        for amounts, write in ((read, False), (written, True)) if total else ():
            left, missing = amounts, total
            for level, holds in self.activations_in[:-1]:
                missing = max(0, missing - holds)
                spilt = (amounts[0] * missing // total, amounts[1] * missing // total)
                kept = (left[0] - spilt[0], left[1] - spilt[1])
                transfers += _transfers(level, "activations", kept, write=write, run_bytes=kept[0])
                left = spilt
            last = self.activations_in[-1][0]
            transfers += _transfers(last, "activations", left, write=write, run_bytes=left[0])
        return tuple(transfers)


def _kv_widening(model: Model, precision: Precision, system: SystemSpec) -> int:
    grouped = model.heads > model.kv_heads or model.latent
    return 0 if grouped or precision.kv.bits >= _WIDE_BITS else system.runtime.kv_widening_operations


def _activation_levels(chip: ChipSpec) -> Parts:
    """Return the levels of *chip* that activations fill in order where nothing is placed: the largest cache first."""
    cache = max(chip.cache, key=lambda name: chip.cache[name].capacity_bytes, default="")
    first = ((cache, chip.cache[cache].capacity_bytes),) if cache else ()
    return (*first, (chip.main_memory, 0))


def _cut_transfers(
    parts: Parts, tensor: str, amounts: tuple[int, int], *, write: bool, run_bytes: int
) -> tuple[Transfer, ...]:
    """Return the transfers of (bytes, useful bytes) over the memories of *parts* (T1)."""
    handled, useful = amounts
    needed, beside = cut(useful, parts), cut(handled - useful, parts)
    transfers: list[Transfer] = []
    for (level, useful_bytes), (_, more) in zip(needed, beside, strict=True):
        moved = useful_bytes + more
        run = min(run_bytes, moved)
        transfers += _transfers(level, tensor, (moved, useful_bytes), write=write, run_bytes=run)
    return tuple(transfers)


def _transfers(
    level: str, tensor: str, amounts: tuple[int, int], *, write: bool, run_bytes: int
) -> tuple[Transfer, ...]:
    """Return the transfer of (bytes, useful bytes), or none where nothing moves."""
    handled, useful = amounts
    return (Transfer(level, tensor, handled, useful, write, run_bytes),) if handled else ()
