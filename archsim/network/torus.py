"""Collectives that follow the axes of a torus: rings along each axis, both ways at once, all axes at the same time.

The shards of N ranks on a box of e_1 x ... x e_D chips with closed lines are gathered axis by axis; a ring of e passes
them on both ways in floor(e / 2) steps (the last one of an even ring sends half of a shard each way). The tensor is cut
into D parts, each of which begins with another axis, so that every link of the box carries (N - 1) / N of the tensor
over 2 D in each direction: the all-gather of Chan et al. 2007 (Concurrency and Computation 19), as TPU pods run it
(Pope et al. 2022, arXiv 2211.05102, appendix A.1). A reduce-scatter is the same backwards, an all-reduce both.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence

from archsim.network.layouts import grid_position
from archsim.network.schedules import Message, Schedule, Step
from archsim.network.topology import Network

__all__ = ["closed_box", "torus_all_gather", "torus_all_reduce", "torus_reduce_scatter"]

_Box = tuple[tuple[tuple[int, ...], ...], ...]
"""For each axis its lines: places in the list of ranks, in order along the line."""


def closed_box(network: Network, members: Sequence[int]) -> _Box:
    """Return the lines of the box of whole, closed lines that *members* fill; nothing where they do not."""
    shape = network.layout.shape
    if not network.layout.wraps or math.prod(shape) != len(network.endpoints) or len(members) < 2:
        return ()
    places = {grid_position(chip, shape): place for place, chip in enumerate(members)}
    sides = [sorted({position[axis] for position in places}) for axis in range(len(shape))]
    axes = [axis for axis, side in enumerate(sides) if len(side) > 1]
    if math.prod(map(len, sides)) != len(members) or any(len(sides[axis]) != shape[axis] for axis in axes):
        return ()
    return tuple(
        tuple(
            tuple(places[(*start[:axis], step, *start[axis + 1 :])] for step in range(shape[axis]))
            for start in places
            if start[axis] == 0
        )
        for axis in axes
    )


def torus_all_gather(network: Network, members: Sequence[int], size: int) -> Schedule:
    """Gather *size* bytes over the box of *members*: sum of floor(e / 2) steps."""
    box = closed_box(network, members)
    shard = -(-size // (len(members) * len(box)))
    return tuple(step for phase in range(len(box)) for step in _phase(box, phase, shard))


def torus_reduce_scatter(network: Network, members: Sequence[int], size: int) -> Schedule:
    """Reduce and scatter *size* bytes over the box of *members*: the all-gather backwards."""
    return tuple(reversed(torus_all_gather(network, members, size)))


def torus_all_reduce(network: Network, members: Sequence[int], size: int) -> Schedule:
    """Reduce-scatter, then all-gather."""
    gather = torus_all_gather(network, members, size)
    return (*reversed(gather), *gather)


def _phase(box: _Box, phase: int, shard: int) -> Iterator[Step]:
    """Yield the steps in which each part of the tensor moves along its *phase*-th axis."""
    lines = [box[(part + phase) % len(box)] for part in range(len(box))]
    done = [math.prod(len(box[(part + k) % len(box)][0]) for k in range(phase)) for part in range(len(box))]
    extents = [len(of_part[0]) for of_part in lines]
    halves = [extent // 2 for extent in extents]
    # Between these numbers of steps all are alike.
    borders = sorted({0, *halves, *(half - 1 for half, extent in zip(halves, extents, strict=True) if extent % 2 == 0)})
    for number, after in itertools.pairwise(borders):
        messages = [
            message
            for part, held in zip(lines, done, strict=True)
            for line in part
            for message in _ring_step(line, number, held * shard)
        ]
        yield Step(tuple(messages), after - number)


def _ring_step(line: tuple[int, ...], number: int, size: int) -> Iterator[Message]:
    extent = len(line)
    if number >= extent // 2:
        return
    last_of_even = extent % 2 == 0 and number == extent // 2 - 1
    part = -(-size // 2) if last_of_even else size
    for place, rank in enumerate(line):
        if extent == 2:
            yield Message(rank, line[1 - place], size)
            continue
        yield Message(rank, line[(place + 1) % extent], part)
        yield Message(rank, line[place - 1], part)
