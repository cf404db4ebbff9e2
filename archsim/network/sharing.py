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
and compiled over arrays for large ones. Both give the same bits. All functions of the kernel stand in this file,
because a compiled caller does not notice that a callee in another file has changed.
"""

from __future__ import annotations

import functools
import types
from collections.abc import Callable

from archsim.network.columns import BLOCK, INFINITY, Problem, State

__all__ = ["DONE", "ENDLESS", "SOLVES", "WORK", "compiled_share", "share"]

SAME_INSTANT = 1e-14
"""Events closer than this (relative) are one event: symmetric flows differ in the last bit only."""
SAME_LEVEL = 1e-13
"""Links whose fair rates differ by less than this (relative) fill up together."""
REBASE = 1024.0
"""A group's service is set back to zero when a joining flow is smaller than its 1024th part: floats stay sharp."""
ENDLESS = 1 << 62
"""A budget that is never used up."""

ARRIVALS, LINKS, GROUPS, SOLVES, DONE, LEVELS, WORK = range(7)
"""Places in `State.count`: arrivals waiting, links and groups of the part, solves, flows done, links in the heap, and
the sum of groups over all solves."""


def share(p: Problem, s: State, budget: int) -> None:
    """Run all flows of *p*; leave ready, finish and carried bytes in *s*.

    Gives up, with flows not done, when it has solved the rates of more than *budget* groups in all.
    """
    for flow in range(len(p.flow_bytes)):
        if s.waiting[flow] == 0:
            s.ready[flow] = p.flow_start[flow]
            push_arrival(s, flow, p.flow_start[flow] + p.flow_wait[flow])
    while s.count[WORK] <= budget:
        now = next_departure(s)
        if s.count[ARRIVALS] > 0:
            now = min(now, s.arrival_time[0])
        if now == INFINITY:
            return
        horizon = now + SAME_INSTANT * now
        s.count[LINKS] = 0
        s.count[GROUPS] = 0
        depart(p, s, now, horizon)
        while s.count[ARRIVALS] > 0 and s.arrival_time[0] <= horizon:
            join(p, s, pop_arrival(s), now)
        if s.count[LINKS] > 0:
            widen(p, s)
            fill(p, s)
            settle(p, s, now)


def push_arrival(s: State, flow: int, time: float) -> None:
    """Put *flow* into the heap of arrivals; ties by flow number."""
    place = s.count[ARRIVALS]
    s.count[ARRIVALS] = place + 1
    while place > 0:
        parent = (place - 1) >> 1
        if earlier(s, parent, time, flow):
            break
        s.arrival_time[place] = s.arrival_time[parent]
        s.arrival_flow[place] = s.arrival_flow[parent]
        place = parent
    s.arrival_time[place] = time
    s.arrival_flow[place] = flow


def pop_arrival(s: State) -> int:
    """Take the earliest arrival out of the heap."""
    first: int = s.arrival_flow[0]
    end = s.count[ARRIVALS] - 1
    s.count[ARRIVALS] = end
    time, flow = s.arrival_time[end], s.arrival_flow[end]
    place = 0
    while True:
        child = 2 * place + 1
        if child >= end:
            break
        if child + 1 < end and earlier(s, child + 1, s.arrival_time[child], s.arrival_flow[child]):
            child += 1
        if not earlier(s, child, time, flow):
            break
        s.arrival_time[place] = s.arrival_time[child]
        s.arrival_flow[place] = s.arrival_flow[child]
        place = child
    s.arrival_time[place] = time
    s.arrival_flow[place] = flow
    return first


def earlier(s: State, place: int, time: float, flow: int) -> bool:
    """Whether the arrival at *place* comes before *flow* at *time*."""
    there: float = s.arrival_time[place]
    return there < time or (there == time and int(s.arrival_flow[place]) < flow)


def push_member(p: Problem, s: State, group: int, flow: int) -> None:
    """Put *flow* into its group's heap, ordered by the service at which it leaves."""
    base = p.group_offset[group]
    place = s.size[group]
    s.size[group] = place + 1
    until = s.until[flow]
    while place > 0:
        parent = (place - 1) >> 1
        if s.until[s.members[base + parent]] <= until:
            break
        s.members[base + place] = s.members[base + parent]
        place = parent
    s.members[base + place] = flow


def pop_member(p: Problem, s: State, group: int) -> int:
    """Take the flow that leaves first out of its group's heap."""
    base = p.group_offset[group]
    first: int = s.members[base]
    end = s.size[group] - 1
    s.size[group] = end
    flow = s.members[base + end]
    until = s.until[flow]
    place = 0
    while True:
        child = 2 * place + 1
        if child >= end:
            break
        if child + 1 < end and s.until[s.members[base + child + 1]] < s.until[s.members[base + child]]:
            child += 1
        if until <= s.until[s.members[base + child]]:
            break
        s.members[base + place] = s.members[base + child]
        place = child
    s.members[base + place] = flow
    return first


def next_departure(s: State) -> float:
    """Return the earliest departure of all groups."""
    earliest = INFINITY
    for block in range(len(s.block_leave)):
        if s.block_mark[block] != 0:
            s.block_mark[block] = 0
            least = INFINITY
            for group in range(block * BLOCK, min(block * BLOCK + BLOCK, len(s.leave))):
                least = min(least, s.leave[group])
            s.block_leave[block] = least
        earliest = min(earliest, s.block_leave[block])
    return earliest


def depart(p: Problem, s: State, now: float, horizon: float) -> None:
    """Let every flow leave whose last byte is gone by *horizon*."""
    for block in range(len(s.block_leave)):
        if s.block_leave[block] > horizon:
            continue
        for group in range(block * BLOCK, min(block * BLOCK + BLOCK, len(s.leave))):
            if s.leave[group] <= horizon:
                advance(s, group, now)
                s.service[group] = s.until[s.members[p.group_offset[group]]]
                while s.size[group] > 0 and s.until[s.members[p.group_offset[group]]] <= s.service[group]:
                    flow = pop_member(p, s, group)
                    s.weight[group] -= p.flow_weight[flow]
                    complete(p, s, flow, now)
                touch(p, s, group)
                if s.size[group] == 0:
                    retire(p, s, group)


def complete(p: Problem, s: State, flow: int, now: float) -> None:
    """Note that *flow* has finished and wake the flows that wait for it alone."""
    s.finish[flow] = now
    s.count[DONE] += 1
    for place in range(p.then_offset[flow], p.then_offset[flow + 1]):
        after = p.then_flow[place]
        s.waiting[after] -= 1
        if s.waiting[after] == 0:
            s.ready[after] = max(now, p.flow_start[after])
            push_arrival(s, after, s.ready[after] + p.flow_wait[after])


def join(p: Problem, s: State, flow: int, now: float) -> None:
    """Let *flow* share the links of its route; one without bytes or links is done."""
    group = p.flow_group[flow]
    if group < 0 or p.flow_bytes[flow] <= 0:
        complete(p, s, flow, now)
        return
    if s.size[group] == 0:
        revive(p, s, group, now)
    advance(s, group, now)
    amount = p.flow_bytes[flow] / p.flow_weight[flow]
    if s.service[group] > REBASE * amount:
        for place in range(p.group_offset[group], p.group_offset[group] + s.size[group]):
            s.until[s.members[place]] -= s.service[group]
        s.service[group] = 0.0
    s.until[flow] = s.service[group] + amount
    s.weight[group] += p.flow_weight[flow]
    push_member(p, s, group, flow)
    touch(p, s, group)


def advance(s: State, group: int, now: float) -> None:
    """Count a group's service up to *now*."""
    step = s.rate[group] * (now - s.time[group])
    s.service[group] += step
    s.carried[group] += step * s.weight[group]
    s.time[group] = now


def revive(p: Problem, s: State, group: int, now: float) -> None:
    """Enter a group into the lists of its links."""
    s.time[group] = now
    for hop in range(p.hop_offset[group], p.hop_offset[group + 1]):
        link = p.hop_link[hop]
        place = p.link_offset[link] + s.link_size[link]
        s.link_hops[place] = hop
        s.hop_place[hop] = place
        s.link_size[link] += 1


def retire(p: Problem, s: State, group: int) -> None:
    """Take an empty group out of the lists of its links."""
    s.service[group] = 0.0
    s.weight[group] = 0.0
    s.rate[group] = 0.0
    s.next_rate[group] = 0.0
    s.leave[group] = INFINITY
    s.block_mark[group // BLOCK] = 1
    for hop in range(p.hop_offset[group], p.hop_offset[group + 1]):
        link = p.hop_link[hop]
        s.link_size[link] -= 1
        last = s.link_hops[p.link_offset[link] + s.link_size[link]]
        s.link_hops[s.hop_place[hop]] = last
        s.hop_place[last] = s.hop_place[hop]


def touch(p: Problem, s: State, group: int) -> None:
    """Mark the links of *group*: their part of the network is to be solved anew."""
    for hop in range(p.hop_offset[group], p.hop_offset[group + 1]):
        link = p.hop_link[hop]
        if s.link_mark[link] == 0:
            s.link_mark[link] = 1
            s.part_links[s.count[LINKS]] = link
            s.count[LINKS] += 1


def widen(p: Problem, s: State) -> None:
    """Extend the touched links to all links and groups connected with them."""
    seen = 0
    while seen < s.count[LINKS]:
        link = s.part_links[seen]
        seen += 1
        for place in range(p.link_offset[link], p.link_offset[link] + s.link_size[link]):
            group = p.hop_group[s.link_hops[place]]
            if s.group_mark[group] == 0:
                s.group_mark[group] = 1
                s.part_groups[s.count[GROUPS]] = group
                s.count[GROUPS] += 1
                touch(p, s, group)


def fill(p: Problem, s: State) -> None:
    """Progressive filling: the tightest link sets the level of its groups, and is taken out; repeat."""
    prepare_levels(p, s)
    left = s.count[GROUPS]
    level = 0.0
    while left > 0:
        link = s.level_heap[0]
        if s.free_hops[link] == 0:
            replace_top(s)
            continue
        fair = s.residual[link] / s.free_weight[link]
        if fair > s.level[link] * (1.0 + SAME_LEVEL):
            s.level[link] = fair
            sift_down(s, 0, link)
            continue
        if fair > level * (1.0 + SAME_LEVEL):
            level = fair
        for place in range(p.link_offset[link], p.link_offset[link] + s.link_size[link]):
            group = p.hop_group[s.link_hops[place]]
            if s.group_mark[group] == 1:
                freeze(p, s, group, level)
                left -= 1


def prepare_levels(p: Problem, s: State) -> None:
    """Free every group of the part and build the heap of links by the level at which they would be full."""
    for index in range(s.count[LINKS]):
        link = s.part_links[index]
        s.residual[link] = p.capacity[link]
        s.free_hops[link] = s.link_size[link]
        total = 0.0
        for place in range(p.link_offset[link], p.link_offset[link] + s.link_size[link]):
            total += s.weight[p.hop_group[s.link_hops[place]]]
        s.free_weight[link] = total
        s.level[link] = p.capacity[link] / total if s.link_size[link] > 0 else INFINITY
        s.level_heap[index] = link
    s.count[LEVELS] = s.count[LINKS]
    for place in range(s.count[LEVELS] // 2 - 1, -1, -1):
        sift_down(s, place, s.level_heap[place])


def freeze(p: Problem, s: State, group: int, level: float) -> None:
    """Fix a group's rate; its links have that much less to give."""
    s.group_mark[group] = 2
    s.next_rate[group] = level
    for hop in range(p.hop_offset[group], p.hop_offset[group + 1]):
        link = p.hop_link[hop]
        s.residual[link] -= level * s.weight[group]
        s.free_weight[link] -= s.weight[group]
        s.free_hops[link] -= 1


def replace_top(s: State) -> None:
    """Take the first link out of the heap of levels."""
    end = s.count[LEVELS] - 1
    s.count[LEVELS] = end
    sift_down(s, 0, s.level_heap[end])


def sift_down(s: State, place: int, link: int) -> None:
    """Let *link* sink from *place* to where its level belongs; ties by link number."""
    end = s.count[LEVELS]
    while True:
        child = 2 * place + 1
        if child >= end:
            break
        if child + 1 < end and before(s, s.level_heap[child + 1], s.level_heap[child]):
            child += 1
        if not before(s, s.level_heap[child], link):
            break
        s.level_heap[place] = s.level_heap[child]
        place = child
    s.level_heap[place] = link


def before(s: State, a: int, b: int) -> bool:
    """Whether link *a* fills up before link *b*."""
    return s.level[a] < s.level[b] or (s.level[a] == s.level[b] and a < b)


def settle(p: Problem, s: State, now: float) -> None:
    """Give the part its new rates and foretell the departures; what kept its rate and its flows is left alone."""
    s.count[SOLVES] += 1
    s.count[WORK] += s.count[GROUPS]
    for index in range(s.count[GROUPS]):
        group = s.part_groups[index]
        s.group_mark[group] = 0
        if s.next_rate[group] == s.rate[group] and s.time[group] != now:
            continue
        advance(s, group, now)
        s.rate[group] = s.next_rate[group]
        short = s.until[s.members[p.group_offset[group]]] - s.service[group]
        s.leave[group] = now + max(0.0, short / s.rate[group])
        s.block_mark[group // BLOCK] = 1
    for index in range(s.count[LINKS]):
        s.link_mark[s.part_links[index]] = 0


_KERNEL = (
    earlier, push_arrival, pop_arrival, push_member, pop_member, next_departure, complete, advance, touch, revive,
    retire, depart, join, widen, before, sift_down, replace_top, prepare_levels, freeze, fill, settle, share,
)  # fmt: skip
"""The functions of the kernel, each after those it calls."""


@functools.cache
def compiled_share() -> Callable[[Problem, State, int], None]:
    """Return `share` compiled by numba, from its disk cache where one can be written.

    The functions are compiled as copies whose names lead to each other's compiled forms; the originals stay plain.
    """
    import numba  # noqa: PLC0415 - 240 ms, and only large problems need it

    names = dict(globals())
    for function in _KERNEL:
        copy = types.FunctionType(function.__code__, names, function.__name__)
        try:
            names[function.__name__] = numba.njit(copy, cache=True)
        except RuntimeError:  # no folder can be written for the cache
            names[function.__name__] = numba.njit(copy)
    compiled: Callable[[Problem, State, int], None] = names["share"]
    return compiled
