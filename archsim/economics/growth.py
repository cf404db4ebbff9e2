"""Unit economics: how many systems serve so many users, and what each of them then costs.

    demand     = users x queries a day x tokens a query / day
    systems    = ceil(demand / (u x rate))          rate: tokens/s of one system at its service level
    load       = demand / (systems x rate)          never above u, the share of the day that capacity is bought for
    cost       = the capital of all systems and the energy of the tokens and of the idle hours, at that load

Systems are whole, so a few users pay for one that idles: the curve falls until it is that of a full system.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from archsim.economics.assess import DAYS_PER_MONTH, Running
from archsim.economics.ranges import Range, total

__all__ = ["Demand", "Scale", "cost_curve", "smooth_between", "steps_between"]

_SECONDS_PER_DAY = 86400
_MILLION = 1e6
_ROUNDING = 1e-9
"""A demand that fills systems to within this is not worth another one."""


@dataclass(frozen=True, slots=True)
class Demand:
    """What one user asks for."""

    queries_per_day: float
    output_tokens_per_query: float

    @property
    def tokens_per_day(self) -> float:
        """Output tokens."""
        return self.queries_per_day * self.output_tokens_per_query


@dataclass(frozen=True, slots=True)
class Scale:
    """What so many users take; low is the cheap end."""

    users: int
    systems: tuple[int, int, int]
    """Whole ones: low, mid, high."""
    load: Range
    """Share of the time in which they work; the cheap end is the busy one."""
    usd_per_million_tokens: Range
    usd_per_query: Range
    usd_per_user_month: Range
    g_co2e_per_million_tokens: Range


def cost_curve(running: Running, demand: Demand, users: Sequence[int]) -> list[Scale]:
    """Return what serving each number of *users* takes, with systems at the rate of *running*."""
    return [_scale(running, demand, count) for count in users]


def _scale(running: Running, demand: Demand, users: int) -> Scale:
    wanted = users * demand.tokens_per_day / _SECONDS_PER_DAY
    used = running.economics.operation.utilization.range.turned()
    systems = [max(1, math.ceil(wanted / (share * running.tokens_per_s) - _ROUNDING)) for share in used]
    load = Range(*(min(1.0, wanted / (number * running.tokens_per_s)) for number in systems))
    busy = load.turned()
    price, grid = running.economics.place.energy.range, running.economics.place.grid.range
    joules = running.joules_per_token(busy).values()
    dollars = [*running.per_token(running.capital, busy).values(), *(part.times(price) for part in joules)]
    carbon = [*running.per_token(running.embodied, busy).values(), *(part.times(grid) for part in joules)]
    usd = total(dollars)
    return Scale(
        users=users,
        systems=(systems[0], systems[1], systems[2]),
        load=load,
        usd_per_million_tokens=usd.scaled(_MILLION),
        usd_per_query=usd.scaled(demand.output_tokens_per_query),
        usd_per_user_month=usd.scaled(demand.tokens_per_day * DAYS_PER_MONTH),
        g_co2e_per_million_tokens=total(carbon).scaled(1000 * _MILLION),
    )


def steps_between(first: int, last: int) -> list[int]:
    """Return *first*, *last* and the 1, 2 and 5 of every power of ten between them."""
    inner = [
        digit * 10**power for power in range(len(str(last))) for digit in (1, 2, 5) if first < digit * 10**power < last
    ]
    return sorted({first, *inner, last})


def smooth_between(first: int, last: int, points: int = 240) -> list[int]:
    """Return whole numbers from *first* to *last* in equal ratios, for a curve that shows every system bought."""
    ratio = last / first
    return sorted({round(first * ratio ** (step / (points - 1))) for step in range(points)})
