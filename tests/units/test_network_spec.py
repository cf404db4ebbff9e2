"""The [network] table beyond plain links: free edges, routing, reduction in switches, outer links."""

from __future__ import annotations

from pathlib import Path

import pytest

from archsim.errors import InputError
from archsim.hardware.library import load_system, resolved_toml
from archsim.hardware.system import System

HEAD = """
kind = "system"
name = "odd"
title = "Odd graph"
status = "hypothetical"
chips = 2
chip = "h100-sxm"
runtime = "trtllm-2025"

[network]
"""
EDGE = """
[[network.edges]]
from = "{}"
to = "{}"
bandwidth = "50 GB/s"
latency = "1 us"
"""


def system(folder: Path, network: str) -> str:
    """Write a system of two chips with that network and return its path."""
    path = folder / "odd.toml"
    path.write_text(HEAD + network)
    return str(path)


def test_free_edges_make_the_graph_they_say(tmp_path: Path) -> None:
    """A pair of one-way links is a graph of two chips, and its resolved form loads back equal."""
    network = 'topology = "edges"\n' + EDGE.format("chip0", "chip1") + EDGE.format("chip1", "chip0")
    spec = load_system(system(tmp_path, network))
    links = System(spec).network.links
    assert [(link.src, link.dst, link.bytes_per_s, link.latency_ps) for link in links] == [
        ("chip0", "chip1", 50 * 10**9, 10**6),
        ("chip1", "chip0", 50 * 10**9, 10**6),
    ]
    (tmp_path / "again.toml").write_text(resolved_toml(spec))
    assert load_system(str(tmp_path / "again.toml")) == spec


def test_a_graph_with_an_unreachable_chip_is_refused(tmp_path: Path) -> None:
    """A link in one direction only leaves one chip that cannot answer."""
    spec = load_system(system(tmp_path, 'topology = "edges"\n' + EDGE.format("chip0", "chip1")))
    with pytest.raises(InputError, match="chip"):
        _ = System(spec).network


@pytest.mark.parametrize(
    ("network", "expected"),
    [
        ('topology = "edges"\n', "links for the topology"),
        (
            'topology = "switch"\nlink_bandwidth = "1 GB/s"\nlink_latency = "1 us"\n' + EDGE.format("chip0", "chip1"),
            "none for any other",
        ),
        (
            'topology = "switch"\nlink_bandwidth = "1 GB/s"\nlink_latency = "1 us"\nouter_bandwidth = "1 GB/s"\n',
            "together, or neither",
        ),
    ],
)
def test_contradictory_options_are_refused(network: str, expected: str, tmp_path: Path) -> None:
    """Edges belong to the topology of that name; outer links have a rate and a latency."""
    with pytest.raises(InputError, match=expected):
        load_system(system(tmp_path, network))


def test_switches_that_reduce_offer_the_algorithm_that_uses_them() -> None:
    """NCCL takes its in-network protocol for large messages where the switches reduce, and it is faster."""
    plain = System(load_system("h100-sxm8", ["runtime.collective=nccl"]))
    reducing = System(load_system("h100-sxm8", ["runtime.collective=nccl", "network.reduces=true"]))
    size = 128 * 2**20
    assert reducing.network.reducing_switches
    assert reducing.collective("all_reduce", size, 8).duration_ps < plain.collective("all_reduce", size, 8).duration_ps


def test_outer_links_have_their_own_rate() -> None:
    """Two nodes on one spine: the ports to the spine run at the outer rate."""
    overrides = ["chips=16", "network.topology=two_level", "network.shape=[8]",
                 "network.outer_bandwidth=50 GB/s", "network.outer_latency=2 us"]  # fmt: skip
    links = System(load_system("h100-sxm8", overrides)).network.links
    assert {(link.bytes_per_s, link.latency_ps) for link in links} == {(450 * 10**9, 350_000), (50 * 10**9, 2 * 10**6)}
