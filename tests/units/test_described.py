"""Devices, maps and controllers that other simulators describe: every wait between two commands, worked out by hand."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import pytest

from archsim.dram.address import AddressMap
from archsim.dram.described import (
    dramsim3_device,
    dramsim3_map,
    dramsim3_profile,
    ramulator2_device,
    ramulator2_map,
    ramulator2_profile,
)
from archsim.dram.device import Device

TIMING = {
    "tCK": "0.5", "AL": "1", "CL": "14", "CWL": "6", "tRAS": "33", "tRP": "15", "tRCDRD": "13", "tRCDWR": "11",
    "tRCD": "12", "tRRD_S": "4", "tRRD_L": "5", "tFAW": "19", "tRTP": "7", "tWR": "16", "tWTR_S": "3", "tWTR_L": "9",
    "tCCD_S": "2", "tCCD_L": "3 ; clocks", "tRFC": "260", "tREFI": "3900", "tREFIb": "128", "tRFCb": "200",
}  # fmt: skip
SYSTEM = {
    "trans_queue_size": "24",
    "cmd_queue_size": "6",
    "queue_structure": "PER_BANK",
    "row_buf_policy": "CLOSE_PAGE",
    "refresh_policy": "BANK_LEVEL_STAGGERED",
}
BITS = {"ch": 0, "ra": 1, "bg": 2, "ba": 3, "ro": 14, "co": 5}


def ini(protocol: str, bits: dict[str, int] = BITS, system: dict[str, str] = SYSTEM, **timing: str) -> dict[str, Any]:
    """Return the parameters of a DRAMsim3 run with bursts of two clocks."""
    return {
        "ini": {"dram_structure": {"protocol": protocol}, "timing": TIMING | timing, "system": system},
        "field_bits": bits,
        "burst_cycles": 2,
        "tx_bytes": 64,
        "mapping_msb_to_lsb": "rorababgchco",
    }


def waits(device: Device, *, sibling: bool = False, window: int = 1) -> dict[tuple[int, str, str], int]:
    """Return (level, command, following command) -> the longest wait between them."""
    found: dict[tuple[int, str, str], int] = {}
    for c in device.constraints:
        if (c.sibling, c.window) == (sibling, window):
            key = c.level, c.preceding, c.following
            found[key] = max(found.get(key, c.ticks), c.ticks)
    return found


def columns(level: int, first: str, then: str, ticks: int) -> dict[tuple[int, str, str], int]:
    """Return one wait for the four commands with and without precharge."""
    return {(level, first + a, then + b): ticks for a in ("", "A") for b in ("", "A")}


def test_an_ini_file_is_as_many_waits_as_its_simulator_keeps() -> None:
    """HBM2, bursts of 2: a write ends at 1 + 6 + 2 = 9, a read at 1 + 14 + 2 = 17, rows cycle in 33 + 15 = 48."""
    device = dramsim3_device("stack", ini("HBM2"))
    by_hand = {
        (3, "ACT", "ACT"): 48, (2, "ACT", "ACT"): 5, (1, "ACT", "ACT"): 4, (3, "ACT", "PRE"): 33,
        (3, "ACT", "RD"): 13, (3, "ACT", "RDA"): 13, (3, "ACT", "WR"): 11, (3, "ACT", "WRA"): 11,
        (3, "PRE", "ACT"): 15, (3, "PRE", "REFA"): 15, (3, "PRE", "REFB"): 15,
        (3, "RD", "PRE"): 8, (3, "WR", "PRE"): 25,
        (3, "RDA", "ACT"): 8 + 2 + 15, (3, "RDA", "REFA"): 8 + 15, (3, "RDA", "REFB"): 8 + 15,
        (3, "WRA", "ACT"): 25 + 15, (3, "WRA", "REFA"): 25 + 15, (3, "WRA", "REFB"): 25 + 15,
        (1, "REFA", "ACT"): 260, (1, "REFA", "REFA"): 260,
    }  # fmt: skip
    by_hand |= columns(1, "RD", "RD", 2) | columns(2, "RD", "RD", 3) | columns(1, "WR", "WR", 2)
    by_hand |= columns(2, "WR", "WR", 3) | columns(1, "WR", "RD", 9 + 3) | columns(2, "WR", "RD", 9 + 9)
    by_hand |= columns(1, "RD", "WR", 15 + 2 - 7 + 2)
    assert waits(device) == by_hand
    assert waits(device, window=4) == {(1, "ACT", "ACT"): 19}
    ranks = {(level, "ACT", "REFB"): 48 for level in (2, 3)} | {(level, "REFB", "ACT"): 260 for level in (2, 3)}
    ranks |= {(level, "REFB", "REFB"): 3900 for level in (2, 3)}
    ranks |= columns(1, "RD", "RD", 4) | columns(1, "RD", "WR", 17 + 4 - 9)
    ranks |= columns(1, "WR", "RD", 9 + 4 - 17) | columns(1, "WR", "WR", 2)
    assert waits(device, sibling=True) == ranks


def test_an_ini_file_gives_the_geometry_and_the_clocks() -> None:
    """Sizes are powers of two of the fields; refresh comes round every tREFI divided by the ranks."""
    device = dramsim3_device("stack", ini("HBM2"))
    assert (device.name, device.levels, device.sizes) == ("stack", ("ch", "ra", "bg", "ba"), (1, 2, 4, 8))
    assert (device.rows, device.row_transactions, device.transaction_bytes) == (2**14, 2**5, 64)
    assert (device.clock_ps, device.ticks_per_clock, device.burst_ticks) == (Fraction(500), 1, 2)
    assert (device.read_ticks, device.write_ticks, device.bus) == (17, 9, 1)
    assert (device.refresh_ticks, device.refresh_bank_interval_ticks, device.refresh_bank_ticks) == (1950, 128, 200)
    assert device.split_activate is None


def test_protocols_differ_in_what_their_simulator_adds() -> None:
    """DDR4 has one tRCD; GDDR and LPDDR4 space precharges; GDDR counts 32 activations; one bank group waits as none."""
    ddr = waits(dramsim3_device("dimm", ini("DDR4")))
    assert {ddr[3, "ACT", then] for then in ("RD", "RDA", "WR", "WRA")} == {12 - 1}
    assert (1, "PRE", "PRE") not in ddr
    assert dramsim3_device("dimm", ini("DDR4")).bus == 0
    graphics = dramsim3_device("card", ini("GDDR6"))
    assert waits(graphics)[1, "PRE", "PRE"] == 0
    assert waits(graphics, window=32) == {(1, "ACT", "ACT"): 330}
    assert waits(dramsim3_device("phone", ini("LPDDR4", tPPD="4")))[1, "PRE", "PRE"] == 4
    assert waits(dramsim3_device("phone", ini("LPDDR4")), window=32) == {}
    flat = waits(dramsim3_device("dimm", ini("DDR3", BITS | {"bg": 0})))
    assert (flat[2, "ACT", "ACT"], flat[2, "RD", "RD"], flat[2, "WR", "RD"]) == (4, 2, 9 + 3)


def test_what_an_ini_file_leaves_open_is_what_its_simulator_assumes() -> None:
    """AL 0, tRTP 5, tRCDRD 24, tRCDWR 20, tCCD 4 and 6 (here bursts of 2), tRTRS 2, refresh by bank 20 of 1950."""
    silent = {"AL", "tRTP", "tRCDRD", "tRCDWR", "tRCD", "tCCD_S", "tCCD_L", "tREFIb", "tRFCb"}
    parameters = ini("HBM2")
    parameters["ini"]["timing"] = {key: text for key, text in TIMING.items() if key not in silent}
    device = dramsim3_device("stack", parameters)
    found = waits(device)
    assert (found[3, "ACT", "RD"], found[3, "ACT", "WR"], found[3, "RD", "PRE"]) == (24, 20, 5)
    assert (found[1, "RD", "RD"], found[2, "RD", "RD"], found[1, "RD", "WR"]) == (4, 6, 14 + 2 - 6 + 2)
    assert (device.refresh_bank_interval_ticks, device.refresh_bank_ticks) == (1950, 20)
    parameters["ini"]["dram_structure"]["protocol"] = "LPDDR4"
    found = waits(dramsim3_device("phone", parameters))
    assert (found[3, "ACT", "RD"], found[3, "ACT", "WR"], found[1, "PRE", "PRE"]) == (10, 10, 0)


def test_an_ini_files_map_is_read_from_the_highest_field_down() -> None:
    """Six names of two letters."""
    fields = (("co", 5), ("ch", 0), ("bg", 2), ("ba", 3), ("ra", 1), ("ro", 14))
    assert dramsim3_map(ini("HBM2")) == AddressMap(fields)


def test_an_ini_files_controller_has_its_queues_policies_and_refresh() -> None:
    """An interval of a billion clocks or more means no refresh; else the policy's first word says by bank or all."""
    closed = dramsim3_profile(ini("HBM2"))
    assert (closed.read_queue, closed.write_queue, closed.bank_queues) == (24, 24, 6)
    assert (closed.queue_per_bank, closed.closed_page, closed.refresh) == (True, True, "round_robin_bank")
    other = SYSTEM | {"queue_structure": "PER_RANK", "row_buf_policy": "OPEN_PAGE", "refresh_policy": "RANK_LEVEL"}
    opened = dramsim3_profile(ini("HBM2", system=other))
    assert (opened.queue_per_bank, opened.closed_page, opened.refresh) == (False, False, "all_bank")
    assert dramsim3_profile(ini("HBM2", tREFI="1e9")).refresh == "none"
    assert dramsim3_profile(ini("HBM2", tREFI="999999999")).refresh != "none"


def stated(standard: str = "HBM3", **clocks: int) -> dict[str, Any]:
    """Return the parameters of a Ramulator run of a small device."""
    return {
        "standard": standard,
        "org": {"row": 64, "column": 128, "channel_width": 64, "pseudochannel": 2, "bankgroup": 4, "bank": 3},
        "timing_ck": {"nBL": 2, "nCWL": 7, "nREFI": 390, "nREFIpb": 12, "nRFCpb": 20, "tCK_ps": 625} | clocks,
        "levels": ["ch", "pc", "sid", "bg", "ba", "ro", "co"],
        "tick_per_ck": 2,
        "column_units_per_tx": 4,
        "read_latency_ticks": 40,
        "mapping_lsb_to_msb": [["pc", 1], ["co", 5], ["ro", 6]],
        "commands": ["ACT", "RD", "CAS", "VRR"],
        "timing_constraints_ticks": [
            [1, [0], [1], 10], [1, [0], [1], 12], [1, [0], [1], 11], [3, [1], [1], 4, 2], [2, [1], [2], 6, 1, True],
            [1, [3], [0], 99],
        ],
        "controller": {
            "read_queue": 24, "write_queue": 16, "refresh": "PerBank", "scheduler": "FRFCFSRowHit", "cap": None,
            "wr_high_watermark": 0.7, "wr_low_watermark": 0.3,
        },
    }  # fmt: skip


def test_stated_constraints_are_kept_where_they_are_longest_and_of_known_commands() -> None:
    """Three of one kind leave the longest; `CAS` stands for two commands; refresh management is never sent."""
    device = ramulator2_device("small", stated())
    assert waits(device) == {(1, "ACT", "RD"): 12}
    assert waits(device, window=2) == {(3, "RD", "RD"): 4}
    assert waits(device, sibling=True) == {(2, "RD", "CASR"): 6, (2, "RD", "CASW"): 6}


def test_commands_of_every_standard_are_known_by_the_names_that_ramulator_gives_them() -> None:
    """One bank or all of them, short bursts, activation in two steps, a data clock started for either direction."""
    names = {
        "ACT1": "ACT", "ACT2": "ACT2", "PREpb": "PRE", "PREab": "PREA", "RD_S": "RD", "WR_S": "WR", "RDA": "RDA",
        "RDA_S": "RDA", "WRA": "WRA", "WRA_S": "WRA", "REFab": "REFA", "REFpb": "REFB", "CAS_RD": "CASR",
        "CAS_WR": "CASW",
    }  # fmt: skip
    for name, ours in names.items():
        parameters = stated() | {"commands": ["RD", name], "timing_constraints_ticks": [[3, [0], [1], 7]]}
        assert waits(ramulator2_device("small", parameters)) == {(3, "RD", ours): 7}


def test_stated_sizes_and_clocks_become_ticks() -> None:
    """Two ticks a clock; a level that the organisation leaves out has one node; 64 pins x 4 are 32 B."""
    device = ramulator2_device("small", stated())
    assert (device.levels, device.sizes) == (("ch", "pc", "sid", "bg", "ba"), (1, 2, 1, 4, 3))
    assert (device.rows, device.row_transactions, device.transaction_bytes) == (64, 32, 32)
    assert (device.clock_ps, device.ticks_per_clock, device.burst_ticks) == (Fraction(625), 2, 4)
    assert (device.read_ticks, device.write_ticks, device.bus) == (40, (7 + 2) * 2, 2)
    assert (device.refresh_ticks, device.refresh_bank_interval_ticks, device.refresh_bank_ticks) == (780, 24, 40)
    assert ramulator2_map(stated()) == AddressMap((("pc", 1), ("co", 5), ("ro", 6)))


@pytest.mark.parametrize(("standard", "guard"), [("LPDDR5", 1), ("LPDDR6", 3)])
def test_a_split_activation_has_its_interval_its_guard_and_the_clocks_tail(standard: str, guard: int) -> None:
    """LPDDR5 guards one clock, others nCAS, at least two; the data clock runs nBL_min + nWCKPST longer."""
    parameters = stated(standard, nAAD=8, nCAS=3, nBL_min=2, nWCKPST=5)
    assert ramulator2_device("phone", parameters).split_activate == (8, guard, 7)
    assert ramulator2_device("small", stated()).split_activate is None


def test_a_stated_controller_has_its_queues_watermarks_and_scheduler() -> None:
    """No cap is a cap of none; the scheduler that protects row hits is named."""
    profile = ramulator2_profile(stated())
    assert (profile.read_queue, profile.write_queue, profile.cap) == (24, 16, 0)
    assert (profile.write_high, profile.write_low) == (0.7, 0.3)
    assert (profile.refresh, profile.protect) == ("round_robin_bank", "older_hit")
    parameters = stated()
    parameters["controller"] |= {"scheduler": "FRFCFS", "cap": 4, "refresh": "HBM34PerBankRefresh"}
    other = ramulator2_profile(parameters)
    assert (other.refresh, other.protect, other.cap) == ("stack_bank", "none", 4)
