"""Replay an operator graph of one rank (`workload.chakra`) on a system: every node when what it needs is done.

A44: a node that states operations or bytes takes what the step floor takes for one kernel of them on one chip, reads
first or stores last; an exchange that states its bytes takes what the network floor takes among all chips. A node that
states neither takes its recorded time, on the host where it ran there. The chip runs one kernel at a time, the network
one exchange, the host one operation; each serves by the time at which nodes are ready, those of an instant in the order
of the file. Other ranks do the same at the same time.

The critical path is walked back from the end: every node started when the last of what it waited for ended, another
node's result or the engine. So the times along the path add up to the whole, engine by engine.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from dataclasses import dataclass

from archsim.errors import InputError, Problem
from archsim.hardware.parts import headline_dtype
from archsim.hardware.system import System
from archsim.mapping.plan import Plan, Segment, Task, Transfer
from archsim.step.simulate import simulate_step
from archsim.units import PS_PER_S
from archsim.workload.chakra import Graph, Node

__all__ = ["ENGINES", "GraphReplay", "replay_graph"]

ENGINES = ("chip", "network", "host")
"""What nodes run on."""

_PS_PER_US = PS_PER_S // 10**6
_BARRIER_BYTES = 8
_ON_NETWORK = {
    "all_reduce": "all_reduce", "all_gather": "all_gather", "all_to_all": "all_to_all", "broadcast": "broadcast",
    "reduce_scatter": "reduce_scatter", "reduce_scatter_block": "reduce_scatter",
    "reduce": "broadcast", "barrier": "all_reduce", "send": "send_receive", "receive": "send_receive",
}  # fmt: skip
"""Exchange of a trace -> collective of the network floor; a reduction to one is a broadcast the other way."""


@dataclass(frozen=True, slots=True)
class GraphReplay:
    """What a replay leaves; times in picoseconds."""

    makespan_ps: int
    busy_ps: dict[str, int]
    """By engine."""
    critical_ps: dict[str, int]
    """Time along the critical path, by engine; they add up to the makespan."""
    exposed_ps: int
    """Time in which the network works and the chip does not."""
    starts_ps: tuple[int, ...]
    """Of the nodes, in the order of the graph."""
    ends_ps: tuple[int, ...]
    modelled: int
    """Nodes that took what this system takes."""
    recorded: int
    """Nodes that took their recorded time."""


def replay_graph(graph: Graph, system: System, dtype: str | None = None) -> GraphReplay:
    """Return when the nodes of *graph* run on *system*, products in *dtype* (default: the engine's bf16 or fp16).

    Raises `InputError` for an exchange that the network floor does not know, or one chip has nobody for.
    """
    times = _Times(graph, system, dtype)
    lasts = [times.of(node) for node in graph.nodes]
    engines = [_engine(node) for node in graph.nodes]
    starts, ends, causes = _scheduled(graph, engines, [time for time, _ in lasts])
    makespan = max(ends)
    critical = dict.fromkeys(ENGINES, 0)
    at = ends.index(makespan)
    while at >= 0:
        critical[engines[at]] += ends[at] - starts[at]
        at = causes[at]
    busy = dict.fromkeys(ENGINES, 0)
    for engine, start, end in zip(engines, starts, ends, strict=True):
        busy[engine] += end - start
    spans: dict[str, list[tuple[int, int]]] = {engine: [] for engine in ENGINES}
    for at in sorted(range(len(starts)), key=starts.__getitem__):
        spans[engines[at]].append((starts[at], ends[at]))
    modelled = sum(known for _, known in lasts)
    return GraphReplay(
        makespan_ps=makespan,
        busy_ps=busy,
        critical_ps=critical,
        exposed_ps=_exposed(spans["network"], spans["chip"]),
        starts_ps=tuple(starts),
        ends_ps=tuple(ends),
        modelled=modelled,
        recorded=len(lasts) - modelled,
    )


def _engine(node: Node) -> str:
    if node.kind in {"collective", "send", "receive"} and node.bytes:
        return "network"
    return "host" if node.host and not (node.ops or node.bytes) else "chip"


class _Times:
    """How long nodes take, each kind and size asked once."""

    def __init__(self, graph: Graph, system: System, dtype: str | None) -> None:
        self._graph, self._system = graph, system
        self._dtype = headline_dtype(system.spec.chip.engine["matrix"]) if dtype is None else dtype
        self._memory = system.spec.chip.main_memory
        self._known: dict[tuple[str, str, int, int], int] = {}
        system.matrix_rate(self._dtype)

    def of(self, node: Node) -> tuple[int, bool]:
        """Return (time in ps, whether it is this system's)."""
        if node.kind == "nothing":
            return 0, True
        if not (node.ops or node.bytes) or (node.kind == "collective" and not node.collective):
            return node.duration_us * _PS_PER_US, False
        key = (node.kind, node.collective, node.ops, node.bytes)
        if key not in self._known:
            ask: Callable[[Node], int] = self._exchange if _engine(node) == "network" else self._kernel
            self._known[key] = ask(node)
        return self._known[key], True

    def _kernel(self, node: Node) -> int:
        write = node.kind == "store"
        moved = (
            (Transfer(self._memory, "activations", node.bytes, node.bytes, write, node.bytes),) if node.bytes else ()
        )
        task = Task(node.kind, moved, matrix_flops=node.ops, matrix_dtype=self._dtype)
        return simulate_step(Plan("decode", (Segment("kernel", (task,)),), ranks=1), self._system).time_ps

    def _exchange(self, node: Node) -> int:
        kind, chips = _ON_NETWORK.get(node.collective or node.kind), self._system.spec.working_chips
        if kind is None or len(chips) < 2:
            expected = f"one of {', '.join(_ON_NETWORK)} among at least two chips"
            place = f"node {node.id} ({node.name[:40]})"
            raise InputError(Problem(self._graph.name, place, node.collective or node.kind, expected))
        size = _BARRIER_BYTES if node.collective == "barrier" else node.bytes
        return self._system.collective(kind, size, chips[:2] if kind == "send_receive" else chips).duration_ps


def _scheduled(graph: Graph, engines: list[str], times: list[int]) -> tuple[list[int], list[int], list[int]]:
    """Return starts and ends of the nodes, and for each the node whose end let it start; -1: none."""
    place = {node.id: at for at, node in enumerate(graph.nodes)}
    waits: list[int] = []
    behind: list[list[int]] = [[] for _ in graph.nodes]
    for at, node in enumerate(graph.nodes):
        met = [place[other] for other in node.after if other in place]
        waits.append(len(met))
        for other in met:
            behind[other].append(at)
    starts, ends, causes = [0] * len(waits), [0] * len(waits), [-1] * len(waits)
    free = dict.fromkeys(ENGINES, (0, -1))
    ready = [(0, at) for at, count in enumerate(waits) if not count]
    heapq.heapify(ready)
    while ready:
        ready_ps, at = heapq.heappop(ready)
        free_ps, last = free[engines[at]]
        if free_ps > ready_ps:
            causes[at] = last
        starts[at] = max(ready_ps, free_ps)
        ends[at] = starts[at] + times[at]
        free[engines[at]] = (ends[at], at)
        for later in behind[at]:
            waits[later] -= 1
            # The last one done binds; of equals the one that was scheduled last.
            if causes[later] < 0 or ends[at] >= ends[causes[later]]:
                causes[later] = at
            if not waits[later]:
                heapq.heappush(ready, (ends[causes[later]], later))
    return starts, ends, causes


def _exposed(network: list[tuple[int, int]], chip: list[tuple[int, int]]) -> int:
    """Return the time in which an interval of *network* runs and none of *chip*; each in order, without overlap."""
    exposed, place = 0, 0
    for start, end in network:
        hidden = 0
        while place < len(chip) and chip[place][1] <= start:
            place += 1
        at = place
        while at < len(chip) and chip[at][0] < end:
            hidden += min(end, chip[at][1]) - max(start, chip[at][0])
            at += 1
        exposed += end - start - hidden
    return exposed
