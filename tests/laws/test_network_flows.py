"""Laws of flows that share links: exact shares, conservation, and agreement with the slow twin."""

from __future__ import annotations

import importlib.util
import random
import sys
from pathlib import Path
from types import ModuleType

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from archsim.errors import SimulationError
from archsim.network import flows as flows_module
from archsim.network.columns import Places, Routed
from archsim.network.fifo import solve_fifo
from archsim.network.flows import Flow, route_flows, solve_flows, solve_routed
from archsim.network.topology import Edge, Network, NetworkOptions, build_network

RATE = 50 * 10**9
HOP_PS = 500_000


def _twin() -> ModuleType:
    path = Path(__file__).with_name("flow_twin.py")
    spec = importlib.util.spec_from_file_location("flow_twin", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


TWIN = _twin()


def star(chips: int, latency_ps: int = HOP_PS) -> Network:
    """Return chips on one switch."""
    return build_network("switch", chips, link_bytes_per_s=RATE, link_latency_ps=latency_ps)


def test_one_flow_takes_its_latency_and_then_its_bytes_at_the_links_rate() -> None:
    """Latency first: two hops of L, then M/B."""
    times = solve_flows(star(2), [Flow(0, 1, 10**9)])
    assert times.finish_s == [pytest.approx(2 * HOP_PS * 1e-12 + 10**9 / RATE, rel=1e-15)]


def test_flows_into_one_chip_share_its_link_equally() -> None:
    """Incast of n equal flows ends after n M/B for all of them."""
    times = solve_flows(star(5, 0), [Flow(source, 0, 10**8) for source in range(1, 5)])
    assert times.finish_s == [pytest.approx(4 * 10**8 / RATE, rel=1e-14)] * 4


def test_a_departure_gives_its_share_to_those_that_stay() -> None:
    """Sizes M and 3M on one link: the small one ends at 2M/B, the large one at 4M/B."""
    times = solve_flows(star(3, 0), [Flow(1, 0, 10**8), Flow(2, 0, 3 * 10**8)])
    assert times.finish_s == pytest.approx([2 * 10**8 / RATE, 4 * 10**8 / RATE], rel=1e-14)


def test_who_takes_a_place_at_the_instant_it_is_left_ends_as_if_it_had_waited() -> None:
    """M, then M at once, beside 10 M on one route: the rates stay as they are, B/2; the ends are 2, 4 and 12 M/B."""
    size = 10**8
    elsewhere = [Flow(3, 2, 20 * size), Flow(2, 3, 20 * size)]
    times = solve_flows(star(4, 0), [*elsewhere, Flow(0, 1, size), Flow(0, 1, size, after=(2,)), Flow(0, 1, 10 * size)])
    assert times.finish_s[2:] == pytest.approx([part * size / RATE for part in (2, 4, 12)], rel=1e-14, abs=0.0)


def test_weights_divide_a_link() -> None:
    """Weights 1 and 3 on one link with equal sizes: rates B/4 and 3B/4."""
    times = solve_flows(star(3, 0), [Flow(1, 0, 3 * 10**8, weight=1.0), Flow(2, 0, 3 * 10**8, weight=3.0)])
    heavy = 3 * 10**8 / (0.75 * RATE)
    light = heavy + (3 * 10**8 - heavy * RATE / 4) / RATE
    assert times.finish_s == pytest.approx([light, heavy], rel=1e-14)


def test_a_flow_that_is_held_elsewhere_leaves_its_share() -> None:
    """Three flows into chip 0 hold one of them at B/3, so another flow of its source runs at 2B/3."""
    size = 6 * 10**8
    flows = [Flow(1, 0, size), Flow(2, 0, size), Flow(3, 0, size), Flow(1, 4, size)]
    times = solve_flows(star(5, 0), flows)
    assert times.finish_s[3] == pytest.approx(size / (2 * RATE / 3), rel=1e-14)


def test_a_dependent_flow_is_ready_when_the_last_of_its_predecessors_is_done() -> None:
    """Ready is the maximum of the start and of all finishes."""
    times = solve_flows(star(3, 0), [Flow(0, 1, 10**8), Flow(1, 2, 2 * 10**8), Flow(2, 0, 10**8, 0.0, (0, 1))])
    assert times.ready_s[2] == times.finish_s[1]
    assert times.finish_s[2] == pytest.approx(3 * 10**8 / RATE, rel=1e-14)


def test_flows_in_a_circle_are_refused_with_their_number() -> None:
    """Two flows that wait for each other never start."""
    with pytest.raises(SimulationError, match=r"2 of 3 flows never start: \[1, 2\] wait"):
        solve_flows(star(2), [Flow(0, 1, 1), Flow(0, 1, 1, after=(2,)), Flow(1, 0, 1, after=(0, 1))])


def test_empty_flows_and_flows_to_oneself_take_latency_alone() -> None:
    """No bytes: the path's latency; no path: nothing."""
    times = solve_flows(star(2), [Flow(0, 1, 0), Flow(1, 1, 10**9)])
    assert times.finish_s == [2 * HOP_PS * 1e-12, 0.0]


FLOWS = st.lists(
    st.tuples(
        st.integers(0, 8), st.integers(0, 8), st.integers(1, 10**9), st.integers(0, 1000), st.sampled_from((0.5, 1, 4))
    ),
    min_size=1,
    max_size=40,
)


@settings(deadline=None, derandomize=True, database=None, max_examples=150)
@given(FLOWS, st.sampled_from(("mesh", "torus", "switch")))
def test_the_solver_agrees_with_the_slow_twin(rows: list[tuple[int, int, int, int, float]], topology: str) -> None:
    """Any flows on any of three graphs: every finish equals the twin's to 1e-9."""
    shape = () if topology == "switch" else (3, 3)
    network = build_network(topology, 9, link_bytes_per_s=RATE, link_latency_ps=HOP_PS, shape=shape)
    flows = [
        Flow(src, dst, size, start * 1e-5, (index - 3,) if index % 4 == 3 else (), 0.0, weight)
        for index, (src, dst, size, start, weight) in enumerate(rows)
    ]
    routed = route_flows(network, flows)
    assert solve_routed(routed).finish_s == pytest.approx(TWIN.finish_times(routed), rel=1e-9)


def crowd(flows: int, *, chips: int, pairs: int, ticks: int) -> Routed:
    """Return *flows* of sizes from a hundred bytes up, many at a time, between *pairs* of *chips* on unequal links.

    They start on *ticks* instants, and one in four follows two others.
    """
    draw = random.Random(flows)
    edges = tuple(
        Edge(f"chip{a}", f"chip{(a + k) % chips}", draw.randrange(10**9, 10**10), draw.randrange(10**6))
        for a in range(chips)
        for k in (1, 2, chips - 1)
    )
    options = NetworkOptions(edges=edges)
    network = build_network("edges", chips, link_bytes_per_s=0, link_latency_ps=0, options=options)
    between = draw.sample([(a, b) for a in range(chips) for b in range(chips) if a != b], pairs)
    return route_flows(
        network,
        [
            Flow(
                *between[draw.randrange(pairs)],
                int(10 ** draw.uniform(2, 7)),
                draw.randrange(ticks) * 1e-2 / ticks,
                tuple(draw.sample(range(number), 2)) if number > 40 and draw.random() < 0.25 else (),
                draw.choice((0.0, 1e-5)),
                draw.choice((0.5, 1.0, 3.0)),
            )
            for number in range(flows)
        ],
    )


@pytest.mark.parametrize(("flows", "chips", "pairs", "ticks"), [(250, 4, 3, 10**6), (160, 12, 100, 20), (120, 6, 9, 1)])
def test_crowds_of_flows_agree_with_the_slow_twin(flows: int, chips: int, pairs: int, ticks: int) -> None:
    """Dozens at a time on a route, on more routes than a block has, or all at once: each ends when the twin's does."""
    routed = crowd(flows, chips=chips, pairs=pairs, ticks=ticks)
    times = solve_routed(routed)
    assert times.finish_s == pytest.approx(TWIN.finish_times(routed), rel=1e-12, abs=0.0)
    ready = [
        max([start, *(times.finish_s[earlier] for earlier in after)])
        for start, after in zip(routed.start_s, routed.after, strict=True)
    ]
    assert times.ready_s == ready


def test_a_flow_that_is_tiny_beside_its_routes_service_takes_its_time() -> None:
    """Ten terabytes have passed a route whose link sixty others share by now; ten bytes of weight three join them.

    They take (60 + 1 + 3) / 3 x 10 B / rate. Counted on from ten terabytes they could be off by a ten-thousandth: the
    last bit there is two thousandths of a byte.
    """
    others = [Flow(chip, 0, 10**10, start_s=199.0) for chip in range(2, 62)]
    small = Flow(1, 0, 10, start_s=200.0, weight=3.0)
    times = solve_flows(star(62, 0), [*others, Flow(1, 0, 10**14), small])
    assert times.finish_s[-1] - 200.0 == pytest.approx(64 / 3 * 10 / RATE, rel=1e-5, abs=0.0)


def test_a_route_that_did_not_carry_what_it_was_given_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """A part in 1e8 too much or too little is refused with both numbers; the last bits are not."""
    share = flows_module.sharing.share

    def lossy(part: float) -> None:
        def run(places: Places, ints: list[int], floats: list[float], budget: int) -> None:
            share(places, ints, floats, budget)
            floats[places.carried] *= part

        monkeypatch.setattr(flows_module.sharing, "share", run)
        solve_flows(star(2), [Flow(0, 1, 3 * 10**9), Flow(0, 1, 10**9)])

    lossy(1 + 1e-15)
    for part in (1 - 1e-8, 1 + 1e-8):
        with pytest.raises(SimulationError, match="route 0 was given 4000000000 bytes and carried"):
            lossy(part)


@settings(deadline=None, derandomize=True, database=None, max_examples=30)
@given(FLOWS)
def test_an_idle_link_changes_nothing(rows: list[tuple[int, int, int, int, float]]) -> None:
    """A link that no route passes leaves every finish as it was, to the bit."""
    plain = [Edge(f"chip{a}", f"chip{(a + d) % 9}", RATE, HOP_PS) for a in range(9) for d in (1, 8)]
    idle = [*plain, Edge("chip0", "chip4", RATE, HOP_PS, weight=100)]
    flows = [Flow(src, dst, size, start * 1e-5, (), 0.0, weight) for src, dst, size, start, weight in rows]
    times = [
        solve_flows(
            build_network(
                "edges", 9, link_bytes_per_s=0, link_latency_ps=0, options=NetworkOptions(edges=tuple(edges))
            ),
            flows,
        ).finish_s
        for edges in (plain, idle)
    ]
    assert times[0] == times[1]


def test_the_compiled_kernel_gives_the_same_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Interpreted over lists and compiled over arrays: equal, not close."""
    network = build_network("mesh", 16, link_bytes_per_s=RATE, link_latency_ps=HOP_PS, shape=(4, 4))
    flows = [Flow(i % 16, (i * 7 + 3) % 16, 10**6 + 977 * i, i * 1e-6) for i in range(200)]
    interpreted = solve_flows(network, flows)
    monkeypatch.setattr(flows_module, "INTERPRETED_WORK", 0)
    assert solve_flows(network, flows) == interpreted


def test_fifo_links_serve_chunks_in_order_and_serialise_at_every_hop() -> None:
    """Two messages on a path of two hops: the second waits on the first hop for the first, and never after."""
    busy = 10**6 * 10**12 // RATE
    times = solve_fifo(star(2), [Flow(0, 1, 10**6), Flow(0, 1, 10**6)], chunk_bytes=None, tick_ps=1)
    assert times.finish_ps == [2 * (busy + HOP_PS), 3 * busy + 2 * HOP_PS]


def test_fine_chunks_cut_through_a_switch() -> None:
    """With n chunks a switch adds one chunk's time and not the message's."""
    chunks = 1000
    times = solve_fifo(star(2, 0), [Flow(0, 1, 10**6)], chunk_bytes=10**6 // chunks, tick_ps=1)
    busy = 10**6 * 10**12 // RATE
    assert times.makespan_ps == busy + busy // chunks


def test_a_fifo_flow_follows_the_last_of_its_predecessors_and_waits_its_software_time() -> None:
    """Sizes M and 2M beside each other, then M after both: two hops of 2M, a microsecond, two hops of M."""
    busy = 10**6 * 10**12 // RATE
    flows = [Flow(0, 1, 10**6), Flow(1, 2, 2 * 10**6), Flow(2, 0, 10**6, after=(0, 1), wait_s=1e-6)]
    times = solve_fifo(star(3), flows, chunk_bytes=None, tick_ps=1)
    second = 2 * (2 * busy + HOP_PS)
    assert times.finish_ps == [2 * (busy + HOP_PS), second, second + 10**6 + 2 * (busy + HOP_PS)]
    late = solve_fifo(star(2), [Flow(0, 1, 10**6, start_s=1e-3)], chunk_bytes=None, tick_ps=1)
    assert late.finish_ps == [10**9 + 2 * (busy + HOP_PS)]


def test_a_fifo_link_serves_what_comes_at_one_instant_in_the_order_in_which_it_was_sent() -> None:
    """The third flow starts when the second ends, as does the first, which waits for it: the third was sent before."""
    busy = 10**6 * 10**12 // RATE
    ends = 2 * (busy + HOP_PS)
    flows = [Flow(0, 1, 10**6, after=(1,)), Flow(2, 3, 10**6), Flow(0, 1, 10**6, start_s=ends * 1e-12)]
    times = solve_fifo(star(4), flows, chunk_bytes=None, tick_ps=1)
    assert times.finish_ps == [2 * ends + busy, ends, 2 * ends]


def test_a_fifo_link_serves_in_whole_ticks() -> None:
    """Seven bytes more are 140 ps more, which a tick of a nanosecond cuts off on both hops."""
    busy = 10**6 * 10**12 // RATE
    times = solve_fifo(star(2, 0), [Flow(0, 1, 10**6 + 7)], chunk_bytes=None, tick_ps=1000)
    assert times.finish_ps == [2 * busy]
    assert solve_fifo(star(2, 0), [Flow(0, 1, 10**6 + 7)], chunk_bytes=None, tick_ps=1).finish_ps == [2 * (busy + 140)]


def test_fifo_flows_in_a_circle_are_refused_with_their_number() -> None:
    """Two flows that wait for each other never start; a third that waits for none does."""
    flows = [Flow(0, 1, 1, after=(1,)), Flow(1, 0, 1, after=(0,)), Flow(0, 1, 1)]
    with pytest.raises(SimulationError, match="2 of 3 flows never start"):
        solve_fifo(star(2), flows, chunk_bytes=None, tick_ps=1)
    assert solve_fifo(star(2), [], chunk_bytes=None, tick_ps=1).makespan_ps == 0


def test_no_flows_take_no_time() -> None:
    """Nothing to solve, and nothing to add up."""
    assert solve_flows(star(2), []).makespan_s == 0.0
