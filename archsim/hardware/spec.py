"""What hardware is told: frozen data, checked at the door.

A spec holds facts of a datasheet, never a live part and never a file. Values arrive as unit strings under the key
in quotes (`alias`) and are held as exact numbers under the attribute's name: bytes, bytes/s, FLOP/s as `int`, times as
`int` picoseconds. Nothing physical has a default; what is optional is `None` when it is not known.

Caches, engines, chips and systems are specified here; their tables that are ideas of their own, each in a file.
"""

from __future__ import annotations

import re
from fractions import Fraction
from typing import Literal

from pydantic import Field, model_validator

from archsim.errors import InputError
from archsim.hardware.energy_spec import EnergySpec, check_energy
from archsim.hardware.memory_spec import MemoryDeviceSpec, MemorySpec, Spec, refusal
from archsim.hardware.near_spec import NearMemorySpec, check_near_memory
from archsim.hardware.network_spec import EdgeSpec, TopologySpec
from archsim.hardware.placement_spec import PlacementSpec, check_placement
from archsim.hardware.quantities import (
    Area,
    Bytes,
    BytesPerSecond,
    Count,
    Dtype,
    FlopPerSecond,
    Identifier,
    Price,
    Ratio,
    Share,
    Text,
    Watts,
)
from archsim.hardware.runtime_spec import RuntimeSpec
from archsim.hardware.serving_spec import ServingSpec
from archsim.hardware.stacked_spec import ThermalSpec, ViaSpec, cooled_share
from archsim.network.layouts import LAYOUTS

__all__ = [
    "CacheSpec",
    "ChipSpec",
    "DecompressionSpec",
    "Dtype",
    "EdgeSpec",
    "EngineSpec",
    "MemoryDeviceSpec",
    "MemorySpec",
    "NearMemorySpec",
    "PlacementSpec",
    "RuntimeSpec",
    "ServingSpec",
    "Status",
    "SystemSpec",
    "ThermalSpec",
    "TopologySpec",
    "ViaSpec",
]

Status = Literal["shipped", "announced", "claimed", "hypothetical"]
"""How much of a design exists: on sale; announced by its maker; claimed without figures; invented for a study."""
_MOST_CHIPS = 2**16
"""The wires of a system are laid out one by one."""


class CacheSpec(Spec):
    """A cache or scratchpad that the chip's engines share, table `[cache.NAME]`."""

    capacity_bytes: Bytes = Field(alias="capacity")
    """Bytes it holds."""
    bytes_per_s: BytesPerSecond = Field(alias="bandwidth")
    """Peak read rate."""
    partitions: Count | None = None
    """Parts that lines are hashed over, each beside a part of the cores; not stated: one, as near to all."""
    far_bytes_per_s: BytesPerSecond | None = Field(alias="far_bandwidth", default=None)
    """Rate at which all cores together read lines of parts that are not beside them."""

    @property
    def served_bytes_per_s(self) -> int:
        """Rate for lines of all parts: of p, a share of 1 - 1/p comes from afar."""
        if self.partitions is None or self.far_bytes_per_s is None or self.partitions == 1:
            return self.bytes_per_s
        return min(self.bytes_per_s, self.far_bytes_per_s * self.partitions // (self.partitions - 1))

    @model_validator(mode="after")
    def _check_partitions(self) -> CacheSpec:
        if (self.partitions is None) != (self.far_bytes_per_s is None):
            raise refusal("far_bandwidth", "", "partitions and far_bandwidth together, or neither")
        return self


class EngineSpec(Spec):
    """Arithmetic of one kind, table `[engine.matrix]` or `[engine.vector]`, over the whole chip."""

    flop_per_s: dict[Dtype, FlopPerSecond] = Field(alias="rate", min_length=1)
    """Dense peak per element type (a multiply-add is two)."""
    sustained_flop_per_s: dict[Dtype, FlopPerSecond] = Field(alias="sustained", default_factory=dict)
    """What a long product keeps up under the chip's power limit, by element type; not stated: the peak."""
    row_tile: Count
    """Rows (M) of the smallest matrix product it does at full rate; fewer rows cost as much."""
    exposed: Share = Fraction(0)
    """Part of a kernel's products or of its reads, whichever is shorter, that the other does not hide."""

    @model_validator(mode="after")
    def _check_sustained(self) -> EngineSpec:
        for dtype, rate in self.sustained_flop_per_s.items():
            if rate > self.flop_per_s.get(dtype, 0):
                raise refusal(f"sustained.{dtype}", str(rate), "a type that has a rate, and at most that rate")
        return self


class DecompressionSpec(Spec):
    """An engine between memories and arithmetic that unpacks weights, table `[decompression]`."""

    ratio: Ratio
    """Bytes of weights over the bytes that they are stored in."""
    bytes_per_s: BytesPerSecond = Field(alias="rate")
    """Most unpacked bytes of all units together."""

    @model_validator(mode="after")
    def _check_ratio(self) -> DecompressionSpec:
        if self.ratio < 1:
            raise refusal("ratio", f"{float(100 * self.ratio):g} %", "at least 100 %: fewer bytes than unpacked")
        return self


class ChipSpec(Spec):
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
    year: int | None = Field(default=None, strict=True, ge=1990, le=2100)
    """When it was first shipped, or announced where it has not been."""
    main_memory: Identifier
    """The memory that holds weights and KV cache."""
    bytes_in_flight: Bytes
    """Outstanding read bytes that all cores together sustain in the kernels of a step (Little's law)."""
    most_bytes_in_flight: Bytes | None = None
    """What its best kernels sustain, where that is more: `archsim memory` asks the chip's memory with it."""
    cores: Count | None = None
    """Cores that share them, where attention gives each piece of the KV cache to one core: fewer pieces than cores
    leave the other cores' bytes out of flight. Not stated: work is split over all cores, whatever its shape."""
    staging_bytes: Bytes = Field(alias="staging")
    """On-chip buffer that holds operands ahead of the engines."""
    tdp_watts: Watts | None = Field(alias="tdp", default=None)
    """Thermal design power."""
    power_cap_watts: Watts | None = Field(alias="power_cap", default=None)
    """What its operator lets it draw; not stated: the design power."""
    clock: Ratio | None = None
    """State of its clock: of the one at which the rates of engines and caches are stated. Not stated: that one."""
    die_mm2: Area | None = Field(alias="die_area", default=None)
    """Silicon of the compute dies."""
    package_mm2: Area | None = Field(alias="package_area", default=None)
    """Package or interposer that carries the dies and the memories."""
    price_usd: Price | None = Field(alias="price", default=None)
    """Street or list price of one, with its memories."""
    price_includes: tuple[Literal["host", "network"], ...] = ()
    """What else that price pays for, where it is a share of a whole machine's."""
    memory: dict[Identifier, MemorySpec] = Field(min_length=1)
    """Memories by name."""
    cache: dict[Identifier, CacheSpec] = Field(default_factory=dict)
    """Caches by name."""
    engine: dict[Literal["matrix", "vector"], EngineSpec]
    """Both engines by name."""
    energy: EnergySpec | None = None
    """What it draws; not stated: absent in every result."""
    thermal: ThermalSpec | None = None
    """What heat lets the clock fall."""
    decompression: DecompressionSpec | None = None
    """What unpacks weights on their way to the engines; not stated: they are stored as they are multiplied."""
    placement: PlacementSpec | None = None
    """Which memories hold which tensors; not stated: the main memory holds them all."""
    near_memory: dict[Identifier, NearMemorySpec] = Field(default_factory=dict)
    """Near-memory units by name."""

    @model_validator(mode="after")
    def _check_energy(self) -> ChipSpec:
        if self.energy is not None and "matrix" in self.engine:
            check_energy(self.energy, self.memory, self.cache, self.engine["matrix"].flop_per_s)
        return self

    @model_validator(mode="after")
    def _check_names(self) -> ChipSpec:
        if self.main_memory not in self.memory:
            raise refusal("main_memory", self.main_memory, f"one of the chip's memories: {', '.join(self.memory)}")
        if missing := [name for name in ("matrix", "vector") if name not in self.engine]:
            raise refusal("engine", ", ".join(self.engine), f"also the engine {', '.join(missing)}")
        for name, memory in self.memory.items():
            if memory.through is not None and (
                memory.through not in self.memory or self.memory[memory.through].through
            ):
                others = [other for other, spec in self.memory.items() if other != name and not spec.through]
                raise refusal(
                    f"memory.{name}.through", memory.through, f"a memory that engines read: {', '.join(others)}"
                )
            if memory.through is not None and not memory.ahead_bytes:
                raise refusal(
                    f"memory.{name}.prefetch_buffer", "", f"the room in {memory.through} that its bytes land in"
                )
        self._check_heat()
        if self.placement is not None and (wrong := check_placement(self.placement, self.memory, self.cache)):
            raise wrong
        if taken := {*self.near_memory} & {*self.memory, *self.cache, "matrix", "vector"}:
            raise refusal("near_memory", min(taken), "a name that no memory, cache or engine has")
        check_near_memory(self.near_memory, self.memory)
        return self

    def _check_heat(self) -> None:
        idle, cap = self.energy.idle_watts if self.energy else None, self.power_cap_watts
        if cap is not None and (self.tdp_watts is None or idle is None or not idle < cap <= self.tdp_watts):
            between = "" if idle is None else f" ({float(idle):g} W)"
            raise refusal("power_cap", f"{float(cap):g} W", f"more than energy.idle{between}, at most tdp: both stated")
        if self.thermal is None:
            return
        for key, value in (("tdp", self.tdp_watts), ("die_area", self.die_mm2), ("energy.idle", idle)):
            if value is None:
                raise refusal(key, "", "this key, which a limit of heat is compared with")
        if self.clock_share <= 0:
            limit, area = float(self.thermal.watts_per_m2 / 10**6), float(self.die_mm2 or 0)
            expected = f"more than the idle power, {float(idle or 0):g} W over {area:g} mm2"
            raise refusal("thermal.limit", f"{limit:g} W/mm2 ({limit * area:g} W)", expected)

    @property
    def clock_share(self) -> Fraction:
        """Share of the clock at which rates are stated: that of its state, or less where heat leaves less (H2)."""
        idle, state = self.energy.idle_watts if self.energy else None, self.clock or Fraction(1)
        if self.thermal is None or self.tdp_watts is None or self.die_mm2 is None or idle is None:
            return state
        return state * cooled_share(self.thermal, design_watts=self.tdp_watts, idle_watts=idle, die_mm2=self.die_mm2)

    @property
    def power_share(self) -> Fraction:
        """Share of the arithmetic under the design power that a cap leaves: as of the power beyond idle (H4)."""
        idle = self.energy.idle_watts if self.energy else None
        if self.power_cap_watts is None or self.tdp_watts is None or idle is None:
            return Fraction(1)
        return Fraction(self.power_cap_watts - idle) / (self.tdp_watts - idle)


class SystemSpec(Spec):
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
    """Number of chips, spares included."""
    spares: int = Field(default=0, strict=True, ge=0)
    """Chips that stand by to take the place of a failed one: the last of each of so many equal blocks."""
    network: TopologySpec
    """How they are joined."""
    runtime: RuntimeSpec
    """Software that drives them: a bundled name, a path, or a table."""
    chip: ChipSpec
    """The chip: a bundled name, a path, or a table."""
    serving: ServingSpec | None = None
    """What the server does beyond batching; not stated: nothing."""
    parallel: Text | None = None
    """How a model is spread where nobody says, as `--parallel` reads it; not stated: what follows from the chips."""
    host_time: Ratio | None = None
    """Time of host work over what the runtime states; not stated: as the runtime states it."""
    host_watts: Watts | None = Field(alias="host_power", default=None)
    """Drawn all the time by what is neither chip nor link: hosts, fans, network cards, losses of supplies."""

    @property
    def working_chips(self) -> tuple[int, ...]:
        """The chips that work, in the order of ranks: a free spare, the nearest block's, stands in for a failed one."""
        block = self.chips // self.spares if self.spares else self.chips + 1
        standing_by = [block * (number + 1) - 1 for number in range(self.spares)]
        failed = {int(node[4:]) for node in self.network.failed if re.fullmatch(r"chip\d{1,6}", node)}
        free = [chip for chip in standing_by if chip not in failed]
        working = []
        for chip in (chip for chip in range(self.chips) if chip not in standing_by):
            if chip in failed and free:
                chip = min(free, key=lambda spare: (abs(spare // block - chip // block), spare))  # noqa: PLW2901 - takes its place
                free.remove(chip)
            working.append(chip)
        return tuple(working)

    @property
    def idle_chips(self) -> tuple[int, ...]:
        """The spares that stand by."""
        working = set(self.working_chips)
        return tuple(
            chip for chip in range(self.chips) if chip not in working and f"chip{chip}" not in self.network.failed
        )

    @model_validator(mode="after")
    def _check_size(self) -> SystemSpec:
        network = self.network
        if self.chips > _MOST_CHIPS:
            raise refusal("chips", self.chips, f"at most {_MOST_CHIPS:,} chips")
        if self.spares and (self.spares >= self.chips or self.chips % self.spares):
            raise refusal("spares", self.spares, f"a divisor of the {self.chips} chips below their number: one a block")
        lost = [chip for chip in self.working_chips if f"chip{chip}" in network.failed]
        if lost:
            expected = f"at most {self.spares} failed chips, as many as spares: none takes the place of chip{lost[0]}"
            raise refusal("network.failed", ", ".join(network.failed), expected)
        if network.topology == "edges":
            return self
        try:
            LAYOUTS[network.topology](self.chips, network.shape)
        except InputError as error:
            problem = error.problems[0]
            raise refusal(f"network.{problem.key.rpartition('.')[2]}", problem.value, problem.expected) from None
        return self
