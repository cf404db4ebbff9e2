"""What exchanges within groups of chips cost: the network's facts for one group, and what groups take from each other.

All groups of a collective exchange at the same time (P1: they start together, when the last of them is ready). Where
their routes share no link, each takes the time that it takes alone. Else the flows of all are solved together, and the
time that the longest takes beyond the longest alone is added. An all-to-all to which ranks bring or from which they
take unequal bytes is the equal one and what its unequal messages take longer. Groups, shares and equal ones are timed
by the same algorithm, so that the difference is the links' alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from archsim.hardware.system import System
from archsim.mapping.plan import Collective, Groups, Pipeline, Plan, Task
from archsim.network.collectives import CollectiveFacts
from archsim.network.schedules import Message, Schedule, Step
from archsim.network.timing import carried_bytes, messages_of, schedule_of, schedule_seconds, whole_ps

__all__ = ["Exchanges", "exchange_facts", "exchanges_of", "is_overlapped", "returns_of", "sends_of"]

_OVERLAPPED = "all_reduce"
"""The collective whose tensor a kernel makes column by column (P8)."""

Exchanges = dict[Collective, CollectiveFacts]
"""Every collective of a plan with its facts."""


def exchanges_of(plan: Plan, system: System) -> Exchanges:
    """Return the facts of every different collective in *plan*; the same for all its ranks."""
    collectives = {task.collective: None for segment in plan.segments for task in segment.tasks if task.collective}
    return {collective: _facts_of(collective, collective.groups(plan.chips), system) for collective in collectives}


def is_overlapped(task: Task, system: System) -> bool:
    """Return whether *task* is a collective that is exchanged part by part while its tensor is made."""
    parts = system.runtime.overlap_parts
    return parts > 1 and task.collective is not None and task.collective.kind == _OVERLAPPED


def _facts_of(collective: Collective, groups: Groups, system: System) -> CollectiveFacts:
    parts = min(system.runtime.overlap_parts, collective.bytes)
    if parts <= 1 or collective.kind != _OVERLAPPED:
        return exchange_facts(collective, groups, system)
    sizes = [collective.bytes * (part + 1) // parts - collective.bytes * part // parts for part in range(parts)]
    facts = tuple(exchange_facts(replace(collective, bytes=size), groups, system) for size in sizes)
    return replace(
        facts[0],
        duration_ps=sum(each.duration_ps for each in facts),
        latency_ps=sum(each.latency_ps for each in facts),
        link_bytes=tuple(map(sum, zip(*(each.link_bytes for each in facts), strict=True))),
        flows=sum(each.flows for each in facts),
        received_bytes=sum(each.received_bytes for each in facts),
        parts=facts,
    )


def sends_of(pipeline: Pipeline, stage: int, system: System) -> list[CollectiveFacts]:
    """Return for each micro-batch the facts of handing its activations from *stage* to the next."""
    pairs = pipeline.handover(stage)
    return [exchange_facts(send, pairs, system) for send in pipeline.sends]


def returns_of(pipeline: Pipeline, system: System) -> list[CollectiveFacts]:
    """Return for each micro-batch the facts of handing its tokens from the last stage back to the first."""
    pair = ((pipeline.stages[-1][0].chips[0], pipeline.stages[0][0].chips[0]),)
    return [exchange_facts(back, pair, system) for back in pipeline.returns]


def exchange_facts(collective: Collective, groups: Groups, system: System) -> CollectiveFacts:
    """Return the facts of *collective* within each of *groups* at once; bytes on links are those of all groups."""
    kind, size = collective.kind, collective.bytes
    unequal = collective.received_bytes or collective.sent_bytes
    if len(groups) == 1 and not unequal:
        return system.collective(kind, size, groups[0])

    def make() -> CollectiveFacts:
        if unequal:
            (group,) = groups
            alone = [system.collective(kind, size, group)]
            plain, together = [_unequal(len(group), size)], _unequal(len(group), size, collective)
        else:
            alone = [system.collective(kind, size, group) for group in groups]
            plain = [
                schedule_of(system.network, kind, group, size=size, algorithm=facts.algorithm)
                for group, facts in zip(groups, alone, strict=True)
            ]
            together = _joined(plain, len(groups[0]))
        return _summed(alone, plain, together, groups, system)

    return system.exchange((collective, groups), make)


def _summed(
    alone: list[CollectiveFacts], plain: list[Schedule], together: Schedule, groups: Groups, system: System
) -> CollectiveFacts:
    """Return the facts of the schedules *plain* run *together*, given those of each group *alone*."""
    members = tuple(chip for group in groups for chip in group)
    link_bytes, received = carried_bytes(system.network, together, members)
    longest = max(alone, key=lambda facts: facts.duration_ps)
    extra_ps = 0
    if len(groups) == 1 or _share_links(facts.link_bytes for facts in alone):
        apart = [
            whole_ps(schedule_seconds(system.network, group, schedule, 0))
            for group, schedule in zip(groups, plain, strict=True)
        ]
        joint_ps = whole_ps(schedule_seconds(system.network, members, together, 0))
        extra_ps = max(0, joint_ps - max(apart))
    return replace(
        longest,
        duration_ps=longest.duration_ps + extra_ps,
        link_bytes=link_bytes,
        flows=messages_of(together),
        received_bytes=received,
    )


def _share_links(carried: Iterable[tuple[int, ...]]) -> bool:
    return any(sum(size > 0 for size in on_link) > 1 for on_link in zip(*carried, strict=True))


def _joined(schedules: Sequence[Schedule], ranks: int) -> Schedule:
    """Return *schedules* of groups of *ranks* each as one over all their ranks, step by step at the same time."""
    written = [[step.messages for step in schedule for _ in range(step.repeats)] for schedule in schedules]
    if any(schedule != schedules[0] for schedule in schedules):
        return _merged(written, ranks)
    joined = [_merged([[step.messages]] * len(schedules), ranks)[0] for step in schedules[0]]
    return tuple(Step(new.messages, step.repeats) for new, step in zip(joined, schedules[0], strict=True))


def _merged(written: Sequence[Sequence[tuple[Message, ...]]], ranks: int) -> Schedule:
    longest = max(map(len, written))
    return tuple(
        Step(
            tuple(
                message._replace(src=_shifted(message.src, group * ranks), dst=_shifted(message.dst, group * ranks))
                for group, steps in enumerate(written)
                if place < len(steps)
                for message in steps[place]
            )
        )
        for place in range(longest)
    )


def _shifted(node: int | str, by: int) -> int | str:
    return node + by if isinstance(node, int) else node


def _unequal(ranks: int, size: int, collective: Collective | None = None) -> Schedule:
    """Return the direct all-to-all of *size* bytes a rank, or of the unequal bytes of *collective*."""
    received = collective.received_bytes if collective else ()
    sent = (collective.sent_bytes if collective else ()) or (size,) * ranks

    def part(src: int, dst: int) -> int:
        return -(-(received[dst] if received else sent[src]) // ranks)

    return (
        Step(tuple(Message(src, dst, part(src, dst)) for src in range(ranks) for dst in range(ranks) if src != dst)),
    )
