"""How many experts a microbenchmark's batch touches, for the routings that it names.

`balanced` spreads the rows evenly over all experts. `power_law_A` draws the load of each expert from a power law of
exponent A between one row and most of the batch, as the collector of ai-dynamo/aiconfigurator does; here the loads
are its quantiles instead of draws. Serving rows use the model's own estimate (`workload.operators`).
"""

from __future__ import annotations

import math

__all__ = ["touched_experts"]

_MOST = 0.8
"""Largest load over the number of tokens, before loads are scaled to the batch."""


def touched_experts(routing: str, rows: int, experts: int, *, ranks: int) -> tuple[float, int]:
    """Return (experts with a row, rows) on the rank that has the most of *rows*; experts are dealt to *ranks*.

    Raises `ValueError` for a routing that is not known.
    """
    mine = experts // ranks
    if routing == "balanced":
        share = -(-rows // ranks)
        return float(max(min(mine, share), 1)), share
    name, _, exponent = routing.rpartition("_")
    if name != "power_law":
        raise ValueError(routing)
    loads = sorted(_quantiles(float(exponent), rows, experts), reverse=True)
    busiest = loads[::ranks] if ranks > 1 else loads
    routed = max(round(math.fsum(busiest)), 1)
    return max(math.fsum(min(load, 1.0) for load in busiest), 1.0), routed


def _quantiles(exponent: float, rows: int, experts: int) -> list[float]:
    top = max(_MOST * rows, 2.0)
    power = 1 - exponent
    raw = [((top**power - 1) * (index + 0.5) / experts + 1) ** (1 / power) for index in range(experts)]
    scale = rows / math.fsum(raw)
    return [load * scale for load in raw]
