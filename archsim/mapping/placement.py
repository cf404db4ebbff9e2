"""What lies in a chip's main memory: weights, the KV cache's blocks, and room for activations.

The usable bytes of the memory (capacity less what is reserved and what the serving framework keeps) hold, on each
chip: its share of the weights, padding and replicas included; W9: the activations of the widest kernel at the largest
batch the runtime takes on; and KV blocks in what is left.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction

from archsim.errors import CapacityError, Problem
from archsim.hardware.spec import SystemSpec
from archsim.mapping.parallelism import Parallelism, check_parallelism, tensor_parallel_sizes
from archsim.mapping.sharding import Shares
from archsim.workload.batch import Batch
from archsim.workload.model import Model
from archsim.workload.operators import iteration_operators
from archsim.workload.precision import Precision
from archsim.workload.tensors import Amount, stored_weights

__all__ = ["Demand", "Placement", "place"]


@dataclass(frozen=True, slots=True)
class Placement:
    """Bytes of one chip's main memory by use; all chips of a tensor-parallel system hold equally much."""

    usable_bytes_per_chip: int
    weight_bytes_per_chip: int
    """With padded vocabulary rows and replicated KV projections."""
    activation_bytes_per_chip: int
    """Inputs and outputs of the widest kernel at the largest batch."""
    kv_bytes_per_token_per_chip: int
    """All layers, keys and values, with replicated heads."""
    kv_block_tokens: int
    kv_blocks: int
    """Blocks that fit in what weights and activations leave."""
    chips: int
    demand: Demand = field(repr=False)
    """What is placed: asked again, over more chips, when something does not fit."""

    @property
    def kv_block_bytes_per_chip(self) -> int:
        """Bytes of one block."""
        return self.kv_block_tokens * self.kv_bytes_per_token_per_chip

    @property
    def kv_tokens(self) -> int:
        """Tokens that all blocks hold."""
        return self.kv_blocks * self.kv_block_tokens

    def missing_bytes_per_chip(self, blocks: int) -> int:
        """Return the bytes that a chip lacks to hold everything and *blocks* KV blocks; negative: has left."""
        held = self.weight_bytes_per_chip + self.activation_bytes_per_chip + blocks * self.kv_block_bytes_per_chip
        return held - self.usable_bytes_per_chip

    def check_batch(self, sequences: int, context: int) -> None:
        """Raise `CapacityError` unless the KV blocks of *sequences* of *context* tokens fit.

        It says how many bytes are missing and the smallest number of such chips that would do.
        """
        blocks = sequences * -(-context // self.kv_block_tokens)
        if self.missing_bytes_per_chip(blocks) > 0:
            raise CapacityError(self.demand.problem(self, blocks))


@dataclass(frozen=True, slots=True)
class Demand:
    """A model at a precision on chips of one kind, on however many of them."""

    model: Model
    precision: Precision
    system: SystemSpec

    def over(self, chips: int) -> Placement:
        """Return the placement over *chips* chips, whether it fits or not."""
        model, chip, runtime = self.model, self.system.chip, self.system.runtime
        shares = Shares(chips, model.kv_heads, model.vocabulary)
        bits, kv_bits = self.precision.stored_weight_bits, Fraction(self.precision.kv_bits)
        weights = sum(shares.of(amount, bits=bits)[0] * times for amount, times in stored_weights(model))
        token_bytes = model.layers * shares.of(Amount(2 * model.kv_width, "kv_heads"), bits=kv_bits)[0]
        activations = self._activation_bytes(shares)
        usable = chip.memory[chip.main_memory].usable_bytes
        left = usable - weights - activations
        return Placement(
            usable_bytes_per_chip=usable,
            weight_bytes_per_chip=weights,
            activation_bytes_per_chip=activations,
            kv_bytes_per_token_per_chip=token_bytes,
            kv_block_tokens=runtime.kv_block_tokens,
            kv_blocks=max(0, left // (token_bytes * runtime.kv_block_tokens)),
            chips=chips,
            demand=self,
        )

    def _activation_bytes(self, shares: Shares) -> int:
        runtime, bits = self.system.runtime, Fraction(self.precision.stream_bits)
        largest = Batch.of_decode(runtime.max_batch, 1) + Batch.of_prefill(runtime.max_prefill_tokens)
        work = iteration_operators(self.model, largest)
        return max(
            shares.total((*operator.activations_in, *operator.activations_out), bits=bits)[0]
            for operator in (*work.embed, *work.layer, *work.head)
        )

    def problem(self, placement: Placement, blocks: int) -> Problem:
        """Return what is wrong with *placement* when it has to hold *blocks* KV blocks."""
        chips, usable = placement.chips, placement.usable_bytes_per_chip
        missing = placement.missing_bytes_per_chip(blocks)
        more = (size for size in tensor_parallel_sizes(self.model) if size > chips)
        enough = next((size for size in more if self.over(size).missing_bytes_per_chip(blocks) <= 0), None)
        advice = (
            f"{enough} such chips are the smallest number that holds it"
            if enough
            else f"no number of such chips into which {self.model.name} divides holds it"
        )
        return Problem(
            self.system.name,
            f"{self.system.chip.main_memory} of each of {chips} chips",
            f"{usable + missing:,} bytes of {self.model.name} at {self.precision}",
            f"at most {usable:,} usable bytes: {missing:,} bytes are missing on each chip, {missing * chips:,} in all; "
            f"{advice}",
        )


def place(model: Model, precision: Precision, system: SystemSpec, parallelism: Parallelism) -> Placement:
    """Return what each chip of *system* holds.

    Raises `InputError` where *parallelism* does not divide the model, and `CapacityError` where weights, activations
    and a single KV block do not fit: it says how many bytes are missing and the smallest number of such chips that
    would do.
    """
    check_parallelism(parallelism, model, system)
    placement = Demand(model, precision, system).over(parallelism.tp)
    placement.check_batch(1, 1)
    return placement
