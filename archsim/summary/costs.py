"""Cost and carbon of a design of several systems: the sums over its pools.

A pool of n copies that together deliver a rate costs what one copy costs that delivers the n-th part of it; a token
carries its share of every pool, whichever made it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from archsim.economics.assess import assessed
from archsim.economics.ranges import Range, total
from archsim.economics.spec import Economics
from archsim.hardware.pools_spec import PoolsSpec
from archsim.result import Bounds, Carbon, Cost, Result
from archsim.summary.cascaded import paid_by_class

__all__ = ["costs_of_pools"]


def costs_of_pools(result: Result, spec: PoolsSpec, economics: Economics) -> Result:
    """Return *result* with its cost and carbon by *economics*. What joins the pools has no price and is absent."""
    rate = result.throughput.output_tokens_per_s
    if not rate or result.pools is None:
        return result.model_copy(update={"cost": None, "carbon": None})
    priced = {}
    for name, pool in result.pools.items():
        share = result.throughput.model_copy(update={"output_tokens_per_s": rate / pool.replicas})
        alone = result.model_copy(update={"throughput": share, "energy": pool.energy})
        priced[name] = assessed(alone, spec.machines[name].system, economics)
    costs = {name: one.cost for name, one in priced.items() if one.cost is not None}
    carbons = {name: one.carbon for name, one in priced.items() if one.carbon is not None}
    copies = {name: pool.replicas for name, pool in result.pools.items()}
    sums = {"cost": _cost(costs, copies), "carbon": _carbon(carbons, copies)}
    return result.model_copy(update={**sums, "cascade": paid_by_class(result, costs)})


def _cost(pools: Mapping[str, Cost], copies: Mapping[str, int]) -> Cost:
    first = next(iter(pools.values()))
    whole = _total(
        Bounds(
            low=one.usd_per_million_output_tokens_low,
            mid=one.usd_per_million_output_tokens,
            high=one.usd_per_million_output_tokens_high,
        )
        for one in pools.values()
    )
    queries = [one.usd_per_query for one in pools.values() if one.usd_per_query is not None]
    return first.model_copy(
        update={
            "basis": "price" if all(one.basis == "price" for one in pools.values()) else "parts",
            "usd_per_million_output_tokens": whole.mid,
            "usd_per_million_output_tokens_low": whole.low,
            "usd_per_million_output_tokens_high": whole.high,
            "usd_per_query": _total(queries) if queries else None,
            "usd_per_user_month": _total(one.usd_per_user_month for one in pools.values()),
            "by_part": _named({name: one.by_part for name, one in pools.items()}),
            "capital_usd": _named({name: one.capital_usd for name, one in pools.items()}, copies),
            "included": [f"{name}/{part}" for name, one in pools.items() for part in one.included],
            "absent": sorted(f"{name}/{part}" for name, one in pools.items() for part in one.absent),
        }
    )


def _carbon(pools: Mapping[str, Carbon], copies: Mapping[str, int]) -> Carbon:
    first = next(iter(pools.values()))
    whole = _total(
        Bounds(
            low=one.g_co2e_per_million_output_tokens_low,
            mid=one.g_co2e_per_million_output_tokens,
            high=one.g_co2e_per_million_output_tokens_high,
        )
        for one in pools.values()
    )
    return first.model_copy(
        update={
            "g_co2e_per_million_output_tokens": whole.mid,
            "g_co2e_per_million_output_tokens_low": whole.low,
            "g_co2e_per_million_output_tokens_high": whole.high,
            "operational_g_per_million_output_tokens": _total(
                one.operational_g_per_million_output_tokens for one in pools.values()
            ),
            "embodied_g_per_million_output_tokens": _total(
                one.embodied_g_per_million_output_tokens for one in pools.values()
            ),
            "by_part": _named({name: one.by_part for name, one in pools.items()}),
            "embodied_kg": _named({name: one.embodied_kg for name, one in pools.items()}, copies),
            "absent": sorted(f"{name}/{part}" for name, one in pools.items() for part in one.absent),
        }
    )


def _named(pools: Mapping[str, Mapping[str, Bounds]], copies: Mapping[str, int] | None = None) -> dict[str, Bounds]:
    """Return the parts of all pools under their names, each times its pool's *copies* where given."""
    found = {}
    for name, parts in pools.items():
        times = 1 if copies is None else copies[name]
        for part, bounds in parts.items():
            scaled = Range(bounds.low, bounds.mid, bounds.high).scaled(times)
            found[f"{name}/{part}"] = Bounds(low=scaled.low, mid=scaled.mid, high=scaled.high)
    return found


def _total(parts: Iterable[Bounds]) -> Bounds:
    whole = total([Range(part.low, part.mid, part.high) for part in parts])
    return Bounds(low=whole.low, mid=whole.mid, high=whole.high)
