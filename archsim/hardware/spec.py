"""What hardware is told: frozen data, checked at the door.

A spec holds facts of a datasheet, never a live part and never a file. Values arrive as unit strings under the key
in quotes (`alias`) and are held as exact numbers under the attribute's name: bytes, bytes/s, FLOP/s as `int`, times as
`int` picoseconds. Nothing physical has a default; what is optional is `None` when it is not known.

A memory's peak is pin rate x width: `channels x channel_bits x pin_bits_per_s / 8`. The datasheet bandwidth, where
given, must agree within 2 %.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from archsim.errors import InputError, did_you_mean
from archsim.hardware.quantities import (
    Area,
    BitsPerSecond,
    Bytes,
    BytesOrNone,
    BytesPerSecond,
    Count,
    FlopPerSecond,
    Identifier,
    PicojoulesPerBit,
    Picoseconds,
    PositivePicoseconds,
    Price,
    Share,
    Text,
    Watts,
)
from archsim.network.layouts import LAYOUTS
from archsim.units import exact_quantity, format_quantity

__all__ = [
    "CacheSpec",
    "ChipSpec",
    "Dtype",
    "EngineSpec",
    "MemoryDeviceSpec",
    "MemorySpec",
    "RuntimeSpec",
    "Status",
    "SystemSpec",
    "TopologySpec",
]

Status = Literal["shipped", "announced", "claimed", "hypothetical"]
"""How much of a design exists: on sale; announced by its maker; claimed without figures; invented for a study."""
Dtype = Literal["fp64", "fp32", "tf32", "bf16", "fp16", "fp8", "fp6", "fp4", "int8", "int4", "mxint8", "mxint4"]
"""Element types an engine may have a rate for."""

_DATASHEET_TOLERANCE = Fraction(2, 100)


def _refusal(key: str, value: object, expected: str) -> PydanticCustomError:
    """Return an error that `archsim.hardware.door` turns into a problem at *key* of the model being checked."""
    return PydanticCustomError(
        "archsim", "{key}: expected {expected}", {"key": key, "value": str(value), "expected": expected}
    )


class _Spec(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class MemoryDeviceSpec(_Spec):
    """A kind of DRAM device, `hwconfigs/memories/*.toml`. Timing tables live in `archsim.dram` by `standard`."""

    name: Text
    """Bundled name."""
    standard: Text
    """Name of the timing family: `HBM3`, `LPDDR5X`."""
    burst_bytes: Bytes = Field(alias="burst")
    """Bytes of one access: the smallest unit that moves."""
    refresh_interval_ps: PositivePicoseconds = Field(alias="refresh_interval")
    """tREFI: one refresh command is due per interval."""
    refresh_cycle_ps: PositivePicoseconds = Field(alias="refresh_cycle")
    """tRFC of an all-bank refresh: the channel stands still that long."""
    page_bytes: Bytes = Field(alias="page")
    """Bytes of an open row of one bank of a (pseudo) channel."""
    access_latency_ps: PositivePicoseconds = Field(alias="access_latency")
    """Row activate plus column read plus burst on an idle bank."""
    pj_per_bit: PicojoulesPerBit | None = Field(alias="energy", default=None)
    """Energy of moving one bit between array and host."""

    @model_validator(mode="after")
    def _check_geometry(self) -> MemoryDeviceSpec:
        if self.page_bytes % self.burst_bytes:
            expected = f"a multiple of the burst, {exact_quantity(self.burst_bytes, 'bytes')}"
            raise _refusal("page", exact_quantity(self.page_bytes, "bytes"), expected)
        if self.refresh_cycle_ps >= self.refresh_interval_ps:
            raise _refusal("refresh_cycle", f"{self.refresh_cycle_ps} ps", "less time than the refresh interval")
        return self


class MemorySpec(_Spec):
    """One memory of a chip, table `[memory.NAME]`: how many of which device, and how the chip drives it."""

    device: MemoryDeviceSpec
    """The DRAM device: a bundled name, a path, or a table."""
    stacks: Count
    """Stacks or packages."""
    channels_per_stack: Count
    """Independent channels of a stack."""
    channel_bits: Count
    """Data pins of a channel."""
    pin_bits_per_s: BitsPerSecond = Field(alias="pin_rate")
    """Data rate of one pin."""
    stack_bytes: Bytes = Field(alias="stack_capacity")
    """Capacity of one stack as the chip exposes it."""
    reserved_bytes: BytesOrNone = Field(alias="reserved")
    """Capacity that never reaches a program: inline ECC, firmware, driver."""
    framework_share: Share
    """Share of capacity that the serving framework keeps for itself (contexts, workspaces, fragmentation)."""
    interleave_bytes: Bytes = Field(alias="interleave")
    """Consecutive bytes in one channel before the next channel's turn."""
    round_trip_ps: PositivePicoseconds = Field(alias="round_trip")
    """From a core to the memory controller and back, on the chip; the device's own latency comes on top."""
    datasheet_bytes_per_s: BytesPerSecond | None = Field(alias="bandwidth", default=None)
    """Bandwidth of the datasheet: the cross-check of pin rate x width, never used in a simulation."""

    @model_validator(mode="after")
    def _check_rates(self) -> MemorySpec:
        if self.channel_bits * self.pin_bits_per_s % 8:
            raise _refusal("channel_bits", self.channel_bits, "a channel that moves whole bytes per second")
        if self.interleave_bytes % self.device.burst_bytes:
            expected = f"a multiple of the device's burst, {exact_quantity(self.device.burst_bytes, 'bytes')}"
            raise _refusal("interleave", exact_quantity(self.interleave_bytes, "bytes"), expected)
        datasheet = self.datasheet_bytes_per_s
        if datasheet and abs(self.peak_bytes_per_s - datasheet) > _DATASHEET_TOLERANCE * datasheet:
            peak = format_quantity(self.peak_bytes_per_s, "bytes/s", digits=6)
            expected = f"pin rate x width, {peak}, within 2 %: {self.channels} channels x {self.channel_bits} bits"
            raise _refusal("bandwidth", exact_quantity(datasheet, "bytes/s"), expected)
        return self

    @model_validator(mode="after")
    def _check_capacity(self) -> MemorySpec:
        if self.usable_bytes <= 0:
            expected = f"less than the capacity, {exact_quantity(self.capacity_bytes, 'bytes')}"
            raise _refusal("reserved", exact_quantity(self.reserved_bytes, "bytes"), expected)
        return self

    @property
    def channels(self) -> int:
        """Independent channels of the whole memory."""
        return self.stacks * self.channels_per_stack

    @property
    def channel_peak_bytes_per_s(self) -> Fraction:
        """Peak of one channel: pin rate x width."""
        return Fraction(self.channel_bits * self.pin_bits_per_s, 8)

    @property
    def peak_bytes_per_s(self) -> int:
        """Peak of the whole memory."""
        return self.channels * self.channel_bits * self.pin_bits_per_s // 8

    @property
    def capacity_bytes(self) -> int:
        """Capacity of all stacks."""
        return self.stacks * self.stack_bytes

    @property
    def usable_bytes(self) -> int:
        """Capacity left for weights, KV cache and activations, rounded down."""
        return int(self.capacity_bytes * (1 - self.framework_share)) - self.reserved_bytes


class CacheSpec(_Spec):
    """A cache or scratchpad that the chip's engines share, table `[cache.NAME]`."""

    capacity_bytes: Bytes = Field(alias="capacity")
    """Bytes it holds."""
    bytes_per_s: BytesPerSecond = Field(alias="bandwidth")
    """Peak read rate."""


class EngineSpec(_Spec):
    """Arithmetic of one kind, table `[engine.matrix]` or `[engine.vector]`, over the whole chip."""

    flop_per_s: dict[Dtype, FlopPerSecond] = Field(alias="rate", min_length=1)
    """Dense peak per element type (a multiply-add is two)."""
    row_tile: Count
    """Rows (M) of the smallest matrix product it does at full rate; fewer rows cost as much."""


class ChipSpec(_Spec):
    """A chip with its memories, `hwconfigs/chips/*.toml`."""

    name: Text
    """Bundled name."""
    title: Text
    """Name for people."""
    vendor: Text
    """Maker."""
    status: Status
    """How much of it exists."""
    aliases: tuple[Text, ...] = ()
    """Other names it is looked up by."""
    main_memory: Identifier
    """The memory that holds weights and KV cache."""
    bytes_in_flight: Bytes
    """Outstanding read bytes that all cores together sustain (Little's law)."""
    staging_bytes: Bytes = Field(alias="staging")
    """On-chip buffer that holds operands ahead of the engines."""
    tdp_watts: Watts | None = Field(alias="tdp", default=None)
    """Thermal design power."""
    die_mm2: Area | None = Field(alias="die_area", default=None)
    """Silicon of the compute dies."""
    price_usd: Price | None = Field(alias="price", default=None)
    """Street or list price of one."""
    memory: dict[Identifier, MemorySpec] = Field(min_length=1)
    """Memories by name."""
    cache: dict[Identifier, CacheSpec] = Field(default_factory=dict)
    """Caches by name."""
    engine: dict[Literal["matrix", "vector"], EngineSpec]
    """Both engines by name."""

    @model_validator(mode="after")
    def _check_names(self) -> ChipSpec:
        if self.main_memory not in self.memory:
            raise _refusal("main_memory", self.main_memory, f"one of the chip's memories: {', '.join(self.memory)}")
        if missing := [name for name in ("matrix", "vector") if name not in self.engine]:
            raise _refusal("engine", ", ".join(self.engine), f"also the engine {', '.join(missing)}")
        return self


class TopologySpec(_Spec):
    """How the chips of a system are joined, table `[network]`."""

    topology: Text
    """Name of a layout of `archsim.network`; `none` for a single chip."""
    shape: tuple[Count, ...] = ()
    """Chips along each axis of a torus or mesh; what the layout asks for otherwise."""
    link_bytes_per_s: BytesPerSecond = Field(alias="link_bandwidth", default=0)
    """Per direction: of a chip's port to the switch, else of one link. 0 only where there is no link."""
    link_latency_ps: PositivePicoseconds = Field(alias="link_latency", default=0)
    """Per hop. 0 only where there is no link."""

    @model_validator(mode="after")
    def _check_links(self) -> TopologySpec:
        if self.topology not in LAYOUTS:
            raise _refusal(
                "topology", self.topology, f"one of {', '.join(LAYOUTS)}{did_you_mean(self.topology, LAYOUTS)}"
            )
        if self.topology == "none":
            if self.link_bytes_per_s or self.link_latency_ps or self.shape:
                raise _refusal("topology", "none", "no link_bandwidth, link_latency or shape beside it")
            return self
        if not self.link_bytes_per_s:
            raise _refusal("link_bandwidth", "", 'the rate of a link, such as "450 GB/s"')
        if not self.link_latency_ps:
            raise _refusal("link_latency", "", 'the time of one hop, such as "500 ns"')
        return self


class RuntimeSpec(_Spec):
    """Software between model and chip, `hwconfigs/runtimes/*.toml`."""

    name: Text
    """Bundled name."""
    title: Text
    """Name for people."""
    launch_gap_ps: Picoseconds = Field(alias="launch_gap")
    """Idle time between the end of one kernel and the start of the next."""
    ramp_ps: Picoseconds = Field(alias="ramp")
    """Fill and drain of one kernel, when it occupies the chip but moves nothing."""
    pipeline_stages: Count
    """Chunks of operands that a kernel keeps in staging at once (software pipelining depth); 2 is double buffering."""
    host_step_ps: Picoseconds = Field(alias="host_step")
    """Serial work of the host for one iteration (scheduling, sampling, detokenising)."""
    prefetch: Literal["kernel", "stream"]
    """`kernel`: operand reads wait for the kernel before. `stream`: next kernels' weights flow ahead into staging."""
    collective: Text
    """Algorithm of collectives, or `auto`."""
    collective_software_ps: Picoseconds = Field(alias="collective_software")
    """Software time of one collective beside its transfers."""
    kv_block_tokens: Count
    """Tokens of one block of the paged KV cache."""
    max_batch: Count
    """Largest number of sequences in one iteration."""
    max_prefill_tokens: Count
    """Largest number of prompt tokens in one iteration."""


class SystemSpec(_Spec):
    """Chips, network and runtime of one machine, `hwconfigs/systems/*.toml`."""

    kind: Literal["system"]
    """Says what the file is."""
    name: Text
    """Bundled name."""
    title: Text
    """Name for people."""
    status: Status
    """How much of it exists."""
    aliases: tuple[Text, ...] = ()
    """Other names it is looked up by."""
    chips: Count
    """Number of chips."""
    network: TopologySpec
    """How they are joined."""
    runtime: RuntimeSpec
    """Software that drives them: a bundled name, a path, or a table."""
    chip: ChipSpec
    """The chip: a bundled name, a path, or a table."""

    @model_validator(mode="after")
    def _check_size(self) -> SystemSpec:
        network = self.network
        try:
            LAYOUTS[network.topology](self.chips, network.shape)
        except InputError as error:
            problem = error.problems[0]
            raise _refusal(f"network.{problem.key.rpartition('.')[2]}", problem.value, problem.expected) from None
        return self
