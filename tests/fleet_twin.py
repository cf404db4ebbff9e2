"""The slow twin of a fleet behind a router: every request is sent by what a full walk over all before it says.

For each arrival all replicas are served anew, token by token, with what they were sent so far: what is not done by then
is owed. What a replica holds is a plain list of the units sent there, newest last.
"""

from __future__ import annotations

from typing import Any

from replay_twin import Twin, twin_replay


def twin_fleet(
    arrivals: list[Any], costs: Any, limits: Any, replicas: int, policy: str
) -> tuple[list[int], list[Twin]]:
    """Return the replica of each request under prefix affinity, and every replica's walk."""
    sent: list[list[Any]] = [[] for _ in range(replicas)]
    units: list[list[int]] = [[] for _ in range(replicas)]
    chosen = []
    for arrival in arrivals:
        owed = [_owed(mine, costs, limits, policy, arrival.arrival_ps) for mine in sent]
        best = _choice(arrival, units, owed, limits)
        chosen.append(best)
        sent[best].append(arrival)
        units[best] = [unit for unit in units[best] if unit not in arrival.prefix] + list(arrival.prefix)[::-1]
        rule = limits.techniques.prefix
        most = limits.kv_blocks // max(limits.reach.full * rule.unit_tokens // limits.block_tokens, 1)
        units[best] = units[best][-max(most, 1) :]
    return chosen, [twin_replay(mine, costs, limits, policy) for mine in sent]


def _owed(mine: list[Any], costs: Any, limits: Any, policy: str, now_ps: int) -> int:
    rows = twin_replay(mine, costs, limits, policy).rows
    return sum(row.prompt + row.output for row in rows if row.finish_ps > now_ps)


def _choice(arrival: Any, units: list[list[int]], owed: list[int], limits: Any) -> int:
    rule = limits.techniques.prefix
    held = []
    for mine in units:
        depth = 0
        while depth < len(arrival.prefix) and arrival.prefix[depth] in mine:
            depth += 1
        held.append(depth)
    order = sorted(range(len(owed)), key=lambda replica: (-held[replica], owed[replica], replica))
    best = order[0]
    if held[best] and owed[best] - min(owed) <= rule.imbalance_tokens:
        return best
    return owed.index(min(owed))
