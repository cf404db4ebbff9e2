"""How a collective's time grows with its size: every algorithm, the fastest, and where the fastest changes."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from archsim.errors import InputError, Problem
from archsim.network.collectives import candidates, collective_facts
from archsim.network.implementations import implementation_names, load_implementation
from archsim.network.schedules import Schedule, messages_between_all
from archsim.network.timing import (
    CollectiveFacts,
    algorithms_for,
    empty,
    rank_nodes,
    schedule_of,
    schedule_seconds,
    solved_messages,
    timed_facts,
)
from archsim.network.topology import Network

__all__ = ["Crossing", "Curve", "Point", "bus_bytes_per_s", "measured_libraries", "message_curve", "sizes_between"]

_MOST_MESSAGES = 10_000
"""A schedule of more to solve at once takes minutes to time at every size: from each of many chips to each, or many
steps that overlap."""
_MOST_MADE = 10 * _MOST_MESSAGES
_MOST_SIZES = 64


@dataclass(frozen=True, slots=True)
class Point:
    """All algorithms and libraries at one size."""

    bytes: int
    fastest: CollectiveFacts
    """The facts of the fastest algorithm."""
    seconds: dict[str, float]
    """Algorithm -> duration."""
    libraries: dict[str, CollectiveFacts]
    """Library measured on this generation of chips -> its facts."""


@dataclass(frozen=True, slots=True)
class Crossing:
    """The smallest size at which another algorithm is the fastest."""

    bytes: int
    before: str
    after: str


@dataclass(frozen=True, slots=True)
class Curve:
    """A collective over some ranks of a network, from a small size to a large one."""

    kind: str
    ranks: int
    points: tuple[Point, ...]
    crossings: tuple[Crossing, ...]
    left_out: tuple[tuple[str, int], ...] = ()
    """Algorithms and libraries that were not timed, with their messages: more than `_MOST_MESSAGES`."""


def sizes_between(low: int, high: int) -> tuple[int, ...]:
    """Return *low*, its doubles below *high*, and *high*."""
    if not 0 < low <= high:
        raise InputError(Problem("", "--bytes", f"{low}:{high}", "a range from a positive size to one not smaller"))
    sizes = [low]
    while sizes[-1] * 2 < high:
        sizes.append(sizes[-1] * 2)
    if len(sizes) > _MOST_SIZES:
        raise InputError(Problem("", "--bytes", f"{low}:{high}", f"at most {_MOST_SIZES} doublings"))
    return (*sizes, high) if high > low else (low,)


def measured_libraries(chip: str, kind: str) -> list[str]:
    """Return the bundled implementations that were measured on *chip*'s generation and have this collective."""
    loaded = [load_implementation(name, chip) for name in implementation_names()]
    return [
        library.name
        for library in loaded
        if not library.note and any(kind in protocol.algorithm for protocol in library.protocols)
    ]


def message_curve(
    network: Network, *, kind: str, ranks: int | Sequence[int], sizes: tuple[int, ...], software_ps: int, chip: str
) -> Curve:
    """Return the times of a collective over *ranks* (so many of the first, or which) at each of *sizes* in bytes.

    *software_ps* is spent before each message of an algorithm; libraries that were measured on *chip*'s generation
    know their own. A crossing between two sizes is found to the byte.
    """
    members = rank_nodes(network, ranks)
    asked = _Asked(network, kind, members, software_ps, chip)
    messages = {name: asked.messages(name, sizes[-1]) for name in algorithms_for(network, kind, len(members))}
    # Where all have more, the first of the fewest is timed.
    names = tuple(name for name, count in messages.items() if count <= _MOST_MESSAGES) or (_least(messages),)
    most = max(_MOST_MESSAGES, *(messages[name] for name in names))
    needed = {name: asked.needed(name, messages) for name in measured_libraries(chip, kind)}
    libraries = [name for name, count in needed.items() if count <= most]
    points = [asked.point(size, names, libraries) for size in sizes]
    crossings = [
        _crossing(asked, before, after)
        for before, after in itertools.pairwise(points)
        if before.fastest.algorithm != after.fastest.algorithm
    ]
    timed = {*names, *libraries}
    left_out = tuple((name, count) for name, count in (messages | needed).items() if name not in timed)
    return Curve(kind, len(members), tuple(points), tuple(crossings), left_out)


@dataclass(frozen=True)
class _Asked:
    """A collective to be timed at many sizes."""

    network: Network
    kind: str
    members: tuple[int, ...]
    software_ps: int
    chip: str
    latencies: dict[Schedule, float] = field(default_factory=dict)
    """Seconds of the schedules of empty messages that are known."""

    def schedule(self, algorithm: str, size: int) -> Schedule:
        """Return the messages of *algorithm*."""
        return schedule_of(self.network, self.kind, self.members, size=size, algorithm=algorithm)

    def timed(self, schedule: Schedule) -> float:
        """Return the seconds of *schedule*."""
        return schedule_seconds(self.network, self.members, schedule, self.software_ps)

    def seconds(self, size: int, names: Iterable[str]) -> dict[str, float]:
        """Return the seconds of each algorithm of *names*."""
        schedules = {name: self.schedule(name, size) for name in names}
        return {name: self.timed(schedule) for name, schedule in schedules.items()}

    def point(self, size: int, names: Iterable[str], libraries: Iterable[str]) -> Point:
        """Return the algorithms *names* and the *libraries* at one size."""
        each = self.seconds(size, names)
        fastest = _least(each)
        schedule = self.schedule(fastest, size)
        without = empty(schedule)
        if without not in self.latencies:
            self.latencies[without] = self.timed(without)
        known = {name: found for name in libraries if (found := self.library(name, size))}
        own = timed_facts(
            self.network, schedule, members=self.members, algorithm=fastest, seconds=each[fastest],
            latency_s=self.latencies[without],
        )  # fmt: skip
        return Point(size, own, each, known)

    def library(self, name: str, size: int) -> CollectiveFacts | None:
        """Return the facts of a library's collective; None where it has no protocol for this size on this network."""
        try:
            return collective_facts(
                self.network, kind=self.kind, ranks=self.members, bytes=size, algorithm=name,
                software_ps=self.software_ps, chip=self.chip,
            )  # fmt: skip
        except InputError:
            return None

    def messages(self, algorithm: str, size: int) -> int:
        """Return how many messages have to be solved; those between all of many chips are not even made."""
        between_all = messages_between_all(self.kind, algorithm, len(self.members))
        if between_all > _MOST_MADE:
            return between_all
        return solved_messages(self.network, self.members, self.schedule(algorithm, size))

    def needed(self, library: str, messages: Mapping[str, int]) -> int:
        """Return the messages of the largest schedule among a library's protocols."""
        loaded = load_implementation(library, self.chip)
        protocols = candidates(self.network, loaded, self.kind, len(self.members), size=1)
        return max((messages[protocol.algorithm[self.kind]] for protocol in protocols), default=0)


def bus_bytes_per_s(kind: str, ranks: int, size: int, duration_ps: int) -> float:
    """Return the bus bandwidth as nccl-tests defines it: bytes that a rank must send, over the time."""
    share = {"all_reduce": 2.0, "broadcast": ranks / (ranks - 1), "send_receive": ranks / (ranks - 1)}.get(kind, 1.0)
    return share * (ranks - 1) / ranks * size * 1e12 / duration_ps


def _least(amounts: Mapping[str, float]) -> str:
    return min(amounts, key=lambda name: amounts[name])


def _crossing(asked: _Asked, first: Point, last: Point) -> Crossing:
    """Bisect for the first size at which the fastest is no longer that of *first*.

    Times rise with the size, and at most double where it does: what is slower than twice the fastest at *first* is not
    the fastest before *last*.
    """
    low, high = first.bytes, last.bytes
    before, after = first.fastest.algorithm, last.fastest.algorithm
    least = min(first.seconds.values())
    near = [name for name, taken in first.seconds.items() if taken <= 2 * least or name == after]
    while high - low > 1:
        middle = (low + high) // 2
        name = _least(asked.seconds(middle, near))
        if name == before:
            low = middle
        else:
            high, after = middle, name
    return Crossing(high, before, after)
