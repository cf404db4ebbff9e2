"""How chips are joined, as data: layout, rates, routes, what is out of order.

What can be said without the graph is checked here; that a route passes links that exist, and that every chip reaches
every other, is checked where the graph is built (`archsim.network.topology`).
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from archsim.errors import did_you_mean
from archsim.hardware.memory_spec import Spec, refusal
from archsim.hardware.quantities import BytesPerSecond, Count, PicojoulesPerBit, PositivePicoseconds, Text
from archsim.network.layouts import LAYOUTS

__all__ = ["EdgeSpec", "RouteSpec", "TopologySpec"]


class EdgeSpec(Spec):
    """One directed link of a free graph, a table of `[[network.edges]]`."""

    src: Text = Field(alias="from")
    """Node that sends: `chip0`, or any name of a switch."""
    dst: Text = Field(alias="to")
    """Node that receives."""
    link_bytes_per_s: BytesPerSecond = Field(alias="bandwidth")
    """Rate of the link."""
    link_latency_ps: PositivePicoseconds = Field(alias="latency")
    """Time of the hop."""
    weight: int = Field(default=1, strict=True, ge=1, le=1_000_000)
    """Cost of the link for shortest routes: a path of the least sum is taken. 1 counts hops."""


class RouteSpec(Spec):
    """The path from one chip to another, a table of `[[network.routes]]`."""

    path: tuple[Text, ...] = Field(min_length=2)
    """Nodes that a message passes, both ends included."""


class TopologySpec(Spec):
    """How the chips of a system are joined, table `[network]`."""

    topology: Text
    """Name of a layout of `archsim.network`; `none` for a single chip."""
    shape: tuple[Count, ...] = ()
    """Chips along each axis of a torus or mesh; what the layout asks for otherwise."""
    link_bytes_per_s: BytesPerSecond = Field(alias="link_bandwidth", default=0)
    """Per direction: of a chip's port to the switch, else of one link. 0 only where there is no link."""
    link_latency_ps: PositivePicoseconds = Field(alias="link_latency", default=0)
    """Per hop. 0 only where there is no link."""
    routing: Text | None = None
    """How messages find their way: a key of `archsim.network.routing.ROUTINGS`; by default that of the topology."""
    reduces: bool = False
    """Whether the switches reduce and multicast in the network (SHARP, NVLS)."""
    outer_bytes_per_s: BytesPerSecond | None = Field(alias="outer_bandwidth", default=None)
    """Rate of outer links: scale-out ports, dragonfly global links, wafer stitches; by default that of a link."""
    outer_latency_ps: PositivePicoseconds | None = Field(alias="outer_latency", default=None)
    """Latency of outer links, given with their rate."""
    link_pj_per_bit: PicojoulesPerBit | None = Field(alias="link_energy", default=None)
    """Energy of a bit over one link, both ends; outer links included unless they have their own."""
    outer_pj_per_bit: PicojoulesPerBit | None = Field(alias="outer_energy", default=None)
    """Energy of a bit over one outer link."""
    edges: tuple[EdgeSpec, ...] = ()
    """The links of the topology `edges`, each one direction."""
    routes: tuple[RouteSpec, ...] = ()
    """Static table: paths that go before the routing."""
    failed: tuple[Text, ...] = ()
    """Chips and switches that are out of order: routes go around them, and spares take the place of chips."""
    landing: Literal["sram", "memory"] = "sram"
    """Where packets of a collective land: in on-chip buffers, or in main memory, from which they are read again."""

    @model_validator(mode="after")
    def _check_links(self) -> TopologySpec:
        known = (*LAYOUTS, "edges")
        if self.topology not in known:
            raise refusal("topology", self.topology, f"one of {', '.join(known)}{did_you_mean(self.topology, known)}")
        if (self.topology == "edges") != bool(self.edges):
            raise refusal("edges", len(self.edges), 'links for the topology "edges", and none for any other')
        ends = [(route.path[0], route.path[-1]) for route in self.routes]
        if twice := [pair for pair in ends if ends.count(pair) > 1]:
            raise refusal("routes", " -> ".join(twice[0]), "one path from one chip to another")
        if (self.outer_bytes_per_s is None) != (self.outer_latency_ps is None):
            raise refusal("outer_latency", "", "outer_bandwidth and outer_latency together, or neither")
        if self.topology in {"none", "edges"}:
            if self.link_bytes_per_s or self.link_latency_ps or self.shape:
                raise refusal("topology", self.topology, "no link_bandwidth, link_latency or shape beside it")
            return self
        if not self.link_bytes_per_s:
            raise refusal("link_bandwidth", "", 'the rate of a link, such as "450 GB/s"')
        if not self.link_latency_ps:
            raise refusal("link_latency", "", 'the time of one hop, such as "500 ns"')
        return self
