"""Wiring: which node is joined to which, what can be reached, and the neighbours on ways of least weight.

Plain dictionaries, because a graph of half a million wires has to fit beside everything else: a node costs two of
them, a link two entries. Ways of least weight are Dijkstra's (Numerische Mathematik 1, 1959), backwards from the
destination, and all neighbours on one of equal ways are kept.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Iterable, Sequence
from typing import Protocol

__all__ = ["Wiring"]


class _Ends(Protocol):
    """What is asked of a directed link."""

    @property
    def src(self) -> str: ...
    @property
    def dst(self) -> str: ...
    @property
    def weight(self) -> float: ...


class Wiring:
    """The neighbours of every node, by the indices of the links to them."""

    def __init__(self, nodes: Iterable[str], links: Sequence[_Ends]) -> None:
        self._links = links
        self.after: dict[str, dict[str, int]] = {node: {} for node in nodes}
        """Node -> neighbour -> link to it."""
        self.before: dict[str, dict[str, int]] = {node: {} for node in self.after}
        """Node -> neighbour -> link from it."""
        self.repeated: int | None = None
        """The first link that joins the ends of one before it."""
        for index, link in enumerate(links):
            for node in (link.src, link.dst):
                if node not in self.after:
                    self.after[node], self.before[node] = {}, {}
            if link.dst in self.after[link.src] and self.repeated is None:
                self.repeated = index
            self.after[link.src][link.dst] = self.before[link.dst][link.src] = index

    def cut(self, node: str) -> None:
        """Take all links of *node* away."""
        for other in self.after[node]:
            del self.before[other][node]
        for other in self.before[node]:
            del self.after[other][node]
        self.after[node], self.before[node] = {}, {}

    def reached(self, first: str, *, forth: bool) -> set[str]:
        """Return the nodes that *first* has a path to, or where it is not *forth*, those that have one to it."""
        near = self.after if forth else self.before
        found, waiting = {first}, [first]
        while waiting:
            for node in near[waiting.pop()]:
                if node not in found:
                    found.add(node)
                    waiting.append(node)
        return found

    def next_hops_to(self, dst: str) -> dict[str, list[str]]:
        """Return node -> its neighbours on paths of least weight to *dst*, in the order of the links."""
        hops: dict[str, list[str]] = {dst: []}
        done: set[str] = set()
        least: dict[str, float] = {dst: 0}
        number = itertools.count(1)
        waiting: list[tuple[float, int, str]] = [(0, 0, dst)]
        while waiting:
            weight, _, node = heapq.heappop(waiting)
            if node in done:
                continue
            done.add(node)
            for other, index in self.before[node].items():
                there = weight + self._links[index].weight
                if other not in least or (there < least[other] and other not in done):
                    least[other] = there
                    heapq.heappush(waiting, (there, next(number), other))
                    hops[other] = [node]
                elif there == least[other]:
                    hops[other].append(node)
        return {node: sorted(ways, key=self.after[node].__getitem__) for node, ways in hops.items()}
