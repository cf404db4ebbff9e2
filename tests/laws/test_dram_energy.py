"""Laws of memory energy: sums over the path of a bit, rows paid whole, nothing made up."""

from __future__ import annotations

import pytest

from archsim.dram.build import build_device
from archsim.dram.device import COMMANDS
from archsim.dram.energy import (
    ENERGY,
    PARTS,
    bill_of,
    bits_moved,
    command_femtojoules,
)
from archsim.dram.standards import STANDARDS
from archsim.errors import InputError

HBM2 = build_device("HBM2")


def _counts(**counts: int) -> tuple[int, ...]:
    return tuple(counts.get(command, 0) for command in COMMANDS)


def test_a_streamed_hbm2_bit_costs_the_published_sum() -> None:
    """.11 + .44 + 1.01 + 1.23 + .5 + .3 = 3.59 pJ/bit, FGDRAM's breakdown."""
    table = ENERGY["HBM2"]
    parts = (table.activation or 0, table.read or 0, table.io or 0)
    assert sum(parts) == 110 + 440 + 1010 + 1230 + 500 + 300 == 3590


def test_rows_read_whole_cost_the_streaming_energy() -> None:
    """Ten rows of 1 KiB opened and read whole: every bit costs what a streamed bit costs."""
    reads = 10 * HBM2.row_transactions
    bill = bill_of("HBM2", HBM2, _counts(ACT=10, RD=reads, PRE=10), place="test")
    assert bill.total == reads * 32 * 8 * 3590
    assert bill.absent == ()


def test_random_reads_pay_a_row_for_every_burst() -> None:
    """One 32-byte burst per row of 1 KiB: 32 x .11 + 2.68 + .8 = 7.0 pJ/bit, twice a streamed bit's."""
    bill = bill_of("HBM2", HBM2, _counts(ACT=100, RD=100, PRE=100), place="test")
    assert bill.total == 100 * 32 * 8 * (32 * 110 + 2680 + 800)
    assert bill.femtojoules["activation"] == 100 * 1024 * 8 * 110


def test_refresh_is_named_absent_and_not_zero() -> None:
    """A run that refreshed says that its sum lacks the refreshes; one that did not, does not."""
    bill = bill_of("HBM2", HBM2, _counts(ACT=1, RD=32, REFA=3, REFB=4), place="test")
    assert bill.absent == ("refresh",)
    assert "refresh" not in bill.femtojoules


def test_a_standard_without_a_breakdown_bills_nothing_and_names_all() -> None:
    """HBM3 has no public numbers: no part is known, and every part used is named in the order of the parts."""
    device = build_device("HBM3")
    bill = bill_of("HBM3", device, _counts(ACT=1, RD=1, WR=1, REFB=1), place="test")
    assert bill.femtojoules == {}
    assert bill.absent == PARTS


@pytest.mark.parametrize("name", sorted(STANDARDS))
def test_every_standard_has_a_table_and_a_word_on_its_source(name: str) -> None:
    """What simulates can be asked for its energy, and the answer says where it comes from or that none was found."""
    assert ENERGY[name].note


@pytest.mark.parametrize("name", sorted(ENERGY))
def test_no_energy_is_zero(name: str) -> None:
    """A number is positive or absent."""
    table = ENERGY[name]
    numbers = (table.activation, table.read, table.write, table.io, table.average)
    assert all(number is None or number > 0 for number in numbers)


def test_commands_that_open_or_move_nothing_cost_nothing_of_their_own() -> None:
    """An activation's energy includes closing its row; CAS and ACT2 belong to the commands beside them."""
    for command in ("PRE", "PREA", "ACT2", "CASR", "CASW"):
        assert command_femtojoules(ENERGY["HBM2"], command, HBM2) == {}
    with pytest.raises(ValueError, match="no such command"):
        command_femtojoules(ENERGY["HBM2"], "NOP", HBM2)


def test_commands_that_close_their_row_cost_what_those_that_leave_it_open_cost() -> None:
    """RDA and WRA move what RD and WR move; either kind of refresh is one part."""
    for closing, plain, part in (("RDA", "RD", "read"), ("WRA", "WR", "write"), ("REFB", "REFA", "refresh")):
        cost = command_femtojoules(ENERGY["HBM2"], plain, HBM2)
        assert command_femtojoules(ENERGY["HBM2"], closing, HBM2) == cost
        assert part in cost
    assert bits_moved(HBM2, _counts(RD=1, RDA=2, WR=4, WRA=8, ACT=16)) == 15 * 32 * 8


def test_unknown_names_are_refused_with_a_suggestion() -> None:
    """A memory is checked at the door."""
    with pytest.raises(InputError, match="HBM2"):
        bill_of("HBM2X", HBM2, _counts(RD=1), place="--standard")


def test_a_standard_without_public_currents_says_that_none_was_found() -> None:
    """An absent figure is named, never a zero."""
    silent = [table for table in ENERGY.values() if table.note == "none found"]
    assert "HBM3" in {table.name for table in silent}
