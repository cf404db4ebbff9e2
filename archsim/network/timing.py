"""Timing one algorithm on one network: its duration, its latency and the bytes it puts on every link.

A schedule (`schedules`) is laid on the routes of the network and its flows are solved (`flows`). Where every step's
flows finish at one instant and every next sender took part, steps cannot overlap: each different step is then solved
once and counted as often as it repeats, which is exact. Where no link serves two pairs, nothing is shared and every
message takes its latency and its bytes at its links' rate. Otherwise all flows of all steps are solved together.

The time contains software (`software_ps` for every message, before its first hop), the latency of the hops, and the
sharing of the links. It contains no kernel launch and no memory access: the floors above know those.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from archsim.errors import InputError, Problem, did_you_mean
from archsim.network import closed
from archsim.network.closed import ends_of, step_times
from archsim.network.flows import Flow, solve_flows
from archsim.network.folding import folded_finish_s
from archsim.network.schedules import ALGORITHMS, Message, Schedule, Step, messages_between_all
from archsim.network.special import SPECIAL
from archsim.network.topology import Network

__all__ = [
    "MOST_MESSAGES",
    "CollectiveFacts",
    "algorithm_facts",
    "algorithms_for",
    "carried_bytes",
    "empty",
    "makeable",
    "messages_of",
    "rank_nodes",
    "schedule_flows",
    "schedule_of",
    "schedule_seconds",
    "solved_messages",
    "timed_facts",
    "whole_ps",
]

MOST_MESSAGES = 1_000_000
"""More between all ranks are not simulated: they take gigabytes and minutes at every size."""
_SAME = 1e-12
"""Finishes closer than this (relative) are simultaneous, and a time this close to a whole picosecond is that one."""


@dataclass(frozen=True, slots=True)
class CollectiveFacts:
    """What one collective costs. Times in picoseconds, rounded up once."""

    duration_ps: int
    latency_ps: int
    """The time that the same schedule takes with empty messages."""
    algorithm: str
    """The algorithm, chosen or given."""
    link_bytes: tuple[int, ...]
    """Bytes on each link, in the order of `Network.links`."""
    flows: int
    """Messages of the whole schedule."""
    protocol: str = ""
    """Implementation and protocol where one was named: `nccl LL`."""
    received_bytes: int = 0
    """Bytes that arrive at the rank that receives the most."""
    parts: tuple[CollectiveFacts, ...] = ()
    """Facts of each where the tensor is exchanged in parts, one after the other; the rest is their sum."""
    note: str = ""
    """Whose parameters stand in, where the implementation was not measured on the chip's generation."""


def algorithms_for(network: Network, kind: str, ranks: int) -> tuple[str, ...]:
    """Return the names of the algorithms of *kind* that *network* can run over *ranks*."""
    if kind not in ALGORITHMS:
        raise InputError(
            Problem("", "collective.kind", kind, f"one of {', '.join(ALGORITHMS)}{did_you_mean(kind, ALGORITHMS)}")
        )
    special = tuple(name for name, (fits, _) in SPECIAL.get(kind, {}).items() if fits(network, ranks))
    return (*ALGORITHMS[kind], *special)


def makeable(names: Sequence[str], kind: str, ranks: int) -> tuple[str, ...]:
    """Return the *names* of algorithms whose schedules are small enough to be made; all of them where none is."""
    return tuple(name for name in names if messages_between_all(kind, name, ranks) <= MOST_MESSAGES) or tuple(names)


def rank_nodes(network: Network, ranks: int | Sequence[int]) -> tuple[int, ...]:
    """Return the chips that take part, in rank order; refuse too many, unknown or repeated ones."""
    chips = len(network.endpoints)
    members = tuple(range(ranks)) if isinstance(ranks, int) else tuple(ranks)
    if len(members) > chips or not members:
        expected = f"1 to {chips} ranks: {network.title} has {chips} chips"
        raise InputError(Problem("", "collective.ranks", str(len(members)), expected))
    wrong = [rank for rank in members if not 0 <= rank < chips]
    if wrong or len(set(members)) != len(members):
        shown = ", ".join(map(str, wrong or members))
        raise InputError(Problem("", "collective.ranks", shown, f"different chips from 0 to {chips - 1}"))
    return members


def schedule_seconds(network: Network, members: Sequence[int], schedule: Schedule, software_ps: int) -> float:
    """Return the makespan of *schedule* over *members* in seconds."""
    if len(schedule) == 1 and schedule[0].repeats == 1:
        return max(_finish_s(network, members, schedule[0], software_ps), default=0.0)
    known = _step_by_step(network, members, schedule, software_ps)
    if known is None:
        known = closed.makespan(network, members, schedule, software_ps)
    if known is None:
        return solve_flows(network, schedule_flows(members, schedule, software_ps)).makespan_s
    return known


def solved_messages(network: Network, members: Sequence[int], schedule: Schedule) -> int:
    """Return how many messages have to be solved to time *schedule*, because they share links.

    0 where no link serves two pairs, those of different steps where steps do not overlap, else all.
    """
    if closed.makespan(network, members, schedule, 0) is not None:
        return 0
    different = {step.messages: step for step in schedule}
    if sum(step.repeats for step in schedule) == 1 or _step_by_step(network, members, schedule, 0) is not None:
        shared = [step_times(network, members, step, 0) is None for step in different.values()]
        return sum(len(messages) for messages, shares in zip(different, shared, strict=True) if shares)
    return messages_of(schedule)


def _step_by_step(network: Network, members: Sequence[int], schedule: Schedule, software_ps: int) -> float | None:
    """Return the makespan where the flows of every step finish at one instant and the next senders are among them."""
    total, before = [], None
    alone: dict[tuple[Message, ...], float | None] = {}
    for step in schedule:
        if step.messages not in alone:
            alone[step.messages] = _one_instant(network, members, step, software_ps)
        seconds = alone[step.messages]
        sources = {message.src for message in step.messages}
        if seconds is None or (before is not None and not sources <= before):
            return None
        before = {end for message in step.messages for end in (message.src, message.dst)}
        total += [seconds] * step.repeats
    return math.fsum(total)


def whole_ps(seconds: float) -> int:
    """Return *seconds* as picoseconds, rounded up; noise of the last bits is not a picosecond."""
    exact = seconds * 1e12
    nearest = round(exact)
    return nearest if abs(exact - nearest) <= _SAME * max(exact, 1.0) else math.ceil(exact)


def algorithm_facts(
    network: Network, schedule: Schedule, *, members: tuple[int, ...], algorithm: str, software_ps: int
) -> CollectiveFacts:
    """Return the facts of *schedule*, which *algorithm* has made, over *members*; *software_ps* before each message."""
    seconds, latency_s = (schedule_seconds(network, members, each, software_ps) for each in (schedule, empty(schedule)))
    return timed_facts(network, schedule, members=members, algorithm=algorithm, seconds=seconds, latency_s=latency_s)


def timed_facts(
    network: Network, schedule: Schedule, *, members: tuple[int, ...], algorithm: str, seconds: float, latency_s: float
) -> CollectiveFacts:
    """Return the facts of *schedule* where its makespan, *seconds*, and that of the `empty` one are known."""
    link_bytes, received = carried_bytes(network, schedule, members)
    return CollectiveFacts(
        duration_ps=whole_ps(seconds),
        latency_ps=whole_ps(latency_s),
        algorithm=algorithm,
        link_bytes=link_bytes,
        flows=messages_of(schedule),
        received_bytes=received,
    )


def empty(schedule: Schedule) -> Schedule:
    """Return *schedule* with messages of no bytes."""
    return tuple(
        Step(tuple(Message(m.src, m.dst, 0, m.wait_ps) for m in step.messages), step.repeats) for step in schedule
    )


def messages_of(schedule: Schedule) -> int:
    """Return how many messages *schedule* has."""
    return sum(len(step.messages) * step.repeats for step in schedule)


def carried_bytes(network: Network, schedule: Schedule, members: tuple[int, ...]) -> tuple[tuple[int, ...], int]:
    """Return the bytes on each link and those that arrive at the member that receives the most."""
    between: Counter[tuple[int | str, int | str]] = Counter()
    for step in schedule:
        for message in step.messages:
            between[message.src, message.dst] += message.bytes * step.repeats
    link_bytes = [0] * len(network.links)
    received: Counter[str] = Counter()
    for pair, size in between.items():
        src, dst = ends_of(members, Message(*pair, size))
        received[dst if isinstance(dst, str) else network.endpoints[dst]] += size
        for link in network.route(src, dst):
            link_bytes[link] += size
    return tuple(link_bytes), max((received[network.endpoints[chip]] for chip in members), default=0)


def schedule_of(network: Network, kind: str, members: tuple[int, ...], *, size: int, algorithm: str) -> Schedule:
    """Return the schedule of *algorithm* for a *kind* of collective of *size* bytes over *members*.

    Raises `InputError` for more than `MOST_MESSAGES` between all of them.
    """
    count = messages_between_all(kind, algorithm, len(members))
    if count > MOST_MESSAGES:
        expected = f"fewer: {kind} by {algorithm} is {count:,} messages, and at most {MOST_MESSAGES:,} are simulated"
        raise InputError(Problem("", "collective.ranks", str(len(members)), expected))
    if algorithm in SPECIAL.get(kind, {}):
        return SPECIAL[kind][algorithm][1](network, members, size)
    return ALGORITHMS[kind][algorithm](len(members), size)


def _flow(members: Sequence[int], message: Message, software_ps: int, after: tuple[int, ...]) -> Flow:
    src, dst = ends_of(members, message)
    return Flow(src, dst, message.bytes, after=after, wait_s=(software_ps + message.wait_ps) * 1e-12)


def _one_instant(network: Network, members: Sequence[int], step: Step, software_ps: int) -> float | None:
    """Return the time of *step* alone, or None where its flows finish at different instants."""
    finish_s = _finish_s(network, members, step, software_ps)
    first, last = min(finish_s), max(finish_s)
    return last if last - first <= _SAME * last else None


def _finish_s(network: Network, members: Sequence[int], step: Step, software_ps: int) -> list[float]:
    """Return when the messages of *step*, or one of each kind of them, are done."""
    known = folded_finish_s(network, members, step, software_ps) or step_times(network, members, step, software_ps)
    if known is not None:
        return known
    return solve_flows(network, [_flow(members, message, software_ps, ()) for message in step.messages]).finish_s


def schedule_flows(members: Sequence[int], schedule: Schedule, software_ps: int) -> list[Flow]:
    """Write *schedule* out as flows: each waits for those of the last step in which its source took part."""
    flows: list[Flow] = []
    last: dict[int | str, list[int]] = {}
    for step in schedule:
        for _ in range(step.repeats):
            parts: dict[int | str, list[int]] = {}
            for message in step.messages:
                for end in (message.src, message.dst):
                    parts.setdefault(end, []).append(len(flows))
                flows.append(_flow(members, message, software_ps, tuple(last.get(message.src, ()))))
            last |= parts
    return flows
