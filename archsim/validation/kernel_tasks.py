"""Tasks of single operations as a microbenchmark times them, and the step floor's time for them on one chip.

An operation is one main kernel and the small kernels that its library runs with it (an 8-bit product quantises its
input first; split attention adds up its parts): each costs the runtime's gap and ramp. Weights and KV lie in main
memory, activations in the last-level cache. No host step: a microbenchmark has none.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction
from functools import cache
from typing import NamedTuple

from archsim.hardware.library import load_system
from archsim.hardware.system import System
from archsim.mapping.plan import Plan, Segment, Task, Transfer
from archsim.step.record import StepRecord
from archsim.step.simulate import simulate_step
from archsim.units import PS_PER_S
from archsim.workload.latent import Latent
from archsim.workload.precision import matrix_dtype

__all__ = [
    "PROCESSORS",
    "Bench",
    "Heads",
    "Mixture",
    "Watched",
    "attention",
    "bench",
    "elementwise",
    "experts",
    "latent_attention",
    "matmul",
    "trtllm_cut",
]

PROCESSORS = 132
"""Streaming multiprocessors of an H100."""
_WIDE_BITS = 16
"""Of a cache that is attended to as it is stored."""
_SPLIT_FROM = 512
_SOFTMAX = 5
"""Vector operations a query-key pair: scale, maximum, exponential, sum, divide."""


@dataclass(frozen=True)
class Bench:
    """One chip of a system under a microbenchmark."""

    system: System

    @property
    def memory(self) -> str:
        """Main memory."""
        return self.system.spec.chip.main_memory

    @property
    def cache(self) -> str:
        """Largest cache; the main memory where there is none."""
        caches = self.system.spec.chip.cache
        return max(caches, key=lambda name: caches[name].capacity_bytes, default=self.memory)

    @property
    def cache_bytes(self) -> int:
        """Capacity of the largest cache."""
        return max((cache.capacity_bytes for cache in self.system.spec.chip.cache.values()), default=0)

    @property
    def peak_bytes_per_s(self) -> int:
        """Datasheet rate of the main memory."""
        return self.system.spec.chip.memory[self.memory].peak_bytes_per_s

    @property
    def first_access_s(self) -> float:
        """Time from asking the main memory to its answer."""
        memory = self.system.spec.chip.memory[self.memory]
        return (memory.device.access_latency_ps + memory.round_trip_ps) / PS_PER_S

    def dtype(self, *operand_bits: int) -> str:
        """Return the number type in which the matrix engine multiplies operands of these bits."""
        rates = self.system.spec.chip.engine["matrix"].flop_per_s
        return matrix_dtype((min(operand_bits), max(operand_bits)), rates, what=self.system.spec.chip.name)

    def time_s(self, tasks: tuple[Task, ...]) -> float:
        """Return the time of *tasks*, one after the other, without a host's step."""
        return self.record(tasks).time_ps / PS_PER_S

    def record(self, tasks: tuple[Task, ...]) -> StepRecord:
        """Return what the step floor says of *tasks*."""
        return simulate_step(Plan("decode", (Segment("kernel", tasks),), ranks=1), self.system)

    def read(self, tensor: str, size: int, *, run: int = 0) -> Transfer:
        """Return the read of *size* bytes from main memory, in runs of *run* bytes where it is not one."""
        return Transfer(self.memory, tensor, size, size, write=False, run_bytes=run or size)

    def activations(self, size: int, *, write: bool) -> tuple[Transfer, ...]:
        """Return the transfer of activations: in the cache up to half of it, the rest in main memory."""
        kept = min(size, self.cache_bytes // 2)
        parts = ((self.cache, kept), (self.memory, size - kept))
        return tuple(Transfer(level, "activations", part, part, write, part) for level, part in parts if part)

    def small(self, count: int, size: int) -> tuple[Task, ...]:
        """Return *count* small kernels that each read and write *size* bytes of activations."""
        moved = (*self.activations(size, write=False), *self.activations(size, write=True))
        return (Task("small", moved, vector_flops=size),) * count


@dataclass(frozen=True)
class Watched(Bench):
    """A bench that keeps what it simulated."""

    kept: list[StepRecord] = field(default_factory=list, compare=False)

    def record(self, tasks: tuple[Task, ...]) -> StepRecord:
        """Return what the step floor says of *tasks*, and keep it."""
        self.kept.append(super().record(tasks))
        return self.kept[-1]


@cache
def bench(system: str, runtime: str, settings: tuple[str, ...] = ()) -> Bench:
    """Return one chip of the bundled *system* under *runtime*, with *settings*; its name resolves by aliases."""
    spec = load_system(system, [f"runtime={runtime}", *settings])
    bare = spec.runtime.model_copy(update={"host_step_ps": 0, "host_sequence_ps": 0})
    return Bench(System(spec.model_copy(update={"runtime": bare})))


def matmul(made: Bench, shape: tuple[int, int, int], *, weight_bits: Fraction, bits: int, extra: int = 0) -> float:
    """Return the time of a product of shape (M, N, K) with stored weights; *bits* of the multiplied type."""
    rows, columns, inner = shape
    inputs, outputs = max(rows * inner * bits // 8, 1), rows * columns * 2
    task = Task(
        "matmul",
        (made.read("weights", int(columns * inner * weight_bits / 8)), *made.activations(inputs, write=False),
         *made.activations(outputs, write=True)),
        matrix_flops=2 * rows * columns * inner,
        matrix_dtype=made.dtype(bits),
        matrix_rows=rows,
    )  # fmt: skip
    return made.time_s((*made.small(extra, inputs), task))


@dataclass(frozen=True, slots=True)
class Heads:
    """Shape of decode attention."""

    batch: int
    query: int
    kv: int
    width: int
    context: int


def attention(made: Bench, heads: Heads, *, kv_bits: int, extra: int, waves: int = 1) -> float:
    """Return the time of one layer's decode attention over a paged cache, in *waves* of its pieces."""
    token = 2 * heads.kv * heads.width * kv_bits // 8
    pairs = heads.batch * heads.context * heads.query
    row = heads.batch * heads.query * heads.width * 2
    block = token * made.system.runtime.kv_block_tokens
    size = heads.batch * heads.context * token
    task = Task(
        "attention",
        (made.read("kv_read", size, run=min(block, size)), *made.activations(row, write=False),
         *made.activations(row, write=True)),
        matrix_flops=4 * pairs * heads.width,
        vector_flops=_SOFTMAX * pairs + _widening(made, heads, kv_bits),
        matrix_dtype=made.dtype(16),
        matrix_rows=max(heads.query // heads.kv, 1),
    )  # fmt: skip
    return made.time_s((*made.small(extra, row), task)) + (waves - 1) * made.first_access_s


def _widening(made: Bench, heads: Heads, kv_bits: int) -> int:
    """Return the vector operations that widen the cache: groups of heads are multiplied by the matrix engine."""
    if kv_bits >= _WIDE_BITS or heads.query > heads.kv:
        return 0
    elements = 2 * heads.batch * heads.context * heads.kv * heads.width
    return made.system.runtime.kv_widening_operations * elements


class Cut(NamedTuple):
    """How a library cuts attention over the processors of a chip."""

    merges: bool
    """The parts of sequences are added up in a pass of its own."""
    waves: int
    """Turns in which processors take parts; each begins with an access to memory that nothing hides."""


def trtllm_cut(heads: Heads, kv_bits: int = 16) -> Cut:
    """Return how TensorRT-LLM cuts *heads* on an H100, by the constants of its decoderXQAConstants.h.

    Its kernel for groups of heads merges within. It is taken for caches of 8 bits, and where pieces of 128 tokens,
    times 4, fill the processors
    (`kMinHistoryTokensPerBlock`, `kEnableMinBlockFactor`), and cuts sequences until its pieces fill them 8 times
    (`kTargetWaveFactor`). The other kernel splits sequences from 512 tokens on where sequences and heads alone do not
    fill the processors.
    """
    whole = heads.batch * heads.kv
    pieces = whole * max(heads.context // 128, 1)
    if heads.query > heads.kv and (pieces * 4 >= PROCESSORS or kv_bits < _WIDE_BITS):
        most = max(8, -(-whole // PROCESSORS))
        return Cut(merges=False, waves=min(-(-pieces // PROCESSORS), most))
    return Cut(merges=heads.context >= _SPLIT_FROM and whole < PROCESSORS, waves=1)


def latent_attention(made: Bench, heads: Heads, latent: Latent, *, kv_bits: int, extra: int) -> float:
    """Return the time of one layer's decode attention over a paged cache of latents, with absorbed matrices.

    All query heads are rows of one product with each token's latent.
    """
    token = latent.cached * kv_bits // 8
    pairs = heads.batch * heads.context * heads.query
    queries, outputs = (heads.batch * heads.query * width * 2 for width in (latent.cached, latent.kv_rank))
    size = heads.batch * heads.context * token
    task = Task(
        "attention",
        (made.read("kv_read", size, run=min(token * made.system.runtime.kv_block_tokens, size)),
         *made.activations(queries, write=False), *made.activations(outputs, write=True)),
        matrix_flops=2 * pairs * (latent.cached + latent.kv_rank),
        vector_flops=_SOFTMAX * pairs,
        matrix_dtype=made.dtype(16),
        matrix_rows=heads.query,
    )  # fmt: skip
    return made.time_s((*made.small(extra, queries), task))


@dataclass(frozen=True, slots=True)
class Mixture:
    """Shape of a layer of experts on one chip."""

    tokens: int
    routed: int
    """Rows that this chip's experts handle."""
    distinct: float
    """Experts of this chip that have a row."""
    hidden: int
    width: int


def experts(made: Bench, layer: Mixture, *, weight_bits: Fraction, bits: int, extra: int) -> float:
    """Return the time of a gated layer of experts: grouped gate and up, grouped down, and its small kernels."""
    rows = max(round(layer.routed / layer.distinct), 1)
    tasks = []
    for inputs, outputs in ((layer.hidden, 2 * layer.width), (layer.width, layer.hidden)):
        size = int(layer.distinct * inputs * outputs * weight_bits / 8)
        moved = (layer.routed * inputs * bits // 8, layer.routed * outputs * 2)
        task = Task(
            "experts",
            (made.read("weights", max(size, 1)), *made.activations(max(moved[0], 1), write=False),
             *made.activations(moved[1], write=True)),
            matrix_flops=2 * layer.routed * inputs * outputs,
            matrix_dtype=made.dtype(bits),
            matrix_rows=rows,
        )  # fmt: skip
        tasks.append(task)
    return made.time_s((*made.small(extra, layer.tokens * layer.hidden * 2), *tasks))


def elementwise(made: Bench, elements: int, *, operations: int, bits: int) -> float:
    """Return the time of a kernel that reads and writes *elements* once."""
    size = elements * bits // 8
    moved = (*made.activations(size, write=False), *made.activations(size, write=True))
    return made.time_s((Task("elementwise", moved, vector_flops=operations * elements),))
