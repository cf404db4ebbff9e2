"""What lies in a chip's memories: weights, the KV cache's blocks, and room for activations.

The usable bytes of a memory (capacity less what is reserved and what the serving framework keeps) hold, on each chip
and in the memories that `tiers` says: its share of the weights of its stage, padding and replicas included; W9: the
activations of the widest kernel at the largest batch the runtime takes on; and KV blocks in what is left. Chips of
different stages hold different layers: the one with the least room for blocks decides. Attention groups each have
blocks of their own, as have the ranks that sequences are dealt out to; P5: their sequences are taken to fill them
evenly. What is said of blocks is said of one replica.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, field, replace
from fractions import Fraction
from itertools import accumulate, chain, pairwise

from archsim.errors import CapacityError, InputError, Problem
from archsim.hardware.spec import SystemSpec
from archsim.mapping.apart import Apart, check_apart
from archsim.mapping.parallelism import Parallelism, check_parallelism, divides, tensor_parallel_sizes
from archsim.mapping.shares import Shares, split_evenly
from archsim.mapping.tiers import Filled, Tiers
from archsim.workload.batch import Batch
from archsim.workload.layers import LayerKind, Reach
from archsim.workload.model import Model
from archsim.workload.operators import iteration_operators
from archsim.workload.precision import Precision
from archsim.workload.tensors import (
    Amount,
    embedding_table,
    expert_weights,
    head_weights,
    layer_weights,
    norm_weights,
    position_table,
)

__all__ = ["Demand", "Holding", "Placement", "place"]


@dataclass(frozen=True, slots=True)
class Holding:
    """What a chip of one stage holds beside KV blocks."""

    weight_bytes: int
    """With padded vocabulary rows and replicated KV projections."""
    kv_bytes_per_token: int
    """The stage's layers, keys and values, with replicated heads."""
    filled: Filled
    """Which memory holds what."""
    expert_slots: int = 0
    """Experts of each layer that a cache keeps, where experts lie apart."""
    least_cache_bytes: int = 0
    """Of a cache that keeps one of each layer."""


@dataclass(frozen=True, slots=True)
class Placement:
    """Bytes of a chip's memories by use: of the chip with the least room, where stages differ."""

    tiers: Tiers
    stages: tuple[Holding, ...]
    """By pipeline stage; all chips of a stage hold equally much."""
    activation_bytes_per_chip: int
    """Inputs and outputs of the widest kernel at the largest batch."""
    kv_block_tokens: int
    groups: int
    """Attention groups that share a replica's sequences, each with its own blocks."""
    chips: int
    """All chips of all replicas."""
    demand: Demand = field(repr=False)
    """What is placed: asked again, over more chips, when something does not fit."""

    @property
    def usable_bytes_per_chip(self) -> int:
        """Of all memories that hold something."""
        return self.tiers.usable_bytes

    @property
    def reach(self) -> Reach:
        """How far back layers attend. A block is of one part of the layers: of all where none has a window."""
        return self.demand.model.reach

    @property
    def kv_blocks(self) -> int:
        """Blocks of one replica that fit in what weights and activations leave."""
        return self.groups * min(self._blocks(holding) for holding in self.stages)

    def _blocks(self, holding: Holding) -> int:
        if holding.filled.lacking:
            return 0
        block_bytes, parts = holding.kv_bytes_per_token * self.kv_block_tokens, self.reach.parts
        return sum(room * parts // block_bytes for _, room in holding.filled.kv_rooms)

    @property
    def fullest(self) -> Holding:
        """The stage whose chips have room for the fewest blocks; of equals the one with the most weights."""
        return min(self.stages, key=lambda holding: (self._blocks(holding), -holding.weight_bytes))

    @property
    def weight_bytes_per_chip(self) -> int:
        """Weights of a chip of the fullest stage."""
        return self.fullest.weight_bytes

    @property
    def weight_bytes(self) -> int:
        """Weights of all chips of all replicas."""
        return sum(holding.weight_bytes for holding in self.stages) * (self.chips // len(self.stages))

    @property
    def kv_bytes_per_token_per_chip(self) -> int:
        """KV bytes of a token on a chip of the fullest stage."""
        return self.fullest.kv_bytes_per_token

    @property
    def kv_block_bytes_per_chip(self) -> int:
        """Bytes of one block."""
        return -(-self.kv_block_tokens * self.kv_bytes_per_token_per_chip // self.reach.parts)

    @property
    def kv_tokens(self) -> int:
        """Tokens that all blocks of one replica hold, within every window."""
        return self.kv_blocks // self.reach.parts * self.kv_block_tokens

    def missing_bytes_per_chip(self, blocks: int) -> int:
        """Return the bytes that a chip lacks to hold everything and *blocks* KV blocks; negative: has left."""
        own = -(-blocks // self.groups)
        return max(self._missing(holding, own) for holding in self.stages)

    def _missing(self, holding: Holding, blocks: int) -> int:
        lacking = sum(size for _, size in holding.filled.lacking)
        return lacking + max(0, self._kv_missing(holding, blocks)) if lacking else self._kv_missing(holding, blocks)

    def _kv_missing(self, holding: Holding, blocks: int) -> int:
        block_bytes = Fraction(holding.kv_bytes_per_token * self.kv_block_tokens, self.reach.parts)
        *before, (_, last) = holding.filled.kv_rooms
        room = sum((size // block_bytes * block_bytes for _, size in before), Fraction(last))
        return math.ceil(blocks * block_bytes - room)

    def shortfalls(self, blocks: int) -> dict[str, int]:
        """Return tensor class -> bytes of it that find no place on a chip of the stage that lacks most."""
        own = -(-blocks // self.groups)
        worst = max(self.stages, key=lambda holding: self._missing(holding, own))
        cache = {"kv": short} if (short := self._kv_missing(worst, own)) > 0 else {}
        return dict(worst.filled.lacking) | cache

    def wanted_bytes_per_chip(self, blocks: int) -> int:
        """Return the bytes of everything and *blocks* KV blocks on a chip of the stage that has most."""
        parts, context = self.reach.parts, self.tiers.context_tokens
        own = -(-blocks // self.groups) * self.kv_block_tokens + parts * context
        held = max(holding.weight_bytes + -(-own * holding.kv_bytes_per_token // parts) for holding in self.stages)
        return held + self.activation_bytes_per_chip

    def blocks_for(self, sequences: int, context: int) -> int:
        """Return the blocks that *sequences* of *context* tokens take; groups hold equally many sequences."""
        return -(-sequences // self.groups) * self.groups * self.reach.blocks(context, self.kv_block_tokens)

    def check_batch(self, sequences: int, context: int) -> None:
        """Raise `CapacityError` unless the KV blocks of *sequences* of *context* tokens fit into one replica.

        It says how many bytes are missing and the smallest number of such chips that would do.
        """
        blocks = self.blocks_for(sequences, context)
        if self.missing_bytes_per_chip(blocks) > 0:
            raise CapacityError(self.demand.problem(self, blocks))


@dataclass(frozen=True, slots=True)
class Demand:
    """A model at a precision on chips of one kind, cut in some ways and tensor-parallel over however many ranks."""

    model: Model
    precision: Precision
    system: SystemSpec
    ways: Parallelism = field(default_factory=lambda: Parallelism(1))
    spare_experts: int = 0
    """Slots of a layer for copies of experts, over all expert ranks."""

    def over(self, tp: int) -> Placement:
        """Return the placement over *tp* tensor ranks in each of the other ways, whether it fits or not."""
        ways = replace(self.ways, tp=tp)
        chip, runtime = self.system.chip, self.system.runtime
        ends = list(accumulate(split_evenly(self.model.layers, ways.pp), initial=0))
        tiers, activations = Tiers.of(chip), self._activation_bytes(self._shares(ways))
        return Placement(
            tiers=tiers,
            stages=tuple(
                self._holding(ways, range(*layers), stage=stage, tiers=tiers, activation_bytes=activations)
                for stage, layers in enumerate(pairwise(ends))
            ),
            activation_bytes_per_chip=activations,
            kv_block_tokens=runtime.kv_block_tokens,
            groups=ways.groups * ways.holders(self.model),
            chips=ways.chips,
            demand=self,
        )

    def _shares(self, ways: Parallelism) -> Shares:
        shares = Shares(ways.group_ranks, self.model.kv_heads, self.model.vocabulary)
        return replace(shares, spread=ways.tp, whole_over=ways.tp) if ways.layout == "2d" else shares

    def _holding(self, ways: Parallelism, layers: range, *, stage: int, tiers: Tiers, activation_bytes: int) -> Holding:
        shares, model = self._shares(ways), self.model
        bits = self.precision.stored_weight_bits
        kinds = Counter(model.kinds[layers.start : layers.stop])
        weights = sum(count * self._layer_bytes(ways, kind) for kind, count in kinds.items())
        apart = Apart.of(model, self.precision.experts.stored_bits, ways, kinds=kinds, tiers=tiers)
        outside = _outside(model, first=stage == 0, last=stage == ways.pp - 1)
        cache, token = replace(shares, spread=ways.cp), Amount(model.kv_layer_elements, "kv_heads")
        weights += sum(shares.of(amount, bits=bits)[0] for amount in outside)
        if (packed := self.system.chip.decompression) is not None:
            weights = int(-(-weights // packed.ratio))
        if ways.layout == "2d":
            cache = replace(shares, ranks=ways.tp // ways.holders(model), spread=1)
        token_bytes = len(layers) * cache.of(token, bits=self.precision.kv.stored_bits)[0]
        context_bytes = tiers.context_tokens * token_bytes
        filled = tiers.filled(
            activation_bytes=activation_bytes,
            context_bytes=context_bytes,
            weight_bytes=weights - apart.expert_bytes + apart.cache_bytes,
            expert_bytes=apart.expert_bytes,
        )
        return Holding(weights + apart.cache_bytes, token_bytes, filled, apart.slots, apart.least_bytes)

    def _layer_bytes(self, ways: Parallelism, kind: LayerKind) -> int:
        """Return the bytes of one layer's weights on a chip."""
        shares = self._shares(ways)
        cut = {
            "attention": replace(shares, copies=ways.cp),
            "experts": replace(shares, ranks=max(ways.ep, ways.group_ranks)),
            "other": shares,
        }
        plain, routed = self.precision.stored_weight_bits, self.precision.experts.stored_bits
        held = sum(
            cut[use].of(amount, bits=routed if use == "experts" else plain)[0]
            for amount, use in layer_weights(self.model, kind)
        )
        if kind.experts and self.spare_experts:
            copies = Amount(self.spare_experts * sum(expert_weights(self.model)), "ranks")
            held += cut["experts"].of(copies, bits=routed)[0]
        return held

    def _activation_bytes(self, shares: Shares) -> int:
        runtime, bits = self.system.runtime, Fraction(self.precision.stream_bits)
        largest = Batch.of_decode(runtime.max_batch, 1) + Batch.of_prefill(runtime.max_prefill_tokens)
        work = iteration_operators(self.model, largest)
        return max(
            shares.total((*operator.activations_in, *operator.activations_out), bits=bits)[0]
            for operator in (*work.embed, *chain(*work.layers.values()), *work.head)
        )

    def problem(self, placement: Placement, blocks: int) -> Problem:
        """Return what is wrong with *placement* when it has to hold *blocks* KV blocks."""
        chips, usable = placement.chips, placement.usable_bytes_per_chip
        missing = placement.missing_bytes_per_chip(blocks)
        enough = self._enough(placement, blocks)
        advice = (
            f"{enough} such chips are the smallest number that holds it"
            if enough
            else f"no number of such chips into which {self.model.name} divides holds it"
        )
        names = " + ".join(name for name, _ in placement.tiers.usable)
        return Problem(
            self.system.name,
            f"{names} of each of {chips} chips",
            f"{placement.wanted_bytes_per_chip(blocks):,} bytes of {self.model.name} at {self.precision}",
            f"at most {usable:,} usable bytes{_by_tier(placement, blocks)}: {missing:,} bytes are missing on each "
            f"chip, {missing * chips:,} in all; {advice}",
        )

    def _enough(self, placement: Placement, blocks: int) -> int | None:
        """Return the smallest number of chips above *placement*'s that holds it, by more tensor ranks."""
        for tp in tensor_parallel_sizes(self.model):
            more = self.over(tp)
            fits = divides(replace(self.ways, tp=tp), self.model)
            if fits and more.chips > placement.chips and more.missing_bytes_per_chip(blocks) <= 0:
                return more.chips
        return None


def _by_tier(placement: Placement, blocks: int) -> str:
    """Return what each of several tiers has and which classes lack how much, for a message."""
    tiers = placement.tiers
    if len(tiers.usable) == 1:
        return ""
    usable = ", ".join(f"{name} {size:,}" for name, size in tiers.usable)
    lists = {"weights": tiers.weights, "kv": tiers.kv, "activations": tiers.activations, "context": tiers.context,
             "experts": tiers.experts}  # fmt: skip
    lacking = ", ".join(
        f"{what} lack {size:,} in {' + '.join(lists[what]) or 'no memory'}"
        for what, size in placement.shortfalls(blocks).items()
    )
    return f" ({usable}; {lacking})"


def _outside(model: Model, *, first: bool, last: bool) -> list[Amount]:
    """Return the weights beside the layers on a stage: tables on the first, the head on the last, tied ones once."""
    norm = norm_weights(model) if model.embedding_norm else ()
    embedding = [embedding_table(model), *position_table(model), *norm] if first else []
    tied = model.tied and first
    head = [a for a in head_weights(model) if not (tied and a == embedding_table(model))] if last else []
    return embedding + head


def place(
    model: Model, precision: Precision, system: SystemSpec, parallelism: Parallelism, *, spare_experts: int = 0
) -> Placement:
    """Return what each chip of *system* holds, *spare_experts* copies of experts in each layer with them.

    Raises `InputError` where *parallelism* does not divide the model, and `CapacityError` where weights, activations
    and a single KV block do not fit: it says how many bytes are missing and the smallest number of such chips that
    would do.
    """
    check_parallelism(parallelism, model, system)
    check_apart(model, system, parallelism, spare_experts)
    placement = Demand(model, precision, system, parallelism, spare_experts).over(parallelism.tp)
    placement.check_batch(1, 1)
    least = max(stage.least_cache_bytes for stage in placement.stages)
    if 0 < placement.tiers.expert_cache_bytes < least:
        expected = f"at least {least:,} bytes on each chip: an expert of each layer"
        found = f"{placement.tiers.expert_cache_bytes:,} bytes"
        raise InputError(Problem(system.name, "placement.expert_cache", found, expected))
    return placement
