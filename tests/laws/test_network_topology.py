"""Laws of topologies and routes: sizes, symmetry, shortest ways, and errors that name the numbers."""

from __future__ import annotations

import itertools
import subprocess
import sys
from pathlib import Path

import pytest

import archsim
from archsim.errors import InputError
from archsim.network import layouts
from archsim.network.layouts import LAYOUTS, grid_index, grid_position
from archsim.network.routing import _mixed
from archsim.network.special import reduction_root
from archsim.network.topology import Edge, Network, NetworkOptions, build_network

RATE = 10**9
SOURCE = str(Path(archsim.__file__).parents[1])


def network(topology: str, chips: int, shape: tuple[int, ...] = (), **options: object) -> Network:
    """Return a network with links of 1 GB/s and 100 ps a hop."""
    made = NetworkOptions(**options)  # type: ignore[arg-type]
    return build_network(topology, chips, link_bytes_per_s=RATE, link_latency_ps=100, shape=shape, options=made)


EVERY = {
    "none": (1, (), 0),
    "switch": (8, (), 2 * 8),
    "full_mesh": (8, (), 8 * 7),
    "ring": (8, (), 2 * 8),
    "torus": (64, (4, 4, 4), 2 * 3 * 64),
    "mesh": (64, (8, 8), 2 * 2 * 8 * 7),
    "wafer_mesh": (64, (8, 8, 2, 2), 2 * 2 * 8 * 7),
    "two_level": (32, (8,), 2 * 32 + 2 * 32),
    "fat_tree": (16, (4,), 2 * (16 + 16 + 16)),
    "dragonfly": (40, (4, 2, 1, 5), 2 * (40 + 5 * 6 + 10)),
}


@pytest.mark.parametrize("topology", LAYOUTS)
def test_a_topology_has_the_links_that_its_formula_says(topology: str) -> None:
    """Directed links counted by hand for one size of each."""
    chips, shape, links = EVERY[topology]
    assert len(network(topology, chips, shape).links) == links


@pytest.mark.parametrize("topology", LAYOUTS)
def test_every_route_is_connected_and_ends_where_it_should(topology: str) -> None:
    """A route's links join head to tail from source to destination and pass no node twice."""
    chips, shape, _ = EVERY[topology]
    made = network(topology, chips, shape)
    for src, dst in itertools.permutations(range(chips), 2):
        links = [made.links[index] for index in made.route(src, dst)]
        nodes = [links[0].src, *(link.dst for link in links)]
        assert nodes[0] == f"chip{src}"
        assert nodes[-1] == f"chip{dst}"
        assert all(a.dst == b.src for a, b in itertools.pairwise(links))
        assert len(set(nodes)) == len(nodes)


@pytest.mark.parametrize("topology", ["torus", "mesh", "fat_tree", "dragonfly", "ring"])
def test_the_own_routing_is_as_short_as_dijkstra_on_these_graphs(topology: str) -> None:
    """Dimension order, D-mod-k and minimal dragonfly are minimal; a dragonfly may take one local hop more."""
    chips, shape, _ = EVERY[topology]
    own, short = network(topology, chips, shape), network(topology, chips, shape, routing="shortest")
    slack = 1 if topology == "dragonfly" else 0
    for src, dst in itertools.permutations(range(chips), 2):
        assert len(short.route(src, dst)) <= len(own.route(src, dst)) <= len(short.route(src, dst)) + slack


def test_ecmp_spreads_pairs_and_stays_shortest() -> None:
    """In a fat-tree of k = 4 the pairs between two pods use all four core switches, on paths of six hops."""
    made = network("fat_tree", 16, (4,), routing="ecmp")
    routes = [made.route(src, dst) for src in range(4) for dst in range(4, 16)]
    cores = {made.links[index].dst for route in routes for index in route if made.links[index].dst.startswith("core")}
    assert cores == {"core0", "core1", "core2", "core3"}
    assert {len(route) for route in routes} == {6}


def test_d_mod_k_gives_each_destination_its_own_way_down() -> None:
    """Shift permutations do not meet: Zahavi's property that makes D-mod-k free of conflicts."""
    made = network("fat_tree", 16, (4,))
    for shift in range(1, 16):
        used = [index for src in range(16) for index in made.route(src, (src + shift) % 16)]
        assert len(used) == len(set(used))


def test_a_wafer_stitch_has_its_own_rate() -> None:
    """Wires that cross a die's edge take the outer rate, all others the inner one."""
    made = network("wafer_mesh", 16, (4, 4, 2, 2), outer_bytes_per_s=RATE // 2, outer_latency_ps=900)
    slow = {link.name for link in made.links if link.bytes_per_s == RATE // 2}
    assert "link.chip1-chip2" in slow
    assert "link.chip0-chip1" not in slow
    assert len(slow) == 2 * 8
    # Six columns in three dies and four rows in two: two cuts of four wires, and one of six.
    cut = network("wafer_mesh", 24, (6, 4, 3, 2), outer_bytes_per_s=RATE // 2, outer_latency_ps=900)
    assert sum(link.latency_ps == 900 for link in cut.links) == 2 * (2 * 4 + 6)


def test_routes_pass_around_what_has_failed_and_others_stay() -> None:
    """In a mesh of 3 x 3 whose middle is out of order the opposite side is four hops away, any other way as before."""
    whole, broken = network("mesh", 9, (3, 3)), network("mesh", 9, (3, 3), failed=("chip4",))
    assert (len(whole.route(3, 5)), len(broken.route(3, 5))) == (2, 4)
    around = {broken.links[index].dst for index in broken.route(3, 5)}
    assert "chip4" not in around
    assert [len(broken.route(0, chip)) for chip in (2, 6, 8)] == [2, 2, 4]
    with pytest.raises(InputError, match="did you mean 'chip4'"):
        network("mesh", 9, (3, 3), failed=("chp4",))
    with pytest.raises(InputError, match="a chip that is in order"):
        network("ring", 2, failed=("chip0", "chip1"))


def test_paths_are_hashed_by_splitmix64() -> None:
    """The published generator: its first outputs from the seeds 0 and 1234567 (Steele et al., OOPSLA 2014)."""
    assert [_mixed(seed) for seed in (0, 1234567)] == [0xE220A8397B1DCDAF, 6457827717110365317]


def test_traffic_inside_a_node_stays_on_its_switch() -> None:
    """Two levels: same node over the node's switch, other node over the spine."""
    made = network("two_level", 16, (8,), outer_bytes_per_s=RATE // 10, outer_latency_ps=1000)
    assert [made.links[i].dst for i in made.route(0, 7)] == ["switch0", "chip7"]
    assert [made.links[i].dst for i in made.route(0, 8)] == ["spine0", "chip8"]
    spread = network("two_level", 16, (8,), routing="ecmp")
    assert {spread.links[i].dst for a in range(8) for b in range(8) for i in spread.route(a, b)} == {
        "switch0",
        *(f"chip{chip}" for chip in range(8)),
    }


def test_a_static_table_goes_before_the_routing() -> None:
    """A pair in the table takes the table's path."""
    made = network("ring", 4, routes={("chip0", "chip1"): ("chip0", "chip3", "chip2", "chip1")})
    assert len(made.route(0, 1)) == 3
    assert len(made.route(1, 2)) == 1


@pytest.mark.parametrize("topology", LAYOUTS)
def test_links_are_alike_where_no_outer_rate_is_given(topology: str) -> None:
    """Wires between nodes, groups and dies too."""
    chips, shape, _ = EVERY[topology]
    assert {(link.bytes_per_s, link.latency_ps) for link in network(topology, chips, shape).links} <= {(RATE, 100)}


def test_one_node_has_no_spine() -> None:
    """Two levels of one node are a switch; of two, a spine joins them."""
    assert LAYOUTS["two_level"](8, (8,)).switches == ("switch0",)
    assert LAYOUTS["two_level"](16, (8,)).switches == ("switch0", "switch1", "spine0")


def test_the_smallest_fat_tree_has_a_switch_of_each_level_for_each_chip_and_one_core() -> None:
    """Of two ports: chip, edge and aggregation, twice, over one core; one more chip, or a port less, is refused."""
    made = network("fat_tree", 2, (2,))
    assert len(made.links) == 2 * 6
    assert len(made.route(0, 1)) == 6
    for chips, ports in ((3, 2), (1, 0), (1, 1), (1, 3)):
        with pytest.raises(InputError, match=r"network\.shape"):
            network("fat_tree", chips, (ports,))


def test_nodes_of_free_edges_that_are_no_chips_are_switches() -> None:
    """They reduce where switches do."""
    ends = [("chip0", "hub"), ("hub", "chip0"), ("chip1", "hub"), ("hub", "chip1")]
    made = network("edges", 2, edges=tuple(Edge(src, dst, RATE, 100) for src, dst in ends), reduces=True)
    assert made.reducing_switches == ("hub",)
    assert reduction_root(made, (0, 1)) == "hub"


def test_of_switches_that_are_as_near_the_first_reduces() -> None:
    """Four chips of a pod are 1 + 1 + 3 + 3 hops from a lower switch of theirs and 4 x 2 from an upper one."""
    assert reduction_root(network("fat_tree", 16, (4,), reduces=True), range(4)) == "edge0_0"


@pytest.mark.parametrize(
    ("topology", "chips", "shape", "wires"),
    [
        ("full_mesh", 8, (), 28),
        ("fat_tree", 16, (4,), 16 + 4 * 8),
        ("dragonfly", 40, (4, 2, 1, 5), 40 + 5 * 6 + 10),
        ("dragonfly", 20, (4, 1, 5), 5 * 6 + 10),
    ],
)
def test_wires_are_counted_before_they_are_made(
    topology: str, chips: int, shape: tuple[int, ...], wires: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A graph of exactly the most wires is made, one of a wire more is refused."""
    monkeypatch.setattr(layouts, "MOST_WIRES", wires)
    assert len(LAYOUTS[topology](chips, shape).wires) == wires
    monkeypatch.setattr(layouts, "MOST_WIRES", wires - 1)
    with pytest.raises(InputError, match=f"at most {wires - 1} wires, not {wires}$"):
        LAYOUTS[topology](chips, shape)


def test_positions_and_indices_are_inverse() -> None:
    """Every chip of a 3D grid returns to its own number."""
    assert [grid_index(grid_position(i, (2, 3, 4)), (2, 3, 4)) for i in range(24)] == list(range(24))


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (lambda: network("swich", 4), "did you mean 'switch'"),
        (lambda: network("none", 2), "connects 2 chips"),
        (lambda: network("none", 1, (1,)), "no shape for the topology 'none'"),
        (lambda: network("switch", 2, (2,)), "no shape for the topology 'switch'"),
        (lambda: network("full_mesh", 2, (2,)), "no shape for the topology 'full_mesh'"),
        (lambda: network("torus", 9, (2, 4)), "a torus whose product is 9 chips"),
        (lambda: network("mesh", 9, (2, 4)), "a mesh whose product is 9 chips"),
        (lambda: network("wafer_mesh", 9, (2, 4, 1, 1)), "a wafer_mesh whose product is 9 chips"),
        (lambda: network("wafer_mesh", 24, (6, 4, 3, 3)), "dies divide the mesh evenly"),
        (lambda: network("wafer_mesh", 16, (4, 4, 0, 2)), "dies divide the mesh evenly"),
        (lambda: network("two_level", 16, (0,)), "divisor of 16"),
        (lambda: network("fat_tree", 17, (4,)), "k = 4 has 16"),
        (lambda: network("dragonfly", 8, (4, 2, 1, 6)), "g = a h \\+ 1"),
        (lambda: network("dragonfly", 24, (4, 1, 6)), "g = a h \\+ 1"),
        (lambda: network("dragonfly", 8, (4, 2)), "a, p, h, g"),
        (lambda: network("dragonfly", 4, (4, 0, 1, 5)), "a, p, h, g"),
        (lambda: network("dragonfly", 4, (4, 1, 2)), "a g = 4 chips; it has 8"),
        (lambda: network("dragonfly", 9, (4, 1, 2)), "a g = 9 chips; it has 8"),
        (lambda: network("dragonfly", 17, (4, 2, 1, 2)), "a p g >= 17 chips; it has 16"),
        (lambda: network("two_level", 10, (4,)), "divisor of 10"),
        (lambda: network("switch", 4, routing="d_mod_k"), "routing of this topology: shortest, ecmp$"),
        (lambda: network("mesh", 4, (4,), routing="d_mod_k"), "topology: shortest, ecmp, dimension_order$"),
        (
            lambda: network("edges", 3, edges=(Edge("chip0", "chip1", 1, 0), Edge("chip1", "chip0", 1, 0))),
            "1 of 3 chips",
        ),
        (lambda: network("edges", 2, edges=(Edge("chip0", "chip1", 1, 0),)), "chip1 -> chip0"),
        (lambda: network("edges", 2, edges=(Edge("chip0", "chip1", 0, 0), Edge("chip1", "chip0", 1, -5))), "positive"),
        (lambda: network("switch", 4).route(0, 4), "rank from 0 to 3"),
        (
            lambda: network("ring", 4, routes={("chip0", "chip2"): ("chip0", "chip1", "chip3", "chip2")}),
            "got 'chip0 -> chip1 -> chip3 -> chip2'.*none chip1 -> chip3",
        ),
    ],
)
def test_wrong_networks_are_refused_with_their_numbers(build: object, words: str) -> None:
    """Every refusal names what was given and what was expected."""
    with pytest.raises(InputError, match=words):
        build()  # type: ignore[operator]


def test_routes_do_not_depend_on_the_hash_seed() -> None:
    """Two interpreters with different seeds print the same ECMP routes."""
    code = (
        "from archsim.network.topology import *; n = build_network('fat_tree', 16, link_bytes_per_s=1, "
        "link_latency_ps=0, shape=(4,), options=NetworkOptions(routing='ecmp')); "
        "print([n.route(a, b) for a in range(16) for b in range(16)])"
    )
    seen = {
        subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            check=True,
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": SOURCE},
        ).stdout
        for seed in ("1", "2")
    }
    assert len(seen) == 1


@pytest.mark.parametrize(
    ("topology", "chips", "shape"),
    [("full_mesh", 65_536, ()), ("fat_tree", 8, (4096,)), ("dragonfly", 8, (2000, 1, 1, 2001))],
)
def test_a_graph_too_large_for_memory_is_refused_before_it_is_made(
    topology: str, chips: int, shape: tuple[int, ...]
) -> None:
    """The refusal says how many wires there would be."""
    with pytest.raises(InputError, match="wires"):
        build_network(topology, chips, shape=shape, link_bytes_per_s=10**9, link_latency_ps=1000)
