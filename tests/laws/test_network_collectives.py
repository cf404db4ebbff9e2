"""Laws of collectives: closed forms, lower bounds, symmetry, bytes on every link, and named errors."""

from __future__ import annotations

import math
import random
from dataclasses import replace
from fractions import Fraction

import pytest

from archsim.errors import InputError
from archsim.hardware.library import load_system
from archsim.hardware.system import System
from archsim.network import curves, timing
from archsim.network.collectives import CollectiveFacts, collective_facts, implementation_facts
from archsim.network.curves import bus_bytes_per_s, measured_libraries, message_curve, sizes_between
from archsim.network.flows import solve_flows
from archsim.network.implementations import Implementation, Protocol, implementation_names, load_implementation
from archsim.network.schedules import ALGORITHMS, Message, Step, messages_between_all
from archsim.network.special import node_size
from archsim.network.timing import (
    algorithms_for,
    makeable,
    schedule_flows,
    schedule_of,
    schedule_seconds,
    solved_messages,
)
from archsim.network.topology import Network, NetworkOptions, build_network
from archsim.units import PS_PER_S

RATE = 50 * 10**9
HOP_PS = 500_000
SIZE = 64 * 2**20


def network(topology: str, chips: int, shape: tuple[int, ...] = ()) -> Network:
    """Return a network of 50 GB/s and 500 ns whose switches reduce."""
    options = NetworkOptions(reduces=True, outer_bytes_per_s=RATE // 4, outer_latency_ps=2 * HOP_PS)
    return build_network(topology, chips, link_bytes_per_s=RATE, link_latency_ps=HOP_PS, shape=shape, options=options)


def duration_ps(made: Network, kind: str, algorithm: str, *, ranks: int, size: int = SIZE, software_ps: int = 0) -> int:
    """Return the duration of one collective."""
    facts = collective_facts(made, kind=kind, ranks=ranks, bytes=size, algorithm=algorithm, software_ps=software_ps)
    return facts.duration_ps


@pytest.mark.parametrize("chips", [2, 3, 4, 8, 16, 64])
def test_ring_all_reduce_on_a_ring_is_exactly_its_closed_form(chips: int) -> None:
    """2(N-1)(M/(N B) + L), chunks of whole bytes, rounded up to a picosecond once."""
    chunk = -(-SIZE // chips)
    exact = 2 * (chips - 1) * (Fraction(chunk * PS_PER_S, RATE) + HOP_PS)
    assert duration_ps(network("ring", chips), "all_reduce", "ring", ranks=chips) == -(-exact // 1)


@pytest.mark.parametrize("chips", [2, 4, 8, 32])
def test_halving_doubling_on_a_switch_is_exactly_its_closed_form(chips: int) -> None:
    """2 sum over k of (M/2^k/B + 2L)."""
    exact = 2 * sum(Fraction(SIZE * PS_PER_S, 2**k * RATE) + 2 * HOP_PS for k in range(1, chips.bit_length()))
    assert duration_ps(network("switch", chips), "all_reduce", "halving_doubling", ranks=chips) == -(-exact // 1)


def test_in_network_all_reduce_passes_each_link_once() -> None:
    """One tensor up and one down: M/B + 2L on a switch, and M on each link of the ranks."""
    made = network("switch", 8)
    facts = collective_facts(made, kind="all_reduce", ranks=4, bytes=SIZE, algorithm="in_network", software_ps=0)
    assert facts.duration_ps == -(-(Fraction(SIZE * PS_PER_S, RATE) + 2 * HOP_PS) // 1)
    used = {link.name: size for link, size in zip(made.links, facts.link_bytes, strict=True)}
    ranks = {f"chip{i}" for i in range(4)}
    assert all(
        (size == SIZE) == (not ranks.isdisjoint(name.removeprefix("link.").split("-"))) for name, size in used.items()
    )


def test_in_network_all_reduce_waits_for_the_tree_up_and_for_the_way_down_from_its_root() -> None:
    """A fat-tree of three levels: three hops up, three down, and software and the tensor once."""
    made = network("fat_tree", 16, (4,))
    facts = collective_facts(made, kind="all_reduce", ranks=16, bytes=SIZE, algorithm="in_network", software_ps=700)
    assert facts.duration_ps == -(-(Fraction(SIZE * PS_PER_S, RATE) + 6 * HOP_PS + 700) // 1)
    # 16 ports of chips, and one way from each of 8 lower switches and of 4 pods to the root, in both directions.
    assert sorted(set(facts.link_bytes)) == [0, SIZE]
    assert facts.flows == facts.link_bytes.count(SIZE) == 2 * (16 + 8 + 4)


@pytest.mark.parametrize(
    ("kind", "algorithm", "parts"),
    [("all_gather", "direct", 7), ("all_reduce", "two_shot", 14), ("all_reduce", "one_shot", 56),
     ("all_reduce", "in_network", 8), ("broadcast", "flat", 8), ("send_receive", "direct", 8)],
)  # fmt: skip
def test_the_bytes_that_arrive_are_those_of_the_rank_that_receives_the_most(
    kind: str, algorithm: str, parts: int
) -> None:
    """Eight ranks, in eighths of the tensor: shards of seven others, whole tensors of seven, or one result."""
    facts = collective_facts(network("switch", 8), kind=kind, ranks=8, bytes=SIZE, algorithm=algorithm, software_ps=0)
    assert facts.received_bytes == parts * SIZE // 8


def test_algorithms_of_a_network_need_two_ranks_and_what_they_use() -> None:
    """One rank has no tree, no torus and no node; two have; and nodes are for those who fill more than one."""
    for graph, name, two in (("switch", "in_network", 2), ("torus", "torus", 2), ("two_level", "hierarchical", 8)):
        made = network(graph, *GRAPHS[graph])
        assert name in algorithms_for(made, "all_reduce", two)
        for fewer in {1, two // 2}:
            assert (name in algorithms_for(made, "all_reduce", fewer)) == (fewer > 1 and graph != "two_level")
    assert "hierarchical" not in algorithms_for(network("two_level", 8, (1,)), "all_reduce", 8)


def test_software_is_spent_before_each_step() -> None:
    """2(N-1) steps of a ring cost 2(N-1) times the software time."""
    made = network("ring", 8)
    without = duration_ps(made, "all_reduce", "ring", ranks=8)
    assert duration_ps(made, "all_reduce", "ring", ranks=8, software_ps=10**6) == without + 14 * 10**6


@pytest.mark.parametrize("ranks", [2, 3, 5, 8, 13])
@pytest.mark.parametrize("algorithm", sorted(ALGORITHMS["broadcast"]))
def test_a_broadcast_hands_on_what_came_before_and_ends_with_the_tensor_everywhere(algorithm: str, ranks: int) -> None:
    """No rank but the root has ever sent anybody more than it had, and each has the tensor once at the end."""
    size = 1600
    had = [size] + [0] * (ranks - 1)
    sent: dict[tuple[object, object], int] = {}
    for step in ALGORITHMS["broadcast"][algorithm](ranks, size):
        for message in step.messages:
            pair = message.src, message.dst
            sent[pair] = sent.get(pair, 0) + message.bytes
            assert isinstance(message.src, int)
            assert sent[pair] <= had[message.src]
        for message in step.messages:
            assert isinstance(message.dst, int)
            had[message.dst] += message.bytes
    assert had == [size] * ranks


@pytest.mark.parametrize(("kind", "algorithm"), [(kind, name) for kind, names in ALGORITHMS.items() for name in names])
def test_one_rank_alone_sends_nothing(kind: str, algorithm: str) -> None:
    """Every schedule over one rank is without messages."""
    assert sum(len(step.messages) * step.repeats for step in ALGORITHMS[kind][algorithm](1, 1600)) == 0


@pytest.mark.parametrize("ranks", range(2, 10))
@pytest.mark.parametrize(
    ("kind", "algorithm"), [(kind, name) for kind in ("all_reduce", "all_gather") for name in ALGORITHMS[kind]]
)
def test_what_every_rank_has_reaches_every_other_one(kind: str, algorithm: str, ranks: int) -> None:
    """A rank knows of whom it heard, and of whom those had heard before the step: of everybody, at the end."""
    heard = [{rank} for rank in range(ranks)]
    for step in ALGORITHMS[kind][algorithm](ranks, ranks * 32):
        for _ in range(step.repeats):
            before = [set(known) for known in heard]
            for message in step.messages:
                assert isinstance(message.src, int)
                assert isinstance(message.dst, int)
                heard[message.dst] |= before[message.src]
    assert heard == [set(range(ranks))] * ranks


@pytest.mark.parametrize("ranks", range(2, 10))
@pytest.mark.parametrize(
    ("kind", "algorithm"),
    [(kind, name) for kind in ("all_gather", "reduce_scatter", "all_to_all") for name in ALGORITHMS[kind]],
)
def test_every_rank_sends_and_receives_the_shards_of_all_others(kind: str, algorithm: str, ranks: int) -> None:
    """N - 1 shards out and in, for any number of ranks and whatever the way."""
    sent, received = [0] * ranks, [0] * ranks
    for step in ALGORITHMS[kind][algorithm](ranks, ranks * 32):
        for message in step.messages:
            assert isinstance(message.src, int)
            assert isinstance(message.dst, int)
            sent[message.src] += message.bytes * step.repeats
            received[message.dst] += message.bytes * step.repeats
    assert sent == received == [32 * (ranks - 1)] * ranks


@pytest.mark.parametrize(("kind", "algorithm"), [(kind, name) for kind, names in ALGORITHMS.items() for name in names])
def test_messages_between_all_are_counted_without_making_them(kind: str, algorithm: str) -> None:
    """Of seven ranks, where each sends to each: the schedule's own count; else none are said to be."""
    made = ALGORITHMS[kind][algorithm](7, 700)
    pairs = {(message.src, message.dst) for step in made for message in step.messages}
    expected = sum(len(step.messages) * step.repeats for step in made) if len(pairs) == 7 * 6 else 0
    assert messages_between_all(kind, algorithm, 7) == expected


@pytest.mark.parametrize(("kind", "algorithm"), [(kind, name) for kind, names in ALGORITHMS.items() for name in names])
@pytest.mark.parametrize("ranks", [3, 6, 8])
def test_messages_are_whole_bytes_between_two_of_the_ranks(kind: str, algorithm: str, ranks: int) -> None:
    """A tensor of a prime number of bytes is cut into whole ones, as libraries pad; nobody else is sent to."""
    messages = [message for step in ALGORITHMS[kind][algorithm](ranks, 1601) for message in step.messages]
    assert all(isinstance(message.bytes, int) for message in messages)
    assert {end for message in messages for end in (message.src, message.dst)} <= set(range(ranks))
    assert all(message.src != message.dst for message in messages)


GRAPHS = {
    "switch": (8, ()),
    "ring": (8, ()),
    "full_mesh": (8, ()),
    "torus": (8, (2, 4)),
    "mesh": (8, (4, 2)),
    "two_level": (8, (4,)),
    "fat_tree": (8, (4,)),
    "dragonfly": (8, (2, 2, 1, 3)),
}
CASES = [
    (graph, kind, algorithm)
    for graph, (chips, shape) in GRAPHS.items()
    for kind in ALGORITHMS
    for algorithm in algorithms_for(network(graph, chips, shape), kind, chips)
]


def _least_bytes(kind: str, chips: int) -> Fraction:
    """Return the part of the tensor that some rank must send or receive, whatever the algorithm."""
    share = Fraction(chips - 1, chips)
    return {"all_reduce": 2 * share, "broadcast": Fraction(1), "send_receive": Fraction(1)}.get(kind, share)


@pytest.mark.parametrize(("graph", "kind", "algorithm"), CASES)
def test_no_collective_beats_its_bounds(graph: str, kind: str, algorithm: str) -> None:
    """Bandwidth: what a rank must move over all its links. Latency: one path, at least."""
    chips, shape = GRAPHS[graph]
    made = network(graph, chips, shape)
    out = max(sum(link.bytes_per_s for link in made.links if link.src == chip) for chip in made.endpoints)
    least = _least_bytes(kind, chips) if algorithm != "in_network" else Fraction(1)
    facts = collective_facts(made, kind=kind, ranks=chips, bytes=SIZE, algorithm=algorithm, software_ps=0)
    assert facts.duration_ps >= least * SIZE * PS_PER_S / out
    assert facts.latency_ps >= HOP_PS
    assert facts.duration_ps > facts.latency_ps


@pytest.mark.parametrize(("graph", "kind", "algorithm"), CASES)
def test_bytes_injected_are_bytes_on_the_links(graph: str, kind: str, algorithm: str) -> None:
    """Messages times hops, added up by hand, are the link bytes; the solver checks that each route carried them."""
    chips, shape = GRAPHS[graph]
    made = network(graph, chips, shape)
    members = tuple(range(chips))
    schedule = schedule_of(made, kind, members, size=SIZE, algorithm=algorithm)
    facts = collective_facts(made, kind=kind, ranks=chips, bytes=SIZE, algorithm=algorithm, software_ps=0)
    flows = schedule_flows(members, schedule, 0)
    by_hand = [0] * len(made.links)
    for flow in flows:
        for link in made.route(flow.src, flow.dst):
            by_hand[link] += flow.bytes
    assert facts.link_bytes == tuple(by_hand)
    assert facts.flows == len(flows)
    assert max(
        size * PS_PER_S / link.bytes_per_s for size, link in zip(by_hand, made.links, strict=True)
    ) <= facts.duration_ps * (1 + 1e-12)


@pytest.mark.parametrize(("graph", "kind", "algorithm"), CASES)
def test_steps_counted_once_equal_all_flows_solved_together(graph: str, kind: str, algorithm: str) -> None:
    """The short way (each different step once) is the long way (every flow of every step) to the last bits."""
    chips, shape = GRAPHS[graph]
    made = network(graph, chips, shape)
    members = tuple(range(chips))
    schedule = schedule_of(made, kind, members, size=SIZE, algorithm=algorithm)
    short = schedule_seconds(made, members, schedule, 1000)
    assert short == pytest.approx(
        solve_flows(made, schedule_flows(members, schedule, 1000)).makespan_s, rel=1e-11, abs=0.0
    )


def test_messages_to_solve_are_those_of_different_steps_without_a_closed_form_unless_steps_overlap() -> None:
    """Rings share no link, two shots on a switch share all alike; those on a mesh have to be solved, and overlap."""
    for graph, algorithm, expected in (
        ("switch", "ring", 0), ("two_level", "ring", 0), ("switch", "two_shot", 0), ("mesh", "two_shot", 112),
        ("mesh", "one_shot", 56),
    ):  # fmt: skip
        chips, shape = GRAPHS[graph]
        made = network(graph, chips, shape)
        schedule = schedule_of(made, "all_reduce", tuple(range(chips)), size=SIZE, algorithm=algorithm)
        assert solved_messages(made, tuple(range(chips)), schedule) == expected


def test_a_ring_whose_hops_differ_has_to_be_solved_whole() -> None:
    """Groups of a dragonfly lie apart: 19 + 19 equal steps of 20 messages overlap, and all 760 are solved at once."""
    made = System(load_system("groq-576")).network
    schedule = schedule_of(made, "all_reduce", tuple(range(20)), size=4096, algorithm="ring")
    assert [step.repeats for step in schedule] == [38]
    assert solved_messages(made, tuple(range(20)), schedule) == 38 * 20


def test_the_slow_hop_of_a_ring_over_nodes_sets_its_pace() -> None:
    """Each chunk passes the slow port between nodes: 2(N-1) steps of a chunk at its rate and latency bound the ring."""
    made = network("two_level", 16, (4,))
    taken = duration_ps(made, "all_reduce", "ring", ranks=16)
    slow = Fraction(SIZE, 16) * PS_PER_S / (RATE // 4) + 4 * HOP_PS
    fast = Fraction(SIZE, 16) * PS_PER_S / RATE + 2 * HOP_PS
    assert 30 * fast < taken <= 30 * slow


@pytest.mark.parametrize("kind", ["all_reduce", "all_gather", "reduce_scatter", "all_to_all"])
@pytest.mark.parametrize("graph", ["switch", "full_mesh"])
def test_permuting_ranks_on_a_symmetric_graph_changes_nothing(graph: str, kind: str) -> None:
    """Any order of the chips gives the same duration on a graph where all pairs are alike."""
    made = network(graph, 8)
    order = list(range(8))
    random.Random(1).shuffle(order)
    for algorithm in algorithms_for(made, kind, 8):
        plain, shuffled = (
            collective_facts(made, kind=kind, ranks=ranks, bytes=SIZE, algorithm=algorithm, software_ps=0).duration_ps
            for ranks in (tuple(range(8)), tuple(order))
        )
        assert shuffled == pytest.approx(plain, abs=1)


def test_placement_matters_on_a_ring() -> None:
    """Every second chip as neighbour: each message takes two hops, and the ring no longer runs at full rate."""
    made = network("ring", 8)
    strided = (0, 2, 4, 6, 1, 3, 5, 7)
    facts = collective_facts(made, kind="all_reduce", ranks=strided, bytes=SIZE, algorithm="ring", software_ps=0)
    assert facts.duration_ps > 1.9 * duration_ps(made, "all_reduce", "ring", ranks=8)


def test_auto_is_the_fastest_and_changes_with_size() -> None:
    """Few steps win for small messages, few bytes for large ones; auto is never slower than any algorithm."""
    made = network("ring", 8)
    for size, expected in ((1024, "one_shot"), (SIZE, "torus")):
        facts = collective_facts(made, kind="all_reduce", ranks=8, bytes=size, algorithm="auto", software_ps=10**6)
        each = [
            duration_ps(made, "all_reduce", name, ranks=8, size=size, software_ps=10**6)
            for name in algorithms_for(made, "all_reduce", 8)
        ]
        assert facts.duration_ps == min(each)
        assert facts.algorithm == expected


def test_hierarchical_all_reduce_spares_the_slow_links() -> None:
    """Between nodes it sends one shard a chip: less time than a flat exchange over a spine of a quarter of the rate."""
    made = network("two_level", 16, (8,))
    assert duration_ps(made, "all_reduce", "hierarchical", ranks=16) < duration_ps(
        made, "all_reduce", "two_shot", ranks=16
    )


def test_a_rank_of_a_hierarchy_sends_shards_inside_and_pieces_outside() -> None:
    """16 ranks in nodes of 8: 2 x 7 shards of an eighth, and 2 (nodes - 1) pieces of a sixteenth."""
    made = network("two_level", 16, (8,))
    facts = collective_facts(made, kind="all_reduce", ranks=16, bytes=1600, algorithm="hierarchical", software_ps=0)
    sent = [size for link, size in zip(made.links, facts.link_bytes, strict=True) if link.src == "chip3"]
    assert sum(sent) == 2 * 7 * 200 + 2 * 1 * 100
    received = [0] * 16
    heard = [{rank} for rank in range(16)]
    for step in schedule_of(made, "all_reduce", tuple(range(16)), size=1600, algorithm="hierarchical"):
        for _ in range(step.repeats):
            before = [set(known) for known in heard]
            for message in step.messages:
                assert isinstance(message.src, int)
                assert isinstance(message.dst, int)
                received[message.dst] += message.bytes
                heard[message.dst] |= before[message.src]
    assert received == [2 * 7 * 200 + 2 * 1 * 100] * 16
    assert heard == [set(range(16))] * 16
    assert node_size(made, 16) == 8
    assert node_size(made, 12) == node_size(network("ring", 8), 8) == 0


def test_a_message_waits_for_the_last_step_in_which_its_sender_took_part() -> None:
    """Though others had a step between; as sender or receiver, and in every repetition."""
    steps = [[(0, 1)], [(2, 3)], [(0, 2), (1, 3)], [(3, 0)]]
    schedule = tuple(Step(tuple(Message(src, dst, 8) for src, dst in step)) for step in steps)
    assert [flow.after for flow in schedule_flows(range(4), schedule, 0)] == [(), (), (0,), (0,), (1 + 2,)]
    twice = (Step(schedule[2].messages, 2), schedule[3])
    assert [flow.after for flow in schedule_flows(range(4), twice, 0)] == [(), (), (0,), (1,), (3,)]


def test_one_rank_and_no_bytes_cost_nothing() -> None:
    """Nothing to exchange."""
    made = network("switch", 8)
    for ranks, size in ((1, SIZE), (8, 0)):
        facts = collective_facts(made, kind="all_reduce", ranks=ranks, bytes=size, algorithm="auto", software_ps=5)
        assert (facts.duration_ps, facts.latency_ps, facts.flows, sum(facts.link_bytes)) == (0, 0, 0, 0)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"ranks": 9}, "1 to 8 ranks"),
        ({"ranks": 0}, "1 to 8 ranks"),
        ({"ranks": (0, 0)}, "different chips"),
        ({"ranks": (0, 12)}, "12.*from 0 to 7"),
        ({"ranks": (-1, 8)}, "-1, 8.*from 0 to 7"),
        ({"kind": "all_reduc"}, "did you mean 'all_reduce'"),
        ({"algorithm": "rings"}, "did you mean 'ring'"),
        ({"bytes": -1}, "not negative"),
        ({"kind": "all_gather", "algorithm": "trtllm", "chip": "a40", "ranks": 100}, "1 to 8 ranks"),
    ],
)
def test_wrong_collectives_are_refused_with_their_numbers(arguments: dict[str, object], words: str) -> None:
    """Every refusal names what was given and what was expected."""
    given = {"kind": "all_reduce", "ranks": 8, "bytes": 1024, "algorithm": "auto", "software_ps": 0} | arguments
    with pytest.raises(InputError, match=words):
        collective_facts(network("switch", 8), **given)  # type: ignore[arg-type]


def test_as_many_messages_as_are_simulated_are_and_one_more_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Eight ranks send 8 x 7 messages at once; where 55 are the most, the message has both numbers."""
    monkeypatch.setattr(timing, "MOST_MESSAGES", 56)
    assert len(schedule_of(network("switch", 8), "all_reduce", tuple(range(8)), size=8, algorithm="one_shot")) == 1
    assert makeable(("one_shot", "ring"), "all_reduce", 8) == ("one_shot", "ring")
    monkeypatch.setattr(timing, "MOST_MESSAGES", 55)
    with pytest.raises(InputError, match="all_reduce by one_shot is 56 messages, and at most 55"):
        schedule_of(network("switch", 8), "all_reduce", tuple(range(8)), size=8, algorithm="one_shot")
    assert makeable(("one_shot", "ring"), "all_reduce", 8) == ("ring",)
    assert makeable(("one_shot", "two_shot"), "all_reduce", 8) == ("one_shot", "two_shot")


@pytest.mark.parametrize(("most", "left_out"), [(112, ()), (111, ("two_shot", "vllm")), (55, ("one_shot", "trtllm"))])
def test_a_curve_times_what_has_as_many_messages_as_may_be_solved(
    most: int, left_out: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a mesh of eight one shot is 56 messages that share links and two are 112; libraries that use them as many."""
    monkeypatch.setattr(curves, "_MOST_MESSAGES", most)
    curve = message_curve(network("mesh", *GRAPHS["mesh"]), kind="all_reduce", ranks=8, sizes=(SIZE,), software_ps=0,
                          chip="h100-sxm")  # fmt: skip
    timed = {*curve.points[0].seconds, *curve.points[0].libraries}
    assert timed.isdisjoint(dict(curve.left_out))
    for name, count in (("one_shot", 56), ("trtllm", 56), ("two_shot", 112), ("vllm", 112)):
        assert (name in timed) == (count <= most)
        assert dict(curve.left_out).get(name, count) == count
    assert set(left_out) <= set(dict(curve.left_out))


def test_chips_that_fill_no_box_of_a_torus_take_a_ring() -> None:
    """Three of a row of four, and a corner: by axes is by a ring there; of a whole row it is not."""
    made = network("torus", 16, (4, 4))
    for kind in ("all_reduce", "all_gather", "reduce_scatter"):
        ring = ALGORITHMS[kind]["ring"](3, 96)
        for members in ((0, 1, 2), (0, 1, 4)):
            assert schedule_of(made, kind, members, size=96, algorithm="torus") == ring
        assert schedule_of(made, kind, (0, 1, 2, 3), size=96, algorithm="torus") != ALGORITHMS[kind]["ring"](4, 96)


@pytest.mark.parametrize("name", implementation_names())
def test_every_implementation_loads_and_says_when_it_stands_in(name: str) -> None:
    """A chip of a listed generation has no note; an unknown one is told whose parameters it gets."""
    unknown = load_implementation(name, "unheard-of")
    assert unknown.protocols
    assert "stand in" in unknown.note
    assert all(0 < protocol.share <= 1 and protocol.software_ps > 0 for protocol in unknown.protocols)


def test_an_implementation_is_never_shorter_than_the_host_needs() -> None:
    """Eager vLLM on H100: 21.2 us however small the message."""
    made = build_network("switch", 8, link_bytes_per_s=450 * 10**9, link_latency_ps=350_000)
    facts = collective_facts(
        made, kind="all_reduce", ranks=8, bytes=256, algorithm="vllm-eager", software_ps=0, chip="h100-sxm"
    )
    assert facts.duration_ps == 21_200_000
    assert facts.protocol == "vllm-eager one_shot"
    assert facts.note == ""


def test_a_stand_in_is_named_in_the_facts() -> None:
    """On B200 vLLM was not measured: the result says that Hopper's parameters were taken."""
    made = build_network("switch", 8, link_bytes_per_s=900 * 10**9, link_latency_ps=350_000)
    facts = collective_facts(
        made, kind="all_reduce", ranks=8, bytes=256, algorithm="vllm", software_ps=0, chip="b200-sxm"
    )
    assert "parameters of hopper stand in" in facts.note


@pytest.mark.parametrize("library", ["nccl", "trtllm", "vllm", "rccl"])
def test_the_latency_of_links_counts_under_a_library_too(library: str) -> None:
    """Measured times contain the hops of the measured machine, not those of the network in hand."""
    times = []
    for link_latency_ps in (350_000, 450_000, 1_350_000):
        made = build_network("switch", 8, link_bytes_per_s=450 * 10**9, link_latency_ps=link_latency_ps)
        times.append(collective_facts(
            made, kind="all_reduce", ranks=8, bytes=256, algorithm=library, software_ps=0, chip="h100-sxm"
        ).duration_ps)  # fmt: skip
    hops_ps = times[1] - times[0]
    assert hops_ps >= 2 * 100_000, "at least one step, over two links"
    assert times[2] - times[0] == 10 * hops_ps


def _library(*, software_ps: int, step_ps: int, share: float) -> Implementation:
    """Return a library of one protocol, a ring, measured on a machine with hops of 100 ns."""
    ring = Protocol("lib", "one", {"all_reduce": "ring"}, software_ps, step_ps, 100_000, share, None, 2)
    return Implementation("lib", "A library", "made up", "", 0, (ring,))


def _library_facts(library: Implementation, *, size: int = SIZE) -> CollectiveFacts:
    """Return an all-reduce of eight ranks on a switch."""
    return implementation_facts(network("switch", 8), library, kind="all_reduce", members=tuple(range(8)), size=size)


def test_a_measured_step_brings_its_software_and_a_share_of_the_links_stretches_the_bytes() -> None:
    """A ring of N: software + 2(N-1)(M/(N B share) + 2 L + step - measured hop); only bytes are stretched."""
    facts = _library_facts(_library(software_ps=7_000_000, step_ps=900_000, share=0.5))
    assert facts.duration_ps == 7_000_000 + 14 * (2 * SIZE // 8 * PS_PER_S // RATE + 2 * HOP_PS + 800_000)
    assert facts.latency_ps == 7_000_000 + 14 * (2 * HOP_PS + 800_000)
    plain = collective_facts(
        network("switch", 8), kind="all_reduce", ranks=8, bytes=SIZE, algorithm="ring", software_ps=0
    )
    assert (facts.link_bytes, facts.received_bytes, facts.flows) == (
        plain.link_bytes,
        plain.received_bytes,
        plain.flows,
    )
    assert (facts.algorithm, facts.protocol) == ("ring", "lib one")


def test_a_step_measured_shorter_than_its_hop_does_not_undercut_the_wires() -> None:
    """Software is never negative: what remains is the time on the graph, 2(N-1)(M/(N B) + 2 L) over a switch."""
    facts = _library_facts(_library(software_ps=0, step_ps=50_000, share=1.0))
    assert facts.duration_ps == 14 * (SIZE // 8 * PS_PER_S // RATE + 2 * HOP_PS)


def test_of_protocols_that_take_as_long_the_first_is_taken() -> None:
    """Two of one library, alike but for their names; and the one that is faster, wherever it stands."""
    library = _library(software_ps=7_000_000, step_ps=900_000, share=0.5)
    (one,) = library.protocols
    alike, faster = replace(one, name="alike"), replace(one, name="faster", software_ps=6_000_000)
    for protocols, taken in (((one, alike), "one"), ((alike, one), "alike"), ((one, faster, alike), "faster")):
        assert _library_facts(replace(library, protocols=protocols)).protocol == f"lib {taken}"


def test_a_library_without_ranks_or_bytes_takes_no_time() -> None:
    """Nothing to exchange, and no protocol is chosen."""
    facts = _library_facts(_library(software_ps=7_000_000, step_ps=HOP_PS, share=1.0), size=0)
    assert (facts.duration_ps, facts.latency_ps, facts.flows, facts.received_bytes) == (0, 0, 0, 0)
    assert sum(facts.link_bytes) == 0


def test_a_row_of_a_torus_is_a_closed_box() -> None:
    """Four chips in a line gather both ways in two steps, of a shard and of half a shard each way."""
    made = network("torus", 16, (4, 4))
    facts = collective_facts(made, kind="all_gather", ranks=(0, 1, 2, 3), bytes=SIZE, algorithm="torus", software_ps=0)
    shard = SIZE // 4
    assert facts.duration_ps == (shard + shard // 2) * PS_PER_S // RATE + 2 * HOP_PS


@pytest.mark.parametrize("shape", [(5,), (2,), (3, 5), (2, 3), (4, 6), (5, 6), (2, 2, 3), (3, 1, 4), (4, 3, 2)])
def test_on_a_torus_of_any_shape_every_rank_sends_and_receives_the_shards_of_all_others(shape: tuple[int, ...]) -> None:
    """N - 1 shards, in as many steps as halves of the sides, whether sides are odd, even, two or one long."""
    chips = math.prod(shape)
    made = network("torus", chips, shape)
    axes = sum(side > 1 for side in shape)
    size = chips * axes * 2
    gather = schedule_of(made, "all_gather", tuple(range(chips)), size=size, algorithm="torus")
    moved = [[0] * chips, [0] * chips]
    for step in gather:
        for message in step.messages:
            for amounts, end in zip(moved, (message.src, message.dst), strict=True):
                assert isinstance(end, int)
                amounts[end] += message.bytes * step.repeats
    assert moved == [[(chips - 1) * axes * 2] * chips] * 2
    halves = [side // 2 for side in shape if side > 1]
    assert max(halves) * axes >= sum(step.repeats for step in gather) >= sum(halves)
    for kind, algorithm in (("reduce_scatter", tuple(reversed(gather))), ("all_reduce", (*reversed(gather), *gather))):
        assert schedule_of(made, kind, tuple(range(chips)), size=size, algorithm="torus") == algorithm


def test_half_a_shard_is_a_whole_number_of_bytes() -> None:
    """A ring of four with 27 bytes: a shard of seven, then four of them each way, on every link of the row."""
    made = network("torus", 16, (4, 4))
    facts = collective_facts(made, kind="all_gather", ranks=(0, 1, 2, 3), bytes=27, algorithm="torus", software_ps=0)
    assert sorted(set(facts.link_bytes)) == [0, 7 + 4]
    assert facts.link_bytes.count(11) == 8


@pytest.mark.parametrize(
    ("kind", "factor"),
    [("all_reduce", 2 * 7 / 8), ("all_gather", 7 / 8), ("reduce_scatter", 7 / 8), ("all_to_all", 7 / 8),
     ("broadcast", 1.0), ("send_receive", 1.0)],
)  # fmt: skip
def test_bus_bandwidth_is_that_of_nccl_tests(kind: str, factor: float) -> None:
    """Bytes times the factor of nccl-tests over the time: 8 ranks, 10 MB in 4 us."""
    assert bus_bytes_per_s(kind, 8, 10**7, 4 * 10**6) == pytest.approx(factor * 2.5e12, rel=1e-15)


def test_sizes_between_are_positive_in_order_and_not_too_many() -> None:
    """From one byte on; a range that ends before it begins, or of more than 63 doublings, is refused."""
    assert sizes_between(1, 3) == (1, 2, 3)
    assert len(sizes_between(1, 2**64)) == 65
    for low, high in ((0, 8), (8, 7), (1, 2**64 + 1)):
        with pytest.raises(InputError, match="--bytes"):
            sizes_between(low, high)


def test_libraries_are_asked_that_were_measured_on_the_chip_and_have_the_collective() -> None:
    """NVLS reduces and gathers nothing; DeepEP exchanges alone; AMD's chips have RCCL."""
    reducing, exchanging = (set(measured_libraries("h100-sxm", kind)) for kind in ("all_reduce", "all_to_all"))
    assert "nvls" in reducing - exchanging
    assert "deepep" in exchanging - reducing
    assert "nccl" in reducing & exchanging
    assert measured_libraries("mi300x", "broadcast") == ["rccl"]
