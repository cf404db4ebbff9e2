"""Progressive filling: the max-min fair rates of the part of the network that an event touched.

All rates of the part rise together until a link is full; the groups on it keep that level and leave; the rest rise on
(Bertsekas & Gallager, Data Networks, 6.5.2). Links stand in a heap by the level at which they would be full. A level in
the heap can only be too low, for every group that leaves does so below it; it is set right when it comes to the top.

What an event does not touch is kept: links and groups that are not connected with it, and, on those that are, the
rates below the level at which the filling first differs from the last one.
"""

from __future__ import annotations

from archsim.network.columns import GROUPS, INFINITY, LEVELS, LINKS, Floats, Ints, Places

__all__ = ["before", "fill", "freeze", "prepare_levels", "replace_top", "restart_level", "sift_down", "touch", "widen"]

SAME_LEVEL = 1e-13
"""Links whose fair rates differ by less than this (relative) fill up together."""

RESTART_MARGIN = 1e-12
"""Rates this close (relative) below the restart level are solved anew with those above it."""


def touch(o: Places, i: Ints, group: int) -> None:
    """Mark the links of *group*: their part of the network is to be solved anew."""
    for hop in range(i[o.hop_offset + group], i[o.hop_offset + group + 1]):
        link = i[o.hop_link + hop]
        if i[o.link_mark + link] == 0:
            i[o.link_mark + link] = 1
            i[o.part_links + i[LINKS]] = link
            i[LINKS] += 1


def restart_level(o: Places, i: Ints, f: Floats, level: float) -> float:
    """Return the level below which the last filling still holds, given the least *level* of the flows that left.

    Filling repeats itself until a touched link is full, now with the flows that have joined: on each such link, the
    level at which the weights, those frozen earlier at their old rates, use up the capacity.
    """
    for index in range(i[LINKS]):
        link = i[o.part_links + index]
        full, before_full = 0.0, -1.0
        while full > before_full * (1.0 + SAME_LEVEL):
            before_full = full
            residual, weight = f[o.capacity + link], 0.0
            for place in range(i[o.link_offset + link], i[o.link_offset + link] + i[o.link_size + link]):
                group = i[o.link_groups + place]
                if 0.0 < f[o.rate + group] < full:
                    residual -= f[o.rate + group] * f[o.weight + group]
                else:
                    weight += f[o.weight + group]
            full = residual / weight if weight > 0.0 else INFINITY
        level = min(level, full)
    return level


def widen(o: Places, i: Ints, f: Floats, level: float) -> None:
    """Extend the touched links to all links and groups connected with them by groups that had *level* or more."""
    threshold = level * (1.0 - RESTART_MARGIN)
    seen = 0
    while seen < i[LINKS]:
        link = i[o.part_links + seen]
        seen += 1
        for place in range(i[o.link_offset + link], i[o.link_offset + link] + i[o.link_size + link]):
            group = i[o.link_groups + place]
            if i[o.group_mark + group] == 0 and (f[o.rate + group] >= threshold or f[o.rate + group] == 0.0):
                i[o.group_mark + group] = 1
                i[o.part_groups + i[GROUPS]] = group
                i[GROUPS] += 1
                touch(o, i, group)


def fill(o: Places, i: Ints, f: Floats) -> None:
    """Progressive filling: the tightest link sets the level of its groups, and is taken out; repeat."""
    prepare_levels(o, i, f)
    left = i[GROUPS]
    level = 0.0
    while left > 0:
        link = i[o.level_heap]
        if i[o.free_hops + link] == 0:
            replace_top(o, i, f)
            continue
        fair = f[o.residual + link] / f[o.free_weight + link]
        if fair > f[o.level + link] * (1.0 + SAME_LEVEL):
            f[o.level + link] = fair
            sift_down(o, i, f, 0, link)
            continue
        if fair > level * (1.0 + SAME_LEVEL):
            level = fair
        for place in range(i[o.link_offset + link], i[o.link_offset + link] + i[o.link_size + link]):
            group = i[o.link_groups + place]
            if i[o.group_mark + group] == 1:
                freeze(o, i, f, group, level)
                left -= 1


def prepare_levels(o: Places, i: Ints, f: Floats) -> None:
    """Free every group of the part and build the heap of links by the level at which they would be full."""
    for index in range(i[LINKS]):
        link = i[o.part_links + index]
        residual, weight, hops = f[o.capacity + link], 0.0, 0
        for place in range(i[o.link_offset + link], i[o.link_offset + link] + i[o.link_size + link]):
            group = i[o.link_groups + place]
            if i[o.group_mark + group] == 1:
                weight += f[o.weight + group]
                hops += 1
            else:
                residual -= f[o.rate + group] * f[o.weight + group]
        f[o.residual + link] = residual
        f[o.free_weight + link] = weight
        i[o.free_hops + link] = hops
        f[o.level + link] = residual / weight if hops > 0 else INFINITY
        i[o.level_heap + index] = link
    i[LEVELS] = i[LINKS]
    for place in range(i[LEVELS] // 2 - 1, -1, -1):
        sift_down(o, i, f, place, i[o.level_heap + place])


def freeze(o: Places, i: Ints, f: Floats, group: int, level: float) -> None:
    """Fix a group's rate; its links have that much less to give."""
    i[o.group_mark + group] = 2
    f[o.next_rate + group] = level
    for hop in range(i[o.hop_offset + group], i[o.hop_offset + group + 1]):
        link = i[o.hop_link + hop]
        f[o.residual + link] -= level * f[o.weight + group]
        f[o.free_weight + link] -= f[o.weight + group]
        i[o.free_hops + link] -= 1


def replace_top(o: Places, i: Ints, f: Floats) -> None:
    """Take the first link out of the heap of levels."""
    end = i[LEVELS] - 1
    i[LEVELS] = end
    sift_down(o, i, f, 0, i[o.level_heap + end])


def sift_down(o: Places, i: Ints, f: Floats, place: int, link: int) -> None:
    """Let *link* sink from *place* to where its level belongs; ties by link number."""
    end = i[LEVELS]
    while True:
        child = 2 * place + 1
        if child >= end:
            break
        if child + 1 < end and before(o, f, i[o.level_heap + child + 1], i[o.level_heap + child]):
            child += 1
        if not before(o, f, i[o.level_heap + child], link):
            break
        i[o.level_heap + place] = i[o.level_heap + child]
        place = child
    i[o.level_heap + place] = link


def before(o: Places, f: Floats, a: int, b: int) -> bool:
    """Whether link *a* fills up before link *b*."""
    return f[o.level + a] < f[o.level + b] or (f[o.level + a] == f[o.level + b] and a < b)
