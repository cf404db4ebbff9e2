"""Cost and carbon of a result: what its tokens share of the machines' price and of their energy.

    u                  = share of the day in which the system works at the rate of the run
    capital per token  = USD of a part / (lifetime x u x tokens/s)
    energy per token   = J/token x PUE x USD/J
    idle hours         = idle W x (1 - u) / (u x tokens/s) x PUE x USD/J
    operational carbon = the same joules x kg/J of the grid
    embodied carbon    = kg of a part / (lifetime x u x tokens/s)

A38: paid off evenly, one rate for a share of each day, idle power for the rest. The cheap end takes the long life, the
busy day, the low price. What is paid for a data center has a life of its own.
"""

from __future__ import annotations

from dataclasses import dataclass

from archsim.economics.capital import CHIP, DATACENTER, Capital, capital_of, embodied_of
from archsim.economics.ranges import Range, total
from archsim.economics.spec import Economics
from archsim.hardware.energy import energy_costs
from archsim.hardware.spec import SystemSpec
from archsim.result import Bounds, Carbon, Cost, Energy, Result

__all__ = ["DAYS_PER_MONTH", "Owned", "Running", "assessed", "assessed_as", "energy_joules", "idle_watts"]

_MILLION = 1e6
_GRAMS = 1e3
_ENERGY, _IDLE = "energy", "energy.idle_hours"
DAYS_PER_MONTH = 365.25 / 12
"""Mean length of a month."""


@dataclass(frozen=True, slots=True)
class Owned:
    """A system before it does anything: what it is priced by, and what of it no run changes."""

    economics: Economics
    capital: Capital
    embodied: Capital
    idle_watts: Range | None

    @classmethod
    def of(cls, spec: SystemSpec, economics: Economics) -> Owned:
        """Return *spec* as it is owned by *economics*."""
        return cls(economics, capital_of(spec, economics), embodied_of(spec, economics), idle_watts(spec))


class Running:
    """A system at work: its rate, its joules per token, its capital, and the file of prices.

    The joules are those of *result*; the rate may be another, that of saturation.
    """

    def __init__(self, result: Result, owned: Owned, *, tokens_per_s: float) -> None:
        self.economics = owned.economics
        self.tokens_per_s = tokens_per_s
        self.capital = owned.capital
        self.embodied = owned.embodied
        self.joules, self.lacking = energy_joules(result.energy)
        self.idle_watts = owned.idle_watts

    def per_token(self, capital: Capital, utilization: Range) -> dict[str, Range]:
        """Return what a token carries of each part of *capital*; more use, and a longer life, carry less."""
        prices = self.economics
        busy = utilization.scaled(self.tokens_per_s)
        shares = {}
        for part, amount in capital.parts.items():
            life = prices.system.datacenter_lifetime if part == DATACENTER else prices.operation.lifetime
            shares[part] = amount.over(life.range.times(busy).turned())
        return shares

    def joules_per_token(self, utilization: Range) -> dict[str, Range]:
        """Return the joules of the facility that a token takes: at work, and in the hours without."""
        pue = self.economics.operation.pue.range
        found = {}
        if self.joules is not None:
            found[_ENERGY] = self.joules.times(pue)
        if self.idle_watts is not None:
            waiting = Range(*((1 - u) / (u * self.tokens_per_s) for u in utilization.turned()))
            found[_IDLE] = self.idle_watts.times(waiting).times(pue)
        return found

    @property
    def absent(self) -> set[str]:
        """What of energy has no figure."""
        return set(self.lacking) | ({_IDLE} if self.idle_watts is None else set())


def assessed(result: Result, spec: SystemSpec, economics: Economics) -> Result:
    """Return *result*, which was run on *spec*, with its cost and carbon by *economics*."""
    return assessed_as(result, Owned.of(spec, economics))


def assessed_as(result: Result, owned: Owned) -> Result:
    """Return *result* with the cost and carbon of the system that it was run on."""
    rate = result.throughput.output_tokens_per_s
    if not rate:
        return result.model_copy(update={"cost": None, "carbon": None})
    running = Running(result, owned, tokens_per_s=rate / _on_share(result))
    return result.model_copy(update={"cost": _cost(result, running), "carbon": _carbon(running)})


def _on_share(result: Result) -> float:
    """Return the share of the replicas' time in which they were not off: what tokens pay for (P14)."""
    scaling = result.serving.scaling if result.serving else None
    return scaling.mean_replicas / scaling.replicas if scaling else 1.0


def _cost(result: Result, running: Running) -> Cost:
    economics, used = running.economics, running.economics.operation.utilization.range
    price = economics.place.energy.range
    parts = running.per_token(running.capital, used)
    parts |= {part: joules.times(price) for part, joules in running.joules_per_token(used).items()}
    per_million = {part: share.scaled(_MILLION) for part, share in sorted(parts.items())}
    whole = total(per_million.values())
    completed = result.requests.completed
    user = economics.user
    a_month = DAYS_PER_MONTH * user.queries_per_day * user.output_tokens_per_query
    return Cost(
        economics=economics.name,
        economics_digest=economics.digest,
        region=economics.region,
        basis="price" if CHIP in running.capital.parts else "parts",
        usd_per_million_output_tokens=whole.mid,
        usd_per_million_output_tokens_low=whole.low,
        usd_per_million_output_tokens_high=whole.high,
        usd_per_query=_bounds(whole.scaled(result.tokens.output / completed / _MILLION)) if completed else None,
        usd_per_user_month=_bounds(whole.scaled(a_month / _MILLION)),
        by_part={part: _bounds(share) for part, share in per_million.items()},
        capital_usd={part: _bounds(amount) for part, amount in running.capital.parts.items()},
        included=list(running.capital.included),
        absent=sorted({*running.capital.absent, *running.absent}),
    )


def _carbon(running: Running) -> Carbon:
    economics, used = running.economics, running.economics.operation.utilization.range
    grams = _GRAMS * _MILLION
    grid = economics.place.grid.range
    operational = {part: joules.times(grid).scaled(grams) for part, joules in running.joules_per_token(used).items()}
    embodied = {part: share.scaled(grams) for part, share in running.per_token(running.embodied, used).items()}
    sums = total(operational.values()), total(embodied.values())
    whole = total(sums)
    parts = operational | {f"embodied.{part}": share for part, share in embodied.items()}
    return Carbon(
        region=economics.region,
        g_co2e_per_million_output_tokens=whole.mid,
        g_co2e_per_million_output_tokens_low=whole.low,
        g_co2e_per_million_output_tokens_high=whole.high,
        operational_g_per_million_output_tokens=_bounds(sums[0]),
        embodied_g_per_million_output_tokens=_bounds(sums[1]),
        by_part={part: _bounds(share) for part, share in sorted(parts.items())},
        embodied_kg={part: _bounds(amount) for part, amount in running.embodied.parts.items()},
        absent=sorted({*(f"embodied.{part}" for part in running.embodied.absent), *running.absent}),
    )


def _bounds(value: Range) -> Bounds:
    return Bounds(low=value.low, mid=value.mid, high=value.high)


def energy_joules(energy: Energy | None) -> tuple[Range | None, tuple[str, ...]]:
    """Return the joules of an output token, None where no part has a figure, and the parts that lack one."""
    if energy is None or energy.joules_per_output_token is None:
        return None, (_ENERGY,)
    low, high = energy.joules_per_output_token_low, energy.joules_per_output_token_high
    middle = energy.joules_per_output_token
    found = Range(middle if low is None else low, middle, middle if high is None else high)
    return found, tuple(f"{_ENERGY}.{part}" for part in energy.absent)


def idle_watts(spec: SystemSpec) -> Range | None:
    """Return what the system draws without work: idle chips and hosts; None where the chips' figure is not known."""
    costs = energy_costs(spec)
    chip, host = costs["chip.idle"], costs["host"]
    if chip is None:
        return None
    drawn = Range(chip.low, chip.middle, chip.high).scaled(spec.chips)
    return drawn if host is None else total([drawn, Range(host.low, host.middle, host.high)])
