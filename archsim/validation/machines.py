"""A machine that a reference row speaks of: a model placed on a system, asked for the time of steps and of batches.

The chain is that of every run: plan, step floor, memoised step costs, replay. Names of chips, models, precisions and
engines resolve by aliases of the bundled files and by the tables below; nothing here changes a rate or a time.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cache

from archsim.errors import InputError, Problem
from archsim.hardware.library import load_system
from archsim.hardware.spec import SystemSpec
from archsim.hardware.system import System
from archsim.mapping.parallelism import Parallelism
from archsim.mapping.placement import Placement, place
from archsim.mapping.sharding import Cut
from archsim.serving.costs import decode_alike_fine
from archsim.serving.record import Record
from archsim.serving.replay import replay
from archsim.serving.requests import Arrival, Limits
from archsim.step.costs import FINE_BITS, StepCosts
from archsim.step.pipeline import simulate_pipeline
from archsim.step.record import StepRecord
from archsim.step.simulate import simulate_step
from archsim.units import PS_PER_S
from archsim.validation.names import model_named
from archsim.workload.batch import Batch
from archsim.workload.model import Model
from archsim.workload.precision import Precision

__all__ = ["Machine", "Request", "machine", "precision_of"]

_PRECISIONS = {
    "bf16": "w16a16kv16",
    "fp16": "w16a16kv16",
    "f16": "w16a16kv16",
    "fp16/bf16": "w16a16kv16",
    "bfloat16": "w16a16kv16",
    "weights bf16, compute bf16": "w16a16kv16",
    "int8": "w8a16kv16",
    "int8-weight": "w8a16kv16",
    "int8 weights": "w8a16kv16",
    "weights int8, compute bf16": "w8a16kv16",
    "int4-weight-g32": "w4g32s32a16kv16",
    "q8_0": "w8g32s16a16kv16",
    "q4_0": "w4g32s16a16kv16",
    "q4_k_m": "w4g19s16a16kv16",
    "fp8": "w8a8kv8",
    "w8a8": "w8a8kv16",
    "w8a16": "w8a16kv16",
    "int4": "w4g128a16kv16",
    "w4a16": "w4g128a16kv16",
    "awq": "w4g128a16kv16",
    "gptq": "w4g128a16kv16",
    "fp4": "wnvfp4a4kv8",
    "nvfp4": "wnvfp4a4kv8",
    "mxfp4": "wmxfp4a16kv16",
}
"""Words of references -> archsim's. gpt-fast keeps a scale and a zero of 16 bits every 32 weights; llama.cpp's Q8_0
and Q4_0 a 16-bit scale every 32, AWQ and GPTQ every 128; Q4_K_M mixes kinds of 4.5 and 6.56 bits to 4.84 on average
(39.59 GiB for 70 B)."""


def precision_of(words: str) -> str | None:
    """Return archsim's spelling of a reference's precision, or None for one that is not known."""
    return _PRECISIONS.get(words.strip().casefold())


@dataclass(frozen=True, slots=True)
class Request:
    """What a row asks for, in names; equal requests share one machine and its step costs."""

    system: str
    model: str
    precision: str
    chips: int
    runtime: str = ""
    """Bundled runtime; empty: the system's own."""
    parallelism: str = ""
    """Empty: tensor parallel over all chips."""
    padded: bool = False
    """Whether the runtime pads heads and MLP width to a multiple of the ranks."""
    settings: tuple[str, ...] = ()
    """Further settings of the system."""
    cores: int = 1
    """Cores of a chip by which the runtime cuts: heads are padded to those."""
    cache_tokens: int = 0
    """Tokens that a static cache is compiled for; 0: the cache grows with its sequences."""


@dataclass(frozen=True)
class Machine:
    """A model placed on a system, with the costs of its iterations."""

    spec: SystemSpec
    model: Model
    precision: Precision
    parallelism: Parallelism
    placement: Placement
    system: System
    costs: StepCosts = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "costs", StepCosts(self._simulate))

    def _simulate(self, batch: Batch) -> StepRecord:
        cut = Cut.of(self.model, self.precision, self.parallelism, self.spec)
        if self.parallelism.pp > 1:
            return simulate_pipeline(cut.pipeline(batch), self.system)
        return simulate_step(cut.plan(batch), self.system)

    def decode_s(self, batch: int, context: int, steps: int = 1) -> float:
        """Return the mean time of *steps* decode iterations, the first at *context* tokens a sequence.

        Raises `CapacityError` where the KV cache of the longest does not fit.
        """
        self.placement.check_batch(batch, context + steps - 1)
        reach = self.model.reach
        time_fine = decode_alike_fine(self.costs, reach, sequences=batch, context=context, steps=steps)
        return time_fine / steps / (PS_PER_S << FINE_BITS)

    def prefill_s(self, batch: int, prompt: int) -> float:
        """Return the time until *batch* prompts have their first token, in iterations that the runtime allows."""
        return _latest(self.served(batch, prompt, 1).requests.first_token_ps)

    def end_to_end_s(self, batch: int, prompt: int, output: int) -> float:
        """Return the time until *batch* requests that arrive together are done, queueing and preemption included."""
        return _latest(self.served(batch, prompt, output).requests.finish_ps)

    def served(self, batch: int, prompt: int, output: int) -> Record:
        """Return the replay of *batch* equal requests that arrive together."""
        arrivals = [Arrival(0, prompt, output)] * batch
        record = replay(arrivals, self.costs, limits=self.limits(prompt + output), policy=self.spec.runtime.scheduler)
        if record.rejected:
            raise InputError(Problem("", "context", str(prompt + output), record.requests.rejections[-1]))
        return record

    def limits(self, context: int) -> Limits:
        """Return what the server holds and takes on at once, with room for sequences of *context* tokens."""
        runtime = self.spec.runtime
        return Limits(
            max_batch=runtime.max_batch,
            max_prefill_tokens=runtime.max_prefill_tokens,
            kv_blocks=self.placement.kv_blocks,
            block_tokens=runtime.kv_block_tokens,
            context_tokens=max(self.model.max_context, context),
            reach=self.model.reach,
        )


def _latest(times_ps: object) -> float:
    return int(max(times_ps)) / PS_PER_S  # type: ignore[call-overload]


@cache
def machine(request: Request) -> Machine:
    """Return the machine of *request*. Raises `InputError` for what is not known, does not divide or does not fit."""
    spec = _spec(request)
    model = model_named(request.model)
    ways = Parallelism.parse(request.parallelism) if request.parallelism else Parallelism.default(spec)
    if request.padded:
        model = _padded(model, ways.tp, request.cores)
    bits = Precision.parse(request.precision)
    return Machine(spec, model, bits, ways, place(model, bits, spec, ways), System(spec))


def _spec(request: Request) -> SystemSpec:
    overrides = [f"runtime={request.runtime}"] if request.runtime else []
    overrides += [f"runtime.static_cache_tokens={request.cache_tokens}"] if request.cache_tokens else []
    overrides += request.settings
    spec = load_system(request.system, overrides)
    if spec.chips == request.chips:
        return spec
    overrides += [f"chips={request.chips}"]
    if spec.network is not None and spec.network.topology in _EXTENDED:
        overrides += [f"network.shape={list(_extents(request.chips, len(spec.network.shape)))}"]
    return load_system(request.system, overrides)


_EXTENDED = ("torus", "mesh")


def _extents(chips: int, dimensions: int) -> tuple[int, ...]:
    """Return the extents of a slice of *chips*, as even as they get, the smallest first.

    Slices of TPU v4 are 2 x 2 x 2, 2 x 2 x 4, 2 x 4 x 4 and cubes (Google Cloud, TPU v4 configurations).
    """
    if dimensions <= 1:
        return (chips,) * dimensions
    shapes = ((first, *_extents(chips // first, dimensions - 1)) for first in range(1, chips + 1) if chips % first == 0)
    return min((tuple(sorted(shape)) for shape in shapes), key=lambda shape: (max(shape) / min(shape), shape))


def _padded(model: Model, chips: int, cores: int) -> Model:
    """Return *model* with heads and MLP width filled up to multiples of all cores, as NeuronX and Pope et al. 2022 do.

    Where the KV heads do not divide over the chips, each core has one of its own.
    """
    ranks = chips * cores
    kv_heads = model.kv_heads if chips % model.kv_heads == 0 else _multiple(model.kv_heads, ranks)
    return replace(
        model,
        heads=_multiple(max(model.heads, kv_heads), ranks),
        kv_heads=kv_heads,
        intermediate=_multiple(model.intermediate, ranks),
    )


def _multiple(value: int, of: int) -> int:
    return -(-value // of) * of
