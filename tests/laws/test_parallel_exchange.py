"""Exchanges within groups of chips: what groups take from each other, and messages of unequal size."""

from __future__ import annotations

import math

import pytest

from archsim.hardware.library import load_system
from archsim.hardware.system import System
from archsim.mapping.plan import Collective
from archsim.step.exchange import exchange_facts

SWITCH = System(load_system("h100-sxm8"))
RING = System(load_system("h100-sxm8", ("network.topology=ring", "network.shape=[8]", "runtime.collective=ring")))
SIZE = 1 << 20


def test_groups_are_blocks_or_combs_of_the_plans_chips() -> None:
    """Neighbours for tensor ranks, every stride-th for context ranks, all without a number."""
    chips = (3, 5, 7, 9, 11, 13, 15, 17)
    assert Collective("all_reduce", 1, ways=4).groups(chips) == ((3, 5, 7, 9), (11, 13, 15, 17))
    assert Collective("all_to_all", 1, ways=2, stride=4).groups(chips) == ((3, 11), (5, 13), (7, 15), (9, 17))
    assert Collective("all_to_all", 1, ways=2, stride=2).groups(chips) == ((3, 7), (5, 9), (11, 15), (13, 17))
    assert Collective("all_reduce", 1).groups(chips) == (chips,)


@pytest.mark.parametrize("kind", ["all_reduce", "all_gather", "all_to_all"])
@pytest.mark.parametrize(("ways", "stride"), [(2, 1), (4, 1), (2, 4), (4, 2)])
def test_groups_on_a_switch_do_not_meet(kind: str, ways: int, stride: int) -> None:
    """Every chip has its own port: all groups together take what one takes, and carry what all carry."""
    groups = Collective(kind, SIZE, ways=ways, stride=stride).groups(tuple(range(8)))
    together = exchange_facts(Collective(kind, SIZE, ways=ways, stride=stride), groups, SWITCH)
    alone = [SWITCH.collective(kind, SIZE, group) for group in groups]
    assert together.duration_ps == max(facts.duration_ps for facts in alone)
    carried = [sum(on_link) for on_link in zip(*(facts.link_bytes for facts in alone), strict=True)]
    assert list(together.link_bytes) == carried


def test_groups_apart_on_a_ring_do_not_meet_and_interleaved_ones_do() -> None:
    """Rings of neighbours close over the links of the others: two halves of a ring share the way back."""
    combs = ((0, 2, 4, 6), (1, 3, 5, 7))
    collective = Collective("all_reduce", SIZE, ways=4, stride=2)
    together = exchange_facts(collective, combs, RING)
    alone = [RING.collective("all_reduce", SIZE, group) for group in combs]
    carried = [sum(on_link) for on_link in zip(*(facts.link_bytes for facts in alone), strict=True)]
    assert list(together.link_bytes) == carried
    longest = max(facts.duration_ps for facts in alone)
    rate = RING.network.links[0].bytes_per_s
    # Each link carries both groups' rings at once: the bytes of the second are added to the time of the first.
    assert together.duration_ps == pytest.approx(longest + alone[0].link_bytes[0] / rate * 1e12, rel=1e-6)
    assert together.duration_ps < sum(facts.duration_ps for facts in alone)


def test_pairs_that_share_no_link_take_one_pairs_time() -> None:
    """Handing over between neighbours of a ring: every pair has its own link."""
    pairs = ((0, 1), (2, 3), (4, 5), (6, 7))
    facts = exchange_facts(Collective("send_receive", SIZE, ways=2), pairs, RING)
    assert facts.duration_ps == RING.collective("send_receive", SIZE, (0, 1)).duration_ps
    assert sum(facts.link_bytes) == len(pairs) * SIZE


def test_an_uneven_all_to_all_waits_for_the_port_of_the_hottest_rank() -> None:
    """On a switch the rank that receives most sets the time; combine, the same the other way, takes as long."""
    size, ranks = 1 << 26, 8
    received = (3 * size, *((ranks - 3) * size // (ranks - 1) for _ in range(ranks - 1)))
    chips = (tuple(range(ranks)),)
    equal = exchange_facts(Collective("all_to_all", size), chips, SWITCH)
    dispatch = exchange_facts(Collective("all_to_all", size, received_bytes=received), chips, SWITCH)
    combine = exchange_facts(Collective("all_to_all", size, sent_bytes=received), chips, SWITCH)
    rate = SWITCH.network.links[0].bytes_per_s
    later = math.ceil((received[0] - size) * (ranks - 1) / ranks / rate * 1e12)
    assert dispatch.duration_ps - equal.duration_ps == pytest.approx(later, rel=1e-6)
    assert combine.duration_ps == dispatch.duration_ps
    assert sum(dispatch.link_bytes) == pytest.approx(2 * sum(received) * (ranks - 1) / ranks, rel=1e-6)


def test_equal_shares_written_out_are_the_equal_exchange() -> None:
    """Bytes that happen to be equal for all take what the plain all-to-all takes."""
    chips = (tuple(range(8)),)
    plain = exchange_facts(Collective("all_to_all", SIZE), chips, SWITCH)
    written = exchange_facts(Collective("all_to_all", SIZE, received_bytes=(SIZE,) * 8), chips, SWITCH)
    assert written.duration_ps == plain.duration_ps
    assert written.link_bytes == plain.link_bytes
