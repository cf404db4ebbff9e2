"""Closed forms of the memory floor, against values derived by hand."""

from __future__ import annotations

from fractions import Fraction

import pytest

from archsim.dram.closed_form import sustain_closed_form
from archsim.dram.device import Constraint, class_of
from archsim.dram.facts import CAUSES, Access, ChannelFacts, Phase
from archsim.dram.streams import Domain, make_stream
from archsim.errors import InputError


def _facts(window_bytes: int, refresh_cycle_ps: int = 350_000) -> ChannelFacts:
    phase = Phase((Access(2**20, 2**20, write=False),), window_bytes=window_bytes, latency_ps=400_000)
    return sustain_closed_form(
        peak_bytes_per_s=Fraction(51_200_000_000),
        refresh_interval_ps=3_900_000,
        refresh_cycle_ps=refresh_cycle_ps,
        access_latency_ps=100_000,
        phase=phase,
    )


def test_a_deep_window_leaves_only_the_refresh() -> None:
    """With enough bytes in flight the channel sustains 1 - tRFC / tREFI, exactly."""
    assert _facts(10**6).sustained == 1 - Fraction(350, 3900)


def test_a_shallow_window_is_bounded_by_littles_law() -> None:
    """12,800 B over 500 ns is half of 51.2 GB/s; refresh takes its share of that."""
    facts = _facts(12_800)
    assert facts.sustained == Fraction(1, 2) * (1 - Fraction(350, 3900))
    assert Fraction(facts.causes[CAUSES.index("refresh")], facts.total) == Fraction(350, 3900)
    assert facts.first_access_ps == 500_000


def test_no_refresh_and_a_full_window_reach_the_peak() -> None:
    """Without refresh, and with window = latency x peak (25,600 B), nothing is lost."""
    assert _facts(25_600, refresh_cycle_ps=0).sustained == 1


def test_an_empty_window_is_refused() -> None:
    """A phase without bytes in flight never ends."""
    with pytest.raises(ValueError, match="window"):
        _facts(0)


def test_a_refresh_as_long_as_its_interval_is_refused() -> None:
    """Refreshed all the time, a channel would move nothing; a picosecond less leaves that picosecond."""
    with pytest.raises(ValueError, match="does not fit"):
        _facts(10**6, refresh_cycle_ps=3_900_000)
    assert _facts(10**6, refresh_cycle_ps=3_899_999).sustained == Fraction(1, 3_900_000)


@pytest.mark.parametrize(
    ("level", "first", "then", "expected"),
    [
        ("ba", "ACT", "ACT", "row"), ("bg", "ACT", "ACT", "activate"), ("pc", "ACT", "ACT", "activate"),
        ("ch", "ACT", "ACT", "command_bus"), ("ba", "PRE", "ACT", "row"), ("ba", "ACT", "RD", "row"),
        ("ba", "RD", "PRE", "row"), ("ch", "RD", "ACT", "command_bus"), ("pc", "PRE", "PRE", "command_bus"),
        ("pc", "RD", "WR", "turnaround"), ("bg", "WRA", "RD", "turnaround"), ("bg", "RD", "RDA", "bank_group"),
        ("pc", "WR", "WR", "bank_group"), ("ch", "RD", "RD", "command_bus"), ("pc", "REFA", "ACT", "refresh"),
        ("ba", "PRE", "REFB", "refresh"), ("pc", "PREA", "ACT", "refresh"), ("ba", "ACT", "PREA", "refresh"),
    ],
)  # fmt: skip
def test_a_stall_is_named_by_the_commands_and_the_level_of_its_constraint(
    level: str, first: str, then: str, expected: str
) -> None:
    """Rows wait in a bank, activations across banks, columns across groups and directions, all for refresh and bus."""
    levels = ("ch", "pc", "bg", "ba")
    assert class_of(Constraint(levels.index(level), first, then, 5), levels) == expected


def test_ranks_that_take_turns_on_the_bus_turn_it_round() -> None:
    """The gap between bursts of two ranks is no bank group's; where a channel is a bank's only level, it is no bus."""
    levels = ("ch", "ra", "bg", "ba")
    assert class_of(Constraint(1, "RD", "RD", 4, sibling=True), levels) == "turnaround"
    assert class_of(Constraint(1, "RD", "RD", 4), levels) == "bank_group"
    assert class_of(Constraint(2, "RD", "RD", 4, sibling=True), levels) == "bank_group"
    assert class_of(Constraint(0, "RD", "RD", 4), ("ch", "ba")) == "bank_group"


@pytest.mark.parametrize(
    ("pattern", "unit"),
    [("copyblk", 32), ("stride", 32), ("chunk", 32), ("seqrw", 1), ("randrw", 1), ("streams", 1), ("streamsr", 1),
     ("streamsr256", 1)],
)  # fmt: skip
def test_a_parameter_is_a_transaction_or_one_at_least_and_within_the_device(pattern: str, unit: int) -> None:
    """Bytes count in transactions of 32; periods and counts from one."""
    domain = Domain(2**20, 32, 10)
    with pytest.raises(InputError, match=f"at least {unit}"):
        make_stream(pattern, unit - 1, requests=64, domain=domain, place="--pattern")
    with pytest.raises(InputError, match="the device ends"):
        make_stream(pattern, unit * (2**20 + 1), requests=64, domain=domain, place="--pattern")
    assert make_stream(pattern, unit, requests=64, domain=domain, place="--pattern").index.size == 64
