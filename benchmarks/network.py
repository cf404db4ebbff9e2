"""Flows a second of the max-min solver: `python benchmarks/network.py`.

Random pairs of an 8x8 mesh, sizes up to 16 MiB, 50 GB/s and 500 ns a link, as in the reference scenarios of SimGrid:
*staggered*, 25 us apart on average, and *at once*, all at time zero. SimGrid 3.32 solved 39,885 to 57,824 staggered
flows a second, and of 20,000 concurrent ones 56 a second. The first figure includes routes and layout, the second is
the kernel alone.
"""

from __future__ import annotations

import random
import time

from archsim.network import sharing
from archsim.network.columns import as_arrays, lay_out
from archsim.network.flows import Flow, route_flows, solve_flows
from archsim.network.topology import Network, build_network

CHIPS = 64
SPACING_S = 25e-6
ROUNDS = 3


def flows_of(count: int, span_s: float) -> list[Flow]:
    """Return *count* random flows that start within *span_s*; the same ones every time."""
    draw = random.Random(count)
    pairs = [draw.sample(range(CHIPS), 2) for _ in range(count)]
    return [Flow(src, dst, draw.randrange(1, 1 << 24), draw.random() * span_s) for src, dst in pairs]


def best_s(network: Network, flows: list[Flow]) -> tuple[float, float]:
    """Return the shortest wall time of routing, layout and solving together, and of the kernel alone."""
    whole, kernel = [], []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        solve_flows(network, flows)
        whole.append(time.perf_counter() - start)
        places, ints, floats = lay_out(route_flows(network, flows))
        columns = as_arrays(ints, floats)
        start = time.perf_counter()
        sharing.compiled_share()(places, *columns, sharing.ENDLESS)
        kernel.append(time.perf_counter() - start)
    return min(whole), min(kernel)


def main() -> None:
    """Print one line for each load."""
    network = build_network("mesh", CHIPS, shape=(8, 8), link_bytes_per_s=50 * 10**9, link_latency_ps=500_000)
    best_s(network, flows_of(1000, 0.0))  # compiles
    print(f"{'load':<12}{'flows':>8}{'flows/s':>12}{'kernel/s':>12}")
    for load, spacing_s in (("staggered", SPACING_S), ("at once", 0.0)):
        for count in (1000, 5000, 20000):
            whole, kernel = best_s(network, flows_of(count, count * spacing_s))
            print(f"{load:<12}{count:>8}{count / whole:>12,.0f}{count / kernel:>12,.0f}")


if __name__ == "__main__":
    main()
