"""Devices, maps and controllers as the simulators describe theirs: constraint by constraint, or as an ini file.

The schema is that of the reference runs' parameter files. What a description leaves open, and the simulator fills in
by a default of its own, is filled in here by the same default.
"""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from typing import Any

from archsim.dram.address import AddressMap
from archsim.dram.device import Constraint, Device
from archsim.dram.profile import PROFILES, Profile

__all__ = [
    "dramsim3_device",
    "dramsim3_map",
    "dramsim3_profile",
    "ramulator2_device",
    "ramulator2_map",
    "ramulator2_profile",
]

_BUS = {"HBM1": 1, "HBM2": 1, "GDDR7": 1, "HBM3": 2, "HBM4": 2, "LPDDR5": 3, "LPDDR6": 3}
"""Command slots by standard; all others send one command a clock."""
_LEVELS = {"pc": "pseudochannel", "ra": "rank", "sid": "sid", "bg": "bankgroup", "ba": "bank"}
_COMMANDS = {
    "ACT": ("ACT",), "ACT1": ("ACT",), "ACT2": ("ACT2",), "PREpb": ("PRE",), "PREab": ("PREA",), "RD": ("RD",),
    "WR": ("WR",), "RDA": ("RDA",), "WRA": ("WRA",), "RD_S": ("RD",), "WR_S": ("WR",), "RDA_S": ("RDA",),
    "WRA_S": ("WRA",), "REFab": ("REFA",), "REFpb": ("REFB",), "CAS_RD": ("CASR",), "CAS_WR": ("CASW",),
    "CAS": ("CASR", "CASW"),
}  # fmt: skip
"""Commands of a described standard; those not listed (refresh management, long bursts) are never issued."""
_REFRESHES = {
    "AllBank": "all_bank", "NoRefresh": "none", "HBM34PerBankRefresh": "stack_bank", "PerBank": "round_robin_bank",
}  # fmt: skip


def _constraints(parameters: dict[str, Any]) -> tuple[Constraint, ...]:
    """Return the longest constraint for each (level, preceding, following, window, sibling)."""
    commands = parameters["commands"]
    longest: dict[tuple[int, str, str, int, bool], int] = {}
    for level, preceding, following, ticks, *rest in parameters["timing_constraints_ticks"]:
        window, sibling = rest[0] if rest else 1, len(rest) > 1 and bool(rest[1])
        for first in (name for p in preceding for name in _COMMANDS.get(commands[p], ())):
            for then in (name for f in following for name in _COMMANDS.get(commands[f], ())):
                key = (level, first, then, window, sibling)
                longest[key] = max(longest.get(key, ticks), ticks)
    return tuple(
        Constraint(level, first, then, ticks, window, sibling)
        for (level, first, then, window, sibling), ticks in longest.items()
    )


def ramulator2_device(name: str, parameters: dict[str, Any]) -> Device:
    """Return the device of a configuration *name* of Ramulator 2.1."""
    organisation, clocks = parameters["org"], parameters["timing_ck"]
    levels = tuple(level for level in parameters["levels"] if level not in ("ro", "co"))
    ticks = parameters["tick_per_ck"]
    burst = clocks["nBL"] if "nBL" in clocks else clocks["nBL_min"]
    write = clocks["nCWL"] if "nCWL" in clocks else clocks["nWL"]
    return Device(
        name=name,
        levels=levels,
        sizes=tuple(1 if level == "ch" else organisation.get(_LEVELS[level], 1) for level in levels),
        rows=organisation["row"],
        row_transactions=organisation["column"] // parameters["column_units_per_tx"],
        transaction_bytes=_transaction_bytes(parameters),
        clock_ps=Fraction(clocks["tCK_ps"]),
        ticks_per_clock=ticks,
        burst_ticks=burst * ticks,
        read_ticks=parameters["read_latency_ticks"],
        write_ticks=(write + burst) * ticks,
        constraints=_constraints(parameters),
        bus=_BUS.get(parameters["standard"], 0),
        split_activate=_split(parameters["standard"], clocks),
        refresh_ticks=clocks["nREFI"] * ticks,
        refresh_bank_interval_ticks=clocks.get("nREFIpb", 0) * ticks,
        refresh_bank_ticks=clocks.get("nRFCpb", 0) * ticks,
    )


def _transaction_bytes(parameters: dict[str, Any]) -> int:
    """Return the payload of a burst: width times prefetch, 32 B where metadata rides along (LPDDR6)."""
    width, prefetch = parameters["org"]["channel_width"], parameters["column_units_per_tx"]
    return 32 if width % 8 and width == 12 else width * prefetch // 8


def _split(standard: str, clocks: dict[str, Any]) -> tuple[int, int, int] | None:
    if "nAAD" not in clocks:
        return None
    guard = 1 if standard == "LPDDR5" else max(2, clocks["nCAS"])
    return clocks["nAAD"], guard, clocks["nBL_min"] + clocks["nWCKPST"]


def ramulator2_map(parameters: dict[str, Any]) -> AddressMap:
    """Return the address map of a configuration of Ramulator 2.1."""
    return AddressMap(tuple((field, bits) for field, bits in parameters["mapping_lsb_to_msb"]))


def ramulator2_profile(parameters: dict[str, Any]) -> Profile:
    """Return the controller of a configuration of Ramulator 2.1."""
    stated = parameters["controller"]
    return replace(
        PROFILES["ramulator2"],
        read_queue=stated["read_queue"],
        write_queue=stated["write_queue"],
        refresh=_REFRESHES[stated["refresh"]],
        protect="older_hit" if stated["scheduler"] == "FRFCFSRowHit" else "none",
        cap=stated["cap"] or 0,
        write_high=stated["wr_high_watermark"],
        write_low=stated["wr_low_watermark"],
    )


_ROW_PROTOCOLS = ("GDDR5", "GDDR5X", "GDDR6", "HBM", "HBM2")
"""Protocols with separate tRCDRD and tRCDWR."""
_DEFAULTS = {
    "AL": 0, "tRTRS": 2, "tRTP": 5, "tPPD": 0, "tRCDRD": 24, "tRCDWR": 20, "t32AW": 330, "tRCD": 10, "tRFCb": 20,
    "tREFIb": 1950, "tCCD_S": 4, "tCCD_L": 6,
}  # fmt: skip
"""What DRAMsim3 assumes where an ini file is silent (clocks)."""


def _ini_clocks(parameters: dict[str, Any]) -> dict[str, int]:
    timing = parameters["ini"]["timing"]
    stated = {key: int(float(text.split(";")[0])) for key, text in timing.items() if key != "tCK"}
    return _DEFAULTS | stated


def dramsim3_device(name: str, parameters: dict[str, Any]) -> Device:
    """Return the device of a configuration *name* of DRAMsim3."""
    structure, bits = parameters["ini"]["dram_structure"], parameters["field_bits"]
    clocks, burst = _ini_clocks(parameters), parameters["burst_cycles"]
    protocol = structure["protocol"]
    return Device(
        name=name,
        levels=("ch", "ra", "bg", "ba"),
        sizes=(1, 1 << bits["ra"], 1 << bits["bg"], 1 << bits["ba"]),
        rows=1 << bits["ro"],
        row_transactions=1 << bits["co"],
        transaction_bytes=parameters["tx_bytes"],
        clock_ps=Fraction(parameters["ini"]["timing"]["tCK"]) * 1000,
        ticks_per_clock=1,
        burst_ticks=burst,
        read_ticks=clocks["AL"] + clocks["CL"] + burst,
        write_ticks=clocks["AL"] + clocks["CWL"] + burst,
        constraints=_ini_constraints(clocks, burst, protocol, one_group=bits["bg"] == 0),
        bus=int(protocol.startswith("HBM")),
        split_activate=None,
        refresh_ticks=clocks["tREFI"] // (1 << bits["ra"]),
        refresh_bank_interval_ticks=clocks["tREFIb"],
        refresh_bank_ticks=clocks["tRFCb"],
    )


def _ini_constraints(t: dict[str, int], burst: int, protocol: str, *, one_group: bool) -> tuple[Constraint, ...]:
    """Return the constraints that DRAMsim3 derives; the level of a list: 1 rank, 2 bank group, 3 bank."""
    rows = protocol in _ROW_PROTOCOLS
    read_row, write_row = (t["tRCDRD"], t["tRCDWR"]) if rows else (t["tRCD"] - t["AL"], t["tRCD"] - t["AL"])
    group = "S" if one_group else "L"
    act = [
        Constraint(3, "ACT", "ACT", t["tRAS"] + t["tRP"]),
        Constraint(2, "ACT", "ACT", t[f"tRRD_{group}"]),
        Constraint(1, "ACT", "ACT", t["tRRD_S"]),
        Constraint(1, "ACT", "ACT", t["tFAW"], window=4),
        Constraint(3, "ACT", "PRE", t["tRAS"]),
        *(Constraint(3, "ACT", then, read_row) for then in ("RD", "RDA")),
        *(Constraint(3, "ACT", then, write_row) for then in ("WR", "WRA")),
        *(Constraint(level, "ACT", "REFB", t["tRAS"] + t["tRP"], sibling=True) for level in (2, 3)),
        *(Constraint(3, "PRE", then, t["tRP"]) for then in ("ACT", "REFA", "REFB")),
    ]
    if protocol.startswith("GDDR"):
        act.append(Constraint(1, "ACT", "ACT", t["t32AW"], window=32))
    if protocol.startswith("GDDR") or protocol == "LPDDR4":
        act.append(Constraint(1, "PRE", "PRE", t["tPPD"]))
    refresh = [
        *(Constraint(level, "REFB", "ACT", t["tRFC"], sibling=True) for level in (2, 3)),
        *(Constraint(level, "REFB", "REFB", t["tREFI"], sibling=True) for level in (2, 3)),
        *(Constraint(1, "REFA", then, t["tRFC"]) for then in ("ACT", "REFA")),
    ]
    return (*act, *refresh, *_ini_columns(t, burst, group))


def _ini_columns(t: dict[str, int], burst: int, group: str) -> list[Constraint]:
    read_latency, write_latency = t["AL"] + t["CL"], t["AL"] + t["CWL"]
    read_delay, write_delay = read_latency + burst, write_latency + burst
    same = {1: max(burst, t["tCCD_S"]), 2: max(burst, t[f"tCCD_{group}"])}
    to_read = {1: write_delay + t["tWTR_S"], 2: write_delay + t[f"tWTR_{group}"]}
    rank = burst + t["tRTRS"]
    closing = {"RD": t["AL"] + t["tRTP"], "WR": write_delay + t["tWR"]}
    found = [Constraint(3, first, "PRE", ticks) for first, ticks in closing.items()]
    for reads, writes in (("RD", "WR"), ("RDA", "WRA")):
        after = burst if reads == "RDA" else 0
        found.append(Constraint(3, reads, "ACT", closing["RD"] + after + t["tRP"]) if after else found[0])
        found.append(Constraint(3, writes, "ACT", closing["WR"] + t["tRP"]) if after else found[1])
        found += [Constraint(3, reads, then, closing["RD"] + t["tRP"]) for then in ("REFA", "REFB") if after]
        found += [Constraint(3, writes, then, closing["WR"] + t["tRP"]) for then in ("REFA", "REFB") if after]
        for auto in ("", "A"):
            for level in (1, 2):
                found.append(Constraint(level, reads, "RD" + auto, same[level]))
                found.append(Constraint(level, writes, "WR" + auto, same[level]))
                found.append(Constraint(level, writes, "RD" + auto, to_read[level]))
            found.append(Constraint(1, reads, "WR" + auto, read_latency + burst - write_latency + t["tRTRS"]))
            found.append(Constraint(1, reads, "RD" + auto, rank, sibling=True))
            found.append(Constraint(1, reads, "WR" + auto, read_delay + rank - write_delay, sibling=True))
            found.append(Constraint(1, writes, "RD" + auto, write_delay + rank - read_delay, sibling=True))
            found.append(Constraint(1, writes, "WR" + auto, burst, sibling=True))
    return found


def dramsim3_map(parameters: dict[str, Any]) -> AddressMap:
    """Return the address map of a configuration of DRAMsim3: six fields of two letters, high to low."""
    text, bits = parameters["mapping_msb_to_lsb"], parameters["field_bits"]
    names = [text[i : i + 2] for i in range(0, len(text), 2)]
    return AddressMap(tuple((name, bits[name]) for name in reversed(names)))


def dramsim3_profile(parameters: dict[str, Any]) -> Profile:
    """Return the controller of a configuration of DRAMsim3."""
    system = parameters["ini"]["system"]
    never = int(float(parameters["ini"]["timing"]["tREFI"])) >= _NO_REFRESH_CLOCKS
    by_bank = system.get("refresh_policy", "").startswith("BANK")
    return replace(
        PROFILES["dramsim3"],
        read_queue=int(system["trans_queue_size"]),
        write_queue=int(system["trans_queue_size"]),
        bank_queues=int(system["cmd_queue_size"]),
        queue_per_bank=system["queue_structure"] == "PER_BANK",
        closed_page=system["row_buf_policy"] == "CLOSE_PAGE",
        refresh="none" if never else "round_robin_bank" if by_bank else "all_bank",
    )


_NO_REFRESH_CLOCKS = 10**9
"""An interval that long means that refresh is switched off."""
