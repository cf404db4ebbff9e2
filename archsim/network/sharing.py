"""The kernel that shares links among flows: max-min fair, progressive filling, latency first.

A flow becomes ready when its start has come and every flow it waits for has finished. It then sleeps its wait
(software and path latency, consuming no bandwidth), joins the links of its route, and finishes when its last byte has
left. Rates are max-min fair by weight (Bertsekas & Gallager, Data Networks, 6.5.2) and solved anew at every arrival
and departure, for the connected part of links and routes that the event touched and no other.

Flows of one route share one rate per unit of weight whatever their sizes, so the kernel keeps one entry, a *group*,
for each route: its service S(t) is the bytes that a flow of weight 1 has received since the group came to life, and a
flow that joins at t leaves when S reaches S(t) + bytes/weight. Twenty thousand flows on four thousand routes are four
thousand entries.

Written for two readers: interpreted over lists for small problems (numba's import would cost more than the answer)
and compiled over arrays for large ones. Both give the same bits.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

from archsim.network import filling
from archsim.network.columns import ARRIVALS, BLOCK, DONE, GROUPS, INFINITY, LINKS, SOLVES, WORK, Floats, Ints, Places
from archsim.network.filling import (
    before,
    fill,
    freeze,
    prepare_levels,
    replace_top,
    restart_level,
    sift_down,
    touch,
    widen,
)  # fmt: skip
from archsim.network.jit import compiled

__all__ = ["ENDLESS", "compiled_share", "share"]

SAME_INSTANT = 1e-14
"""Events closer than this (relative) are one event: symmetric flows differ in the last bit only."""
REBASE = 1024.0
"""A group's service is set back to zero when a joining flow is smaller than its 1024th part: floats stay sharp."""
EVENT_WORK = 10
"""What an event costs beside the groups that it re-solves, in groups."""
ENDLESS = 1 << 62
"""A budget that is never used up."""


def share(o: Places, i: Ints, f: Floats, budget: int) -> None:
    """Run all flows; leave ready, finish and carried bytes in *f*.

    Gives up, with flows not done, when it has done more than *budget* work: groups solved, and events.
    """
    for flow in range(o.flows):
        if i[o.waiting + flow] == 0:
            f[o.ready + flow] = f[o.flow_start + flow]
            push_arrival(o, i, f, flow, f[o.flow_start + flow] + f[o.flow_wait + flow])
    while i[WORK] <= budget:
        now = next_departure(o, i, f)
        if i[ARRIVALS] > 0:
            now = min(now, f[o.arrival_time])
        if now == INFINITY:
            return
        horizon = now + SAME_INSTANT * now
        i[LINKS] = 0
        i[GROUPS] = 0
        level = depart(o, i, f, now, horizon)
        while i[ARRIVALS] > 0 and f[o.arrival_time] <= horizon:
            join(o, i, f, pop_arrival(o, i, f), now)
        if i[LINKS] > 0:
            widen(o, i, f, restart_level(o, i, f, level))
            fill(o, i, f)
            settle(o, i, f, now)


def push_arrival(o: Places, i: Ints, f: Floats, flow: int, time: float) -> None:
    """Put *flow* into the heap of arrivals; ties by flow number."""
    place = i[ARRIVALS]
    i[ARRIVALS] = place + 1
    while place > 0:
        parent = (place - 1) >> 1
        if earlier(o, i, f, parent, time, flow):
            break
        f[o.arrival_time + place] = f[o.arrival_time + parent]
        i[o.arrival_flow + place] = i[o.arrival_flow + parent]
        place = parent
    f[o.arrival_time + place] = time
    i[o.arrival_flow + place] = flow


def pop_arrival(o: Places, i: Ints, f: Floats) -> int:
    """Take the earliest arrival out of the heap."""
    first: int = i[o.arrival_flow]
    end = i[ARRIVALS] - 1
    i[ARRIVALS] = end
    time, flow = f[o.arrival_time + end], i[o.arrival_flow + end]
    place = 0
    while True:
        child = 2 * place + 1
        if child >= end:
            break
        if child + 1 < end and earlier(o, i, f, child + 1, f[o.arrival_time + child], i[o.arrival_flow + child]):
            child += 1
        if not earlier(o, i, f, child, time, flow):
            break
        f[o.arrival_time + place] = f[o.arrival_time + child]
        i[o.arrival_flow + place] = i[o.arrival_flow + child]
        place = child
    f[o.arrival_time + place] = time
    i[o.arrival_flow + place] = flow
    return first


def earlier(o: Places, i: Ints, f: Floats, place: int, time: float, flow: int) -> bool:
    """Whether the arrival at *place* comes before *flow* at *time*."""
    there: float = f[o.arrival_time + place]
    return there < time or (there == time and int(i[o.arrival_flow + place]) < flow)


def push_member(o: Places, i: Ints, f: Floats, group: int, flow: int) -> None:
    """Put *flow* into its group's heap, ordered by the service at which it leaves."""
    base = i[o.group_offset + group]
    place = i[o.size + group]
    i[o.size + group] = place + 1
    until = f[o.until + flow]
    while place > 0:
        parent = (place - 1) >> 1
        if f[o.until + i[o.members + base + parent]] <= until:
            break
        i[o.members + base + place] = i[o.members + base + parent]
        place = parent
    i[o.members + base + place] = flow


def pop_member(o: Places, i: Ints, f: Floats, group: int) -> int:
    """Take the flow that leaves first out of its group's heap."""
    base = i[o.group_offset + group]
    first: int = i[o.members + base]
    end = i[o.size + group] - 1
    i[o.size + group] = end
    flow = i[o.members + base + end]
    until = f[o.until + flow]
    place = 0
    while True:
        child = 2 * place + 1
        if child >= end:
            break
        if child + 1 < end and f[o.until + i[o.members + base + child + 1]] < f[o.until + i[o.members + base + child]]:
            child += 1
        if until <= f[o.until + i[o.members + base + child]]:
            break
        i[o.members + base + place] = i[o.members + base + child]
        place = child
    i[o.members + base + place] = flow
    return first


def next_until(o: Places, i: Ints, f: Floats, group: int) -> float:
    """Return the service of *group* at which its next flow leaves."""
    until: float = f[o.until + i[o.members + i[o.group_offset + group]]]
    return until


def next_departure(o: Places, i: Ints, f: Floats) -> float:
    """Return the earliest departure of all groups."""
    earliest = INFINITY
    for block in range(o.blocks):
        if i[o.block_mark + block] != 0:
            i[o.block_mark + block] = 0
            least = INFINITY
            for group in range(block * BLOCK, min(block * BLOCK + BLOCK, o.groups)):
                least = min(least, f[o.leave + group])
            f[o.block_leave + block] = least
        earliest = min(earliest, f[o.block_leave + block])
    return earliest


def depart(o: Places, i: Ints, f: Floats, now: float, horizon: float) -> float:
    """Let every flow leave whose last byte is gone by *horizon*; return the least rate of those that left."""
    level = INFINITY
    for block in range(o.blocks):
        if f[o.block_leave + block] > horizon:
            continue
        for group in range(block * BLOCK, min(block * BLOCK + BLOCK, o.groups)):
            if f[o.leave + group] <= horizon:
                level = min(level, f[o.rate + group])
                advance(o, f, group, now)
                f[o.service + group] = next_until(o, i, f, group)
                while i[o.size + group] > 0 and next_until(o, i, f, group) <= f[o.service + group]:
                    flow = pop_member(o, i, f, group)
                    f[o.weight + group] -= f[o.flow_weight + flow]
                    complete(o, i, f, flow, now)
                touch(o, i, group)
                if i[o.size + group] == 0:
                    retire(o, i, f, group)
    return level


def complete(o: Places, i: Ints, f: Floats, flow: int, now: float) -> None:
    """Note that *flow* has finished and wake the flows that wait for it alone."""
    f[o.finish + flow] = now
    i[DONE] += 1
    for place in range(i[o.then_offset + flow], i[o.then_offset + flow + 1]):
        after = i[o.then_flow + place]
        i[o.waiting + after] -= 1
        if i[o.waiting + after] == 0:
            f[o.ready + after] = max(now, f[o.flow_start + after])
            push_arrival(o, i, f, after, f[o.ready + after] + f[o.flow_wait + after])


def join(o: Places, i: Ints, f: Floats, flow: int, now: float) -> None:
    """Let *flow* share the links of its route; one without bytes or links is done."""
    group = i[o.flow_group + flow]
    if group < 0 or f[o.flow_bytes + flow] <= 0:
        complete(o, i, f, flow, now)
        return
    if i[o.size + group] == 0:
        revive(o, i, f, group, now)
    advance(o, f, group, now)
    amount = f[o.flow_bytes + flow] / f[o.flow_weight + flow]
    if f[o.service + group] > REBASE * amount:
        for place in range(i[o.group_offset + group], i[o.group_offset + group] + i[o.size + group]):
            f[o.until + i[o.members + place]] -= f[o.service + group]
        f[o.service + group] = 0.0
    f[o.until + flow] = f[o.service + group] + amount
    f[o.weight + group] += f[o.flow_weight + flow]
    push_member(o, i, f, group, flow)
    touch(o, i, group)


def advance(o: Places, f: Floats, group: int, now: float) -> None:
    """Count a group's service up to *now*."""
    step = f[o.rate + group] * (now - f[o.time + group])
    f[o.service + group] += step
    f[o.carried + group] += step * f[o.weight + group]
    f[o.time + group] = now


def revive(o: Places, i: Ints, f: Floats, group: int, now: float) -> None:
    """Enter a group into the lists of its links."""
    f[o.time + group] = now
    for hop in range(i[o.hop_offset + group], i[o.hop_offset + group + 1]):
        link = i[o.hop_link + hop]
        place = i[o.link_offset + link] + i[o.link_size + link]
        i[o.link_groups + place] = group
        i[o.link_hops + place] = hop
        i[o.hop_place + hop] = place
        i[o.link_size + link] += 1


def retire(o: Places, i: Ints, f: Floats, group: int) -> None:
    """Take an empty group out of the lists of its links."""
    f[o.service + group] = 0.0
    f[o.weight + group] = 0.0
    f[o.rate + group] = 0.0
    f[o.next_rate + group] = 0.0
    f[o.leave + group] = INFINITY
    i[o.block_mark + group // BLOCK] = 1
    for hop in range(i[o.hop_offset + group], i[o.hop_offset + group + 1]):
        link = i[o.hop_link + hop]
        i[o.link_size + link] -= 1
        end = i[o.link_offset + link] + i[o.link_size + link]
        place = i[o.hop_place + hop]
        i[o.link_groups + place] = i[o.link_groups + end]
        i[o.link_hops + place] = i[o.link_hops + end]
        i[o.hop_place + i[o.link_hops + end]] = place


def settle(o: Places, i: Ints, f: Floats, now: float) -> None:
    """Give the part its new rates and foretell the departures; what kept its rate and its flows is left alone."""
    i[SOLVES] += 1
    i[WORK] += EVENT_WORK + i[GROUPS]
    for index in range(i[GROUPS]):
        group = i[o.part_groups + index]
        i[o.group_mark + group] = 0
        if f[o.next_rate + group] == f[o.rate + group] and f[o.time + group] != now:
            continue
        advance(o, f, group, now)
        f[o.rate + group] = f[o.next_rate + group]
        short = next_until(o, i, f, group) - f[o.service + group]
        f[o.leave + group] = now + max(0.0, short / f[o.rate + group])
        i[o.block_mark + group // BLOCK] = 1
    for index in range(i[LINKS]):
        i[o.link_mark + i[o.part_links + index]] = 0


_KERNEL = (
    next_until, earlier, push_arrival, pop_arrival, push_member, pop_member, next_departure, complete, advance, touch,
    revive, retire, depart, join, restart_level, widen, before, sift_down, replace_top, prepare_levels, freeze, fill,
    settle, share,
)  # fmt: skip
"""The functions of the kernel, each after those it calls."""


@functools.cache
def compiled_share() -> Callable[[Places, Ints, Floats, int], None]:
    """Return `share` compiled by numba."""
    return compiled(_KERNEL, globals() | vars(filling))
