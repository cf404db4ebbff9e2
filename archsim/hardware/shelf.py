"""Parts that systems have in common, kept by what they are made of.

The designs of a study differ in a setting or two: most of them share a chip, or a network. A `Shelf` hands out the
parts of a chip and the network of a system, the latest ones again where a spec asks for equals, so that what was
learned of them (what channels sustain, what kernels are as work, what collectives cost) is learned once. Results do
not depend on what is on a shelf.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from functools import cached_property
from typing import TypeVar

from archsim.hardware.level import Level, levels_of
from archsim.hardware.nearmem import NearUnits, near_levels, near_units
from archsim.hardware.spec import SystemSpec
from archsim.network.collectives import CollectiveFacts, collective_facts
from archsim.network.schedules import ALGORITHMS
from archsim.network.special import SPECIAL
from archsim.network.topology import Edge, Network, NetworkOptions, build_network

__all__ = ["ChipParts", "Fabric", "Shelf"]

_KEPT = 32
"""Parts of one kind that are kept."""
_KEPT_FACTS = 4096
"""Collectives whose facts a network keeps."""
Made = TypeVar("Made")


@dataclass(frozen=True, slots=True)
class ChipParts:
    """What a chip is to a simulation, whatever it is joined to."""

    near: dict[str, NearUnits]
    """Near-memory units by the memory that they sit on."""
    levels: dict[str, Level]
    """Routes of transfers by name."""
    works: dict[Hashable, object] = field(default_factory=dict)
    """The latest tasks as work, kept here by the step floor: iterations have most of their tasks in common."""


class Fabric:
    """The network of a system with the collectives on it."""

    def __init__(self, spec: SystemSpec) -> None:
        self._spec = spec
        self._collectives: dict[Hashable, CollectiveFacts] = {}
        self._exchanges: dict[Hashable, CollectiveFacts] = {}

    @cached_property
    def network(self) -> Network:
        """The interconnect graph; built on first use, because a single chip needs none."""
        network = self._spec.network
        return build_network(
            network.topology,
            self._spec.chips,
            shape=network.shape,
            link_bytes_per_s=network.link_bytes_per_s,
            link_latency_ps=network.link_latency_ps,
            options=NetworkOptions(
                routing=network.routing,
                reduces=network.reduces,
                outer_bytes_per_s=network.outer_bytes_per_s or 0,
                outer_latency_ps=network.outer_latency_ps or 0,
                edges=tuple(Edge(e.src, e.dst, e.link_bytes_per_s, e.link_latency_ps, e.weight) for e in network.edges),
                routes={(route.path[0], route.path[-1]): route.path for route in network.routes},
                failed=network.failed,
            ),
        )

    def collective(self, kind: str, size_bytes: int, ranks: int | tuple[int, ...]) -> CollectiveFacts:
        """Return what the network does for one collective among *ranks* (so many of the first, or which)."""

        def make() -> CollectiveFacts:
            return collective_facts(
                self.network,
                kind=kind,
                ranks=ranks,
                bytes=size_bytes,
                algorithm=self._algorithm(kind),
                software_ps=self._spec.runtime.collective_software_ps,
                chip=self._spec.chip.name,
            )

        return _kept(self._collectives, (kind, size_bytes, ranks), make)

    def exchange(self, key: Hashable, make: Callable[[], CollectiveFacts]) -> CollectiveFacts:
        """Return the facts of an exchange within groups of chips, which the step floor works out, by its *key*."""
        return _kept(self._exchanges, key, make)

    def _algorithm(self, kind: str) -> str:
        """Return what the runtime names; `auto` for a kind that has no such algorithm though another one has."""
        known = {every: {*table, *SPECIAL.get(every, {})} for every, table in ALGORITHMS.items()}
        named = self._spec.runtime.collective
        others = set().union(*known.values()) - known.get(kind, set())
        return "auto" if named in others else named


def _kept(memo: dict[Hashable, CollectiveFacts], key: Hashable, make: Callable[[], CollectiveFacts]) -> CollectiveFacts:
    if key not in memo:
        if len(memo) >= _KEPT_FACTS:
            del memo[next(iter(memo))]
        memo[key] = make()
    return memo[key]


class Shelf:
    """The latest few chips and networks."""

    def __init__(self) -> None:
        self._chips: list[tuple[object, ChipParts]] = []
        self._fabrics: list[tuple[object, Fabric]] = []

    def chip(self, spec: SystemSpec) -> ChipParts:
        """Return the parts of the chip of *spec* under its runtime."""

        def make() -> ChipParts:
            near = near_units(spec.chip)
            return ChipParts(near, near_levels(near, levels_of(spec.chip), spec.chip))

        # Work is cut by the runtime's stages.
        return _latest(self._chips, (spec.runtime.pipeline_stages, spec.chip), make)

    def fabric(self, spec: SystemSpec) -> Fabric:
        """Return the network of *spec* with the collectives of its runtime."""
        runtime = spec.runtime
        key = (spec.chips, spec.chip.name, runtime.collective, runtime.collective_software_ps, spec.network)
        return _latest(self._fabrics, key, lambda: Fabric(spec))


def _latest(kept: list[tuple[object, Made]], key: object, make: Callable[[], Made]) -> Made:
    """Return what was made of an equal of *key*, the latest first; specs compare and do not hash."""
    place = next((place for place in reversed(range(len(kept))) if kept[place][0] == key), None)
    entry = kept.pop(place) if place is not None else (key, make())
    kept.append(entry)
    del kept[:-_KEPT]
    return entry[1]
