"""The network floor against SimGrid's flows and ASTRA-sim's FIFO links."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from archsim.errors import InputError
from archsim.network.topology import build_network
from archsim.validation.network import suite

TOPOLOGIES = {
    "ring8": ("ring", 8, ()),
    "torus4x4": ("torus", 16, (4, 4)),
    "mesh8x8": ("mesh", 64, (8, 8)),
    "star8": ("switch", 8, ()),
    "fattree16": ("fat_tree", 16, (4,)),
    "dragonfly40": ("dragonfly", 40, (4, 2, 1, 5)),
}
NAMES = {"n": "chip", "s": "switch0", "e": "edge", "a": "agg", "c": "core", "r": "router"}


def _ours(node: str) -> str:
    return "switch0" if node == "sw" else NAMES[node[0]] + node[1:].lstrip("_")


@pytest.fixture(scope="module")
def simgrid(shared: Path) -> dict[str, Any]:
    """Return the reference as it stands."""
    content: dict[str, Any] = json.loads((shared / "reference/network/ref_simgrid.json").read_text())
    return content


def test_every_flow_finishes_when_simgrid_says(shared: Path) -> None:
    """49 scenarios, 4,741 flows: the flow that is furthest off is within 1e-9 in each."""
    rows = suite(shared / "reference/network/ref_simgrid.json")
    assert len(rows) == 49
    assert max(abs(row["error"]) for row in rows) <= 1e-9


@pytest.mark.parametrize("name", TOPOLOGIES)
def test_our_topologies_and_routes_are_the_references(simgrid: dict[str, Any], name: str) -> None:
    """Generated links and routed paths are node for node those of the reference."""
    topology, chips, shape = TOPOLOGIES[name]
    theirs = simgrid["topologies"][name]
    made = build_network(topology, chips, link_bytes_per_s=50 * 10**9, link_latency_ps=0, shape=shape)
    assert {(link.src, link.dst) for link in made.links} == {tuple(map(_ours, link)) for link in theirs["links"]}
    for pair, links in theirs["routes"].items():
        expected = [tuple(map(_ours, theirs["links"][link])) for link in links]
        assert [(made.links[i].src, made.links[i].dst) for i in made.route(*map(int, pair.split(",")))] == expected


def test_fifo_links_repeat_astra_to_the_nanosecond(shared: Path) -> None:
    """72 makespans with one chunk a message and serving times cut to nanoseconds: equal, not close."""
    rows = suite(shared / "reference/network/ref_astra_analytical.json")
    assert len(rows) == 72
    assert [row["predicted"] for row in rows] == [row["expected"] for row in rows]


def test_the_closed_forms_hold_without_a_reference() -> None:
    """Ring, halving-doubling and incast to the rounding of a picosecond."""
    rows = suite(None)
    assert len(rows) == 12
    assert max(abs(row["error"]) for row in rows) <= 1e-9


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ([], "scenarios"),
        ({"scenarios": [{}]}, r"scenarios\[0\].name"),
        ({"scenarios": [{"name": "x", "finish_s": [], "topology": "t"}]}, "topologies"),
        ({"results": [{"topology": "ring"}]}, r"results\[0\].npus"),
    ],
)
def test_files_of_another_schema_are_refused_with_the_key(tmp_path: Path, content: object, words: str) -> None:
    """The message names the missing key."""
    path = tmp_path / "reference.json"
    path.write_text(json.dumps(content))
    with pytest.raises(InputError, match=words):
        suite(path)


def test_a_flow_over_an_unknown_route_is_refused(tmp_path: Path, simgrid: dict[str, Any]) -> None:
    """A pair without a route, and a route over a link that is not there."""
    scenario = next(s for s in simgrid["scenarios"] if s["topology"] == "ring8")
    topology = dict(simgrid["topologies"]["ring8"])
    for routes in ({}, {pair: [99] for pair in topology["routes"]}):
        path = tmp_path / "reference.json"
        path.write_text(json.dumps({"topologies": {"ring8": topology | {"routes": routes}}, "scenarios": [scenario]}))
        with pytest.raises(InputError, match="links 0 to 15"):
            suite(path)
