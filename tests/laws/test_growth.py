"""What makes large things cheap changes no answer: fronts, routes, and one set of books for all replicas."""

from __future__ import annotations

import itertools
import math
import random

import networkx as nx
import numpy as np
import pytest

from archsim.metrics.accounts import ACCOUNTS
from archsim.network.layouts import grid_index, grid_position
from archsim.network.topology import build_network
from archsim.simulate import evaluate_step, load_model, load_system
from archsim.study.fronts import dominates, front_of

_LINK = {"link_bytes_per_s": 10**9, "link_latency_ps": 10}


@pytest.mark.parametrize("objectives", [1, 2, 3])
def test_a_front_is_that_of_comparing_every_two_points(objectives: int) -> None:
    """A point stays where none met before is as good and none met later is better."""
    draw = random.Random(objectives)
    for _ in range(50):
        scores = [tuple(float(draw.randint(0, 6)) for _ in range(objectives)) for _ in range(40)]
        front, held = front_of(objectives), set()
        for number, score in enumerate(scores):
            if (driven := front.add(score, number)) is not None:
                held = (held | {number}) - set(driven)
        expected = {
            number
            for number, score in enumerate(scores)
            if score not in scores[:number] and not any(dominates(other, score) for other in scores)
        }
        assert front.points == held == expected


@pytest.mark.parametrize(
    ("topology", "shape"),
    [("torus", (4, 5)), ("torus", (2, 2, 3)), ("mesh", (3, 4)), ("ring", (7,)), ("mesh", (1, 6))],
)
def test_routes_of_a_grid_go_hop_by_hop(topology: str, shape: tuple[int, ...]) -> None:
    """One dimension after the other; on a closed line the short way, and upwards where both are as long."""
    network = build_network(topology, math.prod(shape), shape=shape, **_LINK)
    for src, dst in itertools.permutations(range(math.prod(shape)), 2):
        position, target = list(grid_position(src, shape)), grid_position(dst, shape)
        passed = [src]
        for axis, extent in enumerate(shape):
            up = (target[axis] - position[axis]) % extent
            forth = 2 * up <= extent if topology != "mesh" and extent > 2 else target[axis] > position[axis]
            while position[axis] != target[axis]:
                position[axis] = (position[axis] + (1 if forth else -1)) % extent
                passed.append(grid_index(tuple(position), shape))
        links = [network.links[index] for index in network.route(src, dst)]
        assert [(link.src, link.dst) for link in links] == [
            (f"chip{a}", f"chip{b}") for a, b in itertools.pairwise(passed)
        ]


@pytest.mark.parametrize(
    ("topology", "chips", "shape"),
    [("switch", 5, ()), ("two_level", 8, (4,)), ("full_mesh", 5, ()), ("fat_tree", 16, (4,)), ("ring", 6, ())],
)
def test_next_hops_are_those_of_networkx(topology: str, chips: int, shape: tuple[int, ...]) -> None:
    """The neighbours on ways of least weight are the predecessors that Dijkstra finds from the destination."""
    network = build_network(topology, chips, shape=shape, **_LINK)
    for dst in network.endpoints:
        before, _ = nx.dijkstra_predecessor_and_distance(network.graph.reverse(copy=False), dst)
        for node in network.graph.nodes:
            if node != dst:
                assert sorted(network.next_hops(node, dst)) == sorted(before[node])


@pytest.mark.parametrize(("topology", "shape"), [("switch", ()), ("fat_tree", (4,)), ("two_level", (4,))])
def test_a_route_that_is_not_kept_is_the_one_that_is(topology: str, shape: tuple[int, ...]) -> None:
    """Two ends on one switch have one route; it is the path that the routing names."""
    network = build_network(topology, 16, shape=shape, **_LINK)
    for src, dst in itertools.permutations(range(16), 2):
        once = network.route_once(src, dst)
        assert once == network.route(src, dst)
        nodes = [network.links[index].src for index in once] + [network.links[once[-1]].dst]
        assert (nodes[0], nodes[-1]) == (f"chip{src}", f"chip{dst}")
        if len(once) == 2 and topology == "two_level":
            assert nodes[1] == (f"switch{src // 4}" if src // 4 == dst // 4 else "spine0")


def test_many_replicas_book_what_one_does() -> None:
    """64 replicas of 8 chips: each one's ledger is the first one's, and the chips' as a whole is their sum."""
    spec = load_system("h100-sxm8", overrides=["chips=512"])
    model = load_model("llama-3.1-8b")
    many = evaluate_step(spec, model, batch=512, context=1024, parallelism="tp=8,dp=64")
    one = evaluate_step(load_system("h100-sxm8"), model, batch=8, context=1024, parallelism="tp=8")
    first = one.ledger["chip0-7.hbm"]
    for replica in range(64):
        assert many.ledger[f"chip{8 * replica}-{8 * replica + 7}.hbm"].accounts == first.accounts
    whole = many.ledger["chip0-511.hbm"]
    assert whole.peak_per_s == 64 * first.peak_per_s
    assert whole.accounts == pytest.approx(first.accounts, rel=1e-12)
    assert many.tables is not None
    rows = many.tables.ledger
    memory = [place for place, name in enumerate(rows.scopes) if name.endswith(".hbm")]
    for account in range(len(ACCOUNTS)):
        booked = [float(rows.amount[(rows.scope == place) & (rows.account == account)].sum()) for place in memory]
        named = dict(zip((rows.scopes[place] for place in memory), booked, strict=True))
        parts = [amount for name, amount in named.items() if name != "chip0-511.hbm"]
        assert len(parts) == 64
        assert np.isclose(named["chip0-511.hbm"], math.fsum(parts), rtol=1e-12)
