"""Where a rank's tensors lie, and the transfers between its memories and engines that follow from it.

Tensors lie in the memories of the chip's placement (`tiers`), by default weights and KV in its main memory. W7: the
activations of a kernel stay in the last-level cache (the largest) up to its capacity; of what the kernel reads and
writes beyond that, an equal share of each spills to main memory. T3, T4: what engines cannot read where it lies passes
through another memory, and what has a prefetch buffer is read ahead of its kernel.

Amounts come as (bytes moved, bytes that count as useful), already cut to the rank (`rank`); how long a transfer takes
is the step floor's to say.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import partial

from archsim.hardware.level import UNPACKING
from archsim.hardware.spec import ChipSpec, PlacementSpec
from archsim.mapping.placement import Holding
from archsim.mapping.plan import Transfer
from archsim.mapping.tiers import Parts, cut, filling

__all__ = ["Amounts", "Residence"]

Amounts = tuple[int, int]
"""(bytes moved, bytes of them that count as useful)."""


@dataclass(frozen=True, slots=True)
class Residence:
    """Memories and caches of a chip by what lies in them."""

    weights: Parts
    """Memories that hold weights, in proportion."""
    kv: Parts
    """Memories that hold the blocks of this iteration, in proportion."""
    kv_read: Parts
    """The same with the context that all sequences share."""
    experts: Parts
    """Memories that routed experts lie in, in proportion, where they lie apart; `weights` then holds their cache."""
    activations: Parts
    """Caches and memories by the bytes of activations that they hold; the last one takes what is left."""
    caches: Parts
    """All caches of the chip."""
    ahead: frozenset[str]
    """Memories that are read ahead of kernels, through buffers of their own."""
    through: Mapping[str, str]
    """Memory that engines cannot read -> the one that its bytes land in."""
    packed_ratio: Fraction
    """Bytes of weights over the bytes that they are stored in; 1: stored as they are."""
    key_copies: int
    """Times that a context's keys are copied in memory before they are attended to (A39)."""

    @classmethod
    def of(cls, chip: ChipSpec, *, key_copies: int) -> Residence:
        """Return what holds on *chip* where nothing is placed."""
        main = ((chip.main_memory, 1),)
        return cls(
            weights=main,
            kv=main,
            kv_read=main,
            experts=(),
            activations=_activation_levels(chip),
            caches=tuple((name, cache.capacity_bytes) for name, cache in chip.cache.items()),
            ahead=frozenset(name for name, memory in chip.memory.items() if memory.ahead_bytes),
            through={name: memory.through for name, memory in chip.memory.items() if memory.through},
            packed_ratio=chip.decompression.ratio if chip.decompression else Fraction(1),
            key_copies=key_copies,
        )

    def placed(self, stage: Holding, placement: PlacementSpec, *, kv_tokens: int, context_tokens: int) -> Residence:
        """Return what holds on a chip of *stage* whose iteration attends to *kv_tokens* of its own sequences.

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
            weights=filled.weights,
            experts=filled.experts,
            kv=own,
            kv_read=tuple(read.items()),
            activations=tuple((name, held.get(name, 0)) for name in placement.activations),
        )

    def reads_of_weights(self, amounts: Amounts, *, row_bytes: int) -> tuple[Transfer, ...]:
        """Return the reads of weights, in one run or in rows of *row_bytes* (W8), and their unpacking."""
        handled, useful = amounts
        unpacked: tuple[Transfer, ...] = ()
        if self.packed_ratio > 1:
            unpacked = _transfers(UNPACKING, "weights", (handled, useful), write=False, run_bytes=handled)
            handled, useful, row_bytes = -(-handled // self.packed_ratio), useful // self.packed_ratio, 0
        run = row_bytes or handled
        return self._staged(_cut_transfers(self.weights, "weights", (handled, useful), run_bytes=run)) + unpacked

    def reads_of_experts(
        self, amounts: Amounts, *, missed: Amounts, kept_bytes: int, run_bytes: int
    ) -> tuple[Transfer, ...]:
        """Return the reads of experts that lie apart: hits from the cache, misses from where they lie.

        A miss is written into the cache where that keeps it, or on its way to engines that do not read where it lies.
        """
        handled, useful = amounts
        gone, needed = min(missed[0], handled), min(missed[1], useful)
        hits = (handled - gone, useful - needed)
        found = [*_cut_transfers(self.weights, "weights", hits, run_bytes=run_bytes)]
        for transfer in _cut_transfers(self.experts, "weights", (gone, needed), run_bytes=run_bytes):
            found.append(replace(transfer, late=True))
            size, upper = transfer.bytes, self.through.get(transfer.level)
            lands = size if upper else kept_bytes * size // gone
            into = partial(Transfer, upper or self.weights[0][0], "moved", run_bytes=min(run_bytes, size))
            if lands:
                found.append(into(bytes=lands, useful_bytes=lands, write=True))
            if upper:
                found.append(into(bytes=size, useful_bytes=size, write=False))
        return tuple(found)

    def landed_weights(self, size: int) -> tuple[Transfer, ...]:
        """Return the writes of *size* bytes of weights that have been gathered from other ranks."""
        whole = sum(part for _, part in self.weights)
        return tuple(
            Transfer(level, "moved", landed, landed, write=True, run_bytes=landed)
            for level, share in self.weights
            if (landed := size * share // whole)
        )

    def kv_transfers(self, tensor: str, amounts: Amounts, *, run_bytes: int) -> tuple[Transfer, ...]:
        """Return the transfers of *tensor*, `"kv_read"` or `"kv_write"`."""
        write = tensor == "kv_write"
        parts = self.kv if write else self.kv_read
        return self._staged(_cut_transfers(parts, tensor, amounts, run_bytes=run_bytes, write=write))

    def copies_of_keys(self, read: tuple[Transfer, ...]) -> Iterator[Transfer]:
        """Yield the copies of the keys of what is *read*, written to the same memory and read again."""
        for transfer in read if self.key_copies else ():
            size = self.key_copies * transfer.bytes // 2
            for write in (True, False):
                yield replace(transfer, tensor="moved", bytes=size, useful_bytes=size, write=write)

    def activation_transfers(self, read: Amounts, written: Amounts) -> tuple[Transfer, ...]:
        """Return the transfers of a kernel's activations, which fill caches and memories in order (W7)."""
        total = read[0] + written[0]
        transfers: list[Transfer] = []
        for amounts, write in ((read, False), (written, True)) if total else ():
            left, missing = amounts, total
            for level, holds in self.activations[:-1]:
                missing = max(0, missing - holds)
                spilt = (amounts[0] * missing // total, amounts[1] * missing // total)
                kept = (left[0] - spilt[0], left[1] - spilt[1])
                transfers += _transfers(level, "activations", kept, write=write, run_bytes=kept[0])
                left = spilt
            last = self.activations[-1][0]
            transfers += _transfers(last, "activations", left, write=write, run_bytes=left[0])
        return tuple(transfers)

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


def _activation_levels(chip: ChipSpec) -> Parts:
    """Return the levels of *chip* that activations fill in order where nothing is placed: the largest cache first."""
    cache = max(chip.cache, key=lambda name: chip.cache[name].capacity_bytes, default="")
    first = ((cache, chip.cache[cache].capacity_bytes),) if cache else ()
    return (*first, (chip.main_memory, 0))


def _cut_transfers(
    parts: Parts, tensor: str, amounts: Amounts, *, run_bytes: int, write: bool = False
) -> tuple[Transfer, ...]:
    """Return the transfers of *amounts* over the memories of *parts* (T1)."""
    handled, useful = amounts
    needed, beside = cut(useful, parts), cut(handled - useful, parts)
    transfers: list[Transfer] = []
    for (level, useful_bytes), (_, more) in zip(needed, beside, strict=True):
        moved = useful_bytes + more
        run = min(run_bytes, moved)
        transfers += _transfers(level, tensor, (moved, useful_bytes), write=write, run_bytes=run)
    return tuple(transfers)


def _transfers(level: str, tensor: str, amounts: Amounts, *, write: bool, run_bytes: int) -> tuple[Transfer, ...]:
    """Return the transfer of *amounts*, or none where nothing moves."""
    handled, useful = amounts
    return (Transfer(level, tensor, handled, useful, write, run_bytes),) if handled else ()
