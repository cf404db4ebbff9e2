"""The network: endpoints, switches, directed links and the route between any two nodes.

A `Network` is immutable once built. It knows rates and routes, not traffic: flows are
solved in `flows`, collectives in `collectives`. A full-duplex wire is two links; a link's latency is that of one hop.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

from archsim.errors import InputError, Problem, did_you_mean
from archsim.network.layouts import LAYOUTS, Layout, Wire
from archsim.network.routing import ROUTINGS
from archsim.network.wiring import Wiring

if TYPE_CHECKING:
    import networkx as nx

    from archsim.network.folding import Fold

__all__ = ["Edge", "Link", "Network", "NetworkOptions", "build_network"]


@dataclass(frozen=True, slots=True)
class Link:
    """One direction of a wire."""

    name: str
    """Scope of the link in ledgers and logs: `link.chip0-switch0`."""
    src: str
    dst: str
    bytes_per_s: int
    latency_ps: int
    weight: float = 1
    """Cost of the link for shortest routes; bandwidth is shared without regard to it."""


class Edge(NamedTuple):
    """A directed link of the free edge list."""

    src: str
    dst: str
    bytes_per_s: int
    latency_ps: int
    weight: float = 1


@dataclass(frozen=True, slots=True)
class NetworkOptions:
    """What a topology may have beyond its shape and its links' rate."""

    routing: str | None = None
    """A key of `routing.ROUTINGS`; None takes the one that belongs to the topology."""
    reduces: bool = False
    """Whether the switches reduce and multicast in the network (SHARP, NVLS)."""
    outer_bytes_per_s: int = 0
    """Rate of tier-1 wires: scale-out ports, dragonfly global links, wafer stitches. 0 takes the links' rate."""
    outer_latency_ps: int = 0
    """Latency of tier-1 wires where `outer_bytes_per_s` is given."""
    edges: tuple[Edge, ...] = ()
    """The links of the topology `edges`."""
    routes: Mapping[tuple[str, str], tuple[str, ...]] = field(default_factory=lambda: MappingProxyType({}))
    """Static table: (source, destination) -> nodes of the path, both ends included."""
    failed: tuple[str, ...] = ()
    """Nodes out of order: no route passes them. A pair whose own route would takes the shortest of what is left."""


class Network:
    """A graph of directed links among *endpoints* and switches.

    Immutable by convention; equal arguments build equal networks, whose `identity` compares equal.
    """

    def __init__(
        self, links: Sequence[Link], *, chips: int, layout: Layout, options: NetworkOptions, title: str
    ) -> None:
        self.links: tuple[Link, ...] = tuple(links)
        self.endpoints: tuple[str, ...] = tuple(f"chip{i}" for i in range(chips))
        self.layout = layout
        self.options = options
        self.title = title
        self._wiring = Wiring(self.endpoints, self.links)
        self.order: dict[str, int] = {node: i for i, node in enumerate(self._wiring.after)}
        if self._wiring.repeated is not None:
            name = self.links[self._wiring.repeated].name
            raise InputError(Problem("", "network.edges", name, "at most one link from one node to another"))
        for node in options.failed:
            if node not in self.order:
                expected = f"a chip or a switch of {title}{did_you_mean(node, self.order)}"
                raise InputError(Problem("", "network.failed", node, expected))
        self._chips = frozenset(self.endpoints)
        self._toward: dict[str, dict[str, list[str]]] = {}
        self._routes: dict[tuple[int | str, int | str], tuple[int, ...]] = {}
        self.folds: dict[tuple[tuple[int | str, int | str], ...], Fold | None] = {}
        """What `folding` has found out about exchanges, by their pairs."""
        self._failed = frozenset(options.failed)
        for node in self._failed:
            self._wiring.cut(node)
        self._refuse_disconnected()
        for ends in options.routes:
            self.route(*ends)

    @cached_property
    def graph(self) -> nx.DiGraph[str]:
        """The nodes and the links in order, with their `index` and `weight`, for whoever draws or examines them."""
        import networkx as nx  # noqa: PLC0415 - 120 ms that only they should pay

        graph: nx.DiGraph[str] = nx.DiGraph()
        graph.add_nodes_from(self._wiring.after)
        for src, hops in self._wiring.after.items():
            for dst, index in hops.items():
                graph.add_edge(src, dst, index=index, weight=self.links[index].weight)
        return graph

    @cached_property
    def identity(self) -> tuple[object, ...]:
        """What distinguishes this network from another: its links, shape and routing, hashable."""
        table = tuple(sorted(self.options.routes.items()))
        options = self.options
        return (self.links, self.endpoints, self.layout, self.routing, options.reduces, table, options.failed)

    @property
    def routing(self) -> str:
        """Name of the routing in force."""
        return self.options.routing or self.layout.routing

    @property
    def reducing_switches(self) -> tuple[str, ...]:
        """The switches that can reduce and multicast; empty where none can."""
        return self.layout.switches if self.options.reduces else ()

    def route(self, src: int | str, dst: int | str) -> tuple[int, ...]:
        """Return the indices into `links` that a message from *src* to *dst* passes, in order.

        Nodes are names or ranks. Empty for a node to itself. Raises `InputError` for an unknown node, an
        unreachable pair or a path over a missing link.
        """
        known = self._routes.get((src, dst))
        if known is None:
            known = self._routes[src, dst] = self.route_once(src, dst)
        return known

    def route_once(self, src: int | str, dst: int | str) -> tuple[int, ...]:
        """Return `route` of a pair that nobody will ask for again: it is worked out and not kept."""
        start, end = self._node(src), self._node(dst)
        return self._over_one_switch(start, end) or self._links_on(self._path(start, end))

    def latency_ps(self, route: Sequence[int]) -> int:
        """Return the sum of the hops' latencies on *route*."""
        return sum(self.links[index].latency_ps for index in route)

    def next_hops(self, node: str, dst: str) -> list[str]:
        """Return the neighbours of *node* on a path of least weight to *dst*, in the order of the links."""
        # What has one way in is reached as the node before it, and a switch is before thousands of chips.
        ways_in = self._wiring.before[dst]
        if len(ways_in) == 1 and node in ways_in:
            return [dst]
        last = next(iter(ways_in)) if len(ways_in) == 1 else dst
        toward = self._toward.get(last)
        if toward is None:
            toward = self._toward[last] = self._wiring.next_hops_to(last)
        if node not in toward:
            raise self._unreachable(node, dst)
        return toward[node]

    def _node(self, node: int | str) -> str:
        if isinstance(node, int):
            if not 0 <= node < len(self.endpoints):
                expected = f"a rank from 0 to {len(self.endpoints) - 1}: the network has {len(self.endpoints)} chips"
                raise InputError(Problem("", "network.rank", str(node), expected))
            return self.endpoints[node]
        if node not in self.order:
            raise InputError(
                Problem("", "network.node", node, f"a node of the network{did_you_mean(node, self.order)}")
            )
        return node

    def _path(self, src: str, dst: str) -> Sequence[str]:
        if src == dst:
            return [src]
        if (src, dst) in self.options.routes:
            path: Sequence[str] = self.options.routes[src, dst]
        else:
            ends = {src, dst} <= self._chips
            path = ROUTINGS[self.routing if ends else "shortest"](self, src, dst)
        if self._failed.isdisjoint(path):
            return path
        return ROUTINGS["shortest"](self, src, dst)

    def _over_one_switch(self, src: str, dst: str) -> tuple[int, ...]:
        """Return the only route of two ends whose one port leads to one switch; empty for others."""
        ways_out, ways_in = self._wiring.after[src], self._wiring.before[dst]
        if len(ways_out) != 1 or ways_out.keys() != ways_in.keys() or src == dst or self.options.routes:
            return ()
        return (*ways_out.values(), *ways_in.values())

    def _links_on(self, path: Sequence[str]) -> tuple[int, ...]:
        after = self._wiring.after
        try:
            return tuple([after[src][dst] for src, dst in itertools.pairwise(path)])
        except KeyError:
            src, dst = next((src, dst) for src, dst in itertools.pairwise(path) if dst not in after.get(src, ()))
            shown = " -> ".join(path)
            expected = f"links that exist; there is none {src} -> {dst}"
            raise InputError(Problem("", "network.routes", shown, expected)) from None

    def _refuse_disconnected(self) -> None:
        alive = [chip for chip in self.endpoints if chip not in self._failed]
        if not alive:
            raise InputError(Problem("", "network.failed", ", ".join(self.options.failed), "a chip that is in order"))
        first = alive[0]
        for forth in (True, False):
            reached = self._wiring.reached(first, forth=forth)
            lost = [chip for chip in alive[1:] if chip not in reached]
            if lost:
                raise self._unreachable(*((first, lost[0]) if forth else (lost[0], first)), lost=len(lost))

    def _unreachable(self, src: str, dst: str, *, lost: int = 1) -> InputError:
        expected = (
            f"a path of links; {lost} of {len(self.endpoints)} chips cannot be reached over {len(self.links)} links"
        )
        return InputError(Problem("", "network.topology", f"{src} -> {dst}", expected))


def build_network(
    topology: str,
    chips: int,
    *,
    link_bytes_per_s: int,
    link_latency_ps: int,
    shape: tuple[int, ...] = (),
    options: NetworkOptions | None = None,
) -> Network:
    """Return the network of *chips* endpoints in the named *topology*.

    *link_bytes_per_s* is the rate of one direction of one link: a chip's port to a switch, one wire of a mesh, ring
    or torus. *link_latency_ps* is that of one hop. *topology* is a key of `layouts.LAYOUTS`, or `edges` for the free
    list in *options*. Raises `InputError` with every problem found.
    """
    options = options or NetworkOptions()
    _check(topology, chips, link_bytes_per_s, link_latency_ps, options)
    if topology == "edges":
        layout = _layout_of(options.edges, chips)
        links = [Link(f"link.{e.src}-{e.dst}", *e) for e in options.edges]
    else:
        layout = LAYOUTS[topology](chips, shape)
        inner = (link_bytes_per_s, link_latency_ps)
        outer = (options.outer_bytes_per_s, options.outer_latency_ps) if options.outer_bytes_per_s else inner
        links = [link for wire in layout.wires for link in _both_ways(wire, outer if wire.tier else inner)]
    _check_routing(options.routing, layout)
    extents = "x".join(str(extent) for extent in shape)
    title = f"{topology} {extents}".strip() + f" of {chips}"
    return Network(links, chips=chips, layout=layout, options=options, title=title)


def _both_ways(wire: Wire, rate: tuple[int, int]) -> list[Link]:
    return [
        Link(f"link.{src}-{dst}", src, dst, *rate, wire.weight) for src, dst in ((wire.a, wire.b), (wire.b, wire.a))
    ]


def _layout_of(edges: Sequence[Edge], chips: int) -> Layout:
    endpoints = {f"chip{i}" for i in range(chips)}
    nodes = dict.fromkeys(node for edge in edges for node in (edge.src, edge.dst))
    return Layout((), "shortest", tuple(node for node in nodes if node not in endpoints))


def _check(topology: str, chips: int, link_bytes_per_s: int, link_latency_ps: int, options: NetworkOptions) -> None:
    problems = []
    known = [*LAYOUTS, "edges"]
    if topology not in known:
        expected = f"one of {', '.join(known)}{did_you_mean(topology, known)}"
        problems.append(Problem("", "network.topology", topology, expected))
    if chips < 1:
        problems.append(Problem("", "chips", str(chips), "at least one chip"))
    if topology not in ("none", "edges"):
        problems += _check_rate("network.link_bandwidth", link_bytes_per_s, link_latency_ps)
        if options.outer_bytes_per_s:
            problems += _check_rate("network.outer_bandwidth", options.outer_bytes_per_s, options.outer_latency_ps)
    for edge in options.edges:
        problems += _check_rate(f"network.edges.{edge.src}-{edge.dst}", edge.bytes_per_s, edge.latency_ps)
    if problems:
        raise InputError(*problems)


def _check_rate(key: str, bytes_per_s: int, latency_ps: int) -> list[Problem]:
    problems = []
    if bytes_per_s <= 0:
        problems.append(Problem("", key, str(bytes_per_s), "a positive bandwidth in bytes/s"))
    if latency_ps < 0:
        problems.append(Problem("", key, str(latency_ps), "a latency that is not negative, in ps"))
    return problems


def _check_routing(routing: str | None, layout: Layout) -> None:
    allowed = tuple(dict.fromkeys(("shortest", "ecmp", layout.routing)))
    if routing is not None and routing not in allowed:
        expected = f"a routing of this topology: {', '.join(allowed)}{did_you_mean(routing, allowed)}"
        raise InputError(Problem("", "network.routing", routing, expected))
