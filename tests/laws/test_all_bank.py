"""All banks of a channel on one command: closed forms derived from the standard's clocks."""

from __future__ import annotations

from fractions import Fraction

import pytest

from archsim.dram.all_bank import AllBank, all_bank_facts, broadcast_facts, column_ticks
from archsim.dram.bounds import refresh_bound
from archsim.dram.build import DeviceOptions, build_device
from archsim.dram.facts import CAUSES

HBM2 = build_device("HBM2", DeviceOptions(lanes=2))
"""Ramulator 2.1's set at 2.0 Gb/s, clocks of 1 ns: 16 banks a lane, tCCD_L 4, tRTP 5, tRP 14, tRCD 14, tRC 48, tFAW 15;
an activation takes 2 clocks of its bus, so that the read follows 13 or 15 after its other clock."""
UNITS = 16


def mode(
    *, interval_ps: int | None = None, staggered: bool = False, grouped: bool = False, units: int = UNITS
) -> AllBank:
    return AllBank(HBM2, units, interval_ps, staggered, grouped)


def shares(facts: object) -> dict[str, Fraction]:
    total = facts.total  # type: ignore[attr-defined]
    return {cause: Fraction(part, total) for cause, part in zip(CAUSES, facts.causes, strict=True)}  # type: ignore[attr-defined]


def test_columns_of_one_bank_group_set_the_peak() -> None:
    """A burst from every unit each tCCD_L of 4 clocks."""
    assert column_ticks(mode()) == (4, 4)
    assert column_ticks(mode(interval_ps=6000)) == (4, 6)
    assert column_ticks(mode(interval_ps=2000)) == (2, 2)


def test_refresh_takes_its_share_of_every_interval() -> None:
    """TRFC 350 of tREFI 3,900 clocks, whatever the run."""
    for run in (64, 4096, 10**6):
        assert shares(all_bank_facts(mode(), run))["refresh"] == 1 - refresh_bound(HBM2)


@pytest.mark.parametrize("rows", [1, 2, 7])
def test_nothing_hides_a_change_of_rows(rows: int) -> None:
    """Each row of 32 columns costs read to precharge, tRP and tRCD beyond the interval, once a row."""
    run = rows * 32 * UNITS * 32
    facts = all_bank_facts(mode(), run)
    busy = Fraction(facts.transfer, rows * 32 * 4)
    row = Fraction(facts.causes[CAUSES.index("row")]) / busy / rows
    assert 5 + 14 + 14 - 4 - 2 <= row <= 5 + 14 + 14 - 4 + 2


def test_banks_that_open_four_at_a_time_wait_for_the_last() -> None:
    """16 banks of a lane: three more windows of tFAW, 15 clocks each, for each row."""
    run = 32 * UNITS * 32
    facts = all_bank_facts(mode(staggered=True), run)
    unit = Fraction(facts.transfer, 32 * 4)
    assert Fraction(facts.causes[CAUSES.index("activate")]) / unit == 3 * 15
    assert all_bank_facts(mode(), run).causes[CAUSES.index("activate")] == 0


def test_a_run_of_a_byte_is_one_column_of_all_units() -> None:
    """The turn of the bus is once a run: beside two columns' transfer it weighs half of what it does beside one's."""
    byte, one, two = (all_bank_facts(mode(), run) for run in (1, UNITS * 32, 2 * UNITS * 32))
    turn = CAUSES.index("turnaround")
    assert byte == one
    assert Fraction(one.causes[turn], one.transfer) == 2 * Fraction(two.causes[turn], two.transfer) > 0


def test_what_power_adds_to_the_interval_is_activation() -> None:
    """6 clocks for 4: half of the transfer again."""
    facts = all_bank_facts(mode(interval_ps=6000), 10**6)
    assert 2 * facts.causes[CAUSES.index("activate")] == facts.transfer


def test_bank_groups_hide_row_changes_behind_their_other_banks() -> None:
    """Three other banks of a group stream 32 columns each: 384 clocks, more than tRC."""
    facts = all_bank_facts(mode(grouped=True, units=8), 10**6)
    assert facts.causes[CAUSES.index("row")] == 0


def test_inputs_reach_one_bank_group_of_registers() -> None:
    """A burst of 2 clocks each tCCD_L of 4."""
    facts = broadcast_facts(mode())
    assert facts.transfer == facts.causes[CAUSES.index("bank_group")]
