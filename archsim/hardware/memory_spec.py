"""What a memory is told: the DRAM device, and how many of it a chip drives how fast.

A5: a memory's peak is pin rate x width: `channels x channel_bits x pin_bits_per_s / 8`. The datasheet bandwidth, where
given, must agree within 2 %; it is a cross-check and no simulation uses it.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Literal

from pydantic import Field, model_validator

from archsim.hardware.quantities import (
    Area,
    BitsPerSecond,
    Bytes,
    BytesOrNone,
    BytesPerSecond,
    Count,
    Identifier,
    PicojoulesPerBit,
    PositivePicoseconds,
    Ratio,
    Share,
    Text,
)
from archsim.hardware.spec_model import Spec, refusal
from archsim.hardware.stacked_spec import ViaSpec
from archsim.units import exact_quantity, format_quantity

__all__ = ["FlashSpec", "MemoryDeviceSpec", "MemorySpec", "Spec", "SramSpec", "StackSpec", "refusal"]

_DATASHEET_TOLERANCE = Fraction(2, 100)


class FlashSpec(Spec):
    """What makes a device flash, table `[flash]`: pages that are read slowly, many at once, and wear out."""

    dies: Count
    """Dies of a stack; a multiple of its channels."""
    planes: Count
    """Arrays of one die that read at the same time."""
    program_ps: PositivePicoseconds = Field(alias="program")
    """Page register to array."""
    buffer_bytes: Bytes = Field(alias="buffer")
    """Buffer of a stack that holds the pages in flight."""
    endurance_cycles: Count
    """Program and erase cycles of a block."""
    write_amplification: Ratio
    """Bytes programmed per byte written, at least 1."""
    writes: Literal["refused", "forced"]
    """Whether what is written in every iteration (a KV cache) may live here."""


class SramSpec(Spec):
    """What makes a device SRAM, table `[sram]`: banks of one word a clock behind ports."""

    banks: Count
    """Single-ported arrays of one channel."""
    ports: Count
    """Words that can be asked for in one clock."""


class StackSpec(Spec):
    """One stack or array as it is made, table `[stack]` of flash and SRAM, which have no standard that says so.

    `archsim memory` asks it by itself. A chip states its own channels, pins and capacity and does not read this.
    """

    channels: Count
    """Independent channels."""
    channel_bytes_per_s: BytesPerSecond = Field(alias="channel_rate")
    """Rate of one channel."""
    capacity_bytes: Bytes = Field(alias="capacity")


class MemoryDeviceSpec(Spec):
    """A kind of memory device, `hwconfigs/memories/*.toml`: DRAM, or flash or SRAM where it has that table.

    Timing tables of DRAM live in `archsim.dram` by `standard`.
    """

    name: Text
    """Bundled name."""
    standard: Text
    """Name of the timing family: `HBM3`, `LPDDR5X`."""
    burst_bytes: Bytes = Field(alias="burst")
    """Bytes of one access: the smallest unit that moves."""
    refresh_interval_ps: PositivePicoseconds | None = Field(alias="refresh_interval", default=None)
    """tREFI of DRAM: one refresh command is due per interval."""
    refresh_cycle_ps: PositivePicoseconds | None = Field(alias="refresh_cycle", default=None)
    """tRFC of an all-bank refresh of DRAM: the channel stands still that long."""
    page_bytes: Bytes = Field(alias="page")
    """Bytes of an open row of one bank of a (pseudo) channel; the smallest read of flash; a word of SRAM."""
    access_latency_ps: PositivePicoseconds = Field(alias="access_latency")
    """Row activate plus column read plus burst on an idle bank; array to page register (tR) of flash."""
    flash: FlashSpec | None = None
    """Present where the device is flash."""
    sram: SramSpec | None = None
    """Present where the device is SRAM."""
    stack: StackSpec | None = None
    """One stack of flash or array of SRAM as it is made, so that it can be asked without a chip."""
    pj_per_bit: PicojoulesPerBit | None = Field(alias="energy", default=None)
    """Energy of moving one bit between array and host, as a chip sees it while streaming."""
    low_pj_per_bit: PicojoulesPerBit | None = Field(alias="energy_low", default=None)
    """Lower end, where sources give a range."""
    high_pj_per_bit: PicojoulesPerBit | None = Field(alias="energy_high", default=None)
    """Upper end, where sources give a range."""
    footprint_mm2: Area | None = Field(alias="footprint", default=None)
    """Area that one stack or package takes up."""

    @model_validator(mode="after")
    def _check_energy(self) -> MemoryDeviceSpec:
        middle = self.pj_per_bit
        for key, bound, sign in (("energy_low", self.low_pj_per_bit, 1), ("energy_high", self.high_pj_per_bit, -1)):
            if bound is not None and (middle is None or sign * bound > sign * middle):
                side = "at most" if sign > 0 else "at least"
                raise refusal(key, exact_quantity(bound / 10**12, "J/bit"), f"{side} the key energy")
        return self

    @model_validator(mode="after")
    def _check_geometry(self) -> MemoryDeviceSpec:
        if self.page_bytes % self.burst_bytes:
            expected = f"a multiple of the burst, {exact_quantity(self.burst_bytes, 'bytes')}"
            raise refusal("page", exact_quantity(self.page_bytes, "bytes"), expected)
        if self.flash is not None or self.sram is not None:
            return self._checked_without_refresh()
        if self.stack is not None:
            raise refusal("stack", "", "no such table: the channel of a DRAM follows from its standard")
        if self.refresh_interval_ps is None or self.refresh_cycle_ps is None:
            absent = "refresh_interval" if self.refresh_interval_ps is None else "refresh_cycle"
            raise refusal(absent, "", "tREFI and tRFC of a DRAM, or a table [flash] or [sram]")
        if self.refresh_cycle_ps >= self.refresh_interval_ps:
            raise refusal("refresh_cycle", f"{self.refresh_cycle_ps} ps", "less time than the refresh interval")
        return self

    def _checked_without_refresh(self) -> MemoryDeviceSpec:
        if self.flash is not None and self.sram is not None:
            raise refusal("sram", "", "one of the tables [flash] and [sram]")
        if self.refresh_interval_ps is not None or self.refresh_cycle_ps is not None:
            raise refusal("refresh_interval", "", "no refresh: flash and SRAM have none")
        if self.burst_bytes != self.page_bytes:
            expected = (
                f"the page, {exact_quantity(self.page_bytes, 'bytes')}: flash and SRAM move whole pages and words"
            )
            raise refusal("burst", exact_quantity(self.burst_bytes, "bytes"), expected)
        return self


class MemorySpec(Spec):
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
    assumed_bytes: Bytes | None = Field(alias="assumed_capacity", default=None)
    """Capacity that placement takes instead of the stacks' own; every result says so."""
    framework_share: Share
    """Share of capacity that the serving framework keeps for itself (contexts, workspaces, fragmentation)."""
    interleave_bytes: Bytes = Field(alias="interleave")
    """Consecutive bytes in one channel before the next channel's turn."""
    round_trip_ps: PositivePicoseconds = Field(alias="round_trip")
    """From a core to the memory controller and back, on the chip; the device's own latency comes on top."""
    controller: Text = "archsim"
    """Profile of the memory controller: a key of `archsim.dram.profile.PROFILES`."""
    address_map: str = ""
    """Bits of a channel's addresses, lowest first (`pc1 bg2 co5 ba2 sid1 ro14`); empty takes the controller's own."""
    prefetch_bytes: Bytes | None = Field(alias="prefetch_buffer", default=None)
    """Buffer through which weights and KV are read ahead of the kernels that need them; not stated: the buffers of
    flash stacks, and none for other devices, whose reads wait for the chip's staging."""
    through: Identifier | None = None
    """Memory in which the buffer lies, where engines cannot read this one: its bytes land there and are read again."""
    outstanding_bytes: Bytes | None = Field(alias="outstanding", default=None)
    """Read bytes in flight to this memory, where DMA engines of its own ask for them; not stated: the chip's."""
    vias: ViaSpec | None = None
    """What carries its bits, where it is stacked on the logic: they may be fewer than its pins."""
    datasheet_bytes_per_s: BytesPerSecond | None = Field(alias="bandwidth", default=None)
    """Bandwidth of the datasheet: the cross-check of pin rate x width, never used in a simulation."""

    @model_validator(mode="after")
    def _check_rates(self) -> MemorySpec:
        if self.channel_bits * self.pin_bits_per_s % 8:
            raise refusal("channel_bits", self.channel_bits, "a channel that moves whole bytes per second")
        if self.interleave_bytes % self.device.burst_bytes:
            expected = f"a multiple of the device's burst, {exact_quantity(self.device.burst_bytes, 'bytes')}"
            raise refusal("interleave", exact_quantity(self.interleave_bytes, "bytes"), expected)
        if self.vias is not None and not self.vias.bits:
            raise refusal("vias.pitch", f"{float(self.vias.pitch_um):g} um", "vias that carry at least one bit")
        datasheet = self.datasheet_bytes_per_s
        if datasheet and abs(self.peak_bytes_per_s - datasheet) > _DATASHEET_TOLERANCE * datasheet:
            peak = format_quantity(self.peak_bytes_per_s, "bytes/s", digits=6)
            expected = f"pin rate x width, {peak}, within 2 %: {self.channels} channels x {self.channel_bits} bits"
            raise refusal("bandwidth", exact_quantity(datasheet, "bytes/s"), expected)
        return self

    @model_validator(mode="after")
    def _check_capacity(self) -> MemorySpec:
        if self.usable_bytes <= 0:
            expected = f"less than the capacity, {exact_quantity(self.capacity_bytes, 'bytes')}"
            raise refusal("reserved", exact_quantity(self.reserved_bytes, "bytes"), expected)
        return self

    @property
    def ahead_bytes(self) -> int:
        """Bytes of the buffer through which it is read ahead of the kernels; 0: none."""
        if self.prefetch_bytes is not None:
            return self.prefetch_bytes
        return self.stacks * self.device.flash.buffer_bytes if self.device.flash else 0

    @property
    def channels(self) -> int:
        """Independent channels of the whole memory."""
        return self.stacks * self.channels_per_stack

    @property
    def channel_peak_bytes_per_s(self) -> Fraction:
        """Peak of one channel: pin rate x width, as far as there are vias (H1)."""
        bits = Fraction(self.channel_bits)
        if self.vias is not None:
            bits = min(bits, Fraction(self.vias.bits, self.channels))
        return bits * self.pin_bits_per_s / 8

    @property
    def peak_bytes_per_s(self) -> int:
        """Peak of the whole memory."""
        return int(self.channels * self.channel_peak_bytes_per_s)

    @property
    def capacity_bytes(self) -> int:
        """Capacity of all stacks."""
        return self.stacks * self.stack_bytes

    @property
    def usable_bytes(self) -> int:
        """Capacity left for weights, KV cache and activations, rounded down."""
        return int((self.assumed_bytes or self.capacity_bytes) * (1 - self.framework_share)) - self.reserved_bytes
