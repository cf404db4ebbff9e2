"""Routings: which nodes a message passes, as functions of one signature chosen by one visible dict.

Every routing is deterministic: the same pair always takes the same path, so that a run repeats to the byte. A routing
returns node names; `topology.Network.route` turns them into links and refuses a path over a link that is not there.

Shortest paths are Dijkstra's over the links' weights; of equal paths the one whose first differing link stands first.
ECMP spreads pairs over the equal paths by a fixed hash of the pair, as switches hash a flow's header (RFC 2992).
D-mod-k: Zahavi et al., "Optimized InfiniBand fat-tree routing", 2010. Minimal dragonfly: Kim et al., ISCA 2008.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from archsim.network.layouts import dragonfly_router, dragonfly_shape

if TYPE_CHECKING:
    from archsim.network.topology import Network

__all__ = ["ROUTINGS", "Routing"]

Routing = Callable[["Network", str, str], list[str]]


def shortest(network: Network, src: str, dst: str) -> list[str]:
    """The path of least weight; ties go to the link that stands first."""
    path = [src]
    while path[-1] != dst:
        path.append(network.next_hops(path[-1], dst)[0])
    return path


def ecmp(network: Network, src: str, dst: str) -> list[str]:
    """One of the paths of least weight, by a fixed hash of the pair and the hop."""
    seed = _mixed(network.order[src] * 0x1_0000_0001 + network.order[dst])
    path = [src]
    while path[-1] != dst:
        hops = network.next_hops(path[-1], dst)
        seed = _mixed(seed)
        path.append(hops[seed % len(hops)])
    return path


def dimension_order(network: Network, src: str, dst: str) -> list[str]:
    """All hops of the first dimension, then of the next; on a closed line the short way, ties upwards."""
    layout, chips = network.layout, network.endpoints
    at, to = _chip(src), _chip(dst)
    path, stride = [src], 1
    for extent in layout.shape:
        place = at // stride % extent
        distance = to // stride % extent - place
        if layout.wraps and extent > 2:
            up = distance % extent
            distance = up if 2 * up <= extent else up - extent
        step = 1 if distance > 0 else -1
        line = at - place * stride
        for hop in range(1, abs(distance) + 1):
            at = line + (place + step * hop) % extent * stride
            path.append(chips[at])
        stride *= extent
    return path


def d_mod_k(network: Network, src: str, dst: str) -> list[str]:
    """Up by the digits of the destination, down the only way: traffic to one chip meets on one path."""
    half = network.layout.shape[0] // 2
    source, target = _chip(src), _chip(dst)
    source_edge, target_edge = source // half, target // half
    if source == target:
        return [src]
    if source_edge == target_edge:
        return [src, _edge(source_edge, half), dst]
    agg = target % half
    source_pod, target_pod = source // half**2, target // half**2
    up = [src, _edge(source_edge, half), f"agg{source_pod}_{agg}"]
    down = [_edge(target_edge, half), dst]
    if source_pod == target_pod:
        return up + down
    core = agg * half + target // half % half
    return [*up, f"core{core}", f"agg{target_pod}_{agg}", *down]


def minimal_dragonfly(network: Network, src: str, dst: str) -> list[str]:
    """Inside the group to the router with the global link, over it, inside the group to the destination."""
    shape = network.layout.shape
    a, p, h, g = dragonfly_shape(shape)
    group, router = _place(_chip(src), a, max(p, 1))
    target_group, target_router = _place(_chip(dst), a, max(p, 1))
    path = [src, dragonfly_router(shape, group, router)]
    if group != target_group:
        leave = ((target_group - group - 1) % g) // h
        enter = ((group - target_group - 1) % g) // h
        path += [dragonfly_router(shape, group, leave), dragonfly_router(shape, target_group, enter)]
    path += [dragonfly_router(shape, target_group, target_router), dst]
    return [node for i, node in enumerate(path) if i == 0 or node != path[i - 1]] if src != dst else [src]


def _place(chip: int, routers: int, chips: int) -> tuple[int, int]:
    return chip // (routers * chips), chip // chips % routers


def _chip(node: str) -> int:
    return int(node.removeprefix("chip"))


def _edge(number: int, half: int) -> str:
    return f"edge{number // half}_{number % half}"


def _mixed(value: int) -> int:
    value = (value + 0x9E3779B97F4A7C15) & 0xFFFFFFFFFFFFFFFF
    value = ((value ^ (value >> 30)) * 0xBF58476D1CE4E5B9) & 0xFFFFFFFFFFFFFFFF
    value = ((value ^ (value >> 27)) * 0x94D049BB133111EB) & 0xFFFFFFFFFFFFFFFF
    return value ^ (value >> 31)


ROUTINGS: dict[str, Routing] = {
    "shortest": shortest,
    "ecmp": ecmp,
    "dimension_order": dimension_order,
    "d_mod_k": d_mod_k,
    "minimal_dragonfly": minimal_dragonfly,
}
"""Routing name -> function. Static tables (`NetworkOptions.routes`) go before any of them."""
