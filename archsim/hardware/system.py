"""The system as parts: what a simulation asks of the hardware, made once from a spec.

A `System` knows rates, levels and the network; it holds no clock and no queue, so one object serves any number of step
simulations. `graph` gives the parts as a networkx graph, for drawing and for whoever wants to walk the machine.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from archsim.errors import InputError, Problem, did_you_mean
from archsim.hardware.level import UNPACKING, Level
from archsim.hardware.nearmem import NearUnits
from archsim.hardware.shelf import Shelf
from archsim.hardware.spec import SystemSpec
from archsim.network.collectives import CollectiveFacts
from archsim.network.topology import Network

if TYPE_CHECKING:
    import networkx as nx

__all__ = ["PipeSpec", "System"]


@dataclass(frozen=True, slots=True)
class PipeSpec:
    """A data path of a chip that a book is kept of."""

    kind: str
    """`"memory"`, `"cache"` or `"port"`: a link to a memory."""
    level: str
    """The level whose channels are its own."""
    gate: str
    """Pipes of one gate exclude each other."""


class System:
    """The parts of one system."""

    def __init__(self, spec: SystemSpec, shelf: Shelf | None = None) -> None:
        """Make the parts of *spec*, those of a chip and a network that are on *shelf* taken from there."""
        shelf = shelf or Shelf()
        chip = shelf.chip(spec)
        self.spec = spec
        self.runtime = spec.runtime
        self.near: dict[str, NearUnits] = chip.near
        """Near-memory units by the memory that they sit on."""
        self.levels: dict[str, Level] = chip.levels
        """Routes of transfers by name: memories and caches, and the arrays and operands of near-memory units."""
        self.works: dict[Hashable, object] = chip.works
        """The latest tasks as work, kept here by the step floor."""
        self.pipes: dict[str, PipeSpec] = _pipes(self)
        """What serves transfers, by the name of its scope: each has a book of its own."""
        self.staging_bytes = spec.chip.staging_bytes
        """On-chip bytes that hold operands ahead of an engine."""
        self.stage_bytes = spec.chip.staging_bytes // spec.runtime.pipeline_stages
        """Operand bytes that a kernel handles as one pipeline stage."""
        self.host_launch_ps = self.host_ps(spec.runtime.host_launch_ps)
        """Time in which the host issues one operator."""
        self._fabric = shelf.fabric(spec)

    @property
    def network(self) -> Network:
        """The interconnect graph; built on first use, because a single chip needs none."""
        return self._fabric.network

    @property
    def row_tile(self) -> int:
        """Rows (M) that the matrix engine handles together."""
        return self.spec.chip.engine["matrix"].row_tile

    @property
    def vector_rate(self) -> int:
        """FLOP/s of the vector engine in fp32, at the clock that its state, heat and power leave (H2, H4)."""
        chip = self.spec.chip
        return int(self._rate("vector", "fp32") * chip.clock_share * chip.power_share)

    def matrix_rate(self, dtype: str) -> int:
        """Return the FLOP/s of the matrix engine in *dtype*. Raises `InputError` where it has none."""
        return self._rate("matrix", dtype)

    def sustained_matrix_rate(self, dtype: str) -> int:
        """Return the FLOP/s that the matrix engine keeps up in *dtype* under the chip's limits (A15, H2, H4)."""
        sustained = {str(name): rate for name, rate in self.spec.chip.engine["matrix"].sustained_flop_per_s.items()}
        cooled = int(self.matrix_rate(dtype) * self.spec.chip.clock_share)
        powered = int((sustained.get(dtype) or self.matrix_rate(dtype)) * self.spec.chip.power_share)
        return min(powered, cooled)

    def _rate(self, engine: Literal["matrix", "vector"], dtype: str) -> int:
        rates = {str(name): rate for name, rate in self.spec.chip.engine[engine].flop_per_s.items()}
        if dtype not in rates:
            expected = f"one of {', '.join(rates)}{did_you_mean(dtype, rates)}"
            raise InputError(Problem(self.spec.name, f"chip.engine.{engine}.rate", dtype, expected))
        return rates[dtype]

    def host_ps(self, duration_ps: int) -> int:
        """Return what this system's host needs for work that takes *duration_ps* as its runtime states it."""
        ratio = self.spec.host_time
        return duration_ps if ratio is None else -(-duration_ps * ratio.numerator // ratio.denominator)

    def collective(self, kind: str, size_bytes: int, ranks: int | tuple[int, ...]) -> CollectiveFacts:
        """Return what the network does for one collective among *ranks* (so many of the first, or which), memoised."""
        return self._fabric.collective(kind, size_bytes, ranks)

    def exchange(self, key: Hashable, make: Callable[[], CollectiveFacts]) -> CollectiveFacts:
        """Return the facts of an exchange within groups of chips, which the step floor works out, by its *key*."""
        return self._fabric.exchange(key, make)

    def graph(self) -> nx.DiGraph[str]:
        """Return all parts as a directed graph.

        Nodes are scopes (`chip0`, `chip0.hbm`, `switch0`) with an attribute `kind`; edges between a chip and its own
        parts carry `kind="on_chip"`, links carry `kind="link"`, `bytes_per_s` and `latency_ps`.
        """
        import networkx as nx  # noqa: PLC0415 - 120 ms that only whoever draws should pay

        graph: nx.DiGraph[str] = nx.DiGraph()
        for index in range(self.spec.chips):
            chip = f"chip{index}"
            graph.add_node(chip, kind="chip")
            for part, kind in self._parts():
                graph.add_node(f"{chip}.{part}", kind=kind)
                graph.add_edge(chip, f"{chip}.{part}", kind="on_chip")
                graph.add_edge(f"{chip}.{part}", chip, kind="on_chip")
        for link in self.network.links if self.spec.chips > 1 else ():
            for node in (link.src, link.dst):
                if node not in graph:
                    graph.add_node(node, kind="switch")
            graph.add_edge(link.src, link.dst, kind="link", bytes_per_s=link.bytes_per_s, latency_ps=link.latency_ps)
        return graph

    def _parts(self) -> list[tuple[str, str]]:
        chip = self.spec.chip
        kinds = (("memory", chip.memory), ("cache", chip.cache), ("engine", chip.engine))
        return [(name, kind) for kind, table in kinds for name in table]


def _pipes(system: System) -> dict[str, PipeSpec]:
    memories, units = system.spec.chip.memory, system.near
    pipes: dict[str, PipeSpec] = {}
    unpacking = (UNPACKING,) if system.spec.chip.decompression is not None else ()
    for name in (*memories, *system.spec.chip.cache, *unpacking):
        if name not in units:
            pipes[name] = PipeSpec("memory" if name in memories else "cache", name, name)
            continue
        unit = units[name]
        blocked = unit.spec.host_access == "blocked"
        pipes[f"{name}.phy"] = PipeSpec("memory", name, name if blocked else f"{name}.phy")
        pipes[unit.array] = PipeSpec("memory", unit.array, name if blocked else unit.array)
        if unit.spec.link_bytes_per_s is not None:
            pipes[f"{name}.link"] = PipeSpec("port", unit.io, f"{name}.link")
    return pipes
