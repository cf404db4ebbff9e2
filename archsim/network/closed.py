"""Schedules that need no solver: closed forms of a step, and of a schedule whose messages share no link.

In `step_times` messages share no link, or all are alike and each passes a link that is as crowded as any: the first
level of the filling is then that of all of them. A message takes its wait, its path's latency, and its bytes at its
rate.

In `makespan` every link serves one pair of chips, as in a ring over nodes. Its instants are max-plus linear in those of
the step before: what is done at a chip is the latest of what it took part in. So where one repetition has moved every
chip by the same time, all further ones move them by that time again, and a ring of ten thousand chips needs a hundred
repetitions instead of twenty thousand. Instants are integers of a power of two of a second, so "the same" is `==`.
"""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from archsim.network.schedules import Message, Schedule, Step
from archsim.network.topology import Network

if TYPE_CHECKING:
    import numpy as np

__all__ = ["ends_of", "makespan", "step_times"]

_BITS = 61
"""The last instant has so many bits at most: repeated roundings of a message's time stay below 1e-13 of it."""


class _Timed(NamedTuple):
    """One step as columns: places of sources, destinations and pairs, and the time of each message."""

    src: np.ndarray[Any, np.dtype[np.int64]]
    dst: np.ndarray[Any, np.dtype[np.int64]]
    pair: np.ndarray[Any, np.dtype[np.int64]]
    taken: np.ndarray[Any, np.dtype[np.int64]]
    repeats: int


def ends_of(members: Sequence[int], message: Message) -> tuple[int | str, int | str]:
    """Return the chips, or names of nodes, between which *message* passes."""
    src, dst = message.src, message.dst
    return (members[src] if isinstance(src, int) else src, members[dst] if isinstance(dst, int) else dst)


def step_times(network: Network, members: Sequence[int], step: Step, software_ps: int) -> list[float] | None:
    """Return the seconds of each message of *step*, or None where they take a solver."""
    routes = [network.route(*ends_of(members, message)) for message in step.messages]
    crowd = Counter(itertools.chain.from_iterable(routes))
    pairs = zip(routes, step.messages, strict=True)
    if len(crowd) == sum(map(len, routes)):
        return [_own_time(network, route, message, software_ps) for route, message in pairs]
    share = {link: network.links[link].bytes_per_s / flows for link, flows in crowd.items()}
    least = min(share.values())
    alike = {(message.bytes, message.wait_ps, network.latency_ps(route)) for route, message in pairs}
    if len(alike) > 1 or any(min(map(share.__getitem__, route), default=0.0) != least for route in routes):
        return None
    ((size, wait_ps, latency_ps),) = alike
    return [(software_ps + wait_ps) * 1e-12 + latency_ps * 1e-12 + size / least] * len(routes)


def makespan(network: Network, members: Sequence[int], schedule: Schedule, software_ps: int) -> float | None:
    """Return the seconds of *schedule* where no link serves two pairs and no pair's messages overlap; else None."""
    apart = _apart(network, members, schedule, software_ps)
    if apart is None:
        return None
    import numpy as np  # noqa: PLC0415 - 100 ms that a command without such a schedule must not pay

    longest = math.fsum(
        step.repeats * max(seconds, default=0.0) for step, (_, seconds) in zip(schedule, apart, strict=True)
    )
    unit = 2.0 ** (_BITS - math.frexp(longest)[1])
    nodes: dict[int | str, int] = {}
    pairs: dict[tuple[int | str, int | str], int] = {}
    steps = []
    for step, (ends, seconds) in zip(schedule, apart, strict=True):
        src, dst = (np.array([nodes.setdefault(pair[end], len(nodes)) for pair in ends], np.int64) for end in (0, 1))
        pair = np.array([pairs.setdefault(each, len(pairs)) for each in ends], np.int64)
        steps.append(_Timed(src, dst, pair, np.rint(np.array(seconds) * unit).astype(np.int64), step.repeats))
    done, finish = np.zeros(len(nodes), np.int64), np.zeros(len(pairs), np.int64)
    if not all(_repeat(step, done, finish) for step in steps):
        return None
    return int(finish.max(initial=0)) / unit


def _repeat(step: _Timed, done: Any, finish: Any) -> bool:
    """Move *done* of chips and *finish* of pairs over all repetitions; False where a pair's messages overlap."""
    import numpy as np  # noqa: PLC0415 - as above

    taking_part = np.unique(np.concatenate([step.src, step.dst]))
    for number in range(step.repeats):
        ready = done[step.src]
        if (ready < finish[step.pair]).any():
            return False
        ends = ready + step.taken
        after = np.zeros_like(done)
        np.maximum.at(after, step.src, ends)
        np.maximum.at(after, step.dst, ends)
        moved = np.concatenate([after[taking_part] - done[taking_part], ends - finish[step.pair]])
        done[taking_part] = after[taking_part]
        finish[step.pair] = ends
        if moved.size and (moved == moved[0]).all():
            rest = int(moved[0]) * (step.repeats - 1 - number)
            done[taking_part] += rest
            finish[step.pair] += rest
            break
    return True


def _apart(
    network: Network, members: Sequence[int], schedule: Schedule, software_ps: int
) -> list[tuple[list[tuple[int | str, int | str]], list[float]]] | None:
    """Return for each step its pairs and their seconds, or None where a link serves two pairs or a step one twice."""
    owner: dict[int, tuple[int | str, int | str]] = {}
    steps = []
    for step in schedule:
        ends = [(message.src, message.dst) for message in step.messages]
        if len(set(ends)) < len(ends):
            return None
        seconds = []
        for message, pair in zip(step.messages, ends, strict=True):
            route = network.route(*ends_of(members, message))
            if any(owner.setdefault(link, pair) != pair for link in route):
                return None
            seconds.append(_own_time(network, route, message, software_ps))
        steps.append((ends, seconds))
    return steps


def _own_time(network: Network, route: Sequence[int], message: Message, software_ps: int) -> float:
    rate = min((network.links[link].bytes_per_s for link in route), default=math.inf)
    wait_s = (software_ps + message.wait_ps) * 1e-12
    return wait_s + network.latency_ps(route) * 1e-12 + message.bytes / rate
