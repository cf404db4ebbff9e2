"""Algorithms that need to know the network: reduction inside switches, and hierarchies of nodes.

In-network (SHARP: Graham et al., COMHPC 2016; NVLS is the same inside an NVSwitch): every rank sends its tensor up a
tree of reducing switches and receives the result down the same tree; a switch reduces and multicasts as bytes pass, so
that each link of the tree carries the tensor once, up and down at the same time, one tree latency apart.

Hierarchical: reduce-scatter inside the node, all-reduce of the shards between nodes, all-gather inside the node.

By axes of a torus: see `torus`; chips that fill no box of closed lines take a ring.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from archsim.network.schedules import ALGORITHMS, Message, Schedule, Step
from archsim.network.topology import Network
from archsim.network.torus import closed_box, torus_all_gather, torus_all_reduce, torus_reduce_scatter

__all__ = ["SPECIAL", "node_size", "reduction_root"]

Fits = Callable[[Network, int], bool]
Scheduler = Callable[[Network, Sequence[int], int], Schedule]


def reduction_root(network: Network, members: Sequence[int]) -> str | None:
    """Return the reducing switch nearest to all *members* whose paths to them pass reducing switches only."""
    reducing = set(network.reducing_switches)
    best: tuple[int, str] | None = None
    for switch in network.reducing_switches:
        routes = [network.route(switch, network.endpoints[member]) for member in members]
        inner = {network.links[link].src for route in routes for link in route}
        hops = sum(map(len, routes))
        if inner <= reducing and (best is None or hops < best[0]):
            best = (hops, switch)
    return best[1] if best else None


def _can_reduce(network: Network, ranks: int) -> bool:
    return ranks > 1 and reduction_root(network, range(ranks)) is not None


def in_network_all_reduce(network: Network, members: Sequence[int], size: int) -> Schedule:
    """One step: the tensor on every link of the reduction tree, in both directions."""
    root = reduction_root(network, members) or ""
    up, down = set(), set()
    depth = 0
    for member in members:
        chip = network.endpoints[member]
        up |= set(network.route(chip, root))
        down |= set(network.route(root, chip))
        depth = max(depth, network.latency_ps(network.route(chip, root)))
    messages = []
    for index in sorted(up | down):
        link = network.links[index]
        wait_ps = depth + network.latency_ps(network.route(root, link.src)) if index in down else 0
        messages.append(Message(link.src, link.dst, size, wait_ps))
    return (Step(tuple(messages)),)


def node_size(network: Network, ranks: int) -> int:
    """Return how many of *ranks* share a node; 0 where the network has no nodes or they do not divide."""
    size = network.layout.node_chips
    return size if size and ranks % size == 0 else 0


def _has_nodes(network: Network, ranks: int) -> bool:
    size = node_size(network, ranks)
    return 1 < size < ranks


def hierarchical_all_reduce(network: Network, members: Sequence[int], size: int) -> Schedule:
    """Reduce-scatter in the node, ring all-reduce between equal places of the nodes, all-gather in the node."""
    inside = node_size(network, len(members))
    nodes = len(members) // inside
    shard = -(-size // inside)
    piece = -(-shard // nodes)
    local = tuple(
        Message(n * inside + r, n * inside + (r + k) % inside, shard)
        for n in range(nodes)
        for k in range(1, inside)
        for r in range(inside)
    )
    across = tuple(
        Message(n * inside + r, (n + 1) % nodes * inside + r, piece) for n in range(nodes) for r in range(inside)
    )
    return (Step(local), Step(across, 2 * (nodes - 1)), Step(local))


def _is_torus(network: Network, ranks: int) -> bool:
    return ranks > 1 and network.layout.wraps


def _by_axes(kind: str, schedule: Scheduler) -> Scheduler:
    def schedule_of(network: Network, members: Sequence[int], size: int) -> Schedule:
        if closed_box(network, members):
            return schedule(network, members, size)
        return ALGORITHMS[kind]["ring"](len(members), size)

    return schedule_of


SPECIAL: dict[str, dict[str, tuple[Fits, Scheduler]]] = {
    "all_reduce": {
        "in_network": (_can_reduce, in_network_all_reduce),
        "hierarchical": (_has_nodes, hierarchical_all_reduce),
        "torus": (_is_torus, _by_axes("all_reduce", torus_all_reduce)),
    },
    "all_gather": {"torus": (_is_torus, _by_axes("all_gather", torus_all_gather))},
    "reduce_scatter": {"torus": (_is_torus, _by_axes("reduce_scatter", torus_reduce_scatter))},
}
"""Collective -> algorithm -> (whether a network can run it over the first N ranks, its schedule)."""
