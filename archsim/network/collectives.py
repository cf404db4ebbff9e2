"""One collective on one network: what the floors above ask.

An algorithm is timed on the graph with a software time before each message (`timing`), or a library's implementation
with the software and link shares that were measured for it (`implementations`). Both say what was chosen.

The time contains no kernel launch and no memory access: the floors above know those.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from archsim.errors import InputError, Problem, did_you_mean
from archsim.network.implementations import Implementation, Protocol, implementation_names, load_implementation
from archsim.network.schedules import Schedule, Step
from archsim.network.timing import (
    CollectiveFacts,
    algorithm_facts,
    algorithms_for,
    makeable,
    rank_nodes,
    schedule_of,
    schedule_seconds,
    whole_ps,
)  # fmt: skip
from archsim.network.topology import Network

__all__ = ["CollectiveFacts", "algorithms_for", "candidates", "collective_facts", "implementation_facts"]


def collective_facts(
    network: Network,
    *,
    kind: str,
    ranks: int | Sequence[int],
    bytes: int,  # noqa: A002 - the word that plans and tables use for it
    algorithm: str,
    software_ps: int,
    chip: str = "",
) -> CollectiveFacts:
    """Return the facts of a collective of *bytes* over *ranks* (how many of the first chips, or which chips).

    *kind* is a key of `schedules.ALGORITHMS`, which also says what *bytes* counts. *algorithm* is one of
    `timing.algorithms_for`; or `auto`, the fastest of them at this size (ties go to the one named first); or a bundled
    implementation (`nccl`, `trtllm`, ...), whose protocols are measured for generations of *chip* and switch by size
    as the library does. *software_ps* is spent before each message; implementations know their own. Deterministic and
    without memory of earlier calls: callers may memoise it by its arguments.
    Raises `InputError` for an unknown kind or algorithm, too many ranks or an unreachable pair.
    """
    members = rank_nodes(network, ranks)
    if bytes < 0:
        raise InputError(Problem("", "collective.bytes", str(bytes), "a size that is not negative"))
    names = algorithms_for(network, kind, len(members))
    if algorithm != "auto" and algorithm not in names:
        if algorithm in implementation_names():
            return implementation_facts(
                network, load_implementation(algorithm, chip), kind=kind, members=members, size=bytes
            )
        known = ("auto", *names, *implementation_names())
        expected = f"one of {', '.join(known)}{did_you_mean(algorithm, known)} for {kind} on {network.title}"
        raise InputError(Problem("", "collective.algorithm", algorithm, expected))
    chosen = makeable(names, kind, len(members)) if algorithm == "auto" else (algorithm,)
    if len(members) < 2 or bytes == 0:
        return CollectiveFacts(0, 0, chosen[0], (0,) * len(network.links), 0)
    schedules = [(name, schedule_of(network, kind, members, size=bytes, algorithm=name)) for name in chosen]
    seconds = [schedule_seconds(network, members, schedule, software_ps) for _, schedule in schedules]
    name, schedule = schedules[seconds.index(min(seconds))]
    return algorithm_facts(network, schedule, members=members, algorithm=name, software_ps=software_ps)


def implementation_facts(
    network: Network, implementation: Implementation, *, kind: str, members: tuple[int, ...], size: int
) -> CollectiveFacts:
    """Return the facts of a library's collective: its protocol that is fastest at this size, host time included.

    Raises `InputError` where the library has no protocol for this collective on this network.
    """
    if len(members) < 2 or size == 0:
        return CollectiveFacts(0, 0, "none", (0,) * len(network.links), 0, implementation.name)
    options = candidates(network, implementation, kind, len(members), size=size)
    if not options:
        expected = f"a collective that {implementation.name} has for {len(members)} ranks on {network.title}"
        raise InputError(Problem("", "collective.kind", kind, expected))
    timed = []
    for protocol in options:
        algorithm = protocol.algorithm[kind]
        schedule = schedule_of(network, kind, members, size=size, algorithm=algorithm)
        seconds = schedule_seconds(network, members, _stretched(schedule, protocol.share), 0)
        software_s = _software_ps(schedule, protocol) * 1e-12
        timed.append((seconds + software_s, software_s, protocol, schedule))
    seconds, software_s, protocol, schedule = min(timed, key=lambda item: item[0])
    plain = algorithm_facts(network, schedule, members=members, algorithm=protocol.algorithm[kind], software_ps=0)
    return CollectiveFacts(
        duration_ps=max(whole_ps(seconds), implementation.host_ps),
        latency_ps=max(plain.latency_ps + whole_ps(software_s), implementation.host_ps),
        algorithm=plain.algorithm,
        link_bytes=plain.link_bytes,
        flows=plain.flows,
        protocol=f"{protocol.implementation} {protocol.name}",
        note=implementation.note,
        received_bytes=plain.received_bytes,
    )


def candidates(network: Network, implementation: Implementation, kind: str, ranks: int, *, size: int) -> list[Protocol]:
    """Return the protocols that *implementation* may take for *size* bytes over *ranks* on *network*."""
    known = makeable(algorithms_for(network, kind, ranks), kind, ranks)
    return [
        protocol
        for protocol in implementation.protocols
        if protocol.algorithm.get(kind) in known
        and ranks >= protocol.least_ranks
        and (protocol.up_to_bytes is None or size <= protocol.up_to_bytes)
    ]


def _stretched(schedule: Schedule, share: float) -> Schedule:
    """Give every message the bytes that it would have on links of full rate to take as long as on a share of it."""
    return tuple(
        Step(tuple(m._replace(bytes=math.ceil(m.bytes / share)) for m in step.messages), step.repeats)
        for step in schedule
    )


def _software_ps(schedule: Schedule, protocol: Protocol) -> int:
    """Return the protocol's time beside wires and hops: measured times contain the hops of the measured machine."""
    steps = sum(step.repeats for step in schedule)
    return max(0, protocol.software_ps + steps * (protocol.step_ps - protocol.hop_ps))
