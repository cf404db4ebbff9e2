"""Folded exchanges, closed forms and repetitions that are not walked equal the long way."""

from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from archsim.errors import InputError
from archsim.network.closed import makespan, step_times
from archsim.network.collectives import collective_facts
from archsim.network.columns import Routed
from archsim.network.curves import message_curve
from archsim.network.flows import solve_flows, solve_routed
from archsim.network.folding import Fold, _mixed, fold_of, folded_finish_s
from archsim.network.schedules import ALGORITHMS, Message, Step, messages_between_all
from archsim.network.timing import empty, messages_of, schedule_flows, schedule_of, whole_ps
from archsim.network.topology import Edge, Network, NetworkOptions, build_network

RATE = 50 * 10**9
HOP_PS = 500_000
GRAPHS = {
    "switch": (12, ()), "ring": (12, ()), "torus": (24, (4, 6)), "mesh": (16, (4, 4)), "two_level": (16, (4,)),
    "fat_tree": (16, (4,)), "dragonfly": (72, (4, 2, 2, 9)),
}  # fmt: skip


def network(topology: str) -> Network:
    """Return a network of 50 GB/s and 500 ns, a quarter of that between nodes and groups."""
    chips, shape = GRAPHS[topology]
    options = NetworkOptions(outer_bytes_per_s=RATE // 4, outer_latency_ps=2 * HOP_PS)
    return build_network(topology, chips, link_bytes_per_s=RATE, link_latency_ps=HOP_PS, shape=shape, options=options)


def chips_of(made: Network) -> tuple[int, ...]:
    """Return all its chips."""
    return tuple(range(len(made.endpoints)))


@pytest.mark.parametrize("topology", GRAPHS)
@pytest.mark.parametrize("size", [0, 1000, 10**6])
def test_a_folded_exchange_ends_when_the_unfolded_one_does(
    topology: str, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From each chip to each: first and last message to the last bits, the last one to the picosecond."""
    monkeypatch.setattr("archsim.network.folding.LEAST_FOLDED", 2)
    made = network(topology)
    (step,) = schedule_of(made, "all_to_all", chips_of(made), size=size * len(made.endpoints), algorithm="direct")
    folded = folded_finish_s(made, chips_of(made), step, 1000)
    apart = solve_flows(made, schedule_flows(chips_of(made), (step,), 1000)).finish_s
    assert folded is not None
    assert len(folded) < len(apart)
    assert (min(folded), max(folded)) == pytest.approx((min(apart), max(apart)), rel=1e-12, abs=0.0)
    assert whole_ps(max(folded)) == whole_ps(max(apart))


def test_colours_are_hashed_by_splitmix64() -> None:
    """The published generator: its first three outputs from the seed 0 (Steele et al., OOPSLA 2014)."""
    assert _mixed(np.arange(3)).tolist() == [0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4, 0x06C45D188009454F]


@pytest.mark.parametrize("topology", GRAPHS)
def test_hashes_that_collide_fold_nothing_wrongly(topology: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """With one hash for all colours the partition is coarse: refused where it does not hold, else as exact."""
    made = network(topology)
    pairs = [(a, b) for a in chips_of(made) for b in chips_of(made) if a != b]
    plain = fold_of(made, pairs)
    monkeypatch.setattr("archsim.network.folding._mixed", lambda colours: (colours * 0 + 1).astype("uint64"))
    coarse = fold_of(made, pairs)
    assert plain is not None
    assert (coarse is None) == (topology in ("ring", "torus", "mesh"))
    assert coarse is None or max(_finish_s(coarse, 10**6)) == pytest.approx(
        max(_finish_s(plain, 10**6)), rel=1e-12, abs=0.0
    )


def test_a_dragonfly_folds_by_its_groups() -> None:
    """The nine groups of a full dragonfly are alike, so at most a ninth of the messages is solved."""
    made = network("dragonfly")
    fold = fold_of(made, [(a, b) for a in chips_of(made) for b in chips_of(made) if a != b])
    assert fold is not None
    assert len(fold.routes) <= 72 * 71 // 9


def test_what_differs_everywhere_does_not_fold() -> None:
    """A chain in which each link has another rate: no two messages are alike."""
    edges = tuple(Edge(f"chip{n}", f"chip{n + 1}", RATE + n, HOP_PS) for n in range(4)) + tuple(
        Edge(f"chip{n + 1}", f"chip{n}", RATE - 1 - n, HOP_PS) for n in range(4)
    )
    made = build_network("edges", 5, link_bytes_per_s=RATE, link_latency_ps=HOP_PS, options=NetworkOptions(edges=edges))
    assert fold_of(made, [(n, n + 1) for n in range(4)]) is None


@settings(deadline=None, derandomize=True, database=None, max_examples=60)
@given(st.sampled_from(sorted(GRAPHS)), st.integers(0, 10**6), st.integers(1, 10**7))
def test_any_exchange_of_one_size_folds_exactly(topology: str, seed: int, size: int) -> None:
    """Random pairs, several of them twice: the fold's makespan is that of all messages."""
    made = network(topology)
    draw = random.Random(seed)
    pairs = [tuple(draw.sample(chips_of(made), 2)) for _ in range(draw.randrange(2, 40))]
    step = Step(tuple(Message(a, b, size) for a, b in pairs))
    apart = solve_flows(made, schedule_flows(chips_of(made), (step,), 0)).makespan_s
    fold = fold_of(made, pairs)
    known = step_times(made, chips_of(made), step, 0)
    if fold is not None:
        assert max(_finish_s(fold, size)) == pytest.approx(apart, rel=1e-12, abs=0.0)
    if known is not None:
        assert max(known) == pytest.approx(apart, rel=1e-12, abs=0.0)


def _finish_s(fold: Fold, size: int) -> list[float]:
    count = len(fold.routes)
    routed = Routed(
        fold.capacity, fold.routes, [float(size)] * count, [0.0] * count, fold.latency_s, [1.0] * count, [()] * count
    )
    return solve_routed(routed).finish_s


@pytest.mark.parametrize(("topology", "chips", "shape"), [("two_level", 32, (8,)), ("torus", 30, (5, 6))])
@pytest.mark.parametrize("size", [0, 12345, 10**8])
def test_repetitions_that_are_not_walked_end_as_if_they_were(
    topology: str, chips: int, shape: tuple[int, ...], size: int
) -> None:
    """A ring whose hops differ: 2 (N - 1) repetitions, of which only the first few are walked."""
    options = NetworkOptions(outer_bytes_per_s=RATE // 7, outer_latency_ps=3 * HOP_PS)
    made = build_network(topology, chips, link_bytes_per_s=RATE, link_latency_ps=HOP_PS, shape=shape, options=options)
    schedule = schedule_of(made, "all_reduce", chips_of(made), size=size, algorithm="ring")
    known = makespan(made, chips_of(made), schedule, 700)
    assert known == pytest.approx(
        solve_flows(made, schedule_flows(chips_of(made), schedule, 700)).makespan_s, rel=1e-12
    )


def test_what_follows_repetitions_that_are_not_walked_begins_when_they_end() -> None:
    """A ring of unlike hops sixty times, then with larger messages five times, then as before."""
    options = NetworkOptions(outer_bytes_per_s=RATE // 7, outer_latency_ps=3 * HOP_PS)
    made = build_network("two_level", 16, link_bytes_per_s=RATE, link_latency_ps=HOP_PS, shape=(4,), options=options)
    small, large = (Step(tuple(Message(rank, (rank + 1) % 16, size) for rank in range(16))) for size in (10**6, 10**7))
    schedule = (small._replace(repeats=60), large._replace(repeats=5), small._replace(repeats=60))
    walked = solve_flows(made, schedule_flows(chips_of(made), schedule, 700)).makespan_s
    assert makespan(made, chips_of(made), schedule, 700) == pytest.approx(walked, rel=1e-12, abs=0.0)


def test_repetitions_of_an_hour_are_as_exact_as_those_of_a_microsecond() -> None:
    """A ring of three at a kilobyte a second: 4 (M / (3 B) + L), to the last bits."""
    made = build_network("ring", 3, link_bytes_per_s=1000, link_latency_ps=HOP_PS)
    schedule = schedule_of(made, "all_reduce", (0, 1, 2), size=3 * 10**6, algorithm="ring")
    assert makespan(made, (0, 1, 2), schedule, 0) == pytest.approx(4 * (1000 + HOP_PS * 1e-12), rel=1e-15)
    nothing = build_network("ring", 3, link_bytes_per_s=1000, link_latency_ps=0)
    assert makespan(nothing, (0, 1, 2), empty(schedule), 0) == 0.0


@pytest.mark.parametrize(("kind", "algorithm"), [(kind, name) for kind, names in ALGORITHMS.items() for name in names])
def test_messages_between_all_are_counted_without_making_them(kind: str, algorithm: str) -> None:
    """Where every rank sends to each, the count is that of the schedule."""
    counted = messages_between_all(kind, algorithm, 7)
    assert counted in (0, messages_of(ALGORITHMS[kind][algorithm](7, 1000)))
    assert (counted > 0) == (algorithm in ("one_shot", "two_shot", "direct", "pairwise") and kind != "send_receive")


@pytest.mark.parametrize("side", [32, pytest.param(100, marks=pytest.mark.slow)])
def test_ten_thousand_chips_are_timed_or_refused_clearly(side: int) -> None:
    """A square torus: its own algorithm meets its closed form; a million messages from each to each are refused."""
    chips = side * side
    made = build_network("torus", chips, link_bytes_per_s=RATE, link_latency_ps=HOP_PS, shape=(side, side))
    size = 800 * chips * 10
    curve = message_curve(made, kind="all_reduce", ranks=chips, sizes=(size,), software_ps=0, chip="none")
    assert dict(curve.left_out)["one_shot"] == chips * (chips - 1)
    # Twice (N - 1) / N of a quarter of the tensor each way, and 2 x 2 axes of half a side of hops.
    exact_ps = 2 * (size // 4) * (chips - 1) * 10**12 // (chips * RATE) + 4 * (side // 2) * HOP_PS
    assert curve.points[0].seconds["torus"] * 1e12 == pytest.approx(exact_ps, rel=1e-9)
    with pytest.raises(InputError, match=f"{chips * (chips - 1):,} messages"):
        collective_facts(made, kind="all_to_all", ranks=chips, bytes=size, algorithm="auto", software_ps=0)
