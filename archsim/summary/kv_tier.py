"""What a result says of a tier of KV caches: what moved, the books of its port, the energy of its bits.

A tier that is a memory of the chips has its book among the chips'. One that lies outside has a port, with a book each
way: bytes are `moved`, the time before a move's first byte is `latency`, what the memory at the chips' end cannot pass
is `memory`, and else it is `idle`.
"""

from __future__ import annotations

from fractions import Fraction

from archsim.hardware.energy import joules_per_bit
from archsim.hardware.tier_spec import TierSpec
from archsim.metrics.energy import Use
from archsim.metrics.ledger import check_balance
from archsim.metrics.techniques import KvTierFacts, ServingFacts
from archsim.result import Result, ScopeLedger
from archsim.serving.record import Record
from archsim.serving.tier import TierUse
from archsim.summary.facts import Design, Served
from archsim.summary.phases import seconds
from archsim.summary.tiers import tier_facts

__all__ = ["tier_uses", "with_tier"]

_BITS = 8


def tier_uses(design: Design, record: Record) -> tuple[Use, ...]:
    """Return what a tier outside the chips did, for the bill."""
    tier = _outside(design)
    if tier is None or record.tier is None:
        return ()
    return (Use("tier", _BITS * (record.tier.out_bytes + record.tier.in_bytes), joules_per_bit(tier.pj_per_bit)),)


def with_tier(result: Result, design: Design, served: Served) -> Result:
    """Return *result* with what its tier did; as it is where there is none. Raises `SimulationError` as books do."""
    serving, use = design.spec.serving, served.record.tier
    if serving is None or serving.tier is None or use is None or served.limits is None:
        return result
    rule = served.limits.techniques.tier
    servers, prefixes = len(served.replicas) or 1, served.record.prefixes
    prompts = prefixes.prompt_tokens if prefixes else 0
    facts = KvTierFacts(
        name=serving.tier.name,
        capacity_bytes=servers * rule.capacity_bytes if rule else 0,
        swapped_out=use.swapped_out,
        swapped_in=use.swapped_in,
        turned_away=use.turned_away,
        stored_blocks=use.stored_units,
        fetched_blocks=use.fetched_units,
        dropped_blocks=use.dropped_units,
        hit_tokens=use.hit_tokens,
        hit_share=use.hit_tokens / prompts if prompts else 0.0,
        out_bytes=use.out_bytes,
        in_bytes=use.in_bytes,
        peak_bytes=use.peak_bytes,
        time_s=seconds(use.out_fine + use.in_fine + use.out_wait_fine + use.in_wait_fine) / servers,
    )
    ledger = result.ledger | _ports(design, use, servers=servers, whole_s=servers * seconds(_span(served)))
    placement = result.placement
    if (memory := serving.tier.memory) is not None and result.simulated_s:
        rate = Fraction(use.out_bytes) / Fraction(result.simulated_s)
        placement = tier_facts(design, result.ledger, {memory: rate})
    told = (result.serving or ServingFacts()).model_copy(update={"kv_tier": facts})
    return result.model_copy(update={"ledger": ledger, "serving": told, "placement": placement})


def _span(served: Served) -> int:
    total = served.record.total
    return total.end_fine - total.start_fine


def _outside(design: Design) -> TierSpec | None:
    serving = design.spec.serving
    return serving.tier if serving and serving.tier and serving.tier.memory is None else None


def _ports(design: Design, use: TierUse, *, servers: int, whole_s: float) -> dict[str, ScopeLedger]:
    """Return the book of all ports of all replicas together, one each way; *whole_s* is the time of all replicas."""
    tier = _outside(design)
    if tier is None or tier.bytes_per_s is None or not whole_s:
        return {}
    peak = tier.bytes_per_s * len(design.spec.working_chips)
    ways = {
        "out": (use.out_bytes, use.out_fine, use.out_wait_fine),
        "in": (use.in_bytes, use.in_fine, use.in_wait_fine),
    }
    return {f"link.tier.{way}": _book(peak, servers, whole_s, amounts) for way, amounts in ways.items()}


def _book(peak: int, servers: int, whole_s: float, amounts: tuple[int, int, int]) -> ScopeLedger:
    size, passing, waiting = amounts
    one = peak / servers
    slower = one * seconds(passing) - size
    books = {
        "moved": float(size),
        "memory": slower if slower > size * 1e-12 else 0.0,
        "latency": one * seconds(waiting),
        "idle": one * (whole_s - seconds(passing) - seconds(waiting)),
    }
    booked = one * whole_s
    check_balance("link.tier", {name: amount for name, amount in books.items() if amount}, booked=booked)
    shares = {name: amount / booked for name, amount in books.items() if amount}
    return ScopeLedger(peak_per_s=float(peak), unit="B/s", accounts=shares)
