"""The slow twin of a fleet behind a router: every request is sent by what a full walk over all before it says.

For each arrival all replicas are served anew, token by token, with what they were sent so far: what is not done by then
is owed. What a replica holds is a plain list of the units sent there, newest last.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import replay_toy as toy
from replay_twin import Twin, twin_replay

COSTS, SLOW = (
    kind(lambda batch, kv: 10**6 + 10**3 * batch + 7 * kv, lambda tokens, pairs: 10**6 + 10**4 * tokens + pairs,
         spacing_bits=4)
    for kind in (toy.ToyCosts, toy.LoopCosts)
)  # fmt: skip


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


class TwinScaler:
    """Which replicas get requests, from plain lists: 'off', 'starting', 'on' or 'draining' each."""

    def __init__(self, rule: Any, replicas: int) -> None:
        self.rule = rule
        self.states = ["on" if replica < rule.least else "off" for replica in range(replicas)]
        self.ready = [0] * replicas
        self.begun = [0] * replicas
        self.on_ps = [0] * replicas
        self.changed = 0
        self.timers: list[int] = []
        self.changes = [(0, rule.least)]

    def look(self, now: int, unfinished: list[int], arriving: int) -> None:
        """Change at most one replica."""
        taking = [at for at, state in enumerate(self.states) if state in ("on", "starting")]
        load = Fraction((sum(unfinished) + arriving) * self.rule.scale, len(taking))
        if arriving and load > self.rule.high and len(taking) < self.rule.most:
            if "draining" in self.states:
                self.states[self.states.index("draining")] = "on"
            else:
                replica = self.states.index("off")
                self.states[replica], self.begun[replica] = "starting", now
                self.ready[replica] = now + self.rule.start_up_ps
        elif load < self.rule.low and len(taking) > self.rule.least and now - self.changed >= self.rule.cool_down_ps:
            self.states[taking[-1]] = "draining"
            self.settle(now, unfinished)
        else:
            return
        self.changed = now
        self.timers.append(now + self.rule.cool_down_ps)
        self.changes.append((now, len(self.states) - self.states.count("off")))

    def settle(self, now: int, unfinished: list[int]) -> None:
        """Turn those off that drain and have nothing left; let those take requests that have started."""
        for replica, state in enumerate(self.states):
            if state == "draining" and not unfinished[replica]:
                self.states[replica] = "off"
                self.on_ps[replica] += now - self.begun[replica]
                self.changes.append((now, len(self.states) - self.states.count("off")))
            if state == "starting" and self.ready[replica] <= now:
                self.states[replica] = "on"


def twin_scaled(arrivals: list[Any], costs: Any, limits: Any, replicas: int, policy: str) -> tuple[Any, list[int], int]:
    """Return the scaler, the replica of each request dealt in turn to those that run, and the end of the last."""
    scaler = TwinScaler(limits.techniques.scaling, replicas)
    sent: list[list[Any]] = [[] for _ in range(replicas)]
    chosen: list[int] = []
    done_until = 0
    for number, arrival in enumerate([*arrivals, None]):
        until = None if arrival is None else arrival.arrival_ps
        done_until = _between(scaler, sent, (costs, limits, policy), done_until, until)
        if arrival is None:
            break
        unfinished = _unfinished(sent, (costs, limits, policy), until)
        scaler.settle(until, unfinished)
        scaler.look(until, unfinished, 1)
        scaler.settle(until, unfinished)
        running = [at for at, state in enumerate(scaler.states) if state == "on"]
        chosen.append(running[number % len(running)])
        sent[chosen[-1]].append(arrival)
    for replica, state in enumerate(scaler.states):
        scaler.on_ps[replica] += 0 if state == "off" else done_until - scaler.begun[replica]
    return scaler, chosen, done_until


def _finishes(sent: list[list[Any]], how: tuple[Any, Any, str]) -> list[int]:
    return sorted(row.finish_ps for mine in sent for row in twin_replay(mine, *how[:2], how[2]).rows)


def _unfinished(sent: list[list[Any]], how: tuple[Any, Any, str], now: int) -> list[int]:
    """Return how many requests of each replica are not done after *now*."""
    return [sum(row.finish_ps > now for row in twin_replay(mine, *how[:2], how[2]).rows) for mine in sent]


def _between(
    scaler: TwinScaler, sent: list[list[Any]], how: tuple[Any, Any, str], after: int, until: int | None
) -> int:
    """Let the router look at completions and at ends of cool-downs up to *until*; return when it did last."""
    finishes = [at for at in _finishes(sent, how) if at > after]
    last = finishes[-1] if finishes else after
    now = after
    while True:
        due = [
            at for at in (*finishes, *scaler.timers) if at > now and (at < until if until is not None else at <= last)
        ]
        if not due:
            return now if until is not None else last
        now = min(due)
        unfinished = _unfinished(sent, how, now)
        scaler.settle(now, unfinished)
        scaler.look(now, unfinished, 0)
